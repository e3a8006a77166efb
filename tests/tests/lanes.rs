//! Both lanes tell the same story: what holds on one holds on the other, and what is broken is found on both.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tourbillon::{
    model::Timestamp,
    store::{Reply, Request, StoreError, Verb},
};
use tourbillon_sim::{
    EngineFactory, Lane, Overrides, Verdict, run_seed,
    scenario::{Phases, Scenario},
    world::engine::{self, Engine},
};
use tourbillon_tests::engines::EngineKind;

const LANES: [Lane; 2] = [Lane::Event, Lane::Turmoil { tick: Some(Duration::from_millis(20)) }];

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn load(path: &Path) -> Scenario {
    Scenario::load(path).unwrap_or_else(|error| panic!("{error}"))
}

/// The planned executions with ten minutes of faults.
fn short() -> Scenario {
    let scenario = load(&scenarios().join("planned-executions.toml"));
    Scenario { phases: Phases { chaos: Duration::from_secs(600), ..scenario.phases }, ..scenario }
}

fn run(scenario: &Scenario, seed: u64, lane: Lane, engine: &EngineFactory) -> Verdict {
    let overrides = Overrides { lane: Some(lane), plan: None };
    run_seed(scenario, seed, &overrides, engine).unwrap_or_else(|error| panic!("seed {seed}, {lane}: {error}"))
}

fn broken(verdict: &Verdict) -> BTreeSet<&str> {
    verdict.violations.iter().map(|violation| violation.guarantee.as_str()).collect()
}

#[test]
fn regressions_have_the_same_verdict_on_both_lanes() {
    let engine = EngineKind::Memory.factory().expect("needs no server");
    let mut files: Vec<_> =
        scenarios().join("regressions").read_dir().expect("the folder").flatten().map(|file| file.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(!files.is_empty());
    // The longest test of its target by far: one thread of its own for each half.
    let (left, right) = files.split_at(files.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| left.iter().for_each(|path| hold_on_both_lanes(path, &engine)));
        right.iter().for_each(|path| hold_on_both_lanes(path, &engine));
    });
}

fn hold_on_both_lanes(regression: &Path, engine: &EngineFactory) {
    let scenario = load(regression);
    let seed = scenario.seed.unwrap_or(0);
    for lane in LANES {
        let verdict = run(&scenario, seed, lane, engine);
        assert_eq!(verdict.violations, [], "{}, {lane}", regression.display());
        // A plan that never took hold would be no regression any more.
        let planned: BTreeSet<_> = verdict.plan.faults.iter().map(|fault| fault.bad.kind()).collect();
        let missed: Vec<_> = planned.iter().filter(|kind| !verdict.fired.contains_key(kind)).collect();
        assert!(missed.is_empty(), "{}, {lane}: {missed:?} did not take hold", regression.display());
    }
}

#[test]
fn drawn_seeds_have_the_same_verdict_on_both_lanes() {
    let (scenario, engine) = (short(), EngineKind::Memory.factory().expect("needs no server"));
    for seed in 5_000..5_008 {
        let [event, turmoil] = LANES.map(|lane| run(&scenario, seed, lane, &engine));
        assert_eq!(event.plan, turmoil.plan, "seed {seed}");
        assert_eq!(event.violations, [], "seed {seed}");
        assert_eq!(turmoil.violations, [], "seed {seed}");
        // What is exercised is the same, too: as many facts, give or take what faults make of the difference in time.
        for (guarantee, checks) in &event.checks {
            let (here, there) = (*checks, turmoil.checks[guarantee]);
            let near = here.abs_diff(there) <= here.max(there) / 2 + 50;
            assert!(near, "seed {seed}: {guarantee} has {here} checks on the event lane, {there} on turmoil");
        }
    }
}

/// A store whose clock is an hour ahead for those who claim: it gives away leases that are held.
struct Generous(Box<dyn Engine + Send>);

impl Engine for Generous {
    fn apply(&mut self, now: Timestamp, request: &Request) -> Result<Reply, StoreError> {
        let ahead = if matches!(request.verb, Verb::Claim(_)) { Duration::from_secs(3_600) } else { Duration::ZERO };
        self.0.apply(now + ahead, request)
    }
}

#[test]
fn a_store_that_gives_held_leases_away_is_found_out_on_both_lanes() {
    let scenario = short();
    let generous: EngineFactory = Arc::new(|| Ok(Box::new(Generous(engine::memory()))));
    for seed in 0..3 {
        let [event, turmoil] = LANES.map(|lane| run(&scenario, seed, lane, &generous));
        assert!(broken(&event).contains("G1"), "seed {seed}: {:?}", broken(&event));
        assert_eq!(broken(&event), broken(&turmoil), "seed {seed}");
    }
}
