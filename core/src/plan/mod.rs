//! Decides which slots are due. Pure: the database's time and the cursor come in, slots and a new cursor go out.
//! Knows nothing of who runs a slot; retries are not its business.

mod backoff;
mod cadence;
mod slots;

pub use backoff::{Backoff, BackoffError, Curve, MAX_BACKOFF};
pub use cadence::Cadence;
pub use slots::{CatchUp, Planner, Schedule, Step};
