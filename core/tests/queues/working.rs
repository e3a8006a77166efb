//! What workers do: handlers, callbacks, poison, delivery, probes, statistics, shutdown.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tourbillon::{
    driver::{QueueHandle, UnknownQueue},
    job::{BoxError, Context, HandlerError, StopReason},
    model::{ExecutionId, RequestId, State},
    plan::Backoff,
    queue::{Delivery, EnqueueError, Enqueuer, ItemOptions, Queue, Unique},
    store::{Cancel, EnqueueOutcome, ask},
};

use crate::stage::{Heard, Stage};

const SECOND: Duration = Duration::from_secs(1);

fn queue() -> Queue<u32> {
    Queue::new("q").backoff(Backoff::constant(SECOND).without_jitter())
}

async fn put(to: &Enqueuer<u32>, item: u32) -> ExecutionId {
    match to.enqueue(&item).await {
        Ok(EnqueueOutcome::Enqueued(id)) => id,
        other => panic!("not enqueued: {other:?}"),
    }
}

/// Counts calls; succeeds.
fn counted(queue: Queue<u32>) -> (Arc<AtomicUsize>, Queue<u32>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let queue = queue.run(move |_, _: Context| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, HandlerError>(()) }
    });
    (calls, queue)
}

// P-67, P-69
#[tokio::test(start_paused = true)]
async fn typed_items_are_retried_and_counted() {
    let stage = Stage::new();
    let heard = Heard::default();
    let queue = queue().max_attempts(3).on_failure(heard.by("failure")).on_success(heard.by("success"));
    let running = stage.start(queue.run(|item: u32, ctx: Context| async move {
        if ctx.attempt() < item { Err(HandlerError::new("not yet")) } else { Ok(()) }
    }));
    let handle: QueueHandle<u32> = running.queue("q").expect("it was added");
    let id = put(&handle, 3).await;
    let item = stage.ended(id).await;
    assert_eq!((item.state, item.attempt), (State::Succeeded, 3));
    let told: Vec<_> = heard.all().iter().map(|(which, end)| (*which, end.attempt, end.state)).collect();
    let expected =
        [("failure", 1, State::Retryable), ("failure", 2, State::Retryable), ("success", 3, State::Succeeded)];
    assert_eq!(told, expected);
    let stats = handle.stats();
    assert_eq!((stats.attempts, stats.successes, stats.failures, stats.exhausted), (3, 1, 2, 0));
    assert!(stats.last_processed.is_some() && stats.last_check.is_some() && stats.running == 0);
    running.stop().await.expect("nothing runs");
}

// P-64: exhaustion first.
#[tokio::test(start_paused = true)]
async fn exhaustion_is_told_before_failure() {
    let stage = Stage::new();
    let heard = Heard::default();
    let queue = queue().max_attempts(2).on_failure(heard.by("failure")).on_exhausted(heard.by("exhausted"));
    let running = stage.start(queue.run(|_, _: Context| async { Err::<(), _>(HandlerError::new("no")) }));
    let id = put(&running.queue("q").expect("it was added"), 1).await;
    assert_eq!(stage.ended(id).await.state, State::Dead);
    let told: Vec<_> = heard.all().iter().map(|(which, end)| (*which, end.attempt)).collect();
    assert_eq!(told, [("failure", 1), ("exhausted", 2), ("failure", 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_does_not_decode_is_dead_at_once() {
    let stage = Stage::new();
    let (calls, queue) = counted(queue());
    let running = stage.start(queue);
    let words: Enqueuer<String> =
        Enqueuer::new(stage.clone(), stage.runtime.clone(), &Queue::new("q")).expect("valid");
    let Ok(EnqueueOutcome::Enqueued(id)) = words.enqueue(&"no number".to_owned()).await else { panic!("stored") };
    let item = stage.ended(id).await;
    assert_eq!((item.state, item.attempt), (State::Dead, 1));
    assert_eq!(item.error.map(|error| error.code.as_str().to_owned()), Some("payload_invalid".to_owned()));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    drop(running);
}

/// At most once: a start that is not known to be durable runs nothing.
#[tokio::test(start_paused = true)]
async fn an_unknown_mark_runs_nothing() {
    let stage = Stage::new();
    let (calls, queue) = counted(queue().delivery(Delivery::AtMostOnce));
    let running = stage.start(queue);
    stage.lose_answers_to(Some("start"));
    let id = put(&running.queue("q").expect("it was added"), 1).await;
    stage.runtime.sleep(600 * SECOND).await;
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    stage.lose_answers_to(None);
    assert_eq!(stage.ended(id).await.state, State::Succeeded, "given back, since nothing ran");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    drop(running);
}

/// At most once: an attempt that a shutdown cuts short is not given back.
#[tokio::test(start_paused = true)]
async fn an_interrupted_attempt_ends_its_item_at_most_once_and_is_given_back_at_least_once() {
    for (delivery, expected) in [(Delivery::AtMostOnce, State::Dead), (Delivery::AtLeastOnce, State::Scheduled)] {
        let stage = Stage::new();
        let heard = Heard::default();
        let queue = queue().delivery(delivery).on_exhausted(heard.by("exhausted"));
        let running = stage.start(queue.run(|_, _: Context| std::future::pending::<Result<(), HandlerError>>()));
        let id = put(&running.queue("q").expect("it was added"), 1).await;
        stage.runtime.sleep(SECOND).await;
        assert_eq!(stage.item(id).await.state, State::Running);
        running.shutdown(Duration::ZERO).await.expect("interrupted and recorded");
        assert_eq!(stage.item(id).await.state, expected);
        assert_eq!(heard.all().len(), usize::from(expected == State::Dead));
    }
}

// P-66
#[tokio::test(start_paused = true)]
async fn what_the_receiver_has_already_succeeds_without_a_push() {
    let stage = Stage::new();
    let probe = |items: Vec<(ExecutionId, Option<String>)>| async move {
        assert!(items.iter().all(|(_, key)| key.is_some()), "with their fingerprints");
        Ok::<BTreeSet<_>, BoxError>(items.into_iter().map(|(id, _)| id).collect())
    };
    let (calls, queue) = counted(queue().unique(Unique::by_payload()).probe(probe));
    let running = stage.start(queue);
    let handle: QueueHandle<u32> = running.queue("q").expect("it was added");
    let id = put(&handle, 1).await;
    assert_eq!(stage.ended(id).await.state, State::Succeeded);
    assert_eq!((calls.load(Ordering::SeqCst), handle.stats().successes), (0, 1));
}

// P-66
#[tokio::test(start_paused = true)]
async fn a_failed_probe_skips_the_batch_and_charges_no_attempt() {
    let stage = Stage::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let probe = move |_| {
        let first = count.fetch_add(1, Ordering::SeqCst) < 2;
        async move { if first { Err::<BTreeSet<ExecutionId>, BoxError>("away".into()) } else { Ok(BTreeSet::new()) } }
    };
    let (calls, queue) = counted(queue().poll_every(300 * SECOND).probe(probe));
    let running = stage.start(queue);
    // Its first look finds nothing; what wakes it from now on is told.
    stage.runtime.sleep(SECOND).await;
    let handle: QueueHandle<u32> = running.queue("q").expect("it was added");
    let id = put(&handle, 1).await;
    stage.runtime.sleep(SECOND).await;
    let item = stage.item(id).await;
    assert_eq!((item.state, item.attempt, item.fence.0), (State::Scheduled, 0, 1), "claimed and given back");
    // P-64: process now.
    handle.process_now();
    stage.runtime.sleep(SECOND).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let item = stage.ended(id).await;
    assert_eq!((item.state, item.attempt, calls.load(Ordering::SeqCst)), (State::Succeeded, 1, 1));
}

// P-64: an item of the same process need not wait for the poll.
#[tokio::test(start_paused = true)]
async fn an_enqueue_wakes_the_worker_of_its_process() {
    let stage = Stage::new();
    let (_, queue) = counted(queue().poll_every(3_600 * SECOND));
    let running = stage.start(queue);
    stage.runtime.sleep(SECOND).await;
    let began = stage.runtime.monotonic();
    let id = put(&running.queue("q").expect("it was added"), 1).await;
    stage.ended(id).await;
    assert!(stage.runtime.monotonic().since(began) < SECOND);
}

/// P-45: workers are per replica.
#[tokio::test(start_paused = true)]
async fn no_more_handlers_run_than_there_are_workers() {
    let stage = Stage::new();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (entered, highest) = (Arc::clone(&now), Arc::clone(&most));
    let running = stage.start(queue().workers(2).run(move |_, ctx: Context| {
        let (entered, highest) = (Arc::clone(&entered), Arc::clone(&highest));
        async move {
            highest.fetch_max(entered.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            ctx.sleep(SECOND).await;
            entered.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, HandlerError>(())
        }
    }));
    let handle: QueueHandle<u32> = running.queue("q").expect("it was added");
    let items: Vec<u32> = (0..7).collect();
    let outcomes = handle.enqueue_all(items.iter().map(|item| (item, ItemOptions::new()))).await.expect("stored");
    for outcome in outcomes {
        let EnqueueOutcome::Enqueued(id) = outcome else { panic!("{outcome:?}") };
        stage.ended(id).await;
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
    assert_eq!(now.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_running_handler_is_told_of_its_cancellation() {
    let stage = Stage::new();
    let running = stage.start(queue().run(|_, ctx: Context| async move {
        let reason = ctx.stopping().await;
        assert_eq!(reason, StopReason::Cancelled);
        Err::<(), _>(HandlerError::new("stopped"))
    }));
    let id = put(&running.queue("q").expect("it was added"), 1).await;
    stage.runtime.sleep(SECOND).await;
    let request = RequestId(stage.runtime.uuid());
    ask(&stage, request, Cancel { ids: vec![id], actor: None }).await.expect("memory cancels");
    assert_eq!(stage.ended(id).await.state, State::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_snooze_charges_nothing() {
    let stage = Stage::new();
    let running = stage.start(queue().max_attempts(1).run(|_, ctx: Context| async move {
        if ctx.fence().0 < 3 { Err(HandlerError::snooze(SECOND)) } else { Ok(()) }
    }));
    let id = put(&running.queue("q").expect("it was added"), 1).await;
    let item = stage.ended(id).await;
    assert_eq!((item.state, item.attempt, item.fence.0), (State::Succeeded, 1, 3));
}

// P-61, P-64: closed once the drain begins.
#[tokio::test(start_paused = true)]
async fn a_queue_takes_nothing_once_its_scheduler_stops() {
    let stage = Stage::new();
    let (_, queue) = counted(queue());
    let running = stage.start(queue);
    let handle: QueueHandle<u32> = running.queue("q").expect("it was added");
    running.stop().await.expect("nothing runs");
    assert!(matches!(handle.enqueue(&1).await, Err(EnqueueError::Closed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_found_by_name_and_type() {
    let stage = Stage::new();
    let (_, queue) = counted(queue());
    let running = stage.start(queue);
    assert_eq!(running.queue::<u32>("p").err(), Some(UnknownQueue::Name("p".to_owned())));
    assert_eq!(running.queue::<String>("q").err(), Some(UnknownQueue::Type("q".to_owned())));
}

// P-64: also when the process that ran it is gone.
#[tokio::test(start_paused = true)]
async fn exhaustion_is_told_by_whoever_rescues_the_item() {
    let stage = Stage::new();
    let hangs = |_: u32, _: Context| std::future::pending::<Result<(), HandlerError>>();
    let gone = stage.start(queue().delivery(Delivery::AtMostOnce).run(hangs));
    let handle: QueueHandle<u32> = gone.queue("q").expect("it was added");
    let id = put(&handle, 1).await;
    while stage.item(id).await.attempt == 0 {
        stage.runtime.sleep(SECOND / 10).await;
    }
    drop(gone);
    let heard = Heard::default();
    let queue = queue().delivery(Delivery::AtMostOnce).on_exhausted(heard.by("exhausted"));
    let (calls, queue) = counted(queue.on_failure(heard.by("failure")));
    let rescuer = stage.start(queue);
    assert_eq!(stage.ended(id).await.state, State::Dead);
    stage.runtime.sleep(SECOND).await;
    let told: Vec<_> = heard.all().into_iter().map(|(which, end)| (which, end.id, end.attempt, end.state)).collect();
    assert_eq!(told, [("exhausted", id, 1, State::Dead), ("failure", id, 1, State::Dead)]);
    assert_eq!(heard.all()[0].1.error.as_ref().map(|error| error.code.as_str()), Some("stale_timeout"));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    let handle: QueueHandle<u32> = rescuer.queue("q").expect("it was added");
    assert_eq!(handle.stats().exhausted, 1);
}
