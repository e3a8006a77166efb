//! Owns the row access that queues need beside [`super::Rows`]; no decisions.

use super::StoreError;
use crate::model::{ExecutionId, JobName, State};

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
}
