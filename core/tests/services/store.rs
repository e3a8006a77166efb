//! A store on paused time that can be cut off. Knows no service.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tourbillon::{
    model::Timestamp,
    runtime::Runtime,
    store::{BoxFuture, ErrorKind, ManualClock, MemoryStore, Reply, Request, Store, StoreError},
};

/// The in-memory store on paused time. Clones share the data; each can be cut off by itself.
#[derive(Clone)]
pub(crate) struct PausedStore {
    inner: MemoryStore,
    clock: ManualClock,
    runtime: Runtime,
    cut: Arc<AtomicBool>,
}

impl PausedStore {
    pub(crate) fn new(runtime: &Runtime) -> Self {
        let clock = ManualClock::new(Timestamp::EPOCH);
        Self { inner: MemoryStore::new(clock.clone()), clock, runtime: runtime.clone(), cut: Arc::default() }
    }

    /// Another way to the same data.
    pub(crate) fn another(&self) -> Self {
        Self { cut: Arc::default(), ..self.clone() }
    }

    /// From now on nothing gets through, or everything does.
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }
}

impl Store for PausedStore {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>> {
        Box::pin(async move {
            if self.cut.load(Ordering::SeqCst) {
                return Err(StoreError::new(ErrorKind::Unavailable, "cut off"));
            }
            self.clock.set(Timestamp::EPOCH + self.runtime.monotonic().0);
            self.inner.apply(&request)
        })
    }
}
