//! Faults that strike single requests and effects, and triggers: who is struck now, and how often each kind did.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tourbillon::model::RequestId;

use super::{gate::Gate, lane::Attention};
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
    Busy,
    Slow(Duration),
    /// The session ends before the request is applied.
    Drop,
    /// It is applied and answered; then the database fails over, is away for so many seconds, and has lost it.
    RollBack(u32),
}

/// What happens to one notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoticeFate {
    Lose,
    Double,
    Delay(Duration),
}

impl NoticeFate {
    pub(super) const fn kind(self) -> FaultKind {
        match self {
            Self::Lose => FaultKind::NoticesLost,
            Self::Double => FaultKind::NoticesDoubled,
            Self::Delay(_) => FaultKind::NoticesLate,
        }
    }
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
    Slow { percent: u8, delay: Duration },
    Notices { percent: u8, fate: NoticeFate },
}

pub(super) struct Strikes {
    seed: u64,
    attention: Attention,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    leaks: BTreeMap<(u8, u32), Leaky>,
    busy: BTreeMap<u8, u32>,
    triggers: Vec<Trigger>,
    reached: BTreeMap<(TriggerPoint, Option<String>), u32>,
    pulled: Vec<Pulled>,
    gates: BTreeMap<u8, Gate>,
    fired: BTreeMap<FaultKind, u64>,
    drawn: u64,
    /// Replicas whose next request is answered to nobody, and the requests that this turned out to be.
    lose_next: BTreeSet<u8>,
    lose: BTreeSet<RequestId>,
}

impl Strikes {
    /// Calls for `attention` when a trigger was pulled that the controller has to carry out.
    pub(super) fn new(seed: u64, triggers: Vec<Trigger>, attention: Attention) -> Self {
        Self { seed, attention, inner: Mutex::new(Inner { triggers, ..Inner::default() }) }
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

    /// The next requests of `replica` are refused as busy: so many more.
    pub(super) fn be_busy(&self, replica: u8, times: u32) {
        let mut inner = self.inner();
        let left = inner.busy.entry(replica).or_default();
        *left = left.saturating_add(times);
    }

    /// No trigger is pulled any more, and nobody is busy: chaos is over.
    pub(super) fn disarm(&self) {
        let mut inner = self.inner();
        inner.triggers.clear();
        inner.busy.clear();
        inner.lose_next.clear();
    }

    pub(super) fn count(&self, kind: FaultKind) {
        *self.inner().fired.entry(kind).or_default() += 1;
    }

    pub(super) fn fired(&self) -> BTreeMap<FaultKind, u64> {
        self.inner().fired.clone()
    }

    /// For the controller to carry out at the end of the step.
    pub(super) fn pull(&self, then: Then, replica: u8, lasts_s: u32) {
        self.inner().pulled.push(Pulled { then, replica, lasts_s });
        self.attention.notify_one();
    }

    pub(super) fn take_pulled(&self) -> Vec<Pulled> {
        std::mem::take(&mut self.inner().pulled)
    }

    /// A request of `replica` is about to leave it.
    pub(super) fn sends(&self, replica: u8, request: RequestId) {
        let mut inner = self.inner();
        if inner.lose_next.remove(&replica) {
            inner.lose.insert(request);
        }
    }

    /// Decides about one request of `replica`.
    pub(super) fn fate(&self, replica: u8, request: RequestId, verb: &str) -> Fate {
        let mut inner = self.inner();
        if let Some(fate) = inner.aimed_at(verb) {
            return fate;
        }
        if inner.lose.remove(&request) {
            *inner.fired.entry(FaultKind::LoseReply).or_default() += 1;
            return Fate::LoseReply;
        }
        if let Some(left) = inner.busy.get_mut(&replica).filter(|left| **left > 0) {
            *left -= 1;
            *inner.fired.entry(FaultKind::Busy).or_default() += 1;
            return Fate::Busy;
        }
        for leak in inner.of(replica) {
            let (kind, percent, fate) = match leak {
                Leaky::Slow { percent, delay } => (FaultKind::Slow, percent, Fate::Slow(delay)),
                Leaky::Refuse { percent } => (FaultKind::Refuse, percent, Fate::Refuse),
                Leaky::LoseReply { percent } => (FaultKind::LoseReply, percent, Fate::LoseReply),
                Leaky::ApplyLate { percent, delay } => (FaultKind::ApplyLate, percent, Fate::ApplyLate(delay)),
                Leaky::LoseEffectReply { .. } | Leaky::Notices { .. } => continue,
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

    /// Decides about one notice to `replica`; `None`: it passes.
    pub(super) fn notice_fate(&self, replica: u8) -> Option<NoticeFate> {
        let mut inner = self.inner();
        for leak in inner.of(replica) {
            if let Leaky::Notices { percent, fate } = leak
                && inner.strikes(self.seed, replica, percent)
            {
                *inner.fired.entry(fate.kind()).or_default() += 1;
                return Some(fate);
            }
        }
        None
    }

    /// Counts an event on behalf of `replica`, of these jobs or rows, and pulls the trigger that waited for it, if
    /// any. A power loss or pause takes hold at once: the replica is not polled again after the poll that is under
    /// way.
    pub(super) fn reached(&self, point: TriggerPoint, subjects: &[&str], replica: u8) -> Struck {
        let mut inner = self.inner();
        if !inner.is_waited_for(point) {
            return Struck::No;
        }
        let mut counts = vec![(None, inner.count_of(point, None))];
        for subject in BTreeSet::from_iter(subjects) {
            let of = Some((*subject).to_owned());
            counts.push((of.clone(), inner.count_of(point, of)));
        }
        let Some(trigger) = inner.take_waiting(point, &counts) else {
            return Struck::No;
        };
        if trigger.then == Then::LoseReply && !point.has_reply() {
            // Counted when the request is struck.
            inner.lose_next.insert(replica);
            return Struck::No;
        }
        if trigger.then == Then::LoseReply {
            *inner.fired.entry(FaultKind::LoseReply).or_default() += 1;
            return Struck::ReplyLost;
        }
        if let Some(gate) = inner.gates.get(&replica) {
            match trigger.then {
                Then::PowerLoss => gate.kill(),
                Then::Pause => gate.pause(),
                _ => {}
            }
        }
        drop(inner);
        self.pull(trigger.then, replica, trigger.lasts_s);
        // The reply under way does not outlive what was just struck.
        match trigger.then {
            Then::PowerLoss | Then::Crash | Then::Partition | Then::PartitionFromDatabase | Then::DatabaseRestart => {
                Struck::ReplyLost
            }
            _ => Struck::No,
        }
    }
}

impl Inner {
    /// What a trigger does to the request in hand, if one waited for it.
    fn aimed_at(&mut self, verb: &str) -> Option<Fate> {
        if !self.is_waited_for(TriggerPoint::Asked) {
            return None;
        }
        let any = self.count_of(TriggerPoint::Asked, None);
        let of = Some(verb.to_owned());
        let counts = [(None, any), (of.clone(), self.count_of(TriggerPoint::Asked, of))];
        let trigger = self.take_waiting(TriggerPoint::Asked, &counts)?;
        let delay = Duration::from_secs(trigger.lasts_s.into());
        let fate = match trigger.then {
            Then::Refuse => Fate::Refuse,
            Then::Busy => Fate::Busy,
            Then::LoseReply => Fate::LoseReply,
            Then::ApplyLate => Fate::ApplyLate(delay),
            Then::Slow => Fate::Slow(delay),
            Then::SessionDrop => Fate::Drop,
            // Counted when it is carried out.
            Then::FailOver => return Some(Fate::RollBack(trigger.lasts_s)),
            // Plans that are read say no such thing.
            _ => return None,
        };
        *self.fired.entry(trigger.kind()).or_default() += 1;
        Some(fate)
    }

    /// Else it need not be counted: triggers come only at the beginning.
    fn is_waited_for(&self, point: TriggerPoint) -> bool {
        self.triggers.iter().any(|trigger| trigger.after == point)
    }

    /// The trigger that waited for this event, of which these counts were just made.
    fn take_waiting(&mut self, point: TriggerPoint, counts: &[(Option<String>, u32)]) -> Option<Trigger> {
        let waits = |trigger: &Trigger| {
            trigger.after == point && counts.iter().any(|(of, count)| trigger.of == *of && trigger.nth == *count)
        };
        let index = self.triggers.iter().position(waits)?;
        Some(self.triggers.remove(index))
    }

    fn count_of(&mut self, point: TriggerPoint, of: Option<String>) -> u32 {
        let count = self.reached.entry((point, of)).or_default();
        *count += 1;
        *count
    }

    fn of(&self, replica: u8) -> Vec<Leaky> {
        self.leaks.range((replica, 0)..=(replica, u32::MAX)).map(|(_, leak)| *leak).collect()
    }

    fn strikes(&mut self, seed: u64, replica: u8, percent: u8) -> bool {
        self.drawn += 1;
        chance::percent(chance::draw(seed, "strike", u64::from(replica), self.drawn), percent)
    }
}
