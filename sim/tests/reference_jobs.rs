//! The reference jobs (P-14) without faults, through a gap and a fold: exactly these slots.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use tourbillon::model::SkipReason;
use tourbillon_sim::{
    EngineFactory, Overrides,
    fault::FaultPlan,
    history::{FinalState, What},
    run_seed,
    scenario::Scenario,
    world::engine,
};

fn end() -> FinalState {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/reference-jobs.toml");
    let scenario = Scenario::load(&file).unwrap_or_else(|error| panic!("{error}"));
    let overrides = Overrides { plan: Some(FaultPlan::default()), ..Overrides::default() };
    let memory: EngineFactory = Arc::new(|| Ok(engine::memory()));
    let verdict = run_seed(&scenario, 1, &overrides, &memory).expect("the world holds");
    assert_eq!(verdict.violations, []);
    let mut events = verdict.history.events.into_iter();
    let end = events.find_map(|event| match event.what {
        What::Ended { state } => Some(state),
        _ => None,
    });
    *end.expect("a final state")
}

/// By trigger, the times of its slots, without date and seconds.
fn slots(state: &FinalState) -> BTreeMap<String, Vec<String>> {
    let mut slots: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in state.executions.iter().filter(|row| row.job.as_str() == "reminder") {
        let slot = row.slot_at.expect("planned").to_string()[11..16].to_owned();
        slots.entry(row.scope.id().to_owned()).or_default().push(slot);
    }
    slots.values_mut().for_each(|slots| slots.sort());
    slots
}

// P-1, P-13, P-14
#[test]
fn triggers_run_at_their_wall_times_through_a_gap_a_fold_and_edits() {
    let state = end();
    let slots = slots(&state);
    let check = |trigger: &str, expected: &[&str]| {
        let found = slots.get(trigger).map_or(&[] as &[String], Vec::as_slice);
        let until = found.len().min(expected.len());
        assert_eq!(&found[..until], expected, "{trigger}: {found:?}");
    };
    check("nightly", &["01:00"]);
    check("night-hour", &["01:00"]);
    assert_eq!(slots.get("never-at-3"), None);
    let left_out = state.skipped.iter().filter(|entry| entry.slots.reason == SkipReason::Gap);
    let left_out: Vec<_> = left_out.map(|entry| (entry.scope.id(), entry.slots.count)).collect();
    assert_eq!(left_out, [("never-at-3", Some(1))], "it is told why");
    check("quarterly", &["00:15", "00:30", "00:45", "01:00", "01:15"]);
    check("half-past", &["00:30", "01:30", "02:30", "03:30", "04:30"]);
    check("late-first", &["02:30"]);
    check("late-last", &["03:30"]);
    check("late-both", &["02:30", "03:30"]);
    check("edited", &["00:20", "00:40", "01:00", "01:20", "01:40", "02:00", "02:30", "03:00"]);
    check("passing", &["00:40", "00:50", "01:00"]);
    let returning: Vec<_> = slots["returning"].iter().filter(|slot| *slot.as_str() < *"02:45").collect();
    let expected =
        ["00:10", "00:20", "00:30", "00:40", "00:50", "01:00", "01:10", "01:20", "01:30", "02:30", "02:40"];
    assert_eq!(returning, expected);
    for (trigger, total) in [("nightly", 1), ("night-hour", 1), ("late-first", 1), ("late-last", 1), ("passing", 3)] {
        assert_eq!(slots[trigger].len(), total, "{trigger}");
    }
    let dropped = state.skipped.iter().filter(|entry| entry.slots.reason == SkipReason::ScheduleChanged);
    let dropped: BTreeMap<_, u32> = dropped.fold(BTreeMap::new(), |mut dropped, entry| {
        *dropped.entry(entry.scope.id().to_owned()).or_default() += 1;
        dropped
    });
    let expected = [("edited", 1), ("passing", 1), ("returning", 2)];
    assert_eq!(dropped, expected.map(|(scope, times)| (scope.to_owned(), times)).into());
}
