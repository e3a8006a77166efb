//! Owns how traces pass through a store: what a producer's span is, and whose child a handler's span becomes. Knows no
//! tracer; one that does is `OpenTelemetry`, behind the feature of that name.

use tracing::Span;

use crate::model::TraceContext;

/// Carries traces from those who enqueue to the handlers that run. Given to a [`Runtime`](super::Runtime), it serves every
/// producer, operator and scheduler that is made with it.
///
/// Called synchronously, on the task concerned; must not block.
pub trait Propagator: Send + Sync {
    /// Where the caller is in a trace, to be stored with what it enqueues or triggers. Called in the caller's own span.
    fn current(&self) -> Option<TraceContext>;

    /// Makes `span`, which is new and was never entered, a child of `parent`. A panic is logged, and the handler runs without.
    fn adopt(&self, span: &Span, parent: &TraceContext);
}
