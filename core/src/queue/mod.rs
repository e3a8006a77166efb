//! Queues with typed payloads: rules, producers, statistics of a worker. Items are executions; what happens to them is
//! the store's and the driver's business.
//!
//! Each limit says its scope (P-45):
//!
//! | limit | counts | scope |
//! | --- | --- | --- |
//! | [`Queue::workers`] | handlers running | one replica |
//! | [`Queue::batch`] | items of one claim | one replica |
//! | [`Queue::concurrency`], [`Queue::concurrency_per_key`] | running items | all replicas, by a locked row (G15) |
//! | [`Queue::rate_limit`], [`Queue::rate_limit_per_key`] | items claimed per time | all replicas, by a locked row (G15) |
//! | [`Queue::capacity`] | live items | all replicas, by a locked row |
//! | [`Unique`] | live items with one key | the database, by a unique index (G11) |

mod coalesce;
mod enqueuer;
mod operator;
mod rate;
mod refusal;
mod send;
mod spec;
mod stats;

pub(crate) use enqueuer::Worker;
pub use enqueuer::{EnqueueError, Enqueuer, ItemOptions};
pub use operator::Operator;
pub use rate::RateLimit;
pub use refusal::{QueueError, QueueRule};
pub(crate) use spec::{CheckedQueue, ProbeFn, Producing};
pub use spec::{Queue, Unique};
pub(crate) use stats::Tally;
pub use stats::WorkerStats;

pub use crate::job::{AttemptReport, Delivery};
