//! The guard of a process, and what a shutdown does about ticks in flight.

use std::collections::BTreeMap;

use tourbillon_sim::{
    fault::Bad,
    history::{Event, History, ShutdownOutcome, What},
    operator::{Variant, loops::Loop},
};

use super::world::Run;

// P-40
#[test]
fn a_tick_does_not_begin_while_the_one_before_it_still_runs_in_its_process() {
    // From its first claim on nobody reaches the database for a while: each mark waits for its deadline, and a tick
    // with all its jobs outlasts the interval.
    let mut run = Run::of(&[Loop::RenewalCheck, Loop::JobProcessor]);
    for replica in 0..3 {
        run = run.fault(32, 100, replica, Bad::Hold);
    }
    let history = run.history(Variant::Naive);
    assert!(longest_tick_s(&history, Loop::JobProcessor) > 30, "no tick outlasted the interval");
    assert_eq!(run.show().naive(Loop::JobProcessor, "ticks at once in a process"), 1);
}

fn longest_tick_s(history: &History, which: Loop) -> u64 {
    let mut began = BTreeMap::new();
    let mut longest = 0;
    for event in &history.events {
        match &event.what {
            What::TickStarted { tick, service, .. } if service.as_str() == which.id() => {
                began.insert(*tick, event.at_us);
            }
            What::TickEnded { tick, .. } => {
                let took = began.remove(tick).map_or(0, |began| event.at_us - began);
                longest = longest.max(took / 1_000_000);
            }
            _ => {}
        }
    }
    longest
}

// P-42
#[test]
fn a_shutdown_drains_what_is_in_flight_or_names_it() {
    for (grace_s, is_drained) in [(30, true), (0, false)] {
        // Within a tick that asks the CA for one certificate after the other, two seconds each.
        let mut run = Run::of(&[Loop::RenewalCheck, Loop::JobProcessor]);
        for replica in 0..3 {
            run = run.fault(33, 60, replica, Bad::Shutdown { grace_s });
        }
        let history = run.history(Variant::Naive);
        let timeouts: Vec<_> = history.events.iter().filter_map(named_by_shutdown).flatten().collect();
        let is_named = timeouts.iter().any(|name| name.contains("job_processor"));
        assert_eq!(is_named, !is_drained, "{timeouts:?}");
    }
}

fn named_by_shutdown(event: &Event) -> Option<Vec<String>> {
    match &event.what {
        What::ShutdownEnded { outcome: ShutdownOutcome::Timeout(names), .. } => Some(names.clone()),
        _ => None,
    }
}
