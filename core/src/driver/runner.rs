//! Runs one attempt: polls the handler while its lease is safe, and reports how it ended.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use tracing::Span;

use super::{
    Shared,
    lease::{Held, Loss},
    measure,
    queue::Crew,
    settler::{Recorded, SettleError, Settler},
    span,
    stop::Stage,
};
use crate::{
    job::{
        Attempt, AttemptReport, Completion, Context, Delivery, HandlerError, HandlerResult, Run, StopReason, Verdict,
        Work,
    },
    model::{ErrorCode, Execution, Failure, Json, LeaseRef, Outcome, Retention, Retry, State, wait_ms},
    runtime::{DriverEvent, HandlerEnd, Monotonic},
    store::{BoxFuture, MAX_COUNT, Settlement},
};

/// How polling ended.
enum Polled {
    Returned(HandlerResult),
    Panicked(String),
    TimedOut,
    Lost(Loss),
    Interrupted,
}

/// Runs the handler, and hands its end to the settler; nothing is left to tell when there is nothing to record.
pub(super) async fn run(
    shared: &Arc<Shared>,
    settler: &Settler,
    crew: &Arc<Crew>,
    attempt: Arc<Attempt>,
    held: &Held,
) -> Option<Ending> {
    let job = shared.work(&attempt.job)?;
    let began = shared.runtime.monotonic();
    let span = span::begin(&shared.runtime, &attempt);
    let polled = poll_handler(shared, job, &attempt, held, &span).await;
    let took = shared.runtime.monotonic().since(began);
    // P-6: no heartbeat is sent for this lease after its terminal write.
    shared.leases.remove(&held.lease);
    let is_cut_short = matches!(polled, Polled::Interrupted);
    let (end, outcome) = conclude(shared, job, &attempt, polled);
    if let Some(Outcome::Failed { failure, retry }) = &outcome {
        let (code, error) = (&failure.code, &failure.text);
        span.in_scope(|| tracing::warn!(job = %attempt.job, scope = %attempt.scope, execution = %held.lease.id, attempt = attempt.number, %code, %error, ?retry, "attempt failed"));
    }
    span::end(span, end);
    shared.runtime.observe(|| DriverEvent::HandlerEnded { lease: held.lease, end });
    measure::attempt(&attempt.job, end, took);
    let Some(outcome) = outcome else {
        if end == HandlerEnd::Succeeded {
            let (queue, id, state) = (attempt.job.clone(), held.lease.id, State::Succeeded);
            report(shared, crew, &AttemptReport { queue, id, attempt: attempt.number, state, error: None, took });
        } else {
            tracing::warn!(job = %attempt.job, execution = %held.lease.id, "lease lost; the handler was stopped");
        }
        return None;
    };
    let error = failure_of(&outcome);
    let settlement = Settlement { lease: held.lease, outcome, retain: job.retain };
    let recorded = settler.hand_over(settlement).await;
    Some(Ending { recorded, attempt, lease: held.lease, end, error, took, is_cut_short })
}

/// What is known of an attempt whose end is on its way to the store.
pub(super) struct Ending {
    recorded: Recorded,
    attempt: Arc<Attempt>,
    lease: LeaseRef,
    end: HandlerEnd,
    error: Option<Failure>,
    took: Duration,
    is_cut_short: bool,
}

impl Ending {
    /// Tells of the record once it is there.
    pub(super) fn poll(&mut self, cx: &mut task::Context<'_>, shared: &Shared, crew: &Crew) -> Poll<()> {
        Pin::new(&mut self.recorded).poll(cx).map(|recorded| self.tell(shared, crew, recorded))
    }

    fn tell(&mut self, shared: &Shared, crew: &Crew, recorded: Result<State, SettleError>) {
        let Self { ref attempt, lease, end, ref mut error, took, is_cut_short, .. } = *self;
        match recorded {
            Ok(state) => {
                tracing::debug!(job = %attempt.job, execution = %lease.id, attempt = attempt.number, ?end, %state, "attempt ended");
                let (queue, id) = (attempt.job.clone(), lease.id);
                let error = error.take();
                report(shared, crew, &AttemptReport { queue, id, attempt: attempt.number, state, error, took });
            }
            Err(error) => {
                tracing::warn!(job = %attempt.job, execution = %lease.id, ?end, error = %error, "the attempt's end could not be recorded");
                sometimes!("the end of an attempt cannot be recorded");
                if is_cut_short {
                    sometimes!("an interrupted attempt cannot be given back");
                    shared.unreleased.add(format!("{} {} {} ({error})", attempt.job, attempt.scope, lease.id));
                }
            }
        }
    }
}

/// Ends an attempt whose effect the receiver has already, without its handler (P-66).
pub(super) async fn delivered_already(
    shared: &Shared,
    settler: &Settler,
    crew: &Crew,
    row: &Execution,
    attempt: u32,
) {
    let Some(lease) = row.lease_ref() else { return };
    let result = Json::from_stored(r#"{"delivered_already":true}"#);
    let outcome = Outcome::Succeeded { result, rows_affected: None };
    let retain = shared.work(&row.job).map_or(Retention::Everything, |work| work.retain);
    match settler.settle(Settlement { lease, outcome, retain }).await {
        Ok(state) => {
            let (queue, id) = (row.job.clone(), row.id);
            let end = AttemptReport { queue, id, attempt, state, error: None, took: Duration::ZERO };
            report(shared, crew, &end);
        }
        Err(error) => {
            sometimes!("an item that its receiver has cannot be ended");
            tracing::warn!(execution = %row.id, %error, "an item delivered already could not be ended");
        }
    }
}

/// Counts the end, and calls the callbacks.
pub(super) fn report(shared: &Shared, crew: &Crew, end: &AttemptReport) {
    crew.tally.ended(end, shared.runtime.monotonic());
    measure::recorded(end);
    if let Some(told) = shared.work(&end.queue).and_then(|work| work.report.as_ref())
        && let Err(message) = guard(|| told(end))
    {
        sometimes!("a callback of a queue panics");
        tracing::error!(queue = %end.queue, execution = %end.id, %message, "a callback panicked");
    }
}

fn failure_of(outcome: &Outcome) -> Option<Failure> {
    match outcome {
        Outcome::Failed { failure, .. } | Outcome::Cancelled { failure } => Some(failure.clone()),
        _ => None,
    }
}

/// Polls the handler until it returns or must stop. The lease is looked at before every poll: once it cannot be
/// trusted no further step of the handler runs, wherever the process was held up (G8).
async fn poll_handler(shared: &Shared, job: &Work, attempt: &Arc<Attempt>, held: &Held, span: &Span) -> Polled {
    if let Some(loss) = held.loss(shared.runtime.monotonic()) {
        sometimes!("a lease is lost before the first poll of its handler");
        return Polled::Lost(loss);
    }
    if shared.stop.has_reached(Stage::Drain) {
        sometimes!("a handler begins in a drain");
        held.run.stop.raise(StopReason::ShuttingDown);
    }
    let context = Context::new(Arc::clone(attempt), Arc::clone(&held.run));
    shared.runtime.observe(|| DriverEvent::HandlerStarted {
        lease: held.lease,
        generation: attempt.generation,
        attempt: attempt.number,
        job: attempt.job.clone(),
        scope: attempt.scope.clone(),
        slot_at: attempt.slot_at,
    });
    let mut handler = match span.in_scope(|| guard(|| (job.handler)(context))) {
        Ok(handler) => handler,
        Err(message) => {
            sometimes!("a handler panics before its first poll");
            return Polled::Panicked(message);
        }
    };
    let limit = if planted!(B23) { Duration::from_secs(86_400) } else { job.run_timeout };
    let mut watch = Watch { shared, held, deadline_at: shared.runtime.monotonic() + limit, alarms: None };
    let polled = poll_fn(|cx| {
        if let Some(end) = watch.look(cx) {
            return Poll::Ready(end);
        }
        match span.in_scope(|| guard(|| handler.as_mut().poll(cx))) {
            Ok(Poll::Ready(result)) => Poll::Ready(Polled::Returned(result)),
            Ok(Poll::Pending) => watch.wait(cx),
            Err(message) => Poll::Ready(Polled::Panicked(message)),
        }
    })
    .await;
    let dropped = span.in_scope(|| guard(|| drop(handler)));
    wind_up(shared, &held.run, polled, dropped)
}

/// What ends a handler that does not end by itself.
struct Watch<'a> {
    shared: &'a Shared,
    held: &'a Held,
    deadline_at: Monotonic,
    /// Set once the handler waits for something: most never do.
    alarms: Option<Alarms<'a>>,
}

struct Alarms<'a> {
    deadline: BoxFuture<'a, ()>,
    fence: BoxFuture<'a, ()>,
    changed: BoxFuture<'a, ()>,
}

impl<'a> Watch<'a> {
    /// Whether it has to end now.
    fn look(&mut self, cx: &mut task::Context<'_>) -> Option<Polled> {
        let (shared, held) = (self.shared, self.held);
        loop {
            if let Some(loss) = held.loss(shared.runtime.monotonic()) {
                return Some(Polled::Lost(loss));
            }
            if shared.stop.has_reached(Stage::Interrupt) {
                return Some(Polled::Interrupted);
            }
            let alarms = self.alarms.as_mut()?;
            // Re-arm whatever fired: a renewal moved the fence, or something changed that was just looked at.
            if alarms.fence.as_mut().poll(cx).is_ready() {
                sometimes!("a handler goes on where its lease would have ended without a renewal");
                alarms.fence = Self::fence(shared, held);
                continue;
            }
            if alarms.changed.as_mut().poll(cx).is_ready() {
                alarms.changed = Box::pin(held.changed.notified());
                continue;
            }
            return alarms.deadline.as_mut().poll(cx).is_ready().then_some(Polled::TimedOut);
        }
    }

    /// The handler waits: whoever has to end it wakes its task.
    fn wait(&mut self, cx: &mut task::Context<'_>) -> Poll<Polled> {
        let (shared, held) = (self.shared, self.held);
        if self.alarms.is_some() {
            return Poll::Pending;
        }
        self.alarms = Some(Alarms {
            deadline: Box::pin(shared.runtime.sleep_until(self.deadline_at)),
            fence: Self::fence(shared, held),
            changed: Box::pin(held.changed.notified()),
        });
        self.look(cx).map_or(Poll::Pending, Poll::Ready)
    }

    fn fence(shared: &'a Shared, held: &'a Held) -> BoxFuture<'a, ()> {
        Box::pin(shared.runtime.sleep_until(held.trusted_until()))
    }
}

/// After the last poll: ends what the handler left behind; a panic of its destructors is its own.
fn wind_up(shared: &Shared, run: &Run, polled: Polled, dropped: Result<(), String>) -> Polled {
    for child in run.abort_children() {
        sometimes!("a handler leaves a task behind, which is ended");
        shared.runners.add(child);
    }
    match (polled, dropped) {
        (Polled::Returned(_), Err(message)) => {
            sometimes!("a handler that has returned panics when it is dropped");
            Polled::Panicked(message)
        }
        (polled, _) => polled,
    }
}

/// A panic of user code is a failure with a message, never the end of a task.
pub(super) fn guard<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| message_of(&*panic))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

/// What to tell the observer and the store; no outcome when the row is not ours to end any more.
fn conclude(shared: &Shared, job: &Work, attempt: &Attempt, polled: Polled) -> (HandlerEnd, Option<Outcome>) {
    let fail = |failure: Failure, retry: Option<Retry>| {
        let policy = || Retry::after(job.backoff.delay(attempt.number, shared.runtime.random()));
        Some(Outcome::Failed { failure, retry: retry.unwrap_or_else(policy) })
    };
    match polled {
        Polled::Returned(Ok(completion)) if completion.is_recorded => {
            sometimes!("a handler has recorded its end itself");
            (HandlerEnd::Succeeded, None)
        }
        Polled::Returned(Ok(completion)) => match kept_result(&completion) {
            Ok(result) => {
                // What no database can count must not cost the success its record.
                let rows_affected = completion.rows_affected.map(|rows| rows.min(MAX_COUNT));
                (HandlerEnd::Succeeded, Some(Outcome::Succeeded { result, rows_affected }))
            }
            Err(_) if planted!(A4) => (HandlerEnd::Failed, None),
            Err(failure) => {
                sometimes!("a result is too large to be kept");
                (HandlerEnd::Failed, fail(failure, None))
            }
        },
        Polled::Returned(Err(HandlerError { verdict: Verdict::Fail(failure, retry) })) => {
            sometimes!("a handler decides about its own retry", retry.is_some());
            (HandlerEnd::Failed, fail(failure, retry))
        }
        Polled::Returned(Err(HandlerError { verdict: Verdict::Snooze(wait) })) => {
            sometimes!("a handler snoozes");
            (HandlerEnd::Snoozed, Some(Outcome::Snoozed { for_ms: wait_ms(wait) }))
        }
        Polled::Panicked(message) => {
            sometimes!("a handler panics");
            (HandlerEnd::Panicked, fail(Failure::new(ErrorCode::handler_panic(), &message), None))
        }
        Polled::TimedOut => {
            sometimes!("a handler runs into its timeout");
            let text = format!("ran longer than its run timeout of {:?}", job.run_timeout);
            (HandlerEnd::TimedOut, fail(Failure::new(ErrorCode::run_timeout(), &text), None))
        }
        Polled::Lost(Loss::Cancelled) => {
            sometimes!("a handler is cancelled while it runs");
            let failure = Failure::new(ErrorCode::canceled(), "cancelled while it ran");
            (HandlerEnd::Cancelled, Some(Outcome::Cancelled { failure }))
        }
        Polled::Lost(Loss::LeaseLost) => {
            sometimes!("a handler is stopped because its lease is lost");
            (HandlerEnd::LeaseLost, None)
        }
        // Given back it would run again, and its effect may have happened.
        Polled::Interrupted if job.delivery == Delivery::AtMostOnce => {
            sometimes!("a shutdown interrupts a handler that must not run twice");
            let failure = Failure::new(ErrorCode::canceled(), "interrupted by a shutdown; it may have taken effect");
            (HandlerEnd::Failed, fail(failure, Some(Retry::Never)))
        }
        Polled::Interrupted if planted!(D5) => panic!("a planted bug"),
        Polled::Interrupted => {
            sometimes!("a shutdown interrupts a handler, and its row is given back");
            (HandlerEnd::Interrupted, Some(Outcome::Released))
        }
    }
}

fn kept_result(completion: &Completion) -> Result<Json, Failure> {
    let Some(value) = &completion.result else { return Ok(Json::empty()) };
    Json::new(value).map_err(|error| {
        let code = match error {
            crate::model::JsonError::TooLarge(_) => ErrorCode::result_too_large(),
            crate::model::JsonError::Nul => ErrorCode::handler_error(),
        };
        Failure::new(code, &error.to_string())
    })
}

/// The longest a handler is given to notice, between the end of its grace and the report that names it.
pub(super) const INTERRUPT_PATIENCE: Duration = Duration::from_secs(1);
