//! `tourbillon sim envelope`.

use std::{fs, path::Path};

use tourbillon_sim::{
    Lane, Overrides,
    envelope::{self, Axis},
    fault::FaultPlan,
    run_seed,
};

use crate::{args::EnvelopeArgs, sim::Verdict};

/// Where the measured envelope is kept.
const COMMITTED: &str = "scenarios/tables";

/// Its table. What comes of planted bugs stands below, and is another measurement.
const TABLE: &str = "envelope.md";

/// Where that begins.
const BUGS: &str = "## With planted bugs\n";

/// `sim envelope`.
pub(crate) fn run(args: &EnvelopeArgs) -> Result<Verdict, String> {
    let engine = args.engine.kind().factory().map_err(|error| error.to_string())?;
    if !args.mutant.is_empty() {
        return with_bugs(args, &engine);
    }
    let world = envelope::world().map_err(|error| error.to_string())?;
    let run = |seed: u64, plan: &FaultPlan| {
        let overrides = Overrides { lane: Some(Lane::Event), plan: Some(plan.clone()) };
        let verdict = run_seed(&world, seed, &overrides, &engine)?;
        let overlaps = envelope::overlaps(&verdict.history);
        Ok(verdict.violations.into_iter().map(|violation| violation.guarantee).chain(overlaps).collect())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let measured = envelope::envelope(Axis::ALL, args.seeds, threads, &run)?;
    let folder = args.out.as_deref().unwrap_or(Path::new(COMMITTED));
    let (table, chart) = (envelope::markdown(&measured), envelope::svg(&measured));
    let of_bugs =
        fs::read_to_string(folder.join(TABLE)).ok().and_then(|kept| Some(kept.split_once(BUGS)?.1.to_owned()));
    let whole = of_bugs.map_or_else(|| table.clone(), |of_bugs| format!("{table}\n{BUGS}{of_bugs}"));
    let files = [(TABLE, &whole), ("envelope.svg", &chart)];
    if args.json {
        println!("{}", serde_json::to_string(&measured).map_err(|error| error.to_string())?);
    } else {
        print!("{table}");
    }
    for (name, text) in files {
        let path = folder.join(name);
        if args.check {
            let kept =
                fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            if kept != *text {
                eprintln!("{} is not what was measured: write it anew with --out {COMMITTED}", path.display());
                return Ok(Verdict::Violated);
            }
        } else if args.out.is_some() {
            fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
    }
    Ok(Verdict::Held)
}

#[cfg(not(feature = "zoo"))]
fn with_bugs(_: &EnvelopeArgs, _: &tourbillon_sim::EngineFactory) -> Result<Verdict, String> {
    Err("no bugs are planted in this build: add --features zoo, as for `sim zoo`".to_owned())
}

#[cfg(feature = "zoo")]
fn with_bugs(args: &EnvelopeArgs, engine: &tourbillon_sim::EngineFactory) -> Result<Verdict, String> {
    let is_wanted = |flip: &&envelope::Flip| {
        args.mutant.iter().any(|id| id == "all" || id.eq_ignore_ascii_case(flip.mutant.id()))
    };
    let wanted: Vec<_> = envelope::FLIPS.iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        let known: Vec<_> = envelope::FLIPS.iter().map(|flip| flip.mutant.id()).collect();
        return Err(format!("no such bug trusts a clock; there are {}, and `all`", known.join(", ")));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let measured: Vec<_> = wanted
        .into_iter()
        .map(|flip| envelope::moved(flip, args.seeds, threads, engine))
        .collect::<Result<_, _>>()?;
    let table = envelope::bugs_markdown(&measured);
    if args.json {
        println!("{}", serde_json::to_string(&measured).map_err(|error| error.to_string())?);
    } else {
        print!("{table}");
    }
    if let Some(folder) = &args.out {
        let told = |error: std::io::Error| format!("cannot write into {}: {error}", folder.display());
        let kept = fs::read_to_string(folder.join(TABLE)).map_err(told)?;
        let above = kept.split_once(BUGS).map_or(kept.as_str(), |(above, _)| above).trim_end();
        let made = format!(
            "Made by `tourbillon sim envelope --mutant all --seeds {0} --out {COMMITTED}`, {0} seeds per value.",
            args.seeds
        );
        fs::write(folder.join(TABLE), format!("{above}\n\n{BUGS}\n{made}\n\n{table}")).map_err(told)?;
        fs::write(folder.join("envelope-bugs.svg"), envelope::bugs_svg(&measured)).map_err(told)?;
    }
    Ok(if measured.iter().all(envelope::Moved::is_as_expected) { Verdict::Held } else { Verdict::Violated })
}
