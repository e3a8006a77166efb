//! What operators do with the items of a queue: look, change, cancel, requeue, remove. Knows no worker and no payload.

use std::{sync::Arc, time::Duration};

use super::send::send;
use crate::{
    model::{Execution, ExecutionId, JobName, NameError, OperatorName, State, transition::Cancelled},
    runtime::Runtime,
    store::{
        Cancel, CleanItems, DeleteItems, DeleteOutcome, Direction, DueFilter, ItemOrder, ListExecutions, ListItems,
        Lives, MAX_BATCH, QueueStats, ReadQueueStats, Requeue, RequeueOutcome, Store, StoreError, UpdateItem,
        UpdateOutcome,
    },
};

/// Pages of one purge at most: a queue that is filled as fast as it is purged must not hold its operator for ever.
const MAX_ROUNDS: usize = 1_000;

/// An operator at one queue. Needs no scheduler and no handler; clones are cheap.
///
/// ```
/// use std::time::Duration;
/// use tourbillon::{
///     model::{State, Timestamp},
///     queue::{Enqueuer, ItemOptions, Operator, Queue},
///     runtime::Runtime,
///     store::{Due, EnqueueOutcome, ListItems, ManualClock, MemoryStore, UpdateItem},
/// };
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
/// let queue = Enqueuer::new(store.clone(), Runtime::tokio(), &Queue::<String>::new("notify"))?;
/// let operator = Operator::new(store, Runtime::tokio(), "notify")?.named("ada")?;
///
/// let later = ItemOptions::new().delay(Duration::from_secs(3_600));
/// let EnqueueOutcome::Enqueued(id) = queue.enqueue_with(&"hello".to_owned(), later).await? else { panic!() };
/// assert_eq!(operator.stats().await?.scheduled, 1);
///
/// // Now instead of in an hour, and before all others.
/// operator.update(UpdateItem { due: Some(Due::AfterMs(0)), priority: Some(-1), ..operator.change(id) }).await?;
/// let waiting = ListItems { states: vec![State::Scheduled], ..operator.items(100) };
/// assert_eq!(operator.list(waiting).await?[0].priority, -1);
///
/// operator.delete(&[id]).await?;
/// assert!(operator.get(id).await?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Operator {
    store: Arc<dyn Store>,
    runtime: Runtime,
    queue: JobName,
    actor: Option<OperatorName>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").field("queue", &self.queue).field("actor", &self.actor).finish_non_exhaustive()
    }
}

/// # Errors
/// All calls: as [`Store::call`], after repetitions under one request id.
impl Operator {
    /// An operator at the queue of this name, which need not exist yet.
    ///
    /// # Errors
    /// [`NameError`] when no queue can have this name.
    pub fn new(store: impl Store, runtime: Runtime, queue: &str) -> Result<Self, NameError> {
        Ok(Self::at(Arc::new(store), runtime, JobName::new(queue)?))
    }

    pub(crate) fn at(store: Arc<dyn Store>, runtime: Runtime, queue: JobName) -> Self {
        Self { store, runtime, queue, actor: None }
    }

    /// With this name in audit events, instead of "operator".
    ///
    /// # Errors
    /// [`NameError`] says which rule was broken.
    pub fn named(self, name: &str) -> Result<Self, NameError> {
        Ok(Self { actor: Some(OperatorName::new(name)?), ..self })
    }

    /// The queue.
    pub fn queue(&self) -> &JobName {
        &self.queue
    }

    /// One item, as its newest generation; `None`: none in this queue has this id.
    pub async fn get(&self, id: ExecutionId) -> Result<Option<Execution>, StoreError> {
        let list = ListExecutions {
            job: Some(self.queue.clone()),
            id: Some(id),
            limit: MAX_BATCH,
            ..ListExecutions::default()
        };
        let generations = send(&self.store, &self.runtime, list).await?.executions;
        Ok(generations.into_iter().rev().find(|row| row.slot_at.is_none()))
    }

    /// What [`Operator::list`] lists without filters: the first `limit` items, oldest first. Change its fields.
    pub fn items(&self, limit: u32) -> ListItems {
        ListItems::new(self.queue.clone(), limit)
    }

    /// A page of items.
    pub async fn list(&self, filter: ListItems) -> Result<Vec<Execution>, StoreError> {
        Ok(send(&self.store, &self.runtime, filter).await?.items)
    }

    /// The first `limit` items that wait and are due, in the order of time: what a worker would take, priorities and
    /// limits aside.
    pub async fn peek(&self, limit: u32) -> Result<Vec<Execution>, StoreError> {
        let due = ListItems { due: DueFilter::DueNow, order: ItemOrder::Claimable, ..self.items(limit) };
        self.list(due).await
    }

    /// Counts by state, oldest, newest, retries; of all replicas, for as long as history is kept.
    pub async fn stats(&self) -> Result<QueueStats, StoreError> {
        send(&self.store, &self.runtime, ReadQueueStats { queue: self.queue.clone() }).await
    }

    /// A change of this item that changes nothing yet: set its fields, then give it to [`Operator::update`].
    pub fn change(&self, id: ExecutionId) -> UpdateItem {
        UpdateItem { queue: self.queue.clone(), id, payload: None, priority: None, due: None }
    }

    /// Changes a waiting item.
    pub async fn update(&self, change: UpdateItem) -> Result<UpdateOutcome, StoreError> {
        Ok(send(&self.store, &self.runtime, change).await?.outcome)
    }

    /// Cancels up to [`MAX_BATCH`] items; running handlers are asked to stop. One outcome per id, in order.
    pub async fn cancel(&self, ids: &[ExecutionId]) -> Result<Vec<Cancelled>, StoreError> {
        let cancel = Cancel { ids: ids.to_vec(), actor: self.actor.clone() };
        Ok(send(&self.store, &self.runtime, cancel).await?.outcomes)
    }

    /// Gives up to [`MAX_BATCH`] finished items another life. One outcome per id, in order.
    pub async fn requeue(&self, ids: &[ExecutionId]) -> Result<Vec<RequeueOutcome>, StoreError> {
        let requeue = Requeue { ids: ids.to_vec(), actor: self.actor.clone() };
        Ok(send(&self.store, &self.runtime, requeue).await?.outcomes)
    }

    /// Requeues the `limit` dead items that died first; returns those that live again.
    pub async fn requeue_dead(&self, limit: u32) -> Result<Vec<ExecutionId>, StoreError> {
        let dead = ListItems {
            states: vec![State::Dead],
            lives: Lives::Newest,
            order: ItemOrder::Updated,
            direction: Direction::Ascending,
            ..self.items(limit)
        };
        let ids: Vec<_> = self.list(dead).await?.iter().map(|row| row.id).collect();
        let outcomes = self.requeue(&ids).await?;
        let lives_again = |(id, outcome)| matches!(outcome, RequeueOutcome::Requeued(_)).then_some(id);
        Ok(ids.into_iter().zip(outcomes).filter_map(lives_again).collect())
    }

    /// Removes up to [`MAX_BATCH`] items with their history; running ones stay. One outcome per id, in order.
    pub async fn delete(&self, ids: &[ExecutionId]) -> Result<Vec<DeleteOutcome>, StoreError> {
        let delete = DeleteItems { queue: self.queue.clone(), ids: ids.to_vec(), actor: self.actor.clone() };
        Ok(send(&self.store, &self.runtime, delete).await?.outcomes)
    }

    /// Removes up to [`MAX_BATCH`] items that ended in one of these states longer ago than `older_than`, oldest finish
    /// first; returns them. Fewer than [`MAX_BATCH`]: none is left.
    pub async fn clean(&self, states: &[State], older_than: Duration) -> Result<Vec<ExecutionId>, StoreError> {
        let finished_ms = u64::try_from(older_than.as_millis()).unwrap_or(u64::MAX);
        let clean = CleanItems { queue: self.queue.clone(), states: states.to_vec(), finished_ms, limit: MAX_BATCH };
        Ok(send(&self.store, &self.runtime, clean).await?.removed)
    }

    /// Removes every item that waits, batch by batch, and returns how many; running ones stay. Items enqueued
    /// meanwhile may stay or go.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        let mut purged = 0;
        for _ in 0..MAX_ROUNDS {
            let states = vec![State::Scheduled, State::Retryable];
            let page = self.list(ListItems { states, ..self.items(MAX_BATCH) }).await?;
            let ids: Vec<_> = page.iter().map(|row| row.id).collect();
            let outcomes = self.delete(&ids).await?;
            purged += outcomes.iter().filter(|outcome| **outcome == DeleteOutcome::Deleted).count() as u64;
            if ids.len() < MAX_BATCH as usize {
                break;
            }
        }
        Ok(purged)
    }
}
