//! Stored schedules in the in-memory store.

use super::{Tables, page};
use crate::{
    model::{JobName, Scope},
    store::{ListSchedules, Revision, ScheduleFilter, ScheduleRows, StoreError, StoredSchedule},
};

impl ScheduleRows for Tables {
    fn schedules(&mut self, job: &JobName) -> Result<Vec<StoredSchedule>, StoreError> {
        let in_force = self.schedules.values().filter(|stored| stored.is_in_force() && stored.job == *job);
        Ok(in_force.cloned().collect())
    }

    fn newest_schedule(&mut self, job: &JobName, scope: &Scope) -> Result<Option<StoredSchedule>, StoreError> {
        let key = |revision| (job.clone(), scope.clone(), Revision(revision));
        Ok(self.schedules.range(key(0)..=key(u32::MAX)).next_back().map(|(_, stored)| stored.clone()))
    }

    fn put_schedule(&mut self, schedule: &StoredSchedule) -> Result<(), StoreError> {
        let key = (schedule.job.clone(), schedule.scope.clone(), schedule.revision);
        self.schedules.insert(key, schedule.clone());
        Ok(())
    }

    fn list_schedules(&mut self, filter: &ListSchedules) -> Result<Vec<StoredSchedule>, StoreError> {
        let wanted = |(key, stored): &(&(JobName, Scope, Revision), &StoredSchedule)| {
            filter.job.as_ref().is_none_or(|job| stored.job == *job)
                && filter.scope.as_ref().is_none_or(|scope| stored.scope == *scope)
                && (filter.which == ScheduleFilter::All || stored.is_in_force())
                && filter.after.as_ref().is_none_or(|after| *key > after)
        };
        Ok(page(self.schedules.iter().filter(wanted).map(|(_, stored)| stored.clone()), filter.limit))
    }
}
