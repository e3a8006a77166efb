//! Owns how concurrent callers of one producer share requests: what comes while one is under way goes with the next, and each
//! caller gets the outcome of its own item. Knows no rules of a queue.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::send::send;
use crate::{
    model::JobName,
    runtime::Runtime,
    store::{Enqueue, EnqueueOutcome, ErrorKind, MAX_BATCH, NewItem, Store, StoreError},
};

type Told = Result<EnqueueOutcome, StoreError>;

/// One item whose caller waits.
struct Waiting {
    item: NewItem,
    tell: oneshot::Sender<Told>,
}

#[derive(Default)]
struct Line {
    /// Somebody sends, and will look at those that wait before ceasing to.
    is_served: bool,
    waiting: VecDeque<Waiting>,
}

/// The callers of one producer and its clones.
pub(super) struct Coalescer {
    queue: JobName,
    max_items: Option<u64>,
    line: Mutex<Line>,
}

impl Coalescer {
    pub(super) fn new(queue: JobName, max_items: Option<u64>) -> Arc<Self> {
        Arc::new(Self { queue, max_items, line: Mutex::default() })
    }

    /// Enqueues one item, with others if a request is under way. A caller that ceases to wait before its item was sent
    /// takes it along; after that, it may be stored.
    pub(super) async fn enqueue(self: &Arc<Self>, store: &Arc<dyn Store>, runtime: &Runtime, item: NewItem) -> Told {
        let (tell, told) = oneshot::channel();
        let is_first = {
            let mut line = self.line();
            line.waiting.push_back(Waiting { item, tell });
            !std::mem::replace(&mut line.is_served, true)
        };
        if is_first {
            // A task of its own: whoever ceases to wait takes no other caller's request along.
            let server = Server { line: Arc::clone(self), has_ended: false };
            let (store, own) = (Arc::clone(store), runtime.clone());
            runtime.spawn(&format!("enqueues to {}", self.queue), async move { server.serve(&store, &own).await });
        }
        told.await.unwrap_or_else(|_| {
            let message = "enqueue: the runtime ended while it was under way: the item may have been stored";
            Err(StoreError::new(ErrorKind::Unknown, message))
        })
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that go with the next request, in the order in which they came; none: nobody serves from now on. An id that is
    /// there twice is refused in one request, so the second goes with another.
    fn next(&self) -> Vec<Waiting> {
        let mut line = self.line();
        let (mut batch, mut later, mut seen) = (Vec::new(), VecDeque::new(), BTreeSet::new());
        while let Some(one) = line.waiting.pop_front() {
            if one.tell.is_closed() {
                // Nobody wants it any more, and it was not sent.
                continue;
            }
            if batch.len() < MAX_BATCH as usize && seen.insert(one.item.id) {
                batch.push(one);
            } else {
                later.push_back(one);
            }
        }
        line.waiting = later;
        line.is_served = !batch.is_empty();
        batch
    }
}

/// Whoever sends for the others.
struct Server {
    line: Arc<Coalescer>,
    has_ended: bool,
}

impl Server {
    async fn serve(mut self, store: &Arc<dyn Store>, runtime: &Runtime) {
        loop {
            // Whoever was just told, or came with the first, comes first: else each other request has one item.
            tokio::task::yield_now().await;
            let batch = self.line.next();
            if batch.is_empty() {
                self.has_ended = true;
                return;
            }
            let (items, tells): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.item, one.tell)).unzip();
            let told = match self.send(store, runtime, items.clone()).await {
                // What was refused as a whole is not the fault of each.
                Err(error) if items.len() > 1 && !error.is_transient() => {
                    let mut told = Vec::with_capacity(items.len());
                    for item in items {
                        told.push(self.send(store, runtime, vec![item]).await.map(|outcomes| outcomes[0]));
                    }
                    told
                }
                Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error); items.len()],
            };
            for (tell, told) in tells.into_iter().zip(told) {
                // A caller that is gone needs no answer.
                let _ = tell.send(told);
            }
        }
    }

    /// One outcome for each item, in order.
    async fn send(
        &self,
        store: &Arc<dyn Store>,
        runtime: &Runtime,
        items: Vec<NewItem>,
    ) -> Result<Vec<EnqueueOutcome>, StoreError> {
        let asked = items.len();
        let enqueue = Enqueue { queue: self.line.queue.clone(), max_items: self.line.max_items, items };
        let outcomes = send(store, runtime, enqueue).await?.outcomes;
        if outcomes.len() != asked {
            let message = format!("enqueue: the store answered {} outcomes of {asked} items", outcomes.len());
            return Err(StoreError::new(ErrorKind::Corrupt, message));
        }
        Ok(outcomes)
    }
}

impl Drop for Server {
    /// Dropped with its runtime: those that wait are told so, and a later caller is served anew.
    fn drop(&mut self) {
        if !self.has_ended {
            *self.line.line() = Line::default();
        }
    }
}
