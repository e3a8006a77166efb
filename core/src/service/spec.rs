//! A service's rules and their validation. Every rule has an error of its own that names the service and the mend
//! (P-25).

use std::{fmt, sync::Arc, time::Duration};

use super::{Locker, Pass, Tick, TickError};
use crate::{
    job::BoxError,
    model::{LockName, NameError, ServiceName},
    store::BoxFuture,
};

/// Name of the group of services that name none.
pub(crate) const DEFAULT_GROUP: &str = "leader";

/// Longest interval and longest timeout of a service: 90 days.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);

pub(crate) type WorkFn = Arc<dyn Fn(Tick) -> BoxFuture<'static, Result<Pass, BoxError>> + Send + Sync>;
pub(crate) type GateFn = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;
pub(crate) type ErrorFn = Arc<dyn Fn(&TickError) + Send + Sync>;
pub(crate) type SuccessFn = Arc<dyn Fn(&Pass) + Send + Sync>;

/// On how many replicas a service ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaMode {
    /// On each. Nothing but the process itself is asked: a tick is skipped while the one before it still runs here.
    /// For work that is idempotent or is guarded by the database itself. Run one replica instead when the work has
    /// effects outside that must not be repeated and none of the other modes fits.
    #[default]
    EveryReplica,
    /// On whichever replica gets the lock for this one tick; the others skip it. The lock is tried, never waited for,
    /// renewed while the tick runs, and its loss cancels the tick. Ticks of several replicas are not in step, so the
    /// work runs up to once per interval *and replica*, never twice at once. For work that must not overlap with
    /// itself but may run more often than its interval. Run one replica instead, or use [`HaMode::Leader`], when the
    /// interval itself must hold for all replicas together.
    TickLock,
    /// On the replica that leads its [group](super::Leadership), which keeps the lock from tick to tick. A new leader
    /// ticks as a new process does: after its start-up pass, from its own first tick on. For work that keeps
    /// something between ticks, or whose interval must hold for all replicas together. Run one replica instead when
    /// work outside the reach of an epoch check must never overlap for even the length of a clock step: a leader is
    /// safe within the drift that G7 names, and fenced beyond it.
    Leader,
}

/// When the first tick comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstTick {
    /// After a wait drawn evenly from \[0, interval / 2), so that replicas started together do not tick together.
    #[default]
    Jittered,
    /// At once, then after each interval.
    Immediately,
    /// After one interval.
    AfterInterval,
}

/// Something to do at an interval, under a lock if its [mode](HaMode) says so. Built by chaining; checked when the
/// scheduler is built.
///
/// | rule | default |
/// | --- | --- |
/// | interval | none: set [`Service::every`] |
/// | mode | every replica |
/// | first tick | jittered |
/// | timeout | 60 s |
/// | jitter | none |
/// | lock | a lease row of the service's name, or the group's; time to live 30 s, renewed at a quarter of it |
/// | gate, start-up pass, callbacks | none |
///
/// Ticks come at fixed distances from the first, by the monotonic clock. Ticks that a slow or paused process missed
/// are not made up for.
///
/// ```
/// use std::time::Duration;
/// use tourbillon::{job::BoxError, service::{Service, Tick}};
///
/// let service = Service::new("session_gc").every(Duration::from_secs(3600)).run(|tick: Tick| async move {
///     println!("request {}", tick.request());
///     Ok::<u64, BoxError>(3)
/// });
/// ```
#[derive(Clone)]
pub struct Service {
    name: String,
    every: Option<Duration>,
    mode: HaMode,
    first: FirstTick,
    timeout: Duration,
    jitter: Duration,
    lock: Option<String>,
    ttl: Duration,
    locker: Option<Arc<dyn Locker>>,
    group: String,
    gate: Option<GateFn>,
    start: Option<WorkFn>,
    work: Option<WorkFn>,
    on_error: Option<ErrorFn>,
    on_success: Option<SuccessFn>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Service");
        shown.field("name", &self.name).field("every", &self.every).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Service {
    /// A service of this name that does nothing yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            every: None,
            mode: HaMode::default(),
            first: FirstTick::default(),
            timeout: Duration::from_secs(60),
            jitter: Duration::ZERO,
            lock: None,
            ttl: Duration::from_secs(30),
            locker: None,
            group: DEFAULT_GROUP.to_owned(),
            gate: None,
            start: None,
            work: None,
            on_error: None,
            on_success: None,
        }
    }

    /// Ticks this far apart: 1 ms to 90 days.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        Self { every: Some(interval), ..self }
    }

    /// On how many replicas it ticks.
    #[must_use]
    pub fn mode(self, mode: HaMode) -> Self {
        Self { mode, ..self }
    }

    /// When the first tick comes.
    #[must_use]
    pub fn first(self, first: FirstTick) -> Self {
        Self { first, ..self }
    }

    /// A tick that runs longer is dropped and fails: up to 90 days. It covers gate and work, not the lock.
    #[must_use]
    pub fn timeout(self, limit: Duration) -> Self {
        Self { timeout: limit, ..self }
    }

    /// Delays every tick by a draw from \[0, `most`); below the interval. The distance between ticks stays the interval on
    /// average.
    #[must_use]
    pub fn jitter(self, most: Duration) -> Self {
        Self { jitter: most, ..self }
    }

    /// Name of the lock of a [`HaMode::TickLock`] service; its own name if not given. Programs that share a database
    /// schema and must not exclude each other need different names.
    #[must_use]
    pub fn lock(self, name: &str) -> Self {
        Self { lock: Some(name.to_owned()), ..self }
    }

    /// How long the lock of a [`HaMode::TickLock`] service outlives a dead holder: 10 ms to 90 days. A tick may run
    /// longer: the lock is renewed.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Uses a lock of another kind for [`HaMode::TickLock`]. Best effort: see [`Locker`].
    #[must_use]
    pub fn locker(self, locker: Arc<dyn Locker>) -> Self {
        Self { locker: Some(locker), ..self }
    }

    /// Mode [`HaMode::Leader`], in this group instead of the scheduler's default one, which is called `leader`.
    #[must_use]
    pub fn led_by(self, group: &str) -> Self {
        Self { mode: HaMode::Leader, group: group.to_owned(), ..self }
    }

    /// Asked before every tick and before the lock; `false` skips the tick silently, which is no failure.
    #[must_use]
    pub fn should_run<F, Fut>(self, gate: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        Self { gate: Some(Arc::new(move || Box::pin(gate()))), ..self }
    }

    /// A pass of its own before the first tick, under the same lock, gate and timeout.
    #[must_use]
    pub fn on_start<F, Fut, T, E>(self, pass: F) -> Self
    where
        F: Fn(Tick) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Pass>,
        E: Into<BoxError>,
    {
        Self { start: Some(work(pass)), ..self }
    }

    /// Told of every failed tick, after it was recorded. Must not block.
    #[must_use]
    pub fn on_error(self, told: impl Fn(&TickError) + Send + Sync + 'static) -> Self {
        Self { on_error: Some(Arc::new(told)), ..self }
    }

    /// Told of every pass that succeeded, after it was recorded: to refresh metrics. Must not block.
    #[must_use]
    pub fn on_success(self, told: impl Fn(&Pass) + Send + Sync + 'static) -> Self {
        Self { on_success: Some(Arc::new(told)), ..self }
    }

    /// What to do. The closure is called once per tick. It may report a count (`Ok(3)`), or nothing (`Ok(())`).
    #[must_use]
    pub fn run<F, Fut, T, E>(self, pass: F) -> Self
    where
        F: Fn(Tick) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Pass>,
        E: Into<BoxError>,
    {
        Self { work: Some(work(pass)), ..self }
    }

    /// Checks the rules.
    pub(crate) fn check(self) -> Result<CheckedService, ServiceError> {
        let name = ServiceName::new(&self.name).map_err(|error| ServiceError::Name(self.name.clone(), error))?;
        let fail = |rule: ServiceRule| Err(ServiceError::Rule(name.clone(), rule));
        let Some(every) = self.every else { return fail(ServiceRule::NoInterval) };
        if every < Duration::from_millis(1) || every > LONGEST {
            return fail(ServiceRule::Interval(every));
        }
        if self.timeout.is_zero() || self.timeout > LONGEST {
            return fail(ServiceRule::Timeout(self.timeout));
        }
        if self.jitter >= every {
            return fail(ServiceRule::Jitter { jitter: self.jitter, every });
        }
        let named = |name: &str| LockName::new(name).map_err(|error| ServiceError::Name(name.to_owned(), error));
        let mode = match self.mode {
            HaMode::EveryReplica => CheckedMode::EveryReplica,
            HaMode::TickLock => {
                if let Err(rule) = check_ttl(self.ttl) {
                    return fail(rule);
                }
                let lock = named(self.lock.as_deref().unwrap_or(&self.name))?;
                CheckedMode::TickLock { lock, ttl: self.ttl, locker: self.locker }
            }
            HaMode::Leader => CheckedMode::Leader { group: named(&self.group)? },
        };
        let Some(work) = self.work else { return fail(ServiceRule::NoWork) };
        Ok(CheckedService {
            every,
            mode,
            first: self.first,
            timeout: self.timeout,
            jitter: self.jitter,
            gate: self.gate,
            start: self.start,
            work,
            on_error: self.on_error,
            on_success: self.on_success,
            name,
        })
    }
}

/// A time to live that a lock can have.
pub(super) fn check_ttl(ttl: Duration) -> Result<(), ServiceRule> {
    if ttl < Duration::from_millis(10) || ttl > LONGEST { Err(ServiceRule::Ttl(ttl)) } else { Ok(()) }
}

fn work<F, Fut, T, E>(pass: F) -> WorkFn
where
    F: Fn(Tick) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Into<Pass>,
    E: Into<BoxError>,
{
    Arc::new(move |tick| {
        let run = pass(tick);
        Box::pin(async move { run.await.map(Into::into).map_err(Into::into) })
    })
}

/// Why a service was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The name cannot be used.
    #[error("service `{0}`: {1}")]
    Name(String, NameError),
    /// Two services of one name.
    #[error("service `{0}`: defined twice: give each service a name of its own")]
    Duplicate(ServiceName),
    /// A rule of the service does not hold.
    #[error("service `{0}`: {1}")]
    Rule(ServiceName, ServiceRule),
    /// A rule of a leadership group does not hold.
    #[error("leadership `{0}`: {1}")]
    Group(LockName, ServiceRule),
    /// Two groups of one name.
    #[error("leadership `{0}`: defined twice: give each group a name of its own")]
    DuplicateGroup(LockName),
    /// No such group.
    #[error("service `{0}`: no leadership `{1}`: add it to the builder with `leadership(Leadership::new(\"{1}\"))`")]
    UnknownGroup(ServiceName, LockName),
    /// Two locks of one name: one holder would starve the other (A28).
    #[error("lock `{lock}`: used by {first} and by {second}: give each a lock of its own")]
    SharedLock {
        /// The lock.
        lock: LockName,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
}

/// The rules of a service, as they are broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceRule {
    /// No interval set.
    #[error("no interval: call `every`")]
    NoInterval,
    /// Outside its range.
    #[error("the interval is {0:?}: give `every` 1 ms to 90 days")]
    Interval(Duration),
    /// Outside its range.
    #[error("the timeout is {0:?}: give `timeout` more than zero and at most 90 days")]
    Timeout(Duration),
    /// Not below the interval.
    #[error("the jitter ({jitter:?}) is not shorter than the interval ({every:?}): lower `jitter`")]
    Jitter {
        /// As set.
        jitter: Duration,
        /// As set.
        every: Duration,
    },
    /// Outside its range.
    #[error("the time to live is {0:?}: give `ttl` 10 ms to 90 days")]
    Ttl(Duration),
    /// Zero, or so slow that one lost renewal loses the lock (B3).
    #[error(
        "the renewal interval ({renew_every:?}) is not between zero and a third of the time to live ({ttl:?}): lower \
         `renew_every` or raise `ttl`"
    )]
    Renewal {
        /// As set.
        renew_every: Duration,
        /// As set.
        ttl: Duration,
    },
    /// Nothing to do.
    #[error("no work: call `run`")]
    NoWork,
}

/// A mode with what it needs.
#[derive(Clone)]
pub(crate) enum CheckedMode {
    EveryReplica,
    TickLock { lock: LockName, ttl: Duration, locker: Option<Arc<dyn Locker>> },
    Leader { group: LockName },
}

impl CheckedMode {
    pub(crate) fn kind(&self) -> HaMode {
        match self {
            Self::EveryReplica => HaMode::EveryReplica,
            Self::TickLock { .. } => HaMode::TickLock,
            Self::Leader { .. } => HaMode::Leader,
        }
    }
}

/// A service whose rules hold.
#[derive(Clone)]
pub(crate) struct CheckedService {
    pub(crate) name: ServiceName,
    pub(crate) every: Duration,
    pub(crate) mode: CheckedMode,
    pub(crate) first: FirstTick,
    pub(crate) timeout: Duration,
    pub(crate) jitter: Duration,
    pub(crate) gate: Option<GateFn>,
    pub(crate) start: Option<WorkFn>,
    pub(crate) work: WorkFn,
    pub(crate) on_error: Option<ErrorFn>,
    pub(crate) on_success: Option<SuccessFn>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(service: Service) -> String {
        service.check().err().map_or_else(|| "accepted".to_owned(), |error| error.to_string())
    }

    fn good() -> Service {
        Service::new("crl").every(Duration::from_secs(60)).run(|_| async { Ok::<_, BoxError>(()) })
    }

    // P-20, P-25
    #[test]
    fn each_broken_rule_names_the_service_and_the_mend() {
        assert_eq!(message(good()), "accepted");
        let name = Service { name: " ".to_owned(), ..good() };
        assert_eq!(message(name), "service ` `: blank name: give it at least one visible character");
        let interval = Service { every: None, ..good() };
        assert_eq!(message(interval), "service `crl`: no interval: call `every`");
        let zero = good().every(Duration::ZERO);
        assert_eq!(message(zero), "service `crl`: the interval is 0ns: give `every` 1 ms to 90 days");
        let timeout = good().timeout(Duration::ZERO);
        let expected = "service `crl`: the timeout is 0ns: give `timeout` more than zero and at most 90 days";
        assert_eq!(message(timeout), expected);
        let jitter = good().jitter(Duration::from_secs(60));
        let expected = "service `crl`: the jitter (60s) is not shorter than the interval (60s): lower `jitter`";
        assert_eq!(message(jitter), expected);
        let work = Service::new("crl").every(Duration::from_secs(60));
        assert_eq!(message(work), "service `crl`: no work: call `run`");
    }
}
