//! What a handler is given: who it is, and when to stop.

use std::{fmt, sync::Arc, time::Duration};

use super::run::{Run, StopReason};
use crate::{
    model::{
        ExecutionId, Fence, Generation, Incarnation, JobName, Json, LeaseRef, Outcome, Progress, RequestId,
        Retention, Scope, Timestamp, TraceContext,
    },
    store::Settlement,
};

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
    pub(crate) retain: Retention,
    pub(crate) trace: Option<TraceContext>,
}

/// Handed to a handler with each attempt. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    attempt: Arc<Attempt>,
    run: Arc<Run>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.attempt.fmt(f)
    }
}

impl Context {
    pub(crate) fn new(attempt: Arc<Attempt>, run: Arc<Run>) -> Self {
        Self { attempt, run }
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

    /// Where the item was enqueued, if its producer says so: to go on with its trace by hand. With a
    /// [`Propagator`](crate::runtime::Propagator) the span of the attempt is a child of it already.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.attempt.trace.as_ref()
    }

    /// The process that runs this attempt.
    pub fn incarnation(&self) -> Incarnation {
        self.attempt.incarnation
    }

    /// What every write of this attempt shows the store.
    pub fn lease(&self) -> LeaseRef {
        self.attempt.lease
    }

    /// The end of this attempt as a settle says it, with what its queue keeps of it: for an end in a transaction of the
    /// handler's own (`complete_in` of the databases' stores).
    pub fn settlement(&self, outcome: Outcome) -> Settlement {
        Settlement { lease: self.lease(), outcome, retain: self.attempt.retain }
    }

    /// A new id for a call of a store's verb. Never the same twice.
    pub fn request_id(&self) -> RequestId {
        RequestId(self.run.runtime.uuid())
    }

    /// Says how far this attempt is, for operators: the last word of each heartbeat's time is kept with the execution, while its
    /// lease is held, and costs no statement of its own. An attempt that ends before the next heartbeat leaves nothing.
    ///
    /// ```
    /// use tourbillon::{job::Context, model::Progress};
    /// fn page_done(ctx: &Context, page: u32, of: u32) {
    ///     ctx.progress(Progress::new(&format!("page {page} of {of}")).done(f64::from(page) / f64::from(of)));
    /// }
    /// ```
    pub fn progress(&self, progress: Progress) {
        self.run.saying.say(progress);
    }

    /// Whether and why the handler should come to an end.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.run.stop.get()
    }

    /// Waits until there is a reason to stop. Never returns if there is none.
    pub async fn stopping(&self) -> StopReason {
        self.run.stop.raised().await
    }

    /// Waits, by the injected clock.
    pub async fn sleep(&self, duration: Duration) {
        self.run.runtime.sleep(duration).await;
    }

    /// Starts a task that belongs to this attempt: it is dropped when the handler ends, in whatever way. A task
    /// spawned otherwise escapes pause, crash, lease loss and shutdown.
    pub fn spawn(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) {
        self.run.spawn(name, future);
    }
}
