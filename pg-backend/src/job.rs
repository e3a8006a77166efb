//! Owns how the verbs on jobs become statements.

use tourbillon::{
    model::{Scope, Timestamp},
    store::{ListJobs, ListRecent, ListScopes},
};

use crate::{
    parameter::{Bound, at},
    sql::Statements,
    wire::{Id, Instant},
};

pub(crate) fn list(sql: &Statements, now: Option<Timestamp>, verb: &ListJobs) -> Bound {
    at(&sql.list_jobs, now).bind(verb.after.as_ref().map(|job| job.as_str().to_owned())).bind(i64::from(verb.limit))
}

pub(crate) fn scopes(sql: &Statements, now: Option<Timestamp>, verb: &ListScopes) -> Bound {
    scope(at(&sql.list_scopes, now).bind(verb.job.as_str().to_owned()), verb.after.as_ref())
        .bind(i64::from(verb.limit))
}

pub(crate) fn recent(sql: &Statements, now: Option<Timestamp>, verb: &ListRecent) -> Bound {
    let states: Vec<_> = verb.states.iter().map(|state| state.as_str()).collect();
    let job = verb.job.as_ref().map(|job| job.as_str().to_owned());
    scope(at(&sql.list_recent, now).bind(job), verb.scope.as_ref())
        .bind(states)
        .bind(verb.after.map(|(at, _, _)| Instant(at)))
        .bind(verb.after.map(|(_, id, _)| Id::from(id)))
        .bind(verb.after.map(|(_, _, generation)| i64::from(generation.0)))
        .bind(i64::from(verb.limit))
}

/// Kind and id, or two nulls.
fn scope(query: Bound, scope: Option<&Scope>) -> Bound {
    query.bind(scope.map(|scope| scope.kind().to_owned())).bind(scope.map(|scope| scope.id().to_owned()))
}
