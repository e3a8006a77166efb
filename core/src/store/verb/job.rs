//! Owns what operators ask of jobs: which there are, how far each scope came, what changed last.

use serde::{Deserialize, Serialize};

use super::{Cursor, SpecHash};
use crate::model::{
    Audit, Execution, ExecutionId, Generation, JobName, Json, Limit, Policy, Reentry, Scope, State, Supersede,
    Timestamp,
};

/// Lists registered jobs, ordered by name. A queue is no job: its items show in [`ReadStats`](super::ReadStats).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ListJobs {
    /// Only names greater than this: the last one of the page before.
    pub after: Option<JobName>,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Reply to [`ListJobs`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct JobPage {
    /// The database clock.
    pub now: Timestamp,
    /// The jobs; fewer than `limit` means that these are the last.
    pub jobs: Vec<JobEntry>,
}

/// A registered job.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct JobEntry {
    /// The job.
    pub job: JobName,
    /// Of the latest registration.
    pub spec_hash: SpecHash,
    /// As it was registered; `None` when whoever did so did not say.
    pub rules: Option<RegisteredRules>,
    /// When its schedule was last edited; `None`: never since it was first registered.
    pub edited_at: Option<Timestamp>,
    /// Scopes that were ever planned.
    pub scopes: u64,
    /// Since when the job as a whole is paused.
    pub paused_at: Option<Timestamp>,
    /// The newest of the successes of its scopes, by slot.
    pub last_success: Option<Success>,
}

/// What operators must know of a job that no replica of theirs runs: when it runs, and the rules of its executions.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct RegisteredRules {
    /// When it runs, in words.
    pub schedule: String,
    /// Its [`Planner`](crate::plan::Planner) as data, so that others can tell which slots are missing; `None` where that is
    /// code, or scopes have schedules to themselves. Kept as text: a store need not know every kind of schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planner: Option<Json>,
    /// Whether its schedules are those that the database keeps, one for each scope.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stored_schedules: bool,
    /// A slot at t is due at t + this, in milliseconds; zero when whoever registered did not say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay_ms: u64,
    /// Lower runs first.
    pub priority: i16,
    /// Charged attempts allowed, 1 or more.
    pub max_attempts: u32,
    /// How long a claim holds, in milliseconds.
    pub lease_ms: u64,
    /// What an expired lease of a started attempt leads to.
    pub reentry: Reentry,
    /// Whether a newer slot ends an older one unstarted.
    pub supersede: Supersede,
    /// How many executions of one scope may run at once; `None`: any number.
    pub max_overlap: Option<u32>,
    /// Which transitions are told.
    pub audit: Audit,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_zero(delay_ms: &u64) -> bool {
    *delay_ms == 0
}

impl RegisteredRules {
    /// What an execution of this job for this scope carries.
    pub fn policy(&self, job: &JobName, scope: &Scope) -> Policy {
        Policy {
            max_attempts: self.max_attempts,
            lease_ms: self.lease_ms,
            reentry: self.reentry,
            supersede: self.supersede,
            // A JSON array: names may hold any printable character, so no separator would be safe.
            limit: self.max_overlap.map(|max| Limit {
                key: serde_json::json!([job.as_str(), scope.kind(), scope.id()]).to_string(),
                max,
            }),
            audit: self.audit,
        }
    }
}

/// An execution of a slot that succeeded, for as long as history keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct Success {
    /// The slot.
    pub slot_at: Timestamp,
    /// When it succeeded.
    pub finished_at: Timestamp,
}

/// Lists the scopes of a job that were ever planned, ordered by scope.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ListScopes {
    /// The job.
    pub job: JobName,
    /// Only scopes greater than this: the last one of the page before.
    pub after: Option<Scope>,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Reply to [`ListScopes`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ScopePage {
    /// The database clock.
    pub now: Timestamp,
    /// The scopes; fewer than `limit` means that these are the last.
    pub scopes: Vec<ScopeEntry>,
}

/// One scope of a job.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ScopeEntry {
    /// How far it is planned.
    pub cursor: Cursor,
    /// Since when this scope by itself is paused.
    pub paused_at: Option<Timestamp>,
    /// Its newest slot that succeeded; `None`: none, or history has forgotten it.
    pub last_success: Option<Success>,
}

/// Lists executions, live and finished, those that changed last first: ordered by `updated_at`, id and generation, all
/// descending.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
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
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct RecentPage {
    /// The database clock.
    pub now: Timestamp,
    /// The rows; fewer than `limit` means that these are the last.
    pub executions: Vec<Execution>,
}
