//! Store calls with deadline, repetition and the right request id.

use std::{sync::Arc, time::Duration};

use super::measure;
use crate::{
    model::RequestId,
    runtime::{Monotonic, Runtime},
    store::{ErrorKind, Operation, Request, Store, StoreError, Verb},
};

/// First wait before a repetition; doubled up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Caller {
    store: Arc<dyn Store>,
    runtime: Runtime,
    timeout: Duration,
}

/// A reply, and when the first transmission that could have caused it was sent: what a lease in the reply is
/// trusted from (a repetition may be answered from the first application).
pub(super) struct Answered<R> {
    pub(super) request: RequestId,
    pub(super) sent_at: Monotonic,
    pub(super) reply: R,
}

impl Caller {
    pub(super) fn new(store: Arc<dyn Store>, runtime: Runtime, timeout: Duration) -> Self {
        Self { store, runtime, timeout }
    }

    /// For callers with a patience of their own.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Calls once.
    pub(super) async fn once<V: Operation>(&self, verb: V) -> Result<Answered<V::Reply>, StoreError> {
        self.until(verb, self.runtime.monotonic()).await
    }

    /// Calls, and repeats the same request while its outcome is unknown or the store is unavailable, until
    /// `give_up_at`. A repetition has the same request id, so it learns the first outcome and does nothing twice.
    pub(super) async fn until<V: Operation>(
        &self,
        verb: V,
        give_up_at: Monotonic,
    ) -> Result<Answered<V::Reply>, StoreError> {
        let request = Request { id: RequestId(self.runtime.uuid()), verb: verb.into() };
        let sent_at = self.runtime.monotonic();
        let mut pause = SHORTEST_PAUSE;
        loop {
            let error = match self.transmit::<V>(&request).await {
                Ok(reply) => {
                    sometimes!("a repeated call is answered", pause > SHORTEST_PAUSE);
                    return Ok(Answered { request: request.id, sent_at, reply });
                }
                Err(error) => error,
            };
            let jittered = pause + self.runtime.random_below(pause);
            sometimes!("a call is refused for good", !error.is_transient());
            if !error.is_transient() || self.runtime.monotonic() + jittered >= give_up_at {
                return Err(error);
            }
            tracing::debug!(verb = request.verb.name(), %error, "repeating a store call");
            self.runtime.sleep(jittered).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn transmit<V: Operation>(&self, request: &Request) -> Result<V::Reply, StoreError> {
        let name = request.verb.name();
        let hangs = matches!(request.verb, Verb::Settle(_)) && planted!(A11);
        let limit = if hangs { Duration::from_secs(86_400) } else { self.timeout };
        let began = measure::begin(&self.runtime);
        let told = self.runtime.timeout(limit, self.store.call(request.clone())).await;
        sometimes!("a call has no answer in time", told.is_none());
        let result = told.unwrap_or_else(|| {
            let message = format!("{name}: no answer within {:?}", self.timeout);
            Err(StoreError::new(ErrorKind::Unknown, message))
        });
        measure::call(name, began, &self.runtime, &result);
        V::reply(result?).ok_or_else(|| {
            sometimes!("a store answers another verb than it was asked");
            StoreError::new(ErrorKind::Corrupt, format!("{name}: the store answered another verb than it was asked"))
        })
    }
}
