//! Owns row access to the turns of limit keys: plain, no decisions.

use super::StoreError;
use crate::model::{Gate, JobName, Timestamp, Turns};

/// The part of [`Rows`](super::Rows) that concerns rates.
///
/// # Errors
/// All methods: whatever the database says; the transaction is then rolled back as a whole.
pub trait RateRows {
    /// The turns of this limit key, if one was ever taken.
    fn gate(&mut self, key: &str) -> Result<Option<Gate>, StoreError>;
    /// Replaces them.
    fn put_gate(&mut self, gate: &Gate) -> Result<(), StoreError>;
    /// Gates whose last turn a row of this queue took, and that have `opens_at > now`, ordered by (`opens_at`, `key`).
    fn shut_gates(&mut self, queue: &JobName, now: Timestamp) -> Result<Vec<Gate>, StoreError>;
    /// How the turns of this queue stand: the rate is that of the gate with a rate that has the greatest (`opens_at`, `key`). `None`
    /// where no row of it ever took one.
    fn turns(&mut self, queue: &JobName, now: Timestamp) -> Result<Option<Turns>, StoreError>;
    /// Gates with `charged_at > now`, ordered by key.
    fn withdrawn_gates(&mut self, now: Timestamp) -> Result<Vec<Gate>, StoreError>;
}
