//! Queues that keep little of what has ended: what their workers and producers are told, and which rules do not go with it.

use std::time::Duration;

use tourbillon::{
    driver::{BuildError, Forwarder, Parcel},
    job::{Context, HandlerError},
    model::{ExecutionId, RequestId, Retention, State},
    plan::Backoff,
    queue::{EnqueueError, Enqueuer, ItemOptions, Queue, Unique},
    store::{Counts, EnqueueOutcome, ListExecutions, MAX_BATCH, ask},
};
use uuid::Uuid;

use crate::stage::{Heard, Stage};

/// Item 0 succeeds, the others fail.
fn queue(retain: Retention) -> Queue<u32> {
    let queue = Queue::new("q").retain(retain).max_attempts(2).backoff(Backoff::constant(Duration::from_secs(1)));
    queue.run(|item: u32, _: Context| async move { if item == 0 { Ok(()) } else { Err(HandlerError::new("no")) } })
}

/// What is there of items 0 and 1 once both have ended, and what was told of them.
async fn left_by(retain: Retention) -> (Vec<State>, Vec<(&'static str, State)>) {
    let (stage, heard) = (Stage::new(), Heard::default());
    let told = |queue: Queue<u32>| queue.on_success(heard.by("success")).on_exhausted(heard.by("exhausted"));
    let running = stage.start(told(queue(retain)));
    let handle = running.queue::<u32>("q").expect("it was added");
    for item in [0, 1] {
        assert!(matches!(handle.enqueue(&item).await, Ok(EnqueueOutcome::Enqueued(_))));
    }
    stage.runtime.sleep(Duration::from_secs(60)).await;
    running.stop().await.expect("nothing runs");
    let list = ListExecutions { limit: MAX_BATCH, ..ListExecutions::default() };
    let page = ask(&stage, RequestId(Uuid::nil()), list).await.expect("memory lists");
    let mut states: Vec<_> = page.executions.iter().map(|row| row.state).collect();
    states.sort();
    (states, heard.all().into_iter().map(|(which, end)| (which, end.state)).collect())
}

#[tokio::test(start_paused = true)]
async fn what_is_not_retained_is_told_all_the_same() {
    let told = vec![("success", State::Succeeded), ("exhausted", State::Dead)];
    let both = vec![State::Succeeded, State::Dead];
    assert_eq!(left_by(Retention::Everything).await, (both, told.clone()));
    assert_eq!(left_by(Retention::Failures).await, (vec![State::Dead], told.clone()));
    assert_eq!(left_by(Retention::Nothing).await, (vec![], told));
}

#[test]
fn keys_that_count_what_is_forgotten_are_refused() {
    let stage = Stage::new();
    let refused = |retain, counts| {
        let queue = Queue::<u32>::new("q").retain(retain).unique(Unique::by_payload().counting(counts));
        Enqueuer::new(stage.clone(), stage.runtime.clone(), &queue).err().map(|error| error.to_string())
    };
    let mend = "queue `q`: its unique keys count finished items, and it does not retain them: let them count live ones, or retain everything";
    for counts in [Counts::Succeeded, Counts::Finished] {
        assert_eq!(refused(Retention::Failures, counts).as_deref(), Some(mend));
        assert_eq!(refused(Retention::Everything, counts), None);
    }
    assert_eq!(refused(Retention::Nothing, Counts::Live), None);
}

/// It would be a new item once the first has gone, and run twice.
#[tokio::test(start_paused = true)]
async fn an_id_of_the_caller_s_own_is_refused_where_it_would_be_forgotten() {
    let stage = Stage::new();
    let own = || ItemOptions::new().id(ExecutionId(Uuid::from_u128(7)));
    for retain in [Retention::Failures, Retention::Nothing] {
        let to = Enqueuer::new(stage.clone(), stage.runtime.clone(), &Queue::new("q").retain(retain)).expect("valid");
        let Err(EnqueueError::Invalid { reason, .. }) = to.enqueue_with(&1, own()).await else {
            panic!("not refused")
        };
        assert!(reason.ends_with("leave the id out, or retain everything"), "{reason}");
        assert!(matches!(to.enqueue(&1).await, Ok(EnqueueOutcome::Enqueued(_))));
    }
    let to = Enqueuer::new(stage.clone(), stage.runtime.clone(), &Queue::new("q")).expect("valid");
    assert!(matches!(to.enqueue_with(&1, own()).await, Ok(EnqueueOutcome::Enqueued(_))));
}

#[tokio::test(start_paused = true)]
async fn a_forwarder_retains_everything() {
    let stage = Stage::new();
    let push = |_: Parcel<u32>| async { Ok::<_, HandlerError>(()) };
    let builder = Forwarder::builder(stage.clone(), "outbox", push).runtime(stage.runtime.clone());
    let refused = builder.rules(|queue| queue.retain(Retention::Failures)).start();
    let Err(error @ BuildError::Queue(_)) = refused else { panic!("not refused") };
    assert_eq!(
        error.to_string(),
        "queue `outbox`: a forwarder's parcels must be known by their ids after they were delivered: retain everything"
    );
}
