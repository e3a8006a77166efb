//! Owns the store of these tests: in memory, its clock the paused one, and able to fail one verb.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tourbillon::{
    driver::{Running, Scheduler},
    model::{Execution, ExecutionId, RequestId, Timestamp},
    queue::{AttemptReport, Queue},
    runtime::Runtime,
    store::{
        BoxFuture, ErrorKind, ListExecutions, MAX_BATCH, ManualClock, MemoryStore, Reply, Request, Store, StoreError,
        ask,
    },
};
use uuid::Uuid;

use crate::paused;

/// When the paused time is zero.
const EPOCH: Timestamp = Timestamp::from_secs(1_800_000_000);

#[derive(Clone)]
pub(crate) struct Stage {
    memory: MemoryStore,
    clock: ManualClock,
    pub(crate) runtime: Runtime,
    /// Verbs of this name are applied, and their answers are lost.
    lost: Arc<Mutex<Option<&'static str>>>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(EPOCH);
        let memory = MemoryStore::new(clock.clone());
        Self { memory, clock, runtime: paused::runtime(7), lost: Arc::default() }
    }

    pub(crate) fn lose_answers_to(&self, verb: Option<&'static str>) {
        *self.lost.lock().expect("no test panics here") = verb;
    }

    pub(crate) fn start<T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static>(
        &self,
        queue: Queue<T>,
    ) -> Running {
        Scheduler::builder(self.clone()).runtime(self.runtime.clone()).queue(queue).build().expect("valid").start()
    }

    pub(crate) async fn item(&self, id: ExecutionId) -> Execution {
        let list = ListExecutions { id: Some(id), limit: MAX_BATCH, ..ListExecutions::default() };
        let page = ask(self, RequestId(Uuid::nil()), list).await.expect("memory lists");
        page.executions.into_iter().next_back().expect("the item is there")
    }

    /// Until the item has ended; paused time runs on meanwhile.
    pub(crate) async fn ended(&self, id: ExecutionId) -> Execution {
        loop {
            let item = self.item(id).await;
            if item.state.is_terminal() {
                return item;
            }
            self.runtime.sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Store for Stage {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>> {
        Box::pin(async move {
            self.clock.set(EPOCH + self.runtime.monotonic().since(tourbillon::runtime::Monotonic::default()));
            let reply = self.memory.apply(&request);
            if *self.lost.lock().expect("no test panics here") == Some(request.verb.name()) {
                return Err(StoreError::new(ErrorKind::Unknown, "the answer was lost"));
            }
            reply
        })
    }
}

/// Collects what callbacks are told.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<(&'static str, AttemptReport)>>>);

impl Heard {
    pub(crate) fn by(&self, name: &'static str) -> impl Fn(&AttemptReport) + Send + Sync + 'static {
        let heard = Arc::clone(&self.0);
        move |report| heard.lock().expect("no test panics here").push((name, report.clone()))
    }

    pub(crate) fn all(&self) -> Vec<(&'static str, AttemptReport)> {
        self.0.lock().expect("no test panics here").clone()
    }
}
