//! Owns how pausing, resuming and triggering become statements.

use tourbillon::{
    model::{Actor, JobName, OperatorName, RequestId, Scope, Timestamp},
    store::{ListPauses, PauseFilter, PauseJob, ResumeJob, StoreError, TriggerJob},
};

use crate::{
    parameter::{Bound, at, int8, query, reentry, supersede},
    sql::Statements,
    wire::Id,
};

pub(crate) fn pause(sql: &Statements, now: Option<Timestamp>, id: RequestId, verb: &PauseJob) -> Vec<Bound> {
    let pause = at(&sql.pause_job, now).bind(Id::from(id));
    vec![lock(sql, &verb.job), held(pause, &verb.job, verb.scope.as_ref(), verb.actor.as_ref())]
}

pub(crate) fn resume(sql: &Statements, now: Option<Timestamp>, id: RequestId, verb: &ResumeJob) -> Vec<Bound> {
    let resume = at(&sql.resume_job, now).bind(Id::from(id));
    vec![lock(sql, &verb.job), held(resume, &verb.job, verb.scope.as_ref(), verb.actor.as_ref())]
}

pub(crate) fn trigger(
    sql: &Statements,
    now: Option<Timestamp>,
    id: RequestId,
    verb: &TriggerJob,
) -> Result<Vec<Bound>, StoreError> {
    let policy = &verb.policy;
    let trigger = at(&sql.trigger_job, now)
        .bind(Id::from(id))
        .bind(verb.job.as_str().to_owned())
        .bind(verb.scope.kind().to_owned())
        .bind(verb.scope.id().to_owned())
        .bind(Id::from(verb.id))
        .bind(verb.priority)
        .bind(verb.payload.as_ref().map(|payload| payload.as_str().to_owned()))
        .bind(i64::from(policy.max_attempts))
        .bind(int8("lease_ms", policy.lease_ms)?)
        .bind(reentry(policy.reentry))
        .bind(supersede(policy.supersede))
        .bind(policy.limit.as_ref().map(|limit| limit.key.clone()))
        .bind(policy.limit.as_ref().map(|limit| i64::from(limit.max)))
        .bind(policy.audit.as_str())
        .bind(Actor::operator(verb.actor.as_ref()).name)
        .bind(verb.trace.as_ref().map(|trace| trace.as_str().to_owned()));
    Ok(vec![lock(sql, &verb.job), trigger])
}

pub(crate) fn list(sql: &Statements, now: Option<Timestamp>, verb: &ListPauses) -> Bound {
    at(&sql.list_pauses, now)
        .bind(verb.job.as_ref().map(|job| job.as_str().to_owned()))
        .bind(verb.which == PauseFilter::All)
        .bind(i64::from(verb.offset))
        .bind(i64::from(verb.limit))
}

fn lock(sql: &Statements, job: &JobName) -> Bound {
    query(&sql.lock_jobs).bind(vec![job.as_str().to_owned()])
}

/// Job, scope (two empty texts for all) and actor.
fn held(query: Bound, job: &JobName, scope: Option<&Scope>, actor: Option<&OperatorName>) -> Bound {
    query
        .bind(job.as_str().to_owned())
        .bind(scope.map_or("", Scope::kind).to_owned())
        .bind(scope.map_or("", Scope::id).to_owned())
        .bind(Actor::operator(actor).name)
}
