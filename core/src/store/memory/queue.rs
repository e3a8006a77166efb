//! What queues need of the in-memory store.

use std::collections::btree_map::Entry;

use super::{Tables, page};
use crate::{
    model::{AuditKey, Execution, ExecutionId, Fence, Generation, JobName, LeaseRef, State, Timestamp, transition},
    store::{Direction, DueFilter, ListItems, Lives, QueueRows, QueueStats, StoreError},
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

    fn list_items(&mut self, filter: &ListItems, now: Timestamp) -> Result<Vec<Execution>, StoreError> {
        let is_wanted =
            |row: &&Execution| is_wanted(row, filter, now) && (filter.lives == Lives::All || self.is_newest(row));
        let mut rows: Vec<_> = self.of_queue(&filter.queue).filter(is_wanted).collect();
        rows.sort_by_key(|row| (filter.order.key(row), row.id, row.generation));
        if filter.direction == Direction::Descending {
            rows.reverse();
        }
        Ok(page(rows.into_iter().skip(filter.offset as usize).cloned(), filter.limit))
    }

    fn queue_stats(&mut self, queue: &JobName, now: Timestamp) -> Result<QueueStats, StoreError> {
        let mut stats = QueueStats::empty(now);
        for row in self.of_queue(queue) {
            *stats.of(row.state) += 1;
            if !row.state.is_terminal() {
                stats.oldest_at = Some(stats.oldest_at.map_or(row.created_at, |at| at.min(row.created_at)));
                stats.newest_at = stats.newest_at.max(Some(row.created_at));
            }
            if row.attempt > 1 {
                stats.retries += u64::from(row.attempt - 1);
                stats.last_retry_at = stats.last_retry_at.max(row.lease.as_ref().and_then(|lease| lease.started_at));
            }
        }
        Ok(stats)
    }

    fn revise(&mut self, was: &Execution, row: &Execution) -> Result<(), StoreError> {
        self.unindex(was);
        self.index(row);
        self.live.insert(row.id, row.clone());
        Ok(())
    }

    fn ended_items(
        &mut self,
        queue: &JobName,
        states: &[State],
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Execution>, StoreError> {
        let ended = self.history.values().filter(|row| row.job == *queue && row.slot_at.is_none());
        let old = ended.filter(|row| states.contains(&row.state) && row.finished_at.is_some_and(|at| at < before));
        let mut rows: Vec<_> = old.filter(|row| self.is_newest(row)).cloned().collect();
        rows.sort_by_key(|row| (row.finished_at, row.id));
        Ok(page(rows.into_iter(), limit))
    }

    fn forget(&mut self, row: &Execution) -> Result<(), StoreError> {
        if let Some(was) = self.live.remove(&row.id) {
            self.unindex(&was);
        }
        Ok(())
    }

    fn forget_success(&mut self, lease: &LeaseRef) -> Result<bool, StoreError> {
        let Entry::Occupied(row) = self.live.entry(lease.id) else { return Ok(false) };
        if !transition::success_leaves_nothing(row.get(), lease) {
            return Ok(false);
        }
        let was = row.remove();
        self.unindex(&was);
        Ok(true)
    }

    fn remove(&mut self, id: ExecutionId) -> Result<(), StoreError> {
        if let Some(was) = self.live.remove(&id) {
            self.unindex(&was);
        }
        self.history.retain(|(other, _), _| *other != id);
        Ok(())
    }

    fn is_audited(&mut self, id: ExecutionId) -> Result<bool, StoreError> {
        let first = AuditKey { execution: id, generation: Generation(0), fence: Fence(0), step: 0 };
        Ok(self.audit.range(first..).next().is_some_and(|(key, _)| key.execution == id))
    }
}

impl Tables {
    fn of_queue<'t>(&'t self, queue: &'t JobName) -> impl Iterator<Item = &'t Execution> {
        let all = self.live.values().chain(self.history.values());
        all.filter(move |row| row.job == *queue && row.slot_at.is_none())
    }

    fn is_newest(&self, row: &Execution) -> bool {
        let newer = (row.id, row.generation.next())..=(row.id, Generation(u32::MAX));
        let lives_again = self.live.get(&row.id).is_some_and(|live| live.generation > row.generation);
        !lives_again && self.history.range(newer).next().is_none()
    }
}

fn is_wanted(row: &Execution, filter: &ListItems, now: Timestamp) -> bool {
    let is_due =
        || matches!(row.state, State::Scheduled | State::Retryable) && row.claimable_at.is_some_and(|at| at <= now);
    (filter.states.is_empty() || filter.states.contains(&row.state))
        && filter.scope.as_ref().is_none_or(|scope| row.scope == *scope)
        && filter.unique_key.as_ref().is_none_or(|key| row.unique_key.as_ref() == Some(key))
        && (filter.due == DueFilter::Any || is_due())
}
