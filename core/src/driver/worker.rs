//! Owns one worker of a crew: it runs attempts one after the other while rows wait, and does not wait for the record
//! of one before it runs the next. Knows not how a handler is polled: see `runner`.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    Shared,
    ahead::Ready,
    queue::Crew,
    runner::{self, Ending},
    settler::{self, Settler},
    stop::Stage,
};
use crate::store::Start;

/// Runs `first`, then whatever waits, and ends when all of their ends are recorded.
pub(super) async fn run(
    shared: Arc<Shared>,
    settler: Settler,
    crew: Arc<Crew>,
    first: Ready,
    permit: OwnedSemaphorePermit,
) {
    let (mut next, mut permit) = (Some(first), Some(permit));
    let mut ends = Ends { shared: &shared, crew: &crew, under_way: Vec::new(), has_news: false };
    while let Some(ready) = next {
        let attempt = pin!(attempt(&shared, &settler, &crew, ready));
        sometimes!("a worker runs a row while the end of another is on its way", !ends.under_way.is_empty());
        if let Some(end) = ends.beside(attempt).await {
            ends.under_way.push(end);
        }
        crew.ahead.has_ended();
        next = take(&shared, &crew, &mut permit);
        if crew.ahead.room() > 0 {
            crew.few.notify_one();
        }
        if ends.take_news() {
            crew.wake.notify_one();
        }
    }
    ends.all().await;
    crew.wake.notify_one();
}

/// The next row, with a permit to run it. The permit is free before anybody is told that nothing waits.
fn take(shared: &Shared, crew: &Crew, permit: &mut Option<OwnedSemaphorePermit>) -> Option<Ready> {
    loop {
        // Rows that wait when a drain begins are given back by the claimer.
        if shared.stop.has_reached(Stage::Drain) {
            sometimes!("a worker ends in a drain");
            *permit = None;
            return None;
        }
        if let Some(ready) = crew.ahead.take() {
            return Some(ready);
        }
        *permit = None;
        // A row that was put there since the look found all workers taken.
        if crew.ahead.len() == 0 {
            return None;
        }
        sometimes!("a row comes while a worker is about to end");
        *permit = Some(Arc::clone(&crew.room).try_acquire_owned().ok()?);
    }
}

/// One attempt, from its charge to the end of its handler; what is left is to wait for its record.
async fn attempt(shared: &Arc<Shared>, settler: &Settler, crew: &Arc<Crew>, mut ready: Ready) -> Option<Ending> {
    if !ready.is_started && !planted!(D11) {
        let lease = ready.held.lease;
        let give_up_at = shared.runtime.monotonic() + ready.held.trusted_for / 2;
        let started = shared.caller.until(Start { leases: vec![lease] }, give_up_at).await;
        match started.map(|answered| (answered.sent_at, answered.reply.outcomes.into_iter().next())) {
            Ok((sent_at, Some(Ok(number)))) => {
                sometimes!("a worker charges the row that it takes");
                ready.held.renewed(sent_at);
                Arc::make_mut(&mut ready.attempt).number = number;
            }
            Ok((_, refusal)) => {
                sometimes!("a row is lost while it waits for a worker");
                shared.leases.remove(&lease);
                tracing::warn!(execution = %lease.id, ?refusal, "lost between claim and start");
                return None;
            }
            Err(error) => {
                sometimes!("a worker cannot charge the row that it takes");
                shared.leases.remove(&lease);
                tracing::warn!(execution = %lease.id, %error, "could not start a claimed execution; giving it back");
                settler::give_back(settler, &[lease]).await;
                return None;
            }
        }
    }
    runner::run(shared, settler, crew, ready.attempt, &ready.held).await
}

/// Ends that are on their way to the store. One that has come there may have made room in a limit, or a retry due.
struct Ends<'a> {
    shared: &'a Shared,
    crew: &'a Crew,
    under_way: Vec<Ending>,
    has_news: bool,
}

impl Ends<'_> {
    /// Whether one has come to the store since this was asked last.
    fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Looks after them while `other` has to wait for something.
    async fn beside<T>(&mut self, mut other: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|cx| {
            let polled = other.as_mut().poll(cx);
            if polled.is_pending() {
                self.look(cx);
            }
            polled
        })
        .await
    }

    async fn all(&mut self) {
        poll_fn(|cx| {
            self.look(cx);
            if self.under_way.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn look(&mut self, cx: &mut Context<'_>) {
        let before = self.under_way.len();
        self.under_way.retain_mut(|end| end.poll(cx, self.shared, self.crew).is_pending());
        self.has_news |= self.under_way.len() < before;
    }
}
