//! The shapes of user code: what a handler returns, and where scopes come from.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::Context;
use crate::{
    model::{ErrorCode, Failure, Retry, Scope},
    plan::Schedule,
    store::BoxFuture,
};

/// Any error of user code.
pub type BoxError = Box<dyn Error + Send + Sync>;

pub(crate) type HandlerResult = Result<Completion, HandlerError>;
pub(crate) type HandlerFn = Arc<dyn Fn(Context) -> BoxFuture<'static, HandlerResult> + Send + Sync>;

/// What a handler reports on success. `()` converts into an empty one.
///
/// ```
/// use tourbillon::job::Completion;
/// let done = Completion::new().rows_affected(3).result(serde_json::json!({"sent": 3}));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Completion {
    pub(crate) result: Option<serde_json::Value>,
    pub(crate) rows_affected: Option<u64>,
    pub(crate) is_recorded: bool,
}

impl Completion {
    /// Nothing to report.
    pub fn new() -> Self {
        Self::default()
    }

    /// The attempt's end was recorded already, in a transaction of the handler's own that has committed: `complete_in`
    /// of the databases' stores. Nothing more is written. (If nothing was recorded, the lease expires, and the
    /// attempt counts as cut short.)
    pub fn recorded() -> Self {
        Self { is_recorded: true, ..Self::default() }
    }

    /// A result to keep with the execution: at most 16 KiB of JSON, else the attempt fails with
    /// `result_too_large`.
    #[must_use]
    pub fn result(self, result: serde_json::Value) -> Self {
        Self { result: Some(result), ..self }
    }

    /// How many rows the handler touched.
    #[must_use]
    pub fn rows_affected(self, rows: u64) -> Self {
        Self { rows_affected: Some(rows), ..self }
    }
}

impl From<()> for Completion {
    fn from((): ()) -> Self {
        Self::new()
    }
}

/// Why a handler did not succeed, and what should happen next. Any error converts into a retryable one with the
/// code `handler_error` and the texts of its whole source chain. A boxed error (`Box<dyn Error>`, `anyhow::Error`)
/// is no `Error` itself and needs a word: `work().map_err(HandlerError::new)?`.
///
/// ```
/// use std::time::Duration;
/// use tourbillon::job::HandlerError;
/// let fatal = HandlerError::new("the account is closed").code("account_closed").never_retry();
/// let later = HandlerError::snooze(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct HandlerError {
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// `None`: after the job's own backoff.
    Fail(Failure, Option<Retry>),
    Snooze(Duration),
}

impl HandlerError {
    /// A failure, retried by the job's backoff while attempts remain.
    pub fn new(text: impl fmt::Display) -> Self {
        let failure = Failure::new(ErrorCode::handler_error(), &text.to_string());
        Self { verdict: Verdict::Fail(failure, None) }
    }

    /// Not a failure: run again after `wait`. The attempt is not charged.
    pub fn snooze(wait: Duration) -> Self {
        Self { verdict: Verdict::Snooze(wait) }
    }

    /// Sets an error code of your own.
    #[must_use]
    pub fn code(mut self, code: &str) -> Self {
        if let Verdict::Fail(failure, _) = &mut self.verdict {
            failure.code = ErrorCode::custom(code);
        }
        self
    }

    /// Dead at once, whatever attempts remain.
    #[must_use]
    pub fn never_retry(self) -> Self {
        self.with_retry(Retry::Never)
    }

    /// Retried after exactly this, instead of the job's backoff.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        self.with_retry(Retry::after(wait))
    }

    fn with_retry(mut self, retry: Retry) -> Self {
        if let Verdict::Fail(_, chosen) = &mut self.verdict {
            *chosen = Some(retry);
        }
        self
    }
}

impl<E: Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(text)
    }
}

/// Says which scopes a job runs for, asked at every planning step (P-13). An error affects this job only.
pub trait ScopeProvider: Send + Sync + 'static {
    /// The scopes as of now, in any order.
    fn scopes(&self) -> BoxFuture<'_, Result<Vec<Scope>, BoxError>>;
}

impl<F, Fut> ScopeProvider for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<Scope>, BoxError>> + Send + 'static,
{
    fn scopes(&self) -> BoxFuture<'_, Result<Vec<Scope>, BoxError>> {
        Box::pin(self())
    }
}

/// A scope with a schedule to itself (P-14).
///
/// ```
/// use tourbillon::{job::ScopedSchedule, model::Scope, plan::Cron};
/// let scope = Scope::new("trigger", "42").unwrap();
/// let own = ScopedSchedule::new(scope, Cron::new("0 8 * * MON", "America/New_York")?);
/// # Ok::<(), tourbillon::plan::CronError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScopedSchedule {
    /// What it runs for.
    pub scope: Scope,
    /// When.
    pub schedule: Schedule,
}

impl ScopedSchedule {
    /// A schedule of its own for this scope.
    pub fn new(scope: Scope, schedule: impl Into<Schedule>) -> Self {
        Self { scope, schedule: schedule.into() }
    }
}

/// Says which scopes a job runs for and when, asked at every planning step (P-13, P-14). An error affects this job
/// only.
///
/// Schedules may come, change and go at any time. A new or changed one has no slot from before it was first seen, and
/// disturbs no other; what a changed or removed one had not made yet is recorded as skipped. All replicas must read
/// from one source: two that disagree edit each other's schedules, once per planning interval.
pub trait ScheduleProvider: Send + Sync + 'static {
    /// The schedules as of now, in any order, each scope once.
    fn schedules(&self) -> BoxFuture<'_, Result<Vec<ScopedSchedule>, BoxError>>;
}

impl<F, Fut> ScheduleProvider for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<ScopedSchedule>, BoxError>> + Send + 'static,
{
    fn schedules(&self) -> BoxFuture<'_, Result<Vec<ScopedSchedule>, BoxError>> {
        Box::pin(self())
    }
}
