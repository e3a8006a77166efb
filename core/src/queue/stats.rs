//! What one replica's worker of a queue has done since it started (P-69). In memory: the store counts for all.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{job::AttemptReport, model::State, runtime::Monotonic};

/// Counts of one worker since its start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WorkerStats {
    /// Attempts whose end was recorded, snoozed and given back ones left out.
    pub attempts: u64,
    /// Of those, successes; also items that a probe found delivered already.
    pub successes: u64,
    /// Of those, failures, exhausted ones included.
    pub failures: u64,
    /// Of those, failures that left the item dead.
    pub exhausted: u64,
    /// Time in handlers, all attempts together.
    pub total_duration: Duration,
    /// When the last end was recorded, by the replica's monotonic clock.
    pub last_processed: Option<Monotonic>,
    /// When due items were last asked for.
    pub last_check: Option<Monotonic>,
    /// Handlers running now.
    pub running: usize,
}

/// The counts while they grow.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<WorkerStats>);

impl Tally {
    fn change(&self, change: impl FnOnce(&mut WorkerStats)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn checked(&self, now: Monotonic) {
        self.change(|stats| stats.last_check = Some(now));
    }

    pub(crate) fn ended(&self, report: &AttemptReport, now: Monotonic) {
        self.change(|stats| {
            stats.total_duration += report.took;
            match report.state {
                State::Succeeded => stats.successes += 1,
                State::Retryable | State::Dead => stats.failures += 1,
                State::Scheduled | State::Running | State::Cancelled | State::Skipped => return,
            }
            stats.attempts += 1;
            stats.exhausted += u64::from(report.state == State::Dead);
            stats.last_processed = Some(now);
        });
    }

    pub(crate) fn read(&self) -> WorkerStats {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
