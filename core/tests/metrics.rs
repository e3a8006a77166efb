//! What a replica tells the recorder of its program, read by a recorder of the test's own.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tourbillon::{
    model::State,
    prelude::*,
    queue::{Enqueuer, Queue},
    store::{ListRecent, ask},
};

/// Values by name and labels, as `name{job=x}`: sums of counters, last values of gauges, numbers of observations.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<BTreeMap<String, f64>>>);

struct Line(Book, String);

impl Line {
    fn write(&self, change: impl FnOnce(&mut f64)) {
        change(self.0.0.lock().unwrap().entry(self.1.clone()).or_default());
    }
}

impl CounterFn for Line {
    fn increment(&self, by: u64) {
        self.write(|value| *value += by as f64);
    }
    fn absolute(&self, to: u64) {
        self.write(|value| *value = to as f64);
    }
}

impl GaugeFn for Line {
    fn increment(&self, by: f64) {
        self.write(|value| *value += by);
    }
    fn decrement(&self, by: f64) {
        self.write(|value| *value -= by);
    }
    fn set(&self, to: f64) {
        self.write(|value| *value = to);
    }
}

impl HistogramFn for Line {
    fn record(&self, observed: f64) {
        assert!((0.0..3_600.0).contains(&observed), "{}: {observed} are no seconds", self.1);
        self.write(|value| *value += 1.0);
    }
}

impl Book {
    fn line(&self, key: &Key) -> Arc<Line> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Line(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }

    fn value(&self, line: &str) -> f64 {
        let book = self.0.lock().unwrap();
        *book.get(line).unwrap_or_else(|| panic!("no {line}: {:#?}", book.keys()))
    }
}

impl Recorder for Book {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.0.lock().unwrap().insert(format!("described {}", name.as_str()), 1.0);
    }
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, unit: Option<Unit>, _: SharedString) {
        assert_eq!(unit, Some(Unit::Seconds));
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.line(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.line(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.line(key))
    }
}

async fn run_for_a_while() {
    let clock = ManualClock::new(Timestamp::from_secs(1_000));
    let store = Arc::new(MemoryStore::new(clock));
    let letters = Queue::<String>::new("mail").max_attempts(1).run(|to: String, _: Context| async move {
        if to == "nobody" { Err(HandlerError::new("no such mailbox")) } else { Ok(()) }
    });
    let enqueuer = Enqueuer::new(Arc::clone(&store), Runtime::tokio(), &letters).unwrap();
    for to in ["ada", "bob", "nobody"] {
        enqueuer.enqueue(&to.to_owned()).await.unwrap();
    }
    let tick = |_: Tick| async { Ok::<_, BoxError>(()) };
    let running = Scheduler::builder(Arc::clone(&store))
        .queue(letters)
        .job(Job::new("digest").every(Duration::from_secs(600)).run(|_| async { Ok::<_, HandlerError>(()) }))
        .service(Service::new("news").every(Duration::from_secs(600)).first(FirstTick::Immediately).run(tick))
        .build()
        .unwrap()
        .start();
    let runtime = Runtime::tokio();
    for _ in 0..1_000 {
        let ended = ListRecent { states: vec![State::Succeeded, State::Dead], ..ListRecent::new(10) };
        let id = tourbillon::model::RequestId(runtime.uuid());
        if ask(&store, id, ended).await.unwrap().executions.len() == 4 {
            break;
        }
        runtime.sleep(Duration::from_millis(5)).await;
    }
    running.shutdown(Duration::from_secs(5)).await.unwrap();
}

#[test]
fn a_replica_counts_what_it_claims_runs_and_asks() {
    let book = Book::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    // All tasks run on this thread, which has the recorder; time goes on when nothing else does.
    metrics::with_local_recorder(&book, || runtime.block_on(run_for_a_while()));
    assert_eq!(book.value("tourbillon_claimed_total{job=mail}"), 3.0);
    assert_eq!(book.value("tourbillon_claimed_total{job=digest}"), 1.0);
    assert_eq!(book.value("tourbillon_claim_lag_seconds{job=mail}"), 3.0);
    assert_eq!(book.value("tourbillon_attempts_total{job=mail,outcome=succeeded}"), 2.0);
    assert_eq!(book.value("tourbillon_attempts_total{job=mail,outcome=failed}"), 1.0);
    assert_eq!(book.value("tourbillon_recorded_total{job=mail,state=dead}"), 1.0);
    assert_eq!(book.value("tourbillon_recorded_total{job=digest,state=succeeded}"), 1.0);
    assert_eq!(book.value("tourbillon_attempt_duration_seconds{job=mail}"), 3.0);
    assert_eq!(book.value("tourbillon_ticks_total{service=news,result=success}"), 1.0);
    assert!(book.value("tourbillon_store_call_duration_seconds{verb=claim}") >= 1.0);
    assert_eq!(book.value("tourbillon_leases_refused_total{verb=settle}"), 0.0);
    assert_eq!(book.value("described tourbillon_attempts_total"), 1.0);
}
