//! `tourbillon sim zoo`.

#[cfg(not(feature = "zoo"))]
use crate::{args::ZooArgs, sim::Verdict};

/// `sim zoo` of a build without planted bugs.
#[cfg(not(feature = "zoo"))]
pub(crate) fn run(args: &ZooArgs) -> Result<Verdict, String> {
    // Nothing else looks at the rest.
    let ZooArgs {
        mutant: _,
        subset: _,
        starts: _,
        seeds: _,
        shrinks: _,
        orders: _,
        threads: _,
        engine: _,
        out: _,
        json: _,
    } = args;
    Err("no bugs are planted in this build: cargo run --release --features zoo --bin tourbillon -- sim zoo"
        .to_owned())
}

#[cfg(feature = "zoo")]
pub(crate) use planted::run;

#[cfg(feature = "zoo")]
mod planted {
    use std::{fs, path::Path};

    use tourbillon_sim::{
        scenario::Orders,
        zoo::{self, Limits, Line, Matrix, Mutant},
    };

    use crate::{args::ZooArgs, output, sim::Verdict};

    /// Where scenarios are.
    const SCENARIOS: &str = "scenarios";

    /// `sim zoo`.
    pub(crate) fn run(args: &ZooArgs) -> Result<Verdict, String> {
        let engine = args.engine.kind().factory().map_err(|error| error.to_string())?;
        let mutants = match (&args.mutant[..], args.subset) {
            ([], true) => zoo::SUBSET.to_vec(),
            ([], false) => Mutant::ALL.to_vec(),
            (ids, _) => ids.iter().map(|id| id.parse()).collect::<Result<_, String>>()?,
        };
        let usual = if args.subset {
            Limits { starts: 2, seeds: 60, shrinks: 0, ..Limits::default() }
        } else {
            Limits::default()
        };
        let limits = Limits {
            starts: args.starts.unwrap_or(usual.starts),
            seeds: args.seeds.unwrap_or(usual.seeds).min(zoo::STRIDE),
            shrinks: args.shrinks.unwrap_or(usual.shrinks),
            threads: args.threads.unwrap_or(usual.threads),
            orders: args.orders.then_some(Orders::USUAL),
            ..usual
        };
        let bar = output::progress(mutants.len() as u64, args.json);
        let matrix = zoo::visit(&mutants, Path::new(SCENARIOS), limits, &engine, &mut |line| {
            bar.inc(1);
            if !args.json {
                bar.suspend(|| println!("{}", shown(line)));
            }
        })?;
        bar.finish_and_clear();
        let json = serde_json::to_string_pretty(&matrix.lines).map_err(|error| error.to_string())?;
        if let Some(folder) = &args.out {
            write(folder, &matrix, &json).map_err(|error| format!("cannot write {}: {error}", folder.display()))?;
        }
        if args.json {
            println!("{json}");
        } else {
            println!("\n{}", matrix.summary());
        }
        Ok(if matrix.is_held() { Verdict::Held } else { Verdict::Violated })
    }

    fn write(folder: &Path, matrix: &Matrix, json: &str) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("matrix.md"), zoo::markdown(matrix))?;
        fs::write(folder.join("matrix.json"), format!("{json}\n"))
    }

    fn shown(line: &Line) -> String {
        let Some(property) = line.property else { return format!("{:<4} {}", line.mutant, line.place) };
        let (caught, starts) = line.starts;
        let reached = if line.reached { "reached" } else { "NOT REACHED" };
        let number = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), |value| value.to_string());
        format!(
            "{:<4} {property:<14} {reached}, caught {caught}/{starts}, seeds {} / {}, faults {}, {:.1} s  {}{}",
            line.mutant,
            number(line.seeds_median),
            number(line.seeds_worst),
            number(line.faults_shrunk.map(|faults| faults as u64)),
            line.seconds,
            line.others.join(" "),
            line.broken.as_ref().map_or_else(String::new, |broken| format!("  BROKEN: {broken}")),
        )
    }
}
