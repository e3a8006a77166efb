//! What it costs a replica to wait for work, and that each crew is looked for in its own time all the same.

use std::{ops::RangeInclusive, time::Duration};

use tourbillon::{
    driver::{Running, Scheduler, Settings, WakeUps},
    job::{Context, HandlerError, Job},
    model::{ExecutionId, State},
    queue::{Enqueuer, Queue},
    store::{EnqueueOutcome, Verb},
};

use crate::stage::{Hearing, Stage};

const SECOND: Duration = Duration::from_secs(1);

fn queue(name: &str) -> Queue<u32> {
    Queue::<u32>::new(name).run(|_, _: Context| async { Ok::<_, HandlerError>(()) })
}

fn start(stage: &Stage, queues: impl IntoIterator<Item = Queue<u32>>, settings: Settings) -> Running {
    let builder = Scheduler::builder(stage.clone()).runtime(stage.runtime.clone()).settings(settings);
    queues.into_iter().fold(builder, tourbillon::driver::SchedulerBuilder::queue).build().expect("valid").start()
}

/// As another process does, of which nobody is told.
async fn enqueue(stage: &Stage, name: &str) -> ExecutionId {
    let elsewhere = Enqueuer::new(stage.clone(), stage.runtime.clone(), &queue(name)).expect("valid");
    match elsewhere.enqueue(&7).await {
        Ok(EnqueueOutcome::Enqueued(id)) => id,
        other => panic!("not enqueued: {other:?}"),
    }
}

/// Calls of all verbs since this was last asked.
fn calls(stage: &Stage) -> u32 {
    Verb::NAMES.iter().map(|verb| stage.calls_of(verb)).sum()
}

async fn looks(stage: &Stage, per: Duration) -> u32 {
    stage.calls_of("read_due");
    stage.runtime.sleep(per).await;
    stage.calls_of("read_due")
}

#[tokio::test(start_paused = true)]
async fn an_idle_replica_with_many_jobs_and_queues_calls_less_than_once_a_second() {
    let stage = Stage::new();
    stage.hear(Hearing::Good);
    let day = |n: u32| Job::new(&format!("job {n}")).every(86_400 * SECOND).begin_with_next_slot();
    let mut builder = Scheduler::builder(stage.clone()).runtime(stage.runtime.clone());
    for n in 0..100 {
        builder = builder.job(day(n).run(|_| async { Ok::<_, HandlerError>(()) }));
    }
    for n in 0..20 {
        builder = builder.queue(queue(&format!("queue {n}")));
    }
    let running = builder.build().expect("valid").start();
    stage.runtime.sleep(60 * SECOND).await;
    calls(&stage);
    stage.runtime.sleep(600 * SECOND).await;
    let calls = calls(&stage);
    assert!(calls < 540, "{calls} calls in ten minutes");
    running.stop().await.expect("nothing runs");
}

/// A tenth more than the interval, and what the look and the claim take.
#[tokio::test(start_paused = true)]
async fn an_item_that_nobody_told_of_is_started_within_a_poll_whichever_its_queue() {
    let stage = Stage::new();
    stage.answer_after(Duration::from_millis(5));
    let settings = Settings { wake_ups: WakeUps::PollOnly, ..Settings::default() };
    let bound = settings.poll_interval * 11 / 10 + Duration::from_millis(50);
    let names: Vec<_> = (0..20).map(|n| format!("queue {n}")).collect();
    let running = start(&stage, names.iter().map(|name| queue(name)), settings);
    for name in &names {
        stage.runtime.sleep(Duration::from_millis(730)).await;
        let id = enqueue(&stage, name).await;
        stage.runtime.sleep(bound).await;
        assert_eq!(stage.item(id).await.state, State::Succeeded, "{name}");
    }
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn a_look_wakes_those_only_for_whom_something_is_due() {
    let stage = Stage::new();
    let running = start(&stage, ["a", "b", "c"].map(queue), Settings::default());
    stage.runtime.sleep(10 * SECOND).await;
    assert_eq!(stage.calls_of("claim"), 3, "each looks for itself once, when it starts");
    let id = enqueue(&stage, "b").await;
    stage.ended(id).await;
    let claims = stage.calls_of("claim");
    assert!((1..=4).contains(&claims), "{claims} claims: of b, until it has ended and there is nothing more");
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn queues_with_intervals_of_their_own_share_the_looks_of_the_quickest() {
    let stage = Stage::new();
    let slow = || queue("slow").poll_every(10 * SECOND);
    let quick = || queue("quick").poll_every(SECOND);
    let within = |range: RangeInclusive<u32>, looks: u32| assert!(range.contains(&looks), "{looks} looks");
    let running = start(&stage, [slow()], Settings::default());
    within(9..=11, looks(&stage, 100 * SECOND).await);
    drop(running);
    let running = start(&stage, [slow(), quick()], Settings::default());
    within(90..=112, looks(&stage, 100 * SECOND).await);
    // What is seldom looked for is not looked for more often by that.
    let mut waits = Vec::new();
    for _ in 0..10 {
        let (id, before) = (enqueue(&stage, "slow").await, stage.runtime.monotonic());
        stage.ended(id).await;
        waits.push(stage.runtime.monotonic().since(before));
    }
    assert!(waits.iter().all(|wait| *wait <= 11 * SECOND + SECOND / 5), "{waits:?}");
    assert!(waits.iter().sum::<Duration>() > 60 * SECOND, "{waits:?}");
    drop(running);
}

/// A crew without room is not looked for, and is again when it has some.
#[tokio::test(start_paused = true)]
async fn a_busy_crew_is_not_looked_for() {
    let stage = Stage::new();
    let busy = Queue::<u32>::new("busy").workers(1).run(|_, ctx: Context| async move {
        ctx.sleep(100 * SECOND).await;
        Ok::<_, HandlerError>(())
    });
    let running = start(&stage, [busy], Settings::default());
    enqueue(&stage, "busy").await;
    let second = enqueue(&stage, "busy").await;
    stage.runtime.sleep(5 * SECOND).await;
    assert_eq!(looks(&stage, 90 * SECOND).await, 0);
    stage.runtime.sleep(20 * SECOND).await;
    assert_eq!(stage.item(second).await.state, State::Running);
    drop(running);
}

/// A database that does not answer for a while, and then does.
#[tokio::test(start_paused = true)]
async fn looks_go_on_after_answers_were_lost() {
    let stage = Stage::new();
    let running = start(&stage, [queue("q")], Settings::default());
    stage.runtime.sleep(SECOND).await;
    stage.lose_answers_to(Some("read_due"));
    let id = enqueue(&stage, "q").await;
    stage.runtime.sleep(60 * SECOND).await;
    assert_eq!(stage.item(id).await.state, State::Scheduled);
    stage.lose_answers_to(None);
    stage.runtime.sleep(5 * SECOND).await;
    assert_eq!(stage.item(id).await.state, State::Succeeded);
    drop(running);
}
