//! Cases of looking into a queue: pages of its items, and its figures.

use tourbillon::{
    model::{ExecutionId, JobName, State},
    store::{
        Counts, Direction, Due, DueFilter, ItemOrder, ListItems, Lives, MAX_BATCH, QueueStats, ReadQueueStats, Unique,
    },
};

use super::subject::{Subject, failed, failed_for_good, job, scope, succeeded};

super::cases! {
    items_of_one_queue_are_listed_live_and_finished,
    slots_are_no_items,
    items_are_filtered_by_state_scope_and_key,
    due_items_are_those_that_a_claim_could_take,
    items_come_in_the_order_that_was_asked_for,
    equal_items_come_by_id_in_the_same_direction,
    items_are_paged_by_offset,
    every_life_of_an_item_is_listed,
    page_of_items_without_room_is_refused,
    figures_count_every_state_of_one_queue,
    figures_count_retries_and_know_the_last,
    empty_queue_has_empty_figures,
}

fn all(queue: &str) -> ListItems {
    ListItems::new(job(queue), MAX_BATCH)
}

async fn ids(s: &Subject, filter: ListItems) -> Vec<ExecutionId> {
    s.call(filter).await.items.into_iter().map(|row| row.id).collect()
}

/// Claims and starts the one due item and settles it.
async fn run_one(s: &Subject, queue: &JobName, outcome: tourbillon::model::Outcome) -> ExecutionId {
    let (row, lease) = s.claim_one(queue).await;
    s.start(lease).await.expect("just claimed");
    s.settle(lease, outcome).await.expect("just started");
    row.id
}

// P-62
async fn items_of_one_queue_are_listed_live_and_finished(s: &Subject) {
    let name = job("notify");
    let done = s.enqueue_one(&name, |_| {}).await;
    run_one(s, &name, succeeded()).await;
    s.pass(1);
    let waiting = s.enqueue_one(&name, |_| {}).await;
    s.enqueue_one(&job("other"), |_| {}).await;
    let page = s.call(all("notify")).await;
    assert_eq!(page.now, s.now());
    assert_eq!(page.items.iter().map(|row| row.id).collect::<Vec<_>>(), [done, waiting]);
    assert!(ids(s, all("unheard of")).await.is_empty());
}

async fn slots_are_no_items(s: &Subject) {
    let name = job("rollup");
    s.add_one(&name, |row| row.slot_at = Some(s.after(-86_400_000))).await;
    let item = s.enqueue_one(&name, |_| {}).await;
    assert_eq!(ids(s, all("rollup")).await, [item]);
    assert_eq!(s.call(ReadQueueStats { queue: name }).await.live(), 1);
}

// P-62
async fn items_are_filtered_by_state_scope_and_key(s: &Subject) {
    let name = job("notify");
    let key = |key: &str| Some(Unique { key: key.to_owned(), period_ms: None, counts: Counts::Live });
    let a = s.enqueue_one(&name, |item| item.scope = scope("a")).await;
    run_one(s, &name, failed_for_good()).await;
    s.pass(1);
    let b = s.enqueue_one(&name, |item| (item.scope, item.unique) = (scope("b"), key("k"))).await;
    s.pass(1);
    let c = s.enqueue_one(&name, |item| (item.scope, item.unique) = (scope("a"), key("K"))).await;
    assert_eq!(ids(s, ListItems { states: vec![State::Dead], ..all("notify") }).await, [a]);
    assert_eq!(ids(s, ListItems { states: vec![State::Dead, State::Scheduled], ..all("notify") }).await, [a, b, c]);
    assert_eq!(ids(s, ListItems { scope: Some(scope("a")), ..all("notify") }).await, [a, c]);
    assert_eq!(ids(s, ListItems { unique_key: Some("k".to_owned()), ..all("notify") }).await, [b]);
    let both = ListItems { scope: Some(scope("a")), states: vec![State::Scheduled], ..all("notify") };
    assert_eq!(ids(s, both).await, [c]);
}

// P-62
async fn due_items_are_those_that_a_claim_could_take(s: &Subject) {
    let name = job("notify");
    s.enqueue_one(&name, |_| {}).await;
    s.claim_one(&name).await;
    s.enqueue_one(&name, |_| {}).await;
    run_one(s, &name, succeeded()).await;
    s.enqueue_one(&name, |_| {}).await;
    let failed = run_one(s, &name, failed(2_000)).await;
    let soon = s.enqueue_one(&name, |item| item.due = Due::AfterMs(1_000)).await;
    let due = || ListItems { due: DueFilter::DueNow, order: ItemOrder::Claimable, ..all("notify") };
    assert!(ids(s, due()).await.is_empty());
    s.pass(1_000);
    assert_eq!(ids(s, due()).await, [soon]);
    s.pass(1_000);
    assert_eq!(ids(s, due()).await, [soon, failed]);
    s.pass(60_000);
    assert_eq!(ids(s, due()).await, [soon, failed], "whoever held an expired lease is not waiting");
}

// P-62
async fn items_come_in_the_order_that_was_asked_for(s: &Subject) {
    let name = job("notify");
    let done = s.enqueue_one(&name, |item| item.priority = 3).await;
    s.pass(1);
    let later = s.enqueue_one(&name, |item| (item.due, item.priority) = (Due::AfterMs(60_000), 2)).await;
    s.pass(1);
    let sooner = s.enqueue_one(&name, |item| (item.due, item.priority) = (Due::AfterMs(1_000), -7)).await;
    s.pass(1);
    run_one(s, &name, succeeded()).await;
    let expected = [
        (ItemOrder::Created, [done, later, sooner]),
        (ItemOrder::Updated, [later, sooner, done]),
        (ItemOrder::Claimable, [sooner, later, done]),
        (ItemOrder::Priority, [sooner, later, done]),
    ];
    for (order, mut expected) in expected {
        assert_eq!(ids(s, ListItems { order, ..all("notify") }).await, expected, "{order:?}");
        expected.reverse();
        let back = ListItems { order, direction: Direction::Descending, ..all("notify") };
        assert_eq!(ids(s, back).await, expected, "{order:?} descending");
    }
}

async fn equal_items_come_by_id_in_the_same_direction(s: &Subject) {
    let name = job("notify");
    let items: Vec<_> = (0..5).map(|_| s.item()).collect();
    let mut expected: Vec<_> = items.iter().map(|item| item.id).collect();
    s.enqueue(&name, items).await;
    expected.sort_unstable();
    assert_eq!(ids(s, all("notify")).await, expected);
    expected.reverse();
    assert_eq!(ids(s, ListItems { direction: Direction::Descending, ..all("notify") }).await, expected);
}

async fn items_are_paged_by_offset(s: &Subject) {
    let name = job("notify");
    s.enqueue(&name, (0..5).map(|_| s.item()).collect()).await;
    let whole = ids(s, all("notify")).await;
    let page = |offset| ListItems { offset, ..ListItems::new(job("notify"), 2) };
    let (first, second, last) = (ids(s, page(0)).await, ids(s, page(2)).await, ids(s, page(4)).await);
    assert_eq!([first, second, last].concat(), whole);
    assert!(ids(s, page(5)).await.is_empty());
}

async fn every_life_of_an_item_is_listed(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |_| {}).await;
    run_one(s, &name, failed_for_good()).await;
    s.requeue(id).await;
    let page = ListItems { order: ItemOrder::Priority, ..all("notify") };
    let lives: Vec<_> = s.call(page).await.items.iter().map(|row| (row.generation.0, row.state)).collect();
    assert_eq!(lives, [(1, State::Dead), (2, State::Scheduled)]);
    let newest = || ListItems { lives: Lives::Newest, ..all("notify") };
    assert_eq!(s.call(newest()).await.items[..], [s.get(id).await]);
    assert!(ids(s, ListItems { states: vec![State::Dead], ..newest() }).await.is_empty());
    run_one(s, &name, failed_for_good()).await;
    assert_eq!(s.call(newest()).await.items[..], [s.get(id).await]);
}

async fn page_of_items_without_room_is_refused(s: &Subject) {
    for limit in [0, MAX_BATCH + 1] {
        s.refused(ListItems::new(job("notify"), limit)).await;
    }
}

// P-63
async fn figures_count_every_state_of_one_queue(s: &Subject) {
    let name = job("notify");
    s.enqueue_one(&job("other"), |_| {}).await;
    s.enqueue_one(&name, |item| item.ttl_ms = Some(1)).await;
    s.pass(2);
    s.claim(&name).await;
    for outcome in [succeeded(), succeeded(), failed_for_good(), failed(60_000)] {
        s.enqueue_one(&name, |_| {}).await;
        run_one(s, &name, outcome).await;
    }
    let cancelled = s.enqueue_one(&name, |_| {}).await;
    s.cancel(cancelled).await;
    let oldest = s.now();
    s.enqueue_one(&name, |_| {}).await;
    s.claim_one(&name).await;
    s.pass(10);
    s.enqueue_one(&name, |_| {}).await;
    let stats = s.call(ReadQueueStats { queue: name }).await;
    let expected = QueueStats {
        scheduled: 1,
        running: 1,
        retryable: 1,
        succeeded: 2,
        dead: 1,
        cancelled: 1,
        skipped: 1,
        oldest_at: Some(oldest),
        newest_at: Some(s.now()),
        ..QueueStats::empty(s.now())
    };
    assert_eq!((&stats, stats.live()), (&expected, 3));
}

// P-63
async fn figures_count_retries_and_know_the_last(s: &Subject) {
    let name = job("notify");
    s.enqueue_one(&name, |_| {}).await;
    run_one(s, &name, failed(0)).await;
    assert_eq!(s.call(ReadQueueStats { queue: name.clone() }).await.retries, 0);
    s.pass(1_000);
    let second = s.now();
    run_one(s, &name, failed(0)).await;
    let stats = s.call(ReadQueueStats { queue: name.clone() }).await;
    assert_eq!((stats.retries, stats.last_retry_at), (1, Some(second)));
    s.pass(1_000);
    run_one(s, &name, succeeded()).await;
    let stats = s.call(ReadQueueStats { queue: name.clone() }).await;
    let last = Some(s.now());
    assert_eq!((stats.retries, stats.last_retry_at, stats.succeeded), (2, last, 1));
    s.enqueue_one(&name, |_| {}).await;
    for _ in 0..2 {
        s.pass(1_000);
        run_one(s, &name, failed(0)).await;
    }
    let stats = s.call(ReadQueueStats { queue: name }).await;
    assert_eq!((stats.retries, stats.last_retry_at), (3, Some(s.now())), "of two items the later one");
}

async fn empty_queue_has_empty_figures(s: &Subject) {
    let stats = s.call(ReadQueueStats { queue: job("notify") }).await;
    assert_eq!(stats, QueueStats::empty(s.now()));
}
