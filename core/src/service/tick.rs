//! One tick: what the work is given, what it reports, how it ended.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    job::{Run, StopReason},
    model::{Epoch, Incarnation, RequestId, ServiceName},
    store::StoreError,
};

/// What made a tick happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// The interval.
    Interval,
    /// The start-up pass.
    StartUp,
    /// Somebody asked for it.
    Demand,
}

/// The facts of one tick.
#[derive(Clone, Debug)]
pub(crate) struct TickFacts {
    pub(crate) request: RequestId,
    pub(crate) service: ServiceName,
    pub(crate) trigger: Trigger,
    pub(crate) incarnation: Incarnation,
    pub(crate) epoch: Option<Epoch>,
}

/// Handed to a service's work with each tick. Cheap to clone.
#[derive(Clone)]
pub struct Tick {
    facts: Arc<TickFacts>,
    run: Arc<Run>,
}

impl fmt::Debug for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.fmt(f)
    }
}

impl Tick {
    pub(crate) fn new(facts: Arc<TickFacts>, run: Arc<Run>) -> Self {
        Self { facts, run }
    }

    /// Identity of this tick, new for each: what an audit record or a log line of its work is filed under.
    pub fn request(&self) -> RequestId {
        self.facts.request
    }

    /// The service.
    pub fn service(&self) -> &ServiceName {
        &self.facts.service
    }

    /// What made it happen.
    pub fn trigger(&self) -> Trigger {
        self.facts.trigger
    }

    /// The process that runs it.
    pub fn incarnation(&self) -> Incarnation {
        self.facts.incarnation
    }

    /// The epoch of the lock that this tick runs under; grows with every holder. Pass it to receivers that refuse a
    /// lower number than the highest they have seen: they are then safe from a tick that does not know yet that it
    /// was superseded (G7). `None` on every replica, and under a session lock.
    pub fn epoch(&self) -> Option<Epoch> {
        self.facts.epoch
    }

    /// Whether and why the work should come to an end.
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

    /// Starts a task that belongs to this tick: it is dropped when the tick ends, in whatever way. A task spawned
    /// otherwise escapes pause, crash, a lost lock and shutdown.
    pub fn spawn(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) {
        self.run.spawn(name, future);
    }
}

/// What a pass reports: nothing, or how many of what it handled, which is logged at its end (P-29).
///
/// ```
/// use tourbillon::service::Pass;
/// assert_eq!(Pass::from(3), Pass::counted("count", 3));
/// let swept = Pass::counted("sessions_deleted", 12);
/// # let _ = swept;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pass {
    /// What was counted, and how many.
    pub counted: Option<(&'static str, u64)>,
}

impl Pass {
    /// `count` of `what`; `what` becomes the key of the log line.
    pub fn counted(what: &'static str, count: u64) -> Self {
        Self { counted: Some((what, count)) }
    }
}

impl From<()> for Pass {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<u64> for Pass {
    fn from(count: u64) -> Self {
        Self::counted("count", count)
    }
}

/// How a tick ended.
#[derive(Clone, Debug)]
pub enum TickOutcome {
    /// The pass succeeded.
    Succeeded(Pass),
    /// There was no pass, and that is no failure.
    Skipped(Skip),
    /// There was no pass, or it failed.
    Failed(TickError),
}

/// Why a tick was skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Skip {
    /// The tick before it still runs in this process (P-40).
    StillRunning,
    /// The gate said no.
    Gate,
    /// Another replica has the lock.
    LockHeld,
    /// Another replica leads, or none.
    NotLeader,
    /// This process shuts down.
    ShuttingDown,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StillRunning => "the tick before it is still running",
            Self::Gate => "its gate said no",
            Self::LockHeld => "another replica has the lock",
            Self::NotLeader => "this replica does not lead",
            Self::ShuttingDown => "this process shuts down",
        })
    }
}

/// Why a tick failed. The message says whether it was the work or the lock (P-22).
#[derive(Clone, Debug, thiserror::Error)]
pub enum TickError {
    /// The work returned an error: its text, with its sources.
    #[error("the pass failed: {0}")]
    Work(String),
    /// The work, or the gate, panicked.
    #[error("the pass panicked: {0}")]
    Panicked(String),
    /// It ran longer than its timeout.
    #[error("the pass ran longer than its timeout of {0:?}")]
    TimedOut(Duration),
    /// The shutdown's grace was over.
    #[error("the pass was interrupted by the shutdown")]
    Interrupted,
    /// The lock was lost, or could not be trusted any more; the rest of the pass did not run.
    #[error("the lock was lost while the pass ran")]
    LockLost,
    /// Whether the lock is free could not be learnt.
    #[error("the lock could not be tried: {0}")]
    Lock(StoreError),
}
