//! A high-availability scheduler and job queue whose guarantees are run, not claimed.
//!
//! This crate is the scheduler: the [model] with its one state machine, the pure [plan]ner, the [store] trait with
//! its executable specification, and the [driver]. It knows no database and no simulator: `tourbillon-pg` and
//! `tourbillon-sqlite` bring the databases, `tourbillon-sim` the world in which the guarantees G1–G15 are checked.
//!
//! ```
//! use std::time::Duration;
//! use tourbillon::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! # let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
//! let running = Scheduler::builder(store)
//!     .job(
//!         Job::new("renewal_check")
//!             .every(Duration::from_secs(3600))
//!             .max_attempts(3)
//!             .run(|ctx: Context| async move {
//!                 println!("checking renewals for slot {:?}", ctx.slot_at());
//!                 Ok::<_, HandlerError>(Completion::new().rows_affected(0))
//!             }),
//!     )
//!     .build()?
//!     .start();
//! running.shutdown(Duration::from_secs(30)).await?;
//! # Ok(())
//! # })
//! # }
//! ```

#[macro_use]
pub mod mutant;

pub mod driver;
pub mod health;
pub mod job;
pub mod model;
pub mod plan;
pub mod queue;
pub mod runtime;
pub mod service;
pub mod store;

/// What most programs need.
pub mod prelude {
    pub use crate::{
        driver::{Running, Scheduler, Settings, ShutdownTimeout},
        job::{BoxError, Completion, Context, HandlerError, Job, Overlap, StopReason},
        model::{Audit, Reentry, Retention, Scope, Timestamp},
        plan::{Backoff, CatchUp, Cron, CronError, Fold, Gap},
        queue::{Delivery, Enqueuer, ItemOptions, Queue, Unique},
        runtime::Runtime,
        service::{FirstTick, HaMode, Leadership, Service, Tick},
        store::{ManualClock, MemoryStore, Store},
    };
}
