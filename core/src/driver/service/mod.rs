//! Tick services: when they tick, and what is known of them. How one tick runs is in `tick`, who leads in `leader`,
//! how a lock is held in `hold`.
//!
//! Each service has a loop of its own, which only keeps time: a tick is a task, so that one that overruns its
//! interval is seen (and the next one skipped) instead of delaying the loop (P-40).

mod hold;
pub(super) mod leader;
pub(super) mod locks;
mod tick;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Shared, stop::Stage};
use crate::{
    model::ServiceName,
    runtime::{Monotonic, first},
    service::{CheckedMode, CheckedService, FirstTick, Health, Record, TickOutcome, Trigger},
};

/// A service as it runs here.
pub(super) struct Served {
    spec: CheckedService,
    record: Mutex<Record>,
}

impl Served {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn served(
    services: BTreeMap<ServiceName, CheckedService>,
    started_at: Monotonic,
) -> BTreeMap<ServiceName, Served> {
    let served = services.into_iter().map(|(name, spec)| {
        let record = Mutex::new(Record::new(name.clone(), spec.mode.kind(), started_at));
        (name, Served { spec, record })
    });
    served.collect()
}

/// The services of a running scheduler. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    shared: Arc<Shared>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Services").field(&self.shared.services.keys()).finish()
    }
}

/// There is no service of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no service `{name}`; there are: {}", known.join(", "))]
pub struct UnknownService {
    /// As asked for.
    pub name: String,
    /// All names, in order.
    pub known: Vec<String>,
}

impl Services {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The health of all services, ordered by name (P-23).
    pub fn health(&self) -> Vec<Health> {
        let now = self.shared.runtime.monotonic();
        self.shared.services.values().map(|served| served.record().snapshot(now)).collect()
    }

    /// Those of which nothing good was heard for longer than `max_age`, ordered by name. See [`Health::is_stale`].
    pub fn stale(&self, max_age: Duration) -> Vec<Health> {
        self.health().into_iter().filter(|health| health.is_stale(max_age)).collect()
    }

    /// Runs one tick of a service now, in the same way as its interval does: guard, gate, lock, work, health (P-27).
    /// Dropping the future does not end the tick.
    ///
    /// # Errors
    /// [`UnknownService`] when this scheduler has no service of that name. How the tick went is in the outcome.
    pub async fn tick(&self, service: &str) -> Result<TickOutcome, UnknownService> {
        let found = self.shared.services.iter().find(|(name, _)| name.as_str() == service);
        let Some((name, _)) = found else {
            let known = self.shared.services.keys().map(ToString::to_string).collect();
            return Err(UnknownService { name: service.to_owned(), known });
        };
        Ok(tick::launch(&self.shared, name, Trigger::Demand).await)
    }
}

/// Keeps time for one service until a shutdown begins. For a led service each term is a beginning of its own, so that a
/// new leader need not wait for an instant that only the old one knew (B6).
pub(super) async fn run(shared: Arc<Shared>, name: ServiceName) {
    let Some(Served { spec, .. }) = shared.services.get(&name) else { return };
    let group = match &spec.mode {
        CheckedMode::Leader { group } => shared.groups.get(group),
        CheckedMode::EveryReplica | CheckedMode::TickLock { .. } => None,
    };
    let Some(group) = group else {
        begin(&shared, &name, spec);
        return keep_time(&shared, &name, spec).await;
    };
    loop {
        let changes = group.changes();
        if group.is_led_here() {
            begin(&shared, &name, spec);
        }
        if first(group.changed_since(changes), keep_time(&shared, &name, spec)).await.is_err() {
            sometimes!("a led service ends with its scheduler");
            return;
        }
    }
}

fn begin(shared: &Arc<Shared>, name: &ServiceName, spec: &CheckedService) {
    if spec.start.is_some() {
        drop(tick::launch(shared, name, Trigger::StartUp));
    }
}

async fn keep_time(shared: &Arc<Shared>, name: &ServiceName, spec: &CheckedService) {
    let runtime = &shared.runtime;
    let wait = match spec.first {
        FirstTick::Jittered => runtime.random_below(spec.every / 2),
        FirstTick::Immediately => Duration::ZERO,
        FirstTick::AfterInterval => spec.every,
    };
    let mut next_at = runtime.monotonic() + wait;
    loop {
        let jitter = if spec.jitter.is_zero() { Duration::ZERO } else { runtime.random_below(spec.jitter) };
        let wait = (next_at + jitter).since(runtime.monotonic());
        if shared.stop.pause(runtime, wait, Stage::Drain).await {
            return;
        }
        drop(tick::launch(shared, name, Trigger::Interval));
        next_at = following(next_at, spec.every, runtime.monotonic());
    }
}

/// The next instant of the grid after `now`: what a pause swallowed is not made up for.
fn following(last_at: Monotonic, every: Duration, now: Monotonic) -> Monotonic {
    let missed = now.since(last_at).as_nanos() / every.as_nanos().max(1);
    sometimes!("ticks that a pause swallowed are not made up for", missed > 0);
    last_at + every * u32::try_from(missed + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_are_not_made_up_for_and_the_grid_stays() {
        let at = |ms| Monotonic(Duration::from_millis(ms));
        let every = Duration::from_millis(100);
        assert_eq!(following(at(50), every, at(50)), at(150));
        assert_eq!(following(at(50), every, at(149)), at(150));
        assert_eq!(following(at(50), every, at(150)), at(250));
        assert_eq!(following(at(50), every, at(1_049)), at(1_050));
    }
}
