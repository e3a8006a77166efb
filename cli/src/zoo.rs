//! `tourbillon sim zoo`.

#[cfg(not(feature = "zoo"))]
use crate::{args::ZooArgs, sim::Verdict};

/// `sim zoo` of a build without planted bugs.
#[cfg(not(feature = "zoo"))]
pub(crate) fn run(args: &ZooArgs) -> Result<Verdict, String> {
    // Nothing else looks at the rest.
    let ZooArgs { mutant: _, subset: _, missing: _, starts: _, seeds: _, shrinks: _, turmoils: _, .. } = args;
    let ZooArgs { orders: _, threads: _, engine: _, out: _, json: _, .. } = args;
    Err("no bugs are planted in this build: cargo run --release -p tourbillon-cli --features zoo -- sim zoo"
        .to_owned())
}

#[cfg(feature = "zoo")]
pub(crate) use planted::run;

#[cfg(feature = "zoo")]
mod planted {
    use std::{fs, io::ErrorKind, path::Path};

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
        let mut matrix = args.out.as_deref().map_or_else(|| Ok(Matrix::default()), read)?;
        let is_there = |mutant: &Mutant| matrix.lines().iter().any(|line| line.mutant == mutant.id());
        let mutants: Vec<Mutant> = match (&args.mutant[..], args.subset) {
            ([], true) => zoo::SUBSET.to_vec(),
            ([], false) => Mutant::ALL.iter().copied().filter(|one| !args.missing || !is_there(one)).collect(),
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
            turmoils: args.turmoils.unwrap_or(usual.turmoils),
            threads: args.threads.unwrap_or(usual.threads),
            orders: args.orders.then_some(Orders::USUAL),
            ..usual
        };
        let bar = output::progress(mutants.len() as u64, args.json);
        zoo::visit(&mutants, Path::new(SCENARIOS), limits, &engine, &mut |line| {
            bar.inc(1);
            if !args.json {
                bar.suspend(|| println!("{}", shown(&line)));
            }
            matrix.put(line);
            // After each, so that a hunt that is cut short can go on with `--missing`.
            args.out.as_deref().map_or(Ok(()), |folder| write(folder, &matrix))
        })?;
        bar.finish_and_clear();
        if args.json {
            println!("{}", json(&matrix)?);
        } else {
            println!("\n{}", matrix.summary());
        }
        Ok(if matrix.is_held() { Verdict::Held } else { Verdict::Violated })
    }

    fn json(matrix: &Matrix) -> Result<String, String> {
        serde_json::to_string_pretty(matrix.lines()).map_err(|error| error.to_string())
    }

    /// The matrix of that folder, if there is one.
    fn read(folder: &Path) -> Result<Matrix, String> {
        let file = folder.join("matrix.json");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Matrix::default()),
            Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
        };
        let lines = serde_json::from_str(&text)
            .map_err(|error| format!("{} is no matrix ({error}): remove it to begin anew", file.display()))?;
        Ok(Matrix::of(lines))
    }

    fn write(folder: &Path, matrix: &Matrix) -> Result<(), String> {
        let json = format!("{}\n", json(matrix)?);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(folder.join("matrix.md"), matrix.markdown()))
            .and_then(|()| fs::write(folder.join("matrix.json"), json))
            .map_err(|error| format!("cannot write {}: {error}", folder.display()))
    }

    fn shown(line: &Line) -> String {
        let Some(property) = &line.property else { return format!("{:<4} {}", line.mutant, line.place) };
        let (caught, starts) = line.starts;
        let reached = if line.reached { "reached" } else { "NOT REACHED" };
        let number = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), |value| value.to_string());
        format!(
            "{:<4} {property:<14} {reached}, caught {caught}/{starts}, seeds {} / {}, faults {}, turmoil {}/{}, {:.1} s  {}{}{}",
            line.mutant,
            number(line.seeds_median),
            number(line.seeds_worst),
            number(line.faults_shrunk.map(|faults| faults as u64)),
            line.turmoil.0,
            line.turmoil.1,
            line.seconds,
            line.others.join(" "),
            line.broken.as_ref().map_or_else(String::new, |broken| format!("  BROKEN: {broken}")),
            line.unmutated.first().map_or_else(String::new, |broken| format!("  WITHOUT IT: {broken}")),
        )
    }
}
