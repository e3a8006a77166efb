//! What each loop did outside, and of what it did twice for one unit of work, why. Judges nothing.

use std::collections::BTreeMap;

use serde::Serialize;
use tourbillon::model::{ExecutionId, Timestamp};

use crate::{
    fault::FaultKind,
    history::{CallAnswer, History, HostId, OutsideCall, Stage, What},
    operator::loops::Loop,
};

/// What a loop did outside.
#[derive(Clone, Debug, Serialize)]
pub struct LoopEffects {
    /// Its id.
    pub row: &'static str,
    /// Effects that receivers had.
    pub effects: u64,
    /// Units of work that they were for: keys, and slots where there are any.
    pub units: u64,
    /// Effects beyond the first of each unit, by the gravest thing that happened since the effect before.
    pub duplicates: BTreeMap<Cause, u64>,
}

/// Why something was done twice, gravest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Commits were lost in a fail-over.
    LostCommits,
    /// The process that did it first died.
    Death,
    /// It was shut down.
    Shutdown,
    /// It stood still.
    Pause,
    /// It was cut off from the database, or messages were held back.
    Link,
    /// The database restarted, refused, or was too slow.
    Database,
    /// The reply to one of its requests was lost, or applied late.
    Reply,
    /// The receiver's answer was lost.
    Answer,
    /// A clock stepped.
    Clock,
    /// Nothing of these: it was tried again.
    Retry,
}

/// Something that may have been a cause, in true time.
struct Mark {
    from_us: u64,
    to_us: u64,
    /// Whom it struck; `None`: everybody.
    replica: Option<u8>,
    cause: Cause,
}

/// One effect: when, and of which replica.
type Done = (u64, Option<u8>);

/// What each loop did outside, in the order of the loops; loops without effects are left out.
pub fn effects(history: &History) -> Vec<LoopEffects> {
    let marks = marks(history);
    let mut done: BTreeMap<Loop, BTreeMap<String, Vec<Done>>> = BTreeMap::new();
    let mut slots: BTreeMap<ExecutionId, Timestamp> = BTreeMap::new();
    let mut replicas = BTreeMap::new();
    let mut received: Option<&OutsideCall> = None;
    for event in &history.events {
        match &event.what {
            What::Booted { incarnation } => {
                if let HostId::Replica(replica) = event.host {
                    replicas.insert(*incarnation, replica);
                }
            }
            What::HandlerStarted { lease, slot_at: Some(slot), .. } => {
                slots.insert(lease.id, *slot);
            }
            What::CallReceived { call, answer: CallAnswer::Done, .. } => received = Some(call),
            What::CallReceived { .. } => received = None,
            // The receiver says so right after the call.
            What::Staged { incarnation, row, stage: Stage::Landed, .. } => {
                let (Some(which), Some(call)) = (Loop::from_id(row), received.take()) else { continue };
                let unit = unit(which, call, &slots);
                let replica = replicas.get(incarnation).copied();
                done.entry(which).or_default().entry(unit).or_default().push((event.at_us, replica));
            }
            _ => {}
        }
    }
    done.into_iter().map(|(which, units)| counted(which, &units, &marks)).collect()
}

fn unit(which: Loop, call: &OutsideCall, slots: &BTreeMap<ExecutionId, Timestamp>) -> String {
    let slot = call.effect.as_ref().and_then(|effect| slots.get(&effect.execution));
    match (which, slot, &call.idempotency) {
        // Rows of tables, whatever slot they were taken in.
        (Loop::JobProcessor | Loop::NotificationProcess | Loop::NotificationRetry, ..) => call.key.clone(),
        (_, Some(slot), _) => format!("{} {slot}", call.key),
        (_, None, Some(key)) => key.clone(),
        (_, None, None) => call.key.clone(),
    }
}

fn counted(which: Loop, units: &BTreeMap<String, Vec<Done>>, marks: &[Mark]) -> LoopEffects {
    let mut duplicates = BTreeMap::new();
    for done in units.values() {
        for pair in done.windows(2) {
            let ((first_us, replica), (again_us, _)) = (pair[0], pair[1]);
            let touches = |mark: &&Mark| {
                let is_its = mark.replica.is_none() || mark.replica == replica;
                is_its && mark.from_us <= again_us && mark.to_us >= first_us
            };
            let cause = marks.iter().filter(touches).map(|mark| mark.cause).min().unwrap_or(Cause::Retry);
            *duplicates.entry(cause).or_default() += 1;
        }
    }
    let effects = units.values().map(|done| done.len() as u64).sum();
    LoopEffects { row: which.id(), effects, units: units.len() as u64, duplicates }
}

fn marks(history: &History) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let mut open: BTreeMap<(Option<u8>, Cause), usize> = BTreeMap::new();
    for event in &history.events {
        let replica = match event.host {
            HostId::Replica(replica) => Some(replica),
            _ => None,
        };
        let instant = |replica, cause| Mark { from_us: event.at_us, to_us: event.at_us, replica, cause };
        match &event.what {
            What::FailedOver { lost } if !lost.is_empty() => marks.push(instant(None, Cause::LostCommits)),
            What::Crashed { .. } => marks.push(instant(replica, Cause::Death)),
            What::ShutdownBegan { .. } => marks.push(instant(replica, Cause::Shutdown)),
            What::ClockSet { .. } => marks.push(instant(replica, Cause::Clock)),
            What::Paused | What::FaultBegan { .. } => {
                let cause = match &event.what {
                    What::FaultBegan { kind, .. } => FaultKind::from_name(kind).and_then(lasting),
                    _ => Some(Cause::Pause),
                };
                if let Some(cause) = cause {
                    open.insert((replica, cause), marks.len());
                    marks.push(Mark { to_us: u64::MAX, ..instant(replica, cause) });
                }
            }
            What::Resumed => close(&mut marks, &mut open, (replica, Cause::Pause), event.at_us),
            What::FaultEnded { kind } => {
                if let Some(cause) = FaultKind::from_name(kind).and_then(lasting) {
                    close(&mut marks, &mut open, (replica, cause), event.at_us);
                }
            }
            What::Struck { kind, replica, .. } => {
                let cause = match FaultKind::from_name(kind) {
                    Some(FaultKind::LoseEffectReply) => Cause::Answer,
                    _ => Cause::Reply,
                };
                marks.push(instant(Some(*replica), cause));
            }
            // A heal mends without a word of each.
            What::PhaseBegan { .. } => {
                for (_, mark) in std::mem::take(&mut open) {
                    marks[mark].to_us = event.at_us;
                }
            }
            _ => {}
        }
    }
    marks
}

fn close(marks: &mut [Mark], open: &mut BTreeMap<(Option<u8>, Cause), usize>, key: (Option<u8>, Cause), at_us: u64) {
    if let Some(mark) = open.remove(&key) {
        marks[mark].to_us = at_us;
    }
}

/// What a fault that lasts may be the cause of.
const fn lasting(kind: FaultKind) -> Option<Cause> {
    match kind {
        FaultKind::Partition
        | FaultKind::PartitionToDatabase
        | FaultKind::PartitionFromDatabase
        | FaultKind::Hold => Some(Cause::Link),
        FaultKind::DatabaseRestart => Some(Cause::Database),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_has_the_gravest_cause_since_the_effect_before_it() {
        let mark = |from_us, to_us, replica, cause| Mark { from_us, to_us, replica, cause };
        let marks = [
            mark(5, 15, Some(0), Cause::Link),
            mark(12, 12, Some(1), Cause::Death),
            mark(30, 30, None, Cause::LostCommits),
        ];
        let units = [("digest".to_owned(), vec![(10, Some(0)), (20, Some(1)), (40, Some(1))])].into();
        let counted = counted(Loop::Digest, &units, &marks);
        assert_eq!((counted.effects, counted.units), (3, 1));
        // The link was that of the replica that did it first; the death was another's.
        assert_eq!(counted.duplicates, [(Cause::Link, 1), (Cause::LostCommits, 1)].into());
    }
}
