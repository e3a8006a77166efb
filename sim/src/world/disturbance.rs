//! Owns small disturbances of order: a task that is due is put behind the others that are, a request or an effect is held
//! back for a few milliseconds. Nothing fails by it. Drawn from a stream of its own, so that everything else a seed draws
//! stays what it is.

use std::{future::poll_fn, task::Poll, time::Duration};

use super::clock;
use crate::{
    chance::{self, Stream},
    scenario::Orders,
};

/// What disturbs one process.
pub(super) struct Disturbance {
    orders: Orders,
    stream: Stream,
}

impl Disturbance {
    /// `process` tells processes of a run apart.
    pub(super) fn new(orders: Orders, seed: u64, process: u64) -> Self {
        Self { orders, stream: Stream::new(seed, "orders", process) }
    }

    /// Whether a task that is due waits until the others that are have been polled.
    pub(super) fn puts_behind(&self) -> bool {
        chance::percent(self.stream.next(), self.orders.percent)
    }

    /// Before a request is sent, or an effect: nothing, a turn, or up to so many milliseconds.
    pub(super) async fn holds_back(&self) {
        let (whether, how, long) = (self.stream.next(), self.stream.next(), self.stream.next());
        if !chance::percent(whether, self.orders.percent) {
            return;
        }
        if chance::percent(how, 50) {
            return a_turn().await;
        }
        let most_ms = u64::try_from(self.orders.most.as_millis()).unwrap_or(u64::MAX);
        clock::wait(Duration::from_millis(chance::between(long, 1, most_ms.max(1)))).await;
    }
}

/// Everything else that is due comes first.
async fn a_turn() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
