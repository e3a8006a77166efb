//! One seed of a simulation: draws its plan, runs it, and holds the history against every guarantee and every
//! expectation.

use std::{sync::Arc, time::Duration};

use super::{Simulation, expect::Judgement, facts::Known, record::Record};
use crate::{
    checker::{self, Violation},
    fault,
    history::{History, RunFacts},
    scenario::{Case, Phases},
    world::{self, App, Host, RunSetup, engine},
};

/// What one run showed.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) case: Case,
    pub(super) violations: Vec<Violation>,
    /// Comparisons of each expectation, in their order.
    pub(super) checks: Vec<u64>,
    pub(super) history: History,
    pub(super) simulated: Duration,
}

impl Shown {
    pub(super) fn breaks(&self, property: &str) -> bool {
        self.violations.iter().any(|violation| violation.guarantee == property)
    }
}

/// The case of a seed, with nothing left open.
pub(super) fn case_of(simulation: &Simulation, known: &Known, seed: u64) -> Case {
    let drawn = (simulation.lasting, known.leases.as_slice());
    let plan = fault::draw_mixed(simulation.faults.mix(), &known.facts, drawn, seed);
    Case {
        seed,
        lane: simulation.lane.at(seed),
        replicas: simulation.replicas,
        chaos: simulation.lasting,
        without: Vec::new(),
        plan: plan.and(simulation.faults.pinned()),
    }
}

/// The application as it is but for these parts.
fn without(app: &App, parts: &[String]) -> App {
    if parts.is_empty() {
        return Arc::clone(app);
    }
    let (app, parts) = (Arc::clone(app), parts.to_vec());
    Arc::new(move |host: &Host| app(host).keeping(|part| !parts.contains(&part.to_string())))
}

/// Runs a case.
///
/// # Errors
/// When no engine could be made, or the world itself broke.
pub(super) fn run_case(simulation: &Simulation, known: &Known, case: &Case) -> Result<Shown, String> {
    let app = without(simulation.app.as_ref().ok_or("no application")?, &case.without);
    let engine = engine::renewable(&simulation.engine.1)
        .map_err(|error| format!("cannot make the database engine: {error}"))?;
    let facts = RunFacts { seed: case.seed, replicas: case.replicas, ..known.facts_without(&case.without) };
    // Long enough to demand the bound, and once more for what becomes due meanwhile.
    let heal = 2 * facts.settle_within;
    let outcome = world::run(RunSetup {
        receivers: simulation.receivers.iter().map(super::Receiver::spec).collect(),
        phases: Phases { chaos: case.chaos, partial_heal: heal, heal },
        plan: case.plan.clone(),
        lane: case.lane,
        engine,
        application: simulation.tables.clone(),
        app,
        facts,
        orders: None,
    })?;
    let guarantees = checker::check_all(&outcome.history);
    let mut violations: Vec<_> = guarantees.into_iter().flat_map(|(_, findings)| findings.violations).collect();
    let record = Record::of(&outcome.history).ok_or("the history has no beginning")?;
    let judged: Vec<_> =
        simulation.expectations.iter().map(|expectation| Judgement::of(expectation.as_ref(), &record)).collect();
    let checks = judged.iter().map(|judgement| judgement.checks).collect();
    // What the user asked for comes first: it is what they will understand best.
    violations.splice(0..0, judged.into_iter().flat_map(|judgement| judgement.violations));
    Ok(Shown { case: case.clone(), violations, checks, simulated: outcome.simulated, history: outcome.history })
}
