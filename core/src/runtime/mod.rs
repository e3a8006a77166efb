//! The injected runtime: everything the driver takes from its surroundings, so that a simulation can own it.
//!
//! Architecture invariant: no other module of this crate reads a clock, sleeps, spawns or draws randomness.

#[cfg(feature = "opentelemetry")]
mod opentelemetry;
mod signal;
mod tokio;
mod trace;

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use uuid::Uuid;

#[cfg(feature = "opentelemetry")]
pub use self::opentelemetry::OpenTelemetry;
pub use signal::Signal;
pub use trace::Propagator;

use crate::{
    model::{Epoch, Generation, JobName, LeaseRef, LockName, RequestId, Scope, ServiceName, Timestamp, TraceContext},
    store::BoxFuture,
};

/// A reading of a monotonic clock: time since an origin of the process's own. Used only to stop work or to wake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Monotonic(pub Duration);

impl Monotonic {
    /// Time passed since `earlier`; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Monotonic {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

/// A replica's own clocks.
pub trait Clock: Send + Sync {
    /// Never goes back, not touched by changes of the wall clock.
    fn monotonic(&self) -> Monotonic;
    /// The wall clock: for logs and labels only. No stored decision uses it (G10).
    fn wall(&self) -> Timestamp;
    /// Waits by the monotonic clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Where tasks come from.
pub trait Spawner: Send + Sync {
    /// Starts a task; `name` says what it is in logs and shutdown reports.
    fn spawn(&self, name: &str, future: BoxFuture<'static, ()>) -> Task;
}

/// Where randomness comes from.
pub trait Entropy: Send + Sync {
    /// 64 evenly drawn bits.
    fn next_u64(&self) -> u64;

    /// An id that nobody else has. This one is random (version 4).
    ///
    /// It must not hold a time: what is due at one instant is claimed in the order of ids, and no clock but the database's decides
    /// about that (G10).
    fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(u128_of(self.next_u64(), self.next_u64()).to_be_bytes()).into_uuid()
    }
}

/// What the driver tells whoever watches: metrics, the simulation's history.
pub trait Observer: Send + Sync {
    /// Called synchronously, on the task concerned; must not block.
    fn observe(&self, event: &DriverEvent);
}

/// Something that happened in this replica's driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DriverEvent {
    /// A handler is about to be polled for the first time.
    HandlerStarted {
        /// Which claim.
        lease: LeaseRef,
        /// Which life.
        generation: Generation,
        /// Attempt number, from 1.
        attempt: u32,
        /// The job.
        job: JobName,
        /// The scope.
        scope: Scope,
        /// Its slot, if a schedule made it.
        slot_at: Option<Timestamp>,
    },
    /// A handler will not be polled again.
    HandlerEnded {
        /// Which claim.
        lease: LeaseRef,
        /// How it ended.
        end: HandlerEnd,
    },
    /// The work of a service's tick is about to be polled for the first time.
    TickStarted {
        /// Which tick.
        tick: RequestId,
        /// Of which service.
        service: ServiceName,
        /// The lock that it runs under, and its epoch, unless it runs under none that has one.
        under: Option<(LockName, Epoch)>,
    },
    /// The work of a tick will not be polled again.
    TickEnded {
        /// Which tick.
        tick: RequestId,
        /// How it ended.
        end: TickEnd,
    },
    /// This replica leads a group from now on.
    LeaderGained {
        /// The group's lock.
        lock: LockName,
        /// `None` under a session lock.
        epoch: Option<Epoch>,
    },
    /// This replica does not lead the group any more, and none of its ticks runs here.
    LeaderLost {
        /// The group's lock.
        lock: LockName,
        /// As gained.
        epoch: Option<Epoch>,
    },
}

/// How the work of a tick ended, as its own replica saw it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TickEnd {
    /// It returned success.
    Succeeded,
    /// It returned an error.
    Failed,
    /// It panicked.
    Panicked,
    /// It ran into its timeout.
    TimedOut,
    /// Its lock was lost, or could no longer be trusted.
    LockLost,
    /// A shutdown interrupted it.
    Interrupted,
}

/// How a handler's run ended, as its own replica saw it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandlerEnd {
    /// It returned success.
    Succeeded,
    /// It returned an error.
    Failed,
    /// It panicked.
    Panicked,
    /// It ran into its run timeout.
    TimedOut,
    /// It asked for later.
    Snoozed,
    /// Its lease was lost, or could no longer be trusted.
    LeaseLost,
    /// A shutdown interrupted it.
    Interrupted,
    /// An operator cancelled it.
    Cancelled,
}

impl HandlerEnd {
    /// The name in metrics and spans.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::TimedOut => "timed_out",
            Self::Snoozed => "snoozed",
            Self::LeaseLost => "lease_lost",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Everything injected, cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Parts>);

/// In one place: every attempt has a runtime, and two threads that count up one number each wait for each other.
#[derive(Clone)]
struct Parts {
    clock: Arc<dyn Clock>,
    spawner: Arc<dyn Spawner>,
    entropy: Arc<dyn Entropy>,
    observer: Option<Arc<dyn Observer>>,
    propagator: Option<Arc<dyn Propagator>>,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtime")
    }
}

impl Runtime {
    /// The real thing: tokio's timers and tasks, the system's clocks and randomness.
    pub fn tokio() -> Self {
        Self::new(
            Arc::new(tokio::SystemClock::new()),
            Arc::new(tokio::TokioSpawner),
            Arc::new(tokio::SystemEntropy::new()),
        )
    }

    /// A runtime of these parts, watched by nobody and without traces.
    pub fn new(clock: Arc<dyn Clock>, spawner: Arc<dyn Spawner>, entropy: Arc<dyn Entropy>) -> Self {
        Self(Arc::new(Parts { clock, spawner, entropy, observer: None, propagator: None }))
    }

    /// The same runtime, watched by `observer`.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self(Arc::new(Parts { observer: Some(observer), ..Arc::unwrap_or_clone(self.0) }))
    }

    /// The same runtime, whose traces `propagator` carries: from the span in which an item is enqueued, or a job triggered,
    /// to those in which it runs. Both ends need it, the process that enqueues and the one that runs.
    #[must_use]
    pub fn propagated_by(self, propagator: Arc<dyn Propagator>) -> Self {
        Self(Arc::new(Parts { propagator: Some(propagator), ..Arc::unwrap_or_clone(self.0) }))
    }

    /// Reads the monotonic clock.
    pub fn monotonic(&self) -> Monotonic {
        self.0.clock.monotonic()
    }

    /// Reads the wall clock; for logs and labels only.
    pub fn wall(&self) -> Timestamp {
        self.0.clock.wall()
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        self.0.clock.sleep(duration).await;
    }

    /// Waits until the monotonic clock shows `at`.
    pub async fn sleep_until(&self, at: Monotonic) {
        self.sleep(at.since(self.monotonic())).await;
    }

    /// `future`'s output, or `None` when `limit` passes first; `future` is then dropped.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        first(future, self.sleep(limit)).await.ok()
    }

    /// Starts a task.
    pub fn spawn(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) -> Task {
        self.0.spawner.spawn(name, Box::pin(future))
    }

    /// 64 evenly drawn bits.
    pub fn random(&self) -> u64 {
        self.0.entropy.next_u64()
    }

    /// An id that nobody else has; it holds no time. Of [`Runtime::tokio`], ids drawn one after the other lie side by side in an
    /// index.
    pub fn uuid(&self) -> Uuid {
        self.0.entropy.uuid()
    }

    /// A duration drawn evenly from \[0, `limit`).
    pub fn random_below(&self, limit: Duration) -> Duration {
        let part = (limit.as_micros() * u128::from(self.random() >> 32)) >> 32;
        Duration::from_micros(u64::try_from(part).unwrap_or(u64::MAX))
    }

    /// Where the caller is in a trace.
    pub fn trace(&self) -> Option<TraceContext> {
        self.0.propagator.as_ref()?.current()
    }

    /// Who carries traces.
    pub(crate) fn propagator(&self) -> Option<&dyn Propagator> {
        self.0.propagator.as_deref()
    }

    /// Tells the observer, if there is one, what `event` makes.
    pub fn observe(&self, event: impl FnOnce() -> DriverEvent) {
        if let Some(observer) = &self.0.observer {
            observer.observe(&event());
        }
    }
}

fn u128_of(high: u64, low: u64) -> u128 {
    (u128::from(high) << 64) | u128::from(low)
}

/// Polls `main` before `other`: `Ok` when `main` finishes first, `Err` when `other` does. A fixed order, because a
/// random one (as in an unbiased `select!`) would not replay.
pub async fn first<A: Future, B: Future>(main: A, other: B) -> Result<A::Output, B::Output> {
    let (mut main, mut other) = (pin!(main), pin!(other));
    poll_fn(|cx| {
        if let Poll::Ready(output) = main.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        other.as_mut().poll(cx).map(Err)
    })
    .await
}

/// A running task.
#[derive(Debug)]
pub struct Task {
    name: String,
    handle: ::tokio::task::JoinHandle<()>,
}

impl Task {
    /// Wraps a tokio task; for implementors of [`Spawner`].
    pub fn new(name: &str, handle: ::tokio::task::JoinHandle<()>) -> Self {
        Self { name: name.to_owned(), handle }
    }

    /// What it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks the task to be dropped at its next await.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Whether it has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for its end. `false` when it panicked or was aborted.
    pub async fn join(&mut self) -> bool {
        (&mut self.handle).await.is_ok()
    }
}
