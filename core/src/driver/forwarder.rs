//! Owns store and forward: a client that pushes parcels to a receiver and keeps what it cannot deliver, with a worker of
//! its own. A queue with the usual rules of such clients; knows no receiver and no database.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{BuildError, QueueHandle, Running, Scheduler, Settings, ShutdownTimeout};
use crate::{
    job::{Completion, Context, HandlerError},
    model::{ExecutionId, State, wait_ms},
    plan::Backoff,
    queue::{EnqueueError, ItemOptions, Operator, Queue, QueueError, QueueRule, WorkerStats},
    runtime::Runtime,
    store::{BoxFuture, Due, Enqueue, EnqueueOutcome, ListItems, MAX_BATCH, QueueStats, Store, StoreError},
};

/// What a push is given.
#[derive(Clone, Debug)]
pub struct Parcel<T> {
    /// The same at every attempt, also at one before it was stored: for receivers that recognise repetitions.
    pub id: ExecutionId,
    /// Number of the stored attempt, from 1; 0 before it was stored.
    pub attempt: u32,
    /// What to push.
    pub item: T,
}

/// What became of a parcel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forwarded {
    /// The receiver has it; nothing is stored.
    Delivered(ExecutionId),
    /// It is stored, and will be pushed.
    Stored(ExecutionId),
    /// The same parcel waits already, under this id; nothing was pushed.
    Duplicate(ExecutionId),
}

type Push<T> = Arc<dyn Fn(Parcel<T>) -> BoxFuture<'static, Result<(), HandlerError>> + Send + Sync>;

/// Collects the rules of a [`Forwarder`].
pub struct ForwarderBuilder<T> {
    store: Arc<dyn Store>,
    runtime: Runtime,
    settings: Settings,
    queue: Queue<T>,
    push: Push<T>,
}

impl<T> fmt::Debug for ForwarderBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwarderBuilder").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> ForwarderBuilder<T> {
    /// Changes the rules of the queue, which are those of [`Queue::store_and_forward`]: attempts, waits, capacity, a
    /// probe, callbacks.
    #[must_use]
    pub fn rules(self, change: impl FnOnce(Queue<T>) -> Queue<T>) -> Self {
        Self { queue: change(self.queue), ..self }
    }

    /// Replaces the settings of the worker. [`Settings::keep_history`] is how long parcels that have ended are kept.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Replaces the runtime; for simulations and tests.
    #[must_use]
    pub fn runtime(self, runtime: Runtime) -> Self {
        Self { runtime, ..self }
    }

    /// Starts the worker. Must be called inside a tokio runtime unless another [`Runtime`] was injected.
    ///
    /// # Errors
    /// [`BuildError`] names the rule and the mend.
    pub fn start(self) -> Result<Forwarder<T>, BuildError> {
        let Self { store, runtime, settings, queue, push } = self;
        if queue.forgets() {
            return Err(QueueError::Rule(queue.producing()?.name, QueueRule::ForgetsParcels).into());
        }
        let (name, patience, waits) = (queue.name().to_owned(), queue.longest_run(), queue.waits().clone());
        let keep = settings.keep_history;
        let stored = Arc::clone(&push);
        let queue = queue.run(move |item: T, context: Context| {
            let parcel = Parcel { id: context.id(), attempt: context.attempt(), item };
            let pushed = stored(parcel);
            async move { pushed.await.map(|()| Completion::new()) }
        });
        let scheduler = Scheduler::builder(store).runtime(runtime.clone()).settings(settings).queue(queue).build()?;
        let running = scheduler.start();
        let queue = running.queue(&name).expect("the one queue of this scheduler, of this type");
        Ok(Forwarder { queue, push, runtime, patience, waits, keep, running: Mutex::new(Some(running)) })
    }
}

/// A running client for store and forward (P-64, P-68). Dropping it stops its worker at once, as a crash would; prefer
/// [`Forwarder::stop`].
///
/// Delivery is at least once: an attempt that is cut short is followed by another one, under the same [`Parcel::id`].
///
/// ```
/// use tourbillon::{driver::{Forwarded, Forwarder, Parcel}, job::HandlerError, model::Timestamp};
/// # use tourbillon::store::{ManualClock, MemoryStore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In production a file: `SqliteStore::open("outbox.db")?`.
/// # let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
/// let forwarder = Forwarder::builder(store, "events", |parcel: Parcel<String>| async move {
///     if parcel.item == "unlucky" { Err(HandlerError::new("the receiver is away")) } else { Ok(()) }
/// })
/// .rules(|queue| queue.max_attempts(5).on_exhausted(|end| eprintln!("gave up: {end:?}")))
/// .start()?;
/// assert!(matches!(forwarder.push_or_store("hello".to_owned()).await?, Forwarded::Delivered(_)));
/// assert!(matches!(forwarder.push_or_store("unlucky".to_owned()).await?, Forwarded::Stored(_)));
/// assert_eq!(forwarder.stats().await?.live(), 1);
/// forwarder.stop().await?;
/// # Ok(())
/// # }
/// ```
pub struct Forwarder<T> {
    queue: QueueHandle<T>,
    push: Push<T>,
    runtime: Runtime,
    /// How long a push before storing may take.
    patience: Duration,
    waits: Backoff,
    keep: Duration,
    running: Mutex<Option<Running>>,
}

impl<T> fmt::Debug for Forwarder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Forwarder<T> {
    /// Starts collecting: where parcels are kept, under which name of a queue, and how one is pushed. Any error of a
    /// push is a failed attempt. The store must have been migrated.
    pub fn builder<F, Fut, E>(store: impl Store, name: &str, push: F) -> ForwarderBuilder<T>
    where
        F: Fn(Parcel<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<HandlerError>,
    {
        let push: Push<T> = Arc::new(move |parcel| {
            let pushed = push(parcel);
            Box::pin(async move { pushed.await.map_err(Into::into) })
        });
        ForwarderBuilder {
            store: Arc::new(store),
            runtime: Runtime::tokio(),
            settings: Settings::default(),
            queue: Queue::store_and_forward(name),
            push,
        }
    }

    /// Stores a parcel, and wakes the worker: when this returns it survives a crash.
    ///
    /// # Errors
    /// [`EnqueueError`]: closed, invalid, full, in this order; the parcel is not stored then.
    pub async fn store(&self, item: &T) -> Result<Forwarded, EnqueueError> {
        Ok(match self.queue.enqueue(item).await? {
            EnqueueOutcome::Duplicate(id) => Forwarded::Duplicate(id),
            EnqueueOutcome::Enqueued(id) => Forwarded::Stored(id),
            EnqueueOutcome::Full => return Err(EnqueueError::Full(self.queue.queue().clone())),
        })
    }

    /// Pushes a parcel at once, for as long as an attempt may take, and stores it when that fails, to be pushed again
    /// after the first of the usual waits. One that waits already is not pushed. Until this returns, the parcel is the
    /// caller's: a crash may have delivered it, and has not stored it.
    ///
    /// # Errors
    /// As [`Forwarder::store`]. Closed and invalid are found before the push; after it, an error leaves open whether
    /// the receiver has the parcel.
    ///
    /// # Panics
    /// When the push does.
    pub async fn push_or_store(&self, item: T) -> Result<Forwarded, EnqueueError> {
        let id = ExecutionId(self.runtime.uuid());
        if self.queue.is_closed() {
            return Err(EnqueueError::Closed(self.queue.queue().clone()));
        }
        let mut request = self.queue.request([(&item, ItemOptions::new().id(id))])?;
        if let Some(waiting) = self.waiting(&request).await? {
            return Ok(Forwarded::Duplicate(waiting));
        }
        let pushed = (self.push)(Parcel { id, attempt: 0, item });
        match self.runtime.timeout(self.patience, pushed).await {
            Some(Ok(())) => return Ok(Forwarded::Delivered(id)),
            Some(Err(error)) => tracing::info!(parcel = %id, ?error, "not delivered; storing it"),
            None => tracing::info!(parcel = %id, patience = ?self.patience, "no answer to the push; storing it"),
        }
        let wait = self.waits.delay(1, self.runtime.random());
        request.items.iter_mut().for_each(|item| item.due = Due::AfterMs(wait_ms(wait)));
        match self.queue.send(request).await?.first() {
            Some(EnqueueOutcome::Enqueued(id)) => Ok(Forwarded::Stored(*id)),
            Some(EnqueueOutcome::Duplicate(id)) => Ok(Forwarded::Duplicate(*id)),
            Some(EnqueueOutcome::Full) | None => Err(EnqueueError::Full(self.queue.queue().clone())),
        }
    }

    /// A live parcel with the same fingerprint. (Only a hint where keys count per period: the enqueue decides.)
    async fn waiting(&self, request: &Enqueue) -> Result<Option<ExecutionId>, StoreError> {
        let unique = request.items.first().and_then(|item| item.unique.as_ref());
        let Some(unique) = unique.filter(|unique| unique.period_ms.is_none()) else { return Ok(None) };
        let operator = self.queue.operator();
        let states = vec![State::Scheduled, State::Running, State::Retryable];
        let same = ListItems { states, unique_key: Some(unique.key.clone()), ..operator.items(1) };
        Ok(operator.list(same).await?.first().map(|row| row.id))
    }

    /// Looks for due parcels now instead of at the next interval.
    pub fn process_now(&self) {
        self.queue.process_now();
    }

    /// Counts by state, oldest, newest, retries: what the store holds.
    ///
    /// # Errors
    /// As [`Store::call`].
    pub async fn stats(&self) -> Result<QueueStats, StoreError> {
        self.queue.operator().stats().await
    }

    /// What this worker has done since it started.
    pub fn worker(&self) -> WorkerStats {
        self.queue.stats()
    }

    /// Lists, changes, requeues, removes parcels.
    pub fn operator(&self) -> Operator {
        self.queue.operator()
    }

    /// Removes the parcels that ended longer ago than they are kept, dead ones too, each with an audit event; returns
    /// how many. (In between, the worker prunes what is as old, without events.)
    ///
    /// # Errors
    /// As [`Store::call`]; what was removed before it stays removed.
    pub async fn clean(&self) -> Result<u64, StoreError> {
        let ended: Vec<_> = State::ALL.into_iter().filter(|state| state.is_terminal()).collect();
        let mut cleaned = 0;
        loop {
            let removed = self.queue.operator().clean(&ended, self.keep).await?.len();
            cleaned += removed as u64;
            if removed < MAX_BATCH as usize {
                return Ok(cleaned);
            }
        }
    }

    /// Takes nothing more, lets pushes under way finish within 30 s, gives the others back uncharged. A second call
    /// finds nothing to do.
    ///
    /// # Errors
    /// [`ShutdownTimeout`] names what may still run.
    pub async fn stop(&self) -> Result<(), ShutdownTimeout> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        match running {
            Some(running) => running.stop().await,
            None => Ok(()),
        }
    }
}
