//! A history of the operator, read once: its transactions, the calls that the outside received, how it ended.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tourbillon::model::{ExecutionId, JobName, Scope, Timestamp};

use crate::{
    history::{CallAnswer, History, HostId, OutsideCall, RunFacts, Stage, What},
    operator::{
        loops::Loop,
        outside::Outside,
        tables::{Change, Operator, Verb},
        workload::Variant,
    },
    table::Reading,
};

use super::measure;

/// One transaction that changed something.
pub(super) struct Applied {
    pub(super) event: usize,
    pub(super) now: Timestamp,
    pub(super) verb: Verb,
    pub(super) changes: Vec<Change>,
}

impl Applied {
    fn each(&self) -> impl Iterator<Item = (usize, Timestamp, &Verb, &Change)> {
        self.changes.iter().map(|change| (self.event, self.now, &self.verb, change))
    }
}

/// What an execution is of: job, scope and slot.
pub(super) type SlotOf<'h> = (&'h JobName, &'h Scope, Option<Timestamp>);

/// One call that a receiver got.
pub(super) struct Received<'h> {
    pub(super) event: usize,
    /// In true time.
    pub(super) at_us: u64,
    /// The database clock then.
    pub(super) now: Timestamp,
    pub(super) outside: Option<Outside>,
    pub(super) call: &'h OutsideCall,
    pub(super) answer: CallAnswer,
}

impl Received<'_> {
    pub(super) fn is_effect(&self) -> bool {
        self.answer == CallAnswer::Done
    }
}

/// What the judges read. Of the tables they judge the timeline that survived; what left the database before its commit
/// was lost cannot be taken back, so that bounds on effects count what was lost as well (ADR 15).
pub(super) struct Record<'h> {
    pub(super) history: &'h History,
    pub(super) variant: Variant,
    pub(super) replicas: u64,
    pub(super) facts: Option<&'h RunFacts>,
    /// Transactions of the timeline that survived.
    pub(super) applied: Vec<Applied>,
    /// Transactions that a fail-over lost.
    pub(super) lost: Vec<Applied>,
    pub(super) received: Vec<Received<'h>>,
    slots: BTreeMap<ExecutionId, SlotOf<'h>>,
    /// Starts of handlers. A slot whose execution was lost is planned again, as another one.
    starts: BTreeMap<SlotOf<'h>, u64>,
    /// Units of work that each loop carried out, by its id.
    ran: BTreeMap<&'h str, u64>,
    /// Events that begin or end ticks.
    pub(super) ticks: Vec<usize>,
    /// When replicas began to lead, in true time.
    pub(super) gained: Vec<u64>,
    /// The tables and the database clock at the end.
    pub(super) ended: Option<(Operator, Timestamp)>,
}

impl<'h> Record<'h> {
    pub(super) fn of(variant: Variant, history: &'h History) -> Self {
        let mut record = Self {
            history,
            variant,
            replicas: 1,
            facts: None,
            applied: Vec::new(),
            lost: Vec::new(),
            received: Vec::new(),
            slots: BTreeMap::new(),
            starts: BTreeMap::new(),
            ran: BTreeMap::new(),
            ticks: Vec::new(),
            gained: Vec::new(),
            ended: None,
        };
        // The database clock at true time zero, as of the last request that it carried out.
        let mut zero = Timestamp::EPOCH;
        let mut last_now = Timestamp::EPOCH;
        for (event, at) in history.events.iter().enumerate() {
            let true_us = i64::try_from(at.at_us).unwrap_or(i64::MAX);
            match &at.what {
                What::Began { facts } => {
                    record.facts = Some(facts);
                    record.replicas = facts.replicas.into();
                    (zero, last_now) = (facts.epoch, facts.epoch);
                }
                What::Applied { now, .. } => {
                    (zero, last_now) = (now.offset_micros(-true_us), *now);
                }
                What::ApplicationApplied { request, now, result, changes } if result.is_ok() => {
                    (zero, last_now) = (now.offset_micros(-true_us), *now);
                    let now = *now;
                    if !changes.is_empty() {
                        let verb = Verb::deserialize(&request.verb).expect("a verb that was applied");
                        let changes = changes.iter().map(|change| Change::deserialize(change).expect("a change"));
                        record.applied.push(Applied { event, now, verb, changes: changes.collect() });
                    }
                }
                What::CallReceived { call, answer, .. } => {
                    let HostId::Receiver(number) = at.host else { continue };
                    let outside = Outside::ALL.get(usize::from(number)).copied();
                    let now = zero.offset_micros(true_us);
                    record.received.push(Received { event, at_us: at.at_us, now, outside, call, answer: *answer });
                }
                What::HandlerStarted { lease, job, scope, slot_at, .. } => {
                    let scope = &**scope;
                    record.slots.insert(lease.id, (job, scope, *slot_at));
                    *record.starts.entry((job, scope, *slot_at)).or_default() += 1;
                }
                What::Staged { row, stage: Stage::Ended, .. } => *record.ran.entry(row).or_default() += 1,
                What::TickStarted { .. } | What::TickEnded { .. } => record.ticks.push(event),
                What::LeaderGained { .. } => record.gained.push(at.at_us),
                What::FailedOver { lost } => record.lose(lost),
                What::ApplicationEnded { state } => {
                    record.ended = Some((Operator::deserialize(state).expect("the operator's tables"), last_now));
                }
                _ => {}
            }
        }
        record
    }

    /// How many units of work a loop carried out.
    pub(super) fn units_of(&self, which: Loop) -> u64 {
        self.ran.get(which.id()).copied().unwrap_or(0)
    }

    fn lose(&mut self, lost: &[usize]) {
        let lost: BTreeSet<_> = lost.iter().copied().collect();
        self.lost.extend(self.applied.extract_if(.., |applied| lost.contains(&applied.event)));
    }

    /// All changes with the event that shows them, the database time and the verb.
    pub(super) fn changes(&self) -> impl Iterator<Item = (usize, Timestamp, &Verb, &Change)> {
        self.applied.iter().flat_map(Applied::each)
    }

    /// Changes that a fail-over lost.
    pub(super) fn lost_changes(&self) -> impl Iterator<Item = &Change> {
        self.lost.iter().flat_map(|applied| &applied.changes)
    }

    /// Calls to one receiver with keys of this beginning.
    pub(super) fn calls<'a>(&'a self, to: Outside, prefix: &'a str) -> impl Iterator<Item = &'a Received<'h>> {
        self.received.iter().filter(move |one| one.outside == Some(to) && one.call.key.starts_with(prefix))
    }

    /// The slot that a call was made for, if it was made for one.
    pub(super) fn slot_of(&self, call: &OutsideCall) -> Option<SlotOf<'h>> {
        call.effect.as_ref().and_then(|effect| self.slots.get(&effect.execution)).copied()
    }

    /// How often handlers started for a slot: its u + s.
    pub(super) fn starts_of(&self, slot: &SlotOf<'_>) -> u64 {
        self.starts.get(slot).copied().unwrap_or(1)
    }
}

/// A reading of a loop's own measure.
pub(super) fn own(which: Loop, count: u64, bound: u64, evidence: String, events: &[usize]) -> Reading {
    other(which, measure(which), (count, bound), evidence, events)
}

/// A reading of something else that must hold of a loop.
pub(super) fn other(
    which: Loop,
    measure: &'static str,
    (count, bound): (u64, u64),
    evidence: String,
    events: &[usize],
) -> Reading {
    Reading { row: which.id(), measure, count, bound, evidence, events: events.to_vec() }
}
