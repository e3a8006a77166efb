//! Sends a verb outside of a scheduler: with a deadline, repeated under one request id while its outcome is unknown.

use std::{sync::Arc, time::Duration};

use crate::{
    model::RequestId,
    runtime::Runtime,
    store::{ErrorKind, Operation, Request, Store, StoreError},
};

/// Transmissions of one call at most, all under one request id.
const TRIES: u32 = 4;

/// Deadline of each.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A repetition learns the first outcome and does nothing twice.
pub(super) async fn send<V: Operation>(
    store: &Arc<dyn Store>,
    runtime: &Runtime,
    verb: V,
) -> Result<V::Reply, StoreError> {
    let request = Request { id: RequestId(runtime.uuid()), verb: verb.into() };
    let name = request.verb.name();
    let mut tries = 1;
    loop {
        let answer = runtime.timeout(CALL_TIMEOUT, store.call(request.clone())).await;
        let answer = answer.unwrap_or_else(|| {
            let message = format!("{name}: no answer within {CALL_TIMEOUT:?}");
            Err(StoreError::new(ErrorKind::Unknown, message))
        });
        match answer {
            Ok(reply) => {
                return V::reply(reply).ok_or_else(|| {
                    StoreError::new(ErrorKind::Corrupt, format!("{name}: the store answered another verb"))
                });
            }
            Err(error) if error.is_transient() && tries < TRIES => {
                let pause = Duration::from_millis(50 << tries);
                runtime.sleep(pause + runtime.random_below(pause)).await;
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}
