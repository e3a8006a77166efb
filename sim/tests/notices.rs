//! What notices are worth in the simulated world: how long items wait that are due when they are enqueued, with notices
//! that come, that are lost, that come twice or late. Polls are rare in that scenario.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use tourbillon::{
    model::ExecutionId,
    store::{Due, EnqueueOutcome, Reply, Verb},
};
use tourbillon_sim::{
    EngineFactory, Lane, Overrides, Verdict,
    fault::{Bad, Fault, FaultKind, FaultPlan},
    history::What,
    run_seed,
    scenario::Scenario,
    world::engine,
};

const LANES: [Lane; 2] = [Lane::Event, Lane::Turmoil { tick: Some(Duration::from_millis(20)) }];

fn scenario() -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/wake-ups.toml");
    let mut scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
    scenario.phases.chaos = Duration::from_secs(300);
    scenario
}

/// A seed with these faults of notices on every replica, from the first second to the end of chaos.
fn run(lane: Lane, faults: &[Bad]) -> Verdict {
    let all = faults
        .iter()
        .flat_map(|bad| (0..3).map(|replica| Fault { at_s: 0, lasts_s: 300, replica, bad: bad.clone() }));
    let plan = FaultPlan { faults: all.collect(), triggers: Vec::new() };
    let engine: EngineFactory = Arc::new(|| Ok(engine::memory()));
    let overrides = Overrides { lane: Some(lane), plan: Some(plan) };
    let verdict = run_seed(&scenario(), 1, &overrides, &engine).unwrap_or_else(|error| panic!("{lane}: {error}"));
    assert_eq!(verdict.violations, [], "{lane}");
    verdict
}

/// For how long items waited that were due when they were enqueued, within chaos, shortest first.
fn waits(verdict: &Verdict) -> Vec<Duration> {
    let mut enqueued: BTreeMap<ExecutionId, u64> = BTreeMap::new();
    let mut waits = Vec::new();
    for event in verdict.history.events.iter().take_while(|event| event.at_us < 270_000_000) {
        let What::Applied { request, result: Ok(reply), .. } = &event.what else { continue };
        match (&request.verb, reply) {
            (Verb::Enqueue(verb), Reply::Enqueued(reply)) => {
                let due = verb.items.iter().zip(&reply.outcomes).filter(|(item, _)| item.due == Due::AfterMs(0));
                let stored = due.filter(|(item, outcome)| **outcome == EnqueueOutcome::Enqueued(item.id));
                enqueued.extend(stored.map(|(item, _)| (item.id, event.at_us)));
            }
            (_, Reply::Claimed(claimed)) => {
                let taken = claimed.executions.iter().filter_map(|row| enqueued.remove(&row.id));
                waits.extend(taken.map(|since_us| Duration::from_micros(event.at_us - since_us)));
            }
            _ => {}
        }
    }
    waits.sort();
    assert!(waits.len() > 100, "{} items", waits.len());
    waits
}

fn fired(verdict: &Verdict, kind: FaultKind) -> u64 {
    verdict.fired.get(&kind).copied().unwrap_or(0)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn with_notices_nobody_waits_for_the_poll() {
    for lane in LANES {
        let waits = waits(&run(lane, &[]));
        let longest = waits[waits.len() - 1];
        assert!(longest < SECOND, "{lane}: {longest:?}");
    }
}

#[test]
fn without_them_everybody_does_and_no_longer() {
    for lane in LANES {
        let verdict = run(lane, &[Bad::NoticesLost { percent: 100 }]);
        let waits = waits(&verdict);
        // Three replicas poll every twenty seconds, and a tenth later.
        let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        assert!(median > SECOND && longest < 23 * SECOND, "{lane}: half {median:?}, longest {longest:?}");
        assert!(fired(&verdict, FaultKind::NoticesLost) > 100, "{:?}", verdict.fired);
    }
}

#[test]
fn late_ones_come_late_and_double_ones_do_no_harm() {
    for lane in LANES {
        let late = Bad::NoticesLate { percent: 100, delay_ms: 3_000 };
        let verdict = run(lane, &[late]);
        let waits = waits(&verdict);
        let longest = waits[waits.len() - 1];
        assert!(longest > 2 * SECOND && longest < 4 * SECOND, "{lane}: {longest:?}");
        assert!(fired(&verdict, FaultKind::NoticesLate) > 100, "{:?}", verdict.fired);
    }
    let verdict = run(Lane::Event, &[Bad::NoticesDoubled { percent: 100 }]);
    let waits = waits(&verdict);
    assert!(
        waits[waits.len() - 1] < SECOND && fired(&verdict, FaultKind::NoticesDoubled) > 100,
        "{:?}",
        verdict.fired
    );
}
