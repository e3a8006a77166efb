//! A service's rules and their validation. Every rule has an error of its own that names the service and the mend
//! (P-25).

use std::{fmt, sync::Arc, time::Duration};

use super::{Pass, Tick, TickError};
use crate::{
    job::BoxError,
    model::{NameError, ServiceName},
    store::BoxFuture,
};

/// Longest interval and longest timeout of a service: 90 days.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);

pub(crate) type WorkFn = Arc<dyn Fn(Tick) -> BoxFuture<'static, Result<Pass, BoxError>> + Send + Sync>;
pub(crate) type GateFn = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;
pub(crate) type ErrorFn = Arc<dyn Fn(&TickError) + Send + Sync>;
pub(crate) type SuccessFn = Arc<dyn Fn(&Pass) + Send + Sync>;

/// On how many replicas a service ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HaMode {
    /// On each. Nothing but the process itself is asked: a tick is skipped while the one before it still runs here.
    /// For work that is idempotent or is guarded by the database itself. Run one replica instead when the work has
    /// effects outside that must not be repeated and none of the other modes fits.
    #[default]
    EveryReplica,
}

/// When the first tick comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
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
        let Some(work) = self.work else { return fail(ServiceRule::NoWork) };
        Ok(CheckedService {
            every,
            mode: self.mode,
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
    /// Nothing to do.
    #[error("no work: call `run`")]
    NoWork,
}

/// A service whose rules hold.
#[derive(Clone)]
pub(crate) struct CheckedService {
    pub(crate) name: ServiceName,
    pub(crate) every: Duration,
    pub(crate) mode: HaMode,
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
