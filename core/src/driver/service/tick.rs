//! One tick: guard, gate, lock, work, record. The same for the interval, for the start-up pass and on demand (P-27).

use std::{error::Error, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use tokio::sync::oneshot;

use super::{
    Served,
    hold::{Hold, LockRules, NotHeld, Trust, acquire},
    leader::Part,
};
use crate::{
    driver::{Shared, measure, runner::guard, stop::Stage},
    job::{BoxError, Run, StopReason, StopSignal},
    model::{RequestId, ServiceName},
    runtime::{DriverEvent, TickEnd},
    service::{CheckedMode, GateFn, Pass, Skip, Tick, TickError, TickFacts, TickOutcome, Trigger, WorkFn},
    store::BoxFuture,
};

/// Starts a tick as a task of its own; the result is how it ended.
pub(super) fn launch(
    shared: &Arc<Shared>,
    name: &ServiceName,
    trigger: Trigger,
) -> impl Future<Output = TickOutcome> + Send + use<> {
    let (tell, told) = oneshot::channel();
    sometimes!("a tick is not begun because of a shutdown", shared.stop.has_reached(Stage::Drain));
    if !shared.stop.has_reached(Stage::Drain) {
        let (sharing, service) = (Arc::clone(shared), name.clone());
        let task = shared.runtime.spawn(&format!("tick of service {name}"), async move {
            if let Some(served) = sharing.services.get(&service) {
                // Nobody may wait for it.
                let _ = tell.send(run(&sharing, served, trigger).await);
            }
        });
        shared.runners.add(task);
    }
    async move { told.await.unwrap_or(TickOutcome::Skipped(Skip::ShuttingDown)) }
}

/// Marks a service as running, for as long as it lives.
struct InFlight<'a>(&'a Served);

impl<'a> InFlight<'a> {
    fn enter(served: &'a Served) -> Option<Self> {
        // Only a tick that began may end: no value is made, and dropped again, for one that did not.
        let began = served.record().begin() || planted!(D6);
        if began { Some(Self(served)) } else { None }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.record().end();
    }
}

async fn run(shared: &Arc<Shared>, served: &Served, trigger: Trigger) -> TickOutcome {
    let name = &served.spec.name;
    let request = RequestId(shared.runtime.uuid());
    // Everything that the tick logs is filed under its component and request (P-29). An entered span must not live
    // across an await, so that each poll enters it anew.
    let span = tracing::info_span!("tick", component = %name, %request);
    let began_at = shared.runtime.monotonic();
    let in_flight = InFlight::enter(served);
    let outcome = match &in_flight {
        None => {
            sometimes!("a tick is skipped because another of its service still runs");
            TickOutcome::Skipped(Skip::StillRunning)
        }
        Some(_) => {
            let mut pass = Box::pin(pass(shared, served, trigger, request));
            poll_fn(|cx| span.in_scope(|| pass.as_mut().poll(cx))).await
        }
    };
    let now = shared.runtime.monotonic();
    let ran = !matches!(outcome, TickOutcome::Skipped(_) | TickOutcome::Failed(TickError::Lock(_)));
    let took = ran.then(|| now.since(began_at));
    served.record().note(&outcome, took, now, shared.runtime.wall());
    measure::tick(name, &outcome, took);
    drop(in_flight);
    span.in_scope(|| tell(served, &outcome, took.unwrap_or_default()));
    outcome
}

/// Logs the end of a tick and calls the callbacks of the service; a panic in those is theirs alone.
fn tell(served: &Served, outcome: &TickOutcome, took: Duration) {
    let spec = &served.spec;
    let name = &spec.name;
    let told = match outcome {
        TickOutcome::Succeeded(pass) => {
            match pass.counted {
                Some((key, count)) => {
                    tracing::info!(service = %name, result = "success", key, count, ?took, "{key}: {count}");
                }
                None => tracing::debug!(service = %name, result = "success", ?took, "tick succeeded"),
            }
            guard(|| spec.on_success.iter().for_each(|told| told(pass)))
        }
        TickOutcome::Skipped(Skip::StillRunning) => {
            tracing::warn!(service = %name, result = "skipped", "{name} still running, skipping tick");
            Ok(())
        }
        TickOutcome::Skipped(skip) => {
            tracing::debug!(service = %name, result = "skipped", "tick skipped: {skip}");
            Ok(())
        }
        TickOutcome::Failed(error) => {
            tracing::error!(service = %name, result = "failure", ?took, "{error}");
            guard(|| spec.on_error.iter().for_each(|told| told(error)))
        }
    };
    if let Err(message) = told {
        sometimes!("a callback of a service panics");
        tracing::error!(service = %name, "a callback of the service panicked: {message}");
    }
}

async fn pass(shared: &Arc<Shared>, served: &Served, trigger: Trigger, request: RequestId) -> TickOutcome {
    let spec = &served.spec;
    if let Some(gate) = &spec.gate {
        match ask(shared, gate, spec.timeout).await {
            Ok(true) => {}
            Ok(false) => {
                sometimes!("a gate keeps a tick from running");
                return TickOutcome::Skipped(Skip::Gate);
            }
            Err(error) => {
                sometimes!("a gate fails");
                return TickOutcome::Failed(error);
            }
        }
    }
    let permit = match permit(shared, &spec.mode).await {
        Ok(permit) => permit,
        Err(outcome) => return outcome,
    };
    let work = match (trigger, &spec.start) {
        (Trigger::StartUp, Some(start)) => start,
        _ => &spec.work,
    };
    let epoch = permit.trust().and_then(|trust| trust.epoch);
    let facts = TickFacts { request, service: spec.name.clone(), trigger, incarnation: shared.incarnation, epoch };
    let result = perform(shared, work, facts, spec.timeout, permit.trust()).await;
    if matches!((&result, &permit), (Err(TickError::TimedOut(_)), Permit::Locked(_))) && planted!(A14) {
        std::mem::forget(permit);
        return TickOutcome::Failed(TickError::TimedOut(spec.timeout));
    }
    permit.give_back().await;
    match result {
        Ok(pass) => TickOutcome::Succeeded(pass),
        Err(error) => TickOutcome::Failed(error),
    }
}

/// What allows a tick to run.
enum Permit {
    Free,
    Locked(Hold),
    Led(Part),
}

impl Permit {
    fn trust(&self) -> Option<&Trust> {
        match self {
            Self::Free => None,
            Self::Locked(hold) => Some(&hold.trust),
            Self::Led(part) => Some(part.trust()),
        }
    }

    async fn give_back(self) {
        if let Self::Locked(hold) = self {
            hold.release().await;
        }
    }
}

/// Asks for what the mode demands; an error is how the tick ends.
async fn permit(shared: &Arc<Shared>, mode: &CheckedMode) -> Result<Permit, TickOutcome> {
    match mode {
        CheckedMode::EveryReplica => Ok(Permit::Free),
        CheckedMode::TickLock { lock, ttl, locker } => {
            let rules = LockRules { name: lock, ttl: *ttl, renew_every: *ttl / 4, locker: locker.as_ref() };
            acquire(shared, &rules).await.map(Permit::Locked).map_err(|why| match why {
                NotHeld::Taken(_) => {
                    sometimes!("a tick is skipped because another replica has its lock");
                    TickOutcome::Skipped(Skip::LockHeld)
                }
                NotHeld::Error(error) => {
                    sometimes!("the lock of a tick cannot be tried");
                    TickOutcome::Failed(TickError::Lock(error))
                }
            })
        }
        CheckedMode::Leader { group } => {
            let part = shared.groups.get(group).and_then(super::leader::Group::join);
            sometimes!("a tick is skipped because another replica leads", part.is_none());
            part.map(Permit::Led).ok_or(TickOutcome::Skipped(Skip::NotLeader))
        }
    }
}

async fn ask(shared: &Shared, gate: &GateFn, timeout: Duration) -> Result<bool, TickError> {
    let mut asked = guard(|| gate()).map_err(TickError::Panicked)?;
    let answer = poll_fn(|cx| match guard(|| asked.as_mut().poll(cx)) {
        Ok(Poll::Ready(answer)) => Poll::Ready(Ok(answer)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(message) => Poll::Ready(Err(TickError::Panicked(message))),
    });
    shared.runtime.timeout(timeout, answer).await.unwrap_or(Err(TickError::TimedOut(timeout)))
}

/// Polls the work until it returns or must stop.
async fn perform(
    shared: &Shared,
    work: &WorkFn,
    facts: TickFacts,
    timeout: Duration,
    trust: Option<&Trust>,
) -> Result<Pass, TickError> {
    // A reply that came too late to be trusted: no work begins.
    if trust.is_some_and(|trust| trust.is_over(shared.runtime.monotonic())) {
        sometimes!("the lock of a tick comes too late to be trusted");
        return Err(TickError::LockLost);
    }
    let (request, service) = (facts.request, facts.service.clone());
    let run = Run::new(shared.runtime.clone());
    let tick = Tick::new(Arc::new(facts), Arc::clone(&run));
    let under = trust.and_then(|trust| Some((trust.name.clone(), trust.epoch?)));
    shared.runtime.observe(|| DriverEvent::TickStarted { tick: request, service: service.clone(), under });
    let result = match guard(|| work(tick.clone())) {
        Ok(running) => poll_work(shared, running, &run.stop, timeout, trust).await,
        Err(message) => Err(TickError::Panicked(message)),
    };
    sometimes!("a tick panics", matches!(result, Err(TickError::Panicked(_))));
    for child in run.abort_children() {
        sometimes!("a tick leaves a task behind, which is ended");
        shared.runners.add(child);
    }
    if matches!(result, Err(TickError::Interrupted)) {
        // Nobody runs the rest of it: unlike an execution, a tick has nothing to give back (P-42).
        shared.unreleased.add(format!("tick of service {service} (interrupted)"));
    }
    shared.runtime.observe(|| DriverEvent::TickEnded { tick: request, end: end(&result) });
    result
}

async fn poll_work(
    shared: &Shared,
    mut running: BoxFuture<'static, Result<Pass, BoxError>>,
    stop: &StopSignal,
    timeout: Duration,
    trust: Option<&Trust>,
) -> Result<Pass, TickError> {
    let mut over = Box::pin(over(shared, trust));
    let mut deadline: BoxFuture<'_, ()> = Box::pin(shared.runtime.sleep(timeout));
    let mut draining = Box::pin(shared.stop.reached(Stage::Drain));
    let mut interrupted = Box::pin(shared.stop.reached(Stage::Interrupt));
    let result = poll_fn(|cx| {
        // Before every poll: once the lock may not be trusted no further step runs, wherever the process was held up.
        if trust.is_some_and(|trust| trust.is_over(shared.runtime.monotonic())) || over.as_mut().poll(cx).is_ready() {
            sometimes!("a tick is stopped because its lock is lost");
            return Poll::Ready(Err(TickError::LockLost));
        }
        if stop.get().is_none() && draining.as_mut().poll(cx).is_ready() {
            sometimes!("a tick is told of a shutdown");
            stop.raise(StopReason::ShuttingDown);
        }
        if interrupted.as_mut().poll(cx).is_ready() {
            sometimes!("a shutdown interrupts a tick");
            return Poll::Ready(Err(TickError::Interrupted));
        }
        if deadline.as_mut().poll(cx).is_ready() {
            sometimes!("a tick runs into its timeout");
            return Poll::Ready(Err(TickError::TimedOut(timeout)));
        }
        match guard(|| running.as_mut().poll(cx)) {
            Ok(Poll::Ready(result)) => Poll::Ready(result.map_err(|error| TickError::Work(texts(&*error)))),
            Ok(Poll::Pending) => Poll::Pending,
            Err(message) => Poll::Ready(Err(TickError::Panicked(message))),
        }
    })
    .await;
    match guard(|| drop(running)) {
        Err(message) if result.is_ok() => Err(TickError::Panicked(message)),
        _ => result,
    }
}

/// Until the lock is lost or may not be trusted any more; for ever without one.
async fn over(shared: &Shared, trust: Option<&Trust>) {
    match trust {
        Some(trust) => trust.over(&shared.runtime).await,
        None => std::future::pending().await,
    }
}

fn end(result: &Result<Pass, TickError>) -> TickEnd {
    match result {
        Ok(_) => TickEnd::Succeeded,
        Err(TickError::Work(_) | TickError::Lock(_)) => TickEnd::Failed,
        Err(TickError::Panicked(_)) => TickEnd::Panicked,
        Err(TickError::TimedOut(_)) => TickEnd::TimedOut,
        Err(TickError::LockLost) => TickEnd::LockLost,
        Err(TickError::Interrupted) => TickEnd::Interrupted,
    }
}

/// An error's text with those of its sources.
fn texts(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
