//! Owns what operators ask about running a job: stop it, let it go on, run it once now.

use serde::{Deserialize, Serialize};

use crate::model::{ExecutionId, JobName, Json, OperatorName, Pause, Policy, Scope, Timestamp, TraceContext};

/// Pauses a registered job, or one scope of it, on all replicas and until it is resumed.
///
/// While it is paused no slot is made, and no claim takes an execution that a schedule made, be it waiting, up for a
/// retry, or left behind by a replica. What runs goes on to its end. Items and triggered executions are not held.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct PauseJob {
    /// The job.
    pub job: JobName,
    /// Only this scope; `None`: all of them. The two are pauses of their own.
    pub scope: Option<Scope>,
    /// Who asks; `None`: "operator".
    pub actor: Option<OperatorName>,
}

/// Reply to [`PauseJob`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct JobPaused {
    /// The database clock.
    pub now: Timestamp,
    /// What became of it.
    pub outcome: PauseOutcome,
}

/// What became of a pause.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum PauseOutcome {
    /// It is paused from now on.
    Paused,
    /// It was paused already, since this instant.
    Already(Timestamp),
    /// No such job was ever registered.
    UnknownJob,
}

/// Lifts the pause of a job, or of one scope of it. What the pause left out is recorded as skipped, with the reason
/// `paused`, and never made: no slot at or before now (G6).
///
/// Lifting the pause of the whole job leaves those of single scopes in force, and the reverse.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ResumeJob {
    /// The job.
    pub job: JobName,
    /// As it was paused.
    pub scope: Option<Scope>,
    /// Who asks; `None`: "operator".
    pub actor: Option<OperatorName>,
}

/// Reply to [`ResumeJob`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct JobResumed {
    /// The database clock.
    pub now: Timestamp,
    /// What became of it.
    pub outcome: ResumeOutcome,
}

/// What became of a resumption.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum ResumeOutcome {
    /// It goes on from now; it was paused since this instant.
    Resumed(Timestamp),
    /// It was not paused.
    NotPaused,
    /// No such job was ever registered.
    UnknownJob,
}

/// Lists pauses, newest first: ordered by `paused_at` and id, both descending.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ListPauses {
    /// Only of this job.
    pub job: Option<JobName>,
    /// Which.
    pub which: PauseFilter,
    /// How many to pass over.
    pub offset: u32,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Which pauses a list has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum PauseFilter {
    /// Those in force.
    InForce,
    /// All that ever were.
    All,
}

/// Reply to [`ListPauses`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct PausePage {
    /// The database clock.
    pub now: Timestamp,
    /// The pauses; fewer than `limit` means that these are the last.
    pub pauses: Vec<Pause>,
}

/// Makes one execution of a registered job, due at once, that is no slot: the schedule goes on as if it were not there.
///
/// A pause does not hold it. Its id is new for every wish, and kept for every repetition of it: an id that is taken
/// makes nothing. It is an audit event of the operator, where its rules want one.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct TriggerJob {
    /// The job.
    pub job: JobName,
    /// For which scope.
    pub scope: Scope,
    /// The execution.
    pub id: ExecutionId,
    /// Lower runs first.
    pub priority: i16,
    /// Input of the handler, which for slots is none.
    pub payload: Option<Json>,
    /// The rules that it carries: the job's.
    pub policy: Policy,
    /// Who asks; `None`: "operator".
    pub actor: Option<OperatorName>,
    /// Where it was wished for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

/// Reply to [`TriggerJob`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct JobTriggered {
    /// The database clock.
    pub now: Timestamp,
    /// What became of it.
    pub outcome: TriggerOutcome,
}

/// What became of a trigger.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum TriggerOutcome {
    /// It is due now.
    Triggered,
    /// An execution has this id already, or had it: nothing was made.
    Duplicate,
    /// No such job was ever registered.
    UnknownJob,
}
