//! What queues need of the in-memory store.

use super::Tables;
use crate::{
    model::{ExecutionId, JobName, State},
    store::{QueueRows, StoreError},
};

impl QueueRows for Tables {
    fn items(&mut self, queue: &JobName) -> Result<u64, StoreError> {
        Ok(self.live.values().filter(|row| row.job == *queue && row.slot_at.is_none()).count() as u64)
    }

    fn live_with_key(&mut self, key: &str) -> Result<Option<ExecutionId>, StoreError> {
        Ok(self.live_keys.get(key).copied())
    }

    fn finished_with_key(&mut self, key: &str, states: &[State]) -> Result<Option<ExecutionId>, StoreError> {
        let ended = self.history.values().filter(|row| row.unique_key.as_deref() == Some(key));
        let counted = ended.filter(|row| states.contains(&row.state));
        Ok(counted.max_by_key(|row| (row.finished_at, row.id)).map(|row| row.id))
    }
}
