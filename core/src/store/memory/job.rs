//! Jobs as operators see them, in the in-memory store.

use std::{cmp::Reverse, ops::Bound};

use super::{Tables, page};
use crate::{
    model::{Execution, JobName, Scope, State},
    store::{JobRecord, JobRows, ListRecent, StoreError, Success},
};

impl JobRows for Tables {
    fn jobs(&mut self, after: Option<&JobName>, limit: u32) -> Result<Vec<(JobName, JobRecord)>, StoreError> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
        let rest = self.jobs.range((from, Bound::Unbounded));
        Ok(page(rest.map(|(job, record)| (job.clone(), record.clone())), limit))
    }

    fn last_success(&mut self, job: &JobName, scope: &Scope) -> Result<Option<Success>, StoreError> {
        let of_scope = self.history.values().filter(|row| row.job == *job && row.scope == *scope);
        let succeeded = of_scope.filter(|row| row.state == State::Succeeded);
        let success = |row: &Execution| Some(Success { slot_at: row.slot_at?, finished_at: row.finished_at? });
        Ok(succeeded.filter_map(success).max())
    }

    fn recent(&mut self, filter: &ListRecent) -> Result<Vec<Execution>, StoreError> {
        let key = |row: &Execution| (row.updated_at, row.id, row.generation);
        let wanted = |row: &&Execution| {
            filter.job.as_ref().is_none_or(|job| row.job == *job)
                && filter.scope.as_ref().is_none_or(|scope| row.scope == *scope)
                && (filter.states.is_empty() || filter.states.contains(&row.state))
                && filter.after.is_none_or(|after| key(row) < after)
        };
        let mut rows: Vec<_> = self.live.values().chain(self.history.values()).filter(wanted).collect();
        rows.sort_by_key(|row| Reverse(key(row)));
        Ok(page(rows.into_iter().cloned(), filter.limit))
    }
}
