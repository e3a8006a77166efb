//! What notices do to workers, and what they must not: hints that are heard, missed, too many, or in vain.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tourbillon::{
    driver::{Running, Scheduler, Settings, WakeUps},
    job::{BoxError, Context, HandlerError},
    model::{ExecutionId, State},
    queue::{Enqueuer, Queue},
    store::EnqueueOutcome,
};

use crate::stage::{CONNECTING, Hearing, Stage};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn worker(stage: &Stage, settings: Settings) -> Running {
    let queue = Queue::<u32>::new("q").run(|_, _: Context| async { Ok::<_, HandlerError>(()) });
    start(stage, queue, settings)
}

fn start(stage: &Stage, queue: Queue<u32>, settings: Settings) -> Running {
    let builder = Scheduler::builder(stage.clone()).runtime(stage.runtime.clone()).settings(settings);
    builder.queue(queue).build().expect("valid").start()
}

fn rarely_polling() -> Settings {
    Settings { poll_interval: HOUR, probe_interval: 10 * SECOND, ..Settings::default() }
}

/// As another process does: no worker of this one is woken by it.
async fn enqueue(stage: &Stage) -> ExecutionId {
    let elsewhere = Enqueuer::new(stage.clone(), stage.runtime.clone(), &Queue::<u32>::new("q")).expect("valid");
    match elsewhere.enqueue(&7).await {
        Ok(EnqueueOutcome::Enqueued(id)) => id,
        other => panic!("not enqueued: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_process_enqueues_is_started_long_before_the_poll() {
    let stage = Stage::new();
    stage.hear(Hearing::Good);
    let running = worker(&stage, rarely_polling());
    stage.runtime.sleep(60 * SECOND).await;
    let id = enqueue(&stage).await;
    stage.runtime.sleep(SECOND / 2).await;
    assert_eq!(stage.item(id).await.state, State::Succeeded);
    running.stop().await.expect("nothing runs");
}

#[tokio::test(start_paused = true)]
async fn who_only_polls_does_not_listen() {
    let stage = Stage::new();
    stage.hear(Hearing::Good);
    let settings = Settings { wake_ups: WakeUps::PollOnly, poll_interval: 60 * SECOND, ..Settings::default() };
    let running = worker(&stage, settings);
    stage.runtime.sleep(SECOND).await;
    let id = enqueue(&stage).await;
    stage.runtime.sleep(50 * SECOND).await;
    assert_eq!(stage.item(id).await.state, State::Scheduled);
    stage.runtime.sleep(20 * SECOND).await;
    assert_eq!((stage.item(id).await.state, stage.calls_of("listen")), (State::Succeeded, 0));
    drop(running);
}

/// Zoo B30.
#[tokio::test(start_paused = true)]
async fn a_silent_listener_is_found_and_what_it_missed_is_looked_for() {
    let stage = Stage::new();
    stage.hear(Hearing::Silent);
    let running = worker(&stage, rarely_polling());
    stage.runtime.sleep(SECOND).await;
    let id = enqueue(&stage).await;
    stage.hear(Hearing::Good);
    stage.runtime.sleep(10 * SECOND).await;
    assert_eq!(stage.item(id).await.state, State::Scheduled, "nobody has noticed yet");
    // The probe's deadline, and the pause before listening again.
    stage.runtime.sleep(6 * SECOND).await;
    assert_eq!(stage.item(id).await.state, State::Succeeded);
    drop(running);
}

/// Between a crew's first look and the first listener nobody here hears anything.
#[tokio::test(start_paused = true)]
async fn what_is_enqueued_before_the_first_listener_stands_is_looked_for_when_it_does() {
    let stage = Stage::new();
    stage.hear(Hearing::Late);
    let running = worker(&stage, rarely_polling());
    stage.runtime.sleep(CONNECTING / 2).await;
    assert_eq!((stage.calls_of("listen"), stage.calls_of("claim")), (1, 1));
    let id = enqueue(&stage).await;
    stage.runtime.sleep(SECOND).await;
    assert_eq!((stage.item(id).await.state, stage.calls_of("listen")), (State::Succeeded, 0));
    drop(running);
}

/// And is not spent before: here the listener stands while the first claim is under way.
#[tokio::test(start_paused = true)]
async fn who_begins_to_listen_looks_once_and_after_its_first_claim() {
    let stage = Stage::new();
    stage.hear(Hearing::Late);
    stage.answer_after(2 * CONNECTING);
    let running = worker(&stage, rarely_polling());
    stage.runtime.sleep(5 * SECOND).await;
    assert_eq!((stage.calls_of("listen"), stage.calls_of("claim")), (1, 2));
    drop(running);
}

/// Its crews looked when they started, and nobody here heard what came behind that.
#[tokio::test(start_paused = true)]
async fn who_listens_late_looks_for_what_it_missed() {
    let stage = Stage::new();
    stage.hear(Hearing::Refused);
    let running = worker(&stage, rarely_polling());
    stage.runtime.sleep(SECOND / 20).await;
    assert_eq!((stage.calls_of("listen"), stage.calls_of("claim")), (1, 1));
    let id = enqueue(&stage).await;
    stage.hear(Hearing::Good);
    stage.runtime.sleep(SECOND).await;
    assert_eq!(stage.item(id).await.state, State::Succeeded);
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_breaks_over_and_over_wakes_nobody_over_and_over() {
    let stage = Stage::new();
    stage.hear(Hearing::Breaking);
    let running = worker(&stage, rarely_polling());
    stage.runtime.sleep(60 * SECOND).await;
    let (listened, claimed) = (stage.calls_of("listen"), stage.calls_of("claim"));
    assert!((3..=12).contains(&listened) && claimed <= listened + 1, "{listened} listeners, {claimed} claims");
    drop(running);
}

/// Zoo B34.
#[tokio::test(start_paused = true)]
async fn a_burst_of_notices_is_a_few_looks() {
    let stage = Stage::new();
    stage.hear(Hearing::Good);
    let running: Vec<_> = (0..5).map(|_| worker(&stage, rarely_polling())).collect();
    stage.runtime.sleep(SECOND).await;
    stage.calls_of("claim");
    let mut last = None;
    for _ in 0..100 {
        last = Some(enqueue(&stage).await);
    }
    stage.runtime.sleep(SECOND).await;
    assert_eq!(stage.item(last.expect("a hundred")).await.state, State::Succeeded);
    let claims = stage.calls_of("claim");
    // A worker of 10 has to come back for more, and finds once that there is none.
    assert!(claims <= 5 * 12, "{claims} claims for 100 items");
    drop(running);
}

/// A claim that got less than it asked for has got all: none follows but that for what an end may have made due.
#[tokio::test(start_paused = true)]
async fn an_item_that_comes_alone_costs_a_claim_and_a_look_behind_it() {
    let stage = Stage::new();
    stage.hear(Hearing::Good);
    let running = worker(&stage, rarely_polling());
    stage.runtime.sleep(SECOND).await;
    stage.calls_of("claim");
    stage.answer_after(Duration::from_millis(1));
    for _ in 0..20 {
        let id = enqueue(&stage).await;
        stage.runtime.sleep(SECOND).await;
        assert_eq!(stage.item(id).await.state, State::Succeeded);
    }
    let claims = stage.calls_of("claim");
    assert!(claims <= 2 * 20, "{claims} claims for 20 items that come one by one");
    drop(running);
}

/// Giving back is noticed by all, also by who gave back.
#[tokio::test(start_paused = true)]
async fn what_nobody_can_run_is_not_passed_round_in_circles() {
    let stage = Stage::new();
    stage.hear(Hearing::Good);
    let asked = Arc::new(AtomicUsize::new(0));
    let queue = || {
        let asked = Arc::clone(&asked);
        Queue::<u32>::new("q").run(|_, _: Context| async { Ok::<_, HandlerError>(()) }).probe(move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            async { Err::<BTreeSet<ExecutionId>, BoxError>("the receiver is away".into()) }
        })
    };
    let settings = Settings { poll_interval: 10 * SECOND, ..Settings::default() };
    let running: Vec<_> = (0..3).map(|_| start(&stage, queue(), settings.clone())).collect();
    stage.runtime.sleep(SECOND).await;
    enqueue(&stage).await;
    stage.runtime.sleep(60 * SECOND).await;
    let asked = asked.load(Ordering::SeqCst);
    // Each looks once every five seconds: told by the others, or by its poll.
    assert!((6..=3 * 16).contains(&asked), "{asked} probes of three workers in a minute");
    drop(running);
}
