//! Owns how an enqueue becomes statements: the locks that some need, then the one that enqueues.

use tourbillon::{
    model::{RequestId, Timestamp},
    store::{Counts, Due, Enqueue, ErrorKind, NewItem, StoreError},
};

use crate::{
    error::Fault,
    parameter::{Bound, at, bounded, int8, query, reentry, supersede},
    session::Ask,
    sql::Statements,
    store::{Inner, decode},
    wire::{Id, Instant},
};

impl Inner {
    /// Everything but begin and commit. The text is the reply.
    pub(crate) async fn enqueue(
        &self,
        session: &mut impl Ask,
        id: RequestId,
        verb: &Enqueue,
    ) -> Result<Option<String>, Fault> {
        if let Some(before) = locks(&self.statements, verb) {
            session.ask(before).await.map_err(met)?;
        }
        let mut now = self.clock.fixed();
        if let Some(lock) = key_lock(&self.statements, now, verb) {
            let text = session.ask(lock).await.map_err(met)?;
            now = decode(text.as_deref().unwrap_or("null")).map(Some).map_err(Fault::Final)?;
        }
        session.ask(enqueue(&self.statements, now, id, verb).map_err(Fault::Final)?).await.map_err(met)
    }
}

/// An id or key that another producer committed after our snapshot: run again, it is a duplicate then.
pub(crate) fn met(fault: Fault) -> Fault {
    match fault {
        Fault::Final(error) if error.kind() == ErrorKind::Conflict => Fault::Retry(again(error)),
        Fault::Retry(error) if error.kind() == ErrorKind::Conflict => Fault::Retry(again(error)),
        other => other,
    }
}

fn again(error: StoreError) -> StoreError {
    let message = format!("other producers were first with the same ids or keys: {}", error.message());
    StoreError::new(ErrorKind::Unavailable, message).with_source(error)
}

/// True when the verb is one statement, which needs no transaction around it.
pub(crate) fn is_single(verb: &Enqueue) -> bool {
    verb.max_items.is_none() && counted_keys(verb).next().is_none()
}

fn locks(sql: &Statements, verb: &Enqueue) -> Option<Bound> {
    verb.max_items.map(|_| query(&sql.lock_queue).bind(verb.queue.as_str().to_owned()))
}

fn counted_keys(verb: &Enqueue) -> impl Iterator<Item = &tourbillon::store::Unique> {
    verb.items.iter().filter_map(|item| item.unique.as_ref()).filter(|unique| unique.counts != Counts::Live)
}

fn key_lock(sql: &Statements, now: Option<Timestamp>, verb: &Enqueue) -> Option<Bound> {
    let keys: Vec<_> = counted_keys(verb).map(|unique| unique.key.clone()).collect();
    let periods: Vec<_> = counted_keys(verb).map(|unique| unique.period_ms.map(bounded)).collect();
    (!keys.is_empty()).then(|| at(&sql.lock_keys, now).bind(keys).bind(periods))
}

fn enqueue(sql: &Statements, now: Option<Timestamp>, id: RequestId, verb: &Enqueue) -> Result<Bound, StoreError> {
    fn column<T>(verb: &Enqueue, of: impl Fn(&NewItem) -> T) -> Vec<T> {
        verb.items.iter().map(of).collect()
    }
    let max_items = verb.max_items.map(|max| int8("max_items", max)).transpose()?;
    let leases =
        verb.items.iter().map(|item| int8("lease_ms", item.policy.lease_ms)).collect::<Result<Vec<_>, _>>()?;
    let delay = |item: &NewItem| match item.due {
        Due::AfterMs(ms) => Some(bounded(ms)),
        Due::At(_) => None,
    };
    let run_at = |item: &NewItem| match item.due {
        Due::AfterMs(_) => None,
        Due::At(at) => Some(Instant(at)),
    };
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
        .bind(column(verb, |item| item.payload.as_ref().map(|json| json.as_str().to_owned())))
        .bind(column(verb, |item| item.unique.as_ref().map(|unique| unique.key.clone())))
        .bind(column(verb, |item| item.unique.as_ref().and_then(|unique| unique.period_ms).map(bounded)))
        .bind(column(verb, |item| item.unique.as_ref().map(|unique| unique.counts.as_str())))
        .bind(column(verb, |item| i64::from(item.policy.max_attempts)))
        .bind(leases)
        .bind(column(verb, |item| reentry(item.policy.reentry)))
        .bind(column(verb, |item| supersede(item.policy.supersede)))
        .bind(column(verb, |item| item.policy.limit.as_ref().map(|limit| limit.key.clone())))
        .bind(column(verb, |item| item.policy.limit.as_ref().map(|limit| i64::from(limit.max))))
        .bind(column(verb, |item| item.policy.audit.as_str())))
}
