//! What becomes of traces: from the producer's span, through the store, to the span in which the handler runs.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tourbillon::{
    driver::Running,
    job::{Context, HandlerError},
    model::{ExecutionId, State, TraceContext},
    plan::Backoff,
    queue::{Enqueuer, ItemOptions, Queue},
    runtime::Propagator,
    store::EnqueueOutcome,
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{self, SubscriberExt},
    registry::LookupSpan,
};

use crate::stage::Stage;

fn trace(n: u64) -> TraceContext {
    TraceContext::new(&format!("00-{n:032x}-{n:016x}-01"), Some("v=1")).expect("well-formed")
}

/// Everybody is in the trace that it says, one further each time; it writes down whom it is asked to adopt for.
#[derive(Default)]
struct Fake {
    asked: AtomicU64,
    adopted: Mutex<Vec<TraceContext>>,
    panics: bool,
}

impl Propagator for Fake {
    fn current(&self) -> Option<TraceContext> {
        Some(trace(self.asked.fetch_add(1, Ordering::SeqCst) + 1))
    }

    fn adopt(&self, _: &tracing::Span, parent: &TraceContext) {
        self.adopted.lock().expect("no test panics here").push(parent.clone());
        assert!(!self.panics, "a propagator's own bug");
    }
}

/// A stage whose runtime has it.
fn stage(fake: Fake) -> (Stage, Arc<Fake>) {
    let fake = Arc::new(fake);
    let mut stage = Stage::new();
    stage.runtime = stage.runtime.propagated_by(Arc::clone(&fake) as Arc<dyn Propagator>);
    (stage, fake)
}

/// What handlers see.
type Seen = Arc<Mutex<Vec<(u32, Option<TraceContext>)>>>;

fn start(stage: &Stage, queue: Queue<u32>) -> (Running, Enqueuer<u32>, Seen) {
    let seen = Seen::default();
    let sees = Arc::clone(&seen);
    let queue = queue.backoff(Backoff::constant(Duration::from_secs(1)).without_jitter());
    let running = stage.start(queue.run(move |item: u32, ctx: Context| {
        sees.lock().expect("no test panics here").push((item, ctx.trace().cloned()));
        async move { if ctx.attempt() == 1 { Err(HandlerError::new("not yet")) } else { Ok(()) } }
    }));
    let to = running.queue::<u32>("q").expect("it was added").enqueuer().clone();
    (running, to, seen)
}

fn id_of(outcome: Option<&EnqueueOutcome>) -> ExecutionId {
    match outcome {
        Some(EnqueueOutcome::Enqueued(id)) => *id,
        other => panic!("not enqueued: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_attempt_of_an_item_is_in_the_trace_in_which_it_was_enqueued() {
    for queue in [Queue::new("q"), Queue::new("q").coalescing()] {
        let (stage, fake) = stage(Fake::default());
        let (running, to, seen) = start(&stage, queue);
        let id = id_of(to.enqueue(&7).await.ok().as_ref());
        assert_eq!(stage.ended(id).await.state, State::Succeeded);
        assert_eq!(*seen.lock().expect("no test panics here"), vec![(7, Some(trace(1))); 2]);
        assert_eq!(*fake.adopted.lock().expect("no test panics here"), [trace(1), trace(1)]);
        running.stop().await.expect("nothing runs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_given_with_an_item_is_taken_instead_of_the_producers() {
    let (stage, fake) = stage(Fake::default());
    let (running, to, _) = start(&stage, Queue::new("q"));
    let items = [(&1, ItemOptions::new().trace(trace(99))), (&2, ItemOptions::new())];
    let outcomes = to.enqueue_all(items).await.expect("memory enqueues");
    for (outcome, wanted) in outcomes.iter().zip([trace(99), trace(1)]) {
        assert_eq!(stage.ended(id_of(Some(outcome))).await.trace, Some(wanted));
    }
    assert_eq!(fake.asked.load(Ordering::SeqCst), 1, "for the one that had none");
    running.stop().await.expect("nothing runs");
}

#[tokio::test(start_paused = true)]
async fn without_a_propagator_a_trace_is_none_of_the_drivers_business_but_kept() {
    let stage = Stage::new();
    let (running, to, seen) = start(&stage, Queue::new("q"));
    let plain = id_of(to.enqueue(&1).await.ok().as_ref());
    assert_eq!(stage.ended(plain).await.trace, None);
    let given = id_of(to.enqueue_with(&2, ItemOptions::new().trace(trace(5))).await.ok().as_ref());
    assert_eq!(stage.ended(given).await.trace, Some(trace(5)));
    let wanted = vec![(1, None), (1, None), (2, Some(trace(5))), (2, Some(trace(5)))];
    assert_eq!(*seen.lock().expect("no test panics here"), wanted);
    running.stop().await.expect("nothing runs");
}

#[tokio::test(start_paused = true)]
async fn a_propagator_that_panics_stops_no_handler() {
    let (stage, fake) = stage(Fake { panics: true, ..Fake::default() });
    let (running, to, _) = start(&stage, Queue::new("q"));
    let id = id_of(to.enqueue(&1).await.ok().as_ref());
    assert_eq!(stage.ended(id).await.state, State::Succeeded);
    let was_asked = fake.adopted.lock().map(|adopted| adopted.len());
    // The panic poisons the lock, not the runner.
    assert_eq!(was_asked.unwrap_or_else(|poisoned| poisoned.into_inner().len()), 2);
    running.stop().await.expect("nothing runs");
}

/// Spans with their fields, in the order in which they were made, and events with the names of the spans around each.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    spans: Vec<(&'static str, Fields)>,
    events: Vec<(Fields, Vec<&'static str>)>,
}

type Fields = BTreeMap<&'static str, String>;

/// Where a span is in [`Written`].
struct Place(usize);

struct Reader<'f>(&'f mut Fields);

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Log {
    fn write<T>(&self, change: impl FnOnce(&mut Written) -> T) -> T {
        change(&mut self.0.lock().expect("no test panics here"))
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Log {
    fn on_new_span(&self, made: &span::Attributes<'_>, id: &span::Id, ctx: layer::Context<'_, S>) {
        let mut fields = Fields::new();
        made.record(&mut Reader(&mut fields));
        let place = self.write(|log| {
            log.spans.push((made.metadata().name(), fields));
            Place(log.spans.len() - 1)
        });
        ctx.span(id).expect("it was just made").extensions_mut().insert(place);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, ctx: layer::Context<'_, S>) {
        let span = ctx.span(id).expect("it lives");
        let place = span.extensions().get::<Place>().expect("each has one").0;
        self.write(|log| values.record(&mut Reader(&mut log.spans[place].1)));
    }

    fn on_event(&self, event: &Event<'_>, ctx: layer::Context<'_, S>) {
        let target = event.metadata().target();
        if target.ends_with("::runner") || target.ends_with("::traces") {
            let mut fields = Fields::new();
            event.record(&mut Reader(&mut fields));
            let around = ctx.event_scope(event).into_iter().flatten().map(|span| span.name()).collect();
            self.write(|log| log.events.push((fields, around)));
        }
    }
}

/// Names and fields are in docs/OPERATING.md.
#[tokio::test(start_paused = true)]
async fn what_an_attempt_logs_is_in_a_span_of_its_own_that_says_how_it_ended() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(Registry::default().with(log.clone()));
    let stage = Stage::new();
    let queue = Queue::<u32>::new("q").backoff(Backoff::constant(Duration::from_secs(1)).without_jitter());
    let running = stage.start(queue.run(|_, ctx: Context| async move {
        ctx.sleep(Duration::from_secs(1)).await;
        let child = ctx.clone();
        ctx.spawn("child", async move { tracing::info!(attempt = child.attempt(), "of a child") });
        ctx.sleep(Duration::from_secs(1)).await;
        tracing::info!(attempt = ctx.attempt(), "of the handler");
        if ctx.attempt() == 1 { Err(HandlerError::new("not yet")) } else { Ok(()) }
    }));
    let to = running.queue::<u32>("q").expect("it was added").enqueuer().clone();
    let id = id_of(to.enqueue(&7).await.ok().as_ref());
    assert_eq!(stage.ended(id).await.state, State::Succeeded);
    running.stop().await.expect("nothing runs");
    let spans: Vec<_> = log.write(|log| log.spans.drain(..).filter(|(name, _)| *name == "attempt").collect());
    let fields = |attempt: &str, outcome: &str, status: Option<&str>| {
        let execution = id.to_string();
        let fields = [("job", "q"), ("scope", "global/global"), ("execution", &execution), ("attempt", attempt)];
        let mut fields: Fields = fields.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        fields.insert("outcome", format!("{outcome:?}"));
        fields.extend(status.map(|status| ("otel.status_code", format!("{status:?}"))));
        ("attempt", fields)
    };
    assert_eq!(spans, [fields("1", "failed", Some("ERROR")), fields("2", "succeeded", None)]);
    let told: Vec<_> = log.write(|log| {
        let words = |(fields, around): &(Fields, _)| {
            (fields["message"].clone(), fields.get("attempt").cloned(), Vec::clone(around))
        };
        log.events.iter().map(words).filter(|(message, ..)| message != "attempt ended").collect()
    });
    let inside = |message: &str, attempt: &str| (message.to_owned(), Some(attempt.to_owned()), vec!["attempt"]);
    let wanted = [
        inside("of a child", "1"),
        inside("of the handler", "1"),
        inside("attempt failed", "1"),
        inside("of a child", "2"),
        inside("of the handler", "2"),
    ];
    assert_eq!(told, wanted);
}
