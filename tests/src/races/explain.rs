//! Owns the comparison of two calls that met with the serial orders on the in-memory store.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::{ExecutionId, JobName},
    store::{Claimed, MemoryStore, Reply, Request, Rescue, Rescued, Verb},
};

use super::{
    scene::{NOW, Scene},
    stage::{Answer, Meeting, questions},
};

/// How a meeting is to be explained. The first that fits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Class {
    /// As if the first had been alone, then the second.
    FirstThenSecond,
    /// The other way round.
    SecondThenFirst,
    /// A claim or rescue passed over rows that the other call, or the holder, had locked.
    PassedOver,
    /// Each execution tells of a serial order (or of passing over), but not all of the same.
    RowByRow,
}

/// Finds what the meeting equals; `locked` are the rows that each call may have found locked.
pub(crate) fn explain(
    scene: &Scene,
    requests: &[Request; 2],
    locked: &[BTreeSet<ExecutionId>; 2],
    meeting: &Meeting,
) -> Result<Class, String> {
    let orders = [(Class::FirstThenSecond, [0, 1]), (Class::SecondThenFirst, [1, 0])];
    let mut whys = Vec::new();
    for passing_over in [false, true] {
        for (class, order) in orders {
            let store = scene.memory();
            let mut why = None;
            for n in order {
                let locked = passing_over.then_some(&locked[n]);
                why = why.or_else(|| replay(scene, &store, &requests[n], &meeting.answers[n], locked).err());
            }
            why = why.or_else(|| compare_end(&store, meeting).err());
            match why {
                None => return Ok(if passing_over { Class::PassedOver } else { class }),
                Some(why) => {
                    whys.push(format!("{class:?}{}: {why}", if passing_over { " passing over" } else { "" }));
                }
            }
        }
    }
    match row_by_row(scene, requests, locked, meeting) {
        Ok(()) => Ok(Class::RowByRow),
        Err(why) => {
            whys.push(format!("RowByRow: {why}"));
            Err(format!("equals no serial order\n    {}\n    {:?}", whys.join("\n    "), meeting.waited))
        }
    }
}

/// What the two answers and the end say of one execution; of none: the cursors and the ledger.
type Parts = BTreeMap<Option<ExecutionId>, [Vec<String>; 3]>;

/// Executions are independent of each other but for their gates, which are checked apart.
fn row_by_row(
    scene: &Scene,
    requests: &[Request; 2],
    locked: &[BTreeSet<ExecutionId>; 2],
    meeting: &Meeting,
) -> Result<(), String> {
    let serial = |order: &[usize]| {
        let store = scene.memory();
        let mut answers: [Option<Answer>; 2] = [None, None];
        for n in order {
            answers[*n] = Some(store.apply(&requests[*n]));
        }
        parts(requests, &answers, &questions(&Scene::jobs()).map(|question| store.apply(&question)))
    };
    let got = parts(requests, &meeting.answers.clone().map(Some), &meeting.end.clone().map(Ok));
    let passes = |n: usize| matches!(requests[n].verb, Verb::Claim(_) | Verb::Rescue(_));
    let orders = [serial(&[0, 1]), serial(&[1, 0])];
    let alone = [passes(0).then(|| serial(&[1])), passes(1).then(|| serial(&[0]))];
    for (id, part) in &got {
        let told = orders.iter().any(|order| order.get(id) == Some(part));
        let passed_over = (0..2).any(|n| {
            id.is_some_and(|id| locked[n].contains(&id))
                && alone[n].as_ref().is_some_and(|alone| alone.get(id) == Some(part))
        });
        if !(told || passed_over) {
            return Err(format!("{id:?}: {part:?}, expected {:?}", orders.map(|order| order.get(id).cloned())));
        }
    }
    Ok(())
}

fn parts(requests: &[Request; 2], answers: &[Option<Answer>; 2], end: &[Answer; 6]) -> Parts {
    let mut parts = Parts::new();
    for (n, (request, answer)) in requests.iter().zip(answers).enumerate() {
        for (id, text) in answer.iter().flat_map(|answer| answer_parts(&request.verb, answer)) {
            parts.entry(id).or_default()[n].push(text);
        }
    }
    for reply in end {
        match reply {
            Ok(Reply::ExecutionPage(page)) => {
                for row in &page.executions {
                    parts.entry(Some(row.id)).or_default()[2].push(format!("{row:?}"));
                }
            }
            Ok(Reply::AuditPage(page)) => {
                for event in &page.events {
                    parts.entry(Some(event.key.execution)).or_default()[2].push(format!("{event:?}"));
                }
            }
            // Follows from the listing.
            Ok(Reply::Stats(_)) => {}
            other => parts.entry(None).or_default()[2].push(format!("{other:?}")),
        }
    }
    parts
}

fn answer_parts(verb: &Verb, answer: &Answer) -> Vec<(Option<ExecutionId>, String)> {
    fn zipped<T: std::fmt::Debug>(
        ids: impl Iterator<Item = ExecutionId>,
        outcomes: &[T],
    ) -> Vec<(Option<ExecutionId>, String)> {
        ids.zip(outcomes).map(|(id, outcome)| (Some(id), format!("{outcome:?}"))).collect()
    }
    match (verb, answer) {
        (_, Ok(Reply::Claimed(claimed))) => {
            let taken = claimed.executions.iter().map(|row| (Some(row.id), format!("{row:?}")));
            taken.chain(claimed.skipped.iter().map(|(id, why)| (Some(*id), format!("{why:?}")))).collect()
        }
        (_, Ok(Reply::Rescued(rescued))) => {
            rescued.ended.iter().map(|(id, state)| (Some(*id), format!("{state:?}"))).collect()
        }
        (Verb::Start(verb), Ok(Reply::Started(told))) => zipped(verb.leases.iter().map(|l| l.id), &told.outcomes),
        (Verb::Heartbeat(verb), Ok(Reply::Renewed(told))) => zipped(verb.leases.iter().map(|l| l.id), &told.outcomes),
        (Verb::Settle(verb), Ok(Reply::Settled(told))) => {
            zipped(verb.settlements.iter().map(|one| one.lease.id), &told.outcomes)
        }
        (Verb::Cancel(verb), Ok(Reply::CancelOutcomes(told))) => zipped(verb.ids.iter().copied(), &told.outcomes),
        (Verb::Requeue(verb), Ok(Reply::Requeued(told))) => zipped(verb.ids.iter().copied(), &told.outcomes),
        (_, other) => vec![(None, format!("{other:?}"))],
    }
}

/// Applies `request` to the memory store and compares the answer; with `locked`, as if some of those rows were not there.
fn replay(
    scene: &Scene,
    store: &MemoryStore,
    request: &Request,
    answer: &Answer,
    locked: Option<&BTreeSet<ExecutionId>>,
) -> Result<(), String> {
    let turn_us = match &request.verb {
        Verb::Claim(claim) => claim.rate.as_ref().map_or(0, |rate| rate.turn_us.cast_signed()),
        _ => 0,
    };
    let request = match (locked, &request.verb, answer) {
        (Some(locked), Verb::Claim(claim), Ok(Reply::Claimed(claimed))) => {
            let taken: BTreeSet<ExecutionId> = claimed.executions.iter().map(|row| row.id).collect();
            let ended: BTreeSet<ExecutionId> = claimed.skipped.iter().map(|(id, _)| *id).collect();
            let hidden: BTreeSet<&JobName> = scene
                .start
                .iter()
                .filter(|row| row.claimable_at.is_some_and(|at| at <= NOW) && locked.contains(&row.id))
                .filter(|row| !taken.contains(&row.id) && !ended.contains(&row.id))
                .map(|row| &row.job)
                .collect();
            let mut claim = claim.clone();
            claim.jobs.retain(|job| !hidden.contains(job));
            // What is claimed at a rate is one queue, and where it is hidden, none.
            claim.rate = claim.rate.filter(|_| !claim.jobs.is_empty());
            Request { id: request.id, verb: claim.into() }
        }
        (Some(locked), Verb::Rescue(_), Ok(Reply::Rescued(rescued))) => match rescued.ended.len() {
            0 if locked.is_empty() => request.clone(),
            0 => {
                let nothing = Rescued { now: NOW, ended: Vec::new(), clamped: Vec::new(), clamped_locks: Vec::new() };
                return if *rescued == nothing { Ok(()) } else { Err(format!("told {rescued:?}")) };
            }
            n => Request { id: request.id, verb: Rescue { limit: u32::try_from(n).unwrap_or(1) }.into() },
        },
        _ => request.clone(),
    };
    let expected = store.apply(&request);
    let equal = match (&expected, answer) {
        (Ok(Reply::Claimed(expected)), Ok(Reply::Claimed(answer))) if locked.is_some_and(|rows| !rows.is_empty()) => {
            // When to ask again is a hint, which passing over may put off, by one turn at most.
            let last = Some(answer.now.offset_micros(turn_us));
            let is_put_off = answer.next_at > expected.next_at && answer.next_at <= last;
            let next_at = if is_put_off { expected.next_at } else { answer.next_at };
            *expected == Claimed { next_at, ..answer.clone() }
        }
        (Ok(expected), Ok(answer)) => expected == answer,
        (Err(expected), Err(answer)) => expected.kind() == answer.kind(),
        _ => false,
    };
    if equal {
        Ok(())
    } else {
        Err(format!("{} told {}, expected {}", request.verb.name(), brief(answer), brief(&expected)))
    }
}

/// An answer for a reader; of a claim the rows only.
fn brief(answer: &Answer) -> String {
    match answer {
        Ok(Reply::Claimed(claimed)) => {
            let taken: Vec<_> = claimed.executions.iter().map(|row| (row.id.0.as_u128(), row.fence.0)).collect();
            let ended: Vec<_> = claimed.skipped.iter().map(|(id, why)| (id.0.as_u128(), why.as_str())).collect();
            format!("rows {taken:?}, skipped {ended:?}")
        }
        other => format!("{other:?}"),
    }
}

fn compare_end(store: &MemoryStore, meeting: &Meeting) -> Result<(), String> {
    for (question, got) in questions(&Scene::jobs()).iter().zip(&meeting.end) {
        let expected = store.apply(question).expect("a memory store answers reads");
        if expected != *got {
            return Err(format!("end differs in {}: {}", question.verb.name(), difference(&expected, got)));
        }
    }
    Ok(())
}

fn difference(expected: &Reply, got: &Reply) -> String {
    let (Reply::ExecutionPage(expected), Reply::ExecutionPage(got)) = (expected, got) else {
        return format!("{got:?}, expected {expected:?}");
    };
    let rows = got.executions.iter().filter(|row| !expected.executions.contains(row));
    let rows: Vec<_> = rows.collect();
    let missing: Vec<_> = expected.executions.iter().filter(|row| !got.executions.contains(row)).collect();
    format!("has {rows:?}, expected {missing:?}")
}
