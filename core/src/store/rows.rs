//! Owns the seam between the specification and a database: plain row access, no decisions.

use super::{
    AuditRows, Cursor, JobRows, JobStats, ListExecutions, ListSkipped, LockRows, PauseRows, Prune, Pruned, QueueRows,
    RateRows, Receipt, RegisteredRules, ScheduleRows, SchemaRows, SkippedEntry, SpecHash, StoreError,
};
use crate::model::{Execution, ExecutionId, JobName, Rate, RequestId, Scope, Timestamp};
use std::collections::BTreeMap;

/// What is kept of a registered job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Of the latest registration.
    pub spec_hash: SpecHash,
    /// Of its slot times.
    pub schedule_hash: SpecHash,
    /// When the slot times last changed, or the job was resumed; `None` when neither ever was.
    pub edited_at: Option<Timestamp>,
    /// For operators.
    pub rules: Option<RegisteredRules>,
}

/// Row access inside one serialisable transaction. Everything is ordered as stated, so that results, and with
/// them histories, are the same on every store.
///
/// # Errors
/// All methods: whatever the database says; the transaction is then rolled back as a whole.
pub trait Rows:
    AuditRows + JobRows + LockRows + PauseRows + QueueRows + RateRows + ScheduleRows + SchemaRows
{
    /// The live row, if any.
    fn live(&mut self, id: ExecutionId) -> Result<Option<Execution>, StoreError>;
    /// Stores a new live row. Its id is neither live nor finished (but for the next generation of a finished one).
    fn insert(&mut self, row: &Execution) -> Result<(), StoreError>;
    /// Replaces a live row; `was` is what it replaces.
    fn update(&mut self, was: &Execution, row: &Execution) -> Result<(), StoreError>;
    /// Moves a row, now terminal, from the live ones to history.
    fn finish(&mut self, row: &Execution) -> Result<(), StoreError>;
    /// The last finished generation, if any.
    fn finished(&mut self, id: ExecutionId) -> Result<Option<Execution>, StoreError>;

    /// Up to `limit` live rows of these jobs with `claimable_at` ≤ `now`, ordered by (`priority`, `claimable_at`, `id`);
    /// rows with a limit key that is full are left out unless they are running themselves, and so are rows with a slot
    /// whose job or scope is paused, and rows whose limit key has no turn at this rate.
    fn claimable(
        &mut self,
        jobs: &[JobName],
        now: Timestamp,
        limit: u32,
        rate: Option<&Rate>,
    ) -> Result<Vec<Execution>, StoreError>;
    /// Which of these jobs have a live row with `claimable_at` ≤ `now`, whatever keeps it from being claimed; by name, each
    /// once.
    fn due_jobs(&mut self, jobs: &[JobName], now: Timestamp) -> Result<Vec<JobName>, StoreError>;
    /// How many rows with this limit key are running.
    fn running_with_limit(&mut self, key: &str) -> Result<u32, StoreError>;
    /// Up to `limit` running rows with no `claimable_at` and a lease that expired before `now`, ordered by
    /// (lease expiry, id).
    fn rescuable(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Execution>, StoreError>;
    /// Live rows with `updated_at > now`, ordered by id.
    fn withdrawn(&mut self, now: Timestamp) -> Result<Vec<Execution>, StoreError>;
    /// Remembers `now` as the time of the last rescue and returns the one before.
    fn swap_last_rescue(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// The job's record.
    fn job(&mut self, job: &JobName) -> Result<Option<JobRecord>, StoreError>;
    /// Replaces it.
    fn put_job(&mut self, job: &JobName, record: &JobRecord) -> Result<(), StoreError>;
    /// All cursors of a job, ordered by scope (kind, id).
    fn cursors(&mut self, job: &JobName) -> Result<Vec<Cursor>, StoreError>;
    /// One cursor.
    fn cursor(&mut self, job: &JobName, scope: &Scope) -> Result<Option<Cursor>, StoreError>;
    /// Replaces it.
    fn put_cursor(&mut self, job: &JobName, cursor: &Cursor) -> Result<(), StoreError>;
    /// Whether a live or finished execution has this slot.
    fn slot_exists(&mut self, job: &JobName, scope: &Scope, slot_at: Timestamp) -> Result<bool, StoreError>;
    /// Adds to the missed-slot ledger.
    fn add_skipped(&mut self, entry: &SkippedEntry) -> Result<(), StoreError>;

    /// What is kept of the first reply to this request.
    fn receipt(&mut self, request: RequestId) -> Result<Option<Receipt>, StoreError>;
    /// Keeps it.
    fn put_receipt(&mut self, request: RequestId, now: Timestamp, receipt: &Receipt) -> Result<(), StoreError>;

    /// See [`ListExecutions`].
    fn list(&mut self, filter: &ListExecutions) -> Result<Vec<Execution>, StoreError>;
    /// See [`ListSkipped`].
    fn list_skipped(&mut self, filter: &ListSkipped) -> Result<Vec<SkippedEntry>, StoreError>;
    /// Live rows by job.
    fn stats(&mut self) -> Result<BTreeMap<JobName, JobStats>, StoreError>;
    /// See [`Prune`].
    fn prune(&mut self, prune: &Prune, now: Timestamp) -> Result<Pruned, StoreError>;
}
