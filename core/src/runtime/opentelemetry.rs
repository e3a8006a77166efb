//! Owns what of traces is OpenTelemetry's: the span that a `tracing` subscriber made of ours, and whose child it becomes.

use std::str::FromStr;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::Propagator;
use crate::model::TraceContext;

/// Carries traces of OpenTelemetry, for programs whose subscriber has the layer of `tracing-opentelemetry`: give it to
/// [`Runtime::propagated_by`](super::Runtime::propagated_by). Baggage is not carried.
///
/// ```
/// use std::sync::Arc;
/// use tourbillon::runtime::{OpenTelemetry, Runtime};
/// let runtime = Runtime::tokio().propagated_by(Arc::new(OpenTelemetry));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenTelemetry;

impl Propagator for OpenTelemetry {
    fn current(&self) -> Option<TraceContext> {
        let context = Span::current().context();
        let span = context.span();
        let span = span.span_context();
        if !span.is_valid() {
            return None;
        }
        let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
        TraceContext::new(&format!("00-{trace}-{id}-{flags:02x}"), Some(&span.trace_state().header())).ok()
    }

    fn adopt(&self, span: &Span, parent: &TraceContext) {
        if let Some(parent) = remote(parent) {
            span.record("otel.kind", "consumer");
            // It fails for a span that was entered, or that no layer sees; ours was not, and then nobody wants a parent.
            drop(span.set_parent(Context::new().with_remote_span_context(parent)));
        }
    }
}

fn remote(parent: &TraceContext) -> Option<SpanContext> {
    let trace = TraceId::from_hex(parent.trace_id()).ok()?;
    let id = SpanId::from_hex(parent.span_id()).ok()?;
    let flags = if parent.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let state = parent.tracestate().and_then(|state| TraceState::from_str(state).ok());
    Some(SpanContext::new(trace, id, flags, true, state.unwrap_or_default()))
}
