//! Store and forward: what a client without a server is told, and what becomes of its parcels.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tourbillon::{
    driver::{Forwarded, Forwarder, ForwarderBuilder, Parcel},
    job::{BoxError, HandlerError},
    model::{ExecutionId, State},
    queue::EnqueueError,
};

use crate::stage::{Heard, Stage};

const MINUTE: Duration = Duration::from_secs(60);

/// What pushes reached, and whether they do.
#[derive(Clone, Default)]
struct Receiver {
    is_away: Arc<AtomicBool>,
    pushes: Arc<Mutex<Vec<(ExecutionId, u32, String)>>>,
}

impl Receiver {
    fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn pushes(&self) -> Vec<(ExecutionId, u32, String)> {
        self.pushes.lock().expect("no test panics here").clone()
    }

    fn forwarder(&self, stage: &Stage) -> ForwarderBuilder<String> {
        let receiver = self.clone();
        let push = move |parcel: Parcel<String>| {
            let pushed = (parcel.id, parcel.attempt, parcel.item);
            receiver.pushes.lock().expect("no test panics here").push(pushed);
            let is_away = receiver.is_away.load(Ordering::SeqCst);
            async move { if is_away { Err(HandlerError::new("away")) } else { Ok(()) } }
        };
        Forwarder::builder(stage.clone(), "outbox", push).runtime(stage.runtime.clone())
    }
}

async fn stored(forwarder: &Forwarder<String>, item: &str) -> ExecutionId {
    match forwarder.push_or_store(item.to_owned()).await {
        Ok(Forwarded::Stored(id)) => id,
        other => panic!("not stored: {other:?}"),
    }
}

// P-64
#[tokio::test(start_paused = true)]
async fn a_parcel_that_the_receiver_takes_is_not_stored() {
    let (stage, receiver) = (Stage::new(), Receiver::default());
    let forwarder = receiver.forwarder(&stage).start().expect("valid");
    let Ok(Forwarded::Delivered(id)) = forwarder.push_or_store("a".to_owned()).await else { panic!("delivered") };
    assert_eq!(receiver.pushes(), [(id, 0, "a".to_owned())]);
    let stats = forwarder.stats().await.expect("memory counts");
    assert_eq!((stats.live(), stats.succeeded), (0, 0));
}

// P-64, P-65, P-68: the usual waits, under one id.
#[tokio::test(start_paused = true)]
async fn a_parcel_that_is_not_delivered_is_stored_and_pushed_again_with_the_usual_waits() {
    let (stage, receiver) = (Stage::new(), Receiver::default());
    receiver.set_away(true);
    let forwarder = receiver.forwarder(&stage).start().expect("valid");
    let id = stored(&forwarder, "a").await;
    // Five minutes ±10 %, and at most one interval of the worker more.
    stage.runtime.sleep(4 * MINUTE).await;
    assert_eq!(receiver.pushes().len(), 1);
    stage.runtime.sleep(7 * MINUTE).await;
    assert_eq!(receiver.pushes().len(), 2);
    receiver.set_away(false);
    let item = stage.ended(id).await;
    assert_eq!((item.state, item.attempt), (State::Succeeded, 2));
    let waited = item.finished_at.expect("ended").since(item.created_at);
    assert!((9 * MINUTE..=22 * MINUTE).contains(&waited), "{waited:?}");
    assert!(receiver.pushes().iter().all(|(pushed, ..)| *pushed == id));
}

// P-64: ten attempts, exhaustion told first; a dead parcel is seen, requeued, cleaned.
#[tokio::test(start_paused = true)]
async fn a_parcel_is_given_up_after_ten_attempts_and_can_be_requeued() {
    let (stage, receiver, heard) = (Stage::new(), Receiver::default(), Heard::default());
    receiver.set_away(true);
    let builder = receiver.forwarder(&stage);
    let forwarder = builder
        .rules(|queue| queue.on_failure(heard.by("failure")).on_exhausted(heard.by("exhausted")))
        .start()
        .expect("valid");
    let id = stored(&forwarder, "a").await;
    assert_eq!((stage.ended(id).await.state, receiver.pushes().len()), (State::Dead, 11));
    let told: Vec<_> = heard.all().iter().map(|(which, end)| (*which, end.attempt)).collect();
    assert_eq!(told[8..], [("failure", 9), ("exhausted", 10), ("failure", 10)]);

    receiver.set_away(false);
    assert_eq!(forwarder.operator().requeue_dead(100).await.expect("memory requeues"), [id]);
    forwarder.process_now();
    assert_eq!(stage.ended(id).await.state, State::Succeeded);
    assert!(forwarder.operator().requeue_dead(100).await.expect("memory requeues").is_empty());
    assert_eq!(forwarder.clean().await.expect("memory cleans"), 0, "it is kept for seven days");
    let worker = forwarder.worker();
    assert_eq!((worker.attempts, worker.exhausted, worker.successes), (11, 1, 1));
}

// P-61, P-64: a thousand parcels; a duplicate is not pushed, and full comes before it.
#[tokio::test(start_paused = true)]
async fn a_parcel_that_waits_is_a_duplicate_and_the_queue_has_a_bound() {
    let (stage, receiver) = (Stage::new(), Receiver::default());
    receiver.set_away(true);
    let forwarder = receiver.forwarder(&stage).rules(|queue| queue.capacity(2)).start().expect("valid");
    let id = stored(&forwarder, "a").await;
    let pushes = receiver.pushes().len();
    assert!(matches!(forwarder.push_or_store("a".to_owned()).await, Ok(Forwarded::Duplicate(known)) if known == id));
    assert!(matches!(forwarder.store(&"a".to_owned()).await, Ok(Forwarded::Duplicate(known)) if known == id));
    assert_eq!(receiver.pushes().len(), pushes);
    assert!(matches!(forwarder.store(&"b".to_owned()).await, Ok(Forwarded::Stored(_))));
    assert!(matches!(forwarder.push_or_store("c".to_owned()).await, Err(EnqueueError::Full(_))));
}

// P-66
#[tokio::test(start_paused = true)]
async fn a_probe_delivers_without_a_push() {
    let (stage, receiver) = (Stage::new(), Receiver::default());
    receiver.set_away(true);
    let has_all = |items: Vec<(ExecutionId, Option<String>)>| async move {
        Ok::<_, BoxError>(items.into_iter().map(|(id, _)| id).collect::<BTreeSet<_>>())
    };
    let forwarder = receiver.forwarder(&stage).rules(|queue| queue.probe(has_all)).start().expect("valid");
    let id = stored(&forwarder, "a").await;
    assert_eq!(stage.ended(id).await.state, State::Succeeded);
    assert_eq!(receiver.pushes().len(), 1, "the one before it was stored");
}

// P-64: stop is idempotent, and what waits stays for the next start.
#[tokio::test(start_paused = true)]
async fn a_stopped_client_takes_nothing_and_the_next_one_goes_on() {
    let (stage, receiver) = (Stage::new(), Receiver::default());
    receiver.set_away(true);
    let first = receiver.forwarder(&stage).start().expect("valid");
    let id = stored(&first, "a").await;
    first.stop().await.expect("nothing hangs");
    first.stop().await.expect("there is nothing to do");
    assert!(matches!(first.push_or_store("b".to_owned()).await, Err(EnqueueError::Closed(_))));
    receiver.set_away(false);
    let _second = receiver.forwarder(&stage).start().expect("valid");
    assert_eq!(stage.ended(id).await.state, State::Succeeded);
}
