//! What the verbs on stored schedules do, in terms of [`ScheduleRows`](crate::store::ScheduleRows).

use super::edit_scope;
use crate::{
    model::{Actor, JobName, OperatorName, Scope, Timestamp},
    store::{
        Cursor, Expected, PutOutcome, PutSchedule, RemoveOutcome, RemoveSchedule, Revision, Rows, ScheduleData,
        SchedulePut, ScheduleRemoved, StoreError, StoredSchedule,
    },
};

pub(super) fn put(rows: &mut impl Rows, now: Timestamp, verb: &PutSchedule) -> Result<SchedulePut, StoreError> {
    let PutSchedule { job, scope, schedule, expected, note, actor } = verb;
    let Some(record) = rows.job(job)? else { return Ok(SchedulePut { now, outcome: PutOutcome::UnknownJob }) };
    let newest = rows.newest_schedule(job, scope)?;
    let in_force = newest.as_ref().filter(|newest| newest.is_in_force());
    let found = in_force.map(|stored| stored.revision);
    let outcome = if !record.rules.is_some_and(|rules| rules.stored_schedules) {
        PutOutcome::NotStored
    } else if !is_met(*expected, found) {
        PutOutcome::Conflict(found)
    } else if let Some(same) = in_force.filter(|stored| stored.schedule.as_ref() == Some(schedule)) {
        PutOutcome::Unchanged(same.revision)
    } else {
        let edit = Edit { job, scope, schedule: Some(schedule), note: note.as_ref(), actor: actor.as_ref() };
        PutOutcome::Put(edit.carry_out(rows, now, newest)?)
    };
    Ok(SchedulePut { now, outcome })
}

pub(super) fn remove(
    rows: &mut impl Rows,
    now: Timestamp,
    verb: &RemoveSchedule,
) -> Result<ScheduleRemoved, StoreError> {
    let RemoveSchedule { job, scope, expected, note, actor } = verb;
    let newest = rows.newest_schedule(job, scope)?;
    let found = newest.as_ref().filter(|newest| newest.is_in_force()).map(|stored| stored.revision);
    let outcome = match found {
        _ if rows.job(job)?.is_none() => RemoveOutcome::UnknownJob,
        None => RemoveOutcome::NotThere,
        Some(found) if !is_met(*expected, Some(found)) => RemoveOutcome::Conflict(found),
        Some(_) => {
            let edit = Edit { job, scope, schedule: None, note: note.as_ref(), actor: actor.as_ref() };
            RemoveOutcome::Removed(edit.carry_out(rows, now, newest)?)
        }
    };
    Ok(ScheduleRemoved { now, outcome })
}

fn is_met(expected: Expected, found: Option<Revision>) -> bool {
    match expected {
        Expected::Anything => true,
        Expected::Nothing => found.is_none(),
        Expected::Revision(revision) => found == Some(revision),
    }
}

/// A put or a removal that was found to be in order.
struct Edit<'v> {
    job: &'v JobName,
    scope: &'v Scope,
    schedule: Option<&'v ScheduleData>,
    note: Option<&'v String>,
    actor: Option<&'v OperatorName>,
}

impl Edit<'_> {
    /// The cursor moves with the revision, so that no planner makes a slot by the one before, or one from before now.
    fn carry_out(
        &self,
        rows: &mut impl Rows,
        now: Timestamp,
        newest: Option<StoredSchedule>,
    ) -> Result<Revision, StoreError> {
        let revision = newest.as_ref().map_or(Revision::FIRST, |newest| newest.revision.next());
        if let Some(newest) = newest {
            rows.put_schedule(&StoredSchedule { replaced_at: Some(now), ..newest })?;
        }
        rows.put_schedule(&StoredSchedule {
            job: self.job.clone(),
            scope: self.scope.clone(),
            revision,
            schedule: self.schedule.cloned(),
            note: self.note.cloned(),
            edited_at: now,
            edited_by: Actor::operator(self.actor).name,
            replaced_at: None,
        })?;
        let hash = self.schedule.map(|schedule| &schedule.hash);
        match rows.cursor(self.job, self.scope)? {
            Some(_) if planted!(D14) => {}
            Some(cursor) if planted!(D15) => {
                rows.put_cursor(self.job, &Cursor { schedule_hash: hash.cloned(), ..cursor })?;
            }
            _ => edit_scope(rows, now, (self.job, self.scope), hash)?,
        }
        Ok(revision)
    }
}
