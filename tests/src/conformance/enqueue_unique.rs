//! Cases of enqueue: unique keys (G11).

use tourbillon::{
    model::{ExecutionId, JobName, Outcome, Reentry, State, transition::Cancelled},
    store::{Counts, Enqueue, EnqueueOutcome, Prune, Requeue, RequeueOutcome, Unique},
};

use super::subject::{LEASE_MS, Subject, failed, failed_for_good, failure, job, succeeded};

super::cases! {
    live_item_makes_the_next_one_a_duplicate,
    running_and_retryable_items_hold_their_key,
    finished_and_dead_items_free_their_key,
    keys_count_across_queues,
    cancelled_running_item_holds_its_key_until_it_is_acknowledged,
    cancelled_running_item_that_never_answers_frees_its_key_at_its_rescue,
    item_that_died_on_its_last_attempt_frees_its_key,
    same_key_twice_in_one_batch_is_one_item,
    items_of_one_batch_are_judged_one_by_one_beside_a_finished_one,
    period_is_counted_by_the_database_clock,
    succeeded_items_count_while_history_keeps_them,
    ended_items_count_in_any_state_when_asked_to,
    newest_of_several_finished_items_is_named,
    of_items_finished_at_one_instant_the_greatest_id_is_named,
    repeated_enqueue_of_a_key_that_looks_back_is_answered_as_before,
    requeue_onto_a_live_key_is_a_conflict,
    requeue_of_two_with_one_key_takes_the_first,
    requeued_item_takes_its_key_again,
}

use EnqueueOutcome::{Duplicate, Enqueued};

fn unique(counts: Counts) -> Option<Unique> {
    Some(Unique { key: "order 7".to_owned(), period_ms: None, counts })
}

async fn enqueue_counting(s: &Subject, queue: &JobName, counts: Counts) -> EnqueueOutcome {
    s.enqueue(queue, vec![s.item_with(|item| item.unique = unique(counts))]).await[0]
}

async fn enqueue(s: &Subject, queue: &JobName) -> EnqueueOutcome {
    enqueue_counting(s, queue, Counts::Live).await
}

async fn enqueued(s: &Subject, queue: &JobName) -> ExecutionId {
    match enqueue(s, queue).await {
        Enqueued(id) => id,
        other => panic!("the key is free, and the outcome {other:?}"),
    }
}

/// Claims, starts and settles the only due item.
async fn run(s: &Subject, queue: &JobName, outcome: Outcome) -> ExecutionId {
    let (_, lease) = s.claim_one(queue).await;
    s.start(lease).await.expect("just claimed");
    s.settle(lease, outcome).await.expect("just started");
    lease.id
}

// P-61
async fn live_item_makes_the_next_one_a_duplicate(s: &Subject) {
    let name = job("notify");
    let first = enqueued(s, &name).await;
    assert_eq!(enqueue(s, &name).await, Duplicate(first));
    let other = Some(Unique { key: "order 8".to_owned(), period_ms: None, counts: Counts::Live });
    s.enqueue_one(&name, |item| item.unique = other).await;
    assert_eq!(s.claim(&name).await.executions.len(), 2);
}

async fn running_and_retryable_items_hold_their_key(s: &Subject) {
    let name = job("notify");
    let first = enqueued(s, &name).await;
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(enqueue(s, &name).await, Duplicate(first), "claimed");
    s.start(lease).await.expect("just claimed");
    assert_eq!(enqueue(s, &name).await, Duplicate(first), "started");
    assert_eq!(s.settle(lease, failed(60_000)).await, Ok(State::Retryable));
    assert_eq!(enqueue(s, &name).await, Duplicate(first), "waiting for its retry");
}

// P-61
async fn finished_and_dead_items_free_their_key(s: &Subject) {
    let name = job("notify");
    for outcome in [succeeded(), failed_for_good(), Outcome::Cancelled { failure: failure("stopped") }] {
        let id = enqueued(s, &name).await;
        assert_eq!(run(s, &name, outcome).await, id);
    }
    let id = enqueued(s, &name).await;
    assert_eq!(s.cancel(id).await, Cancelled::Now);
    enqueued(s, &name).await;
}

async fn keys_count_across_queues(s: &Subject) {
    let first = enqueued(s, &job("notify")).await;
    assert_eq!(enqueue(s, &job("other")).await, Duplicate(first));
}

/// C9.
async fn cancelled_running_item_holds_its_key_until_it_is_acknowledged(s: &Subject) {
    let name = job("notify");
    let first = enqueued(s, &name).await;
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("just claimed");
    assert_eq!(s.cancel(first).await, Cancelled::Requested);
    assert_eq!(enqueue(s, &name).await, Duplicate(first), "its handler may still be at work");
    let acknowledged = Outcome::Cancelled { failure: failure("stopped") };
    assert_eq!(s.settle(lease, acknowledged).await, Ok(State::Cancelled));
    enqueued(s, &name).await;
}

/// C9.
async fn cancelled_running_item_that_never_answers_frees_its_key_at_its_rescue(s: &Subject) {
    let name = job("notify");
    let first = enqueued(s, &name).await;
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("just claimed");
    s.cancel(first).await;
    s.pass(LEASE_MS as i64);
    s.rescue().await;
    assert_eq!(enqueue(s, &name).await, Duplicate(first), "its lease has not expired");
    s.pass_micros(1);
    assert_eq!(s.rescue().await.ended, [(first, State::Cancelled)]);
    enqueued(s, &name).await;
}

/// B26, A31: a crash on the last attempt leaves nothing locked.
async fn item_that_died_on_its_last_attempt_frees_its_key(s: &Subject) {
    let name = job("notify");
    let item = s.item_with(|item| {
        item.unique = unique(Counts::Live);
        item.policy.max_attempts = 1;
        item.policy.reentry = Reentry::Forbid;
    });
    let first = item.id;
    s.enqueue(&name, vec![item]).await;
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("just claimed");
    s.pass(LEASE_MS as i64 + 1);
    assert_eq!(s.rescue().await.ended, [(first, State::Dead)]);
    enqueued(s, &name).await;
}

async fn same_key_twice_in_one_batch_is_one_item(s: &Subject) {
    let name = job("notify");
    let items = [(); 3].map(|()| s.item_with(|item| item.unique = unique(Counts::Finished))).to_vec();
    let first = items[0].id;
    assert_eq!(s.enqueue(&name, items).await, [Enqueued(first), Duplicate(first), Duplicate(first)]);
}

/// Before the first that finds no other: duplicates of what has ended. After it: of that one, which lives.
async fn items_of_one_batch_are_judged_one_by_one_beside_a_finished_one(s: &Subject) {
    let name = job("notify");
    enqueued(s, &name).await;
    let done = run(s, &name, succeeded()).await;
    let counts = [Counts::Finished, Counts::Succeeded, Counts::Live, Counts::Finished, Counts::Live];
    let items = counts.map(|counts| s.item_with(|item| item.unique = unique(counts))).to_vec();
    let first = items[2].id;
    let after = [Enqueued(first), Duplicate(first), Duplicate(first)];
    let outcomes = s.enqueue(&name, items).await;
    assert_eq!(outcomes, [[Duplicate(done), Duplicate(done)].as_slice(), &after].concat());
}

/// In steps from 1970: the first of two enqueues a millisecond apart may belong to another period.
async fn period_is_counted_by_the_database_clock(s: &Subject) {
    let name = job("notify");
    let hour = Some(Unique { key: "report".to_owned(), period_ms: Some(3_600_000), counts: Counts::Finished });
    let item = || s.item_with(|item| item.unique = hour.clone());
    let first = s.enqueue(&name, vec![item()]).await[0];
    let Enqueued(id) = first else { panic!("{first:?}") };
    assert_eq!(s.get(id).await.unique_key, Some(format!("{}@report", s.now().as_micros() / 3_600_000_000)));
    run(s, &name, succeeded()).await;
    s.pass(3_599_999);
    assert_eq!(s.enqueue(&name, vec![item()]).await, [Duplicate(id)], "it counts though it has ended");
    s.pass(1);
    let next = s.enqueue(&name, vec![item()]).await[0];
    assert!(matches!(next, Enqueued(_)), "{next:?}");
    s.pass(-1);
    assert_eq!(s.enqueue(&name, vec![item()]).await, [Duplicate(id)]);
}

async fn succeeded_items_count_while_history_keeps_them(s: &Subject) {
    let name = job("notify");
    let dead = enqueued(s, &name).await;
    assert_eq!(run(s, &name, failed_for_good()).await, dead);
    let first = enqueue_counting(s, &name, Counts::Succeeded).await;
    assert!(matches!(first, Enqueued(_)), "a dead one does not count: {first:?}");
    let done = run(s, &name, succeeded()).await;
    assert_eq!(enqueue_counting(s, &name, Counts::Succeeded).await, Duplicate(done));
    s.pass(1_000);
    s.call(Prune { history_ms: 1, receipts_ms: 1_000_000, edits_ms: u64::MAX, limit: 10 }).await;
    assert!(matches!(enqueue_counting(s, &name, Counts::Succeeded).await, Enqueued(_)));
}

async fn ended_items_count_in_any_state_when_asked_to(s: &Subject) {
    let name = job("notify");
    let dead = enqueued(s, &name).await;
    run(s, &name, failed_for_good()).await;
    assert_eq!(enqueue_counting(s, &name, Counts::Finished).await, Duplicate(dead));
}

async fn newest_of_several_finished_items_is_named(s: &Subject) {
    let name = job("notify");
    for _ in 0..2 {
        enqueued(s, &name).await;
        run(s, &name, succeeded()).await;
        s.pass(1);
    }
    let newest = enqueued(s, &name).await;
    run(s, &name, succeeded()).await;
    assert_eq!(enqueue_counting(s, &name, Counts::Succeeded).await, Duplicate(newest));
}

async fn of_items_finished_at_one_instant_the_greatest_id_is_named(s: &Subject) {
    let name = job("notify");
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(enqueued(s, &name).await);
        run(s, &name, succeeded()).await;
    }
    assert!(!ids.is_sorted(), "{ids:?}");
    let greatest = ids.into_iter().max().expect("there are eight");
    assert_eq!(enqueue_counting(s, &name, Counts::Finished).await, Duplicate(greatest));
}

/// Also when its own item has finished, and when that lives again.
async fn repeated_enqueue_of_a_key_that_looks_back_is_answered_as_before(s: &Subject) {
    for (queue, counts) in [("notify", Counts::Succeeded), ("mail", Counts::Finished)] {
        let name = job(queue);
        let unique = Unique { key: queue.to_owned(), period_ms: None, counts };
        let items = vec![s.item_with(|item| item.unique = Some(unique))];
        let request = s.request(Enqueue { queue: name.clone(), max_items: None, items });
        let first = s.repeat::<Enqueue>(&request).await;
        let id = run(s, &name, succeeded()).await;
        assert_eq!(first.outcomes, [Enqueued(id)]);
        assert_eq!(s.repeat::<Enqueue>(&request).await, first);
        s.requeue(id).await;
        assert_eq!(s.repeat::<Enqueue>(&request).await, first);
    }
}

async fn requeue_onto_a_live_key_is_a_conflict(s: &Subject) {
    let name = job("notify");
    let dead = enqueued(s, &name).await;
    run(s, &name, failed_for_good()).await;
    let live = enqueued(s, &name).await;
    assert_eq!(s.requeue(dead).await, RequeueOutcome::Conflict);
    assert_eq!(s.generations(dead).await.len(), 1, "nothing changed");
    s.cancel(live).await;
    assert!(matches!(s.requeue(dead).await, RequeueOutcome::Requeued(_)));
}

async fn requeue_of_two_with_one_key_takes_the_first(s: &Subject) {
    let name = job("notify");
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(enqueued(s, &name).await);
        run(s, &name, failed_for_good()).await;
    }
    let outcomes = s.call(Requeue { ids: ids.clone(), actor: None }).await.outcomes;
    assert!(matches!(outcomes[..], [RequeueOutcome::Requeued(_), RequeueOutcome::Conflict]), "{outcomes:?}");
    assert_eq!(enqueue(s, &name).await, Duplicate(ids[0]));
}

async fn requeued_item_takes_its_key_again(s: &Subject) {
    let name = job("notify");
    let id = enqueued(s, &name).await;
    run(s, &name, succeeded()).await;
    s.requeue(id).await;
    let request = s.request(Enqueue {
        queue: name,
        max_items: None,
        items: vec![s.item_with(|item| item.unique = unique(Counts::Live))],
    });
    assert_eq!(s.repeat::<Enqueue>(&request).await.outcomes, [Duplicate(id)]);
}
