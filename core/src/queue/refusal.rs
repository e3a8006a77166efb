//! Owns why a queue is refused: an error per rule, which names the queue and the mend.

use crate::{
    job::AttemptRule,
    model::{JobName, NameError},
};

/// Why a queue was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The name cannot be used.
    #[error("queue `{0}`: {1}")]
    Name(String, NameError),
    /// Two queues, or a queue and a job, of one name.
    #[error("queue `{0}`: its name is taken by another queue or job: give each a name of its own")]
    Duplicate(JobName),
    /// A rule of the queue does not hold.
    #[error("queue `{0}`: {1}")]
    Rule(JobName, QueueRule),
}

/// The rules of a queue, as they are broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueRule {
    /// Outside 1 to 10,000.
    #[error("{0} workers: allowed are 1 to 10000")]
    Workers(u32),
    /// Outside 1 to 1,000.
    #[error("the prefetch is above 2000 items")]
    Prefetch,
    /// See the message.
    #[error("the batch is outside 1 to 1000 items")]
    Batch,
    /// Below 10 ms.
    #[error("the poll interval is below 10 ms: a producer of the same process wakes the queue anyway")]
    Poll,
    /// One that concerns its attempts.
    #[error(transparent)]
    Attempts(#[from] AttemptRule),
    /// Zero.
    #[error("the time to live is zero: every item would expire; leave it out for no limit")]
    NoTtl,
    /// Zero.
    #[error("the concurrency is 0: nothing could run")]
    NoRoom,
    /// A limit, of concurrency or of a rate, for the whole queue and one for each key.
    #[error(
        "a limit for the whole queue and one per key: an item counts under one key; let all of its limits be `…_per_key`, or none"
    )]
    TwoKeys,
    /// No item in a period.
    #[error("a rate of 0 items: nothing could run; leave it out for no limit")]
    NoTurn,
    /// Nothing, or more than 366 days.
    #[error("the period of its rate is zero, or longer than 366 days: say how many items in which time")]
    RatePeriod,
    /// None, or more than come in a period.
    #[error("a burst of {0} at {1} items in a period: allowed are 1 (leave it out), for even turns, to {1}")]
    Burst(u32, u32),
    /// Below one millisecond.
    #[error("the unique period is zero: leave `within` out for no period")]
    NoPeriod,
    /// A unique key would count items of which nothing is kept.
    #[error(
        "its unique keys count finished items, and it does not retain them: let them count live ones, or retain everything"
    )]
    CountsForgotten,
    /// A forwarder's parcels have ids of their own.
    #[error("a forwarder's parcels must be known by their ids after they were delivered: retain everything")]
    ForgetsParcels,
    /// No handler set.
    #[error("no handler: call `run`, or build an `Enqueuer` for a producer without a worker")]
    NoHandler,
}
