//! A long run of the hardened operator under everything that can go wrong: what it did, and what it did twice, why.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::minutes;
use crate::{
    EngineFactory, checker,
    checker::Violation,
    fault::{self, FaultPlan},
    operator::{
        self, SETTLE_WITHIN, Variant,
        config::Config,
        judge::{self, LoopEffects},
    },
    scenario::Phases,
    world::{self, Lane, RunSetup, engine},
};

const REPLICAS: u8 = 3;
/// Faults are drawn anew for each stretch of this length, as for a world of its own.
const STRETCH: Duration = minutes(180);

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Week {
    /// True time simulated.
    pub simulated: Duration,
    /// How often each kind of fault took hold.
    pub faults: BTreeMap<&'static str, u64>,
    /// What each loop did outside.
    pub loops: Vec<LoopEffects>,
    /// Guarantees and bounds that were broken.
    pub violations: Vec<Violation>,
    /// Events of the history.
    pub events: usize,
}

/// Runs so many days of the hardened operator on three replicas under faults of all kinds, drawn from the seed.
///
/// # Errors
/// When no engine could be made, or the world itself broke.
pub fn week(days: u64, seed: u64, factory: &EngineFactory) -> Result<Week, String> {
    let config = Config::default();
    let facts = operator::facts(Variant::Hardened, &config, seed, REPLICAS);
    let chaos = minutes(days * 1_440);
    let outcome = world::run(RunSetup {
        application: Some(operator::application(seed, facts.epoch)),
        plan: plan(&facts, chaos, seed),
        facts,
        receivers: operator::receivers(),
        phases: Phases { chaos, partial_heal: Duration::ZERO, heal: SETTLE_WITHIN + minutes(1) },
        lane: Lane::Event,
        engine: engine::renewable(factory).map_err(|error| format!("cannot make the database engine: {error}"))?,
        app: operator::app(Variant::Hardened, config),
        orders: None,
    })?;
    let checked = checker::check_all(&outcome.history).into_iter();
    let judged = judge::check(Variant::Hardened, &outcome.history);
    Ok(Week {
        simulated: outcome.simulated,
        faults: outcome.fired.iter().map(|(kind, count)| (kind.name(), *count)).collect(),
        loops: judge::effects(&outcome.history),
        violations: checked.chain(judged).flat_map(|(_, findings)| findings.violations).collect(),
        events: outcome.history.events.len(),
    })
}

fn plan(facts: &crate::history::RunFacts, chaos: Duration, seed: u64) -> FaultPlan {
    let leases: Vec<_> = operator::leases().collect();
    let mut whole = FaultPlan::default();
    let stretches = chaos.as_secs() / STRETCH.as_secs();
    for stretch in 0..stretches {
        let mut drawn = fault::draw_any(facts, STRETCH, &leases, seed * 1_000 + stretch);
        let begins_s = u32::try_from(stretch * STRETCH.as_secs()).unwrap_or(u32::MAX);
        drawn.faults.iter_mut().for_each(|fault| fault.at_s = fault.at_s.saturating_add(begins_s));
        whole.faults.extend(drawn.faults);
        if stretch == 0 {
            whole.triggers = drawn.triggers;
        }
    }
    whole
}
