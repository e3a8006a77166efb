//! Exhaustive before random, in the small: what every `cargo test` can afford of `tourbillon sim exhaust`.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use tourbillon::store::Verb;
use tourbillon_sim::{
    EngineFactory,
    exhaust::{Exhaust, ExhaustReport, Extent, exhaust},
    fault::Then,
    scenario::Scenario,
    world::engine,
};

/// Every so many of the pairs: coprime to the seven faults, so that each meets each.
const ONE_IN: usize = 661;

fn load(name: &str) -> (String, Scenario) {
    let path = format!("scenarios/{name}.toml");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&path);
    (path, Scenario::load(&file).unwrap_or_else(|error| panic!("{error}")))
}

fn run(path: &str, what: &Exhaust<'_>) -> ExhaustReport {
    let memory: EngineFactory = Arc::new(|| Ok(engine::memory()));
    let report = exhaust(what, path, ("memory", &memory), &|_, _, _| {}).unwrap_or_else(|error| panic!("{error}"));
    let failures = report.failures.iter().map(|failed| format!("{}\n{}", failed.trial, failed.violations[0]));
    let failures: Vec<_> = failures.collect();
    let line = "cargo run --release -p tourbillon-cli -- sim exhaust";
    assert_eq!(report.violations, 0, "{}\nall of it: {line} {path}", failures.join("\n"));
    assert_eq!(report.unreached, [] as [&str; 0], "aimed at and not struck; all of it: {line} {path}");
    assert_eq!(report.run, report.reached);
    report
}

#[test]
fn every_verb_meets_every_fault_and_every_guarantee_holds() {
    let (path, scenario) = load("exhaustive");
    let report = run(&path, &Exhaust { occurrences: 1, ..Exhaust::new(&scenario) });
    for verb in Verb::NAMES {
        let met = report.struck.get(*verb).unwrap_or_else(|| {
            panic!("nobody asks `{verb}` in {path}: add a step to the round in sim/src/scenario/round.rs")
        });
        let met: BTreeSet<_> = met.keys().map(|kind| kind.name()).collect();
        let all: BTreeSet<_> = Then::OF_A_REQUEST.iter().map(|then| then.name()).collect();
        assert_eq!(met, all, "{verb}");
    }
}

#[test]
fn pairs_of_faults_break_no_guarantee() {
    let (path, scenario) = load("exhaustive-pairs");
    let extent = Extent::Pairs { within: u32::MAX };
    let report = run(&path, &Exhaust { extent, shards: ONE_IN, ..Exhaust::new(&scenario) });
    let verbs = report.verbs.len();
    assert!(verbs > 8, "only {verbs} verbs are asked in {path}");
    assert!(report.pairs_of_verbs * 2 > report.run, "pairs are met again and again: {}", report.pairs_of_verbs);
}
