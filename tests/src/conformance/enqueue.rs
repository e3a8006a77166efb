//! Cases of enqueue: what is stored, capacity, receipts, time to live. Unique keys are in `enqueue_unique`.

use tourbillon::{
    model::{Audit, Json, Limit, SkipReason, State, transition::Cancelled},
    store::{Counts, Due, Enqueue, EnqueueOutcome, ErrorKind, MAX_BATCH, Plan, PlanOutcome, Prune, Unique},
};

use super::subject::{Subject, claim_of, failed_for_good, job, scope, succeeded};

super::cases! {
    item_is_stored_as_it_was_sent,
    item_is_claimed_and_ends_like_any_execution,
    delay_counts_from_the_enqueue_by_the_database_clock,
    absolute_due_time_is_kept_also_in_the_past,
    items_are_claimed_by_priority_then_due_time,
    each_item_of_a_batch_has_its_own_outcome_in_order,
    queue_need_not_be_registered,
    retried_enqueue_enqueues_once,
    retried_enqueue_enqueues_once_after_the_item_has_gone,
    id_that_is_taken_is_a_duplicate,
    taken_ids_in_a_batch_stop_nobody_else,
    taken_id_of_an_untold_item_is_a_duplicate,
    batch_without_items_is_answered,
    queue_holds_no_more_than_its_bound,
    bound_counts_live_items_of_this_queue_only,
    finished_dead_cancelled_and_expired_items_free_their_place,
    requeued_item_counts_but_is_let_in,
    full_comes_before_duplicate,
    bound_of_nothing_refuses_all,
    item_past_its_time_to_live_is_skipped_as_expired,
    started_item_outlives_its_time_to_live,
    withdrawn_delay_is_counted_from_the_present,
    withdrawn_absolute_time_comes_again,
    item_waits_for_room_under_its_limit,
    planned_id_that_is_live_is_a_conflict_and_plans_nothing,
    planned_id_that_has_ended_is_a_conflict,
    malformed_items_are_refused,
}

use EnqueueOutcome::{Duplicate, Enqueued, Full};

fn bounded(s: &Subject, queue: &str, max_items: u64, items: usize) -> Enqueue {
    Enqueue { queue: job(queue), max_items: Some(max_items), items: (0..items).map(|_| s.item()).collect() }
}

// P-60, P-62
async fn item_is_stored_as_it_was_sent(s: &Subject) {
    let name = job("notify");
    let item = s.item_with(|item| {
        item.scope = scope("agent 7");
        item.due = Due::AfterMs(1_500);
        item.ttl_ms = Some(60_000);
        item.priority = -3;
        item.payload = Json::new(&serde_json::json!({"to": "a@b.c", "n": [1, 2]})).ok();
        item.unique = Some(Unique { key: "an Ümläut".to_owned(), period_ms: None, counts: Counts::Live });
        item.policy.limit = Some(Limit { key: "smtp".to_owned(), max: 2 });
    });
    assert_eq!(s.enqueue(&name, vec![item.clone()]).await, [Enqueued(item.id)]);
    let row = s.get(item.id).await;
    assert_eq!((row.job, row.scope, row.generation.0, row.slot_at), (name, item.scope, 1, None));
    assert_eq!((row.due_at, row.claimable_at), (s.now(), Some(s.after(1_500))));
    assert_eq!((row.expires_at, row.priority, row.payload), (Some(s.after(60_000)), -3, item.payload));
    assert_eq!(
        (row.unique_key.as_deref(), row.policy, row.state),
        (Some("an Ümläut"), item.policy, State::Scheduled)
    );
    assert_eq!((row.attempt, row.fence.0, row.lease), (0, 0, None));
    assert_eq!((row.created_at, row.updated_at), (s.now(), s.now()));
}

// P-67: attempts are counted where they are stored.
async fn item_is_claimed_and_ends_like_any_execution(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |_| {}).await;
    for attempt in 1..=3 {
        let (row, lease) = s.claim_one(&name).await;
        assert_eq!((row.id, row.attempt, row.fence.0), (id, attempt - 1, u64::from(attempt)));
        assert_eq!(s.start(lease).await, Ok(attempt));
        let state = if attempt < 3 { State::Retryable } else { State::Dead };
        assert_eq!(s.settle(lease, super::subject::failed(0)).await, Ok(state));
    }
    assert!(s.nothing_to_claim(&name).await);
}

async fn delay_counts_from_the_enqueue_by_the_database_clock(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |item| item.due = Due::AfterMs(2_000)).await;
    s.pass_micros(1_999_999);
    assert!(s.nothing_to_claim(&name).await);
    s.pass_micros(1);
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

async fn absolute_due_time_is_kept_also_in_the_past(s: &Subject) {
    let name = job("notify");
    let later = s.enqueue_one(&name, |item| item.due = Due::At(s.after(2_000))).await;
    let past = s.enqueue_one(&name, |item| item.due = Due::At(s.after(-2_000))).await;
    assert_eq!(s.get(past).await.due_at, s.after(-2_000));
    assert_eq!(s.claim_one(&name).await.0.id, past);
    s.pass(2_000);
    assert_eq!(s.claim_one(&name).await.0.id, later);
}

async fn items_are_claimed_by_priority_then_due_time(s: &Subject) {
    let name = job("notify");
    let last = s.enqueue_one(&name, |item| item.priority = 5).await;
    s.pass(1);
    let third = s.enqueue_one(&name, |_| {}).await;
    let second = s.enqueue_one(&name, |item| item.due = Due::At(s.after(-5_000))).await;
    let first = s.enqueue_one(&name, |item| item.priority = -1).await;
    let order: Vec<_> = s.claim(&name).await.executions.iter().map(|row| row.id).collect();
    assert_eq!(order, [first, second, third, last]);
}

async fn each_item_of_a_batch_has_its_own_outcome_in_order(s: &Subject) {
    let name = job("notify");
    let unique = |key: &str| Some(Unique { key: key.to_owned(), period_ms: None, counts: Counts::Live });
    let items = vec![
        s.item_with(|item| item.unique = unique("a")),
        s.item(),
        s.item_with(|item| item.unique = unique("a")),
        s.item_with(|item| item.unique = unique("b")),
        s.item_with(|item| item.unique = unique("b")),
        s.item(),
    ];
    let ids: Vec<_> = items.iter().map(|item| item.id).collect();
    let enqueue = Enqueue { queue: name.clone(), max_items: Some(3), items };
    let outcomes = s.call(enqueue).await.outcomes;
    let expected = [Enqueued(ids[0]), Enqueued(ids[1]), Duplicate(ids[0]), Enqueued(ids[3]), Full, Full];
    assert_eq!(outcomes, expected);
    assert_eq!(s.call(Enqueue { queue: name, max_items: None, items: Vec::new() }).await.outcomes, []);
}

async fn queue_need_not_be_registered(s: &Subject) {
    let id = s.enqueue_one(&job("nobody consumes it yet"), |_| {}).await;
    assert_eq!(s.get(id).await.state, State::Scheduled);
}

/// G5: at most once per request id (C3).
async fn retried_enqueue_enqueues_once(s: &Subject) {
    let request = s.request(bounded(s, "notify", 1, 2));
    let first = s.repeat::<Enqueue>(&request).await;
    s.pass(5);
    assert_eq!(s.repeat::<Enqueue>(&request).await, first);
    assert_eq!(s.claim(&job("notify")).await.executions.len(), 1);
}

/// G5, C3: the row has run and gone, the receipt has not.
async fn retried_enqueue_enqueues_once_after_the_item_has_gone(s: &Subject) {
    let name = job("notify");
    let request = s.request(Enqueue { queue: name.clone(), max_items: None, items: vec![s.item()] });
    let first = s.repeat::<Enqueue>(&request).await;
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("just claimed");
    s.settle(lease, succeeded()).await.expect("just started");
    s.pass(1_000);
    s.call(Prune { history_ms: 1, receipts_ms: 60_000, edits_ms: u64::MAX, limit: 10 }).await;
    assert!(s.generations(lease.id).await.is_empty(), "history is pruned");
    assert_eq!(s.repeat::<Enqueue>(&request).await, first);
    assert!(s.nothing_to_claim(&name).await);
}

async fn id_that_is_taken_is_a_duplicate(s: &Subject) {
    let name = job("notify");
    let item = s.item();
    assert_eq!(s.enqueue(&name, vec![item.clone()]).await, [Enqueued(item.id)]);
    assert_eq!(s.enqueue(&name, vec![item.clone()]).await, [Duplicate(item.id)]);
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("just claimed");
    s.settle(lease, succeeded()).await.expect("just started");
    assert_eq!(s.enqueue(&name, vec![item.clone()]).await, [Duplicate(item.id)], "also when it has ended");
    assert_eq!(s.generations(item.id).await.len(), 1);
}

/// No audit event knows the id: the live row alone does.
async fn taken_id_of_an_untold_item_is_a_duplicate(s: &Subject) {
    let name = job("notify");
    let item = s.item_with(|item| item.policy.audit = Audit::Off);
    assert_eq!(s.enqueue(&name, vec![item.clone()]).await, [Enqueued(item.id)]);
    assert_eq!(s.enqueue(&name, vec![item.clone()]).await, [Duplicate(item.id)]);
}

/// Live, new, ended, new: alike but for their ids.
async fn taken_ids_in_a_batch_stop_nobody_else(s: &Subject) {
    let name = job("notify");
    let [live, ended, new, newer] = [s.item(), s.item(), s.item(), s.item()];
    s.enqueue(&name, vec![ended.clone()]).await;
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("just claimed");
    s.settle(lease, succeeded()).await.expect("just started");
    let outcomes = s.enqueue(&name, vec![ended.clone(), live.clone()]).await;
    assert_eq!(outcomes, [Duplicate(ended.id), Enqueued(live.id)]);
    let (ids, batch) = ([live.id, new.id, ended.id, newer.id], vec![live, new, ended, newer]);
    let request = s.request(Enqueue { queue: name, max_items: None, items: batch });
    let expected = [Duplicate(ids[0]), Enqueued(ids[1]), Duplicate(ids[2]), Enqueued(ids[3])];
    for _ in 0..2 {
        assert_eq!(s.repeat::<Enqueue>(&request).await.outcomes, expected);
    }
}

async fn batch_without_items_is_answered(s: &Subject) {
    assert_eq!(s.enqueue(&job("notify"), Vec::new()).await, []);
}

// P-61, P-64
async fn queue_holds_no_more_than_its_bound(s: &Subject) {
    let outcomes = s.call(bounded(s, "notify", 3, 2)).await.outcomes;
    assert!(matches!(outcomes[..], [Enqueued(_), Enqueued(_)]));
    let outcomes = s.call(bounded(s, "notify", 3, 2)).await.outcomes;
    assert!(matches!(outcomes[..], [Enqueued(_), Full]));
    assert!(matches!(s.call(bounded(s, "notify", 4, 2)).await.outcomes[..], [Enqueued(_), Full]));
    s.claim(&job("notify")).await;
    assert_eq!(s.call(bounded(s, "notify", 4, 1)).await.outcomes, [Full], "running items hold their place");
}

async fn bound_counts_live_items_of_this_queue_only(s: &Subject) {
    s.call(bounded(s, "other", 9, 3)).await;
    s.add(
        &job("notify"),
        vec![s.row_with(|row| row.slot_at = Some(s.now())), s.row_with(|row| row.slot_at = Some(s.after(1)))],
    )
    .await;
    assert!(matches!(s.call(bounded(s, "notify", 1, 1)).await.outcomes[..], [Enqueued(_)]));
}

// P-61
async fn finished_dead_cancelled_and_expired_items_free_their_place(s: &Subject) {
    let name = job("notify");
    for outcome in [succeeded(), failed_for_good()] {
        assert!(matches!(s.call(bounded(s, "notify", 1, 1)).await.outcomes[..], [Enqueued(_)]));
        let (_, lease) = s.claim_one(&name).await;
        s.start(lease).await.expect("just claimed");
        s.settle(lease, outcome).await.expect("just started");
    }
    let mut expiring = bounded(s, "notify", 1, 1);
    expiring.items[0].ttl_ms = Some(1);
    s.call(expiring).await;
    s.pass(2);
    assert_eq!(s.claim(&name).await.skipped.len(), 1);
    let waiting = s.enqueue_one(&name, |_| {}).await;
    assert_eq!(s.cancel(waiting).await, Cancelled::Now);
    assert!(matches!(s.call(bounded(s, "notify", 1, 1)).await.outcomes[..], [Enqueued(_)]));
}

async fn requeued_item_counts_but_is_let_in(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |_| {}).await;
    s.cancel(id).await;
    s.call(bounded(s, "notify", 1, 1)).await;
    s.requeue(id).await;
    assert_eq!(s.get(id).await.state, State::Scheduled);
    assert_eq!(s.call(bounded(s, "notify", 2, 1)).await.outcomes, [Full]);
}

// P-61: closed, invalid, full, duplicate.
async fn full_comes_before_duplicate(s: &Subject) {
    let name = job("notify");
    let item = s.item();
    let enqueue = |max| Enqueue { queue: name.clone(), max_items: Some(max), items: vec![item.clone()] };
    assert_eq!(s.call(enqueue(1)).await.outcomes, [Enqueued(item.id)]);
    assert_eq!(s.call(enqueue(1)).await.outcomes, [Full]);
    assert_eq!(s.call(enqueue(2)).await.outcomes, [Duplicate(item.id)]);
}

async fn bound_of_nothing_refuses_all(s: &Subject) {
    assert_eq!(s.call(bounded(s, "notify", 0, 2)).await.outcomes, [Full, Full]);
}

// P-69: never silent.
async fn item_past_its_time_to_live_is_skipped_as_expired(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |item| item.ttl_ms = Some(1_000)).await;
    let other = s.enqueue_one(&name, |item| item.ttl_ms = Some(1_001)).await;
    s.pass_micros(1_000_001);
    let claimed = s.claim(&name).await;
    assert_eq!(claimed.skipped, [(id, SkipReason::Expired)]);
    assert_eq!(claimed.executions.iter().map(|row| row.id).collect::<Vec<_>>(), [other]);
    let row = s.get(id).await;
    assert_eq!((row.state, row.skip_reason), (State::Skipped, Some(SkipReason::Expired)));
}

async fn started_item_outlives_its_time_to_live(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |item| item.ttl_ms = Some(1_000)).await;
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("just claimed");
    s.settle(lease, super::subject::failed(5_000)).await.expect("just started");
    s.pass(5_000);
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

/// C8: a wait that was written in a withdrawn future lasts no longer than it was meant to.
async fn withdrawn_delay_is_counted_from_the_present(s: &Subject) {
    let name = job("notify");
    s.rescue().await;
    s.pass(86_400_000);
    let at_once = s.enqueue_one(&name, |_| {}).await;
    let delayed = s.enqueue_one(&name, |item| item.due = Due::AfterMs(2_000)).await;
    s.rescue().await;
    s.pass(-86_400_000);
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.rescue().await.clamped.len(), 2);
    assert_eq!(s.claim_one(&name).await.0.id, at_once);
    s.pass(2_000);
    assert_eq!(s.claim_one(&name).await.0.id, delayed);
}

async fn withdrawn_absolute_time_comes_again(s: &Subject) {
    let name = job("notify");
    s.pass(86_400_000);
    let due = s.after(2_000);
    let id = s.enqueue_one(&name, |item| item.due = Due::At(due)).await;
    s.rescue().await;
    s.pass(-86_400_000);
    s.rescue().await;
    assert_eq!(s.get(id).await.claimable_at, Some(due));
}

/// G15: the scope of the limit is its key, on all replicas together. (P-45)
async fn item_waits_for_room_under_its_limit(s: &Subject) {
    let name = job("notify");
    let limited = |item: &mut tourbillon::store::NewItem| {
        item.policy.limit = Some(Limit { key: "smtp".to_owned(), max: 1 });
    };
    let items = vec![s.item_with(limited), s.item_with(limited)];
    s.enqueue(&name, items).await;
    let (_, lease) = s.claim_one(&name).await;
    assert!(s.nothing_to_claim(&name).await);
    s.start(lease).await.expect("just claimed");
    s.settle(lease, succeeded()).await.expect("just started");
    assert_eq!(s.call(claim_of(&[&name], 10)).await.executions.len(), 1);
}

/// All or nothing: the entry before the one that is refused leaves nothing behind.
async fn planned_id_that_is_live_is_a_conflict_and_plans_nothing(s: &Subject) {
    let (first, second) = (job("a"), job("b"));
    s.register(&first).await;
    s.register(&second).await;
    let taken = s.enqueue_one(&first, |_| {}).await;
    let slot = |id| s.row_with(|row| (row.id, row.slot_at) = (id, Some(s.now())));
    let entry = |name, id| s.entry(name, None, s.now(), vec![slot(id)]);
    let entries = vec![entry(&first, s.id()), entry(&second, taken)];
    assert_eq!(s.refused(Plan { entries }).await.kind(), ErrorKind::Conflict);
    assert_eq!((s.cursor(&first).await, s.cursor(&second).await), (None, None));
    // An entry that makes nothing takes no id.
    s.plan(s.entry(&second, None, s.after(-5), Vec::new())).await;
    assert_eq!(s.plan(entry(&second, taken)).await, PlanOutcome::CursorMoved(Some(s.after(-5))));
}

async fn planned_id_that_has_ended_is_a_conflict(s: &Subject) {
    let name = job("a");
    let taken = s.ended(&name, succeeded()).await;
    let at = s.cursor(&name).await;
    let slot = s.row_with(|row| (row.id, row.slot_at) = (taken, Some(s.now())));
    let refused = s.refused(Plan { entries: vec![s.entry(&name, at, s.now(), vec![slot])] }).await;
    assert_eq!(refused.kind(), ErrorKind::Conflict);
}

async fn malformed_items_are_refused(s: &Subject) {
    let key = |key: &str, period_ms| Some(Unique { key: key.to_owned(), period_ms, counts: Counts::Live });
    let items = [
        s.item_with(|item| item.unique = key("", None)),
        s.item_with(|item| item.unique = key(&"x".repeat(501), None)),
        s.item_with(|item| item.unique = key("a\0b", None)),
        s.item_with(|item| item.unique = key("a", Some(0))),
        s.item_with(|item| item.unique = key("a", Some(u64::MAX))),
        s.item_with(|item| item.ttl_ms = Some(0)),
        s.item_with(|item| (item.due, item.ttl_ms) = (Due::AfterMs(5), Some(5))),
        s.item_with(|item| item.policy.lease_ms = u64::MAX),
    ];
    for item in items {
        let enqueue = Enqueue { queue: job("notify"), max_items: None, items: vec![s.item(), item] };
        assert_eq!(s.refused(enqueue).await.kind(), ErrorKind::Invalid);
    }
    let same = s.item();
    for enqueue in [
        Enqueue { queue: job("notify"), max_items: None, items: vec![same.clone(), same] },
        Enqueue { queue: job("notify"), max_items: Some(u64::MAX), items: Vec::new() },
        bounded(s, "notify", 1, MAX_BATCH as usize + 1),
    ] {
        assert_eq!(s.refused(enqueue).await.kind(), ErrorKind::Invalid);
    }
    s.register(&job("notify")).await;
    let slot = s.row_with(|row| row.unique_key = Some("only an enqueue may".to_owned()));
    let entry = s.entry(&job("notify"), None, s.now(), vec![slot]);
    assert_eq!(s.refused(Plan { entries: vec![entry] }).await.kind(), ErrorKind::Invalid);
}
