//! Owns the execution: the one durable thing. Its legal changes are in [`super::transition`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Audit, ExecutionId, Failure, Fence, Generation, Incarnation, JobName, Json, Scope, Timestamp, Token,
    TraceContext,
    progress::{self, Reported},
    trace,
};

/// Where an execution is in its life. The diagram is in [`super::transition`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting for its due time or for a claimer.
    Scheduled,
    /// Claimed: somebody holds, or held, its lease.
    Running,
    /// Failed with attempts left, waiting for its retry time.
    Retryable,
    /// Done. Terminal.
    Succeeded,
    /// Failed for good. Terminal.
    Dead,
    /// Ended by an operator. Terminal.
    Cancelled,
    /// Never started, with a recorded reason. Terminal.
    Skipped,
}

impl State {
    /// All states, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Running,
        Self::Retryable,
        Self::Succeeded,
        Self::Dead,
        Self::Cancelled,
        Self::Skipped,
    ];

    /// True for the four states that never change again (G2).
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Dead | Self::Cancelled | Self::Skipped)
    }

    /// The name as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Retryable => "retryable",
            Self::Succeeded => "succeeded",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// The state with this stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a slot or execution was never started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// A newer slot exists and the job runs the latest only.
    Superseded,
    /// Found later than the job's lateness limit.
    Late,
    /// Older than the catch-up window.
    OutsideWindow,
    /// The schedule was edited before the slot was planned.
    ScheduleChanged,
    /// A queue item whose time to live ended before its first attempt.
    Expired,
    /// The clocks of its zone left its wall time out, and its schedule says that it has no slot then.
    Gap,
    /// Its job, or its scope, was paused.
    Paused,
}

impl SkipReason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Superseded,
        Self::Late,
        Self::OutsideWindow,
        Self::ScheduleChanged,
        Self::Expired,
        Self::Gap,
        Self::Paused,
    ];

    /// The name as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Late => "late",
            Self::OutsideWindow => "outside_window",
            Self::ScheduleChanged => "schedule_changed",
            Self::Expired => "expired",
            Self::Gap => "gap",
            Self::Paused => "paused",
        }
    }

    /// The reason with this stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// Slots in (`after`, `through`] that are not made.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct SkippedSlots {
    /// Exclusive.
    pub after: Timestamp,
    /// Inclusive.
    pub through: Timestamp,
    /// How many; `None` when the schedule that would have made them is no longer known.
    pub count: Option<u64>,
    /// Why.
    pub reason: SkipReason,
}

/// What may happen to a *started* attempt whose lease expired.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Reentry {
    /// It is claimed again while attempts remain.
    Allow,
    /// It is dead with `stale_timeout` until an operator requeues it (P-10).
    Forbid,
}

/// Whether a newer slot makes an older, never started one pointless.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Supersede {
    /// Every slot counts.
    Never,
    /// Judged again at claim: six hours without a runner must not run 72 slots.
    ByNewerSlot,
}

/// At most `max` executions with this key are running at once, on all replicas together (G15).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Limit {
    /// Rows with equal keys count together.
    pub key: String,
    /// 1 or more.
    pub max: u32,
}

/// The rules an execution carries with it, so that a later edit of the job does not change a row in flight.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Policy {
    /// Charged attempts allowed; the first counts. 1 or more.
    pub max_attempts: u32,
    /// How long a claim, start or heartbeat holds the lease, in milliseconds of the database clock.
    pub lease_ms: u64,
    /// What an expired lease of a started attempt leads to.
    pub reentry: Reentry,
    /// Whether a newer slot ends this one unstarted.
    pub supersede: Supersede,
    /// Overlap limit, if any.
    pub limit: Option<Limit>,
    /// Which of its transitions leave an audit event (G9).
    pub audit: Audit,
}

/// An execution about to be stored; id made by the caller.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct NewExecution {
    /// Identity, from the caller's entropy.
    pub id: ExecutionId,
    /// Slot time; `None` for work that no schedule made.
    pub slot_at: Option<Timestamp>,
    /// Not claimed before this.
    pub due_at: Timestamp,
    /// If still unstarted after this, it is skipped: a slot as late, a queue item as expired.
    pub expires_at: Option<Timestamp>,
    /// Lower runs first; 0 is usual.
    pub priority: i16,
    /// Input of the handler.
    pub payload: Option<Json>,
    /// At most one live execution per key (G11). For queue items: a planned slot has none.
    pub unique_key: Option<String>,
    /// Rules it carries.
    pub policy: Policy,
}

/// The last claim of an execution. Current while the state is running; a record of who was last otherwise.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Lease {
    /// Random per claim.
    pub token: Token,
    /// Who claimed.
    pub runner: Incarnation,
    /// When, by the database clock; so are all instants here.
    pub claimed_at: Timestamp,
    /// When the attempt was started, which is when it was charged; `None`: no handler ran under this claim.
    pub started_at: Option<Timestamp>,
    /// Last sign of life.
    pub heartbeat_at: Timestamp,
    /// Lost to others strictly after this instant.
    pub expires_at: Timestamp,
}

/// What a runner shows with every write, per row: who it thinks it is. Any mismatch refuses the write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct LeaseRef {
    /// The row.
    pub id: ExecutionId,
    /// The claim.
    pub token: Token,
    /// Its number.
    pub fence: Fence,
}

/// One piece of durable work (P-11). Every field is a column of the same name on the database stores.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Execution {
    /// Identity.
    pub id: ExecutionId,
    /// Which life; (id, generation) identifies it in the hot table and in history alike.
    pub generation: Generation,
    /// The job it belongs to.
    pub job: JobName,
    /// The scope it runs for.
    pub scope: Scope,
    /// Slot time, if a schedule made it ("plan time").
    pub slot_at: Option<Timestamp>,
    /// Not claimed before this, at first.
    pub due_at: Timestamp,
    /// If still unstarted after this, it is skipped: a slot as late, a queue item as expired.
    pub expires_at: Option<Timestamp>,
    /// Lower runs first.
    pub priority: i16,
    /// Input of the handler.
    pub payload: Option<Json>,
    /// At most one live execution per key.
    pub unique_key: Option<String>,
    /// Rules it carries.
    pub policy: Policy,
    /// Where it is in its life.
    pub state: State,
    /// From this instant (inclusive) a claim may take it; `None`: no claim ever will. The one column that the
    /// claim index is built on: due time, retry time and lease expiry (plus 1 µs, since expiry compares
    /// strictly) all end up here.
    pub claimable_at: Option<Timestamp>,
    /// Charged attempts so far, the running one included once started.
    pub attempt: u32,
    /// Claims so far, charged or not.
    pub fence: Fence,
    /// Last claim.
    pub lease: Option<Lease>,
    /// An operator asked for cancellation while it ran.
    pub cancel_requested_at: Option<Timestamp>,
    /// End of the last attempt, or of the execution.
    pub finished_at: Option<Timestamp>,
    /// From start to finish of the last attempt, in milliseconds of the database clock; never negative.
    pub duration_ms: Option<u64>,
    /// Rows that the handler says it touched.
    pub rows_affected: Option<u64>,
    /// Result of a success.
    pub result: Option<Json>,
    /// Error of the last failed attempt.
    pub error: Option<Failure>,
    /// Why it was skipped, if it was.
    pub skip_reason: Option<SkipReason>,
    /// When the row was made.
    pub created_at: Timestamp,
    /// Last change of any kind.
    pub updated_at: Timestamp,
    /// Where it was enqueued, if that is known; kept by all its lives.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::lenient")]
    pub trace: Option<TraceContext>,
    /// How far its last attempt said it was; the next claim clears it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "progress::lenient")]
    pub progress: Option<Reported>,
}

impl Execution {
    /// The row that storing `new` makes at `now`.
    pub fn fresh(job: JobName, scope: Scope, new: NewExecution, now: Timestamp) -> Self {
        Self {
            id: new.id,
            generation: Generation::FIRST,
            job,
            scope,
            slot_at: new.slot_at,
            due_at: new.due_at,
            expires_at: new.expires_at,
            priority: new.priority,
            payload: new.payload,
            unique_key: new.unique_key,
            policy: new.policy,
            state: State::Scheduled,
            claimable_at: Some(new.due_at),
            attempt: 0,
            fence: Fence(0),
            lease: None,
            cancel_requested_at: None,
            finished_at: None,
            duration_ms: None,
            rows_affected: None,
            result: None,
            error: None,
            skip_reason: None,
            created_at: now,
            updated_at: now,
            trace: None,
            progress: None,
        }
    }

    /// When the next attempt is due, for a failed execution with attempts left (P-11 "next retry").
    pub fn next_retry_at(&self) -> Option<Timestamp> {
        if self.state == State::Retryable { self.claimable_at } else { None }
    }

    /// True when the last claim has charged its attempt: its handler may have run.
    pub fn is_started(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.started_at.is_some())
    }

    /// The reference that the current holder must show; `None` unless running.
    pub fn lease_ref(&self) -> Option<LeaseRef> {
        match (&self.lease, self.state) {
            (Some(lease), State::Running) => Some(LeaseRef { id: self.id, token: lease.token, fence: self.fence }),
            _ => None,
        }
    }
}
