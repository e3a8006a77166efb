//! Owns what operators ask of the items of a queue: pages of them, figures, changes, removals.
//!
//! Each verb names its queue and sees its items alone: a planned slot, or an item of another queue, is not found.

use serde::{Deserialize, Serialize};

use super::Due;
use crate::model::{Execution, ExecutionId, JobName, Json, OperatorName, Scope, State, Timestamp, Turns};

/// Lists items of one queue, live and finished.
///
/// Ordered by `order`, then id, then generation, all in the same `direction`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ListItems {
    /// The queue.
    pub queue: JobName,
    /// Only these states; empty: all.
    pub states: Vec<State>,
    /// Only items for this scope.
    pub scope: Option<Scope>,
    /// Only items with this unique key, as the row has it: see [`Unique::stored`](super::Unique::stored).
    pub unique_key: Option<String>,
    /// Whether former lives of requeued items are entries of their own.
    pub lives: Lives,
    /// Whether only waiting items that are due count.
    pub due: DueFilter,
    /// What comes first.
    pub order: ItemOrder,
    /// Which way.
    pub direction: Direction,
    /// How many to pass over.
    pub offset: u32,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

impl ListItems {
    /// The first `limit` items of a queue, oldest first, all lives of each.
    pub const fn new(queue: JobName, limit: u32) -> Self {
        Self {
            queue,
            states: Vec::new(),
            scope: None,
            unique_key: None,
            lives: Lives::All,
            due: DueFilter::Any,
            order: ItemOrder::Created,
            direction: Direction::Ascending,
            offset: 0,
            limit,
        }
    }
}

/// Which generations of an item a list has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Lives {
    /// All that are kept.
    All,
    /// The newest alone: the one that says how the item is.
    Newest,
}

/// Whether a list leaves out what cannot be claimed yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum DueFilter {
    /// All items.
    Any,
    /// Scheduled and retryable items whose time has come by the database clock. A full limit does not count.
    DueNow,
}

/// What a list of items is ordered by, before id and generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum ItemOrder {
    /// When the generation was made.
    Created,
    /// When it was changed last.
    Updated,
    /// From when a claim may take it; those that no claim ever will are behind all others.
    Claimable,
    /// Priority: lower runs first.
    Priority,
}

impl ItemOrder {
    /// All orders.
    pub const ALL: [Self; 4] = [Self::Created, Self::Updated, Self::Claimable, Self::Priority];

    /// The name in statements.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Claimable => "claimable",
            Self::Priority => "priority",
        }
    }

    /// What a row is ordered by.
    pub fn key(self, row: &Execution) -> i64 {
        match self {
            Self::Created => row.created_at.as_micros(),
            Self::Updated => row.updated_at.as_micros(),
            Self::Claimable => row.claimable_at.map_or(i64::MAX, Timestamp::as_micros),
            Self::Priority => i64::from(row.priority),
        }
    }
}

/// Which way a list goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Least first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// Reply to [`ListItems`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ItemPage {
    /// The database clock.
    pub now: Timestamp,
    /// The items; fewer than `limit` means that these are the last.
    pub items: Vec<Execution>,
}

/// Counts the items of one queue, finished ones for as long as they are kept.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ReadQueueStats {
    /// The queue.
    pub queue: JobName,
}

/// Reply to [`ReadQueueStats`]. Everything counts generations, so a requeued item counts once per life.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct QueueStats {
    /// The database clock.
    pub now: Timestamp,
    /// Waiting for their first attempt, or given back.
    pub scheduled: u64,
    /// Claimed.
    pub running: u64,
    /// Waiting for another attempt.
    pub retryable: u64,
    /// Ended well.
    pub succeeded: u64,
    /// Failed for good.
    pub dead: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Expired before their first attempt.
    pub skipped: u64,
    /// When the oldest live item was made; `None`: nothing is live.
    pub oldest_at: Option<Timestamp>,
    /// When the newest live item was made.
    pub newest_at: Option<Timestamp>,
    /// Attempts beyond the first, of all items together.
    pub retries: u64,
    /// When the last attempt beyond a first one was started; `None`: none was.
    pub last_retry_at: Option<Timestamp>,
    /// How its turns stand, if it has a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<Turns>,
}

impl QueueStats {
    /// An empty queue.
    pub const fn empty(now: Timestamp) -> Self {
        Self {
            now,
            scheduled: 0,
            running: 0,
            retryable: 0,
            succeeded: 0,
            dead: 0,
            cancelled: 0,
            skipped: 0,
            oldest_at: None,
            newest_at: None,
            retries: 0,
            last_retry_at: None,
            turns: None,
        }
    }

    /// Items that hold a place in the queue.
    pub const fn live(&self) -> u64 {
        self.scheduled + self.running + self.retryable
    }

    /// The count of one state.
    pub const fn of(&mut self, state: State) -> &mut u64 {
        match state {
            State::Scheduled => &mut self.scheduled,
            State::Running => &mut self.running,
            State::Retryable => &mut self.retryable,
            State::Succeeded => &mut self.succeeded,
            State::Dead => &mut self.dead,
            State::Cancelled => &mut self.cancelled,
            State::Skipped => &mut self.skipped,
        }
    }
}

/// Changes a waiting item: what is `None` stays as it is.
///
/// Its unique key stays, too, also where it was made from the payload. No transition, hence no audit event.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct UpdateItem {
    /// The queue.
    pub queue: JobName,
    /// The item.
    pub id: ExecutionId,
    /// Another input of the handler.
    pub payload: Option<Json>,
    /// Another priority; lower runs first.
    pub priority: Option<i16>,
    /// Another time, counted from this change: also the way to try a failed item again sooner, or later.
    pub due: Option<Due>,
}

/// Reply to [`UpdateItem`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ItemUpdated {
    /// The database clock.
    pub now: Timestamp,
    /// What became of it.
    pub outcome: UpdateOutcome,
}

/// What became of a change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum UpdateOutcome {
    /// It is as asked.
    Updated,
    /// Somebody holds it: a handler may have read it already. Nothing changed.
    Running,
    /// It has ended, and stays as it ended (G2).
    Ended,
    /// No such item in this queue.
    NotFound,
}

/// Removes items with all that history keeps of them. A waiting item is cancelled and removed in one; a running one
/// stays: cancel it first.
///
/// Each removal is an audit event, where the item's rules want one. While audit events tell of an item its id stays
/// taken, so that a producer who repeats an old enqueue does not bring it back.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct DeleteItems {
    /// The queue.
    pub queue: JobName,
    /// The items, each at most once.
    pub ids: Vec<ExecutionId>,
    /// Who asks, for audit events; `None`: "operator".
    pub actor: Option<OperatorName>,
}

/// Reply to [`DeleteItems`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ItemsDeleted {
    /// The database clock.
    pub now: Timestamp,
    /// One per id, in order.
    pub outcomes: Vec<DeleteOutcome>,
}

/// What became of one removal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum DeleteOutcome {
    /// It is gone.
    Deleted,
    /// Somebody holds it; nothing changed.
    Running,
    /// No such item in this queue.
    NotFound,
}

/// Removes up to `limit` finished items of one queue, those that finished first, with all that history keeps of them.
///
/// What counts is an item's newest generation: an item that was requeued and lives is left alone. Each removal is an
/// audit event of the system, where the item's rules want one.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct CleanItems {
    /// The queue.
    pub queue: JobName,
    /// Items that ended in one of these states.
    pub states: Vec<State>,
    /// They must have ended more than this many milliseconds ago.
    pub finished_ms: u64,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Reply to [`CleanItems`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ItemsCleaned {
    /// The database clock.
    pub now: Timestamp,
    /// The items removed, ordered by (finish, id); fewer than `limit` means that none is left.
    pub removed: Vec<ExecutionId>,
}
