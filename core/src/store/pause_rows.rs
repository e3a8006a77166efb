//! Owns row access to pauses: plain, no decisions.

use super::{ListPauses, StoreError};
use crate::model::{JobName, Pause};

/// The part of [`Rows`](super::Rows) that concerns pauses.
///
/// # Errors
/// All methods: whatever the database says; the transaction is then rolled back as a whole.
pub trait PauseRows {
    /// The pauses of this job that are in force, ordered by scope, that of the whole job first.
    fn pauses(&mut self, job: &JobName) -> Result<Vec<Pause>, StoreError>;
    /// Keeps a pause, in place of the one with its id if there is one.
    fn put_pause(&mut self, pause: &Pause) -> Result<(), StoreError>;
    /// See [`ListPauses`].
    fn list_pauses(&mut self, filter: &ListPauses) -> Result<Vec<Pause>, StoreError>;
}
