//! Owns the verdict on a whole race, from what its calls were told and from the listing at its end.
//!
//! The numbers are those of the guarantees: G1, G2, G3 for each execution, G15 across executions, G5 and G6 for what was
//! planned. Knows no store, so that its own tests are hand-written logs.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::{Execution, ExecutionId, Generation, Timestamp},
    store::ErrorKind,
};

use super::{
    life::{Span, Surroundings, judge},
    log::{Call, Ledger},
};

/// What was found, and how much was looked at.
#[derive(Debug, Default)]
pub struct Verdict {
    /// One line each, opening with the number of the guarantee; empty: it holds.
    pub findings: Vec<String>,
    /// Calls made.
    pub calls: usize,
    /// Leases given out.
    pub claims: usize,
    /// Attempts ended by their runners.
    pub settles: usize,
    /// Spans that count against an overlap limit.
    pub limited: usize,
    /// Calls that had an error for an answer.
    pub errors: usize,
}

/// Judges a race. `end` is the full listing after the last call, all executions terminal.
pub fn check(calls: &[Call], end: &[Execution]) -> Verdict {
    let mut ledger = Ledger::of(calls);
    let mut verdict = Verdict { calls: calls.len(), ..Verdict::default() };
    verdict.errors = calls.iter().filter(|call| call.reply.is_err()).count();
    verdict.findings.append(&mut ledger.contradictions);
    let mut by_id: BTreeMap<ExecutionId, Vec<Execution>> = BTreeMap::new();
    for row in end {
        by_id.entry(row.id).or_default().push(row.clone());
    }
    let (mut spans, mut unheard): (Vec<Span>, usize) = (Vec::new(), 0);
    let ids: BTreeSet<ExecutionId> = by_id.keys().chain(ledger.events.keys()).copied().collect();
    for id in ids {
        let around = Surroundings {
            id,
            end: by_id.get(&id).map_or(&[], Vec::as_slice),
            cancelled_now: ledger.cancelled_now.get(&id).copied().unwrap_or(0),
            rescues_unanswered: ledger.unanswered.contains_key("rescue"),
            claims_unheard: ledger.unheard_rows > 0,
        };
        let judged = judge(around, ledger.events.get(&id).map_or(&[], Vec::as_slice));
        verdict.findings.extend(judged.findings);
        verdict.claims += judged.claims;
        verdict.settles += judged.settles;
        spans.extend(judged.spans);
        unheard += judged.unheard;
    }
    if unheard > ledger.unheard_rows {
        let most = ledger.unheard_rows;
        verdict.findings.push(format!("G1: {unheard} claims are in no reply; those heard late took {most} at most"));
    }
    verdict.limited = spans.len();
    overlaps(spans, &mut verdict.findings);
    planned(&ledger, end, &mut verdict.findings);
    verdict
}

/// Errors of these kinds are the only ones that a call may see; findings name the others.
pub fn check_errors(calls: &[Call], allowed: &[ErrorKind]) -> Vec<String> {
    let wrong = calls.iter().filter_map(|call| {
        let error = call.reply.as_ref().err().filter(|error| !allowed.contains(&error.kind()))?;
        Some(format!("{} of task {} failed: {error:?}", call.request.verb.name(), call.worker))
    });
    wrong.collect()
}

/// G15: at any instant of the database clock, at most `max` rows with one key are running. That is more than the
/// guarantee asks for: a row whose lease expired counts until somebody takes it over or ends it.
fn overlaps(spans: Vec<Span>, findings: &mut Vec<String>) {
    let mut by_key: BTreeMap<String, (u32, Vec<(Timestamp, i32)>)> = BTreeMap::new();
    for span in spans {
        let (max, edges) = by_key.entry(span.limit.key).or_insert((span.limit.max, Vec::new()));
        *max = span.limit.max.min(*max);
        edges.push((span.from, 1));
        edges.extend(span.to.map(|to| (to, -1)));
    }
    for (key, (max, mut edges)) in by_key {
        // At one instant the end comes first: it made the room.
        edges.sort_unstable();
        let mut running = 0;
        for (at, step) in edges {
            running += step;
            if step > 0 && running > i32::try_from(max).unwrap_or(i32::MAX) {
                findings.push(format!("G15: {running} rows with key {key} run at {at}, at most {max} may"));
            }
        }
    }
}

fn planned(ledger: &Ledger, end: &[Execution], findings: &mut Vec<String>) {
    let known: BTreeSet<(ExecutionId, Generation)> = end.iter().map(|row| (row.id, row.generation)).collect();
    for id in ledger.planned.iter().filter(|id| !known.contains(&(**id, Generation::FIRST))) {
        findings.push(format!("G5: execution {id} was acknowledged as planned, and is nowhere"));
    }
    let mut moves = BTreeSet::new();
    for (job, scope, expect) in &ledger.moved {
        if !moves.insert((job, scope, expect)) {
            findings.push(format!("G6: the cursor of {job} {scope} was moved from {expect:?} twice"));
        }
    }
    let mut lives: BTreeSet<(ExecutionId, Generation)> = BTreeSet::new();
    for life in &ledger.requeued {
        if !lives.insert(*life) {
            findings.push(format!("G2: two requeues made generation {} of execution {}", life.1, life.0));
        }
    }
    let later = end.iter().filter(|row| row.generation > Generation::FIRST);
    let later: BTreeSet<_> = later.map(|row| (row.id, row.generation)).collect();
    for life in lives.symmetric_difference(&later) {
        findings.push(format!("G2: requeues and history do not agree on generation {} of {}", life.1, life.0));
    }
    let mut slots = BTreeSet::new();
    for row in end.iter().filter(|row| row.generation == Generation::FIRST) {
        if let Some(slot_at) = row.slot_at
            && !slots.insert((&row.job, &row.scope, slot_at))
        {
            findings.push(format!("G6: slot {slot_at} of {} {} was made twice", row.job, row.scope));
        }
    }
    for row in end.iter().filter(|row| !row.state.is_terminal()) {
        findings.push(format!("G5: execution {} never ended: {row:?}", row.id));
    }
}
