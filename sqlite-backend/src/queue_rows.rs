//! Owns the row access that queues need. Decides nothing.

use rusqlite::params_from_iter;
use tourbillon::{
    model::{Execution, ExecutionId, JobName, LeaseRef, State, Timestamp},
    store::{Direction, DueFilter, ListItems, Lives, QueueRows, QueueStats, StoreError},
};

use crate::{
    row::{self, Columns, count, id, instant, integer, null, optional, text},
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

    fn list_items(&mut self, filter: &ListItems, now: Timestamp) -> Result<Vec<Execution>, StoreError> {
        let states = json_array(filter.states.iter().map(|state| state.as_str()));
        let scope = filter.scope.as_ref();
        let params = [
            text(filter.queue.as_str()),
            text(&states),
            optional(scope, |scope| text(scope.kind())),
            optional(scope, |scope| text(scope.id())),
            optional(filter.unique_key.as_deref(), text),
            if filter.due == DueFilter::DueNow { instant(now) } else { null() },
            text(filter.order.as_str()),
            integer(if filter.direction == Direction::Ascending { 1 } else { -1 }),
            integer(filter.offset),
            integer(filter.limit),
            integer(filter.lives == Lives::Newest),
        ];
        self.all(sql::LIST_ITEMS, params_from_iter(params), row::read)
    }

    fn queue_stats(&mut self, queue: &JobName, now: Timestamp) -> Result<QueueStats, StoreError> {
        let by_state = self.all(sql::READ_QUEUE_STATS, [queue.as_str()], |row| {
            let mut columns = Columns::new(row);
            let state = columns.named(State::from_name)?;
            let (rows, oldest, newest) = (columns.count()?, columns.instant()?, columns.instant()?);
            Ok((state, rows, oldest, newest, columns.count()?, columns.optional_instant()?))
        })?;
        let mut stats = QueueStats::empty(now);
        for (state, rows, oldest, newest, retries, last_retry_at) in by_state {
            *stats.of(state) = rows;
            if !state.is_terminal() {
                stats.oldest_at = Some(stats.oldest_at.map_or(oldest, |at| at.min(oldest)));
                stats.newest_at = stats.newest_at.max(Some(newest));
            }
            stats.retries += retries;
            stats.last_retry_at = stats.last_retry_at.max(last_retry_at);
        }
        Ok(stats)
    }

    fn revise(&mut self, was: &Execution, row: &Execution) -> Result<(), StoreError> {
        let params = [
            instant(row.due_at),
            integer(row.priority),
            optional(row.payload.as_ref(), |payload| text(payload.as_str())),
            optional(row.claimable_at, instant),
            instant(row.updated_at),
            id(&was.id.0),
            integer(was.generation.0),
            count("fence", was.fence.0)?,
        ];
        let changed = self.execute(sql::REVISE_EXECUTION, params_from_iter(params))?;
        self.expect_one(changed, was)
    }

    fn ended_items(
        &mut self,
        queue: &JobName,
        states: &[State],
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Execution>, StoreError> {
        let states = json_array(states.iter().map(|state| state.as_str()));
        let params = (queue.as_str(), states, before.as_micros(), limit);
        self.all(sql::SELECT_ENDED_ITEMS, params, row::read)
    }

    fn forget(&mut self, row: &Execution) -> Result<(), StoreError> {
        let changed = self.execute(sql::REMOVE_LIVE, [row.id.0.as_bytes()])?;
        self.expect_one(changed, row)
    }

    fn forget_success(&mut self, lease: &LeaseRef) -> Result<bool, StoreError> {
        let lease = [id(&lease.id.0), id(&lease.token.0), count("fence", lease.fence.0)?];
        Ok(self.execute(sql::FORGET_SUCCESS, params_from_iter(lease))? == 1)
    }

    fn remove(&mut self, id: ExecutionId) -> Result<(), StoreError> {
        self.execute(sql::REMOVE_LIVE, [id.0.as_bytes()])?;
        self.execute(sql::REMOVE_HISTORY, [id.0.as_bytes()]).map(drop)
    }

    fn is_audited(&mut self, id: ExecutionId) -> Result<bool, StoreError> {
        Ok(self.first(sql::EXISTS_AUDIT, [id.0.as_bytes()], |row| row.get(0))?.unwrap_or(false))
    }
}
