//! What operators do with schedules that the database keeps: put, remove, list. Knows no cursor and no planner.

use super::job_operator::{JobOperator, OperatorError, pages};
use crate::{
    model::{JobName, Scope},
    plan::Schedule,
    store::{
        Expected, ListSchedules, MAX_BATCH, PutOutcome, PutSchedule, RemoveOutcome, RemoveSchedule, ScheduleData,
        ScheduleFilter, StoreError, StoredSchedule,
    },
};

/// An edit of the schedule that the database keeps for one scope of a job, as an operator asks for it.
///
/// ```
/// # use std::time::Duration;
/// # use tourbillon::{driver::{JobOperator, Scheduler, ScheduleEdit}, job::{Context, HandlerError, Job}, model::{Scope, Timestamp}, plan::Cron, runtime::Runtime, store::{Expected, ManualClock, MemoryStore, PutOutcome}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
/// let operator = JobOperator::new(store, Runtime::tokio()).named("ada")?;
/// let berlin = Scope::new("tenant", "berlin")?;
/// let first = ScheduleEdit::of("export", berlin).expecting(Expected::Nothing).note("ticket 4711");
/// let outcome = operator.put_schedule(first, &Cron::new("0 8 * * *", "Europe/Berlin")?.into()).await?;
/// assert_eq!(outcome, PutOutcome::UnknownJob, "no replica has registered it yet");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ScheduleEdit {
    job: String,
    scope: Scope,
    expected: Expected,
    note: Option<String>,
}

impl ScheduleEdit {
    /// Of this scope of this job, whatever is there.
    pub fn of(job: &str, scope: Scope) -> Self {
        Self { job: job.to_owned(), scope, expected: Expected::Anything, note: None }
    }

    /// Only if this is there: an edit by somebody else in between is a conflict then, and stays.
    #[must_use]
    pub fn expecting(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// Kept with the edit: why it was made. At most [`MAX_NOTE_BYTES`](crate::store::MAX_NOTE_BYTES).
    #[must_use]
    pub fn note(self, note: &str) -> Self {
        Self { note: Some(note.to_owned()), ..self }
    }
}

/// # Errors
/// All calls: [`OperatorError`].
impl JobOperator {
    /// Gives one scope this schedule, in place of the one that the database has for it, if it has one. The job must be
    /// registered with [`Job::stored_schedules`](crate::job::Job::stored_schedules).
    ///
    /// From the instant of the edit no slot is made by the schedule that was there before, and none from before by the
    /// new one. Replicas notice within a planning interval. Executions that exist stay as they are.
    pub async fn put_schedule(&self, edit: ScheduleEdit, schedule: &Schedule) -> Result<PutOutcome, OperatorError> {
        let ScheduleEdit { job, scope, expected, note } = edit;
        let (job, schedule, actor) = (JobName::new(&job)?, ScheduleData::of(schedule)?, self.actor.clone());
        Ok(self.ask(PutSchedule { job, scope, schedule, expected, note, actor }).await?.outcome)
    }

    /// Takes the schedule of one scope away: no slot is made from now on. Executions that exist run to their end;
    /// cancel those that must not.
    pub async fn remove_schedule(&self, edit: ScheduleEdit) -> Result<RemoveOutcome, OperatorError> {
        let ScheduleEdit { job, scope, expected, note } = edit;
        let (job, actor) = (JobName::new(&job)?, self.actor.clone());
        Ok(self.ask(RemoveSchedule { job, scope, expected, note, actor }).await?.outcome)
    }

    /// The schedules that the database keeps, of one job or of all, ordered by job, scope and revision: those in force, or
    /// every edit that is still known, removals included.
    pub async fn schedules(
        &self,
        job: Option<&str>,
        which: ScheduleFilter,
    ) -> Result<Vec<StoredSchedule>, OperatorError> {
        let job = job.map(JobName::new).transpose()?;
        Ok(self.pages_of_schedules(job.as_ref(), which, usize::MAX).await?)
    }

    pub(super) async fn pages_of_schedules(
        &self,
        job: Option<&JobName>,
        which: ScheduleFilter,
        max: usize,
    ) -> Result<Vec<StoredSchedule>, StoreError> {
        let list = |after| {
            let list = ListSchedules { job: job.cloned(), scope: None, which, after, limit: MAX_BATCH };
            async { Ok(self.ask(list).await?.schedules) }
        };
        let place = |last: &StoredSchedule| (last.job.clone(), last.scope.clone(), last.revision);
        pages(max, place, list).await
    }
}
