//! Owns what planners ask: which jobs there are, how far each schedule has come, and the slots that are next.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{RegisteredRules, StoredSchedule};
use crate::model::{ExecutionId, Incarnation, JobName, NewExecution, Pause, Scope, SkippedSlots, Timestamp};

/// Fingerprint of (part of) a job spec.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpecHash(pub Arc<str>);

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes job specs known. An edited schedule makes no slot before the edit (G6): its cursors move to now, and the
/// slots that the old schedule had not planned yet are recorded as skipped.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Register {
    /// Who registers.
    pub runner: Incarnation,
    /// The jobs, each at most once.
    pub jobs: Vec<Registration>,
}

/// One job's registration.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Registration {
    /// The job.
    pub job: JobName,
    /// Of everything; an incarnation whose hash is no longer the registered one stops planning the job.
    pub spec_hash: SpecHash,
    /// Of what decides slot times only.
    pub schedule_hash: SpecHash,
    /// The rules, for operators; `None` when whoever registers does not say.
    pub rules: Option<RegisteredRules>,
}

/// Reply to [`Register`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Registered {
    /// One per job, in order.
    pub outcomes: Vec<RegisterOutcome>,
}

/// What a registration found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum RegisterOutcome {
    /// First of its name.
    New,
    /// Same spec as before.
    Unchanged,
    /// Another spec, same slots.
    PolicyChanged,
    /// Other slots from now on.
    ScheduleChanged,
}

/// Reads the cursors of these jobs.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ReadCursors {
    /// The jobs.
    pub jobs: Vec<JobName>,
}

/// Reply to [`ReadCursors`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct CursorsRead {
    /// The database clock.
    pub now: Timestamp,
    /// One per job asked for, in order.
    pub jobs: Vec<JobCursors>,
}

/// How far one job is planned.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct JobCursors {
    /// The job.
    pub job: JobName,
    /// Of the latest registration; `None` when never registered.
    pub spec_hash: Option<SpecHash>,
    /// When the schedule was last edited, or the job resumed: no slot at or before it is made.
    pub edited_at: Option<Timestamp>,
    /// Its pauses in force, ordered by scope, that of the whole job first: what they hold is not planned.
    pub pauses: Vec<Pause>,
    /// The schedules that the database keeps for it, those in force, ordered by scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<StoredSchedule>,
    /// One per scope that was ever planned, ordered by scope.
    pub cursors: Vec<Cursor>,
}

/// How far one (job, scope) is planned.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Cursor {
    /// The scope.
    pub scope: Scope,
    /// Every slot at or before this is made or recorded as skipped.
    pub at: Timestamp,
    /// Largest `at` ever: after the database clock stepped back, `at` follows it, and slots up to here are made
    /// only if they do not exist (G6).
    pub high_water: Timestamp,
    /// Newest slot made, unless it lies in a withdrawn future: what supersedes older ones.
    pub newest_slot: Option<Timestamp>,
    /// Of the schedule that this scope has to itself; `None` when it has that of its job.
    pub schedule_hash: Option<SpecHash>,
    /// When the scope's own schedule came, changed or went, or the scope was resumed; `None` when none of it ever was.
    pub edited_at: Option<Timestamp>,
}

/// Moves cursors and makes slots: one compare-and-set per entry, with the slots in the same transaction.
///
/// A scope may have a schedule to itself, which comes, changes and goes at run time, without a registration. An entry
/// whose schedule is not the one that the cursor was planned by is an edit of that scope, and of nothing else: see
/// [`PlanOutcome::ScheduleChanged`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Plan {
    /// At most one entry per (job, scope).
    pub entries: Vec<PlanEntry>,
}

/// One (job, scope) to move.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct PlanEntry {
    /// The job.
    pub job: JobName,
    /// The scope.
    pub scope: Scope,
    /// The planner's spec; must still be the registered one.
    pub spec_hash: SpecHash,
    /// Of the schedule that this scope has to itself; `None` when it has that of its job.
    pub schedule_hash: Option<SpecHash>,
    /// The cursor the planner saw.
    pub expect: Option<Timestamp>,
    /// Where it moves to.
    pub to: Timestamp,
    /// A slot at t is due at t + delay; the store checks `to + delay ≤ now` itself.
    pub delay_ms: u64,
    /// Slots to make, oldest first; each has a slot time ≤ `to`.
    pub slots: Vec<NewExecution>,
    /// Slots not made, with reasons, oldest first.
    pub skipped: Vec<SkippedSlots>,
}

/// Reply to [`Plan`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Planned {
    /// The database clock.
    pub now: Timestamp,
    /// One per entry, in order.
    pub outcomes: Vec<PlanOutcome>,
}

/// What became of one entry.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum PlanOutcome {
    /// The cursor moved; these were inserted (slots that existed already are left out).
    Made(Vec<ExecutionId>),
    /// The scope had another schedule. It has this one from now on, and no slot at or before now (G6): the cursor
    /// stands at now, what the other had not planned is recorded as skipped, and nothing of the entry was made.
    ScheduleChanged,
    /// Another planner moved the cursor first; it is here now.
    CursorMoved(Option<Timestamp>),
    /// Another spec was registered; stop planning this job.
    SpecSuperseded,
    /// The database clock is not there yet (it stepped back after the planner read it).
    NotDue,
    /// The job or the scope is paused; nothing was made, and the cursor stays.
    Paused,
}
