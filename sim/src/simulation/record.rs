//! A finished run as an expectation reads it: effects, attempts, slots, notes, each with the event that proves it.
//! Sorts; judges nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use serde_json::Value;
use tourbillon::{
    model::{Epoch, Execution, ExecutionId, Fence, Generation, Incarnation, JobName, Scope, State, Timestamp},
    runtime::HandlerEnd,
    store::{Reply, SkippedEntry, Verb},
};

use crate::history::{CallAnswer, FinalState, History, HostId, RunFacts, What};

/// What an outside receiver was asked for, and what it did.
#[derive(Clone, Debug)]
pub struct EffectSeen<'h> {
    /// Which receiver.
    pub receiver: &'h str,
    /// What it counts by.
    pub key: &'h str,
    /// The idempotency key that was shown.
    pub idempotency: Option<&'h str>,
    /// The epoch that was shown.
    pub epoch: Option<Epoch>,
    /// What it did. Only [`CallAnswer::Done`] is an effect.
    pub answer: CallAnswer,
    /// When it landed, in true time since the start.
    pub at: Duration,
    /// Which replica asked, from 0.
    pub replica: Option<u8>,
    /// The number of its event.
    pub event: usize,
    attempt: Option<usize>,
}

/// One start of a handler.
#[derive(Clone, Debug)]
pub struct AttemptSeen<'h> {
    /// Of which job or queue.
    pub job: &'h JobName,
    /// For which scope.
    pub scope: &'h Scope,
    /// Of which slot, for a planned job.
    pub slot_at: Option<Timestamp>,
    /// Of which execution, and of which of its lives.
    pub execution: (ExecutionId, Generation),
    /// Which one, from 1. An attempt that was given back uncharged has the number of the next.
    pub number: u32,
    /// Its fence.
    pub fence: Fence,
    /// Where, from 0.
    pub replica: u8,
    /// When it started, in true time since the start.
    pub started: Duration,
    /// The number of the event that says so.
    pub event: usize,
    /// How it ended, as its own replica saw it; `None` when its process died first, or the run ended.
    pub end: Option<HandlerEnd>,
    /// The state that the database recorded at its end; `None` when nothing was recorded, or a fail-over lost it.
    pub recorded: Option<State>,
}

impl AttemptSeen<'_> {
    /// Whether the database knows that it succeeded. An attempt whose effect happened and that is not marked will be
    /// followed by another, and nobody can know better: that is what at least once means.
    pub fn is_marked(&self) -> bool {
        self.recorded == Some(State::Succeeded)
    }
}

impl fmt::Display for AttemptSeen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} of {}", self.number, self.job)?;
        if *self.scope != Scope::global() {
            write!(f, " for {}", self.scope)?;
        }
        if let Some(slot_at) = self.slot_at {
            write!(f, ", slot {slot_at}")?;
        }
        write!(f, ", on replica-{}, {}", self.replica, if self.is_marked() { "marked" } else { "not marked" })
    }
}

/// A finished run. All times are true time since the start; everything is in true order.
#[derive(Debug)]
pub struct Record<'h> {
    history: &'h History,
    facts: &'h RunFacts,
    end: Option<&'h FinalState>,
    attempts: Vec<AttemptSeen<'h>>,
    effects: Vec<EffectSeen<'h>>,
    replicas: BTreeMap<Incarnation, u8>,
}

impl<'h> Record<'h> {
    /// Sorts a history; `None` if it is not that of a run.
    pub fn of(history: &'h History) -> Option<Self> {
        let What::Began { facts } = &history.events.first()?.what else { return None };
        let mut record =
            Self { history, facts, end: None, attempts: Vec::new(), effects: Vec::new(), replicas: BTreeMap::new() };
        record.sort();
        Some(record)
    }

    /// What the simulation is about.
    pub fn facts(&self) -> &'h RunFacts {
        self.facts
    }

    /// Every event, for what the methods here do not show.
    pub fn history(&self) -> &'h History {
        self.history
    }

    /// What this receiver was asked for, done or not, in the order in which it was.
    pub fn effects(&self, receiver: &str) -> impl Iterator<Item = &EffectSeen<'h>> {
        self.effects.iter().filter(move |effect| effect.receiver == receiver)
    }

    /// What this receiver did, by key; each in the order in which it was done.
    pub fn done_by_key(&self, receiver: &str) -> BTreeMap<&'h str, Vec<&EffectSeen<'h>>> {
        let mut by_key: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for effect in self.effects(receiver).filter(|effect| effect.answer == CallAnswer::Done) {
            by_key.entry(effect.key).or_default().push(effect);
        }
        by_key
    }

    /// The attempt that caused an effect; `None` when a tick did, or a task of the application.
    pub fn attempt_of(&self, effect: &EffectSeen<'_>) -> Option<&AttemptSeen<'h>> {
        self.attempts.get(effect.attempt?)
    }

    /// The starts of this job's or queue's handler.
    pub fn attempts(&self, job: &str) -> impl Iterator<Item = &AttemptSeen<'h>> {
        self.attempts.iter().filter(move |attempt| attempt.job.as_str() == job)
    }

    /// What the database holds of this job or queue at the end, finished or not, in the order of ids: executions of its
    /// slots, or items. Each life of its own.
    pub fn executions(&self, job: &str) -> impl Iterator<Item = &'h Execution> {
        let all = self.end.map(|end| end.executions.as_slice()).unwrap_or_default();
        all.iter().filter(move |row| row.job.as_str() == job)
    }

    /// Slots of this job that were never made, with the reason.
    pub fn skipped(&self, job: &str) -> impl Iterator<Item = &'h SkippedEntry> {
        let all = self.end.map(|end| end.skipped.as_slice()).unwrap_or_default();
        all.iter().filter(move |entry| entry.job.as_str() == job)
    }

    /// The application's own remarks ([`Host::note`](crate::world::Host::note)): when, on which replica, what.
    pub fn notes(&self) -> impl Iterator<Item = (Duration, u8, &'h Value)> {
        self.history.events.iter().filter_map(|event| match (&event.what, event.host) {
            (What::Noted { note, .. }, HostId::Replica(replica)) => Some((at(event.at_us), replica, note)),
            _ => None,
        })
    }

    /// The database clock at the end.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.end.map(|end| end.now)
    }

    fn sort(&mut self) {
        let lost: BTreeSet<usize> = self.lost();
        let mut by_lease = BTreeMap::new();
        for (index, event) in self.history.events.iter().enumerate() {
            match (&event.what, event.host) {
                (What::Booted { incarnation }, HostId::Replica(replica)) => {
                    self.replicas.insert(*incarnation, replica);
                }
                (
                    What::HandlerStarted { lease, generation, attempt, job, scope, slot_at, .. },
                    HostId::Replica(replica),
                ) => {
                    by_lease.insert((lease.id, lease.fence), self.attempts.len());
                    self.attempts.push(AttemptSeen {
                        job,
                        scope,
                        slot_at: *slot_at,
                        execution: (lease.id, *generation),
                        number: *attempt,
                        fence: lease.fence,
                        replica,
                        started: at(event.at_us),
                        event: index,
                        end: None,
                        recorded: None,
                    });
                }
                (What::HandlerEnded { lease, end, .. }, _) => {
                    if let Some(attempt) = by_lease.get(&(lease.id, lease.fence)) {
                        self.attempts[*attempt].end = Some(*end);
                    }
                }
                (What::Applied { request, result: Ok(Reply::Settled(settled)), .. }, _) if !lost.contains(&index) => {
                    let Verb::Settle(settle) = &request.verb else { continue };
                    for (settlement, outcome) in settle.settlements.iter().zip(&settled.outcomes) {
                        let lease = (settlement.lease.id, settlement.lease.fence);
                        if let (Ok(state), Some(attempt)) = (outcome, by_lease.get(&lease)) {
                            self.attempts[*attempt].recorded = Some(*state);
                        }
                    }
                }
                (What::EffectReceived { .. } | What::CallReceived { .. }, HostId::Receiver(number)) => {
                    self.received(index, number, &by_lease);
                }
                (What::Ended { state }, _) => self.end = Some(state),
                _ => {}
            }
        }
    }

    /// The events that fail-overs took back.
    fn lost(&self) -> BTreeSet<usize> {
        let lost = self.history.events.iter().filter_map(|event| match &event.what {
            What::FailedOver { lost } => Some(lost.iter().copied()),
            _ => None,
        });
        lost.flatten().collect()
    }

    fn received(&mut self, index: usize, number: u8, by_lease: &BTreeMap<(ExecutionId, Fence), usize>) {
        let event = &self.history.events[index];
        let Some(receiver) = self.facts.receivers.get(usize::from(number)) else { return };
        let seen = match &event.what {
            What::EffectReceived { effect, accepted } => EffectSeen {
                key: &effect.key,
                idempotency: None,
                epoch: None,
                answer: if *accepted { CallAnswer::Done } else { CallAnswer::Fenced },
                attempt: by_lease.get(&(effect.execution, effect.fence)).copied(),
                replica: None,
                receiver: &receiver.receiver,
                at: at(event.at_us),
                event: index,
            },
            What::CallReceived { incarnation, call, answer } => {
                // What an attempt asks for has an event of its own just before.
                let attempt = match (&call.effect, self.effects.last()) {
                    (Some(_), Some(before)) if before.event + 1 == index => {
                        self.effects.pop().and_then(|before| before.attempt)
                    }
                    _ => None,
                };
                EffectSeen {
                    key: &call.key,
                    idempotency: call.idempotency.as_deref(),
                    epoch: call.epoch,
                    answer: *answer,
                    attempt,
                    replica: self.replicas.get(incarnation).copied(),
                    receiver: &receiver.receiver,
                    at: at(event.at_us),
                    event: index,
                }
            }
            _ => return,
        };
        let replica = seen.attempt.map(|attempt| self.attempts[attempt].replica).or(seen.replica);
        self.effects.push(EffectSeen { replica, ..seen });
    }
}

fn at(us: u64) -> Duration {
    Duration::from_micros(us)
}
