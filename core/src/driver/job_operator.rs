//! What operators do with jobs: look, pause, resume, trigger. Knows no schedule and no handler.

use std::{fmt, sync::Arc, time::Duration};

use super::{Settings, call::Caller};
use crate::{
    job::StoredScheduleError,
    model::{ExecutionId, JobName, NameError, OperatorName, Pause, Scope},
    runtime::Runtime,
    store::{
        JobEntry, ListJobs, ListPauses, ListScopes, MAX_BATCH, Operation, PauseFilter, PauseJob, PauseOutcome,
        ResumeJob, ResumeOutcome, ScopeEntry, Store, StoreError, TriggerJob, TriggerOutcome,
    },
};

/// How long one call is repeated while the store does not answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// An operator at the jobs of a database. Needs no scheduler and no handler; clones are cheap.
///
/// ```
/// # use tourbillon::{driver::{JobOperator, Triggered}, model::{Scope, Timestamp}, runtime::Runtime, store::{ManualClock, MemoryStore, PauseOutcome}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
/// let operator = JobOperator::new(store, Runtime::tokio()).named("ada")?;
/// // Nobody registered it yet.
/// assert_eq!(operator.pause("digest", None).await?, PauseOutcome::UnknownJob);
/// assert_eq!(operator.trigger("digest", Scope::global()).await?, Triggered::UnknownJob);
/// # Ok(())
/// # }
/// ```
///
/// [`JobOperator::health`] says how the database fares.
#[derive(Clone)]
pub struct JobOperator {
    caller: Arc<Caller>,
    runtime: Runtime,
    pub(super) actor: Option<OperatorName>,
}

impl fmt::Debug for JobOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobOperator").field("actor", &self.actor).finish_non_exhaustive()
    }
}

/// What became of a [`JobOperator::trigger`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Triggered {
    /// This execution is due now.
    Due(ExecutionId),
    /// No such job was ever registered.
    UnknownJob,
    /// The job was registered by a program that does not say its rules.
    UnknownRules,
}

/// Why a call of an operator failed.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum OperatorError {
    /// No job can have this name.
    #[error("job name: {0}")]
    Name(#[from] NameError),
    /// The database cannot keep the schedule.
    #[error(transparent)]
    Schedule(#[from] StoredScheduleError),
    /// The store said so, after repetitions under one request id.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// # Errors
/// All calls: [`OperatorError`].
impl JobOperator {
    /// An operator at this database.
    pub fn new(store: impl Store, runtime: Runtime) -> Self {
        Self::at(Arc::new(store), runtime)
    }

    pub(super) fn at(store: Arc<dyn Store>, runtime: Runtime) -> Self {
        let caller = Arc::new(Caller::new(store, runtime.clone(), Settings::default().call_timeout));
        Self { caller, runtime, actor: None }
    }

    /// With this name in audit events and pauses, instead of "operator".
    ///
    /// # Errors
    /// [`NameError`] says which rule was broken.
    pub fn named(self, name: &str) -> Result<Self, NameError> {
        Ok(Self { actor: Some(OperatorName::new(name)?), ..self })
    }

    /// Pauses a job, or one of its scopes, on all replicas: no slot is made and no planned execution is claimed until
    /// it is resumed. What runs goes on.
    pub async fn pause(&self, job: &str, scope: Option<Scope>) -> Result<PauseOutcome, OperatorError> {
        let pause = PauseJob { job: JobName::new(job)?, scope, actor: self.actor.clone() };
        Ok(self.ask(pause).await?.outcome)
    }

    /// Lifts a pause, as it was made: of the job, or of one scope. No slot of the time of the pause is made; the ledger
    /// has them as `paused`.
    pub async fn resume(&self, job: &str, scope: Option<Scope>) -> Result<ResumeOutcome, OperatorError> {
        let resume = ResumeJob { job: JobName::new(job)?, scope, actor: self.actor.clone() };
        Ok(self.ask(resume).await?.outcome)
    }

    /// Runs a job for one scope once, now, by its registered rules, beside its schedule, paused or not. Each call is a
    /// wish of its own; what it repeats by itself stays one.
    pub async fn trigger(&self, job: &str, scope: Scope) -> Result<Triggered, OperatorError> {
        let job = JobName::new(job)?;
        let Some(entry) = self.find(&job).await? else { return Ok(Triggered::UnknownJob) };
        let Some(rules) = entry.rules else { return Ok(Triggered::UnknownRules) };
        let id = ExecutionId(self.runtime.uuid());
        let policy = rules.policy(&job, &scope);
        let (priority, actor) = (rules.priority, self.actor.clone());
        let trace = self.runtime.trace();
        let trigger = TriggerJob { job, scope, id, priority, payload: None, policy, actor, trace };
        Ok(match self.ask(trigger).await?.outcome {
            TriggerOutcome::Triggered | TriggerOutcome::Duplicate => Triggered::Due(id),
            TriggerOutcome::UnknownJob => Triggered::UnknownJob,
        })
    }

    /// All registered jobs, ordered by name.
    pub async fn jobs(&self) -> Result<Vec<JobEntry>, OperatorError> {
        let jobs = pages(
            usize::MAX,
            |last: &JobEntry| last.job.clone(),
            |after| async { Ok(self.ask(ListJobs { after, limit: MAX_BATCH }).await?.jobs) },
        );
        Ok(jobs.await?)
    }

    /// All scopes of a job that were ever planned, ordered by scope; empty for a job that nobody knows.
    pub async fn scopes(&self, job: &str) -> Result<Vec<ScopeEntry>, OperatorError> {
        Ok(self.pages_of_scopes(&JobName::new(job)?, usize::MAX).await?)
    }

    pub(super) async fn pages_of_scopes(&self, job: &JobName, max: usize) -> Result<Vec<ScopeEntry>, StoreError> {
        pages(
            max,
            |last: &ScopeEntry| last.cursor.scope.clone(),
            |after| async { Ok(self.ask(ListScopes { job: job.clone(), after, limit: MAX_BATCH }).await?.scopes) },
        )
        .await
    }

    /// The newest [`MAX_BATCH`] pauses in force, newest first.
    pub async fn pauses(&self) -> Result<Vec<Pause>, OperatorError> {
        let list = ListPauses { job: None, which: PauseFilter::InForce, offset: 0, limit: MAX_BATCH };
        Ok(self.ask(list).await?.pauses)
    }

    async fn find(&self, job: &JobName) -> Result<Option<JobEntry>, OperatorError> {
        Ok(self.jobs().await?.into_iter().find(|entry| entry.job == *job))
    }

    pub(super) async fn ask<V: Operation>(&self, verb: V) -> Result<V::Reply, StoreError> {
        let give_up_at = self.runtime.monotonic() + PATIENCE;
        Ok(self.caller.until(verb, give_up_at).await?.reply)
    }
}

/// The rows of up to `max` pages of [`MAX_BATCH`], each listed from what `place` says of the last row of the one before.
pub(super) async fn pages<T, P, L: Future<Output = Result<Vec<T>, StoreError>>>(
    max: usize,
    place: impl Fn(&T) -> P,
    list: impl Fn(Option<P>) -> L,
) -> Result<Vec<T>, StoreError> {
    let mut rows = Vec::new();
    for _ in 0..max {
        let page = list(rows.last().map(&place)).await?;
        let is_last = page.len() < MAX_BATCH as usize;
        rows.extend(page);
        if is_last {
            break;
        }
    }
    Ok(rows)
}
