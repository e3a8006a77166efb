//! Owns what a crew has claimed beyond its free workers: rows that wait in this process for a worker, their leases
//! renewed meanwhile. Knows neither stores nor handlers.
//!
//! Without it a crew of ten workers takes ten rows a round trip, however quick its handlers are. It claims ahead only
//! of a backlog, and only as much as its workers use up in one or two round trips: it doubles when rows arrive at a crew
//! that has nothing left to do, and falls to what was used, or to nothing, when they do not. So rows wait for
//! milliseconds here, and a slow handler keeps nothing from the other replicas.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use super::lease::Held;
use crate::{job::Attempt, runtime::Monotonic};

/// A claimed row, and what a worker needs to run it.
pub(super) struct Ready {
    /// Its number is right once it is started. In a place of its own, because it changes hands until its handler has it.
    pub(super) attempt: Arc<Attempt>,
    pub(super) held: Arc<Held>,
    /// Whether its attempt is charged, durably. Otherwise the worker that takes it does that first.
    pub(super) is_started: bool,
}

/// See the module.
pub(super) struct Ahead {
    most: usize,
    workers: usize,
    waiting: Mutex<VecDeque<Ready>>,
    /// Attempts whose handlers have ended, ever.
    ended: AtomicU64,
    /// How many rows it is worth having here. Every attempt asks, every claim decides.
    worth: AtomicUsize,
    pace: Mutex<Pace>,
}

#[derive(Clone, Copy, Default)]
struct Pace {
    /// When the last claim was sent, and what `ended` was then.
    sent_at: Monotonic,
    ended_before: u64,
    /// When the rows of the last claim could run.
    here_at: Monotonic,
    /// The last claim found as many rows as it asked for: there may be a backlog.
    was_full: bool,
}

impl Ahead {
    /// For this many workers; claims at most `most` rows ahead.
    pub(super) fn new(workers: u32, most: u32) -> Self {
        let (workers, most) = (workers as usize, most as usize);
        let (waiting, pace) = (Mutex::default(), Mutex::default());
        Self { most, workers, waiting, ended: AtomicU64::new(0), worth: AtomicUsize::new(0), pace }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Ready>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claim is sent.
    pub(super) fn round_begins(&self, now: Monotonic) {
        let mut pace = self.pace();
        (pace.sent_at, pace.ended_before) = (now, self.ended.load(Ordering::Relaxed));
    }

    /// Its rows are here; `idle` workers have nothing to do.
    pub(super) fn round_ends(&self, now: Monotonic, is_full: bool, idle: usize) {
        let mut pace = self.pace();
        let ended = self.ended.load(Ordering::Relaxed) - pace.ended_before;
        let ended = usize::try_from(ended).unwrap_or(usize::MAX);
        let was_full = std::mem::replace(&mut pace.was_full, is_full);
        let here_at = std::mem::replace(&mut pace.here_at, now);
        // Slow handlers may end together, too: what counts is whether the store or the handlers took longer.
        let is_quick = pace.sent_at.since(here_at) <= now.since(pace.sent_at);
        let has_run_dry = is_quick && idle == self.workers && self.len() == 0;
        sometimes!("a crew claims ahead", was_full && has_run_dry && self.most > 0);
        let worth = self.worth.load(Ordering::Relaxed);
        sometimes!("a crew ceases to claim ahead", worth > 0 && (!was_full || ended < self.workers));
        let worth = match worth {
            _ if !was_full => 0,
            worth if has_run_dry => worth.max(self.workers).saturating_mul(2).min(self.most),
            _ if ended < self.workers => 0,
            worth => worth.min(ended.saturating_mul(2)),
        };
        self.worth.store(worth, Ordering::Relaxed);
    }

    /// A handler has ended.
    pub(super) fn has_ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// How many rows more are worth claiming than there are free workers.
    pub(super) fn room(&self) -> usize {
        let worth = self.worth.load(Ordering::Relaxed);
        let waiting = if worth > 0 { self.len() } else { 0 };
        // Half a round is not worth a claim.
        if waiting > worth / 2 { 0 } else { worth - waiting }
    }

    /// How many rows wait.
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    /// Puts a row behind the others.
    pub(super) fn push(&self, ready: Ready) {
        self.waiting().push_back(ready);
    }

    /// The row that has waited longest.
    pub(super) fn take(&self) -> Option<Ready> {
        self.waiting().pop_front()
    }

    /// All of them, to be given back.
    pub(super) fn take_all(&self) -> VecDeque<Ready> {
        std::mem::take(&mut *self.waiting())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Ahead;
    use crate::runtime::Monotonic;

    /// Handlers that take no time, a store that takes a second.
    struct Crew {
        ahead: Ahead,
        now: Monotonic,
    }

    impl Crew {
        fn new(workers: u32, most: u32) -> Self {
            Self { ahead: Ahead::new(workers, most), now: Monotonic::default() }
        }

        /// What is worth claiming ahead after a full claim in whose round trip `ended` handlers ended.
        fn round(&mut self, ended: u32, idle: usize) -> usize {
            self.ahead.round_begins(self.now);
            (0..ended).for_each(|_| self.ahead.has_ended());
            self.now = self.now + Duration::from_secs(1);
            self.ahead.round_ends(self.now, true, idle);
            self.ahead.room()
        }
    }

    #[test]
    fn nothing_is_claimed_ahead_without_a_backlog() {
        let mut crew = Crew::new(10, 500);
        assert_eq!(crew.round(0, 10), 0, "whether there is a backlog is not known yet");
        assert_eq!(crew.round(9, 9), 0, "not all have ended");
        crew.ahead.round_ends(crew.now, false, 10);
        assert_eq!(crew.round(10, 10), 0);
    }

    #[test]
    fn nothing_is_claimed_ahead_of_slow_handlers_also_when_they_end_together() {
        let mut crew = Crew::new(10, 500);
        for _ in 0..3 {
            assert_eq!(crew.round(10, 10), 0);
            crew.now = crew.now + Duration::from_secs(2);
        }
    }

    #[test]
    fn it_doubles_while_the_crew_runs_dry_up_to_the_bound() {
        let mut crew = Crew::new(10, 70);
        assert_eq!([0, 10, 30, 50, 80].map(|ended| crew.round(ended, 10)), [0, 20, 40, 70, 70]);
        let mut off = Crew::new(10, 0);
        assert_eq!([0, 10, 10].map(|ended| off.round(ended, 10)), [0, 0, 0]);
    }

    #[test]
    fn it_falls_to_what_was_used_and_to_nothing() {
        let mut crew = Crew::new(1, 500);
        assert_eq!([0, 1, 2, 4, 8].map(|ended| crew.round(ended, 1)), [0, 2, 4, 8, 16]);
        assert_eq!(crew.round(3, 0), 6);
        assert_eq!(crew.round(0, 0), 0);
    }
}
