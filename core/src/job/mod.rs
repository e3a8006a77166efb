//! What a user defines: a job's rules, its scopes, its handler. Knows no store and no driver.

mod attempts;
mod checked;
mod context;
mod handler;
mod run;
mod spec;
mod stored;
mod work;

pub(crate) use attempts::Attempts;
pub use attempts::{AttemptRule, MAX_LEASE};
pub(crate) use checked::{CheckedJob, Target};
pub(crate) use context::Attempt;
pub use context::Context;
pub use handler::{BoxError, Completion, HandlerError, ScheduleProvider, ScopeProvider, ScopedSchedule};
pub(crate) use handler::{HandlerResult, Verdict};
pub use run::StopReason;
pub(crate) use run::{Run, StopSignal};
pub use spec::{Job, Overlap, Rule, SpecError};
pub use stored::StoredScheduleError;
pub use work::{AttemptReport, Delivery};
pub(crate) use work::{ReportFn, Work};
