//! Decides which slots are due. Pure: the database's time and the cursor come in, slots and a new cursor go out.
//! Knows nothing of who runs a slot; retries are not its business.

mod backoff;
mod cadence;
mod cron;
mod schedule;
mod slots;

pub use backoff::{Backoff, BackoffError, Curve, MAX_BACKOFF};
pub use cadence::Cadence;
pub use cron::{Cron, CronError, Fold, Gap};
pub use schedule::Schedule;
pub use slots::{CatchUp, Planner, Step};
