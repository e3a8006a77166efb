//! Owns row access to locks: plain, no decisions.

use super::StoreError;
use crate::model::{Lock, LockName, Timestamp};

/// The part of [`Rows`](super::Rows) that concerns locks.
///
/// # Errors
/// All methods: whatever the database says; the transaction is then rolled back as a whole.
pub trait LockRows {
    /// The lock's row, if it was ever acquired.
    fn lock(&mut self, name: &LockName) -> Result<Option<Lock>, StoreError>;
    /// Replaces it.
    fn put_lock(&mut self, lock: &Lock) -> Result<(), StoreError>;
    /// Locks that are not released and have `renewed_at > now`, ordered by name.
    fn withdrawn_locks(&mut self, now: Timestamp) -> Result<Vec<Lock>, StoreError>;
    /// Up to `limit` locks with a name greater than `after`, ordered by name.
    fn locks(&mut self, after: Option<&LockName>, limit: u32) -> Result<Vec<Lock>, StoreError>;
}
