//! Owns row access to jobs as operators see them: plain, no decisions.

use super::{JobRecord, ListRecent, StoreError, Success};
use crate::model::{Execution, JobName, Scope};

/// The part of [`Rows`](super::Rows) that concerns jobs as a whole.
///
/// # Errors
/// All methods: whatever the database says; the transaction is then rolled back as a whole.
pub trait JobRows {
    /// Up to `limit` registered jobs with a name greater than `after`, ordered by name.
    fn jobs(&mut self, after: Option<&JobName>, limit: u32) -> Result<Vec<(JobName, JobRecord)>, StoreError>;
    /// Of the succeeded executions of slots of this scope the newest: by slot, then by finish.
    fn last_success(&mut self, job: &JobName, scope: &Scope) -> Result<Option<Success>, StoreError>;
    /// See [`ListRecent`].
    fn recent(&mut self, filter: &ListRecent) -> Result<Vec<Execution>, StoreError>;
}
