//! Faults that strike single requests and effects, and triggers: who is struck now, and how often each kind did.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::gate::Gate;
use crate::{
    chance,
    fault::{FaultKind, Then, Trigger, TriggerPoint},
};

/// What happens to one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Pass,
    Refuse,
    LoseReply,
    ApplyLate(Duration),
}

/// What a trigger did to the message in hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Struck {
    No,
    ReplyLost,
}

/// A trigger that the controller has to carry out at the end of the step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pulled {
    pub(super) then: Then,
    pub(super) replica: u8,
    pub(super) lasts_s: u32,
}

/// A fault that strikes a part of a replica's messages while it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Leaky {
    Refuse { percent: u8 },
    LoseReply { percent: u8 },
    ApplyLate { percent: u8, delay: Duration },
    LoseEffectReply { percent: u8 },
}

pub(super) struct Strikes {
    seed: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    leaks: BTreeMap<(u8, u32), Leaky>,
    triggers: Vec<Trigger>,
    reached: BTreeMap<TriggerPoint, u32>,
    pulled: Vec<Pulled>,
    gates: BTreeMap<u8, Gate>,
    fired: BTreeMap<FaultKind, u64>,
    drawn: u64,
}

impl Strikes {
    pub(super) fn new(seed: u64, triggers: Vec<Trigger>) -> Self {
        Self { seed, inner: Mutex::new(Inner { triggers, ..Inner::default() }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which gate is the replica's, so that a trigger can close it in the same instant.
    pub(super) fn set_gate(&self, replica: u8, gate: Gate) {
        self.inner().gates.insert(replica, gate);
    }

    /// Begins a leak under a number by which it is ended.
    pub(super) fn begin(&self, replica: u8, number: u32, leak: Leaky) {
        self.inner().leaks.insert((replica, number), leak);
    }

    pub(super) fn end(&self, replica: u8, number: u32) {
        self.inner().leaks.remove(&(replica, number));
    }

    /// No trigger is pulled any more: chaos is over.
    pub(super) fn disarm(&self) {
        self.inner().triggers.clear();
    }

    pub(super) fn count(&self, kind: FaultKind) {
        *self.inner().fired.entry(kind).or_default() += 1;
    }

    pub(super) fn fired(&self) -> BTreeMap<FaultKind, u64> {
        self.inner().fired.clone()
    }

    pub(super) fn take_pulled(&self) -> Vec<Pulled> {
        std::mem::take(&mut self.inner().pulled)
    }

    /// Decides about one request of `replica`.
    pub(super) fn fate(&self, replica: u8) -> Fate {
        let mut inner = self.inner();
        for leak in inner.of(replica) {
            let (kind, percent, fate) = match leak {
                Leaky::Refuse { percent } => (FaultKind::Refuse, percent, Fate::Refuse),
                Leaky::LoseReply { percent } => (FaultKind::LoseReply, percent, Fate::LoseReply),
                Leaky::ApplyLate { percent, delay } => (FaultKind::ApplyLate, percent, Fate::ApplyLate(delay)),
                Leaky::LoseEffectReply { .. } => continue,
            };
            if inner.strikes(self.seed, replica, percent) {
                *inner.fired.entry(kind).or_default() += 1;
                return fate;
            }
        }
        Fate::Pass
    }

    /// Decides about the answer to one effect of `replica`.
    pub(super) fn loses_effect_reply(&self, replica: u8) -> bool {
        let mut inner = self.inner();
        for leak in inner.of(replica) {
            if let Leaky::LoseEffectReply { percent } = leak
                && inner.strikes(self.seed, replica, percent)
            {
                *inner.fired.entry(FaultKind::LoseEffectReply).or_default() += 1;
                return true;
            }
        }
        false
    }

    /// Counts an event on behalf of `replica` and pulls the trigger that waited for it, if any. A power loss or
    /// pause takes hold at once: the replica is not polled again after the poll that is under way.
    pub(super) fn reached(&self, point: TriggerPoint, replica: u8) -> Struck {
        let mut inner = self.inner();
        let count = inner.reached.entry(point).or_default();
        *count += 1;
        let count = *count;
        let Some(index) = inner.triggers.iter().position(|t| t.after == point && t.nth == count) else {
            return Struck::No;
        };
        let trigger = inner.triggers.remove(index);
        if trigger.then == Then::LoseReply {
            *inner.fired.entry(FaultKind::LoseReply).or_default() += 1;
            return Struck::ReplyLost;
        }
        if let Some(gate) = inner.gates.get(&replica) {
            match trigger.then {
                Then::PowerLoss => gate.kill(),
                Then::Pause => gate.pause(),
                Then::Crash | Then::Partition | Then::LoseReply | Then::Shutdown | Then::DatabaseRestart => {}
            }
        }
        inner.pulled.push(Pulled { then: trigger.then, replica, lasts_s: trigger.lasts_s });
        // The reply under way does not outlive what was just struck.
        match trigger.then {
            Then::PowerLoss | Then::Crash | Then::Partition | Then::DatabaseRestart => Struck::ReplyLost,
            Then::Pause | Then::LoseReply | Then::Shutdown => Struck::No,
        }
    }
}

impl Inner {
    fn of(&self, replica: u8) -> Vec<Leaky> {
        self.leaks.range((replica, 0)..=(replica, u32::MAX)).map(|(_, leak)| *leak).collect()
    }

    fn strikes(&mut self, seed: u64, replica: u8, percent: u8) -> bool {
        self.drawn += 1;
        chance::percent(chance::draw(seed, "strike", u64::from(replica), self.drawn), percent)
    }
}
