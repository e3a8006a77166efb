//! A list that the leader publishes. There is one leader at a time, so what can go wrong?

use std::time::Duration;

use tourbillon::prelude::*;
use tourbillon_sim::prelude::*;

use super::MINUTE;

pub(super) fn simulation(registry: Receiver) -> Simulation {
    Simulation::new("publish").lasting(10 * MINUTE).receiver(registry).app(app).expect(holds(
        "no list replaces one of a later leader",
        |record: &Record<'_>, judgement: &mut Judgement| {
            let lists = record.done_by_key("registry").remove("list").unwrap_or_default();
            for pair in lists.windows(2) {
                let (before, after) = (pair[0], pair[1]);
                judgement.demand(before.epoch <= after.epoch, &[before.event, after.event], || {
                    let epoch = |list: &EffectSeen<'_>| list.epoch.map_or(0, |epoch| epoch.0);
                    format!("the list of epoch {} replaced that of epoch {}", epoch(after), epoch(before))
                });
            }
        },
    ))
}

fn app(host: &Host) -> Scheduler {
    let registry = host.receiver("registry");
    let publish =
        Service::new("publish").every(Duration::from_secs(10)).mode(HaMode::Leader).run(move |tick: Tick| {
            let registry = registry.clone();
            async move {
                tick.sleep(Duration::from_secs(3)).await; // it has much to sign
                match registry.call(Call::new("list").under(tick.epoch())).await? {
                    CallAnswer::Done => Ok(()),
                    other => Err(BoxError::from(format!("the registry said {other:?}"))),
                }
            }
        });
    let leadership = Leadership::new("leader").ttl(Duration::from_secs(15));
    let builder = Scheduler::builder(host.store()).runtime(host.runtime()).leadership(leadership);
    builder.service(publish).build().expect("the rules of the service hold")
}
