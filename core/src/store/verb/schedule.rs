//! Owns what is asked of schedules that the database keeps: put one, remove one, list them. What such a schedule says is
//! text here; whoever plans by it reads it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::SpecHash;
use crate::model::{JobName, Json, OperatorName, Scope, Timestamp};

/// Longest note of an edit, in bytes.
pub const MAX_NOTE_BYTES: usize = 1_024;

/// Number of an edit of one (job, scope), from 1; a removal counts, too. Never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
#[serde(transparent)]
pub struct Revision(pub u32);

impl Revision {
    /// Of the first edit.
    pub const FIRST: Self = Self(1);

    /// Of the edit that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A schedule as data. Equal ones have equal hashes.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ScheduleData {
    /// A [`Schedule`](crate::plan::Schedule), as that is written. Kept as text: a store need not know every kind.
    pub json: Json,
    /// What cursors remember of it: by this, edits are noticed.
    pub hash: SpecHash,
}

/// One edit of the schedule that the database keeps for one (job, scope). Those that were replaced are kept until they are
/// [pruned](super::Prune), so that it can be said who changed what, and when; the newest is in force.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct StoredSchedule {
    /// The job.
    pub job: JobName,
    /// The scope.
    pub scope: Scope,
    /// Which edit.
    pub revision: Revision,
    /// The schedule from then on; `None`: it was removed.
    pub schedule: Option<ScheduleData>,
    /// Why, in the words of whoever asked.
    pub note: Option<String>,
    /// When, by the database clock.
    pub edited_at: Timestamp,
    /// Who asked.
    pub edited_by: String,
    /// When the next edit came; `None`: this is the newest.
    pub replaced_at: Option<Timestamp>,
}

impl StoredSchedule {
    /// True when the scope is planned by it.
    pub const fn is_in_force(&self) -> bool {
        self.replaced_at.is_none() && self.schedule.is_some()
    }
}

/// What an edit expects to find, so that of two operators who saw the same the second does not undo the first unseen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// Whatever there is.
    Anything,
    /// No schedule.
    Nothing,
    /// This revision, in force.
    Revision(Revision),
}

/// Gives one scope of a registered job this schedule, in place of the one that it has, if it has one.
///
/// The edit takes hold with this verb, for every planner: the scope's cursor stands at now, so that no slot at or before
/// now is made by the new schedule (G6), and none at all by the old one that it has not made yet. What that leaves out is
/// recorded as skipped, with the reason `schedule_changed`. Executions that exist stay as they are.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct PutSchedule {
    /// The job; it must be registered as one that has its schedules from the database.
    pub job: JobName,
    /// The scope.
    pub scope: Scope,
    /// The schedule.
    pub schedule: ScheduleData,
    /// What must be there.
    pub expected: Expected,
    /// Why; at most [`MAX_NOTE_BYTES`].
    pub note: Option<String>,
    /// Who asks; `None`: "operator".
    pub actor: Option<OperatorName>,
}

/// Reply to [`PutSchedule`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct SchedulePut {
    /// The database clock.
    pub now: Timestamp,
    /// What became of it.
    pub outcome: PutOutcome,
}

/// What became of a put.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum PutOutcome {
    /// It is in force from now on, as this revision.
    Put(Revision),
    /// This schedule was in force already, by this revision: nothing changed.
    Unchanged(Revision),
    /// Something else was there than expected: this revision, or no schedule. Nothing changed.
    Conflict(Option<Revision>),
    /// No such job was ever registered.
    UnknownJob,
    /// The job has its schedule from the program that registers it.
    NotStored,
}

/// Takes the schedule of one scope away. It makes no more slots; what it had not made yet is recorded as skipped, with
/// the reason `schedule_changed`. Executions that exist run to their end.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct RemoveSchedule {
    /// The job.
    pub job: JobName,
    /// The scope.
    pub scope: Scope,
    /// What must be there; [`Expected::Nothing`] finds nothing to remove.
    pub expected: Expected,
    /// Why; at most [`MAX_NOTE_BYTES`].
    pub note: Option<String>,
    /// Who asks; `None`: "operator".
    pub actor: Option<OperatorName>,
}

/// Reply to [`RemoveSchedule`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ScheduleRemoved {
    /// The database clock.
    pub now: Timestamp,
    /// What became of it.
    pub outcome: RemoveOutcome,
}

/// What became of a removal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum RemoveOutcome {
    /// It is gone from now on; the removal is this revision.
    Removed(Revision),
    /// There was none.
    NotThere,
    /// Another revision was in force than expected. Nothing changed.
    Conflict(Revision),
    /// No such job was ever registered.
    UnknownJob,
}

/// Lists schedules that the database keeps, ordered by (job, scope, revision).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ListSchedules {
    /// Only of this job.
    pub job: Option<JobName>,
    /// Only of this scope.
    pub scope: Option<Scope>,
    /// Which.
    pub which: ScheduleFilter,
    /// Continue behind this one: the last of the page before.
    pub after: Option<(JobName, Scope, Revision)>,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Which schedules a list has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleFilter {
    /// Those in force.
    InForce,
    /// All revisions, removals included.
    All,
}

/// Reply to [`ListSchedules`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct SchedulePage {
    /// The database clock.
    pub now: Timestamp,
    /// The schedules; fewer than `limit` means that these are the last.
    pub schedules: Vec<StoredSchedule>,
}
