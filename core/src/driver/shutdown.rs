//! A running scheduler and its orderly end (G13).

use std::{fmt, sync::Arc, time::Duration};

use super::{JobOperator, Services, Shared, UnknownService, runner::INTERRUPT_PATIENCE, stop::Stage};
use crate::{
    job::StopReason,
    model::Incarnation,
    runtime::{Monotonic, Task},
    service::TickOutcome,
};

/// How long [`Running::stop`] lets handlers and ticks finish.
const USUAL_GRACE: Duration = Duration::from_secs(30);

/// A running scheduler.
pub struct Running {
    shared: Arc<Shared>,
    /// End when a drain begins.
    loops: Vec<Task>,
    /// Go on until the last attempt is recorded.
    tail: Vec<Task>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("incarnation", &self.shared.incarnation).finish_non_exhaustive()
    }
}

/// Some work did not end in time. It may still run, or its row was not given back (such a row expires and is
/// charged), or it was a tick that had to be interrupted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shutdown timed out; may still run, was not given back or was interrupted: {}", still_running.join(", "))]
pub struct ShutdownTimeout {
    /// Names of tasks: a loop, "job scope execution" of an attempt, or a tick of a service.
    pub still_running: Vec<String>,
}

impl Running {
    pub(super) fn new(shared: Arc<Shared>, loops: Vec<Task>, tail: Vec<Task>) -> Self {
        Self { shared, loops, tail }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The identity of this start of the process, as it appears in leases.
    pub fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// Handlers running now.
    pub fn running_handlers(&self) -> usize {
        self.shared.leases.len().saturating_sub(self.shared.queues.waiting())
    }

    /// The services: their health, and ticks on demand. Cheap to clone; for an admin endpoint, say.
    pub fn services(&self) -> Services {
        Services::new(Arc::clone(&self.shared))
    }

    /// What operators do with the jobs of this database. Cheap to clone; for an admin endpoint, say.
    pub fn jobs(&self) -> JobOperator {
        JobOperator::at(self.shared.caller.store(), self.shared.runtime.clone())
    }

    /// Runs one tick of a service now, in the same way as its interval does: guard, gate, lock, work, health.
    ///
    /// # Errors
    /// [`UnknownService`] when this scheduler has no service of that name. How the tick went is in the outcome.
    pub async fn tick(&self, service: &str) -> Result<TickOutcome, UnknownService> {
        self.services().tick(service).await
    }

    /// [`Running::shutdown`] with a grace of 30 s.
    ///
    /// # Errors
    /// As there.
    pub async fn stop(self) -> Result<(), ShutdownTimeout> {
        self.shutdown(USUAL_GRACE).await
    }

    /// Ends in order: nothing new is planned, claimed or ticked, handlers and ticks may finish within `grace`, the
    /// others are interrupted and their executions given back uncharged (or dead, under at-most-once
    /// delivery). A tick has nothing to give back.
    ///
    /// # Errors
    /// [`ShutdownTimeout`] names what did not end: a handler that never awaits, a row that could not be given back
    /// because the store was out of reach, or a tick that was interrupted (P-42). `Ok` means that nothing spawned through the runtime runs any more.
    pub async fn shutdown(mut self, grace: Duration) -> Result<(), ShutdownTimeout> {
        let shared = Arc::clone(&self.shared);
        let now = || shared.runtime.monotonic();
        shared.stop.advance(Stage::Drain);
        shared.leases.tell_all(StopReason::ShuttingDown);
        let drained_at = now() + grace;

        // Loops first: once the claimer has ended no new runner appears. A store call in flight is waited for,
        // since rows that it claims must be given back.
        let claimed_at = drained_at.max(now() + shared.settings.call_timeout * 2);
        let loops = join_all(&shared, std::mem::take(&mut self.loops), claimed_at).await;
        if shared.leases.len() > 0 && planted!(A21) {
            shared.runners.take().iter().for_each(Task::abort);
        }
        let mut runners = join_all(&shared, shared.runners.take(), drained_at).await;
        sometimes!("a loop does not end within the grace of a shutdown", !loops.is_empty());
        sometimes!("a shutdown waits for handlers and ticks, and all end in time", runners.is_empty());
        sometimes!("a shutdown has to interrupt handlers or ticks", !runners.is_empty());

        shared.stop.advance(Stage::Interrupt);
        shared.leases.wake_all();
        // Interrupting needs one poll; giving back needs the store.
        let given_back_at = now() + INTERRUPT_PATIENCE + shared.settings.call_timeout * 2;
        runners.append(&mut shared.runners.take());
        let runners = join_all(&shared, runners, given_back_at).await;
        sometimes!("what a shutdown interrupts does not end", !runners.is_empty());
        let mut still_running: Vec<_> = runners.iter().map(|task| task.name().to_owned()).collect();
        still_running.append(&mut shared.unreleased.take());

        shared.stop.advance(Stage::End);
        // Heartbeats in flight, and tasks that handlers spawned, end here too.
        let tail = std::mem::take(&mut self.tail);
        let rest: Vec<_> = loops.into_iter().chain(tail).chain(shared.runners.take()).collect();
        for task in runners.iter().chain(&rest) {
            task.abort();
        }
        // An aborted loop ends at its next await; one that never awaits is named.
        let stuck = join_all(&shared, rest, now() + INTERRUPT_PATIENCE).await;
        still_running.extend(stuck.iter().map(|task| task.name().to_owned()));
        sometimes!("a loop never awaits, and is named", !stuck.is_empty());
        if still_running.is_empty() { Ok(()) } else { Err(ShutdownTimeout { still_running }) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.advance(Stage::End);
        let runners = self.shared.runners.take();
        for task in self.loops.iter().chain(&self.tail).chain(&runners) {
            task.abort();
        }
    }
}

/// Waits for tasks until `deadline`; returns those that have not ended by then.
async fn join_all(shared: &Shared, tasks: Vec<Task>, deadline: Monotonic) -> Vec<Task> {
    let mut left = Vec::new();
    for mut task in tasks {
        let wait = deadline.since(shared.runtime.monotonic());
        if !task.is_finished() && shared.runtime.timeout(wait, task.join()).await.is_none() {
            left.push(task);
        }
    }
    left
}
