//! Cases of traces: where an item was enqueued goes with it, whoever runs it and however often.

use tourbillon::{
    model::{Json, Limit, Scope, State, TraceContext},
    store::{
        Counts, Due, EnqueueOutcome, ListItems, ListRecent, MAX_BATCH, RequeueOutcome, TriggerJob, TriggerOutcome,
        Unique, UpdateItem, UpdateOutcome,
    },
};

use super::subject::{LEASE_MS, Subject, failed, failed_for_good, job, succeeded, trace_of};

super::cases! {
    item_carries_its_trace_through_every_attempt_into_history,
    item_without_a_trace_has_none,
    each_item_of_a_batch_has_its_own_trace,
    trace_of_the_first_stays_when_others_are_duplicates,
    requeued_item_goes_on_in_its_trace,
    changed_item_keeps_its_trace,
    listed_items_show_their_traces,
    triggered_execution_carries_the_trace_of_the_wish,
}

fn trace(n: u128) -> Option<TraceContext> {
    Some(trace_of(n))
}

async fn item_carries_its_trace_through_every_attempt_into_history(s: &Subject) {
    let name = job("notify");
    for n in [1, 2] {
        let id = s.enqueue_one(&name, |item| item.trace = trace(n)).await;
        let (row, lease) = s.claim_one(&name).await;
        assert_eq!((row.id, &row.trace), (id, &trace(n)));
        assert_eq!(s.start(lease).await, Ok(1));
        assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Retryable));
        assert_eq!(s.get(id).await.trace, trace(n));
        // The second attempt's replica dies, and another one takes over.
        let (row, lease) = s.claim_one(&name).await;
        assert_eq!((row.id, &row.trace), (id, &trace(n)));
        assert_eq!(s.start(lease).await, Ok(2));
        s.pass(LEASE_MS as i64 + 1);
        let (row, lease) = s.claim_one(&name).await;
        assert_eq!((row.id, &row.trace), (id, &trace(n)));
        assert_eq!(s.start(lease).await, Ok(3));
        assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
        assert_eq!(s.get(id).await.trace, trace(n));
    }
}

async fn item_without_a_trace_has_none(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |_| {}).await;
    let (row, lease) = s.claim_one(&name).await;
    assert_eq!((row.id, row.trace), (id, None));
    assert_eq!(s.start(lease).await, Ok(1));
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
    assert_eq!(s.get(id).await.trace, None);
}

/// Alike but for that, and not alike: a store may have a way for each.
async fn each_item_of_a_batch_has_its_own_trace(s: &Subject) {
    let name = job("notify");
    let wanted = [trace(1), None, trace(2), trace(1)];
    for is_alike in [true, false] {
        let items = wanted.iter().zip(0..).map(|(trace, n)| {
            s.item_with(|item| {
                item.trace.clone_from(trace);
                if !is_alike {
                    item.priority = n;
                    item.policy.limit = Some(Limit { key: format!("limit {n}"), max: 1 });
                }
            })
        });
        let items: Vec<_> = items.collect();
        let outcomes: Vec<_> = items.iter().map(|item| EnqueueOutcome::Enqueued(item.id)).collect();
        assert_eq!(s.enqueue(&name, items.clone()).await, outcomes);
        for item in items {
            assert_eq!(s.get(item.id).await.trace, item.trace);
        }
    }
}

async fn trace_of_the_first_stays_when_others_are_duplicates(s: &Subject) {
    let name = job("notify");
    let unique = Unique { key: "notify 1".to_owned(), period_ms: None, counts: Counts::Succeeded };
    let first = s.enqueue_one(&name, |item| (item.unique, item.trace) = (Some(unique.clone()), trace(1))).await;
    // By its key, by its id, and with no trace at all.
    let by_key = s.item_with(|item| (item.unique, item.trace) = (Some(unique.clone()), trace(2)));
    let by_id = s.item_with(|item| (item.id, item.trace) = (first, trace(3)));
    let without = s.item_with(|item| item.unique = Some(unique.clone()));
    for other in [by_key, by_id, without] {
        assert_eq!(s.enqueue(&name, vec![other]).await, [EnqueueOutcome::Duplicate(first)]);
    }
    assert_eq!(s.get(first).await.trace, trace(1));
    // Within one batch, too.
    let unique = Unique { key: "notify 2".to_owned(), ..unique };
    let batch = [4, 5].map(|n| s.item_with(|item| (item.unique, item.trace) = (Some(unique.clone()), trace(n))));
    let id = batch[0].id;
    let outcomes = [EnqueueOutcome::Enqueued(id), EnqueueOutcome::Duplicate(id)];
    assert_eq!(s.enqueue(&name, batch.to_vec()).await, outcomes);
    assert_eq!(s.get(id).await.trace, trace(4));
}

async fn requeued_item_goes_on_in_its_trace(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |item| item.trace = trace(2)).await;
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(s.start(lease).await, Ok(1));
    assert_eq!(s.settle(lease, failed_for_good()).await, Ok(State::Dead));
    assert!(matches!(s.requeue(id).await, RequeueOutcome::Requeued(_)));
    let (row, _) = s.claim_one(&name).await;
    assert_eq!((row.id, row.generation.0, row.trace), (id, 2, trace(2)));
}

async fn changed_item_keeps_its_trace(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |item| item.trace = trace(1)).await;
    let payload = Json::new(&serde_json::json!({"to": "a@b.c"})).ok();
    let (queue, due) = (name.clone(), Some(Due::AfterMs(1_000)));
    let outcome = s.call(UpdateItem { queue, id, payload, priority: Some(-1), due }).await.outcome;
    assert_eq!(outcome, UpdateOutcome::Updated);
    assert_eq!(s.get(id).await.trace, trace(1));
}

async fn listed_items_show_their_traces(s: &Subject) {
    let name = job("notify");
    let live = s.enqueue_one(&name, |item| item.trace = trace(1)).await;
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(s.start(lease).await, Ok(1));
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
    let waiting = s.enqueue_one(&name, |item| item.trace = trace(2)).await;
    let mut wanted = vec![(live, trace(1)), (waiting, trace(2))];
    wanted.sort_by_key(|(id, _)| *id);
    let items = s.call(ListItems::new(name.clone(), MAX_BATCH)).await.items;
    let recent = s.call(ListRecent::new(MAX_BATCH)).await.executions;
    for rows in [items, recent] {
        let mut shown: Vec<_> = rows.into_iter().map(|row| (row.id, row.trace)).collect();
        shown.sort_by_key(|(id, _)| *id);
        assert_eq!(shown, wanted);
    }
}

async fn triggered_execution_carries_the_trace_of_the_wish(s: &Subject) {
    let name = job("digest");
    s.add(&name, Vec::new()).await;
    for trace in [trace(1), None] {
        let row = s.row();
        let (job, scope, policy) = (name.clone(), Scope::global(), row.policy);
        let wish = TriggerJob {
            job,
            scope,
            id: row.id,
            priority: 0,
            payload: None,
            policy,
            actor: None,
            trace: trace.clone(),
        };
        assert_eq!(s.call(wish).await.outcome, TriggerOutcome::Triggered);
        let (claimed, _) = s.claim_one(&name).await;
        assert_eq!((claimed.id, claimed.trace), (row.id, trace));
    }
}
