//! Owns the look for due work: which queues and jobs a claim is worth sending for. Takes nothing, and promises nothing.

use serde::{Deserialize, Serialize};

use crate::model::{JobName, Timestamp};

/// Asks which of these jobs and queues have rows that are due: one look for all crews of a replica.
///
/// Only the time counts. Whether a claim would take such a row, which may be paused or find its limit full, or be
/// gone by then, is the claim's to say.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ReadDue {
    /// Up to [`MAX_BATCH`](super::MAX_BATCH); one that nobody knows has nothing due.
    pub jobs: Vec<JobName>,
}

/// Reply to [`ReadDue`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct DueRead {
    /// The database clock.
    pub now: Timestamp,
    /// Those with a row that a claim may look at now, by name, each once.
    pub jobs: Vec<JobName>,
}
