//! G14 for queues: an item that is due when it is enqueued does not wait long for a replica that could take it. One that
//! listens takes it soon; one that only polls, or was told nothing, takes it within a poll.
//!
//! Both bounds are for a replica with nothing in its way: it has room for the whole time, and no fault has touched it, the
//! database or the world for a while. Faults of notices are in the way of the first bound only. What exactly a fault still
//! holds up, and for how long, is not followed: while one may, nothing is judged.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tourbillon::{
    model::{ExecutionId, Incarnation, JobName},
    store::{Due, EnqueueOutcome, Reply, Request, Verb},
};

use super::{docket::Docket, quiet::is_followed_by_an_end, track::Track};
use crate::{
    fault::FaultKind,
    history::{HostId, QueueFacts, RunFacts, What, micros},
};

/// How long after the last fault everything that was under way then has come to an end: a claim is asked about again for
/// 10 s and one more call, and after one that failed a crew hears nothing for 5 s.
const RECOVERY: Duration = Duration::from_secs(30);

/// What a replica adds on purpose between a notice and its claim, generously.
const SPREAD: Duration = Duration::from_millis(200);

pub(super) fn judge(track: &Track<'_>, docket: &mut Docket) {
    let Some(facts) = track.facts else { return };
    // Beyond a limit, or behind another's key, an item waits however free its workers are.
    let queues: BTreeMap<_, _> =
        facts.queues.iter().filter(|queue| !queue.has_limit).map(|queue| (&queue.queue, queue)).collect();
    if queues.is_empty() {
        return;
    }
    let mut watch = Watch::new(facts, queues, docket);
    // Until a fail-over, what it loses was so: an item was taken, and its worker busy.
    let mut applied = track.answered().peekable();
    for (index, event) in track.history.events.iter().enumerate() {
        (watch.event, watch.at_us) = (index, event.at_us);
        watch.see(event.host, &event.what);
        if let Some((_, _, request, reply)) = applied.next_if(|(at, ..)| *at == index) {
            watch.applied(request, reply);
        }
    }
}

/// An item that nobody has taken yet.
struct Waiting<'h> {
    queue: &'h JobName,
    enqueued: usize,
    since_us: u64,
}

/// An item that takes a worker's time.
struct Hold {
    process: Incarnation,
    queue: JobName,
    /// The claim.
    event: usize,
    /// Its claim is not in the database any more: only its handler can end it.
    is_lost: bool,
}

/// What is known of one replica.
#[derive(Default)]
struct Replica {
    process: Option<Incarnation>,
    /// What lasts at the moment, and how often it began.
    open: BTreeMap<String, u32>,
    /// Of those, faults of notices.
    open_notices: u32,
    /// The last time that a fault touched it, or that it booted.
    touched_us: u64,
    /// The last time that a fault of notices did.
    missed_us: u64,
    /// When it was first seen to hear after that.
    hears_us: Option<u64>,
    /// By queue: items that it holds, and since when it has had room for more.
    held: BTreeMap<JobName, (u32, u64)>,
}

impl Replica {
    fn touch(&mut self, at_us: u64) {
        (self.touched_us, self.hears_us) = (at_us, None);
    }

    fn miss(&mut self, at_us: u64) {
        (self.missed_us, self.hears_us) = (at_us, None);
    }
}

struct Watch<'h, 'd> {
    queues: BTreeMap<&'h JobName, &'h QueueFacts>,
    docket: &'d mut Docket,
    /// The event that is seen, and when it was.
    event: usize,
    at_us: u64,
    replicas: Vec<Replica>,
    waiting: BTreeMap<ExecutionId, Waiting<'h>>,
    holders: BTreeMap<ExecutionId, Hold>,
    /// Items whose handlers run.
    running: BTreeSet<ExecutionId>,
    told_us: u64,
    polled_us: u64,
}

impl<'h, 'd> Watch<'h, 'd> {
    fn new(facts: &'h RunFacts, queues: BTreeMap<&'h JobName, &'h QueueFacts>, docket: &'d mut Docket) -> Self {
        // A claim and a start that are under way, the notice, and another claim: at most ten messages.
        let told = SPREAD + facts.granularity * 5;
        Self {
            queues,
            docket,
            event: 0,
            at_us: 0,
            replicas: (0..facts.replicas).map(|_| Replica::default()).collect(),
            waiting: BTreeMap::new(),
            holders: BTreeMap::new(),
            running: BTreeSet::new(),
            told_us: micros(told),
            // A tenth is the poll's own spread, a twentieth the slowest clock.
            polled_us: micros(told + facts.poll_interval * 116 / 100),
        }
    }

    fn see(&mut self, host: HostId, what: &What) {
        match what {
            What::PhaseBegan { .. } => {
                self.touched(None);
                // What it leaves is announced again.
                for replica in &mut self.replicas {
                    (replica.open, replica.open_notices) = (BTreeMap::new(), 0);
                }
            }
            What::FaultBegan { kind, .. } => self.fault(host, kind, true),
            What::FaultEnded { kind } => self.fault(host, kind, false),
            What::Struck { kind, replica, .. } => {
                let host = HostId::Replica(*replica);
                if is_of_notices(kind) { self.missed(host) } else { self.touched(Some(host)) }
            }
            What::Booted { incarnation } => {
                self.touched(Some(host));
                if let Some(replica) = self.replica(host) {
                    replica.process = Some(*incarnation);
                    replica.held.clear();
                }
            }
            What::Crashed { .. } | What::ShutdownBegan { .. } | What::ShutdownEnded { .. } => {
                self.touched(Some(host));
                if let Some(replica) = self.replica(host) {
                    replica.process = None;
                }
            }
            What::Paused | What::Resumed => self.touched(Some(host)),
            What::ClockSet { .. } if host == HostId::Database => self.upset(),
            What::FailedOver { lost } => {
                self.upset();
                self.forget(&lost.iter().copied().collect());
            }
            What::HandlerStarted { incarnation, lease, job, .. } => {
                self.running.insert(lease.id);
                if !self.holders.contains_key(&lease.id) {
                    self.holds(*incarnation, lease.id, job, true);
                }
            }
            What::HandlerEnded { lease, .. } => {
                self.running.remove(&lease.id);
                if self.holders.get(&lease.id).is_some_and(|hold| hold.is_lost) {
                    self.released(lease.id);
                }
            }
            What::Ended { .. } => self.look_at(HostId::World),
            What::Listens { .. } => {
                let at_us = self.at_us;
                if let Some(replica) = self.replica(host) {
                    replica.hears_us.get_or_insert(at_us);
                }
            }
            _ => {}
        }
    }

    /// The database is not what it was: what was due may not be any more, or may not be there.
    fn upset(&mut self) {
        self.touched(None);
        sometimes!("a fault of the database ends all waits", !self.waiting.is_empty());
        self.waiting.clear();
    }

    /// Claims that were lost end with their handlers: nobody will hear more of them.
    fn forget(&mut self, lost: &BTreeSet<usize>) {
        let mut over = Vec::new();
        for (id, hold) in self.holders.iter_mut().filter(|(_, hold)| lost.contains(&hold.event)) {
            hold.is_lost = true;
            if !self.running.contains(id) {
                over.push(*id);
            }
        }
        over.into_iter().for_each(|id| self.released(id));
    }

    fn fault(&mut self, host: HostId, kind: &str, begins: bool) {
        let lasts = is_followed_by_an_end(kind);
        if is_of_notices(kind) {
            self.missed(host);
        } else {
            self.touched(matches!(host, HostId::Replica(_)).then_some(host));
        }
        let of_notices = is_of_notices(kind);
        for replica in self.replicas_at(host) {
            if of_notices {
                replica.open_notices = replica.open_notices.saturating_add_signed(if begins { 1 } else { -1 });
            } else if begins && lasts {
                *replica.open.entry(kind.to_owned()).or_default() += 1;
            } else if let Some(open) = replica.open.get_mut(kind) {
                *open = open.saturating_sub(1);
                replica.open.retain(|_, open| *open > 0);
            }
        }
    }

    fn replica(&mut self, host: HostId) -> Option<&mut Replica> {
        let HostId::Replica(number) = host else { return None };
        self.replicas.get_mut(usize::from(number))
    }

    /// That one, or all, if it is a host that all depend on.
    fn replicas_at(&mut self, host: HostId) -> impl Iterator<Item = &mut Replica> {
        self.replicas.iter_mut().enumerate().filter_map(move |(number, replica)| match host {
            HostId::Replica(one) => (usize::from(one) == number).then_some(replica),
            HostId::Receiver(_) => None,
            HostId::World | HostId::Database => Some(replica),
        })
    }

    /// Something was in the way of a replica, or of all.
    fn touched(&mut self, host: Option<HostId>) {
        let at_us = self.at_us;
        let host = host.unwrap_or(HostId::World);
        if matches!(host, HostId::Receiver(_)) {
            return;
        }
        self.look_at(host);
        self.replicas_at(host).for_each(|replica| replica.touch(at_us));
    }

    fn missed(&mut self, host: HostId) {
        let at_us = self.at_us;
        self.look_at(host);
        self.replicas_at(host).for_each(|replica| replica.miss(at_us));
    }

    fn applied(&mut self, request: &'h Request, reply: &'h Reply) {
        match (&request.verb, reply) {
            (Verb::Enqueue(verb), Reply::Enqueued(reply)) => {
                for (item, outcome) in verb.items.iter().zip(&reply.outcomes) {
                    if item.due == Due::AfterMs(0) && *outcome == EnqueueOutcome::Enqueued(item.id) {
                        let waiting = Waiting { queue: &verb.queue, enqueued: self.event, since_us: self.at_us };
                        self.waiting.insert(item.id, waiting);
                    }
                }
            }
            (Verb::Claim(verb), Reply::Claimed(reply)) => {
                for (id, _) in &reply.skipped {
                    self.taken(*id);
                }
                for row in &reply.executions {
                    self.taken(row.id);
                    self.released(row.id);
                    self.holds(verb.runner, row.id, &row.job, false);
                }
            }
            (Verb::Settle(verb), Reply::Settled(reply)) => {
                let ends = verb.settlements.iter().zip(&reply.outcomes);
                ends.filter(|(_, outcome)| outcome.is_ok()).for_each(|(end, _)| self.released(end.lease.id));
            }
            (_, Reply::Rescued(reply)) => reply.ended.iter().for_each(|(id, _)| self.released(*id)),
            // What an operator had a hand in is not followed further.
            (Verb::UpdateItem(verb), _) => self.waiting.retain(|id, _| *id != verb.id),
            (Verb::Cancel(verb), _) => self.waiting.retain(|id, _| !verb.ids.contains(id)),
            (Verb::DeleteItems(verb), _) => self.waiting.retain(|id, _| !verb.ids.contains(id)),
            _ => {}
        }
    }

    fn taken(&mut self, id: ExecutionId) {
        for number in 0..self.replicas.len() {
            self.compare(id, number, true);
        }
        self.waiting.remove(&id);
    }

    fn holds(&mut self, process: Incarnation, id: ExecutionId, queue: &JobName, is_lost: bool) {
        let Some(workers) = self.queues.get(queue).map(|facts| facts.workers) else { return };
        let Some(number) = self.number_of(process) else { return };
        self.holders.insert(id, Hold { process, queue: queue.clone(), event: self.event, is_lost });
        let replica = &mut self.replicas[number];
        let (held, since_us) = replica.held.get(queue).copied().unwrap_or((0, replica.touched_us));
        if held + 1 == workers {
            // Until now it had room.
            self.look_at(HostId::Replica(u8::try_from(number).unwrap_or(u8::MAX)));
        }
        self.replicas[number].held.insert(queue.clone(), (held + 1, since_us));
    }

    fn released(&mut self, id: ExecutionId) {
        let Some(Hold { process, queue, .. }) = self.holders.remove(&id) else { return };
        // A process that is gone holds nothing.
        let Some(number) = self.number_of(process) else { return };
        let (at_us, workers) = (self.at_us, self.queues.get(&queue).map_or(0, |facts| facts.workers));
        if let Some((held, since_us)) = self.replicas[number].held.get_mut(&queue) {
            if *held >= workers {
                *since_us = at_us;
            }
            *held = held.saturating_sub(1);
        }
    }

    fn number_of(&self, process: Incarnation) -> Option<usize> {
        self.replicas.iter().position(|replica| replica.process == Some(process))
    }

    /// Something is about to change for the replicas of `host`: what could be said of them until now?
    fn look_at(&mut self, host: HostId) {
        let ids: Vec<ExecutionId> = self.waiting.keys().copied().collect();
        for number in 0..self.replicas.len() {
            if let HostId::Replica(one) = host
                && usize::from(one) != number
            {
                continue;
            }
            ids.iter().for_each(|id| self.compare(*id, number, false));
        }
    }

    /// Whether this replica left the item waiting for too long. Until it is taken that is told only if it did.
    fn compare(&mut self, id: ExecutionId, number: usize, is_taken: bool) {
        let Some(item) = self.waiting.get(&id) else { return };
        let Some(workers) = self.queues.get(item.queue).map(|facts| facts.workers) else { return };
        let replica = &self.replicas[number];
        let (held, room_us) = replica.held.get(item.queue).copied().unwrap_or((0, replica.touched_us));
        sometimes!("an item need not be taken by a replica that is down", replica.process.is_none());
        sometimes!("an item need not be taken while a fault lasts", !replica.open.is_empty());
        sometimes!("an item need not be taken where all workers are busy", held >= workers);
        if replica.process.is_none() || !replica.open.is_empty() || held >= workers {
            return;
        }
        let free_us = room_us.max(replica.touched_us + micros(RECOVERY));
        let is_told = free_us <= item.since_us
            && replica.open_notices == 0
            && replica.hears_us.is_some_and(|hears_us| hears_us <= item.since_us);
        sometimes!("a replica that may have missed a notice has a poll's time", !is_told && free_us <= item.since_us);
        let (bound_us, how) = if is_told { (self.told_us, "listened") } else { (self.polled_us, "polled") };
        let waited_us = self.at_us.saturating_sub(item.since_us.max(free_us));
        if !is_taken && waited_us <= bound_us {
            return;
        }
        let queue = item.queue;
        self.docket.demand(waited_us <= bound_us, &[item.enqueued, self.event], || {
            format!(
                "item {id} of queue {queue} waited for {waited_us} us, although replica-{number} {how}, had room, and \
                 nothing was in its way; the bound is {bound_us} us"
            )
        });
        if waited_us > bound_us {
            self.waiting.remove(&id);
        }
    }
}

fn is_of_notices(kind: &str) -> bool {
    let of_notices = [FaultKind::NoticesLost, FaultKind::NoticesDoubled, FaultKind::NoticesLate];
    of_notices.iter().any(|of_notices| of_notices.name() == kind)
}
