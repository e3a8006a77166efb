//! Owns the row access that queues need. Decides nothing.

use tourbillon::{
    model::{ExecutionId, JobName, State},
    store::{QueueRows, StoreError},
};

use crate::{
    row::Columns,
    rows::{SqliteRows, json_array},
    sql,
};

impl QueueRows for SqliteRows<'_> {
    fn items(&mut self, queue: &JobName) -> Result<u64, StoreError> {
        Ok(self.first(sql::COUNT_ITEMS, [queue.as_str()], |row| Columns::new(row).count())?.unwrap_or(0))
    }

    fn live_with_key(&mut self, key: &str) -> Result<Option<ExecutionId>, StoreError> {
        self.first(sql::SELECT_LIVE_WITH_KEY, [key], |row| Columns::new(row).id().map(ExecutionId))
    }

    fn finished_with_key(&mut self, key: &str, states: &[State]) -> Result<Option<ExecutionId>, StoreError> {
        let states = json_array(states.iter().map(|state| state.as_str()));
        let params = [key, &states];
        self.first(sql::SELECT_FINISHED_WITH_KEY, params, |row| Columns::new(row).id().map(ExecutionId))
    }
}
