//! Owns the store of these tests: in memory, its clock the paused one, able to fail one verb, and to be listened to well
//! or badly.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tourbillon::{
    driver::{Running, Scheduler},
    model::{Execution, ExecutionId, RequestId, State, Timestamp},
    queue::{AttemptReport, Queue},
    runtime::Runtime,
    store::{
        BoxFuture, ErrorKind, ListExecutions, Listener, MAX_BATCH, ManualClock, MemoryStore, Notice, Reply, Request,
        Store, StoreError, Verb, ask,
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
    /// Verbs of this name are not applied.
    refused: Arc<Mutex<Option<&'static str>>>,
    /// How long an answer takes.
    latency: Arc<Mutex<Duration>>,
    hearing: Arc<Mutex<Hearing>>,
    /// How often each verb was called; that of listening is "listen".
    calls: Arc<Mutex<BTreeMap<&'static str, u32>>>,
}

/// What who listens gets.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Hearing {
    /// No notices.
    #[default]
    None,
    /// Every notice.
    Good,
    /// A connection that is half open: no notice, no error, no answer to a probe.
    Silent,
    /// A connection that breaks as soon as it is there.
    Breaking,
    /// No connection.
    Refused,
    /// Every notice, once the connection is there: [`CONNECTING`] after it was asked for.
    Late,
}

pub(crate) const CONNECTING: Duration = Duration::from_millis(200);

impl Stage {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(EPOCH);
        let memory = MemoryStore::new(clock.clone());
        Self {
            memory,
            clock,
            runtime: paused::runtime(7),
            lost: Arc::default(),
            refused: Arc::default(),
            latency: Arc::default(),
            hearing: Arc::default(),
            calls: Arc::default(),
        }
    }

    pub(crate) fn lose_answers_to(&self, verb: Option<&'static str>) {
        *self.lost.lock().expect("no test panics here") = verb;
    }

    /// From now on, or no more.
    pub(crate) fn refuse(&self, verb: &'static str, is_refused: bool) {
        *self.refused.lock().expect("no test panics here") = is_refused.then_some(verb);
    }

    pub(crate) fn answer_after(&self, latency: Duration) {
        *self.latency.lock().expect("no test panics here") = latency;
    }

    pub(crate) fn hear(&self, hearing: Hearing) {
        *self.hearing.lock().expect("no test panics here") = hearing;
    }

    fn hearing(&self) -> Hearing {
        *self.hearing.lock().expect("no test panics here")
    }

    /// How often this verb was called since this was last asked.
    pub(crate) fn calls_of(&self, verb: &'static str) -> u32 {
        self.calls.lock().expect("no test panics here").remove(verb).unwrap_or(0)
    }

    fn count(&self, verb: &'static str) {
        *self.calls.lock().expect("no test panics here").entry(verb).or_default() += 1;
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

    /// All live items.
    pub(crate) async fn live(&self) -> Vec<Execution> {
        let states = vec![State::Scheduled, State::Running, State::Retryable];
        let list = ListExecutions { states, limit: MAX_BATCH, ..ListExecutions::default() };
        ask(self, RequestId(Uuid::nil()), list).await.expect("memory lists").executions
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
            // The crew of planned jobs has none, and asks all the same.
            if !matches!(&request.verb, Verb::Claim(claim) if claim.jobs.is_empty()) {
                self.count(request.verb.name());
            }
            self.clock.set(EPOCH + self.runtime.monotonic().since(tourbillon::runtime::Monotonic::default()));
            let verb = request.verb.name();
            if *self.refused.lock().expect("no test panics here") == Some(verb) {
                return Err(StoreError::new(ErrorKind::Unavailable, "away for this verb"));
            }
            let reply = self.memory.call(request).await;
            let latency = *self.latency.lock().expect("no test panics here");
            if !latency.is_zero() {
                self.runtime.sleep(latency).await;
            }
            if *self.lost.lock().expect("no test panics here") == Some(verb) {
                return Err(StoreError::new(ErrorKind::Unknown, "the answer was lost"));
            }
            reply
        })
    }

    fn listen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Listener>>, StoreError>> {
        self.count("listen");
        match self.hearing() {
            Hearing::None => Box::pin(async { Ok(None) }),
            Hearing::Good => self.memory.listen(),
            Hearing::Late => Box::pin(async {
                self.runtime.sleep(CONNECTING).await;
                self.memory.listen().await
            }),
            Hearing::Refused => Box::pin(async { Err(StoreError::new(ErrorKind::Unavailable, "nobody listens")) }),
            bad => Box::pin(async move { Ok(Some(Box::new(BadListener(bad)) as Box<dyn Listener>)) }),
        }
    }
}

struct BadListener(Hearing);

impl BadListener {
    async fn hear<T>(&self) -> Result<T, StoreError> {
        if self.0 == Hearing::Breaking {
            return Err(StoreError::new(ErrorKind::Unavailable, "the listener broke"));
        }
        std::future::pending().await
    }
}

impl Listener for BadListener {
    fn next(&mut self) -> BoxFuture<'_, Result<Notice, StoreError>> {
        Box::pin(async { self.hear().await })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { self.hear().await })
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
