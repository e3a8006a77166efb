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
    job::{Saying, StopReason, StopSignal},
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
    pub(super) stop: StopSignal,
    /// What its handler says and no heartbeat has carried yet.
    pub(super) saying: Saying,
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
        self.stop.raise(match loss {
            Loss::LeaseLost => StopReason::LeaseLost,
            Loss::Cancelled => StopReason::Cancelled,
        });
        self.changed.notify_one();
    }
}

/// All leases held by runners here, by execution.
#[derive(Default)]
pub(super) struct Leases {
    held: Mutex<BTreeMap<ExecutionId, Arc<Held>>>,
    /// Wakes the heartbeater when the earliest beat may have changed.
    pub(super) changed: Notify,
}

impl Leases {
    fn held(&self) -> MutexGuard<'_, BTreeMap<ExecutionId, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(
        &self,
        lease: LeaseRef,
        trusted_for: Duration,
        beat: Duration,
        sent_at: Monotonic,
    ) -> Arc<Held> {
        let held = Arc::new(Held {
            lease,
            trusted_for,
            beat,
            stop: StopSignal::new(),
            saying: Saying::default(),
            state: Mutex::new(HeldState {
                trusted_until: sent_at + trusted_for,
                next_beat_at: sent_at + beat,
                loss: None,
            }),
            changed: Notify::new(),
        });
        let displaced = self.held().insert(lease.id, Arc::clone(&held));
        // That the execution could be claimed again proves that the older lease is lost: its commit was, or the database
        // clock ran ahead of the margin. Nobody would renew it any more, nor tell its handler of a shutdown.
        if let Some(older) = displaced {
            sometimes!("a row is claimed again beside its own handler here");
            older.lose(Loss::LeaseLost);
        }
        self.changed.notify_one();
        held
    }

    /// Ends the heartbeats of a lease; done before its terminal write is sent (P-6).
    pub(super) fn remove(&self, lease: &LeaseRef) {
        let mut held = self.held();
        // The execution may have been lost and claimed again by this same replica meanwhile.
        if held.get(&lease.id).is_some_and(|held| held.lease == *lease) {
            held.remove(&lease.id);
        } else {
            sometimes!("an attempt ends whose lease is not the one held here", held.contains_key(&lease.id));
        }
    }

    /// Tells all handlers that the process shuts down.
    pub(super) fn tell_all(&self, reason: StopReason) {
        for held in self.held().values() {
            held.stop.raise(reason);
        }
    }

    /// Wakes all runners, to look at the stage of the shutdown.
    pub(super) fn wake_all(&self) {
        for held in self.held().values() {
            held.changed.notify_one();
        }
    }

    /// When the next heartbeat is due, if any lease is held.
    pub(super) fn next_beat_at(&self) -> Option<Monotonic> {
        self.held().values().map(|held| held.state().next_beat_at).min()
    }

    /// Up to `limit` leases whose heartbeat is due at `now`; their next beat is set.
    pub(super) fn due(&self, now: Monotonic, limit: usize) -> Vec<Arc<Held>> {
        let held = self.held();
        let due = held.values().filter(|held| {
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
        self.held().len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::{Leases, Loss};
    use crate::{
        model::{ExecutionId, Fence, LeaseRef, Token},
        runtime::Monotonic,
    };

    #[test]
    fn a_lease_is_lost_when_its_execution_is_claimed_again_here() {
        let of_token = |token| LeaseRef {
            id: ExecutionId(Uuid::from_u128(1)),
            token: Token(Uuid::from_u128(token)),
            fence: Fence(1),
        };
        let leases = Leases::default();
        let (trusted_for, beat, now) = (Duration::from_secs(30), Duration::from_secs(10), Monotonic::default());
        let older = leases.add(of_token(1), trusted_for, beat, now);
        assert_eq!(older.loss(now), None);
        let newer = leases.add(of_token(2), trusted_for, beat, now);
        assert_eq!((older.loss(now), newer.loss(now)), (Some(Loss::LeaseLost), None));
        leases.remove(&older.lease);
        assert_eq!(leases.len(), 1, "the newer one is still renewed");
    }
}
