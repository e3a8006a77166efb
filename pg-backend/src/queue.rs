//! Owns how an enqueue becomes statements: the turn that some wait for, the one that enqueues, the check that some need.

use serde::Deserialize;
use tourbillon::{
    model::{Audit, ExecutionId, Policy, RequestId, Timestamp},
    store::{Counts, Due, Enqueue, EnqueueOutcome, Enqueued, ErrorKind, NewItem, Reply, StoreError},
};

use crate::{
    error::Fault,
    parameter::{Bound, at, bounded, int8, query, reentry, supersede},
    session::{Ask, Session},
    sql::Statements,
    store::{Inner, corrupt, decode},
    wire::{Id, Instant},
};

impl Inner {
    /// An enqueue in a transaction of its own.
    pub(crate) async fn enqueue_alone(
        &self,
        session: &mut Session<'_>,
        id: RequestId,
        verb: &Enqueue,
    ) -> Result<Reply, Fault> {
        if let Some(alike) = alike(verb) {
            let now = self.clock.fixed();
            let bound = match plain(verb) {
                Some(item) => enqueue_one(&self.statements, now, id, verb, item),
                None => enqueue_alike(&self.statements, now, id, verb, alike),
            };
            let bound = bound.map_err(Fault::Final)?;
            match session.ask(bound).await {
                Err(fault) if is_conflict(&fault) => {
                    // One of the ids is live, maybe by a copy of this request: the other statement knows.
                    tracing::debug!(queue = %verb.queue, "an id is taken; enqueueing item by item");
                }
                answered => {
                    let enqueued = read(answered?.as_deref().unwrap_or("null"), verb).map_err(Fault::Final)?;
                    return Ok(Reply::Enqueued(enqueued));
                }
            }
        }
        let single = is_single(verb);
        if !single {
            session.begin().await?;
        }
        let reply = self.enqueue(session, id, verb).await?;
        if !single {
            session.commit().await?;
        }
        Ok(reply)
    }

    /// Everything but begin and commit.
    pub(crate) async fn enqueue(
        &self,
        session: &mut impl Ask,
        id: RequestId,
        verb: &Enqueue,
    ) -> Result<Reply, Fault> {
        if let Some(before) = locks(&self.statements, verb) {
            session.ask(before).await.map_err(met)?;
        }
        let bound = enqueue(&self.statements, self.clock.fixed(), id, verb).map_err(Fault::Final)?;
        let text = session.ask(bound).await.map_err(met)?;
        let enqueued = read(text.as_deref().unwrap_or("null"), verb).map_err(Fault::Final)?;
        if let Some(check) = key_check(&self.statements, verb, &enqueued)
            && session.ask(check).await?.as_deref() != Some("false")
        {
            let message = "an item with one of these keys was made and finished meanwhile";
            return Err(Fault::Retry(StoreError::new(ErrorKind::Unavailable, message)));
        }
        Ok(Reply::Enqueued(enqueued))
    }
}

/// What each of the statements answers: see `enqueue_items.sql`.
#[derive(Deserialize)]
struct Answer {
    now: Timestamp,
    full: Option<Vec<usize>>,
    duplicates: Option<Vec<(usize, ExecutionId)>>,
}

/// The reply to `verb`: all are enqueued but those of which the answer says otherwise.
fn read(text: &str, verb: &Enqueue) -> Result<Enqueued, StoreError> {
    let Answer { now, full, duplicates } = decode(text)?;
    let mut outcomes: Vec<_> = verb.items.iter().map(|item| EnqueueOutcome::Enqueued(item.id)).collect();
    let full = full.into_iter().flatten().map(|place| (place, EnqueueOutcome::Full));
    let duplicates = duplicates.into_iter().flatten().map(|(place, id)| (place, EnqueueOutcome::Duplicate(id)));
    for (place, outcome) in full.chain(duplicates) {
        let place = place.checked_sub(1).and_then(|index| outcomes.get_mut(index));
        *place.ok_or_else(|| corrupt("enqueue: the server answered about an item more".to_owned()))? = outcome;
    }
    Ok(Enqueued { now, outcomes })
}

/// The first of items that differ in nothing but id, payload and trace, and of which the database need know no more to take them.
fn alike(verb: &Enqueue) -> Option<&NewItem> {
    let first = verb.items.first()?;
    let is_alike = |item: &NewItem| {
        let rules = |item: &NewItem| (item.due, item.ttl_ms, item.priority);
        item.unique.is_none()
            && rules(item) == rules(first)
            && item.scope == first.scope
            && item.policy == first.policy
    };
    (verb.max_items.is_none() && verb.items.iter().all(is_alike)).then_some(first)
}

/// The only item, if besides it nothing but the receipt is to be written.
fn plain(verb: &Enqueue) -> Option<&NewItem> {
    let [item] = verb.items.as_slice() else { return None };
    let Policy { limit, audit, .. } = &item.policy;
    (limit.is_none() && *audit != Audit::All).then_some(item)
}

fn is_conflict(fault: &Fault) -> bool {
    let (Fault::Final(error) | Fault::Retry(error)) = fault;
    error.kind() == ErrorKind::Conflict
}

/// An id or key that somebody else committed after our snapshot: run again, it is a duplicate then.
pub(crate) fn met(fault: Fault) -> Fault {
    match fault {
        Fault::Final(error) if error.kind() == ErrorKind::Conflict => Fault::Retry(again(error)),
        Fault::Retry(error) if error.kind() == ErrorKind::Conflict => Fault::Retry(again(error)),
        other => other,
    }
}

fn again(error: StoreError) -> StoreError {
    let message = format!("others were first with the same ids or keys: {}", error.message());
    StoreError::new(ErrorKind::Unavailable, message).with_source(error)
}

/// True when the verb is one statement, which needs no transaction around it.
fn is_single(verb: &Enqueue) -> bool {
    verb.max_items.is_none() && !verb.items.iter().any(looks_back)
}

fn locks(sql: &Statements, verb: &Enqueue) -> Option<Bound> {
    verb.max_items.map(|_| query(&sql.lock_queue).bind(verb.queue.as_str().to_owned()))
}

/// Whether finished items count for its key.
fn looks_back(item: &NewItem) -> bool {
    item.unique.as_ref().is_some_and(|unique| unique.counts != Counts::Live)
}

/// Of what was made; a duplicate has met what it is one of.
fn key_check(sql: &Statements, verb: &Enqueue, enqueued: &Enqueued) -> Option<Bound> {
    let items = verb.items.iter().zip(&enqueued.outcomes);
    let made = items.filter(|(item, outcome)| looks_back(item) && matches!(outcome, EnqueueOutcome::Enqueued(_)));
    let (ids, counts): (Vec<_>, Vec<_>) =
        made.filter_map(|(item, _)| Some((Id::from(item.id), item.unique.as_ref()?.counts.as_str()))).unzip();
    (!ids.is_empty()).then(|| query(&sql.check_keys).bind(ids).bind(counts))
}

fn column<T>(verb: &Enqueue, of: impl Fn(&NewItem) -> T) -> Vec<T> {
    verb.items.iter().map(of).collect()
}

fn delay(item: &NewItem) -> Option<i64> {
    match item.due {
        Due::AfterMs(ms) => Some(bounded(ms)),
        Due::At(_) => None,
    }
}

fn run_at(item: &NewItem) -> Option<Instant> {
    match item.due {
        Due::AfterMs(_) => None,
        Due::At(at) => Some(Instant(at)),
    }
}

fn payload(item: &NewItem) -> Option<String> {
    item.payload.as_ref().map(|json| json.as_str().to_owned())
}

/// Null where no item has one: then nothing is unrolled.
fn traces(verb: &Enqueue) -> Option<Vec<Option<String>>> {
    let of = |item: &NewItem| item.trace.as_ref().map(|trace| trace.as_str().to_owned());
    verb.items.iter().any(|item| item.trace.is_some()).then(|| column(verb, of))
}

fn limit_key(item: &NewItem) -> Option<String> {
    item.policy.limit.as_ref().map(|limit| limit.key.clone())
}

fn limit_max(item: &NewItem) -> Option<i64> {
    item.policy.limit.as_ref().map(|limit| i64::from(limit.max))
}

fn lease_ms(item: &NewItem) -> Result<i64, StoreError> {
    int8("lease_ms", item.policy.lease_ms)
}

/// What items are enqueued with, from the scope on.
fn rules(bound: Bound, item: &NewItem) -> Result<Bound, StoreError> {
    Ok(bound
        .bind(item.scope.kind().to_owned())
        .bind(item.scope.id().to_owned())
        .bind(delay(item))
        .bind(run_at(item))
        .bind(item.ttl_ms.map(bounded))
        .bind(item.priority)
        .bind(i64::from(item.policy.max_attempts))
        .bind(lease_ms(item)?)
        .bind(reentry(item.policy.reentry))
        .bind(supersede(item.policy.supersede)))
}

fn enqueue_one(
    sql: &Statements,
    now: Option<Timestamp>,
    id: RequestId,
    verb: &Enqueue,
    item: &NewItem,
) -> Result<Bound, StoreError> {
    let one = at(&sql.enqueue_one, now)
        .bind(Id::from(id))
        .bind(verb.queue.as_str().to_owned())
        .bind(Id::from(item.id))
        .bind(payload(item));
    Ok(rules(one, item)?
        .bind(item.policy.audit.as_str())
        .bind(item.trace.as_ref().map(|trace| trace.as_str().to_owned())))
}

fn enqueue_alike(
    sql: &Statements,
    now: Option<Timestamp>,
    id: RequestId,
    verb: &Enqueue,
    all: &NewItem,
) -> Result<Bound, StoreError> {
    let items = at(&sql.enqueue_alike, now)
        .bind(Id::from(id))
        .bind(verb.queue.as_str().to_owned())
        .bind(column(verb, |item| Id::from(item.id)))
        .bind(column(verb, payload));
    Ok(rules(items, all)?
        .bind(limit_key(all))
        .bind(limit_max(all))
        .bind(all.policy.audit.as_str())
        .bind(traces(verb)))
}

fn enqueue(sql: &Statements, now: Option<Timestamp>, id: RequestId, verb: &Enqueue) -> Result<Bound, StoreError> {
    let max_items = verb.max_items.map(|max| int8("max_items", max)).transpose()?;
    let leases = verb.items.iter().map(lease_ms).collect::<Result<Vec<_>, _>>()?;
    Ok(at(&sql.enqueue_items, now)
        .bind(Id::from(id))
        .bind(verb.queue.as_str().to_owned())
        .bind(max_items)
        .bind(column(verb, |item| Id::from(item.id)))
        .bind(column(verb, |item| item.scope.kind().to_owned()))
        .bind(column(verb, |item| item.scope.id().to_owned()))
        .bind(column(verb, delay))
        .bind(column(verb, run_at))
        .bind(column(verb, |item| item.ttl_ms.map(bounded)))
        .bind(column(verb, |item| item.priority))
        .bind(column(verb, payload))
        .bind(column(verb, |item| item.unique.as_ref().map(|unique| unique.key.clone())))
        .bind(column(verb, |item| item.unique.as_ref().and_then(|unique| unique.period_ms).map(bounded)))
        .bind(column(verb, |item| item.unique.as_ref().map(|unique| unique.counts.as_str())))
        .bind(column(verb, |item| i64::from(item.policy.max_attempts)))
        .bind(leases)
        .bind(column(verb, |item| reentry(item.policy.reentry)))
        .bind(column(verb, |item| supersede(item.policy.supersede)))
        .bind(column(verb, limit_key))
        .bind(column(verb, limit_max))
        .bind(column(verb, |item| item.policy.audit.as_str()))
        .bind(traces(verb)))
}

#[cfg(test)]
mod tests {
    use tourbillon::model::{JobName, Json, Limit, Reentry, Scope, Supersede, TraceContext};
    use uuid::Uuid;

    use super::*;

    fn item(n: u128) -> NewItem {
        NewItem {
            id: ExecutionId(Uuid::from_u128(n)),
            scope: Scope::global(),
            due: Due::AfterMs(0),
            ttl_ms: None,
            priority: 0,
            payload: Json::new(&serde_json::json!(n.to_string())).ok(),
            unique: None,
            policy: Policy {
                max_attempts: 3,
                lease_ms: 1_000,
                reentry: Reentry::Allow,
                supersede: Supersede::Never,
                limit: None,
                audit: Audit::Off,
            },
            trace: None,
        }
    }

    fn enqueue_of(items: Vec<NewItem>) -> Enqueue {
        Enqueue { queue: JobName::new("q").unwrap(), max_items: None, items }
    }

    #[test]
    fn items_that_are_not_named_are_enqueued() {
        let verb = enqueue_of(vec![item(1), item(2), item(3)]);
        let other = ExecutionId(Uuid::from_u128(9));
        let reply = read(&format!(r#"{{"now":7,"full":[3],"duplicates":[[1,"{}"]]}}"#, other.0), &verb);
        let outcomes =
            vec![EnqueueOutcome::Duplicate(other), EnqueueOutcome::Enqueued(item(2).id), EnqueueOutcome::Full];
        assert_eq!(reply, Ok(Enqueued { now: Timestamp::from_micros(7), outcomes }));
        for places in ["[0]", "[4]"] {
            assert!(read(&format!(r#"{{"now":7,"full":{places},"duplicates":null}}"#), &verb).is_err(), "{places}");
        }
    }

    #[test]
    fn items_are_alike_if_only_ids_payloads_and_traces_differ() {
        assert!(alike(&enqueue_of(vec![item(1), item(2)])).is_some());
        let trace = TraceContext::from_stored("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let verb = enqueue_of(vec![item(1), NewItem { trace: trace.clone(), ..item(2) }]);
        assert!(alike(&verb).is_some());
        assert_eq!(traces(&verb), Some(vec![None, trace.map(|trace| trace.as_str().to_owned())]));
        assert_eq!(traces(&enqueue_of(vec![item(1), item(2)])), None);
        assert!(alike(&enqueue_of(Vec::new())).is_none());
        assert!(alike(&Enqueue { max_items: Some(9), ..enqueue_of(vec![item(1)]) }).is_none(), "it must be counted");
        let unique = tourbillon::store::Unique { key: "k".to_owned(), period_ms: None, counts: Counts::Live };
        let policy = Policy { lease_ms: 2_000, ..item(2).policy };
        for other in [
            NewItem { unique: Some(unique), ..item(2) },
            NewItem { due: Due::AfterMs(1), ..item(2) },
            NewItem { ttl_ms: Some(1), ..item(2) },
            NewItem { priority: 1, ..item(2) },
            NewItem { policy, ..item(2) },
        ] {
            assert!(alike(&enqueue_of(vec![item(1), other])).is_none());
        }
    }

    #[test]
    fn an_item_alone_is_plain_if_no_gate_and_no_event_goes_with_it() {
        let with = |policy| enqueue_of(vec![NewItem { policy, ..item(1) }]);
        let policy = || item(1).policy;
        assert!(plain(&with(policy())).is_some());
        assert!(plain(&with(Policy { audit: Audit::Exceptions, ..policy() })).is_some());
        assert!(plain(&with(Policy { audit: Audit::All, ..policy() })).is_none());
        let limit = Some(Limit { key: "k".to_owned(), max: 1 });
        assert!(plain(&with(Policy { limit, ..policy() })).is_none());
        assert!(plain(&enqueue_of(vec![item(1), item(2)])).is_none());
    }

    #[test]
    fn only_a_conflict_with_others_is_tried_again() {
        let error = |kind| StoreError::new(kind, "said");
        for fault in [Fault::Final(error(ErrorKind::Conflict)), Fault::Retry(error(ErrorKind::Conflict))] {
            assert!(is_conflict(&fault));
            let Fault::Retry(told) = met(fault) else { panic!("it is not tried again") };
            assert_eq!(told.to_string(), "unavailable: others were first with the same ids or keys: said");
        }
        assert!(!is_conflict(&Fault::Final(error(ErrorKind::Invalid))));
        let kept = met(Fault::Final(error(ErrorKind::Invalid)));
        assert!(matches!(kept, Fault::Final(told) if told.kind() == ErrorKind::Invalid));
        let kept = met(Fault::Retry(error(ErrorKind::Unavailable)));
        assert!(matches!(kept, Fault::Retry(told) if told.message() == "said"));
    }

    #[test]
    fn only_bounds_and_keys_that_look_back_need_a_transaction() {
        let unique = |counts| tourbillon::store::Unique { key: "k".to_owned(), period_ms: None, counts };
        let with = |counts| NewItem { unique: Some(unique(counts)), ..item(1) };
        assert!(is_single(&enqueue_of(vec![item(1)])));
        assert!(is_single(&enqueue_of(vec![with(Counts::Live)])));
        assert!(!is_single(&enqueue_of(vec![item(2), with(Counts::Succeeded)])));
        assert!(!is_single(&Enqueue { max_items: Some(7), ..enqueue_of(vec![item(1)]) }));
        assert!(!is_single(&Enqueue { max_items: Some(7), ..enqueue_of(vec![with(Counts::Succeeded)]) }));
    }
}
