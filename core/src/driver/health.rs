//! Gathers the rows that health is judged by. Reads; judges nothing.

use std::collections::BTreeMap;

use super::{JobOperator, OperatorError, job_operator::pages};
use crate::{
    health::{Bounds, Facts, JobFacts, Report, ScopeFacts, judge},
    model::{JobName, Lock, Scope, Timestamp},
    plan::Schedule,
    store::{
        JobEntry, ListLocks, ListRecent, MAX_BATCH, ReadStats, ScheduleFilter, ScopeEntry, StoreError, StoredSchedule,
    },
};

/// Pages of scopes of one job, and pages of locks, at most: 10,000 rows.
const MAX_PAGES: usize = 10;

/// Scopes without a known success whose oldest slot is looked for, in one look: each is a query.
const MAX_SEARCHES: usize = 100;

impl JobOperator {
    /// How the database fares: each job's last success against its schedule, what is due and waits, who holds which lock,
    /// what is paused; and what of it wants a person. Some reads, of the newest state each, not one snapshot: two queries, and
    /// two for each job, three where its schedules are in the database, or more where it has more than 1,000 scopes.
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
            let mut stored = self.stored_schedules(&entry).await?;
            for scope in self.pages_of_scopes(&entry.job, MAX_PAGES).await? {
                let is_judged = scope.last_success.is_some() || scope.cursor.newest_slot.is_none();
                let first_slot_at = if is_judged || searches == MAX_SEARCHES {
                    None
                } else {
                    searches += 1;
                    self.first_slot(&entry.job, &scope, bounds).await?
                };
                let stored = stored.remove(&scope.cursor.scope);
                scopes.push(ScopeFacts { entry: scope, first_slot_at, stored });
            }
            jobs.push(JobFacts { entry, scopes });
        }
        let locks = self.some_locks().await?;
        let stats = self.ask(ReadStats {}).await?;
        Ok(judge(&Facts { now: stats.now, jobs, live: stats.jobs, locks }, bounds))
    }

    /// The schedules that the database keeps for a job that has them there.
    async fn stored_schedules(&self, entry: &JobEntry) -> Result<BTreeMap<Scope, Schedule>, StoreError> {
        if !entry.rules.as_ref().is_some_and(|rules| rules.stored_schedules) {
            return Ok(BTreeMap::new());
        }
        let stored = self.pages_of_schedules(Some(&entry.job), ScheduleFilter::InForce, MAX_PAGES).await?;
        let readable = |stored: StoredSchedule| Some((stored.scope, stored.schedule?.schedule().ok()?));
        Ok(stored.into_iter().filter_map(readable).collect())
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
