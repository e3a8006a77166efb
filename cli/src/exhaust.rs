//! `tourbillon sim exhaust`.

use std::fmt::Write as _;

use tourbillon_sim::{
    exhaust::{Exhaust, ExhaustReport, Extent, exhaust},
    fault::Then,
    scenario::Scenario,
};

use crate::{args::ExhaustArgs, output, sim::Verdict};

/// `sim exhaust`.
pub(crate) fn run(args: &ExhaustArgs) -> Result<Verdict, String> {
    let scenario = Scenario::load(&args.scenario).map_err(|error| error.to_string())?;
    let kind = args.engine.kind();
    let engine = kind.factory().map_err(|error| error.to_string())?;
    let mut what = Exhaust::new(&scenario);
    what.seed = args.seed.unwrap_or(what.seed);
    what.threads = args.threads.unwrap_or(what.threads);
    if args.pairs || args.within.is_some() {
        what.extent = Extent::Pairs { within: args.within.unwrap_or(u32::MAX) };
    }
    let narrow = |number: u64| usize::try_from(number).map_err(|_| "a shard is too large".to_owned());
    (what.shard, what.shards) = (narrow(args.shard.0 - 1)?, narrow(args.shard.1)?);
    let path = args.scenario.display().to_string();
    let bar = output::progress(0, args.json);
    let report = exhaust(&what, &path, (kind.name(), &engine), &|done, of, violations| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        bar.set_message(format!("{violations} violations"));
    })?;
    bar.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string(&report).map_err(|error| error.to_string())?);
    } else {
        print!("{}", summary(&report));
    }
    for failure in &report.failures {
        eprintln!("\n{}", failure.trial);
        for violation in &failure.violations {
            eprintln!("{violation}");
        }
        eprintln!("a file for scenarios/regressions/, and for `sim replay`:");
        for line in failure.regression.lines() {
            eprintln!("    {line}");
        }
    }
    Ok(if report.violations == 0 && report.unreached.is_empty() { Verdict::Held } else { Verdict::Violated })
}

fn summary(report: &ExhaustReport) -> String {
    let mut text = String::new();
    let requests: u32 = report.verbs.values().sum();
    let _ = writeln!(
        text,
        "{}: {requests} requests of {} verbs in the run without faults, seed {} on {} (event lane)",
        report.scenario,
        report.verbs.len(),
        report.seed,
        report.engine
    );
    let faults = if report.faults_per_run == 1 { "one fault" } else { "two faults" };
    let _ = writeln!(
        text,
        "{} of {} runs with {faults} each, {} of them struck as aimed; {} events, {:.1} simulated hours in {:.1} s\n",
        report.run,
        report.trials,
        report.reached,
        report.events,
        report.sim_seconds / 3600.0,
        report.wall_seconds
    );
    let kinds: Vec<_> = Then::OF_A_REQUEST.iter().map(|then| then.name()).collect();
    let _ = write!(text, "{:<18} {:>6}", "verb", "asked");
    for kind in &kinds {
        let _ = write!(text, " {kind:>12}");
    }
    text.push('\n');
    for (verb, struck) in &report.struck {
        let _ = write!(text, "{verb:<18} {:>6}", report.verbs.get(verb).copied().unwrap_or(0));
        for kind in &kinds {
            let times = struck.iter().find(|(struck, _)| struck.name() == *kind).map_or(0, |(_, times)| *times);
            let _ = write!(text, " {times:>12}");
        }
        text.push('\n');
    }
    if report.faults_per_run > 1 {
        let _ = writeln!(text, "\n{} pairs of (verb, fault) were met", report.pairs_of_verbs);
    }
    for trial in report.unreached.iter().take(10) {
        let _ = writeln!(text, "not struck as aimed: {trial}");
    }
    let rest = report.unreached.len().saturating_sub(10);
    if rest > 0 {
        let _ = writeln!(text, "… and {rest} more");
    }
    let _ = match report.violations {
        0 => writeln!(text, "\nevery guarantee held"),
        violations => writeln!(text, "\n{violations} violations in {} runs or more", report.failures.len()),
    };
    text
}
