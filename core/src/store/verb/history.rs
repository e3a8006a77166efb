//! Owns what is asked of all executions: listings, the ledger of missed slots, counts, and what is old enough to go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Execution, ExecutionId, Generation, JobName, Scope, SkippedSlots, State, Timestamp, Turns};

/// Lists executions, live and finished, ordered by (id, generation).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, Default)]
pub struct ListExecutions {
    /// Only this job.
    pub job: Option<JobName>,
    /// Only this execution (all its generations).
    pub id: Option<ExecutionId>,
    /// Only these states; empty: all.
    pub states: Vec<State>,
    /// Continue behind this one.
    pub after: Option<(ExecutionId, Generation)>,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Reply to [`ListExecutions`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ExecutionPage {
    /// The database clock.
    pub now: Timestamp,
    /// The rows; fewer than `limit` means that these are the last.
    pub executions: Vec<Execution>,
}

/// Lists the missed-slot ledger, ordered by (job, scope, after, through, reason).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ListSkipped {
    /// Only this job.
    pub job: Option<JobName>,
    /// How many to pass over.
    pub offset: u32,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Reply to [`ListSkipped`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct SkippedPage {
    /// The entries; fewer than `limit` means that these are the last.
    pub entries: Vec<SkippedEntry>,
}

/// One entry of the missed-slot ledger.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct SkippedEntry {
    /// The job.
    pub job: JobName,
    /// The scope.
    pub scope: Scope,
    /// Which slots, and why.
    pub slots: SkippedSlots,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// Counts live executions.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ReadStats {}

/// Reply to [`ReadStats`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Stats {
    /// The database clock.
    pub now: Timestamp,
    /// Jobs with at least one live execution.
    pub jobs: BTreeMap<JobName, JobStats>,
}

/// Live executions of one job.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, Default)]
pub struct JobStats {
    /// Waiting for their first attempt, or given back.
    pub scheduled: u64,
    /// Claimed.
    pub running: u64,
    /// Waiting for another attempt.
    pub retryable: u64,
    /// Oldest instant since which a row could have been claimed.
    pub oldest_claimable_at: Option<Timestamp>,
    /// How its turns stand, where it is a queue with a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<Turns>,
}

/// Deletes what is older than a bound: history by finish, ledger by record, audit events by their instant, edits of stored
/// schedules by the next edit, pauses by their end, receipts by request, turns of limit keys by their last. Up to `limit`
/// rows of each, oldest first. What is in force stays, however old it is, and the newest edit of a scope, be it a removal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Prune {
    /// Finished executions, ledger entries and audit events older than this many milliseconds go.
    pub history_ms: u64,
    /// Receipts older than this go: the idempotency window. So do the turns of keys that took none for as long, unless that
    /// gave one more than its [rate](crate::model::Rate) allows.
    pub receipts_ms: u64,
    /// Edits of stored schedules that were replaced, and pauses that were lifted, longer ago than this many milliseconds go.
    #[serde(default = "forever")]
    pub edits_ms: u64,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

const fn forever() -> u64 {
    u64::MAX
}

/// Reply to [`Prune`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, Debug)]
pub struct Pruned {
    /// Finished executions deleted.
    pub executions: u64,
    /// Ledger entries deleted.
    pub skipped: u64,
    /// Audit events deleted.
    pub audit: u64,
    /// Receipts deleted.
    pub receipts: u64,
    /// Limit keys whose turns were forgotten.
    #[serde(default)]
    pub turns: u64,
    /// Edits of stored schedules deleted.
    #[serde(default)]
    pub edits: u64,
    /// Lifted pauses deleted.
    #[serde(default)]
    pub pauses: u64,
}

impl Pruned {
    /// The greatest of the counts: where it is less than [`Prune::limit`], nothing that is old enough is left.
    pub fn most(&self) -> u64 {
        let Self { executions, skipped, audit, receipts, turns, edits, pauses } = *self;
        [executions, skipped, audit, receipts, turns, edits, pauses].into_iter().fold(0, u64::max)
    }
}
