//! Runs the trials of a reference run on all cores and adds up what they reached and what they broke.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde::Serialize;

use super::{
    point::{Point, points, struck},
    trial::{Extent, Trial, trials},
};
use crate::{
    checker::Violation,
    fault::{FaultKind, FaultPlan},
    scenario::{Case, Scenario, regression_file},
    sweep::stopwatch,
    verdict::{Overrides, Verdict, run_seed},
    world::{Lane, engine::EngineFactory},
};

/// What is run, and how.
#[derive(Clone, Copy, Debug)]
pub struct Exhaust<'a> {
    /// The reference run: its plan is set aside.
    pub scenario: &'a Scenario,
    /// Its seed.
    pub seed: u64,
    /// One fault a run, or two.
    pub extent: Extent,
    /// Only trials with `number % shards == shard`.
    pub shard: usize,
    /// 1: all of them.
    pub shards: usize,
    /// Only the first so many requests of each verb, as the first of a pair, too; `u32::MAX`: all.
    pub occurrences: u32,
    /// Threads; 1 or more.
    pub threads: usize,
    /// Stop after this many trials with violations.
    pub stop_after: usize,
}

impl<'a> Exhaust<'a> {
    /// All single faults of a scenario's own seed, on one thread per core.
    pub fn new(scenario: &'a Scenario) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let seed = scenario.seed.unwrap_or(0);
        Self {
            scenario,
            seed,
            extent: Extent::Singles,
            shard: 0,
            shards: 1,
            occurrences: u32::MAX,
            threads,
            stop_after: 10,
        }
    }

    fn run(&self, plan: FaultPlan, engine: &EngineFactory) -> Result<Verdict, String> {
        let overrides = Overrides { lane: Some(Lane::Event), plan: Some(plan) };
        run_seed(self.scenario, self.seed, &overrides, engine)
    }
}

/// A trial that broke something.
#[derive(Clone, Debug, Serialize)]
pub struct FailedTrial {
    /// What was struck.
    pub trial: String,
    /// What it broke.
    pub violations: Vec<Violation>,
    /// A file for `scenarios/regressions/`.
    pub regression: String,
}

/// What was tried, reached and broken.
#[derive(Clone, Debug, Serialize)]
pub struct ExhaustReport {
    /// Scenario name.
    pub scenario: String,
    /// The seed of the reference run.
    pub seed: u64,
    /// Engine name.
    pub engine: String,
    /// How often each verb was asked in the reference run.
    pub verbs: BTreeMap<String, u32>,
    /// Faults a run.
    pub faults_per_run: usize,
    /// Cases there are, in all shards.
    pub trials: usize,
    /// Cases that were run.
    pub run: usize,
    /// Cases in which every fault was seen to strike the request that it aimed at.
    pub reached: usize,
    /// The others.
    pub unreached: Vec<String>,
    /// By verb and fault: requests that were struck.
    pub struck: BTreeMap<String, BTreeMap<FaultKind, u64>>,
    /// For runs of two faults: how many pairs (verb, fault), (verb, fault) were met.
    pub pairs_of_verbs: usize,
    /// Facts compared, by guarantee.
    pub checks: BTreeMap<String, u64>,
    /// Violations found.
    pub violations: u64,
    /// Events recorded.
    pub events: u64,
    /// True time simulated, in seconds.
    pub sim_seconds: f64,
    /// Real time, in seconds.
    pub wall_seconds: f64,
    /// Cases with violations, at most `stop_after` of them.
    pub failures: Vec<FailedTrial>,
}

#[derive(Default)]
struct Sum {
    run: usize,
    reached: usize,
    unreached: Vec<String>,
    struck: BTreeMap<String, BTreeMap<FaultKind, u64>>,
    pairs: BTreeSet<Vec<(FaultKind, String)>>,
    checks: BTreeMap<String, u64>,
    violations: u64,
    events: u64,
    simulated: Duration,
    failures: BTreeMap<usize, FailedTrial>,
    broken: Option<String>,
}

impl Sum {
    fn add(&mut self, trial: &Trial, verdict: &Verdict) {
        self.run += 1;
        let seen = struck(&verdict.history);
        let is_reached = seen.len() == trial.strikes.len()
            && trial.strikes.iter().zip(&seen).all(|(strike, (kind, verb))| {
                strike.kind() == *kind && strike.verb.as_ref().is_none_or(|wanted| wanted == verb)
            });
        self.reached += usize::from(is_reached);
        if !is_reached {
            self.unreached.push(trial.to_string());
        }
        for (kind, verb) in &seen {
            *self.struck.entry(verb.clone()).or_default().entry(*kind).or_default() += 1;
        }
        if seen.len() > 1 {
            self.pairs.insert(seen);
        }
        for (guarantee, checks) in &verdict.checks {
            *self.checks.entry((*guarantee).to_owned()).or_default() += checks;
        }
        self.violations += verdict.violations.len() as u64;
        self.events += verdict.history.events.len() as u64;
        self.simulated += verdict.simulated;
    }
}

/// Runs every trial; `progress` is told after each (done, of how many, violations so far). `path` is where the scenario
/// was read from.
///
/// # Errors
/// When the reference run broke a guarantee, which none of its trials could then be blamed for, or when the world itself
/// broke, naming the trial.
pub fn exhaust(
    what: &Exhaust<'_>,
    path: &str,
    (engine_name, engine): (&str, &EngineFactory),
    progress: &(dyn Fn(usize, usize, u64) + Sync),
) -> Result<ExhaustReport, String> {
    let elapsed = stopwatch();
    let reference = what.run(FaultPlan::default(), engine)?;
    if let Some(first) = reference.violations.first() {
        return Err(format!("the run without faults breaks a guarantee already: {first}"));
    }
    let chaos = what.scenario.phases.chaos;
    let until = if what.extent == Extent::Singles { chaos } else { chaos / 2 };
    let points = points(&reference.history, until);
    let mut all = trials(&points, what.extent);
    all.retain(|trial| trial.strikes[0].nth <= what.occurrences);
    let total = all.len();
    let mine: Vec<_> = (0..).zip(all).filter(|(number, _)| number % what.shards.max(1) == what.shard).collect();
    let sum = run_all(what, path, &mine, engine, progress)?;
    let faults_per_run = if what.extent == Extent::Singles { 1 } else { 2 };
    Ok(ExhaustReport {
        scenario: what.scenario.name.clone(),
        seed: what.seed,
        engine: engine_name.to_owned(),
        verbs: count(&points),
        faults_per_run,
        trials: total,
        run: sum.run,
        reached: sum.reached,
        unreached: sum.unreached,
        struck: sum.struck,
        pairs_of_verbs: sum.pairs.len(),
        checks: sum.checks,
        violations: sum.violations,
        events: sum.events,
        sim_seconds: sum.simulated.as_secs_f64(),
        wall_seconds: elapsed().as_secs_f64(),
        failures: sum.failures.into_values().collect(),
    })
}

fn run_all(
    what: &Exhaust<'_>,
    path: &str,
    trials: &[(usize, Trial)],
    engine: &EngineFactory,
    progress: &(dyn Fn(usize, usize, u64) + Sync),
) -> Result<Sum, String> {
    let next = AtomicUsize::new(0);
    let sum = Mutex::new(Sum::default());
    let work = || {
        while let Some((number, trial)) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
            let run = || what.run(trial.plan(), engine);
            let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
                Err("the simulation itself panicked, see above: a bug of the harness".to_owned())
            });
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(verdict) => {
                    sum.add(trial, &verdict);
                    if !verdict.violations.is_empty() {
                        sum.failures.insert(*number, failed(path, what.scenario, trial, verdict));
                    }
                }
                Err(error) => sum.broken = Some(format!("{trial}: {error}")),
            }
            if sum.broken.is_some() || sum.failures.len() >= what.stop_after {
                next.store(trials.len(), Ordering::Relaxed);
            }
            let (done, violations) = (sum.run, sum.violations);
            drop(sum);
            progress(done, trials.len(), violations);
        }
    };
    thread::scope(|scope| {
        for _ in 0..what.threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.unreached.sort();
    match sum.broken.take() {
        Some(broken) => Err(broken),
        None => Ok(sum),
    }
}

fn failed(path: &str, scenario: &Scenario, trial: &Trial, verdict: Verdict) -> FailedTrial {
    let case = Case {
        seed: verdict.seed,
        lane: verdict.lane,
        replicas: scenario.replicas,
        chaos: scenario.phases.chaos,
        without: Vec::new(),
        plan: verdict.plan,
    };
    FailedTrial {
        trial: trial.to_string(),
        regression: regression_file(path, scenario, &case),
        violations: verdict.violations,
    }
}

fn count(points: &[Point]) -> BTreeMap<String, u32> {
    let mut verbs = BTreeMap::new();
    for point in points {
        *verbs.entry(point.verb.clone()).or_default() += 1;
    }
    verbs
}
