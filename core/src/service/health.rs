//! The health of one service in one replica: a record of how its ticks ended (P-23, P-24). Pure: times are arguments.

use std::time::Duration;

use super::{HaMode, Skip, TickError, TickOutcome};
use crate::{
    model::{ServiceName, Timestamp},
    runtime::Monotonic,
};

/// Ticks of one service since this process started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TickCounts {
    /// The pass succeeded.
    pub succeeded: u64,
    /// The pass, or trying the lock, failed.
    pub failed: u64,
    /// Skipped, for whatever reason.
    pub skipped: u64,
}

/// How a service fares in this replica. Instants are by the replica's wall clock and for display only; ages are by
/// its monotonic clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// The service.
    pub service: ServiceName,
    /// Its mode.
    pub mode: HaMode,
    /// Whether a tick runs now.
    pub running: bool,
    /// End of the last pass that succeeded.
    pub last_success_at: Option<Timestamp>,
    /// End of the last tick that failed; a later success does not clear it.
    pub last_failure_at: Option<Timestamp>,
    /// Why it failed; a success clears it.
    pub last_error: Option<String>,
    /// Failed ticks since the last success. Skipped ones do not count.
    pub consecutive_failures: u32,
    /// The last skipped tick, and why.
    pub last_skip: Option<(Timestamp, Skip)>,
    /// How long the last pass took.
    pub last_duration: Option<Duration>,
    /// For metrics.
    pub ticks: TickCounts,
    /// Time since the service was last known to be well here: a success, or a skip for any reason but a tick that
    /// does not end. Counted from the start of the process when there was neither.
    pub age: Duration,
}

impl Health {
    /// Whether nothing good was heard of the service for longer than `max_age`. Its interval, its timeout and some
    /// reserve together are a sensible `max_age`.
    pub fn is_stale(&self, max_age: Duration) -> bool {
        self.age > max_age
    }
}

/// What is kept between snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    health: Health,
    well_at: Monotonic,
}

impl Record {
    pub(crate) fn new(service: ServiceName, mode: HaMode, started_at: Monotonic) -> Self {
        let health = Health {
            service,
            mode,
            running: false,
            last_success_at: None,
            last_failure_at: None,
            last_error: None,
            consecutive_failures: 0,
            last_skip: None,
            last_duration: None,
            ticks: TickCounts::default(),
            age: Duration::ZERO,
        };
        Self { health, well_at: started_at }
    }

    /// A tick begins, unless one runs already.
    pub(crate) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.health.running, true)
    }

    /// The tick that began is over.
    pub(crate) fn end(&mut self) {
        self.health.running = false;
    }

    /// `took` is how long the pass ran, if there was one.
    pub(crate) fn note(&mut self, outcome: &TickOutcome, took: Option<Duration>, now: Monotonic, wall: Timestamp) {
        let health = &mut self.health;
        health.last_duration = took.or(health.last_duration);
        match outcome {
            TickOutcome::Succeeded(_) => {
                health.ticks.succeeded += 1;
                health.last_success_at = Some(wall);
                health.last_error = None;
                health.consecutive_failures = 0;
                self.well_at = now;
            }
            TickOutcome::Skipped(skip) => {
                health.ticks.skipped += 1;
                health.last_skip = Some((wall, *skip));
                if *skip != Skip::StillRunning {
                    self.well_at = now;
                }
            }
            TickOutcome::Failed(error) => {
                health.ticks.failed += 1;
                health.last_failure_at = Some(wall);
                health.last_error = Some(TickError::to_string(error));
                health.consecutive_failures = health.consecutive_failures.saturating_add(1);
            }
        }
    }

    pub(crate) fn snapshot(&self, now: Monotonic) -> Health {
        Health { age: now.since(self.well_at), ..self.health.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Pass;

    fn record() -> Record {
        Record::new(ServiceName::new("crl").unwrap(), HaMode::EveryReplica, Monotonic::default())
    }

    fn at(secs: u64) -> (Monotonic, Timestamp) {
        (Monotonic(Duration::from_secs(secs)), Timestamp::from_secs(1_000 + i64::try_from(secs).unwrap()))
    }

    fn note(record: &mut Record, secs: u64, outcome: &TickOutcome) {
        let (now, wall) = at(secs);
        record.note(outcome, None, now, wall);
    }

    // P-23, P-24
    #[test]
    fn a_success_clears_error_and_count_and_keeps_the_last_failure() {
        let mut record = record();
        for secs in [1, 2] {
            note(&mut record, secs, &TickOutcome::Failed(TickError::Work("no signer".to_owned())));
        }
        let health = record.snapshot(at(2).0);
        assert_eq!(health.last_error.as_deref(), Some("the pass failed: no signer"));
        assert_eq!((health.consecutive_failures, health.last_failure_at), (2, Some(at(2).1)));
        note(&mut record, 3, &TickOutcome::Succeeded(Pass::default()));
        note(&mut record, 4, &TickOutcome::Skipped(Skip::Gate));
        let health = record.snapshot(at(4).0);
        assert_eq!((health.last_error, health.consecutive_failures), (None, 0));
        assert_eq!((health.last_success_at, health.last_failure_at), (Some(at(3).1), Some(at(2).1)));
        assert_eq!(health.last_skip, Some((at(4).1, Skip::Gate)));
        assert_eq!(health.ticks, TickCounts { succeeded: 1, failed: 2, skipped: 1 });
    }

    // P-23
    #[test]
    fn a_tick_that_never_ends_makes_the_service_stale_and_a_gate_does_not() {
        let mut record = record();
        note(&mut record, 10, &TickOutcome::Skipped(Skip::Gate));
        assert!(!record.snapshot(at(15).0).is_stale(Duration::from_secs(5)));
        note(&mut record, 15, &TickOutcome::Skipped(Skip::StillRunning));
        assert!(record.snapshot(at(16).0).is_stale(Duration::from_secs(5)));
    }
}
