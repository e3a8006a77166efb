//! Decides which slots are due. Pure: the database's time and the cursor come in, slots and a new cursor go out.
//! Knows nothing of who runs a slot; retries are not its business.

mod backoff;
mod cadence;
mod cron;
mod hook;
mod schedule;
mod slots;

pub use backoff::{Backoff, BackoffError, Curve, MAX_BACKOFF};
pub use cadence::Cadence;
pub use cron::{Cron, CronError, Fold, Gap};
pub use hook::{Hook, MAX_HOOK_SLOTS};
pub use schedule::Schedule;
pub use slots::{Begin, CatchUp, Planner, Step};
