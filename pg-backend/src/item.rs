//! Owns how the verbs on a queue's items become statements.

use tourbillon::{
    model::{Actor, ExecutionId, RequestId, Timestamp},
    store::{CleanItems, DeleteItems, Direction, Due, DueFilter, ListItems, Lives, UpdateItem},
};

use crate::{
    parameter::{Bound, age, at, bounded, query},
    sql::Statements,
    wire::{Id, Instant},
};

pub(crate) fn list(sql: &Statements, now: Option<Timestamp>, verb: &ListItems) -> Bound {
    let states: Vec<_> = verb.states.iter().map(|state| state.as_str()).collect();
    let scope = verb.scope.as_ref();
    at(&sql.list_items, now)
        .bind(verb.queue.as_str().to_owned())
        .bind(states)
        .bind(scope.map(|scope| scope.kind().to_owned()))
        .bind(scope.map(|scope| scope.id().to_owned()))
        .bind(verb.unique_key.clone())
        .bind(verb.due == DueFilter::DueNow)
        .bind(verb.order.as_str())
        .bind(if verb.direction == Direction::Ascending { 1i64 } else { -1 })
        .bind(i64::from(verb.offset))
        .bind(i64::from(verb.limit))
        .bind(verb.lives == Lives::Newest)
}

pub(crate) fn update(sql: &Statements, now: Option<Timestamp>, id: RequestId, verb: &UpdateItem) -> Vec<Bound> {
    let (delay_ms, run_at) = match verb.due {
        Some(Due::AfterMs(ms)) => (Some(bounded(ms)), None),
        Some(Due::At(at)) => (None, Some(Instant(at))),
        None => (None, None),
    };
    let update = at(&sql.update_item, now)
        .bind(Id::from(id))
        .bind(verb.queue.as_str().to_owned())
        .bind(Id::from(verb.id))
        .bind(verb.payload.as_ref().map(|payload| payload.as_str().to_owned()))
        .bind(verb.priority)
        .bind(delay_ms)
        .bind(run_at);
    vec![query(&sql.lock_executions).bind(vec![Id::from(verb.id)]), update]
}

pub(crate) fn delete(sql: &Statements, now: Option<Timestamp>, id: RequestId, verb: &DeleteItems) -> Vec<Bound> {
    let ids: Vec<Id> = verb.ids.iter().map(|id: &ExecutionId| Id::from(*id)).collect();
    let delete = at(&sql.delete_items, now)
        .bind(Id::from(id))
        .bind(verb.queue.as_str().to_owned())
        .bind(ids.clone())
        .bind(Actor::operator(verb.actor.as_ref()).name);
    vec![query(&sql.lock_requeue), query(&sql.lock_executions).bind(ids), delete]
}

pub(crate) fn clean(sql: &Statements, now: Option<Timestamp>, verb: &CleanItems) -> Vec<Bound> {
    let states: Vec<_> = verb.states.iter().map(|state| state.as_str()).collect();
    let clean = at(&sql.clean_items, now)
        .bind(verb.queue.as_str().to_owned())
        .bind(states)
        .bind(age(verb.finished_ms))
        .bind(i64::from(verb.limit));
    vec![query(&sql.lock_requeue), clean]
}
