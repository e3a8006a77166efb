//! Owns the access to audit events that the specification needs; plain, no decisions.

use super::{ListAudit, StoreError};
use crate::model::AuditEvent;

/// Audit events, inside the transaction of the transitions that they tell.
///
/// # Errors
/// All methods: whatever the database says; the transaction is then rolled back as a whole.
pub trait AuditRows {
    /// Keeps an event. A second one with its key is refused as `Corrupt`: no transition happens twice.
    fn add_audit(&mut self, event: &AuditEvent) -> Result<(), StoreError>;
    /// See [`ListAudit`].
    fn list_audit(&mut self, filter: &ListAudit) -> Result<Vec<AuditEvent>, StoreError>;
}
