//! The executable specification of what operators do with items.

use super::{each, queue::claimable_from, tell};
use crate::model::{Execution, ExecutionId, JobName, State, Timestamp, audit::By, micros, transition};
use crate::store::{
    CleanItems, DeleteItems, DeleteOutcome, Due, ItemUpdated, ItemsCleaned, ItemsDeleted, Rows, StoreError,
    UpdateItem, UpdateOutcome,
};
use std::time::Duration;

/// The newest generation, if it is an item of this queue.
fn newest(rows: &mut impl Rows, queue: &JobName, id: ExecutionId) -> Result<Option<Execution>, StoreError> {
    let row = match rows.live(id)? {
        Some(live) => Some(live),
        None => rows.finished(id)?,
    };
    Ok(row.filter(|row| row.job == *queue && row.slot_at.is_none()))
}

pub(super) fn update(rows: &mut impl Rows, now: Timestamp, verb: &UpdateItem) -> Result<ItemUpdated, StoreError> {
    let outcome = match newest(rows, &verb.queue, verb.id)? {
        None => UpdateOutcome::NotFound,
        Some(row) if row.state.is_terminal() => UpdateOutcome::Ended,
        Some(row) if row.state == State::Running => UpdateOutcome::Running,
        Some(was) => {
            rows.revise(&was, &updated(&was, verb, now))?;
            UpdateOutcome::Updated
        }
    };
    Ok(ItemUpdated { now, outcome })
}

/// The waiting row after the change. As at an enqueue, a delay leaves the due time alone, and an absolute time is the
/// due time of an item that has not failed yet, so that a step of the clock can tell them apart.
fn updated(was: &Execution, verb: &UpdateItem, now: Timestamp) -> Execution {
    let mut row = was.clone();
    row.payload = verb.payload.clone().or(row.payload);
    row.priority = verb.priority.unwrap_or(row.priority);
    if let Some(due) = verb.due {
        row.claimable_at = Some(claimable_from(now, due));
        if let (Due::At(at), State::Scheduled) = (due, row.state) {
            row.due_at = at;
        }
    }
    row.updated_at = now;
    row
}

pub(super) fn delete(rows: &mut impl Rows, now: Timestamp, verb: &DeleteItems) -> Result<ItemsDeleted, StoreError> {
    let outcomes = each(&verb.ids, |id| match newest(rows, &verb.queue, *id)? {
        None => Ok(DeleteOutcome::NotFound),
        Some(row) if row.state == State::Running => Ok(DeleteOutcome::Running),
        Some(was) => {
            let mut row = was.clone();
            transition::cancel(&mut row, now);
            rows.remove(*id)?;
            tell(rows, now, Some(&was), &row, By::Deleter(verb.actor.as_ref()))?;
            Ok(DeleteOutcome::Deleted)
        }
    })?;
    Ok(ItemsDeleted { now, outcomes })
}

pub(super) fn clean(rows: &mut impl Rows, now: Timestamp, verb: &CleanItems) -> Result<ItemsCleaned, StoreError> {
    let before = now.offset_micros(-micros(Duration::from_millis(verb.finished_ms)));
    let ended = rows.ended_items(&verb.queue, &verb.states, before, verb.limit)?;
    let removed = each(&ended, |row| {
        rows.remove(row.id)?;
        tell(rows, now, Some(row), row, By::Cleaner)?;
        Ok(row.id)
    })?;
    Ok(ItemsCleaned { now, removed })
}
