//! What producers are told: order of checks, duplicates, options, errors of the rules.

use std::time::Duration;

use tourbillon::{
    job::{Context, HandlerError},
    model::{Limit, Scope, Timestamp},
    plan::Backoff,
    queue::{Delivery, EnqueueError, Enqueuer, ItemOptions, Queue, RateLimit, Unique},
    store::{Counts, EnqueueOutcome},
};

use crate::stage::Stage;

const SECOND: Duration = Duration::from_secs(1);

fn producer(stage: &Stage, queue: &Queue<String>) -> Enqueuer<String> {
    Enqueuer::new(stage.clone(), stage.runtime.clone(), queue).expect("valid rules")
}

fn large() -> String {
    "x".repeat(20_000)
}

// P-61: closed, invalid, full, duplicate.
#[tokio::test(start_paused = true)]
async fn checks_come_in_order() {
    let stage = Stage::new();
    let to = producer(&stage, &Queue::new("q").capacity(1).unique(Unique::by_payload()));
    let first = to.enqueue(&"a".to_owned()).await.expect("there is room");
    assert!(matches!(to.enqueue(&"a".to_owned()).await, Err(EnqueueError::Full(_))), "full before duplicate");
    assert!(matches!(to.enqueue(&large()).await, Err(EnqueueError::Invalid { .. })), "invalid before full");
    to.clone().close();
    assert!(matches!(to.enqueue(&large()).await, Err(EnqueueError::Closed(_))), "closed before invalid");

    let roomy = producer(&stage, &Queue::new("q").capacity(9).unique(Unique::by_payload()));
    let EnqueueOutcome::Enqueued(id) = first else { panic!("{first:?}") };
    assert_eq!(roomy.enqueue(&"a".to_owned()).await, Ok(EnqueueOutcome::Duplicate(id)), "with the existing id");
    assert!(matches!(roomy.enqueue(&"b".to_owned()).await, Ok(EnqueueOutcome::Enqueued(_))));
}

// P-61, P-69
#[tokio::test(start_paused = true)]
async fn a_fingerprint_is_the_payload_s_unless_given_and_can_be_left_out() {
    let stage = Stage::new();
    let text = |text: &str| text.to_owned();
    let is_new = |outcome: Result<EnqueueOutcome, _>| matches!(outcome, Ok(EnqueueOutcome::Enqueued(_)));
    let to = producer(&stage, &Queue::new("q").unique(Unique::by_payload()));
    assert!(is_new(to.enqueue(&text("a")).await));
    assert!(!is_new(to.enqueue(&text("a")).await));
    assert!(is_new(to.enqueue_with(&text("a"), ItemOptions::new().unique_key("mine")).await));
    assert!(!is_new(to.enqueue_with(&text("b"), ItemOptions::new().unique_key("mine")).await));
    assert!(is_new(to.enqueue_with(&text("a"), ItemOptions::new().never_duplicate()).await));

    let off = producer(&stage, &Queue::new("off"));
    assert!(is_new(off.enqueue(&text("a")).await) && is_new(off.enqueue(&text("a")).await));

    let keyed = producer(&stage, &Queue::new("keyed").unique(Unique::by_key(|item: &String| item[..1].to_owned())));
    assert!(is_new(keyed.enqueue(&text("a1")).await));
    assert!(!is_new(keyed.enqueue(&text("a2")).await));
    assert!(is_new(keyed.enqueue(&text("b1")).await));
}

#[tokio::test(start_paused = true)]
async fn a_period_and_what_counts_are_the_store_s() {
    let stage = Stage::new();
    let unique = Unique::by_payload().within(SECOND).counting(Counts::Finished);
    let to = producer(&stage, &Queue::new("q").unique(unique));
    let request = to.request([(&"a".to_owned(), ItemOptions::new())]).expect("valid");
    let unique = request.items[0].unique.as_ref().expect("unique");
    assert_eq!((unique.period_ms, unique.counts), (Some(1_000), Counts::Finished));
    assert!(unique.key.starts_with(r#"["q","payload","#), "{}", unique.key);
}

#[tokio::test(start_paused = true)]
async fn options_go_before_the_queue_s_rules() {
    let stage = Stage::new();
    let queue =
        Queue::new("q").ttl(60 * SECOND).priority(3).concurrency_per_key(2).max_attempts(7).lease(90 * SECOND);
    let to = producer(&stage, &queue);
    let scope = Scope::new("agent", "7").expect("a plain scope");
    let at = Timestamp::from_secs(1_800_000_100);
    let options = ItemOptions::new().run_at(at).ttl(9 * SECOND).priority(-1).key("smtp").scope(scope.clone());
    let EnqueueOutcome::Enqueued(id) = to.enqueue_with(&"a".to_owned(), options).await.expect("stored") else {
        panic!("it is the first")
    };
    let item = stage.item(id).await;
    assert_eq!((item.scope, item.due_at, item.priority), (scope, at, -1));
    assert_eq!(item.expires_at, Some(item.created_at + 9 * SECOND));
    assert_eq!((item.policy.max_attempts, item.policy.lease_ms), (7, 90_000));
    assert_eq!(item.policy.limit, Some(Limit { key: r#"["q","smtp"]"#.to_owned(), max: 2 }));
    assert_eq!(item.payload.map(|json| json.as_str().to_owned()), Some(r#""a""#.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_id_of_the_caller_s_own_makes_a_repetition_a_duplicate() {
    let stage = Stage::new();
    let to = producer(&stage, &Queue::new("q"));
    let id = tourbillon::model::ExecutionId(stage.runtime.uuid());
    let item = String::new();
    let once = || to.enqueue_with(&item, ItemOptions::new().id(id));
    stage.lose_answers_to(Some("enqueue"));
    let lost = once().await.expect_err("no answer arrives");
    assert!(matches!(&lost, EnqueueError::Store(error) if error.is_transient()), "{lost}");
    stage.lose_answers_to(None);
    assert_eq!(once().await, Ok(EnqueueOutcome::Duplicate(id)));
}

/// Outcomes of a batch are per item, and full is one of them.
#[tokio::test(start_paused = true)]
async fn a_batch_is_one_call() {
    let stage = Stage::new();
    let to = producer(&stage, &Queue::new("q").capacity(2).unique(Unique::by_payload()));
    let items = ["a", "a", "b", "c"].map(str::to_owned);
    let outcomes = to.enqueue_all(items.iter().map(|item| (item, ItemOptions::new()))).await.expect("stored");
    use EnqueueOutcome::{Duplicate, Enqueued, Full};
    assert!(matches!(outcomes[..], [Enqueued(_), Duplicate(_), Enqueued(_), Full]), "{outcomes:?}");
}

#[test]
fn each_broken_rule_has_its_own_error() {
    let s = Duration::from_secs;
    let q = || Queue::<String>::new("q");
    let stage = Stage::new();
    for (queue, expected) in [
        (Queue::new(" "), "queue ` `: blank name: give it at least one visible character"),
        (q().workers(0), "queue `q`: 0 workers: allowed are 1 to 10000"),
        (q().batch(0), "queue `q`: the batch is outside 1 to 1000 items"),
        (
            q().poll_every(s(0)),
            "queue `q`: the poll interval is below 10 ms: a producer of the same process wakes the queue anyway",
        ),
        (q().run_timeout(s(0)), "queue `q`: the run timeout is zero: give `run_timeout` how long an attempt may run"),
        (
            q().lease(s(60)),
            "queue `q`: the lease (60s) is not longer than the run timeout (60s): raise `lease` or lower `run_timeout`",
        ),
        (
            q().heartbeat(s(90)),
            "queue `q`: the heartbeat interval (90s) is not shorter than the lease (90s): a third of it or less is usual",
        ),
        (q().max_attempts(0), "queue `q`: max attempts is 0: the first attempt counts, so 1 means no retry"),
        (
            q().delivery(Delivery::AtMostOnce).max_attempts(2),
            "queue `q`: several attempts at most once: leave `max_attempts` out, or choose `Delivery::AtLeastOnce`",
        ),
        (q().ttl(s(0)), "queue `q`: the time to live is zero: every item would expire; leave it out for no limit"),
        (q().concurrency(0), "queue `q`: the concurrency is 0: nothing could run"),
        (
            q().concurrency(1).concurrency_per_key(1),
            "queue `q`: a limit for the whole queue and one per key: an item counts under one key; let all of its \
             limits be `…_per_key`, or none",
        ),
        (
            q().rate_limit(RateLimit::per(1, s(1))).concurrency_per_key(1),
            "queue `q`: a limit for the whole queue and one per key: an item counts under one key; let all of its \
             limits be `…_per_key`, or none",
        ),
        (
            q().rate_limit(RateLimit::per(1, s(1))).rate_limit_per_key(RateLimit::per(1, s(1))),
            "queue `q`: a limit for the whole queue and one per key: an item counts under one key; let all of its \
             limits be `…_per_key`, or none",
        ),
        (
            q().rate_limit(RateLimit::per(0, s(1))),
            "queue `q`: a rate of 0 items: nothing could run; leave it out for no limit",
        ),
        (
            q().rate_limit_per_key(RateLimit::per(1, s(0))),
            "queue `q`: the period of its rate is zero, or longer than 366 days: say how many items in which time",
        ),
        (
            q().rate_limit(RateLimit::per(5, s(1)).burst(6)),
            "queue `q`: a burst of 6 at 5 items in a period: allowed are 1 (leave it out), for even turns, to 5",
        ),
        (
            q().unique(Unique::by_payload().within(s(0))),
            "queue `q`: the unique period is zero: leave `within` out for no period",
        ),
        (
            q().backoff(Backoff::table([])),
            "queue `q`: the backoff table is empty: list at least one wait, or use max_attempts(1) for no retry",
        ),
    ] {
        let refused = Enqueuer::new(stage.clone(), stage.runtime.clone(), &queue).expect_err("refused");
        assert_eq!(refused.to_string(), expected);
    }
    let builder = || tourbillon::driver::Scheduler::builder(stage.clone());
    let refused =
        |built: Result<_, tourbillon::driver::BuildError>| built.map(|_| ()).expect_err("refused").to_string();
    assert_eq!(
        refused(builder().queue(q()).build()),
        "queue `q`: no handler: call `run`, or build an `Enqueuer` for a producer without a worker"
    );
    let whole = || q().run(|_, _: Context| async { Ok::<_, HandlerError>(()) });
    assert_eq!(
        refused(builder().queue(whole()).queue(whole()).build()),
        "queue `q`: its name is taken by another queue or job: give each a name of its own"
    );
}
