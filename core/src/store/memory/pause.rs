//! Pauses in the in-memory store.

use std::cmp::Reverse;

use super::Tables;
use crate::{
    model::{JobName, Pause},
    store::{ListPauses, PauseFilter, PauseRows, StoreError},
};

impl PauseRows for Tables {
    fn pauses(&mut self, job: &JobName) -> Result<Vec<Pause>, StoreError> {
        let in_force = self.pauses.values().filter(|pause| pause.is_in_force() && pause.job == *job);
        let mut pauses: Vec<_> = in_force.cloned().collect();
        pauses.sort_by(|a, b| a.scope.cmp(&b.scope));
        Ok(pauses)
    }

    fn put_pause(&mut self, pause: &Pause) -> Result<(), StoreError> {
        self.pauses.insert(pause.id, pause.clone());
        Ok(())
    }

    fn list_pauses(&mut self, filter: &ListPauses) -> Result<Vec<Pause>, StoreError> {
        let wanted = |pause: &&Pause| {
            filter.job.as_ref().is_none_or(|job| pause.job == *job)
                && (filter.which == PauseFilter::All || pause.is_in_force())
        };
        let mut pauses: Vec<_> = self.pauses.values().filter(wanted).collect();
        pauses.sort_by_key(|pause| Reverse((pause.paused_at, pause.id)));
        Ok(super::page(pauses.into_iter().skip(filter.offset as usize).cloned(), filter.limit))
    }
}
