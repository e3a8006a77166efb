//! Owns the life of an attempt, from the claim of its row to its end, and what ends or begins a life from outside.

use serde::{Deserialize, Serialize};

use crate::model::{
    Execution, ExecutionId, Generation, Incarnation, JobName, LeaseRef, LockName, OperatorName, Outcome, Progress,
    Rate, Retention, SkipReason, State, Timestamp,
    transition::{Cancelled, Charge, Refusal},
};

/// Takes leases on up to `limit` due rows, ordered by (priority, claimable since, id).
///
/// The first `limit` due rows whose overlap limit leaves room are looked at; late and superseded ones among them
/// end as skipped; of several rows with one limit key only as many are taken as there is room. With a rate, rows whose
/// key has no turn are not looked at either, and each row that is taken takes one; rows without a limit key need none.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Claim {
    /// Who claims.
    pub runner: Incarnation,
    /// Which jobs it can run.
    pub jobs: Vec<JobName>,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
    /// When the attempts are charged.
    pub charge: Charge,
    /// How often rows of one limit key may be claimed, by whomever; then `jobs` is one queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// Reply to [`Claim`]. The token of every row is the request id.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Claimed {
    /// The database clock.
    pub now: Timestamp,
    /// Rows taken, in claim order, as they are after the claim.
    pub executions: Vec<Execution>,
    /// Rows ended unstarted, in claim order.
    pub skipped: Vec<(ExecutionId, SkipReason)>,
    /// With a rate: the earliest instant, after `now`, at which a key of the queue that has no turn left gets one, whether a
    /// row waits for it or not. `None` when all have, and in the answer to a repetition. A hint: where claims meet, it may be
    /// as late as one turn from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
}

/// Charges attempts. A handler must not run before its row's start is known to be durable.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Start {
    /// Rows, each at most once.
    pub leases: Vec<LeaseRef>,
}

/// Reply to [`Start`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Started {
    /// The database clock.
    pub now: Timestamp,
    /// One per row, in order: the number of the attempt, from 1.
    pub outcomes: Vec<Result<u32, Refusal>>,
}

/// Renews leases.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Heartbeat {
    /// Rows, each at most once.
    pub leases: Vec<LeaseRef>,
    /// How far some of them are, each at most once; of rows that are not in `leases` nothing is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<(ExecutionId, Progress)>,
}

impl Heartbeat {
    /// Renews these leases, and says no more.
    pub const fn of(leases: Vec<LeaseRef>) -> Self {
        Self { leases, progress: Vec::new() }
    }

    /// What it says of this row.
    pub fn progress_of(&self, id: ExecutionId) -> Option<&Progress> {
        self.progress.iter().find(|(of, _)| *of == id).map(|(_, progress)| progress)
    }
}

/// Reply to [`Heartbeat`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Renewed {
    /// The database clock.
    pub now: Timestamp,
    /// One per row, in order.
    pub outcomes: Vec<Result<Renewal, Refusal>>,
}

/// A renewed lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Renewal {
    /// New expiry, by the database clock.
    pub expires_at: Timestamp,
    /// An operator asks the handler to stop.
    pub cancel: CancelRequest,
}

/// Whether an operator wants a running handler to stop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum CancelRequest {
    /// No.
    None,
    /// Yes.
    Requested,
}

/// Ends attempts. Rows of which nothing is to be kept are deleted: to every later request they are unknown, and a repetition
/// of this one is answered by its receipt.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Settle {
    /// Rows, each at most once.
    pub settlements: Vec<Settlement>,
}

/// One attempt's end.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Settlement {
    /// The row and the claim it ends.
    pub lease: LeaseRef,
    /// How.
    pub outcome: Outcome,
    /// What is kept of the row when that is its end.
    #[serde(default, skip_serializing_if = "Retention::is_everything")]
    pub retain: Retention,
}

impl Settlement {
    /// An end of which everything is kept.
    pub const fn of(lease: LeaseRef, outcome: Outcome) -> Self {
        Self { lease, outcome, retain: Retention::Everything }
    }
}

/// Reply to [`Settle`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Settled {
    /// The database clock.
    pub now: Timestamp,
    /// One per row, in order: the state it went to.
    pub outcomes: Vec<Result<State, Refusal>>,
}

/// Ends up to `limit` expired rows that no claim may take, oldest expiry first. When the database clock is before
/// the last rescue's, waits written in the withdrawn future are shortened to what they were meant to last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Rescue {
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Reply to [`Rescue`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Rescued {
    /// The database clock.
    pub now: Timestamp,
    /// Rows ended, ordered by (lease expiry, id), with the state they went to.
    pub ended: Vec<(ExecutionId, State)>,
    /// Rows moved back to the present, ordered by id.
    pub clamped: Vec<ExecutionId>,
    /// Locks moved back to the present, ordered by name.
    pub clamped_locks: Vec<LockName>,
}

/// Cancels executions.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Cancel {
    /// Rows, each at most once.
    pub ids: Vec<ExecutionId>,
    /// Who asks, for audit events; `None`: "operator".
    pub actor: Option<OperatorName>,
}

/// Reply to [`Cancel`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct CancelOutcomes {
    /// One per id, in order.
    pub outcomes: Vec<Cancelled>,
}

/// Gives finished executions another life, due at once.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Requeue {
    /// Rows, each at most once.
    pub ids: Vec<ExecutionId>,
    /// Who asks, for audit events; `None`: "operator".
    pub actor: Option<OperatorName>,
}

/// Reply to [`Requeue`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Requeued {
    /// One per id, in order.
    pub outcomes: Vec<RequeueOutcome>,
}

/// What became of one requeue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum RequeueOutcome {
    /// Scheduled again under this generation.
    Requeued(Generation),
    /// It has not ended yet.
    StillLive,
    /// A live execution has its unique key (G11).
    Conflict,
    /// No such execution.
    NotFound,
}
