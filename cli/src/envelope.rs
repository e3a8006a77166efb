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

/// `sim envelope`.
pub(crate) fn run(args: &EnvelopeArgs) -> Result<Verdict, String> {
    let engine = args.engine.kind().factory().map_err(|error| error.to_string())?;
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
    let files = [("envelope.md", &table), ("envelope.svg", &chart)];
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
