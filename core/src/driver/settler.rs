//! Records how attempts ended, in batches: whatever waits goes into the next call together.

use std::{
    collections::BTreeSet,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use crate::{
    model::{LeaseRef, Outcome, State, transition::Refusal},
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
        self.hand_over(settlement).await.await
    }

    /// Waits for a place among those that are to be recorded; what it returns, for the record.
    pub(super) async fn hand_over(&self, settlement: Settlement) -> Recorded {
        let (answer, answered) = oneshot::channel();
        // Dropped with the message when the loop has ended.
        let _ = self.0.send((settlement, answer)).await;
        Recorded(answered)
    }
}

/// Waits until an end is recorded, refused, or given up.
pub(super) struct Recorded(oneshot::Receiver<Result<State, SettleError>>);

impl Future for Recorded {
    type Output = Result<State, SettleError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answered| answered.unwrap_or(Err(SettleError::Ended)))
    }
}

/// Releases rows that were never run; whatever cannot be released expires, at no charge unless it was started.
pub(super) async fn give_back(settler: &Settler, leases: &[LeaseRef]) {
    let mut waiting = Vec::with_capacity(leases.len());
    for lease in leases {
        waiting.push(settler.hand_over(Settlement::of(*lease, Outcome::Released)).await);
    }
    for recorded in waiting {
        let recorded = recorded.await;
        // A refusal says that somebody else has the row.
        sometimes!("a row cannot be given back, and expires", recorded.is_err());
    }
}

/// The sending half and the loop; the loop ends when every sender is gone.
pub(super) fn settler(shared: Arc<Shared>) -> (Settler, impl Future<Output = ()> + Send) {
    let (sender, receiver) = mpsc::channel(MAX_BATCH as usize);
    (Settler(sender), run(shared, receiver))
}

async fn run(shared: Arc<Shared>, mut waiting: mpsc::Receiver<(Settlement, Answer)>) {
    let mut batch = Vec::new();
    while !batch.is_empty() || waiting.recv_many(&mut batch, MAX_BATCH as usize).await > 0 {
        let (now, later) = distinct(batch, |(settlement, _)| settlement.lease.id);
        batch = later;
        let (settlements, answers): (Vec<_>, Vec<_>) = now.into_iter().unzip();
        let give_up_at = shared.runtime.monotonic() + shared.settings.settle_patience;
        // The same request id throughout: a lost reply must not turn our own success into a lost lease (C2).
        let results = match shared.caller.until(Settle { settlements }, give_up_at).await {
            Ok(answered) => answered.reply.outcomes.into_iter().map(|o| o.map_err(SettleError::Refused)).collect(),
            Err(error) => {
                sometimes!("a settle fails for good");
                vec![Err(SettleError::Store(error)); answers.len()]
            }
        };
        sometimes!("several ends are recorded in one call", answers.len() > 1);
        for (answer, result) in answers.into_iter().zip(results) {
            sometimes!("the end of an attempt is refused", matches!(result, Err(SettleError::Refused(_))));
            // A runner that is gone needs no answer.
            let _ = answer.send(result);
        }
    }
}

/// The first of each id, and the others, both in order: mostly there are no others. Two ends of one execution wait together when its lease was lost, this
/// replica claimed it again, and both handlers ended at nearly the same time: a store refuses a request with both, and with
/// it the ends of all others.
fn distinct<T, Id: Ord>(items: Vec<T>, id: impl Fn(&T) -> Id) -> (Vec<T>, Vec<T>) {
    let mut ids: Vec<Id> = items.iter().map(&id).collect();
    ids.sort_unstable();
    if ids.is_sorted_by(|one, next| one < next) {
        return (items, Vec::new());
    }
    let mut seen = BTreeSet::new();
    items.into_iter().partition(|item| seen.insert(id(item)))
}

#[cfg(test)]
mod tests {
    use super::distinct;

    #[test]
    fn a_second_end_of_an_execution_is_recorded_after_the_first() {
        let ends = vec![(1, "lost"), (2, "a"), (1, "b"), (3, "c"), (1, "d")];
        let (now, later) = distinct(ends, |(id, _)| *id);
        assert_eq!(now, [(1, "lost"), (2, "a"), (3, "c")]);
        assert_eq!(later, [(1, "b"), (1, "d")]);
    }
}
