//! One seed: draws its plan, runs it, and holds the history against every checker.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    checker,
    checker::Violation,
    fault::{self, FaultKind, FaultPlan},
    history::{History, HistoryHash, RunFacts},
    operator::{self, Variant, config::Config},
    scenario::{Phases, Scenario, planned, queues, services},
    world::{
        self, Lane, ReceiverSpec, RunSetup,
        engine::{self, Engine, EngineFactory},
    },
};

/// What is fixed instead of drawn.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The lane, instead of the scenario's.
    pub lane: Option<Lane>,
    /// The whole fault plan.
    pub plan: Option<FaultPlan>,
}

impl Overrides {
    /// The lane that seeds of this scenario run on. A tick that is not said is the scenario's.
    pub fn lane_of(&self, scenario: &Scenario) -> Lane {
        match (self.lane, scenario.lane) {
            (None, lane) | (Some(Lane::Turmoil { tick: None }), lane @ Lane::Turmoil { .. }) => lane,
            (Some(lane), _) => lane,
        }
    }
}

/// What one seed showed.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// The lane it ran on, with its tick.
    pub lane: Lane,
    /// The plan it ran under.
    pub plan: FaultPlan,
    /// Facts compared, by guarantee.
    pub checks: BTreeMap<&'static str, u64>,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// How often each kind of fault took hold.
    pub fired: BTreeMap<FaultKind, u64>,
    /// True time simulated.
    pub simulated: Duration,
    /// Fingerprint of the history.
    pub hash: HistoryHash,
    /// The history.
    pub history: History,
}

impl Verdict {
    /// Whether this guarantee was broken.
    pub fn breaks(&self, guarantee: &str) -> bool {
        self.violations.iter().any(|violation| violation.guarantee == guarantee)
    }

    /// The tick in milliseconds, on a lane that has one.
    pub fn tick_ms(&self) -> Option<u64> {
        self.lane.tick().map(|tick| u64::try_from(tick.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Below 10 ms a step is dear, and what small ticks are for happens within minutes: chaos is shortened.
fn phases(scenario: &Scenario, lane: Lane) -> Phases {
    let is_fine = lane.tick().is_some_and(|tick| tick < Duration::from_millis(10));
    let shortest = if is_fine { scenario.phases.chaos / 4 } else { scenario.phases.chaos };
    Phases { chaos: shortest, ..scenario.phases }
}

/// Runs one seed.
///
/// # Errors
/// When no engine could be made, or the world itself broke.
pub fn run_seed(
    scenario: &Scenario,
    seed: u64,
    overrides: &Overrides,
    engine: &EngineFactory,
) -> Result<Verdict, String> {
    let lane = overrides.lane_of(scenario).at(seed);
    let scenario = Scenario { phases: phases(scenario, lane), ..scenario.clone() };
    let plan = overrides.plan.clone().unwrap_or_else(|| fault::draw(&scenario, seed));
    let engine = engine::renewable(engine).map_err(|error| format!("cannot make the database engine: {error}"))?;
    #[cfg(feature = "zoo")]
    let bug = crate::zoo::let_loose();
    let outcome = world::run(setup(&scenario, seed, (plan.clone(), lane, engine)))?;
    #[cfg(feature = "zoo")]
    drop(bug);
    let mut checks = BTreeMap::new();
    let mut violations = Vec::new();
    let of_loops = match scenario.operator {
        Some(Variant::Hardened) => operator::judge::check(Variant::Hardened, &outcome.history),
        // It promises nothing; the truth table counts how often it does what.
        Some(Variant::Naive) | None => Vec::new(),
    };
    for (guarantee, findings) in checker::check_all(&outcome.history).into_iter().chain(of_loops) {
        checks.insert(guarantee, findings.checks);
        violations.extend(findings.violations);
    }
    Ok(Verdict {
        seed,
        lane,
        plan,
        checks,
        violations,
        fired: outcome.fired,
        simulated: outcome.simulated,
        hash: outcome.history.hash(),
        history: outcome.history,
    })
}

fn setup(
    scenario: &Scenario,
    seed: u64,
    (plan, lane, engine): (FaultPlan, Lane, Box<dyn Engine + Send>),
) -> RunSetup {
    let facts = facts(scenario, seed);
    let (receivers, application, app) = match scenario.operator {
        Some(variant) => (
            operator::receivers(),
            Some(operator::application(seed, facts.epoch)),
            operator::app(variant, Config::default()),
        ),
        None => (vec![ReceiverSpec::default(); usize::from(scenario.receivers)], None, planned::app(scenario)),
    };
    RunSetup {
        facts,
        receivers,
        phases: scenario.phases,
        plan,
        lane,
        application,
        engine,
        app,
        orders: scenario.orders,
    }
}

fn facts(scenario: &Scenario, seed: u64) -> RunFacts {
    if let Some(variant) = scenario.operator {
        let facts = operator::facts(variant, &Config::default(), seed, scenario.replicas);
        return RunFacts { settle_within: scenario.settle_within, ..facts };
    }
    RunFacts {
        scenario: scenario.name.clone(),
        seed,
        epoch: scenario.epoch,
        replicas: scenario.replicas,
        jobs: scenario.jobs.iter().map(planned::facts).collect(),
        call_timeout: scenario.call_timeout,
        poll_interval: scenario.poll_interval,
        rescue_interval: scenario.rescue_interval,
        probe_interval: crate::history::usual_probe(),
        granularity: Duration::ZERO,
        services: scenario.services.iter().map(|service| services::facts(service, scenario)).collect(),
        queues: scenario.queues.iter().map(queues::facts).collect(),
        receivers: Vec::new(),
        settle_within: scenario.settle_within,
        boot: scenario.boot,
    }
}
