//! Reads what happened to the jobs among the probes: effects per slot against the starts of that slot, slots without
//! an end or a record, handlers at once.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    job::Delivery,
    model::{Execution, ExecutionId, JobName, LeaseRef, Timestamp},
    store::{Reply, SkippedEntry, Verb},
};

use super::{AT_ONCE, CLAIMED, EFFECTS, EVERY, LOST, Mode, REPLICAS, SERVICES, ticks};
use crate::{
    history::{FinalState, History, HostId, RunFacts, What},
    table::{Cell, FaultClass, Reading},
};

pub(super) fn read(cell: &Cell<'_>, history: &History) -> Vec<Reading> {
    let mut readings = Vec::new();
    for mode in CLAIMED {
        readings.extend(effects(*mode, history));
        // When the database clock leaps, a lease ends for the others before its holder's own clock can know.
        let bound = if is_leaping(cell.class) { REPLICAS } else { 1 };
        readings.extend(at_once(mode.id, bound, &attempts(*mode, history)));
        readings.extend(lost(*mode, history));
    }
    for service in SERVICES {
        readings.extend(ticks::read(service, cell, history));
    }
    readings
}

/// Whether a class moves the database clock under leases that are held.
pub(super) const fn is_leaping(class: FaultClass) -> bool {
    matches!(class, FaultClass::DatabaseClock | FaultClass::Failover | FaultClass::Swarm)
}

/// What happened to one slot.
#[derive(Default)]
struct Slot {
    starts: u64,
    /// Starts whose charge a fail-over lost: each of them may come on top, and no other.
    lost: u64,
    effects: u64,
    events: Vec<usize>,
}

impl Slot {
    fn evidence(&self, at: Timestamp) -> String {
        let Self { starts, lost, effects, .. } = self;
        let charges =
            if *lost > 0 { format!(", {lost} of them under a charge that was lost") } else { String::new() };
        format!("slot {at} had {effects} effects in {starts} starts of its handler{charges}")
    }
}

fn effects(mode: Mode, history: &History) -> Option<Reading> {
    let mut slot_of: BTreeMap<ExecutionId, Timestamp> = BTreeMap::new();
    let mut slots: BTreeMap<Timestamp, Slot> = BTreeMap::new();
    let lost = lost_charges(history);
    for (index, event) in history.events.iter().enumerate() {
        match &event.what {
            What::HandlerStarted { lease, job, slot_at: Some(slot), .. } if job.as_str() == mode.id => {
                slot_of.insert(lease.id, *slot);
                let slot = slots.entry(*slot).or_default();
                slot.starts += 1;
                slot.lost += u64::from(lost.contains(lease));
                slot.events.push(index);
            }
            What::EffectReceived { effect, .. } => {
                let Some(slot) = slot_of.get(&effect.execution) else { continue };
                let slot = slots.entry(*slot).or_default();
                slot.effects += 1;
                slot.events.push(index);
            }
            _ => {}
        }
    }
    let bound = |slot: &Slot| match mode.delivery {
        Delivery::AtLeastOnce => slot.starts,
        Delivery::AtMostOnce => 1 + slot.lost,
    };
    let weight = |slot: &Slot| (slot.effects.saturating_sub(bound(slot)), slot.effects);
    // Of equals the first.
    let (at, worst) = slots.into_iter().rev().max_by_key(|(_, slot)| weight(slot))?;
    Some(Reading {
        row: mode.id,
        measure: EFFECTS,
        count: worst.effects,
        bound: bound(&worst),
        evidence: worst.evidence(at),
        events: worst.events,
    })
}

/// Leases under which an attempt was charged by a commit that a fail-over lost.
fn lost_charges(history: &History) -> BTreeSet<LeaseRef> {
    let lost = history.events.iter().filter_map(|event| match &event.what {
        What::FailedOver { lost } => Some(lost),
        _ => None,
    });
    let mut leases = BTreeSet::new();
    for event in lost.flatten().filter_map(|number| history.events.get(*number)) {
        match &event.what {
            What::Applied { request, result: Ok(Reply::Started(started)), .. } => {
                let Verb::Start(start) = &request.verb else { continue };
                let charged = start.leases.iter().zip(&started.outcomes).filter(|(_, outcome)| outcome.is_ok());
                leases.extend(charged.map(|(lease, _)| *lease));
            }
            What::Applied { request, result: Ok(Reply::Claimed(claimed)), .. } => {
                let Verb::Claim(claim) = &request.verb else { continue };
                let charged = claimed.executions.iter().filter(|row| claim.charge.has_charged(row));
                leases.extend(charged.filter_map(Execution::lease_ref));
            }
            _ => {}
        }
    }
    leases
}

/// How many run at the same time for longer than the lane can be unsure of.
pub(super) fn at_once(row: &'static str, bound: u64, runs: &[Ran]) -> Option<Reading> {
    let worst = runs.iter().map(|run| {
        let beside: Vec<_> =
            runs.iter().filter(|other| (other.from_us..other.to_us).contains(&run.from_us)).collect();
        (beside.len() as u64, run.from_us, beside)
    });
    // Of equals the first.
    let (count, at_us, beside) = worst.rev().max_by_key(|(count, ..)| *count)?;
    let mut events: Vec<_> = beside.iter().map(|run| run.event).collect();
    events.sort_unstable();
    let evidence = format!("{count} ran at {} s of the run", at_us / 1_000_000);
    Some(Reading { row, measure: AT_ONCE, count, bound, evidence, events })
}

/// A stretch of true time in which something ran. One whose process stands still does not run; nor does one that is
/// stopped as soon as its process goes on.
pub(super) struct Ran {
    pub(super) from_us: u64,
    pub(super) to_us: u64,
    pub(super) event: usize,
}

/// What runs where, while the history is read.
pub(super) struct Running<K> {
    slack_us: u64,
    open: BTreeMap<K, (u8, u64, usize)>,
    runs: Vec<Ran>,
}

impl<K: Ord> Running<K> {
    pub(super) fn new(history: &History) -> Self {
        let facts = history.events.first().map(|event| &event.what);
        let slack = match facts {
            Some(What::Began { facts }) => facts.granularity.as_micros(),
            _ => 0,
        };
        Self { slack_us: u64::try_from(slack).unwrap_or(0), open: BTreeMap::new(), runs: Vec::new() }
    }

    pub(super) fn began(&mut self, key: K, replica: u8, at_us: u64, event: usize) {
        self.open.insert(key, (replica, at_us, event));
    }

    pub(super) fn ended(&mut self, key: &K, at_us: u64) {
        if let Some(run) = self.open.remove(key) {
            self.ran(run, at_us);
        }
    }

    /// What happens to everything that runs on a replica.
    pub(super) fn see(&mut self, replica: u8, at_us: u64, what: &What) {
        let here: Vec<_> = self.open.values().filter(|run| run.0 == replica).copied().collect();
        match what {
            What::Crashed { .. } => {
                here.into_iter().for_each(|run| self.ran(run, at_us));
                self.open.retain(|_, run| run.0 != replica);
            }
            What::Paused => here.into_iter().for_each(|run| self.ran(run, at_us)),
            What::Resumed => {
                self.open.values_mut().filter(|run| run.0 == replica).for_each(|run| run.1 = at_us);
            }
            _ => {}
        }
    }

    fn ran(&mut self, (_, from_us, event): (u8, u64, usize), at_us: u64) {
        let to_us = at_us.saturating_sub(self.slack_us);
        if to_us > from_us {
            self.runs.push(Ran { from_us, to_us, event });
        }
    }

    pub(super) fn finish(mut self) -> Vec<Ran> {
        self.runs.sort_unstable_by_key(|run| (run.from_us, run.event));
        self.runs
    }
}

fn attempts(mode: Mode, history: &History) -> Vec<Ran> {
    let mut running: Running<LeaseRef> = Running::new(history);
    for (index, event) in history.events.iter().enumerate() {
        let HostId::Replica(replica) = event.host else { continue };
        match &event.what {
            What::HandlerStarted { lease, job, .. } if job.as_str() == mode.id => {
                running.began(*lease, replica, event.at_us, index);
            }
            What::HandlerEnded { lease, .. } => running.ended(lease, event.at_us),
            what => running.see(replica, event.at_us, what),
        }
    }
    running.finish()
}

/// Slots between the first and the last that was made or recorded, that are neither; and executions that were due for
/// longer than the bound of liveness and have not ended.
fn lost(mode: Mode, history: &History) -> Option<Reading> {
    let facts = history.events.iter().find_map(|event| match &event.what {
        What::Began { facts } => Some(facts),
        _ => None,
    })?;
    let (index, state) = history.events.iter().enumerate().find_map(|(index, event)| match &event.what {
        What::Ended { state } => Some((index, state)),
        _ => None,
    })?;
    let job = facts.jobs.iter().find(|job| job.job.as_str() == mode.id)?;
    let unended = unended(&job.job, facts, state);
    let gaps = gaps(&job.job, state);
    let count = (unended.len() + gaps.len()) as u64;
    let first = unended.first().or(gaps.first()).map_or_else(String::new, |slot| format!(", the first {slot}"));
    let evidence = format!("{} slots were not ended, {} not recorded{first}", unended.len(), gaps.len());
    Some(Reading { row: mode.id, measure: LOST, count, bound: 0, evidence, events: vec![index] })
}

fn unended(job: &JobName, facts: &RunFacts, state: &FinalState) -> Vec<Timestamp> {
    let long_ago = state.now - facts.settle_within;
    let is_stuck = |row: &&Execution| row.job == *job && !row.state.is_terminal() && row.due_at < long_ago;
    state.executions.iter().filter(is_stuck).filter_map(|row| row.slot_at).collect()
}

fn gaps(job: &JobName, state: &FinalState) -> Vec<Timestamp> {
    let rows = state.executions.iter().filter(|row| row.job == *job);
    let made: BTreeSet<_> = rows.filter_map(|row| row.slot_at).collect();
    let skipped: Vec<&SkippedEntry> = state.skipped.iter().filter(|entry| entry.job == *job).collect();
    let is_recorded =
        |slot: Timestamp| skipped.iter().any(|entry| entry.slots.after < slot && slot <= entry.slots.through);
    let (Some(first), Some(newest)) = (made.first().copied(), made.last().copied()) else { return Vec::new() };
    // What lies ahead of the clock was made by a clock that has stepped back since; what is in between comes yet.
    let last = newest.min(state.now);
    let mut gaps = Vec::new();
    let mut slot = first;
    while slot < last {
        if !made.contains(&slot) && !is_recorded(slot) {
            gaps.push(slot);
        }
        slot = slot + EVERY;
    }
    gaps
}
