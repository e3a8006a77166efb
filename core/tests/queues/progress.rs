//! How far an attempt says it is: what its heartbeats carry, and how often.

use std::time::Duration;

use tourbillon::{
    driver::Running,
    job::{Context, HandlerError},
    model::{ExecutionId, Progress, Reported, State},
    plan::Backoff,
    queue::Queue,
    store::EnqueueOutcome,
};

use crate::stage::Stage;

const SECOND: Duration = Duration::from_secs(1);

/// Counts to eight, a second each, twice over; says so four times a second. It beats every two seconds.
fn counting() -> Queue<u32> {
    let queue = Queue::new("q").heartbeat(2 * SECOND).lease(20 * SECOND).run_timeout(15 * SECOND);
    queue.backoff(Backoff::constant(SECOND).without_jitter()).run(|_: u32, ctx: Context| async move {
        for n in 0..32_u32 {
            ctx.progress(Progress::new(&format!("attempt {}, {n}", ctx.attempt())).done(f64::from(n) / 32.0));
            ctx.sleep(SECOND / 4).await;
        }
        if ctx.attempt() == 1 { Err(HandlerError::new("not yet")) } else { Ok(()) }
    })
}

async fn begin(stage: &Stage) -> (Running, ExecutionId) {
    let running = stage.start(counting());
    let to = running.queue::<u32>("q").expect("it was added").enqueuer().clone();
    match to.enqueue(&7).await {
        Ok(EnqueueOutcome::Enqueued(id)) => (running, id),
        other => panic!("not enqueued: {other:?}"),
    }
}

fn note(said: Option<&Reported>) -> Option<&str> {
    said.map(|said| said.progress.note())
}

#[tokio::test(start_paused = true)]
async fn heartbeats_carry_the_last_word_and_are_no_more_than_without() {
    let stage = Stage::new();
    let (running, id) = begin(&stage).await;
    stage.runtime.sleep(SECOND * 3).await;
    let row = stage.item(id).await;
    assert_eq!(row.state, State::Running);
    let said = note(row.progress.as_ref()).expect("a heartbeat has come").to_owned();
    assert!(said.starts_with("attempt 1, "), "{said}");
    stage.runtime.sleep(SECOND * 2).await;
    let later = stage.item(id).await.progress.expect("it stays");
    assert_ne!(later.progress.note(), said);
    // The attempt ends; what it said last before a beat stays until the next one begins.
    stage.runtime.sleep(SECOND * 3 + SECOND / 2).await;
    let row = stage.item(id).await;
    assert_eq!(
        (row.state, note(row.progress.as_ref()).map(|note| &note[..9])),
        (State::Retryable, Some("attempt 1"))
    );
    let row = stage.ended(id).await;
    assert_eq!(
        (row.state, note(row.progress.as_ref()).map(|note| &note[..9])),
        (State::Succeeded, Some("attempt 2"))
    );
    let beats = stage.calls_of("heartbeat");
    assert!((6..=8).contains(&beats), "two attempts of eight seconds, a beat every two: {beats}");
    running.stop().await.expect("nothing runs");
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_heartbeat_carried_goes_with_the_next() {
    let stage = Stage::new();
    let queue = Queue::new("q").heartbeat(2 * SECOND).lease(20 * SECOND).run_timeout(15 * SECOND);
    let running = stage.start(queue.run(|_: u32, ctx: Context| async move {
        ctx.progress(Progress::new("said once"));
        ctx.sleep(SECOND * 12).await;
        Ok::<_, HandlerError>(())
    }));
    let to = running.queue::<u32>("q").expect("it was added").enqueuer().clone();
    stage.refuse("heartbeat", true);
    let Ok(EnqueueOutcome::Enqueued(id)) = to.enqueue(&7).await else { panic!("not enqueued") };
    stage.runtime.sleep(SECOND * 5).await;
    assert_eq!(stage.item(id).await.progress, None);
    stage.refuse("heartbeat", false);
    stage.runtime.sleep(SECOND * 3).await;
    assert_eq!(note(stage.item(id).await.progress.as_ref()), Some("said once"));
    running.stop().await.expect("it ends in time");
}
