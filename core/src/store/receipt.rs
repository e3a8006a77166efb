//! Owns what is kept of the first reply to a request, for its repetitions.

use serde::{Deserialize, Serialize};

use super::{Claimed, Reply};
use crate::model::{Execution, ExecutionId, SkipReason, Timestamp};

/// What a store keeps under the id of a request that it carried out.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// The reply itself.
    Reply(Reply),
    /// Of a claim, whose rows are there to be read again.
    Claimed(ClaimReceipt),
}

/// What is kept of a claim.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ClaimReceipt {
    /// The database clock, when it was carried out.
    pub now: Timestamp,
    /// Rows taken, in claim order.
    pub taken: Vec<ExecutionId>,
    /// Rows ended unstarted, in claim order.
    pub skipped: Vec<(ExecutionId, SkipReason)>,
}

impl Receipt {
    /// Of this reply.
    pub fn of(reply: &Reply) -> Self {
        match reply {
            Reply::Claimed(Claimed { now, executions, skipped, .. }) => Self::Claimed(ClaimReceipt {
                now: *now,
                taken: executions.iter().map(|row| row.id).collect(),
                skipped: skipped.clone(),
            }),
            reply => Self::Reply(reply.clone()),
        }
    }
}

impl Reply {
    /// Whether `again` may be the answer to a repetition of the request that was answered this: the same, but of a claim
    /// those rows alone that it still holds, as they are by then.
    pub fn may_be_repeated_as(&self, again: &Self) -> bool {
        match (self, again) {
            (Self::Claimed(first), Self::Claimed(again)) => {
                let mut taken = first.executions.iter();
                let was_taken = |row: &Execution| taken.any(|first| first.lease_ref() == row.lease_ref());
                (first.now, &first.skipped) == (again.now, &again.skipped) && again.executions.iter().all(was_taken)
            }
            (first, again) => first == again,
        }
    }
}
