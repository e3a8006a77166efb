//! How long a backlog takes that came about while nobody reached the database.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tourbillon::{
    driver::{Scheduler, Settings},
    job::{BoxError, Context, HandlerError},
    model::State,
    queue::{Enqueuer, ItemOptions, Queue},
    service::{FirstTick, HaMode, Service, Tick},
    store::Reply,
};

use super::{Spread, minutes};
use crate::{
    EngineFactory, chance, checker,
    fault::{Bad, Fault, FaultPlan},
    history::{Boot, History, Phase, RunFacts, What},
    scenario::Phases,
    world::{self, Host, Lane, RunSetup, engine},
};

/// Items of one request.
const CHUNK: u64 = 500;
/// Everything is due after this long, and by then all replicas are cut off.
const DUE_AFTER: Duration = minutes(10);
const CUT_OFF_AT: Duration = minutes(8);
const PHASES: Phases = Phases { chaos: minutes(15), partial_heal: Duration::ZERO, heal: minutes(60) };

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Drain {
    /// Items of the backlog.
    pub items: u64,
    /// Workers, of all replicas together.
    pub workers: u64,
    /// From the heal to the end of the last item.
    pub drained: Spread,
    /// Runs in which an item did not succeed, or a guarantee was broken.
    pub violated: Vec<u64>,
}

/// Three replicas with so many workers each; an item takes 50 to 450 ms.
const REPLICAS: u8 = 3;
const WORKERS: u32 = 16;

/// Measures over seeds 0, 1, … on one thread.
///
/// # Errors
/// When no engine could be made, or the world itself broke.
pub fn drain(items: u64, seeds: u64, factory: &EngineFactory) -> Result<Drain, String> {
    let (mut drained, mut violated) = (Vec::new(), Vec::new());
    for seed in 0..seeds {
        let engine =
            engine::renewable(factory).map_err(|error| format!("cannot make the database engine: {error}"))?;
        let outcome = world::run(RunSetup {
            facts: facts(seed),
            receivers: Vec::new(),
            phases: PHASES,
            plan: cut_off(),
            lane: Lane::Event,
            engine,
            application: None,
            app: Arc::new(move |host: &Host| scheduler(host, items)),
            orders: None,
        })?;
        let is_whole = succeeded(&outcome.history) == items;
        let is_fine = checker::check_all(&outcome.history).iter().all(|(_, findings)| findings.violations.is_empty());
        violated.extend((!is_whole || !is_fine).then_some(seed));
        drained.extend(measure(&outcome.history));
    }
    let workers = u64::from(WORKERS) * u64::from(REPLICAS);
    Ok(Drain { items, workers, drained: Spread::of(drained), violated })
}

fn facts(seed: u64) -> RunFacts {
    let settings = Settings::default();
    RunFacts {
        scenario: "backlog".to_owned(),
        seed,
        epoch: "2026-01-05T00:00:00Z".parse().expect("an instant"),
        replicas: REPLICAS,
        jobs: Vec::new(),
        call_timeout: settings.call_timeout,
        poll_interval: settings.poll_interval,
        rescue_interval: settings.rescue_interval,
        probe_interval: settings.probe_interval,
        granularity: Duration::ZERO,
        settle_within: PHASES.heal,
        services: Vec::new(),
        queues: Vec::new(),
        receivers: Vec::new(),
        boot: Boot::Ready,
    }
}

fn cut_off() -> FaultPlan {
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    let fault = |replica| Fault {
        at_s: seconds(CUT_OFF_AT),
        lasts_s: seconds(PHASES.chaos - CUT_OFF_AT),
        replica,
        bad: Bad::Partition,
    };
    FaultPlan { faults: (0..REPLICAS).map(fault).collect(), triggers: Vec::new() }
}

fn scheduler(host: &Host, items: u64) -> Scheduler {
    let rules = || Queue::<u64>::new("backlog").workers(WORKERS).run_timeout(minutes(1)).lease(minutes(2));
    let producer = Enqueuer::new(host.store(), host.runtime(), &rules()).expect("the rules hold");
    let at = host.clone();
    let queue = rules().run(move |item: u64, ctx: Context| {
        let takes_ms = chance::between(chance::draw(at.seed(), "takes", item, 0), 50, 450);
        async move {
            ctx.sleep(Duration::from_millis(takes_ms)).await;
            Ok::<_, HandlerError>(())
        }
    });
    // On one replica only, once.
    let fill = Service::new("fill").every(minutes(1_440)).mode(HaMode::TickLock).first(FirstTick::Immediately);
    let fill = fill.timeout(minutes(5)).run(move |_: Tick| {
        let producer = producer.clone();
        async move {
            let numbers: Vec<u64> = (0..items).collect();
            for chunk in numbers.chunks(usize::try_from(CHUNK).unwrap_or(1)) {
                producer.enqueue_all(chunk.iter().map(|n| (n, ItemOptions::new().delay(DUE_AFTER)))).await?;
            }
            Ok::<u64, BoxError>(items)
        }
    });
    let builder = Scheduler::builder(host.store()).runtime(host.runtime()).queue(queue).service(fill);
    builder.build().expect("the rules hold")
}

/// From the heal to the last settle.
fn measure(history: &History) -> Option<u64> {
    let healed = |what: &What| matches!(what, What::PhaseBegan { phase: Phase::Heal });
    let healed_us = history.events.iter().find(|event| healed(&event.what))?.at_us;
    let settles = |what: &What| matches!(what, What::Applied { result: Ok(Reply::Settled(_)), .. });
    let last_us = history.events.iter().rev().find(|event| settles(&event.what))?.at_us;
    last_us.checked_sub(healed_us)
}

fn succeeded(history: &History) -> u64 {
    let Some(What::Ended { state }) = history.events.last().map(|event| &event.what) else { return 0 };
    state.executions.iter().filter(|row| row.state == State::Succeeded).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_drained_after_the_heal() {
        let memory: EngineFactory = Arc::new(|| Ok(engine::memory()));
        let measured = drain(600, 1, &memory).expect("the world holds");
        assert_eq!((measured.drained.samples, measured.violated), (1, Vec::new()));
        assert!(measured.drained.max_ms > 1_000, "{:?}", measured.drained);
    }
}
