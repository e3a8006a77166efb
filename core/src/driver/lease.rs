//! The leases that this replica holds, and how long each may be trusted.
//!
//! A lease is trusted from the *sending* of the request that took or renewed it, for its length less a margin
//! for drift, by the monotonic clock. When the trust ends the handler is not polled again, whether or not
//! anybody could be asked: a replica that is cut off stops by itself (G8).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    job::{Run, StopReason},
    model::{ExecutionId, LeaseRef},
    runtime::Monotonic,
};

/// Why a handler must not be polled again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Loss {
    /// The store said so, or the trust ended.
    LeaseLost,
    /// An operator cancelled the execution.
    Cancelled,
}

pub(super) struct Held {
    pub(super) lease: LeaseRef,
    /// How long a renewal is trusted.
    pub(super) trusted_for: Duration,
    /// How often it is renewed.
    pub(super) beat: Duration,
    /// What its handler is told, and says.
    pub(super) run: Arc<Run>,
    state: Mutex<HeldState>,
    /// Wakes the runner when the state changed.
    pub(super) changed: Notify,
}

#[derive(Clone, Copy)]
struct HeldState {
    trusted_until: Monotonic,
    next_beat_at: Monotonic,
    loss: Option<Loss>,
}

impl Held {
    fn state(&self) -> MutexGuard<'_, HeldState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it must not go on at `now`, if it must not.
    pub(super) fn loss(&self, now: Monotonic) -> Option<Loss> {
        let state = self.state();
        let is_over = now >= state.trusted_until && !planted!(B20);
        sometimes!("the trust in a lease runs out with nobody asked", is_over && state.loss.is_none());
        state.loss.or(is_over.then_some(Loss::LeaseLost))
    }

    pub(super) fn trusted_until(&self) -> Monotonic {
        let until = self.state().trusted_until;
        if planted!(B20) { until + Duration::from_secs(86_400) } else { until }
    }

    /// A request sent at `sent_at` renewed it. Trust never shrinks: replies may arrive out of order.
    pub(super) fn renewed(&self, sent_at: Monotonic) {
        let mut state = self.state();
        sometimes!(
            "an older renewal is answered after a newer one",
            sent_at + self.trusted_for < state.trusted_until
        );
        state.trusted_until = state.trusted_until.max(sent_at + self.trusted_for);
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn lose(&self, loss: Loss) {
        self.state().loss.get_or_insert(loss);
        self.run.stop.raise(match loss {
            Loss::LeaseLost => StopReason::LeaseLost,
            Loss::Cancelled => StopReason::Cancelled,
        });
        self.changed.notify_one();
    }
}

/// All leases held by runners here, by execution.
#[derive(Default)]
pub(super) struct Leases {
    book: Mutex<Book>,
    /// Wakes the heartbeater when the earliest beat comes earlier.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct Book {
    held: BTreeMap<ExecutionId, Arc<Held>>,
    /// The beat that the heartbeater waits for.
    awaited: Option<Monotonic>,
}

impl Leases {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(
        &self,
        lease: LeaseRef,
        trusted_for: Duration,
        beat: Duration,
        sent_at: Monotonic,
        run: Arc<Run>,
    ) -> Arc<Held> {
        let next_beat_at = sent_at + beat;
        let held = Arc::new(Held {
            lease,
            trusted_for,
            beat,
            run,
            state: Mutex::new(HeldState { trusted_until: sent_at + trusted_for, next_beat_at, loss: None }),
            changed: Notify::new(),
        });
        let mut book = self.book();
        let displaced = book.held.insert(lease.id, Arc::clone(&held));
        let is_next = book.awaited.is_none_or(|awaited| next_beat_at < awaited);
        drop(book);
        // That the execution could be claimed again proves that the older lease is lost: its commit was, or the database
        // clock ran ahead of the margin. Nobody would renew it any more, nor tell its handler of a shutdown.
        if let Some(older) = displaced {
            sometimes!("a row is claimed again beside its own handler here");
            older.lose(Loss::LeaseLost);
        }
        if is_next {
            self.changed.notify_one();
        }
        held
    }

    /// Ends the heartbeats of a lease; done before its terminal write is sent (P-6).
    pub(super) fn remove(&self, lease: &LeaseRef) {
        let held = &mut self.book().held;
        // The execution may have been lost and claimed again by this same replica meanwhile.
        if held.get(&lease.id).is_some_and(|held| held.lease == *lease) {
            held.remove(&lease.id);
        } else {
            sometimes!("an attempt ends whose lease is not the one held here", held.contains_key(&lease.id));
        }
    }

    /// Tells all handlers that the process shuts down.
    pub(super) fn tell_all(&self, reason: StopReason) {
        for held in self.book().held.values() {
            held.run.stop.raise(reason);
        }
    }

    /// Wakes all runners, to look at the stage of the shutdown.
    pub(super) fn wake_all(&self) {
        for held in self.book().held.values() {
            held.changed.notify_one();
        }
    }

    /// When the next heartbeat is due, if any lease is held. The caller waits for it, or for [`Leases::changed`].
    pub(super) fn next_beat_at(&self) -> Option<Monotonic> {
        let mut book = self.book();
        book.awaited = book.held.values().map(|held| held.state().next_beat_at).min();
        book.awaited
    }

    /// Up to `limit` leases whose heartbeat is due at `now`; their next beat is set.
    pub(super) fn due(&self, now: Monotonic, limit: usize) -> Vec<Arc<Held>> {
        let book = self.book();
        let due = book.held.values().filter(|held| {
            let mut state = held.state();
            let due = state.next_beat_at <= now;
            if due {
                state.next_beat_at = now + held.beat;
            }
            due
        });
        due.take(limit).cloned().collect()
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.book().held.len()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::Arc,
        task::{Context, Waker},
        time::Duration,
    };

    use uuid::Uuid;

    use super::{Held, Leases, Loss};
    use crate::{
        job::Run,
        model::{ExecutionId, Fence, LeaseRef, Token},
        runtime::{Monotonic, Runtime},
    };

    const TRUSTED_FOR: Duration = Duration::from_secs(30);

    /// The claim `token` of the execution `id`, which is renewed after `beat` seconds.
    fn add(leases: &Leases, id: u128, token: u128, beat: u64) -> Arc<Held> {
        let lease =
            LeaseRef { id: ExecutionId(Uuid::from_u128(id)), token: Token(Uuid::from_u128(token)), fence: Fence(1) };
        let run = Run::new(Runtime::tokio());
        leases.add(lease, TRUSTED_FOR, Duration::from_secs(beat), Monotonic::default(), run)
    }

    #[test]
    fn a_beat_that_comes_before_the_one_waited_for_is_told() {
        let leases = Leases::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut is_told = || pin!(leases.changed.notified()).poll(&mut context).is_ready();
        add(&leases, 1, 1, 10);
        assert!(is_told(), "nothing was waited for");
        assert_eq!(leases.next_beat_at(), Some(Monotonic(Duration::from_secs(10))));
        add(&leases, 2, 1, 10);
        add(&leases, 3, 1, 20);
        assert!(!is_told(), "they are found when the first is due");
        add(&leases, 4, 1, 9);
        assert!(is_told());
    }

    #[test]
    fn a_lease_is_lost_when_its_execution_is_claimed_again_here() {
        let leases = Leases::default();
        let now = Monotonic::default();
        let older = add(&leases, 1, 1, 10);
        assert_eq!(older.loss(now), None);
        let newer = add(&leases, 1, 2, 10);
        assert_eq!((older.loss(now), newer.loss(now)), (Some(Loss::LeaseLost), None));
        leases.remove(&older.lease);
        assert_eq!(leases.len(), 1, "the newer one is still renewed");
    }
}
