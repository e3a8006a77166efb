//! The audit log as a verb: reading it. Events are written by the transitions themselves.

use serde::{Deserialize, Serialize};

use crate::model::{AuditEvent, AuditKey, ExecutionId, JobName};

/// Lists audit events, ordered by (execution, generation, fence, step): along the life of each execution.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, Default)]
pub struct ListAudit {
    /// Only this job.
    pub job: Option<JobName>,
    /// Only this execution (all its generations).
    pub execution: Option<ExecutionId>,
    /// Continue behind this event.
    pub after: Option<AuditKey>,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Reply to [`ListAudit`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct AuditPage {
    /// The events; fewer than `limit` means that these are the last.
    pub events: Vec<AuditEvent>,
}
