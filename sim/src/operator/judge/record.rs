//! A history of the operator, read once: its transactions, the calls that the outside received, how it ended.

use std::collections::BTreeMap;

use serde::Deserialize;
use tourbillon::model::{ExecutionId, Generation, Timestamp};

use crate::{
    history::{CallAnswer, History, HostId, OutsideCall, RunFacts, What},
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

/// One call that a receiver got.
pub(super) struct Received<'h> {
    pub(super) event: usize,
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

/// What the judges read.
pub(super) struct Record<'h> {
    pub(super) history: &'h History,
    pub(super) variant: Variant,
    pub(super) replicas: u64,
    pub(super) facts: Option<&'h RunFacts>,
    pub(super) applied: Vec<Applied>,
    pub(super) received: Vec<Received<'h>>,
    /// Starts of handlers, by execution and generation.
    pub(super) starts: BTreeMap<(ExecutionId, Generation), u64>,
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
            received: Vec::new(),
            starts: BTreeMap::new(),
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
                What::ApplicationApplied { request, now, result: Ok(_), changes } => {
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
                    record.received.push(Received { event, now, outside, call, answer: *answer });
                }
                What::HandlerStarted { lease, generation, .. } => {
                    *record.starts.entry((lease.id, *generation)).or_default() += 1;
                }
                What::ApplicationEnded { state } => {
                    record.ended = Some((Operator::deserialize(state).expect("the operator's tables"), last_now));
                }
                _ => {}
            }
        }
        record
    }

    /// All changes with the event that shows them, the database time and the verb.
    pub(super) fn changes(&self) -> impl Iterator<Item = (usize, Timestamp, &Verb, &Change)> {
        self.applied.iter().flat_map(|applied| {
            let Applied { event, now, verb, changes } = applied;
            changes.iter().map(move |change| (*event, *now, verb, change))
        })
    }

    /// Calls to one receiver with keys of this beginning.
    pub(super) fn calls<'a>(&'a self, to: Outside, prefix: &'a str) -> impl Iterator<Item = &'a Received<'h>> {
        self.received.iter().filter(move |one| one.outside == Some(to) && one.call.key.starts_with(prefix))
    }

    /// How often an execution's handler started: its u + s.
    pub(super) fn starts_of(&self, call: &OutsideCall) -> u64 {
        let key = call.effect.as_ref().map(|effect| (effect.execution, effect.generation));
        key.and_then(|key| self.starts.get(&key)).copied().unwrap_or(1)
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
