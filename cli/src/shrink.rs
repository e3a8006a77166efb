//! `tourbillon sim shrink`: a failing seed in, a regression file out.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use tourbillon_sim::{Budget, explain, run_seed, scenario::regression_file};

use crate::{
    args::ShrinkArgs,
    sim::{Verdict, prepare},
};

pub(crate) fn run(args: &ShrinkArgs) -> Result<Verdict, String> {
    let prepared = prepare(&args.common)?;
    let (scenario, seed) = (&prepared.scenario, prepared.first_seed);
    let verdict = run_seed(scenario, seed, &prepared.overrides, &prepared.engine)?;
    if verdict.violations.is_empty() {
        eprintln!("seed {seed} of {} breaks nothing: there is nothing to shrink", scenario.name);
        return Ok(Verdict::Held);
    }
    let budget = Budget { runs: args.runs, wall: args.wall };
    let named = (prepared.engine_name, &prepared.engine);
    let failure = explain(&prepared.path, scenario, &verdict, named, budget)?;
    eprintln!("{failure}");
    let base = scenario.based_on.as_deref().unwrap_or(&prepared.path);
    let text =
        |base: &str| format!("# {}\n{}", failure.violation, regression_file(base, scenario, &failure.smallest));
    match &args.out {
        None => print!("{}", text(base)),
        Some(out) => {
            let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let cannot = |error| format!("cannot write {}: {error}", out.display());
            fs::create_dir_all(folder).map_err(cannot)?;
            let base = relative(folder, Path::new(base)).map_err(cannot)?;
            fs::write(out, text(&base.display().to_string())).map_err(cannot)?;
            eprintln!("  written: {}", out.display());
        }
    }
    Ok(Verdict::Violated)
}

/// The way from a folder to a file, both of which exist: what a regression file names its scenario by.
fn relative(from: &Path, to: &Path) -> std::io::Result<PathBuf> {
    let (from, to) = (from.canonicalize()?, to.canonicalize()?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    Ok(up.chain(to.components().skip(shared)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regression_names_its_scenario_from_its_own_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let scenario = root.join("scenarios/planned-executions.toml");
        let way = |folder: &str| relative(&root.join(folder), &scenario).expect("both exist");
        assert_eq!(way("scenarios/regressions"), Path::new("../planned-executions.toml"));
        assert_eq!(way("scenarios"), Path::new("planned-executions.toml"));
        assert_eq!(way("cli/src"), Path::new("../../scenarios/planned-executions.toml"));
    }
}
