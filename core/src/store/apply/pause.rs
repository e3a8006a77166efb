//! What pausing, resuming and triggering do, in terms of [`PauseRows`](crate::store::PauseRows).

use super::{edit_cursor, make};
use crate::{
    model::{Actor, Execution, JobName, NewExecution, Pause, RequestId, Scope, SkipReason, Timestamp, audit::By},
    store::{
        Cursor, JobPaused, JobResumed, JobTriggered, PauseJob, PauseOutcome, ResumeJob, ResumeOutcome, Rows,
        StoreError, TriggerJob, TriggerOutcome,
    },
};

/// True when a pause holds this scope back.
pub(super) fn is_paused(rows: &mut impl Rows, job: &JobName, scope: &Scope) -> Result<bool, StoreError> {
    Ok(rows.pauses(job)?.iter().any(|pause| pause.holds(job, scope)))
}

pub(super) fn pause(
    rows: &mut impl Rows,
    now: Timestamp,
    id: RequestId,
    verb: &PauseJob,
) -> Result<JobPaused, StoreError> {
    let PauseJob { job, scope, actor } = verb;
    let outcome = if rows.job(job)?.is_none() {
        PauseOutcome::UnknownJob
    } else if let Some(pause) = in_force(rows, job, scope.as_ref())? {
        PauseOutcome::Already(pause.paused_at)
    } else {
        // A scope that was never planned gets its cursor here, so that it begins with the resumption, not before.
        if let Some(scope) = scope
            && rows.cursor(job, scope)?.is_none()
        {
            rows.put_cursor(job, &begun(scope, now))?;
        }
        rows.put_pause(&Pause {
            id,
            job: job.clone(),
            scope: scope.clone(),
            paused_at: now,
            paused_by: Actor::operator(actor.as_ref()).name,
            resumed_at: None,
            resumed_by: None,
        })?;
        PauseOutcome::Paused
    };
    Ok(JobPaused { now, outcome })
}

/// To go on is an edit: the schedule begins anew, and what it left out is recorded.
pub(super) fn resume(rows: &mut impl Rows, now: Timestamp, verb: &ResumeJob) -> Result<JobResumed, StoreError> {
    let ResumeJob { job, scope, actor } = verb;
    let Some(record) = rows.job(job)? else {
        return Ok(JobResumed { now, outcome: ResumeOutcome::UnknownJob });
    };
    let Some(mut pause) = in_force(rows, job, scope.as_ref())? else {
        return Ok(JobResumed { now, outcome: ResumeOutcome::NotPaused });
    };
    match scope {
        None => {
            for cursor in rows.cursors(job)? {
                let moved = edit_cursor(rows, now, job, cursor, SkipReason::Paused)?;
                rows.put_cursor(job, &moved)?;
            }
            rows.put_job(job, &crate::store::JobRecord { edited_at: Some(now), ..record })?;
        }
        Some(scope) => {
            let cursor = rows.cursor(job, scope)?.unwrap_or_else(|| begun(scope, now));
            let moved = edit_cursor(rows, now, job, cursor, SkipReason::Paused)?;
            rows.put_cursor(job, &Cursor { edited_at: Some(now), ..moved })?;
        }
    }
    let paused_at = pause.paused_at;
    pause.resumed_at = Some(now);
    pause.resumed_by = Some(Actor::operator(actor.as_ref()).name);
    rows.put_pause(&pause)?;
    Ok(JobResumed { now, outcome: ResumeOutcome::Resumed(paused_at) })
}

pub(super) fn trigger(rows: &mut impl Rows, now: Timestamp, verb: &TriggerJob) -> Result<JobTriggered, StoreError> {
    let id = verb.id;
    let outcome = if rows.job(&verb.job)?.is_none() {
        TriggerOutcome::UnknownJob
    } else if rows.live(id)?.is_some() || rows.finished(id)?.is_some() || rows.is_audited(id)? {
        TriggerOutcome::Duplicate
    } else {
        let new = NewExecution {
            id,
            slot_at: None,
            due_at: now,
            expires_at: None,
            priority: verb.priority,
            payload: verb.payload.clone(),
            unique_key: None,
            policy: verb.policy.clone(),
        };
        let fresh = Execution::fresh(verb.job.clone(), verb.scope.clone(), new, now);
        let row = Execution { trace: verb.trace.clone(), ..fresh };
        make(rows, now, None, &row, By::Operator(verb.actor.as_ref()))?;
        TriggerOutcome::Triggered
    };
    Ok(JobTriggered { now, outcome })
}

fn in_force(rows: &mut impl Rows, job: &JobName, scope: Option<&Scope>) -> Result<Option<Pause>, StoreError> {
    Ok(rows.pauses(job)?.into_iter().find(|pause| pause.scope.as_ref() == scope))
}

/// The cursor of a scope that begins now.
fn begun(scope: &Scope, now: Timestamp) -> Cursor {
    Cursor {
        scope: scope.clone(),
        at: now,
        high_water: now,
        newest_slot: None,
        schedule_hash: None,
        edited_at: Some(now),
    }
}
