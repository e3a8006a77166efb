//! Traces as a tracer has them: what an exporter is given of a producer and of the attempts of what it enqueued, with SQLite
//! between them. What the other stores keep of a trace is the conformance suite's business.

use std::{path::PathBuf, sync::Arc, time::Duration};

use opentelemetry::{
    Value,
    trace::{SpanId, SpanKind, Status, TraceId, TracerProvider},
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tourbillon::{
    driver::{JobOperator, Running, SchedulerBuilder, Triggered},
    model::{Execution, ExecutionId, RequestId, State, TraceContext},
    prelude::*,
    runtime::OpenTelemetry,
    store::{EnqueueOutcome, ListExecutions, ask},
};
use tourbillon_sqlite::SqliteStore;
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;

/// A subscriber of this thread, what its exporter was given, and a database in a file.
struct Traced {
    exporter: InMemorySpanExporter,
    runtime: Runtime,
    store: Arc<SqliteStore>,
    file: PathBuf,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Drop for Traced {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            // The last two may be gone already.
            let _ = std::fs::remove_file(format!("{}{end}", self.file.display()));
        }
    }
}

impl Traced {
    fn new() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        let runtime = Runtime::tokio().propagated_by(Arc::new(OpenTelemetry));
        let file = std::env::temp_dir().join(format!("tourbillon-traces-{}.db", runtime.uuid()));
        let store = Arc::new(SqliteStore::open(&file).expect("a file can be made"));
        Self { exporter, runtime, store, file, _guard: guard }
    }

    fn start(&self, of: impl FnOnce(SchedulerBuilder) -> SchedulerBuilder) -> Running {
        let settings = Settings { poll_interval: Duration::from_millis(50), ..Settings::default() };
        let builder = Scheduler::builder(Arc::clone(&self.store)).runtime(self.runtime.clone()).settings(settings);
        of(builder).build().expect("the rules hold").start()
    }

    fn producer(&self, queue: &Queue<u32>) -> Enqueuer<u32> {
        Enqueuer::new(Arc::clone(&self.store), self.runtime.clone(), queue).expect("the rules of the queue hold")
    }

    async fn pause(&self) {
        self.runtime.sleep(Duration::from_millis(5)).await;
    }

    async fn row(&self, id: ExecutionId) -> Execution {
        let list = ListExecutions { id: Some(id), limit: 1, ..ListExecutions::default() };
        let page = ask(&*self.store, RequestId(self.runtime.uuid()), list).await.expect("it is there");
        page.executions.into_iter().next().expect("it is there")
    }

    /// How it ended, once it has; its handler has ended before.
    async fn ended(&self, id: ExecutionId) -> State {
        loop {
            let state = self.row(id).await.state;
            if state.is_terminal() {
                return state;
            }
            self.pause().await;
        }
    }

    /// Spans of this name, in the order in which they ended.
    fn spans(&self, name: &str) -> Vec<SpanData> {
        let spans = self.exporter.get_finished_spans().expect("nobody panicked in the exporter");
        spans.into_iter().filter(|span| span.name == name).collect()
    }

    fn span(&self, name: &str) -> SpanData {
        let mut spans = self.spans(name);
        assert_eq!(spans.len(), 1, "one span {name}");
        spans.remove(0)
    }
}

fn place(span: &SpanData) -> (TraceId, SpanId) {
    (span.span_context.trace_id(), span.span_context.span_id())
}

fn parent(span: &SpanData) -> (TraceId, SpanId) {
    (span.span_context.trace_id(), span.parent_span_id)
}

fn attribute(span: &SpanData, name: &str) -> Option<Value> {
    span.attributes.iter().find(|pair| pair.key.as_str() == name).map(|pair| pair.value.clone())
}

fn text(text: &str) -> Option<Value> {
    Some(Value::from(text.to_owned()))
}

fn queue() -> Queue<u32> {
    Queue::new("mail").backoff(Backoff::constant(Duration::from_millis(10)))
}

fn id_of(outcome: EnqueueOutcome) -> ExecutionId {
    match outcome {
        EnqueueOutcome::Enqueued(id) => id,
        other => panic!("not enqueued: {other:?}"),
    }
}

async fn stop(running: Running) {
    running.shutdown(Duration::from_secs(5)).await.expect("nothing runs");
}

/// Another process enqueues: all that it shares with the one that runs is the database.
#[tokio::test]
async fn an_attempt_is_a_child_of_the_span_in_which_its_item_was_enqueued() {
    let traced = Traced::new();
    let id =
        id_of(traced.producer(&queue()).enqueue(&7).instrument(info_span!("request")).await.expect("it is enqueued"));
    // The span of the request has ended long before anybody runs what it enqueued.
    let request = traced.span("request");
    let queue = queue().run(|_, ctx: Context| async move {
        let _inner = info_span!("inner", attempt = ctx.attempt()).entered();
        if ctx.attempt() == 1 { Err(HandlerError::new("not yet")) } else { Ok(()) }
    });
    let running = traced.start(|builder| builder.queue(queue));
    assert_eq!(traced.ended(id).await, State::Succeeded);
    stop(running).await;

    let attempts = traced.spans("attempt");
    assert_eq!(attempts.len(), 2);
    for (attempt, (number, outcome)) in attempts.iter().zip([(1, "failed"), (2, "succeeded")]) {
        assert_eq!(parent(attempt), place(&request), "attempt {number}");
        assert!(attempt.parent_span_is_remote, "the producer is another process");
        assert_eq!(attempt.span_kind, SpanKind::Consumer);
        assert_eq!(attribute(attempt, "job"), text("mail"));
        assert_eq!(attribute(attempt, "scope"), text("global/global"));
        assert_eq!(attribute(attempt, "execution"), text(&id.to_string()));
        assert_eq!(attribute(attempt, "attempt"), Some(Value::I64(number)));
        assert_eq!(attribute(attempt, "outcome"), text(outcome));
        assert_eq!(matches!(attempt.status, Status::Error { .. }), number == 1, "{:?}", attempt.status);
    }
    // What a handler does is below its attempt.
    let inner: Vec<_> = traced.spans("inner").iter().map(parent).collect();
    assert_eq!(inner, attempts.iter().map(place).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_handler_enqueues_goes_on_from_its_attempt() {
    let traced = Traced::new();
    let next = Queue::<u32>::new("next");
    let to_next = traced.producer(&next);
    let first = queue().run(move |item: u32, _: Context| {
        let to_next = to_next.clone();
        async move {
            tokio::task::yield_now().await;
            to_next.enqueue(&item).await.map(drop).map_err(|error| HandlerError::new(error.to_string()))
        }
    });
    let next = next.run(|_, _: Context| async { Ok::<_, HandlerError>(()) });
    let running = traced.start(|builder| builder.queue(first).queue(next));
    let to = running.queue::<u32>("mail").expect("it was added");
    to.enqueue(&7).instrument(info_span!("request")).await.expect("it is enqueued");
    while traced.spans("attempt").len() < 2 {
        traced.pause().await;
    }
    stop(running).await;
    let attempts = traced.spans("attempt");
    let of = |job: &str| attempts.iter().find(|span| attribute(span, "job") == text(job)).expect("it ran");
    assert_eq!(parent(of("mail")), place(&traced.span("request")));
    assert_eq!(parent(of("next")), place(of("mail")));
}

#[tokio::test]
async fn a_slot_begins_a_trace_and_a_triggered_run_goes_on_with_one() {
    let traced = Traced::new();
    let job = Job::new("digest")
        .every(Duration::from_secs(3_600))
        .run(|_: Context| async { Ok::<_, HandlerError>(Completion::new()) });
    // Whatever the program is in when it starts is nobody's parent.
    let main = info_span!("main").entered();
    let running = traced.start(|builder| builder.job(job));
    while traced.spans("attempt").is_empty() {
        traced.pause().await;
    }
    drop(main);
    let slot = traced.span("attempt");
    assert_eq!(slot.parent_span_id, SpanId::INVALID);
    assert_ne!(place(&slot).0, place(&traced.span("main")).0);
    assert_eq!(slot.span_kind, SpanKind::Internal);

    let operator = JobOperator::new(Arc::clone(&traced.store), traced.runtime.clone());
    let wish = operator.trigger("digest", Scope::global()).instrument(info_span!("wish")).await;
    let Ok(Triggered::Due(id)) = wish else { panic!("not triggered: {wish:?}") };
    assert_eq!(traced.ended(id).await, State::Succeeded);
    stop(running).await;
    assert_eq!(parent(&traced.spans("attempt")[1]), place(&traced.span("wish")));
}

/// The headers of a request, as a service without spans has them.
#[tokio::test]
async fn a_trace_given_with_an_item_goes_on_with_its_flags_and_state() {
    let traced = Traced::new();
    let queue = queue().run(|_, _: Context| async { Ok::<_, HandlerError>(()) });
    let running = traced.start(|builder| builder.queue(queue));
    let to = running.queue::<u32>("mail").expect("it was added");
    let put = async |flags: &str| {
        let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        let trace = TraceContext::new(&parent, Some("vendor=1")).expect("well-formed");
        id_of(to.enqueue_with(&7, ItemOptions::new().trace(trace)).await.expect("it is enqueued"))
    };
    // What the producer did not record, the default sampler does not record either.
    for flags in ["00", "01"] {
        let id = put(flags).await;
        assert_eq!(traced.ended(id).await, State::Succeeded);
    }
    stop(running).await;
    let attempt = traced.span("attempt");
    assert_eq!(attempt.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(attempt.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(attempt.span_context.trace_state().header(), "vendor=1");
}

/// No span, no trace: null in the database.
#[tokio::test]
async fn who_is_in_no_span_leaves_no_trace() {
    let traced = Traced::new();
    let id = id_of(traced.producer(&queue()).enqueue(&7).await.expect("it is enqueued"));
    assert_eq!(traced.row(id).await.trace, None);
}
