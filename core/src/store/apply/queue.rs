//! The executable specification of the verbs of queues.

use super::make;
use crate::model::{Execution, ExecutionId, JobName, NewExecution, State, Timestamp, audit::By, transition};
use crate::store::{Counts, Due, Enqueue, EnqueueOutcome, Enqueued, NewItem, Rows, StoreError};

/// States that count beside the live ones.
const fn counted(counts: Counts) -> &'static [State] {
    match counts {
        Counts::Live => &[],
        Counts::Succeeded => &[State::Succeeded],
        Counts::Finished => &[State::Succeeded, State::Dead, State::Cancelled, State::Skipped],
    }
}

pub(super) fn enqueue(rows: &mut impl Rows, now: Timestamp, verb: &Enqueue) -> Result<Enqueued, StoreError> {
    let mut held = if verb.max_items.is_some() { rows.items(&verb.queue)? } else { 0 };
    let mut outcomes = Vec::with_capacity(verb.items.len());
    for item in &verb.items {
        outcomes.push(if verb.max_items.is_some_and(|max| held >= max) {
            EnqueueOutcome::Full
        } else if let Some(existing) = existing(rows, now, item)? {
            EnqueueOutcome::Duplicate(existing)
        } else {
            make(rows, now, None, &fresh(&verb.queue, item, now), By::Maker)?;
            held += 1;
            EnqueueOutcome::Enqueued(item.id)
        });
    }
    Ok(Enqueued { now, outcomes })
}

/// What the item would be a duplicate of.
fn existing(rows: &mut impl Rows, now: Timestamp, item: &NewItem) -> Result<Option<ExecutionId>, StoreError> {
    let is_gone = |rows: &mut _| Ok::<_, StoreError>(is_finished(rows, item.id)? && !planted!(C3));
    if rows.live(item.id)?.is_some() || is_gone(rows)? {
        return Ok(Some(item.id));
    }
    let Some(unique) = &item.unique else { return Ok(None) };
    let key = unique.stored(now);
    let live = match rows.live_with_key(&key)? {
        Some(live) if is_ignored(rows, live, now)? => None,
        live => live,
    };
    match (live, counted(unique.counts)) {
        (Some(live), _) => Ok(Some(live)),
        (None, []) => Ok(None),
        (None, states) => rows.finished_with_key(&key, states),
    }
}

/// Whether it has ended, or was there and is told of.
fn is_finished(rows: &mut impl Rows, id: ExecutionId) -> Result<bool, StoreError> {
    Ok(rows.finished(id)?.is_some() || rows.is_audited(id)?)
}

/// Planted bugs only: a live row that does not keep its key.
fn is_ignored(rows: &mut impl Rows, live: ExecutionId, now: Timestamp) -> Result<bool, StoreError> {
    let Some(row) = rows.live(live)? else { return Ok(false) };
    let is_new = row.created_at <= now && now < transition::after_ms(row.created_at, 2_000);
    Ok((is_new && planted!(A19)) || (row.state == State::Running && planted!(C9)))
}

/// From when a claim may take an item that is due so.
pub(super) fn claimable_from(now: Timestamp, due: Due) -> Timestamp {
    match due {
        Due::AfterMs(ms) => transition::after_ms(now, ms),
        Due::At(at) => at,
    }
}

/// The row that an item becomes.
fn fresh(queue: &JobName, item: &NewItem, now: Timestamp) -> Execution {
    let due_at = match item.due {
        Due::AfterMs(_) => now,
        Due::At(at) => at,
    };
    let claimable_at = claimable_from(now, item.due);
    let new = NewExecution {
        id: item.id,
        slot_at: None,
        due_at,
        expires_at: item.ttl_ms.map(|ms| transition::after_ms(now, ms)),
        priority: item.priority,
        payload: item.payload.clone(),
        unique_key: item.unique.as_ref().map(|unique| unique.stored(now)),
        policy: item.policy.clone(),
    };
    let trace = item.trace.clone();
    Execution {
        claimable_at: Some(claimable_at),
        trace,
        ..Execution::fresh(queue.clone(), item.scope.clone(), new, now)
    }
}
