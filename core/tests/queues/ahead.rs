//! What a replica claims ahead of its workers, and what becomes of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tourbillon::{
    driver::Running,
    job::{Context, HandlerError},
    model::{Execution, State},
    plan::Backoff,
    queue::{Delivery, ItemOptions, Queue, RateLimit},
};

use crate::stage::Stage;

const WORKERS: u32 = 2;
const ROUND_TRIP: Duration = Duration::from_millis(5);
const HOUR: Duration = Duration::from_secs(3600);

fn queue() -> Queue<u32> {
    let backoff = Backoff::constant(Duration::from_secs(60)).without_jitter();
    Queue::new("q").workers(WORKERS).max_attempts(3).backoff(backoff)
}

/// The queue on a store that takes its time, with items `0..items` in it.
async fn backlog(queue: Queue<u32>, items: u32) -> (Stage, Running) {
    let stage = Stage::new();
    let running = stage.start(queue);
    let items: Vec<u32> = (0..items).collect();
    stage.answer_after(ROUND_TRIP);
    let handle = running.queue::<u32>("q").expect("it was added");
    let all = items.iter().map(|item| (item, ItemOptions::new()));
    handle.enqueue_all(all).await.expect("memory stores");
    (stage, running)
}

fn held(items: &[Execution]) -> Vec<&Execution> {
    items.iter().filter(|item| item.state == State::Running).collect()
}

fn is_started(item: &Execution) -> bool {
    item.lease.as_ref().is_some_and(|lease| lease.started_at.is_some())
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_quick_items_takes_few_claims() {
    let (stage, running) = backlog(queue().run(|_, _: Context| async { Ok::<_, HandlerError>(()) }), 1_000).await;
    while !stage.live().await.is_empty() {
        stage.runtime.sleep(ROUND_TRIP).await;
    }
    let claims = stage.calls_of("claim");
    assert!(claims < 30, "{claims} claims for 1,000 items and {WORKERS} workers");
    running.stop().await.expect("nothing runs");
}

#[tokio::test(start_paused = true)]
async fn without_prefetch_under_limits_and_for_slow_handlers_a_replica_holds_what_it_runs() {
    let quick_handler = |queue: Queue<u32>| queue.run(|_, _: Context| async { Ok::<_, HandlerError>(()) });
    let quick = [queue().prefetch(0), queue().concurrency(1_000), queue().concurrency_per_key(1_000)];
    let rate = RateLimit::per(1_000_000, Duration::from_secs(1)).burst(1_000_000);
    let quick = quick.into_iter().chain([queue().rate_limit(rate)]).map(quick_handler);
    let slow = queue().run(|_, ctx: Context| async move {
        ctx.sleep(ROUND_TRIP * 20).await;
        Ok::<_, HandlerError>(())
    });
    for queue in quick.chain([slow]) {
        let (stage, running) = backlog(queue, 60).await;
        loop {
            let live = stage.live().await;
            assert!(held(&live).len() <= 2 * WORKERS as usize, "{} rows are held", held(&live).len());
            if live.is_empty() {
                break;
            }
            stage.runtime.sleep(ROUND_TRIP / 2).await;
        }
        running.stop().await.expect("nothing runs");
    }
}

/// The first `quick` calls end at once, the others hang. Counts the calls.
fn hanging_after(queue: Queue<u32>, quick: u32) -> (Arc<AtomicU32>, Queue<u32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let queue = queue.run(move |_, ctx: Context| {
        let is_quick = counter.fetch_add(1, Ordering::SeqCst) < quick;
        async move {
            if !is_quick {
                ctx.sleep(HOUR).await;
            }
            Ok::<_, HandlerError>(())
        }
    });
    (calls, queue)
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_renewed_and_a_shutdown_gives_it_back_uncharged() {
    let second = Duration::from_secs(1);
    let queue = queue().run_timeout(60 * second).lease(70 * second).heartbeat(10 * second);
    let (calls, queue) = hanging_after(queue, 300);
    let (stage, running) = backlog(queue, 1_000).await;
    stage.runtime.sleep(150 * second).await;
    let live = stage.live().await;
    let waiting = held(&live).len();
    assert!(waiting > 10 * WORKERS as usize, "{waiting} are held");
    assert_eq!(running.running_handlers(), WORKERS as usize, "what waits does not run");
    let waits_since_long = |item: &&&Execution| item.attempt == 1 && item.fence.0 == 1;
    assert!(held(&live).iter().filter(waits_since_long).count() > waiting / 2, "no lease was lost meanwhile");
    running.shutdown(second).await.expect("all is given back");
    let live = stage.live().await;
    assert_eq!((live.len(), held(&live).len()), (700, 0));
    let timed_out = calls.load(Ordering::SeqCst) - 300 - WORKERS;
    assert_eq!(live.iter().map(|item| item.attempt).sum::<u32>(), timed_out, "what waited is uncharged");
}

/// Should the process die beside them, rows that wait have lost no attempt but their first.
#[tokio::test(start_paused = true)]
async fn a_row_that_could_lose_its_last_attempt_waits_unstarted() {
    let once = || queue().delivery(Delivery::AtMostOnce).max_attempts(1);
    for (queue, early) in [(queue(), true), (once(), false), (queue().max_attempts(1), false)] {
        let (_, queue) = hanging_after(queue.run_timeout(HOUR), 300);
        let (stage, running) = backlog(queue, 1_000).await;
        stage.runtime.sleep(Duration::from_secs(10)).await;
        let live = stage.live().await;
        let started = held(&live).iter().filter(|item| is_started(item)).count();
        assert!(held(&live).len() > WORKERS as usize, "{} are held", held(&live).len());
        if early {
            assert_eq!(started, held(&live).len(), "first attempts of several may be charged early");
        } else {
            assert_eq!(started, WORKERS as usize, "the others are started by their worker");
        }
        drop(running);
    }
}

/// After a failure, a crash perhaps, each row is started when it runs.
#[tokio::test(start_paused = true)]
async fn a_retry_waits_unstarted() {
    let calls = Arc::new(AtomicU32::new(0));
    let failing_once = queue().run_timeout(HOUR).run(move |_, ctx: Context| {
        let retries = calls.fetch_add(u32::from(ctx.attempt() > 1), Ordering::SeqCst);
        async move {
            if ctx.attempt() == 1 {
                return Err(HandlerError::new("the first time"));
            }
            if retries >= 200 {
                ctx.sleep(HOUR).await;
            }
            Ok(())
        }
    });
    let (stage, running) = backlog(failing_once, 800).await;
    stage.runtime.sleep(Duration::from_secs(300)).await;
    let live = stage.live().await;
    let (held, started): (Vec<_>, Vec<_>) =
        (held(&live), held(&live).into_iter().filter(|item| is_started(item)).collect());
    assert!(held.len() > WORKERS as usize, "{} are held", held.len());
    assert_eq!(started.len(), WORKERS as usize);
    drop(running);
}
