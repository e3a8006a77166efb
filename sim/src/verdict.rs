//! One seed: draws its plan and tick, runs it, and holds the history against every checker.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tourbillon::store::StoreError;

use crate::{
    chance, checker,
    checker::Violation,
    fault::{self, FaultKind, FaultPlan},
    history::{History, HistoryHash, RunFacts},
    scenario::{Phases, Scenario, planned},
    world::{self, ReceiverSpec, RunSetup, engine::Engine},
};

/// Makes a fresh, empty, migrated engine for each run.
pub type EngineFactory = Arc<dyn Fn() -> Result<Box<dyn Engine + Send>, StoreError> + Send + Sync>;

/// What is fixed instead of drawn.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The tick.
    pub tick: Option<Duration>,
    /// The whole fault plan.
    pub plan: Option<FaultPlan>,
}

/// What one seed showed.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// The tick it ran with.
    pub tick: Duration,
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
}

/// Ticks that seeds draw from, with weights: small ones reach races within a second, large ones are fast.
const TICKS_MS: &[(u64, u64)] = &[(1, 1), (2, 2), (5, 4), (10, 10), (20, 18), (50, 30), (100, 35)];

/// The tick of a seed.
pub fn draw_tick(seed: u64) -> Duration {
    let total: u64 = TICKS_MS.iter().map(|(_, weight)| weight).sum();
    let mut left = chance::draw(seed, "tick", 0, 0) % total;
    for (tick_ms, weight) in TICKS_MS {
        if left < *weight {
            return Duration::from_millis(*tick_ms);
        }
        left -= weight;
    }
    Duration::from_millis(100)
}

/// Below 10 ms a step is dear, and what small ticks are for happens within minutes: chaos is shortened.
fn phases(scenario: &Scenario, tick: Duration) -> Phases {
    let shortest = if tick < Duration::from_millis(10) { scenario.phases.chaos / 4 } else { scenario.phases.chaos };
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
    let tick = overrides.tick.or(scenario.tick).unwrap_or_else(|| draw_tick(seed));
    let scenario = Scenario { phases: phases(scenario, tick), ..scenario.clone() };
    let plan = overrides.plan.clone().unwrap_or_else(|| fault::draw(&scenario, seed));
    let setup = RunSetup {
        facts: facts(&scenario, seed),
        receivers: vec![ReceiverSpec::default(); usize::from(scenario.receivers)],
        phases: scenario.phases,
        plan: plan.clone(),
        tick,
        application: None,
        engine: engine().map_err(|error| format!("cannot make the database engine: {error}"))?,
        app: planned::app(&scenario),
    };
    let outcome = world::run(setup)?;
    let mut checks = BTreeMap::new();
    let mut violations = Vec::new();
    for (guarantee, findings) in checker::check_all(&outcome.history) {
        checks.insert(guarantee, findings.checks);
        violations.extend(findings.violations);
    }
    Ok(Verdict {
        seed,
        tick,
        plan,
        checks,
        violations,
        fired: outcome.fired,
        simulated: outcome.simulated,
        hash: outcome.history.hash(),
        history: outcome.history,
    })
}

fn facts(scenario: &Scenario, seed: u64) -> RunFacts {
    RunFacts {
        scenario: scenario.name.clone(),
        seed,
        epoch: scenario.epoch,
        replicas: scenario.replicas,
        jobs: scenario.jobs.iter().map(planned::facts).collect(),
        call_timeout: scenario.call_timeout,
        poll_interval: scenario.poll_interval,
        rescue_interval: scenario.rescue_interval,
        granularity: Duration::ZERO,
        settle_within: scenario.settle_within,
    }
}
