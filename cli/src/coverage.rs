//! `tourbillon sim coverage`.

#[cfg(not(feature = "zoo"))]
use crate::{args::CoverageArgs, sim::Verdict};

/// `sim coverage` of a build without marks.
#[cfg(not(feature = "zoo"))]
pub(crate) fn run(args: &CoverageArgs) -> Result<Verdict, String> {
    // Nothing else looks at the rest.
    let CoverageArgs { scenarios: _, seeds: _, threads: _, engine: _, out: _, json: _ } = args;
    Err("no coverage marks are in this build: cargo run --release -p tourbillon-cli --features zoo -- sim coverage"
        .to_owned())
}

#[cfg(feature = "zoo")]
pub(crate) use marked::run;

#[cfg(feature = "zoo")]
mod marked {
    use std::{fs, path::Path};

    use tourbillon_sim::coverage::{self, Cover, Coverage};

    use crate::{args::CoverageArgs, output, sim::Verdict};

    /// `sim coverage`.
    pub(crate) fn run(args: &CoverageArgs) -> Result<Verdict, String> {
        let engine = args.engine.kind().factory().map_err(|error| error.to_string())?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the command lies in the workspace");
        let mut what = Cover::everything(&root.join("scenarios"), args.seeds)?;
        if !args.scenarios.is_empty() {
            (what.scenarios, what.is_exhaustive, what.mutants) = (args.scenarios.clone(), false, Vec::new());
        }
        what.threads = args.threads.unwrap_or(what.threads);
        let bar = output::progress(0, args.json);
        let found = coverage::cover(&what, root, &engine, &mut |next| bar.set_message(next.to_owned()))?;
        bar.finish_and_clear();
        let json = serde_json::to_string_pretty(&found).map_err(|error| error.to_string())?;
        if let Some(folder) = &args.out {
            let files = [("coverage.md", coverage::markdown(&found)), ("coverage.json", format!("{json}\n"))];
            for (name, text) in files {
                let path = folder.join(name);
                fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            }
        }
        if args.json {
            println!("{json}");
        } else {
            print!("{}", coverage::markdown(&found));
        }
        Ok(verdict(&found))
    }

    fn verdict(found: &Coverage) -> Verdict {
        for violation in &found.violations {
            eprintln!("{violation}");
        }
        for row in found.unexplained() {
            eprintln!("{}:{}: no run reaches {:?}", row.file, row.line, row.mark);
        }
        let is_held = found.violations.is_empty() && found.unexplained().next().is_none();
        if is_held { Verdict::Held } else { Verdict::Violated }
    }
}
