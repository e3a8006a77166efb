//! Owns the access to the schema itself that the specification needs; plain, no decisions.

use super::StoreError;
use crate::model::Timestamp;

/// The schema, inside the transaction of a `migrate`. All that works on a database without any table of ours.
///
/// # Errors
/// All methods: whatever the database says; the transaction is then rolled back as a whole.
pub trait SchemaRows {
    /// What errors call the database.
    fn database(&self) -> String;
    /// The newest step in the ledger; 0 without a ledger.
    fn schema_version(&mut self) -> Result<u32, StoreError>;
    /// Applies the step that makes this version, the next one, and enters it in the ledger.
    fn apply_step(&mut self, version: u32, now: Timestamp) -> Result<(), StoreError>;
}
