//! Owns the verbs of queues: work that no schedule makes. A queue is a job name; an item of it is an execution with
//! a payload and without a slot.

use serde::{Deserialize, Serialize};

use crate::model::{ExecutionId, JobName, Json, Policy, Scope, Timestamp, TraceContext};

/// Longest key of a [`Unique`], in bytes. Keeps index entries small on every store.
pub const MAX_KEY_BYTES: usize = 500;

/// Makes items of one queue, in order, each with its own outcome.
///
/// The checks of an item, in order: room in the queue, id, unique key (P-61). All of them, and the insert, are one
/// transaction; a repeated request id enqueues nothing and returns the first outcomes, also after the items have
/// run and gone.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Enqueue {
    /// The queue, which is the job that consumes it. It need not be registered yet.
    pub queue: JobName,
    /// An item that finds this many live ones in the queue is refused as full; `None`: no bound. Exact under any
    /// number of producers, who take turns for it. Items that an operator requeues are let in regardless, and count.
    pub max_items: Option<u64>,
    /// The items, each id at most once.
    pub items: Vec<NewItem>,
}

/// An item about to be stored; id made by the caller.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct NewItem {
    /// Identity. An id that is taken makes the item a duplicate of itself: a live execution has it, or history keeps
    /// it, or audit events tell of it.
    pub id: ExecutionId,
    /// Whom or what it is for; `global/global` is usual.
    pub scope: Scope,
    /// From when it may be claimed.
    pub due: Due,
    /// If no attempt was started within this many milliseconds of the enqueue, it is skipped as expired.
    pub ttl_ms: Option<u64>,
    /// Lower runs first; 0 is usual.
    pub priority: i16,
    /// Input of the handler.
    pub payload: Option<Json>,
    /// What it must be the only one of, if anything (G11).
    pub unique: Option<Unique>,
    /// Rules it carries.
    pub policy: Policy,
    /// Where it is enqueued. A duplicate's is dropped: that of the first stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

/// From when an item may be claimed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// This many milliseconds of the database clock after the enqueue; 0 is at once. The row is due at the enqueue
    /// and claimable this much later, like a snooze, so that it can be told from an absolute time when the database
    /// clock steps back.
    AfterMs(u64),
    /// At this instant by the database clock; one that has passed is at once.
    At(Timestamp),
}

/// What an item must be the only one of.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Unique {
    /// Unique among all queues of the database, so it should name its queue: 1 to [`MAX_KEY_BYTES`] bytes, no NUL.
    /// Without a period it is the row's `unique_key`.
    pub key: String,
    /// Counts per period of this many milliseconds (1 or more), in steps from 1970 by the database clock, read in
    /// the statement that inserts. The row's `unique_key` is then [`Unique::stored`].
    pub period_ms: Option<u64>,
    /// Which others count.
    pub counts: Counts,
}

/// Which executions with the same key make a new item a duplicate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Counts {
    /// Live ones: a finished or dead item frees its key.
    Live,
    /// Also those that succeeded, for as long as history keeps them.
    Succeeded,
    /// Also those that ended in any way, for as long as history keeps them.
    Finished,
}

impl Counts {
    /// The name as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Succeeded => "succeeded",
            Self::Finished => "finished",
        }
    }
}

impl Unique {
    /// The text that must be unique, at `now`. With a period: the key behind the period's number and an `@`.
    pub fn stored(&self, now: Timestamp) -> String {
        match self.period_ms.and_then(|ms| i64::try_from(ms).ok()?.checked_mul(1_000)) {
            Some(period_us) => format!("{}@{}", now.as_micros().div_euclid(period_us.max(1)), self.key),
            None => self.key.clone(),
        }
    }
}

/// Reply to [`Enqueue`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Enqueued {
    /// The database clock.
    pub now: Timestamp,
    /// One per item, in order.
    pub outcomes: Vec<EnqueueOutcome>,
}

/// What became of one item.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum EnqueueOutcome {
    /// Stored under this id.
    Enqueued(ExecutionId),
    /// Not stored: this one was there, with the same id or key, at some instant between call and reply.
    Duplicate(ExecutionId),
    /// Not stored: the queue holds as many as it may.
    Full,
}
