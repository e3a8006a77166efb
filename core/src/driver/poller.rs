//! Polls: one look at the store for all crews that wait, which wakes those for whom something is due. Claims nothing, and
//! is no crew's only source: whoever is told of work, or has found some, claims without it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Shared, claimer::PATIENCE, queue::Crew, stop::Stage};
use crate::{
    runtime::{Monotonic, Runtime, first},
    store::{MAX_BATCH, ReadDue, StoreError},
};

/// How long to sleep when nobody waits; a crew that begins to wait wakes the loop.
const IDLE: Duration = Duration::from_secs(3600);

/// When a crew that waits wants a look: none while it claims, or has no room.
#[derive(Default)]
pub(super) struct NextLook(Mutex<Option<Monotonic>>);

impl NextLook {
    pub(super) fn set(&self, at: Option<Monotonic>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Moves it, if the crew still waits.
    fn put_off(&self, until: Monotonic) {
        if let Some(at) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            *at = until;
        }
    }

    fn get(&self) -> Option<Monotonic> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An interval with its spread of a tenth, so that replicas that were started together do not stay in step.
pub(super) fn spread(runtime: &Runtime, poll: Duration) -> Duration {
    poll * 9 / 10 + runtime.random_below(poll / 5)
}

/// Whether there is anybody to look for.
pub(super) fn is_wanted(shared: &Shared) -> bool {
    !(shared.jobs.is_empty() && shared.queues.is_empty())
}

pub(super) async fn run(shared: Arc<Shared>) {
    while !shared.stop.has_reached(Stage::Drain) {
        let (now, next) = (shared.runtime.monotonic(), next(&shared));
        if next.is_some_and(|at| at <= now) {
            // Ended by a drain: the last rows are looked for by nobody.
            let _ = first(shared.stop.reached(Stage::Drain), look(&shared, now)).await;
            continue;
        }
        let wait = next.map_or(IDLE, |at| at.since(now));
        let wake = async {
            let _ = first(shared.waits.notified(), shared.runtime.sleep(wait)).await;
        };
        let _ = first(shared.stop.reached(Stage::Drain), wake).await;
    }
}

/// When the next crew wants a look.
fn next(shared: &Shared) -> Option<Monotonic> {
    shared.crews().filter_map(|crew| crew.next_look.get()).min()
}

/// Looks for every crew that would want it before the next look, so that crews with one interval share all their looks,
/// whenever each began to wait.
async fn look(shared: &Shared, now: Monotonic) {
    let waiting = || shared.crews().filter_map(|crew| Some((crew, crew.next_look.get()?)));
    let Some(shortest) = waiting().map(|(crew, _)| crew.poll).min() else { return };
    let soon = now + shortest * 9 / 10;
    let served: Vec<&Crew> = waiting().filter(|(_, at)| *at <= soon).map(|(crew, _)| crew).collect();
    served.iter().for_each(|crew| crew.tally.checked(now));
    if let Err(error) = wake(shared, &served).await {
        tracing::warn!(%error, "cannot look for due work; trying again at the next poll");
    }
    // One share of the spread for all, or the earliest of many would always be near its lower end.
    let (now, share) = (shared.runtime.monotonic(), shared.runtime.random_below(shortest / 5));
    for crew in served {
        let share = share.mul_f64(crew.poll.as_secs_f64() / shortest.as_secs_f64());
        crew.next_look.put_off(now + crew.poll * 9 / 10 + share);
    }
}

async fn wake(shared: &Shared, served: &[&Crew]) -> Result<(), StoreError> {
    let jobs: Vec<_> = served.iter().flat_map(|crew| &crew.jobs).cloned().collect();
    for jobs in jobs.chunks(MAX_BATCH as usize) {
        let give_up_at = shared.runtime.monotonic() + PATIENCE;
        let due = shared.caller.until(ReadDue { jobs: jobs.to_vec() }, give_up_at).await?.reply.jobs;
        for crew in served.iter().filter(|crew| crew.jobs.iter().any(|job| due.contains(job))) {
            crew.wake.notify_one();
        }
    }
    Ok(())
}
