//! What a replica does while its queue waits for turns.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tourbillon::{
    driver::Running,
    job::{Context, HandlerError},
    queue::{ItemOptions, Queue, RateLimit},
    runtime::Monotonic,
};

use crate::stage::Stage;

const ROUND_TRIP: Duration = Duration::from_millis(5);
const SECOND: Duration = Duration::from_secs(1);

/// When handlers began.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<Vec<(u32, Monotonic)>>>);

impl Begun {
    fn all(&self) -> Vec<(u32, Monotonic)> {
        self.0.lock().expect("no test panics here").clone()
    }
}

/// Two replicas of a queue that polls once a minute, with items `0..items` in it; `key` says which key an item has.
async fn start(
    rules: impl Fn(Queue<u32>) -> Queue<u32>,
    items: u32,
    key: fn(u32) -> String,
) -> (Stage, Vec<Running>, Begun) {
    let (stage, begun) = (Stage::new(), Begun::default());
    stage.answer_after(ROUND_TRIP);
    let queue = || {
        let (begun, runtime) = (begun.clone(), stage.runtime.clone());
        rules(Queue::new("q").poll_every(60 * SECOND)).run(move |item, _: Context| {
            begun.0.lock().expect("no test panics here").push((item, runtime.monotonic()));
            async { Ok::<_, HandlerError>(()) }
        })
    };
    let replicas = vec![stage.start(queue()), stage.start(queue())];
    let items: Vec<(u32, ItemOptions)> = (0..items).map(|n| (n, ItemOptions::new().key(&key(n)))).collect();
    let handle = replicas[0].queue::<u32>("q").expect("it was added");
    handle.enqueue_all(items.iter().map(|(n, options)| (n, options.clone()))).await.expect("memory stores");
    (stage, replicas, begun)
}

async fn stop(replicas: Vec<Running>) {
    for replica in replicas {
        replica.stop().await.expect("nothing runs");
    }
}

#[tokio::test(start_paused = true)]
async fn items_begin_at_the_rate_and_nobody_asks_in_between() {
    let each_second = |queue: Queue<u32>| queue.rate_limit(RateLimit::per(1, SECOND));
    let (stage, replicas, begun) = start(each_second, 20, |_| String::new()).await;
    stage.runtime.sleep(15 * SECOND).await;
    let at: Vec<Monotonic> = begun.all().iter().map(|(_, at)| *at).collect();
    assert!(at.windows(2).all(|two| two[1].since(two[0]) >= SECOND - ROUND_TRIP * 2), "{at:?}");
    assert!((14..=16).contains(&at.len()), "{} began in 15 s", at.len());
    let claims = stage.calls_of("claim");
    assert!(claims <= 3 * 16, "{claims} claims of two replicas for {} turns", at.len());
    stop(replicas).await;
}

#[tokio::test(start_paused = true)]
async fn notices_of_a_queue_that_waits_for_its_turn_wake_nobody() {
    let each_hour = |queue: Queue<u32>| queue.rate_limit(RateLimit::per(1, 3_600 * SECOND));
    let (stage, replicas, begun) = start(each_hour, 2, |_| String::new()).await;
    stage.runtime.sleep(SECOND).await;
    assert_eq!(begun.all().len(), 1);
    stage.calls_of("claim");
    let handle = replicas[1].queue::<u32>("q").expect("it was added");
    for n in 0..50 {
        handle.enqueue(&n).await.expect("memory stores");
    }
    stage.runtime.sleep(SECOND).await;
    assert_eq!(stage.calls_of("claim"), 0);
    // But for the poll, which sees what no notice tells.
    stage.runtime.sleep(70 * SECOND).await;
    assert!((1..=4).contains(&stage.calls_of("claim")));
    stop(replicas).await;
}

#[tokio::test(start_paused = true)]
async fn each_key_begins_at_a_rate_of_its_own() {
    let per_key = |queue: Queue<u32>| queue.rate_limit_per_key(RateLimit::per(2, SECOND).burst(2));
    let (stage, replicas, begun) = start(per_key, 40, |n| format!("key {}", n % 2)).await;
    stage.runtime.sleep(4 * SECOND).await;
    for key in 0..2 {
        let begun = begun.all().iter().filter(|(n, _)| n % 2 == key).count();
        assert!((8..=10).contains(&begun), "{begun} of key {key} began in 4 s");
    }
    let claims = stage.calls_of("claim");
    assert!(claims <= 80, "{claims} claims for two keys");
    stop(replicas).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_costs_no_turn() {
    let each_second = |queue: Queue<u32>| queue.rate_limit(RateLimit::per(1, SECOND));
    let (stage, replicas, begun) = start(each_second, 20, |_| String::new()).await;
    stage.lose_answers_to(Some("claim"));
    stage.runtime.sleep(5 * SECOND).await;
    stage.lose_answers_to(None);
    stage.runtime.sleep(10 * SECOND).await;
    // Whatever was claimed meanwhile is found by repeating the claim; what a replica can ask for waits for that.
    assert!(begun.all().len() >= 10, "{} began in 15 s", begun.all().len());
    stop(replicas).await;
}
