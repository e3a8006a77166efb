//! Many seeds, on all cores, one simulation per thread.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde::Serialize;

use crate::{
    checker::Violation,
    fault::FaultKind,
    scenario::Scenario,
    verdict::{Overrides, Verdict, run_seed},
    world::engine::EngineFactory,
};

/// Which seeds, and how many at once.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// First seed.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Only seeds with `seed % shards == shard`.
    pub shard: u64,
    /// 1: all of them.
    pub shards: u64,
    /// Threads; 1 or more.
    pub threads: usize,
    /// Stop after this many seeds with violations.
    pub stop_after: u64,
}

impl Seeds {
    /// `count` seeds from `first`, on one thread per core.
    pub fn new(first: u64, count: u64) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self { first, count, shard: 0, shards: 1, threads, stop_after: 10 }
    }

    /// How many will be run if none fails.
    pub fn total(&self) -> u64 {
        (self.first..self.first.saturating_add(self.count)).filter(|seed| seed % self.shards == self.shard).count()
            as u64
    }
}

/// One seed of a sweep.
#[derive(Clone, Debug, Serialize)]
pub struct SeedResult {
    /// The seed.
    pub seed: u64,
    /// Its tick in milliseconds, on a lane that has one.
    pub tick_ms: Option<u64>,
    /// Its history's fingerprint.
    pub history_hash: String,
    /// What it broke.
    pub violations: Vec<Violation>,
}

/// What a sweep showed.
#[derive(Clone, Debug, Serialize)]
pub struct SweepReport {
    /// Scenario name.
    pub scenario: String,
    /// Engine name.
    pub engine: String,
    /// Lane name.
    pub lane: &'static str,
    /// Seeds run.
    pub seeds: u64,
    /// First seed.
    pub first_seed: u64,
    /// Violations found.
    pub violations: u64,
    /// Fingerprint of all histories in the order of their seeds.
    pub history_hash: String,
    /// Facts compared, by guarantee.
    pub checks: BTreeMap<String, u64>,
    /// How often each kind of fault took hold; kinds that the scenario allows and that never did are zero.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Events recorded.
    pub events: u64,
    /// True time simulated, in seconds.
    pub sim_seconds: f64,
    /// Real time, in seconds.
    pub wall_seconds: f64,
    /// Seeds with violations, at most `stop_after` of them.
    pub failures: Vec<SeedResult>,
}

#[derive(Default)]
struct Sum {
    hashes: BTreeMap<u64, String>,
    checks: BTreeMap<String, u64>,
    faults: BTreeMap<FaultKind, u64>,
    events: u64,
    violations: u64,
    simulated: Duration,
    failures: BTreeMap<u64, SeedResult>,
    broken: Option<String>,
}

impl Sum {
    fn add(&mut self, verdict: &Verdict) {
        self.hashes.insert(verdict.seed, verdict.hash.to_string());
        for (guarantee, checks) in &verdict.checks {
            *self.checks.entry((*guarantee).to_owned()).or_default() += checks;
        }
        for (kind, fired) in &verdict.fired {
            *self.faults.entry(*kind).or_default() += fired;
        }
        self.events += verdict.history.events.len() as u64;
        self.simulated += verdict.simulated;
        self.violations += verdict.violations.len() as u64;
        if !verdict.violations.is_empty() {
            self.failures.insert(
                verdict.seed,
                SeedResult {
                    seed: verdict.seed,
                    tick_ms: verdict.tick_ms(),
                    history_hash: verdict.hash.to_string(),
                    violations: verdict.violations.clone(),
                },
            );
        }
    }
}

/// Runs the seeds; `progress` is told after each (done, violations so far).
///
/// # Errors
/// When the world itself broke, naming the seed.
pub fn sweep(
    scenario: &Scenario,
    seeds: Seeds,
    overrides: &Overrides,
    (engine_name, engine): (&str, &EngineFactory),
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<SweepReport, String> {
    let started = stopwatch();
    let next = AtomicU64::new(seeds.first);
    let end = seeds.first.saturating_add(seeds.count);
    let sum = Mutex::new(Sum::default());
    let lock = || sum.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        for _ in 0..seeds.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    if seed % seeds.shards.max(1) != seeds.shard {
                        continue;
                    }
                    // A checker that panics must not take the number of its seed with it.
                    let run = || run_seed(scenario, seed, overrides, engine);
                    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
                        Err("the simulation itself panicked, see above: a bug of the harness or of an engine"
                            .to_owned())
                    });
                    let mut sum = lock();
                    match result {
                        Ok(verdict) => sum.add(&verdict),
                        Err(error) => sum.broken = Some(format!("seed {seed}: {error}")),
                    }
                    let stop = sum.broken.is_some() || sum.failures.len() as u64 >= seeds.stop_after;
                    let (done, violations) = (sum.hashes.len() as u64, sum.violations);
                    drop(sum);
                    progress(done, violations);
                    if stop {
                        next.store(end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(broken) = sum.broken {
        return Err(broken);
    }
    let mut faults: BTreeMap<_, _> = scenario.faults.kinds.iter().map(|kind| (*kind, 0)).collect();
    faults.extend(sum.faults);
    Ok(SweepReport {
        scenario: scenario.name.clone(),
        engine: engine_name.to_owned(),
        lane: overrides.lane_of(scenario).name(),
        seeds: sum.hashes.len() as u64,
        first_seed: seeds.first,
        violations: sum.violations,
        history_hash: fold_hashes(sum.hashes.values()),
        checks: sum.checks,
        faults,
        events: sum.events,
        sim_seconds: sum.simulated.as_secs_f64(),
        wall_seconds: started().as_secs_f64(),
        failures: sum.failures.into_values().collect(),
    })
}

/// One hash for many: a single one stays as it is, so that a replayed seed is recognised.
fn fold_hashes<'a>(mut hashes: impl ExactSizeIterator<Item = &'a String>) -> String {
    use sha2::{Digest, Sha256};
    if hashes.len() == 1 {
        return hashes.next().cloned().unwrap_or_default();
    }
    let mut digest = Sha256::new();
    for hash in hashes {
        digest.update(hash.as_bytes());
    }
    digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Starts to measure real time; for reports.
#[expect(
    clippy::disallowed_methods,
    reason = "reports say how much real time a sweep took; nothing simulated sees it"
)]
pub fn stopwatch() -> impl Fn() -> Duration {
    let started = std::time::Instant::now();
    move || started.elapsed()
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::{Seeds, sweep};
    use crate::{
        scenario::Scenario,
        verdict::Overrides,
        world::engine::{Engine, EngineFactory},
    };

    #[test]
    fn a_panic_of_the_harness_is_told_with_its_seed() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/planned-executions.toml");
        let scenario = Scenario::load(&file).expect("the scenario is readable");
        let engine: EngineFactory = Arc::new(|| -> Result<Box<dyn Engine + Send>, _> { panic!("no engine today") });
        let told = sweep(&scenario, Seeds::new(7, 1), &Overrides::default(), ("none", &engine), &|_, _| {});
        let told = told.expect_err("nothing was run");
        assert!(told.starts_with("seed 7: ") && told.contains("panicked"), "{told}");
    }
}
