//! What answers inside the database host: any store, called so that a call takes no virtual time.

use std::{
    future::Future,
    sync::{Arc, mpsc},
    thread,
};

use tourbillon::{
    model::{RequestId, Timestamp},
    store::{ErrorKind, ManualClock, MemoryStore, Migrate, Reply, Request, SCHEMA_VERSION, Store, StoreError},
};
use uuid::Uuid;

/// Applies requests one at a time at a given database time. The database host owns it across its own restarts:
/// what was committed stays.
pub trait Engine {
    /// Carries out one request at `now`.
    ///
    /// # Errors
    /// As [`Store::call`].
    fn apply(&mut self, now: Timestamp, request: &Request) -> Result<Reply, StoreError>;

    /// A fresh, empty engine of the same sort, without a schema: the server that a fail-over turns to.
    ///
    /// # Errors
    /// When there is none, which is so for engines that [`renewable`] did not make.
    fn fresh(&self) -> Result<Box<dyn Engine + Send>, StoreError> {
        Err(StoreError::new(
            ErrorKind::Invalid,
            "this engine cannot be made afresh: make it with `engine::renewable`",
        ))
    }
}

/// Makes a fresh, empty engine for each run. It needs no schema: [`migrate`] or the replicas bring it.
pub type EngineFactory = Arc<dyn Fn() -> Result<Box<dyn Engine + Send>, StoreError> + Send + Sync>;

/// An engine that a run may lose commits of.
///
/// # Errors
/// Those of the factory.
pub fn renewable(factory: &EngineFactory) -> Result<Box<dyn Engine + Send>, StoreError> {
    Ok(Box::new(Renewable { engine: factory()?, factory: Arc::clone(factory) }))
}

struct Renewable {
    engine: Box<dyn Engine + Send>,
    factory: EngineFactory,
}

impl Engine for Renewable {
    fn apply(&mut self, now: Timestamp, request: &Request) -> Result<Reply, StoreError> {
        self.engine.apply(now, request)
    }

    fn fresh(&self) -> Result<Box<dyn Engine + Send>, StoreError> {
        renewable(&self.factory)
    }
}

/// Calls a store inline, on the simulation's thread.
pub struct Inline<F> {
    clock: ManualClock,
    apply: F,
}

impl<F: FnMut(&Request) -> Result<Reply, StoreError>> Inline<F> {
    /// `apply` must take its time from `clock`.
    pub fn new(clock: ManualClock, apply: F) -> Self {
        Self { clock, apply }
    }
}

impl<F: FnMut(&Request) -> Result<Reply, StoreError>> Engine for Inline<F> {
    fn apply(&mut self, now: Timestamp, request: &Request) -> Result<Reply, StoreError> {
        self.clock.set(now);
        (self.apply)(request)
    }
}

/// The in-memory store, without a schema.
pub fn memory() -> Box<dyn Engine + Send> {
    let factory: EngineFactory = Arc::new(|| Ok(plain_memory()));
    Box::new(Renewable { engine: plain_memory(), factory })
}

fn plain_memory() -> Box<dyn Engine + Send> {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let store = MemoryStore::unmigrated(clock.clone());
    Box::new(Inline::new(clock, move |request: &Request| store.apply(request)))
}

/// Brings the schema of `engine` up to date, through its own verb, at `now`.
///
/// # Errors
/// Those of [`Engine::apply`].
pub fn migrate(engine: &mut dyn Engine, now: Timestamp) -> Result<(), StoreError> {
    let request = Request { id: RequestId(Uuid::nil()), verb: Migrate { known: SCHEMA_VERSION }.into() };
    while let Reply::Migrated(reply) = engine.apply(now, &request)?
        && reply.to < SCHEMA_VERSION
    {}
    Ok(())
}

/// Calls an asynchronous store from a synchronous place: it lives on a thread and a tokio runtime of its own, and
/// the caller blocks until it has answered. Virtual time stands still meanwhile.
pub struct Bridge {
    clock: ManualClock,
    requests: Option<mpsc::Sender<Request>>,
    replies: mpsc::Receiver<Result<Reply, StoreError>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Bridge {
    /// Starts the thread. `connect` runs on it and makes the store, which must take its time from the given clock;
    /// `close` runs when the bridge is dropped.
    ///
    /// # Errors
    /// Whatever `connect` returns.
    pub fn start<S, C, F, D, G>(connect: C, close: D) -> Result<Self, StoreError>
    where
        S: Store,
        C: FnOnce(ManualClock) -> F + Send + 'static,
        F: Future<Output = Result<S, StoreError>>,
        D: FnOnce(Arc<S>) -> G + Send + 'static,
        G: Future<Output = ()>,
    {
        let clock = ManualClock::new(Timestamp::EPOCH);
        let (requests, asked) = mpsc::channel::<Request>();
        let (answer, replies) = mpsc::channel();
        let (ready, connected) = mpsc::channel();
        let manual = clock.clone();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
            runtime.block_on(async move {
                let store = match connect(manual).await {
                    Ok(store) => Arc::new(store),
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                // Blocking here is the point: one request at a time, nothing else on this runtime but the driver's
                // own connection tasks, which run while a call is awaited.
                while let Ok(request) = asked.recv() {
                    if answer.send(store.call(request).await).is_err() {
                        break;
                    }
                }
                close(store).await;
            });
        });
        let gone = |_| StoreError::new(ErrorKind::Unavailable, "the bridge thread ended early");
        connected.recv().map_err(gone)??;
        Ok(Self { clock, requests: Some(requests), replies, thread: Some(thread) })
    }
}

impl Engine for Bridge {
    fn apply(&mut self, now: Timestamp, request: &Request) -> Result<Reply, StoreError> {
        let gone = || StoreError::new(ErrorKind::Unknown, "the bridge thread is gone");
        self.clock.set(now);
        self.requests.as_ref().ok_or_else(gone)?.send(request.clone()).map_err(|_| gone())?;
        self.replies.recv().map_err(|_| gone())?
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the store's thread was reported when it happened.
            let _ = thread.join();
        }
    }
}
