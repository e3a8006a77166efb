//! Records how attempts ended, in batches: whatever waits goes into the next call together.

use std::{fmt, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use crate::{
    model::{State, transition::Refusal},
    store::{MAX_BATCH, Settle, Settlement, StoreError},
};

/// Why an end could not be recorded.
#[derive(Clone, Debug)]
pub(super) enum SettleError {
    /// The store refused: somebody else decides about the row.
    Refused(Refusal),
    /// The store could not be reached in time; the row expires by itself.
    Store(StoreError),
    /// The scheduler has ended.
    Ended,
}

impl fmt::Display for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Ended => f.write_str("the scheduler has ended"),
        }
    }
}

type Answer = oneshot::Sender<Result<State, SettleError>>;

/// Sends settlements to the loop.
#[derive(Clone)]
pub(super) struct Settler(mpsc::Sender<(Settlement, Answer)>);

impl Settler {
    /// Waits until the end is recorded, refused, or given up.
    pub(super) async fn settle(&self, settlement: Settlement) -> Result<State, SettleError> {
        let (answer, answered) = oneshot::channel();
        if self.0.send((settlement, answer)).await.is_err() {
            return Err(SettleError::Ended);
        }
        answered.await.unwrap_or(Err(SettleError::Ended))
    }
}

/// The sending half and the loop; the loop ends when every sender is gone.
pub(super) fn settler(shared: Arc<Shared>) -> (Settler, impl Future<Output = ()> + Send) {
    let (sender, receiver) = mpsc::channel(MAX_BATCH as usize);
    (Settler(sender), run(shared, receiver))
}

async fn run(shared: Arc<Shared>, mut waiting: mpsc::Receiver<(Settlement, Answer)>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, MAX_BATCH as usize).await > 0 {
        let (settlements, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let give_up_at = shared.runtime.monotonic() + shared.settings.settle_patience;
        // The same request id throughout: a lost reply must not turn our own success into a lost lease (C2).
        let results = match shared.caller.until(Settle { settlements }, give_up_at).await {
            Ok(answered) => answered.reply.outcomes.into_iter().map(|o| o.map_err(SettleError::Refused)).collect(),
            Err(error) => vec![Err(SettleError::Store(error)); answers.len()],
        };
        for (answer, result) in answers.into_iter().zip(results) {
            // A runner that is gone needs no answer.
            let _ = answer.send(result);
        }
    }
}
