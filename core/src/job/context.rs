//! What a handler is given: who it is, and when to stop.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    model::{ExecutionId, Fence, Generation, Incarnation, JobName, Json, LeaseRef, RequestId, Scope, Timestamp},
    runtime::{Runtime, Task},
};

/// Why a handler should come to an end soon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// The process shuts down; handlers still have its grace period.
    ShuttingDown,
    /// An operator cancelled the execution.
    Cancelled,
    /// The lease is lost; nothing more of the handler will run.
    LeaseLost,
}

/// The one place where stop reasons meet; the first one stays.
#[derive(Clone, Debug)]
pub(crate) struct StopSignal(Arc<watch::Sender<Option<StopReason>>>);

impl StopSignal {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    pub(crate) fn raise(&self, reason: StopReason) {
        self.0.send_if_modified(|now| {
            let first = now.is_none();
            now.get_or_insert(reason);
            first
        });
    }

    pub(crate) fn get(&self) -> Option<StopReason> {
        *self.0.borrow()
    }

    pub(crate) async fn raised(&self) -> StopReason {
        let mut receiver = self.0.subscribe();
        // The guard must not live on into another await: a handler's future has to be `Send`.
        let reason = receiver.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
        match reason {
            Some(reason) => reason,
            // The sender lives in `self`, so the channel cannot have closed.
            None => std::future::pending().await,
        }
    }
}

/// The facts of one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) lease: LeaseRef,
    pub(crate) generation: Generation,
    pub(crate) job: JobName,
    pub(crate) scope: Scope,
    pub(crate) slot_at: Option<Timestamp>,
    pub(crate) number: u32,
    pub(crate) payload: Option<Json>,
    pub(crate) incarnation: Incarnation,
}

/// Handed to a handler with each attempt. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    attempt: Arc<Attempt>,
    stop: StopSignal,
    runtime: Runtime,
    children: Arc<Mutex<Vec<Task>>>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.attempt.fmt(f)
    }
}

impl Context {
    pub(crate) fn new(attempt: Arc<Attempt>, stop: StopSignal, runtime: Runtime) -> Self {
        Self { attempt, stop, runtime, children: Arc::default() }
    }

    /// Which execution this is; the same for every attempt of it. Good as an idempotency key.
    pub fn id(&self) -> ExecutionId {
        self.attempt.lease.id
    }

    /// Which life of it: an operator's requeue begins a new one.
    pub fn generation(&self) -> Generation {
        self.attempt.generation
    }

    /// The job.
    pub fn job(&self) -> &JobName {
        &self.attempt.job
    }

    /// The scope to run for.
    pub fn scope(&self) -> &Scope {
        &self.attempt.scope
    }

    /// The slot to run for, if a schedule made it.
    pub fn slot_at(&self) -> Option<Timestamp> {
        self.attempt.slot_at
    }

    /// Attempt number, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// Grows with every claim of this execution. Pass it to receivers that refuse a lower number than the highest
    /// they have seen: they are then safe from an attempt that does not know yet that it was superseded (G4).
    pub fn fence(&self) -> Fence {
        self.attempt.lease.fence
    }

    /// Input, if the execution has any.
    pub fn payload(&self) -> Option<&Json> {
        self.attempt.payload.as_ref()
    }

    /// The process that runs this attempt.
    pub fn incarnation(&self) -> Incarnation {
        self.attempt.incarnation
    }

    /// What every write of this attempt shows the store.
    pub fn lease(&self) -> LeaseRef {
        self.attempt.lease
    }

    /// A new id for a call of a store's verb. Never the same twice.
    pub fn request_id(&self) -> RequestId {
        RequestId(self.runtime.uuid())
    }

    /// Whether and why the handler should come to an end.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.stop.get()
    }

    /// Waits until there is a reason to stop. Never returns if there is none.
    pub async fn stopping(&self) -> StopReason {
        self.stop.raised().await
    }

    /// Waits, by the injected clock.
    pub async fn sleep(&self, duration: Duration) {
        self.runtime.sleep(duration).await;
    }

    /// Starts a task that belongs to this attempt: it is dropped when the handler ends, in whatever way. A task
    /// spawned otherwise escapes pause, crash, lease loss and shutdown.
    pub fn spawn(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) {
        let task = self.runtime.spawn(name, future);
        self.children.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Ends what [`Context::spawn`] started; returns the tasks so that a shutdown can wait for them.
    pub(crate) fn abort_children(&self) -> Vec<Task> {
        let tasks = std::mem::take(&mut *self.children.lock().unwrap_or_else(PoisonError::into_inner));
        for task in &tasks {
            task.abort();
        }
        tasks
    }
}
