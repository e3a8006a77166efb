//! What runs: a job or a service for each row, all in one world.

use std::{fmt::Write as _, time::Duration};

use tourbillon::{
    driver::{Scheduler, Settings},
    job::{BoxError, Context, HandlerError},
    service::{FirstTick, Leadership, Service, Tick},
};

use super::{
    CLAIMED, GROUP, LEASE, SERVICES,
    marks::{Mark, Marks},
};
use crate::{
    chance,
    scenario::{Scenario, planned},
    world::{Call, Host},
};

/// The world: as small as it can be and still have every window. Settled within: the 120 s of a claim that is applied
/// late, two leases, a run, a rescue, a planning step, a backlog of four slots, one call.
pub(super) fn scenario() -> Scenario {
    let mut text = "about = \"one probe for each way to run something\"\nreplicas = 3\nreceivers = 1\n\
                    settle_within = \"4m\"\nphases = { chaos = \"12m\", partial_heal = \"5m\", heal = \"5m\" }\n\
                    [driver]\nplan_interval = \"15s\"\n"
        .to_owned();
    for mode in CLAIMED {
        let _ = write!(text, "{}", mode.toml());
    }
    Scenario::parse(&text, "modes.toml").expect("a constant that a test reads")
}

pub(super) fn scheduler(scenario: &Scenario, host: &Host) -> Scheduler {
    let settings = Settings {
        poll_interval: scenario.poll_interval,
        plan_interval: scenario.plan_interval,
        rescue_interval: scenario.rescue_interval,
        call_timeout: scenario.call_timeout,
        ..Settings::default()
    };
    let mut builder = Scheduler::builder(host.store()).runtime(host.runtime()).settings(settings);
    for (shape, mode) in scenario.jobs.iter().zip(CLAIMED) {
        let host = host.clone();
        builder = builder.job(planned::rules(shape).delivery(mode.delivery).run(move |ctx: Context| {
            let host = host.clone();
            async move { attempt(&host, &ctx).await }
        }));
    }
    builder = builder.leadership(Leadership::new(GROUP).ttl(LEASE));
    for probe in SERVICES {
        let (host, row) = (host.clone(), probe.id);
        let service = Service::new(row)
            .every(super::EVERY)
            .mode(probe.mode)
            .ttl(LEASE)
            .first(FirstTick::Jittered)
            .timeout(Duration::from_secs(12))
            .run(move |tick: Tick| {
                let host = host.clone();
                async move { pass(&host, row, &tick).await }
            });
        builder = builder.service(service);
    }
    builder.build().expect("a constant that a test reads")
}

/// Works a little, has its effect, works a little more: so that every window is wide enough to be hit.
async fn attempt(host: &Host, ctx: &Context) -> Result<(), HandlerError> {
    let (id, _) = ctx.id().0.as_u64_pair();
    let half = half(host, id, ctx.fence().0);
    ctx.sleep(half).await;
    let slot = ctx.slot_at().map_or_else(String::new, |slot| slot.to_string());
    host.send(ctx, 0, format!("{} {slot}", ctx.job())).await?;
    ctx.sleep(half).await;
    Ok(())
}

/// The same as a tick.
async fn pass(host: &Host, row: &str, tick: &Tick) -> Result<(), BoxError> {
    let (id, _) = tick.request().0.as_u64_pair();
    let unit = host.unit(row, tick.request().to_string());
    let half = half(host, id, 0);
    tick.sleep(half).await;
    host.call(&unit, 0, Call::new(row)).await?;
    tick.sleep(half).await;
    unit.marking();
    host.tables::<Marks>().ask(&Mark(row.to_owned())).await?;
    unit.end();
    Ok(())
}

fn half(host: &Host, id: u64, n: u64) -> Duration {
    Duration::from_millis(chance::between(chance::draw(host.seed(), "probe", id, n), 300, 2_000))
}
