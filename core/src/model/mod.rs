//! The vocabulary: identities, instants, the execution and its one state machine. Pure; knows no store, no clock.

pub mod audit;
mod execution;
mod id;
pub(crate) mod lock;
mod name;
mod outcome;
mod pause;
pub(crate) mod progress;
pub(crate) mod rate;
mod retention;
mod time;
pub(crate) mod trace;
pub mod transition;

pub use audit::{Actor, ActorType, Audit, AuditAction, AuditDetails, AuditEvent, AuditKey, OperatorName};
pub use execution::{
    Execution, Lease, LeaseRef, Limit, NewExecution, Policy, Reentry, SkipReason, SkippedSlots, State, Supersede,
};
pub use id::{
    ExecutionId, Fence, Generation, Incarnation, JobName, MAX_NAME_BYTES, NameError, RequestId, Scope, Token,
};
pub use lock::{Epoch, HeldBy, Lock, LockHeld, LockRef, MAX_TTL_MS};
pub use name::{LockName, ServiceName};
pub(crate) use outcome::wait_ms;
pub use outcome::{ErrorCode, ErrorText, Failure, Json, JsonError, MAX_ERROR_BYTES, MAX_JSON_BYTES, Outcome, Retry};
pub use pause::Pause;
pub use progress::{MAX_PROGRESS_BYTES, Progress, Reported};
pub use rate::{Gate, MAX_TURN_US, Rate, Turns};
pub use retention::Retention;
pub use time::Timestamp;
pub(crate) use time::micros;
pub use trace::{MAX_TRACE_STATE_BYTES, TraceContext, TraceContextError};
