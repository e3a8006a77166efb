//! Gathers the rows that health is judged by. Reads; judges nothing.

use super::{JobOperator, OperatorError, job_operator::pages};
use crate::{
    health::{Bounds, Facts, JobFacts, Report, ScopeFacts, judge},
    model::{JobName, Lock, Timestamp},
    store::{ListLocks, ListRecent, MAX_BATCH, ReadStats, ScopeEntry, StoreError},
};

/// Pages of scopes of one job, and pages of locks, at most: 10,000 rows.
const MAX_PAGES: usize = 10;

/// Scopes without a known success whose oldest slot is looked for, in one look: each is a query.
const MAX_SEARCHES: usize = 100;

impl JobOperator {
    /// How the database fares: each job's last success against its schedule, what is due and waits, who holds which lock,
    /// what is paused; and what of it wants a person. Some reads, of the newest state each, not one snapshot: two queries, and
    /// two for each job or more where it has more than 1,000 scopes.
    ///
    /// Of one job the first 10,000 scopes are judged, and 100 of all that never succeeded; the report says how many were not.
    ///
    /// ```
    /// # use tourbillon::{driver::JobOperator, health::Bounds, model::Timestamp, runtime::Runtime, store::{ManualClock, MemoryStore}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
    /// let report = JobOperator::new(store, Runtime::tokio()).health(&Bounds::default()).await?;
    /// for finding in &report.findings {
    ///     println!("{finding}");
    /// }
    /// assert!(report.is_healthy(), "nothing is due in an empty database");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn health(&self, bounds: &Bounds) -> Result<Report, OperatorError> {
        let mut jobs = Vec::new();
        let mut searches = 0;
        for entry in self.jobs().await? {
            let mut scopes = Vec::new();
            for scope in self.pages_of_scopes(&entry.job, MAX_PAGES).await? {
                let is_judged = scope.last_success.is_some() || scope.cursor.newest_slot.is_none();
                let first_slot_at = if is_judged || searches == MAX_SEARCHES {
                    None
                } else {
                    searches += 1;
                    self.first_slot(&entry.job, &scope, bounds).await?
                };
                scopes.push(ScopeFacts { entry: scope, first_slot_at });
            }
            jobs.push(JobFacts { entry, scopes });
        }
        let locks = self.some_locks().await?;
        let stats = self.ask(ReadStats {}).await?;
        Ok(judge(&Facts { now: stats.now, jobs, live: stats.jobs, locks }, bounds))
    }

    async fn some_locks(&self) -> Result<Vec<Lock>, StoreError> {
        pages(
            MAX_PAGES,
            |last: &Lock| last.name.clone(),
            |after| async { Ok(self.ask(ListLocks { after, limit: MAX_BATCH }).await?.locks) },
        )
        .await
    }

    /// The oldest slot among as many executions as it takes to call the scope stale.
    async fn first_slot(
        &self,
        job: &JobName,
        scope: &ScopeEntry,
        bounds: &Bounds,
    ) -> Result<Option<Timestamp>, OperatorError> {
        let limit = bounds.missed_periods.saturating_add(1).clamp(1, MAX_BATCH);
        let (job, scope) = (Some(job.clone()), Some(scope.cursor.scope.clone()));
        let recent = self.ask(ListRecent { job, scope, ..ListRecent::new(limit) }).await?.executions;
        Ok(recent.iter().filter_map(|row| row.slot_at).min())
    }
}
