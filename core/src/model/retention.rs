//! Owns what is kept of executions that have ended. Knows no store.

use serde::{Deserialize, Serialize};

use super::{Execution, Generation, State};

/// What is kept of an execution when the end of its attempt is recorded: said with the end, by the rules of its queue.
///
/// It speaks of ends that are recorded. An item that a rescue, an operator or its time to live ends is kept always: there
/// is no other word of it. So are slots, by whose records the planner knows what it has made, and items that an operator
/// requeued, since a further life must go on from the fences of the one before (ADR 47).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retention {
    /// Each execution, until it is pruned.
    #[default]
    Everything,
    /// What did not succeed: a success is deleted as it is recorded.
    Failures,
    /// Neither: a failure without a further attempt is deleted as it is recorded, too.
    Nothing,
}

impl Retention {
    /// True when each execution is kept.
    pub fn is_everything(&self) -> bool {
        *self == Self::Everything
    }

    /// The name in statements: `everything`, `failures`, `nothing`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Failures => "failures",
            Self::Nothing => "nothing",
        }
    }

    /// True when nothing is kept of this row, which is as the record of its attempt's end left it.
    pub fn forgets(self, row: &Execution) -> bool {
        row.state.is_terminal() && !self.keeps(row.state) && !is_remembered(row)
    }

    /// True when a row that ends in this state is kept.
    pub(crate) fn keeps(self, state: State) -> bool {
        match self {
            Self::Everything => true,
            Self::Failures => state != State::Succeeded && !planted!(D13),
            Self::Nothing => false,
        }
    }
}

/// True for a row that is asked for when it has ended, whatever is kept: that a slot was made, and from which fence another life
/// goes on.
pub(super) fn is_remembered(row: &Execution) -> bool {
    row.generation != Generation::FIRST || row.slot_at.is_some()
}
