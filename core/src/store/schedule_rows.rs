//! Owns row access to schedules that the database keeps: plain, no decisions.

use super::{ListSchedules, StoreError, StoredSchedule};
use crate::model::{JobName, Scope};

/// The part of [`Rows`](super::Rows) that concerns stored schedules.
///
/// # Errors
/// All methods: whatever the database says; the transaction is then rolled back as a whole.
pub trait ScheduleRows {
    /// The schedules of this job that are in force, ordered by scope.
    fn schedules(&mut self, job: &JobName) -> Result<Vec<StoredSchedule>, StoreError>;
    /// The newest revision for this scope, be it a removal.
    fn newest_schedule(&mut self, job: &JobName, scope: &Scope) -> Result<Option<StoredSchedule>, StoreError>;
    /// Keeps a revision, in place of the one with its number if there is one.
    fn put_schedule(&mut self, schedule: &StoredSchedule) -> Result<(), StoreError>;
    /// See [`ListSchedules`].
    fn list_schedules(&mut self, filter: &ListSchedules) -> Result<Vec<StoredSchedule>, StoreError>;
}
