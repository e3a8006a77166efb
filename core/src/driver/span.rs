//! Owns the span in which a handler runs. Its name and fields are stable: docs/OPERATING.md.

use tracing::{Span, field::Empty};

use super::runner::guard;
use crate::{
    job::Attempt,
    runtime::{HandlerEnd, Runtime},
};

/// The span of an attempt: a child of the one in which its item was enqueued, where the runtime carries traces; of its own
/// otherwise, whatever the task that happens to poll it is in.
pub(super) fn begin(runtime: &Runtime, attempt: &Attempt) -> Span {
    // A signed number: tracers know no other.
    let span = tracing::info_span!(
        parent: None,
        "attempt",
        job = %attempt.job,
        scope = %attempt.scope,
        execution = %attempt.lease.id,
        attempt = i64::from(attempt.number),
        outcome = Empty,
        otel.kind = Empty,
        otel.status_code = Empty,
    );
    if let (Some(propagator), Some(parent)) = (runtime.propagator(), &attempt.trace)
        && let Err(message) = guard(|| propagator.adopt(&span, parent))
    {
        tracing::error!(execution = %attempt.lease.id, %message, "the propagator of traces panicked");
    }
    span
}

/// Says how the handler ended, and ends the span.
pub(super) fn end(span: Span, end: HandlerEnd) {
    span.record("outcome", end.as_str());
    if matches!(end, HandlerEnd::Failed | HandlerEnd::Panicked | HandlerEnd::TimedOut | HandlerEnd::LeaseLost) {
        span.record("otel.status_code", "ERROR");
    }
    drop(span);
}
