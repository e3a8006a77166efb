//! Owns the judgement of a database's health: what is stale, what waits for too long, who leads, what is paused. Pure: rows
//! and the database's time go in, a [`Report`] comes out. Knows no store call; [`JobOperator::health`] gathers the rows.
//!
//! What one replica knows of its own tick services is another thing: [`service::Health`](crate::service::Health).
//!
//! [`JobOperator::health`]: crate::driver::JobOperator::health

mod facts;
mod judge;
mod report;

pub use facts::{Bounds, Facts, JobFacts, ScopeFacts};
pub use judge::judge;
pub use report::{Cause, Finding, Freshness, JobHealth, LockHealth, QueueHealth, Report, ScopeHealth};
