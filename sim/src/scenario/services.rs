//! The workload of tick services: turns a scenario's services into real ones for each replica.

use std::time::Duration;

use tourbillon::{
    driver::Settings,
    job::BoxError,
    model::{LockName, ServiceName},
    service::{HaMode, Leadership, Pass, Service, Tick},
};

use super::{Scenario, ServiceShape, Work};
use crate::{
    chance,
    history::ServiceFacts,
    world::{Call, Host, PLANNED_PANIC},
};

/// Name of the one leadership group of a scenario.
const GROUP: &str = "leader";

/// The service of a shape, as it runs on `host`.
pub(super) fn service(shape: &ServiceShape, host: Host, receiver: u8) -> Service {
    let (work, name) = (shape.work, shape.name.clone());
    Service::new(&shape.name)
        .every(shape.every)
        .mode(shape.mode)
        .first(shape.first)
        .timeout(shape.timeout)
        .ttl(shape.ttl)
        .run(move |tick| {
            let (host, name) = (host.clone(), name.clone());
            async move { perform(&host, &tick, work, &name, receiver).await }
        })
}

/// The group of all services of mode leader.
pub(super) fn leadership(scenario: &Scenario) -> Leadership {
    Leadership::new(GROUP).ttl(scenario.leader_ttl)
}

/// What a tick does, all drawn from (seed, tick): a replay does the same.
async fn perform(host: &Host, tick: &Tick, work: Work, name: &str, receiver: u8) -> Result<Pass, BoxError> {
    let (id, _) = tick.request().0.as_u64_pair();
    let draw = |what: &str| chance::draw(host.seed(), what, id, 0);
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let half =
        Duration::from_micros(chance::between(draw("takes"), micros(work.takes_min), micros(work.takes_max)) / 2);

    tick.sleep(half).await;
    for nth in 0..work.effects {
        let unit = host.unit(name, format!("{} #{nth}", tick.request()));
        host.call(&unit, receiver, Call::new(format!("{name} epoch {:?} #{nth}", tick.epoch()))).await?;
    }
    if chance::percent(draw("hangs"), work.hangs_percent) {
        std::future::pending::<()>().await;
    }
    if chance::percent(draw("fails"), work.fails_percent) {
        return Err("planned failure".into());
    }
    assert!(!chance::percent(draw("panics"), work.panics_percent), "{PLANNED_PANIC}");
    tick.sleep(half).await;
    Ok(Pass::counted("effects", u64::from(work.effects)))
}

/// What checkers may assume of a service.
pub fn facts(shape: &ServiceShape, scenario: &Scenario) -> ServiceFacts {
    let (lock, ttl) = match shape.mode {
        HaMode::EveryReplica => (None, shape.ttl),
        HaMode::TickLock => (Some(shape.name.as_str()), shape.ttl),
        HaMode::Leader => (Some(GROUP), scenario.leader_ttl),
    };
    let trusted_percent = u32::from(100 - Settings::default().lease_margin_percent);
    ServiceFacts {
        service: ServiceName::new(&shape.name).expect("a scenario is checked when it is read"),
        mode: shape.mode,
        every: shape.every,
        lock: lock.map(|lock| LockName::new(lock).expect("a scenario is checked when it is read")),
        trusted: ttl * trusted_percent / 100,
    }
}
