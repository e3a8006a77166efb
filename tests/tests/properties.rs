//! The guarantees as properties: proptest draws the faults, the simulation runs the scheduler, the checkers judge.
//!
//! `TOURBILLON_SEEDS` says how many seeds each property gets, `TOURBILLON_SEED` where they begin; a failure prints
//! the property, the seed, the shrunk plan, and one line that replays it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Mutex,
};

use tourbillon_sim::{
    Budget, Overrides, Seeds, Verdict,
    checker::{Findings, same_decisions},
    explain,
    fault::{self, Bad, FaultPlan},
    run_seed,
    scenario::Scenario,
    sweep,
};
use tourbillon_tests::engines::EngineKind;

const SCENARIO: &str = "scenarios/planned-executions.toml";

/// Seeds of each property when nothing is said: enough to meet every fault kind, few enough for every `cargo test`.
const DEFAULT_SEEDS: u64 = 12;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn scenario() -> Scenario {
    Scenario::load(&root().join(SCENARIO)).unwrap_or_else(|error| panic!("{error}"))
}

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`: give a whole number"))
}

/// Runs the seeds on an engine and demands that none of these guarantees is broken, and that each was exercised.
fn hold(guarantees: &[&str], engine: EngineKind, salt: u64) {
    let scenario = scenario();
    let factory = engine.factory().expect("needs no server");
    let first = number("TOURBILLON_SEED", salt);
    let seeds = Seeds { stop_after: 1, ..Seeds::new(first, number("TOURBILLON_SEEDS", DEFAULT_SEEDS)) };
    let named = (engine.name(), &factory);
    let report = sweep(&scenario, seeds, &Overrides::default(), named, &|_, _| {}).unwrap_or_else(|e| panic!("{e}"));
    if let Some(failure) = report.failures.first() {
        let verdict = run_seed(&scenario, failure.seed, &Overrides::default(), &factory).expect("ran before");
        let failure = explain(SCENARIO, &scenario, &verdict, named, Budget::default()).expect("it was violated");
        panic!("\n{failure}");
    }
    for guarantee in guarantees {
        let checks = report.checks.get(*guarantee).copied().unwrap_or(0);
        assert!(checks > 0, "{guarantee} was not exercised by seeds {first}..{}", first + report.seeds);
    }
}

/// G1, G6, G15: no execution is claimed while another lease on it is live, no slot is made twice, no limit is
/// exceeded.
#[test]
fn no_duplicate_claims() {
    hold(&["G1", "G6", "G15"], EngineKind::Sqlite, 1_000);
}

/// G2, G3, G4, G8: one end per generation, attempts within budget, E ≤ u + s ≤ max attempts + give-backs.
#[test]
fn bounded_duplicates() {
    hold(&["G2", "G3", "G4", "G8"], EngineKind::Memory, 2_000);
}

/// G5, G13, G14: after heal everything due is terminal within the stated bound, every slot is made or recorded.
#[test]
fn nothing_is_lost() {
    hold(&["G5", "G13", "G14"], EngineKind::Sqlite, 3_000);
}

/// G9: the audit log tells every transition that its job wants told, once, and nothing else.
#[test]
fn audit_equals_transitions() {
    hold(&["G9"], EngineKind::Sqlite, 9_000);
}

/// G10: replicas' wall clocks decide nothing. Moving them by up to days changes no byte of what the database was
/// told and answered.
#[test]
fn skew_changes_nothing() {
    let scenario = scenario();
    let engine = EngineKind::Memory.factory().expect("needs no server");
    let first = number("TOURBILLON_SEED", 4_000);
    let mut moved = 0;
    for seed in first..first + number("TOURBILLON_SEEDS", DEFAULT_SEEDS) {
        let mut without = fault::draw(&scenario, seed);
        without.faults.retain(|fault| !is_wall_skew(&fault.bad));
        let mut with = without.clone();
        with.faults.extend(skews(seed, scenario.replicas));
        moved += with.len() - without.len();
        let straight = run(&scenario, seed, Some(without), &engine);
        let skewed = run(&scenario, seed, Some(with), &engine);
        let Findings { checks, violations } = same_decisions(&straight.history, &skewed.history);
        assert!(checks > 0, "seed {seed}: nothing was compared");
        if let Some(violation) = violations.first() {
            panic!("seed {seed}, {}: {violation}", straight.lane);
        }
    }
    assert!(moved > 0);
}

fn run(scenario: &Scenario, seed: u64, plan: Option<FaultPlan>, engine: &tourbillon_sim::EngineFactory) -> Verdict {
    run_seed(scenario, seed, &Overrides { plan, ..Overrides::default() }, engine).unwrap_or_else(|e| panic!("{e}"))
}

fn is_wall_skew(bad: &Bad) -> bool {
    matches!(bad, Bad::ClockOffset { .. } | Bad::ClockJump { .. })
}

/// A jump of every replica's wall clock, each by another amount up to two days, at times that differ too.
fn skews(seed: u64, replicas: u8) -> Vec<tourbillon_sim::fault::Fault> {
    use tourbillon_sim::{chance, fault::Fault};
    let draw = |what, replica: u8, high| chance::between(chance::draw(seed, what, replica.into(), 0), 1, high);
    (0..replicas)
        .map(|replica| {
            let ms = i64::try_from(draw("skew", replica, 2 * 86_400_000)).expect("two days fit");
            let by_ms = if replica % 2 == 0 { ms } else { -ms };
            let at_s = u32::try_from(draw("skew at", replica, 240)).expect("four minutes fit");
            Fault { at_s, lasts_s: 0, replica, bad: Bad::ClockJump { by_ms } }
        })
        .collect()
}

/// Every regression file holds on both embedded engines.
#[test]
fn regressions_stay_mended() {
    let folder = root().join("scenarios/regressions");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("the folder of regressions").flatten().map(|f| f.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let broken = Mutex::new(BTreeSet::new());
    for path in &files {
        let scenario = Scenario::load(path).unwrap_or_else(|error| panic!("{error}"));
        for engine in [EngineKind::Memory, EngineKind::Sqlite] {
            let factory = engine.factory().expect("needs no server");
            let verdict = run(&scenario, scenario.seed.unwrap_or(0), None, &factory);
            for violation in &verdict.violations {
                let line = format!("{} on {}: {violation}", path.display(), engine.name());
                broken.lock().expect("not poisoned").insert(line);
            }
        }
    }
    let broken = broken.into_inner().expect("not poisoned");
    assert!(broken.is_empty(), "{} violations:\n{}", broken.len(), Vec::from_iter(broken).join("\n"));
}
