//! Owns the hunt for one planted bug: seeds of its scenario until the right property is broken, from many starts, and the
//! smallest plan that still breaks it. Knows no bug by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tourbillon::mutant::{self, Mutant};

use super::{store, with_bug};
use crate::{
    Lane,
    fault::{self, FaultPlan},
    scenario::{Orders, Scenario},
    sweep::stopwatch,
    verdict::{Overrides, Verdict, run_seed},
    world::engine::EngineFactory,
};

/// First seeds of two starts are so far apart.
pub const STRIDE: u64 = 1_000;
/// Seeds at most on the turmoil lane, from the one on that caught the bug on the event lane.
const TURMOIL_SEEDS: u64 = 20;
/// A tick that is neither slow nor close to any bound of the scenarios.
const TURMOIL_TICK: Duration = Duration::from_millis(20);

/// How long to look, and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Starts: the n-th one begins with seed n · [`STRIDE`].
    pub starts: u64,
    /// Seeds of one start at most; below [`STRIDE`].
    pub seeds: u64,
    /// Starts whose plans are shrunk.
    pub shrinks: u64,
    /// Runs of one shrinking at most.
    pub shrink_runs: u32,
    /// Starts that are hunted on the turmoil lane too.
    pub turmoils: u64,
    /// Simulations at once; 1 or more.
    pub threads: usize,
    /// Disturbs the order of things where the scenario does not.
    pub orders: Option<Orders>,
}

impl Default for Limits {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self { starts: 20, seeds: 500, shrinks: 3, shrink_runs: 120, turmoils: 0, threads, orders: None }
    }
}

/// What one start came to.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Seeds run, the one that caught it included.
    pub seeds: u64,
    /// In how many of them the bug was reached.
    pub reached: u64,
    /// The seed that broke the right property.
    pub caught: Option<u64>,
    /// Other properties that were broken in any seed.
    pub others: BTreeSet<String>,
    /// Nothing but the right property was broken in the seed that caught it.
    pub is_alone: bool,
    /// Faults and triggers of the smallest plan, where one was looked for.
    pub shrunk: Option<usize>,
    /// Whether the turmoil lane caught it too, where it was asked to.
    pub turmoil: Option<bool>,
    /// The harness itself broke with this.
    pub broken: Option<String>,
}

/// What all starts came to.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// In the order of their seeds.
    pub starts: Vec<Start>,
    /// Real time, all threads together.
    pub wall: Duration,
}

impl Hunt {
    /// All seeds that were run, in order.
    pub(super) fn seeds(&self) -> Vec<u64> {
        self.starts.iter().zip(0..).flat_map(|(start, n)| n * STRIDE..n * STRIDE + start.seeds).collect()
    }
}

/// Runs one seed with the bug loose; tells how often it was reached.
pub(crate) fn run(
    mutant: Option<Mutant>,
    scenario: &Scenario,
    seed: u64,
    plan: Option<FaultPlan>,
    engine: &EngineFactory,
) -> Result<(Verdict, u64), String> {
    run_on(mutant, scenario, seed, &Overrides { lane: None, plan }, engine)
}

fn run_on(
    mutant: Option<Mutant>,
    scenario: &Scenario,
    seed: u64,
    overrides: &Overrides,
    engine: &EngineFactory,
) -> Result<(Verdict, u64), String> {
    let _bug = with_bug(mutant);
    let run = || run_seed(scenario, seed, overrides, engine);
    let verdict = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("the harness panicked".to_owned()))?;
    Ok((verdict, mutant::hits()))
}

/// Hunts one bug.
pub(super) fn hunt(mutant: Mutant, by: &str, scenario: &Scenario, limits: Limits, engine: &EngineFactory) -> Hunt {
    let elapsed = stopwatch();
    let engine = store::caged(engine);
    let starts = in_parallel(limits.threads, limits.starts, |start| {
        let mut told = Start::default();
        for seed in (start * STRIDE..).take(usize::try_from(limits.seeds.min(STRIDE)).unwrap_or(usize::MAX)) {
            told.seeds += 1;
            match run(Some(mutant), scenario, seed, None, &engine) {
                Ok((verdict, hits)) => {
                    told.reached += u64::from(hits > 0);
                    let broken: BTreeSet<_> = verdict.violations.iter().map(|one| one.guarantee.clone()).collect();
                    let is_caught = broken.contains(by);
                    told.is_alone = is_caught && broken.len() == 1;
                    told.others.extend(broken.into_iter().filter(|other| other != by));
                    if is_caught {
                        told.caught = Some(seed);
                        if start < limits.shrinks {
                            told.shrunk = Some(shrink(mutant, by, scenario, &verdict, limits.shrink_runs, &engine));
                        }
                        if start < limits.turmoils {
                            match on_turmoil(mutant, by, scenario, seed, &engine) {
                                Ok(is_caught) => told.turmoil = Some(is_caught),
                                Err(error) => told.broken = Some(error),
                            }
                        }
                        break;
                    }
                }
                Err(error) => told.broken = Some(format!("seed {seed}: {error}")),
            }
        }
        told
    });
    Hunt { starts, wall: elapsed() }
}

/// Whether one of a few seeds breaks the property there too: faults and loads are the same, the order of what happens at
/// nearly the same time is not.
fn on_turmoil(
    mutant: Mutant,
    by: &str,
    scenario: &Scenario,
    seed: u64,
    engine: &EngineFactory,
) -> Result<bool, String> {
    let overrides = Overrides { lane: Some(Lane::Turmoil { tick: Some(TURMOIL_TICK) }), plan: None };
    for seed in seed..seed + TURMOIL_SEEDS {
        let (verdict, _) = run_on(Some(mutant), scenario, seed, &overrides, engine)
            .map_err(|error| format!("seed {seed} on the turmoil lane: {error}"))?;
        if verdict.breaks(by) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn shrink(
    mutant: Mutant,
    by: &str,
    scenario: &Scenario,
    verdict: &Verdict,
    runs: u32,
    engine: &EngineFactory,
) -> usize {
    let still_fails = |plan: &FaultPlan| {
        run(Some(mutant), scenario, verdict.seed, Some(plan.clone()), engine).is_ok_and(|(again, _)| again.breaks(by))
    };
    let plan = fault::shrink(&verdict.plan, still_fails, |so_far| so_far < runs).plan;
    plan.faults.len() + plan.triggers.len()
}

/// Runs these seeds without any bug; returns those that broke something, with what.
pub(super) fn unmutated(
    scenario: &Scenario,
    seeds: &[u64],
    threads: usize,
    engine: &EngineFactory,
) -> BTreeMap<u64, String> {
    let engine = store::caged(engine);
    let told = in_parallel(threads, seeds.len() as u64, |index| {
        let seed = seeds[usize::try_from(index).unwrap_or(0)];
        let broken = match run(None, scenario, seed, None, &engine) {
            Ok((verdict, _)) => verdict.violations.first().map(ToString::to_string),
            Err(error) => Some(error),
        };
        broken.map(|broken| (seed, broken))
    });
    told.into_iter().flatten().collect()
}

/// `one(0)` to `one(count − 1)`, so many at once; results in order.
pub(crate) fn in_parallel<T: Send>(threads: usize, count: u64, one: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let results = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let result = one(index);
                    results.lock().unwrap_or_else(PoisonError::into_inner).insert(index, result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}
