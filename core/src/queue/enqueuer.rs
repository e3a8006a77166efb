//! Producers: from a typed item to a stored one. Knows no worker.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{
    coalesce::Coalescer,
    refusal::QueueError,
    send::send,
    spec::{By, Producing, Queue, key_of},
};
use crate::{
    model::{ExecutionId, JobName, Json, Limit, Scope, Timestamp, TraceContext, wait_ms},
    runtime::Runtime,
    store::{self, Due, Enqueue, EnqueueOutcome, MAX_BATCH, NewItem, Store, StoreError},
};

/// What one item wants beside the queue's rules.
///
/// ```
/// use std::time::Duration;
/// use tourbillon::queue::ItemOptions;
/// let options = ItemOptions::new().delay(Duration::from_secs(60)).priority(-1).key("customer 7");
/// ```
#[derive(Clone, Debug, Default)]
pub struct ItemOptions {
    id: Option<ExecutionId>,
    due: Option<Due>,
    ttl: Option<Duration>,
    priority: Option<i16>,
    key: Option<String>,
    unique_key: Option<String>,
    is_never_duplicate: bool,
    scope: Option<Scope>,
    trace: Option<TraceContext>,
}

impl ItemOptions {
    /// The queue's rules and nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// An id of the caller's own: an item whose id is taken, live or finished, is a duplicate of itself. Refused as
    /// invalid by a queue that does not [retain](Queue::retain) everything: it could not tell.
    #[must_use]
    pub fn id(self, id: ExecutionId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Not before this much database time has passed.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { due: Some(Due::AfterMs(wait_ms(delay))), ..self }
    }

    /// Not before this instant of the database clock.
    #[must_use]
    pub fn run_at(self, at: Timestamp) -> Self {
        Self { due: Some(Due::At(at)), ..self }
    }

    /// Instead of the queue's time to live.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// Instead of the queue's priority; lower runs first.
    #[must_use]
    pub fn priority(self, priority: i16) -> Self {
        Self { priority: Some(priority), ..self }
    }

    /// Whose turn it is: see [`Queue::concurrency_per_key`] and [`Queue::rate_limit_per_key`]. Without such a limit it has
    /// no meaning.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// A fingerprint instead of the one that [`Queue::unique`] makes; makes the item unique also without that.
    #[must_use]
    pub fn unique_key(self, key: &str) -> Self {
        Self { unique_key: Some(key.to_owned()), is_never_duplicate: false, ..self }
    }

    /// Switches deduplication off for this item (P-69).
    #[must_use]
    pub fn never_duplicate(self) -> Self {
        Self { unique_key: None, is_never_duplicate: true, ..self }
    }

    /// Whom or what it is for; `global/global` otherwise.
    #[must_use]
    pub fn scope(self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// Where it is enqueued, instead of what the runtime's [`Propagator`](crate::runtime::Propagator) says: the headers of a
    /// request, for example.
    #[must_use]
    pub fn trace(self, trace: TraceContext) -> Self {
        Self { trace: Some(trace), ..self }
    }
}

/// Why nothing was enqueued. Checked in this order (P-61): closed, invalid, full; a duplicate is no error.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EnqueueError {
    /// The producer was closed, or its scheduler shuts down.
    #[error("queue `{0}` is closed")]
    Closed(JobName),
    /// The item cannot be stored.
    #[error("queue `{queue}`: the item cannot be stored: {reason}")]
    Invalid {
        /// The queue.
        queue: JobName,
        /// What is wrong with it.
        reason: String,
    },
    /// The queue holds as many items as it may.
    #[error("queue `{0}` is full: try again later, or raise its capacity")]
    Full(JobName),
    /// The store did not answer, or refused. After `Unknown` the item may have been stored: enqueue it again with the
    /// same [`ItemOptions::id`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Puts items into one queue. Clones are cheap and are closed together.
pub struct Enqueuer<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    store: Arc<dyn Store>,
    runtime: Runtime,
    rules: Producing<T>,
    closed: AtomicBool,
    /// For single items of concurrent callers, if the queue wants that.
    coalescer: Option<Arc<Coalescer>>,
    /// Says whether the scheduler behind it, if any, still takes items; wakes its worker.
    worker: Option<Worker>,
}

/// What an enqueuer needs of a worker in the same process.
pub(crate) struct Worker {
    pub(crate) is_open: Box<dyn Fn() -> bool + Send + Sync>,
    pub(crate) wake: Box<dyn Fn() + Send + Sync>,
}

impl<T> Clone for Enqueuer<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> fmt::Debug for Enqueuer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enqueuer").field("queue", &self.inner.rules.name).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Enqueuer<T> {
    /// A producer without a worker, for a process that runs no scheduler. The queue needs no handler.
    ///
    /// # Errors
    /// [`QueueError`] names the queue, the rule, and the mend.
    pub fn new(store: impl Store, runtime: Runtime, queue: &Queue<T>) -> Result<Self, QueueError> {
        Ok(Self::with_worker(Arc::new(store), runtime, queue.producing()?, None))
    }

    pub(crate) fn with_worker(
        store: Arc<dyn Store>,
        runtime: Runtime,
        rules: Producing<T>,
        worker: Option<Worker>,
    ) -> Self {
        let coalescer = rules.coalesces.then(|| Coalescer::new(rules.name.clone(), rules.capacity));
        Self { inner: Arc::new(Inner { store, runtime, rules, closed: AtomicBool::new(false), coalescer, worker }) }
    }

    /// The queue.
    pub fn queue(&self) -> &JobName {
        &self.inner.rules.name
    }

    /// Enqueues one item: `Enqueued` or `Duplicate`, with the id.
    ///
    /// # Errors
    /// [`EnqueueError`].
    pub async fn enqueue(&self, item: &T) -> Result<EnqueueOutcome, EnqueueError> {
        self.enqueue_with(item, ItemOptions::new()).await
    }

    /// Enqueues one item with wishes of its own.
    ///
    /// # Errors
    /// [`EnqueueError`].
    pub async fn enqueue_with(&self, item: &T, options: ItemOptions) -> Result<EnqueueOutcome, EnqueueError> {
        let outcome = match &self.inner.coalescer {
            None => self.enqueue_all([(item, options)]).await?.first().copied(),
            Some(_) if self.is_closed() => return Err(EnqueueError::Closed(self.queue().clone())),
            Some(coalescer) => {
                let item = self.item(item, options)?;
                let outcome = coalescer.enqueue(&self.inner.store, &self.inner.runtime, item).await?;
                self.wake_for(&[outcome]);
                Some(outcome)
            }
        };
        match outcome {
            Some(EnqueueOutcome::Full) | None => Err(EnqueueError::Full(self.queue().clone())),
            Some(outcome) => Ok(outcome),
        }
    }

    /// Enqueues up to [`MAX_BATCH`] items in one transaction; outcomes are per item, in order. All or none are stored
    /// as far as errors go; single ones may be duplicates or find the queue full.
    ///
    /// # Errors
    /// [`EnqueueError`], but `Full` is an outcome here.
    pub async fn enqueue_all<'t>(
        &self,
        items: impl IntoIterator<Item = (&'t T, ItemOptions)>,
    ) -> Result<Vec<EnqueueOutcome>, EnqueueError> {
        if self.is_closed() {
            return Err(EnqueueError::Closed(self.queue().clone()));
        }
        self.send(self.request(items)?).await
    }

    /// Enqueues what [`Enqueuer::request`] made of items, whose payloads the caller need not keep.
    ///
    /// # Errors
    /// [`EnqueueError::Closed`] and [`EnqueueError::Store`]; `Full` is an outcome here.
    pub async fn send(&self, enqueue: Enqueue) -> Result<Vec<EnqueueOutcome>, EnqueueError> {
        if self.is_closed() {
            return Err(EnqueueError::Closed(self.queue().clone()));
        }
        let outcomes = send(&self.inner.store, &self.inner.runtime, enqueue).await?.outcomes;
        self.wake_for(&outcomes);
        Ok(outcomes)
    }

    fn wake_for(&self, outcomes: &[EnqueueOutcome]) {
        if let Some(worker) = &self.inner.worker
            && outcomes.iter().any(|outcome| matches!(outcome, EnqueueOutcome::Enqueued(_)))
        {
            (worker.wake)();
        }
    }

    /// The verb that enqueues these items: for an enqueue in a transaction of the caller's own, which the databases'
    /// crates offer.
    ///
    /// # Errors
    /// [`EnqueueError::Invalid`].
    pub fn request<'t>(
        &self,
        items: impl IntoIterator<Item = (&'t T, ItemOptions)>,
    ) -> Result<Enqueue, EnqueueError> {
        let items: Vec<_> =
            items.into_iter().map(|(item, options)| self.item(item, options)).collect::<Result<_, _>>()?;
        if items.len() > MAX_BATCH as usize {
            return Err(self.invalid(format!("{} items in one batch, at most {MAX_BATCH} are allowed", items.len())));
        }
        let rules = &self.inner.rules;
        Ok(Enqueue { queue: rules.name.clone(), max_items: rules.capacity, items })
    }

    /// No item is taken any more, by this producer or its clones.
    pub fn close(&self) {
        self.inner.closed.store(true, Ordering::SeqCst);
    }

    /// Whether items are refused as closed.
    pub fn is_closed(&self) -> bool {
        self.inner.closed.load(Ordering::SeqCst)
            || self.inner.worker.as_ref().is_some_and(|worker| !(worker.is_open)())
    }

    fn invalid(&self, reason: String) -> EnqueueError {
        EnqueueError::Invalid { queue: self.queue().clone(), reason }
    }

    fn item(&self, item: &T, options: ItemOptions) -> Result<NewItem, EnqueueError> {
        let rules = &self.inner.rules;
        if options.id.is_some() && !rules.retain.is_everything() {
            let reason = "it has an id of its own, which the queue would forget with it, and take a repetition for a new item: leave the id out, or retain everything";
            return Err(self.invalid(reason.to_owned()));
        }
        let value = serde_json::to_value(item).map_err(|error| self.invalid(error.to_string()))?;
        let payload = Json::new(&value).map_err(|error| self.invalid(error.to_string()))?;
        let mut policy = rules.policy.clone();
        if let (Some(max), Some(key)) = (rules.per_key, &options.key) {
            policy.limit = Some(Limit { key: key_of(&[rules.name.as_str(), &short(key)]), max });
        }
        let new = NewItem {
            id: options.id.unwrap_or_else(|| ExecutionId(self.inner.runtime.uuid())),
            scope: options.scope.clone().unwrap_or_else(Scope::global),
            due: options.due.unwrap_or(Due::AfterMs(0)),
            ttl_ms: options.ttl.map(wait_ms).or(rules.ttl_ms),
            priority: options.priority.unwrap_or(rules.priority),
            unique: self.unique(item, &payload, &options),
            trace: options.trace.clone().or_else(|| self.inner.runtime.trace()),
            payload: Some(payload),
            policy,
        };
        let one = Enqueue { queue: rules.name.clone(), max_items: rules.capacity, items: vec![new.clone()] };
        store::check(&one.into()).map_err(|error| self.invalid(error.message().to_owned()))?;
        Ok(new)
    }

    fn unique(&self, item: &T, payload: &Json, options: &ItemOptions) -> Option<store::Unique> {
        if options.is_never_duplicate {
            return None;
        }
        let rules = &self.inner.rules;
        let queue = rules.name.as_str();
        let key = match (&options.unique_key, rules.unique.as_ref().map(|unique| &unique.by)) {
            (Some(given), _) => key_of(&[queue, "given", &short(given)]),
            (None, Some(By::Payload)) => key_of(&[queue, "payload", &hex(payload.as_str())]),
            (None, Some(By::Key(key))) => key_of(&[queue, "key", &short(&key(item))]),
            (None, None) => return None,
        };
        let rule = rules.unique.as_ref();
        Some(store::Unique {
            key,
            period_ms: rule.and_then(|unique| unique.period).map(wait_ms),
            counts: rule.map_or(store::Counts::Live, |unique| unique.counts),
        })
    }
}

/// A key that fits an index whatever its length.
fn short(key: &str) -> String {
    if key.len() <= 100 && !key.contains('\0') { key.to_owned() } else { format!("sha256:{}", hex(key)) }
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
