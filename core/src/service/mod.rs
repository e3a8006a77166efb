//! What a user defines as a tick service: its rules, what one tick is given and returns, and its health. Knows no
//! store and no driver.
//!
//! A service has no rows: a tick that did not happen is not made up for. Work that must not be lost, or whose missed
//! runs must be recorded, is a [`Job`](crate::job::Job) (the HA mode *claimed*).

mod health;
mod leadership;
mod locker;
mod spec;
mod tick;

pub(crate) use health::Record;
pub use health::{Health, TickCounts};
pub(crate) use leadership::CheckedLeadership;
pub use leadership::{Leadership, Term};
pub use locker::{Locker, SessionLock};
pub(crate) use spec::{CheckedMode, CheckedService, DEFAULT_GROUP, GateFn, WorkFn};
pub use spec::{FirstTick, HaMode, Service, ServiceError, ServiceRule};
pub(crate) use tick::TickFacts;
pub use tick::{Pass, Skip, Tick, TickError, TickOutcome, Trigger};
