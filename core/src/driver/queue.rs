//! Owns what a queue adds to a replica: a crew that claims for it alone, a probe before its batches, its statistics,
//! and the handle on it. Claiming and running are those of every execution.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Running, Shared, ahead::Ahead, poller::NextLook, stop::Stage};
use crate::{
    job::Delivery,
    model::{Execution, ExecutionId, JobName, Rate, transition::Charge},
    queue::{CheckedQueue, Enqueuer, Operator, ProbeFn, Producing, Queue, QueueError, Tally, Worker, WorkerStats},
    runtime::Runtime,
    store::Store,
};

/// Who claims together: the planned jobs of a replica are one crew, each queue is one of its own, so that none fills
/// another's room (G14).
pub(super) struct Crew {
    pub(super) jobs: Vec<JobName>,
    /// Handlers that it may run at once.
    pub(super) room: Arc<tokio::sync::Semaphore>,
    pub(super) workers: u32,
    /// Wakes it: there may be work.
    pub(super) wake: tokio::sync::Notify,
    /// The rows that wait for a worker become few.
    pub(super) few: tokio::sync::Notify,
    /// Somebody says that there may be work.
    pub(super) noticed: tokio::sync::Notify,
    pub(super) poll: Duration,
    pub(super) next_look: NextLook,
    pub(super) batch: u32,
    pub(super) probe: Option<ProbeFn>,
    pub(super) tally: Tally,
    /// When its attempts are charged.
    pub(super) charge: Charge,
    /// How often it may claim.
    pub(super) rate: Option<Rate>,
    /// What it has claimed beyond its room.
    pub(super) ahead: Ahead,
}

impl Crew {
    pub(super) fn of_jobs(jobs: Vec<JobName>, workers: u32, poll: Duration, batch: u32) -> Self {
        let room = Arc::new(tokio::sync::Semaphore::new(workers as usize));
        let [wake, few, noticed] = [(); 3].map(|()| tokio::sync::Notify::new());
        // Planned jobs are few and slow; a replica takes what it can run.
        let ahead = Ahead::new(workers, 0);
        let (probe, tally, charge) = (None, Tally::default(), Charge::AtStart);
        let (next_look, rate) = (NextLook::default(), None);
        Self { jobs, room, workers, wake, few, noticed, poll, next_look, batch, probe, tally, charge, rate, ahead }
    }

    pub(super) fn of_queue(queue: &CheckedQueue, poll: Duration) -> Self {
        let crew = Self::of_jobs(vec![queue.name.clone()], queue.workers, queue.poll.unwrap_or(poll), queue.batch);
        // What the receiver has is asked for right before a batch is started.
        let most = if queue.probe.is_some() { 0 } else { queue.prefetch };
        // Whoever holds a row that does not run yet must be able to give it back, which at most once does not allow.
        let is_harmless = queue.probe.is_none() && queue.work.delivery == Delivery::AtLeastOnce;
        let charge = if is_harmless { Charge::AtClaimIfHarmless } else { Charge::AtStart };
        let rate = queue.rate.clone();
        Self { probe: queue.probe.clone(), charge, rate, ahead: Ahead::new(queue.workers, most), ..crew }
    }

    /// Whether all its items wait for the turns of one key.
    pub(super) fn has_common_rate(&self) -> bool {
        self.rate.as_ref().is_some_and(|rate| rate.key.is_some())
    }

    fn stats(&self) -> WorkerStats {
        let running = self.workers as usize - self.room.available_permits().min(self.workers as usize);
        WorkerStats { running, ..self.tally.read() }
    }
}

/// Which of the claimed items the receiver has already; `None` when it cannot be asked, and nothing may run (P-66).
pub(super) async fn probe(shared: &Shared, crew: &Crew, rows: &[Execution]) -> Option<BTreeSet<ExecutionId>> {
    let Some(probe) = &crew.probe else { return Some(BTreeSet::new()) };
    let shortest = rows.iter().map(|row| row.policy.lease_ms).min().unwrap_or(0);
    let items = rows.iter().map(|row| (row.id, row.unique_key.clone())).collect();
    let answer = shared.runtime.timeout(Duration::from_millis(shortest) / 3, probe(items)).await;
    match answer {
        Some(Ok(known)) => Some(known),
        Some(Err(error)) => {
            sometimes!("the probe of a batch fails");
            tracing::warn!(queue = ?crew.jobs, %error, "the probe failed; the batch waits, uncharged");
            None
        }
        None => {
            sometimes!("the probe of a batch takes too long");
            tracing::warn!(queue = ?crew.jobs, "the probe did not answer in time; the batch waits, uncharged");
            None
        }
    }
}

/// A queue as the builder keeps it: its type is known to its producer only.
pub(super) struct Registered {
    pub(super) checked: CheckedQueue,
    /// How long a claim of an item holds.
    pub(super) lease: Duration,
    /// `Producing<T>`.
    pub(super) rules: Arc<dyn Any + Send + Sync>,
}

pub(super) fn registered<T: Serialize + DeserializeOwned + Send + 'static>(
    queue: Queue<T>,
) -> Result<Registered, QueueError> {
    let (checked, rules) = queue.check()?;
    let lease = Duration::from_millis(rules.policy.lease_ms);
    Ok(Registered { checked, lease, rules: Arc::new(rules) })
}

/// What a running scheduler keeps of its queues.
#[derive(Default)]
pub(super) struct Queues(BTreeMap<JobName, (Arc<Crew>, Arc<dyn Any + Send + Sync>)>);

impl Queues {
    pub(super) fn add(&mut self, name: JobName, crew: Arc<Crew>, rules: Arc<dyn Any + Send + Sync>) {
        self.0.insert(name, (crew, rules));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Rows that are held and wait for a worker.
    pub(super) fn waiting(&self) -> usize {
        self.0.values().map(|(crew, _)| crew.ahead.len()).sum()
    }

    pub(super) fn crew(&self, name: &JobName) -> Option<&Crew> {
        self.0.get(name).map(|(crew, _)| &**crew)
    }

    pub(super) fn crews(&self) -> impl Iterator<Item = &Crew> {
        self.0.values().map(|(crew, _)| &**crew)
    }
}

/// There is no such queue here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownQueue {
    /// No queue of this name was added.
    #[error("no queue `{0}` in this scheduler: add it with `SchedulerBuilder::queue`")]
    Name(String),
    /// Its items are of another type.
    #[error("queue `{0}` holds items of another type than was asked for")]
    Type(String),
}

/// A queue of a running scheduler: to put items in, to wake it, to see how its worker does. Cheap to clone.
pub struct QueueHandle<T> {
    enqueuer: Enqueuer<T>,
    operator: Operator,
    crew: Arc<Crew>,
}

impl<T> Clone for QueueHandle<T> {
    fn clone(&self) -> Self {
        Self { enqueuer: self.enqueuer.clone(), operator: self.operator.clone(), crew: Arc::clone(&self.crew) }
    }
}

impl<T> fmt::Debug for QueueHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.enqueuer.fmt(f)
    }
}

impl<T> QueueHandle<T> {
    /// The producer; what it stores wakes the worker of this process.
    pub fn enqueuer(&self) -> &Enqueuer<T> {
        &self.enqueuer
    }

    /// What operators do with the queue's items, by whichever replica: list, change, cancel, requeue, remove, count.
    pub fn operator(&self) -> Operator {
        self.operator.clone()
    }

    /// Looks for due items now instead of at the next poll.
    pub fn process_now(&self) {
        self.crew.wake.notify_one();
    }

    /// What this replica's worker has done since it started.
    pub fn stats(&self) -> WorkerStats {
        self.crew.stats()
    }
}

impl<T> std::ops::Deref for QueueHandle<T> {
    type Target = Enqueuer<T>;
    fn deref(&self) -> &Enqueuer<T> {
        &self.enqueuer
    }
}

impl Running {
    /// One of this scheduler's queues.
    ///
    /// # Errors
    /// [`UnknownQueue`] when there is none of this name, or its items are no `T`.
    pub fn queue<T: Serialize + DeserializeOwned + Send + 'static>(
        &self,
        name: &str,
    ) -> Result<QueueHandle<T>, UnknownQueue> {
        let shared = self.shared();
        let known = JobName::new(name).ok().and_then(|name| shared.queues.0.get(&name));
        let Some((crew, rules)) = known else { return Err(UnknownQueue::Name(name.to_owned())) };
        let Ok(rules) = Arc::clone(rules).downcast::<Producing<T>>() else {
            return Err(UnknownQueue::Type(name.to_owned()));
        };
        let (open, wake) = (Arc::clone(shared), Arc::clone(crew));
        let worker = Worker {
            is_open: Box::new(move || !open.stop.has_reached(Stage::Drain)),
            wake: Box::new(move || wake.wake.notify_one()),
        };
        let store: Arc<dyn Store> = shared.caller.store();
        let runtime: Runtime = shared.runtime.clone();
        let operator = Operator::at(Arc::clone(&store), runtime.clone(), rules.name.clone());
        let enqueuer = Enqueuer::with_worker(store, runtime, rules.as_ref().clone(), Some(worker));
        Ok(QueueHandle { enqueuer, operator, crew: Arc::clone(crew) })
    }
}
