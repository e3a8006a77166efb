//! Owns the row access that queues need beside [`super::Rows`]; no decisions.

use super::{ListItems, QueueStats, StoreError};
use crate::model::{Execution, ExecutionId, JobName, LeaseRef, State, Timestamp};

/// Row access for the verbs of queues, inside the same transaction.
///
/// # Errors
/// All methods: whatever the database says; the transaction is then rolled back as a whole.
pub trait QueueRows {
    /// How many live rows of this job no schedule made.
    fn items(&mut self, queue: &JobName) -> Result<u64, StoreError>;
    /// The live row with this unique key.
    fn live_with_key(&mut self, key: &str) -> Result<Option<ExecutionId>, StoreError>;
    /// Of the finished rows with this unique key and one of these states the greatest by (`finished_at`, `id`).
    fn finished_with_key(&mut self, key: &str, states: &[State]) -> Result<Option<ExecutionId>, StoreError>;
    /// See [`ListItems`].
    fn list_items(&mut self, filter: &ListItems, now: Timestamp) -> Result<Vec<Execution>, StoreError>;
    /// See [`ReadQueueStats`](super::ReadQueueStats).
    fn queue_stats(&mut self, queue: &JobName, now: Timestamp) -> Result<QueueStats, StoreError>;
    /// Replaces payload, priority and due time of a live row, beside what [`super::Rows::update`] replaces.
    fn revise(&mut self, was: &Execution, row: &Execution) -> Result<(), StoreError>;
    /// Items of this queue that are not live and whose newest generation ended in one of `states` before `before`, as
    /// that generation; the first `limit` by (`finished_at`, `id`).
    fn ended_items(
        &mut self,
        queue: &JobName,
        states: &[State],
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Execution>, StoreError>;
    /// Removes a live row, of which history keeps nothing. Its audit events stay.
    fn forget(&mut self, row: &Execution) -> Result<(), StoreError>;
    /// The same of the row under this lease, if [a success leaves nothing of it](crate::model::transition::success_leaves_nothing);
    /// whether it did. Where that takes no less than to read the row first, "no" is an answer, too: then it is read.
    fn forget_success(&mut self, lease: &LeaseRef) -> Result<bool, StoreError> {
        let _ = lease;
        Ok(false)
    }
    /// Removes all generations of an execution, the live one included. Its audit events stay.
    fn remove(&mut self, id: ExecutionId) -> Result<(), StoreError>;
    /// Whether audit events tell of this execution.
    fn is_audited(&mut self, id: ExecutionId) -> Result<bool, StoreError>;
}
