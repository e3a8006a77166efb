//! Owns what operators ask of jobs: which there are, how far each scope came, what changed last.

use serde::{Deserialize, Serialize};

use super::{Cursor, SpecHash};
use crate::model::{Execution, ExecutionId, Generation, JobName, Scope, State, Timestamp};

/// Lists registered jobs, ordered by name. A queue is no job: its items show in [`ReadStats`](super::ReadStats).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ListJobs {
    /// Only names greater than this: the last one of the page before.
    pub after: Option<JobName>,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Reply to [`ListJobs`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct JobPage {
    /// The database clock.
    pub now: Timestamp,
    /// The jobs; fewer than `limit` means that these are the last.
    pub jobs: Vec<JobEntry>,
}

/// A registered job.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct JobEntry {
    /// The job.
    pub job: JobName,
    /// Of the latest registration.
    pub spec_hash: SpecHash,
    /// When its schedule was last edited; `None`: never since it was first registered.
    pub edited_at: Option<Timestamp>,
    /// Scopes that were ever planned.
    pub scopes: u64,
    /// The newest of the successes of its scopes, by slot.
    pub last_success: Option<Success>,
}

/// An execution of a slot that succeeded, for as long as history keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub struct Success {
    /// The slot.
    pub slot_at: Timestamp,
    /// When it succeeded.
    pub finished_at: Timestamp,
}

/// Lists the scopes of a job that were ever planned, ordered by scope.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ListScopes {
    /// The job.
    pub job: JobName,
    /// Only scopes greater than this: the last one of the page before.
    pub after: Option<Scope>,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Reply to [`ListScopes`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ScopePage {
    /// The database clock.
    pub now: Timestamp,
    /// The scopes; fewer than `limit` means that these are the last.
    pub scopes: Vec<ScopeEntry>,
}

/// One scope of a job.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ScopeEntry {
    /// How far it is planned.
    pub cursor: Cursor,
    /// Its newest slot that succeeded; `None`: none, or history has forgotten it.
    pub last_success: Option<Success>,
}

/// Lists executions, live and finished, those that changed last first: ordered by `updated_at`, id and generation, all
/// descending.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ListRecent {
    /// Only this job or queue.
    pub job: Option<JobName>,
    /// Only this scope.
    pub scope: Option<Scope>,
    /// Only these states; empty: all.
    pub states: Vec<State>,
    /// Continue behind this one: the last of the page before. A row that changes meanwhile may show on two pages.
    pub after: Option<(Timestamp, ExecutionId, Generation)>,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

impl ListRecent {
    /// The `limit` executions of all jobs that changed last.
    pub const fn new(limit: u32) -> Self {
        Self { job: None, scope: None, states: Vec::new(), after: None, limit }
    }
}

/// Reply to [`ListRecent`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct RecentPage {
    /// The database clock.
    pub now: Timestamp,
    /// The rows; fewer than `limit` means that these are the last.
    pub executions: Vec<Execution>,
}
