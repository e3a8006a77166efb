//! Concurrent callers that share requests: what each is told, whoever else comes, goes or cannot be served.

use std::{collections::BTreeSet, time::Duration};

use tokio::task::JoinSet;
use tourbillon::{
    model::ExecutionId,
    queue::{EnqueueError, Enqueuer, ItemOptions, Queue, Unique},
    store::{EnqueueOutcome, ErrorKind},
};
use uuid::Uuid;

use crate::stage::Stage;

const ANSWER: Duration = Duration::from_millis(10);

fn producer(stage: &Stage, change: impl FnOnce(Queue<u32>) -> Queue<u32>) -> Enqueuer<u32> {
    stage.answer_after(ANSWER);
    let queue = change(Queue::new("q")).coalescing();
    Enqueuer::new(stage.clone(), stage.runtime.clone(), &queue).expect("valid rules")
}

/// What callers are told that come at once, each with an item and an id, in their order.
async fn told(
    to: &Enqueuer<u32>,
    items: impl IntoIterator<Item = (u32, u128)>,
) -> Vec<Result<EnqueueOutcome, EnqueueError>> {
    let mut callers = JoinSet::new();
    for (place, (item, id)) in items.into_iter().enumerate() {
        let to = to.clone();
        callers.spawn(async move {
            let options = ItemOptions::new().id(ExecutionId(Uuid::from_u128(id)));
            (place, to.enqueue_with(&item, options).await)
        });
    }
    let mut told = callers.join_all().await;
    told.sort_by_key(|(place, _)| *place);
    told.into_iter().map(|(_, told)| told).collect()
}

fn enqueued(id: u128) -> Result<EnqueueOutcome, EnqueueError> {
    Ok(EnqueueOutcome::Enqueued(ExecutionId(Uuid::from_u128(id))))
}

fn duplicate(id: u128) -> Result<EnqueueOutcome, EnqueueError> {
    Ok(EnqueueOutcome::Duplicate(ExecutionId(Uuid::from_u128(id))))
}

#[tokio::test(start_paused = true)]
async fn callers_that_come_at_once_share_requests_and_none_is_left_out() {
    let stage = Stage::new();
    let to = producer(&stage, |queue| queue);
    let outcomes = told(&to, (1..=2_500).map(|n| (0, n))).await;
    assert_eq!(outcomes, (1..=2_500).map(enqueued).collect::<Vec<_>>());
    assert_eq!(stage.calls_of("enqueue"), 3, "a thousand at a time at most");
    let stored: BTreeSet<_> = stage.live().await.iter().map(|row| row.id.0.as_u128()).collect();
    assert!(stored.is_subset(&(1..=2_500).collect()), "and nothing else");
    assert_eq!(told(&to, [(0, 9_001)]).await, [enqueued(9_001)], "one alone, after the others");
}

#[tokio::test(start_paused = true)]
async fn each_is_told_of_its_own_item() {
    let stage = Stage::new();
    let to = producer(&stage, |queue| queue.unique(Unique::by_payload()).capacity(3));
    let outcomes = told(&to, [(7, 1), (7, 2), (8, 3), (9, 4), (10, 5)]).await;
    let full = Err(EnqueueError::Full(to.queue().clone()));
    assert_eq!(outcomes, [enqueued(1), duplicate(1), enqueued(3), enqueued(4), full]);
}

/// In one request an id that is there twice would have all of them refused.
#[tokio::test(start_paused = true)]
async fn callers_with_one_id_stop_nobody() {
    let stage = Stage::new();
    let to = producer(&stage, |queue| queue);
    let outcomes = told(&to, [(0, 1), (0, 2), (0, 2), (0, 3), (0, 2)]).await;
    assert_eq!(outcomes, [enqueued(1), enqueued(2), duplicate(2), enqueued(3), duplicate(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_ceases_to_wait_takes_nobody_along() {
    let stage = &Stage::new();
    let to = &producer(stage, |queue| queue);
    let own = |id: u128| ItemOptions::new().id(ExecutionId(Uuid::from_u128(id)));
    let soon = Duration::from_millis(3);
    // The request of the first is under way when the others come.
    let later = |id| async move {
        stage.runtime.sleep(Duration::from_millis(1)).await;
        to.enqueue_with(&0, own(id)).await
    };
    let (first, second, third) = tokio::join!(
        stage.runtime.timeout(soon, to.enqueue_with(&0, own(1))),
        stage.runtime.timeout(soon, later(2)),
        later(3),
    );
    assert_eq!((first, second, third), (None, None, enqueued(3)));
    let stored: Vec<_> = stage.live().await.iter().map(|row| row.id.0.as_u128()).collect();
    assert_eq!(stored, [1, 3], "what was sent is stored, and what was not is not");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_unknown_to_all_who_shared_it() {
    let stage = Stage::new();
    let to = producer(&stage, |queue| queue);
    stage.lose_answers_to(Some("enqueue"));
    for told in told(&to, (1..=3).map(|n| (0, n))).await {
        assert!(matches!(&told, Err(EnqueueError::Store(error)) if error.kind() == ErrorKind::Unknown), "{told:?}");
    }
    stage.lose_answers_to(None);
    assert_eq!(told(&to, [(0, 1), (0, 4)]).await, [duplicate(1), enqueued(4)], "later ones are served");
}

#[tokio::test(start_paused = true)]
async fn a_closed_producer_takes_nothing() {
    let stage = Stage::new();
    let to = producer(&stage, |queue| queue);
    to.close();
    assert_eq!(told(&to, [(0, 1)]).await, [Err(EnqueueError::Closed(to.queue().clone()))]);
}
