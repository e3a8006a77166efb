//! Owns how the verbs on stored schedules become statements.

use tourbillon::{
    model::{Actor, JobName, OperatorName, RequestId, Scope, Timestamp},
    store::{Expected, ListSchedules, PutSchedule, RemoveSchedule, ScheduleData, ScheduleFilter},
};

use crate::{
    parameter::{Bound, at, query},
    sql::Statements,
    wire::Id,
};

pub(crate) fn put(sql: &Statements, now: Option<Timestamp>, id: RequestId, verb: &PutSchedule) -> Vec<Bound> {
    let PutSchedule { job, scope, schedule, expected, note, actor } = verb;
    edit(sql, now, id, Edit { job, scope, schedule: Some(schedule), expected: *expected, note, actor })
}

pub(crate) fn remove(sql: &Statements, now: Option<Timestamp>, id: RequestId, verb: &RemoveSchedule) -> Vec<Bound> {
    let RemoveSchedule { job, scope, expected, note, actor } = verb;
    edit(sql, now, id, Edit { job, scope, schedule: None, expected: *expected, note, actor })
}

struct Edit<'v> {
    job: &'v JobName,
    scope: &'v Scope,
    schedule: Option<&'v ScheduleData>,
    expected: Expected,
    note: &'v Option<String>,
    actor: &'v Option<OperatorName>,
}

fn edit(sql: &Statements, now: Option<Timestamp>, id: RequestId, edit: Edit<'_>) -> Vec<Bound> {
    let expected = match edit.expected {
        Expected::Anything => None,
        Expected::Nothing => Some(0),
        Expected::Revision(revision) => Some(i64::from(revision.0)),
    };
    let statement = at(&sql.edit_schedule, now)
        .bind(Id::from(id))
        .bind(edit.job.as_str().to_owned())
        .bind(edit.scope.kind().to_owned())
        .bind(edit.scope.id().to_owned())
        .bind(edit.schedule.map(|schedule| schedule.json.as_str().to_owned()))
        .bind(edit.schedule.map(|schedule| schedule.hash.to_string()))
        .bind(expected)
        .bind(edit.note.clone())
        .bind(Actor::operator(edit.actor.as_ref()).name);
    vec![query(&sql.lock_jobs).bind(vec![edit.job.as_str().to_owned()]), statement]
}

pub(crate) fn list(sql: &Statements, now: Option<Timestamp>, verb: &ListSchedules) -> Bound {
    let (scope, after) = (verb.scope.as_ref(), verb.after.as_ref());
    at(&sql.list_schedules, now)
        .bind(verb.job.as_ref().map(|job| job.as_str().to_owned()))
        .bind(scope.map(|scope| scope.kind().to_owned()))
        .bind(scope.map(|scope| scope.id().to_owned()))
        .bind(verb.which == ScheduleFilter::All)
        .bind(after.map(|(job, _, _)| job.as_str().to_owned()))
        .bind(after.map(|(_, scope, _)| scope.kind().to_owned()))
        .bind(after.map(|(_, scope, _)| scope.id().to_owned()))
        .bind(after.map(|(_, _, revision)| i64::from(revision.0)))
        .bind(i64::from(verb.limit))
}
