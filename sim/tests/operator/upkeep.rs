//! Loops 5, 11, 14 and 15.

use tourbillon_sim::{fault::Bad, operator::loops::Loop};

use super::world::Run;

/// By ten minutes, on the second replica.
fn ahead(run: Run) -> Run {
    run.fault(1, 0, 1, Bad::ClockOffset { by_ms: 600_000 })
}

/// Documented: idempotent. Confirmed without faults.
#[test]
fn naive_agents_are_offline_when_they_are_silent() {
    let shown = Run::of(&[Loop::AgentHealth]).show();
    assert_eq!(shown.counts(Loop::AgentHealth), (0, 0));
}

/// Not documented: silence is judged by the replica's clock.
#[test]
fn naive_live_agents_are_set_offline_by_a_clock_that_is_ahead() {
    let shown = ahead(Run::of(&[Loop::AgentHealth])).show();
    let (naive, hardened) = shown.counts(Loop::AgentHealth);
    assert!(naive > 0);
    assert_eq!(hardened, 0);
}

/// Documented: idempotent. Refuted without faults: the count is read, then written; of three failed probes one counts.
#[test]
fn naive_failures_of_three_replicas_are_counted_as_one() {
    let shown = Run::of(&[Loop::HealthCheck]).show();
    let (naive, hardened) = shown.counts(Loop::HealthCheck);
    assert!(naive > 0);
    assert_eq!(hardened, 0);
}

/// Documented: idempotent. Confirmed without faults; a clock that is ahead deletes what has not expired.
#[test]
fn naive_collection_deletes_live_rows_when_its_clock_is_ahead() {
    let loops = [Loop::AcmeGc, Loop::SessionGc];
    let shown = Run::of(&loops).show();
    assert_eq!((shown.counts(Loop::AcmeGc), shown.counts(Loop::SessionGc)), ((0, 0), (0, 0)));
    let shown = ahead(Run::of(&loops)).show();
    for which in loops {
        let (naive, hardened) = shown.counts(which);
        assert!(naive > 0, "{which}");
        assert_eq!(hardened, 0, "{which}");
    }
}
