//! Finds where guarantees flip: doubles until the largest value, then halves the gap around each first violation down to
//! the axis's step. Each value is run once, for all guarantees. Assumes that what is broken by little is broken by much;
//! values between two that held are not tried.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::Serialize;

use super::{ATTEMPTS, Axis, TICKS};
use crate::{
    checker,
    fault::FaultPlan,
    scenario::{Scenario, ScenarioError},
};

/// Runs one seed under a plan and says which guarantees broke, by their numbers, and what [`overlaps`](super::overlaps). What is run is the caller's: the world
/// as it is, or one with a bug planted in it.
pub type Run<'a> = &'a (dyn Fn(u64, &FaultPlan) -> Result<Vec<String>, String> + Sync);

/// Three replicas. Attempts and ticks that hang use their leases up to the end: only trust in time ends them, so that the
/// margin of 10 % is all that protects.
const WORLD: &str = r#"
about = "work that uses its leases up to the end"
replicas = 3
receivers = 1
settle_within = "2m"
phases = { chaos = "4m", partial_heal = "0s", heal = "130s" }
[driver]
plan_interval = "10s"
rescue_interval = "5s"
[leadership]
ttl = "12s"
[[job]]
name = "work"
every = "10s"
run_timeout = "19s"
lease = "20s"
heartbeat = "4s"
max_attempts = 2
backoff = { constant = "2s" }
work = { takes = ["5s", "15s"], hangs_percent = 50 }
[[service]]
name = "scan"
every = "2s"
mode = "tick_lock"
timeout = "40s"
ttl = "12s"
work = { takes = ["10s", "30s"], hangs_percent = 30 }
[[service]]
name = "publish"
every = "2s"
mode = "leader"
timeout = "40s"
work = { takes = ["10s", "30s"], hangs_percent = 30 }
"#;

/// The world that the envelope is measured in.
///
/// # Errors
/// When it cannot be read: a bug of ours.
pub fn world() -> Result<Scenario, ScenarioError> {
    Scenario::parse(WORLD, "envelope.toml")
}

/// How far one axis may go for one guarantee.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Reach {
    /// What is moved.
    pub axis: Axis,
    /// For which guarantee, or reading of [`overlaps`](super::overlaps).
    pub guarantee: String,
    /// The largest value at which it held; 0: none that was tried.
    pub held: i64,
    /// The smallest value at which it broke; `None`: it held at the largest value that was tried.
    pub broke: Option<i64>,
}

/// What was measured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Envelope {
    /// Seeds per value.
    pub seeds: u64,
    /// Runs in all.
    pub runs: u64,
    /// By axis and guarantee, in the order of [`Axis::ALL`] and of the checkers.
    pub reaches: Vec<Reach>,
}

/// Measures these axes with seeds 0, 1, … on so many threads.
///
/// # Errors
/// When a run could not be made, or breaks a guarantee although nothing goes wrong in it.
pub fn envelope(axes: &[Axis], seeds: u64, threads: usize, run: Run<'_>) -> Result<Envelope, String> {
    let broken = tried(seeds, &FaultPlan::default(), run)?;
    if let Some(guarantee) = broken.first() {
        return Err(format!("{guarantee} is broken in a run without faults"));
    }
    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(axis) = axes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let measured = measure(*axis, seeds, run);
                    found.lock().unwrap_or_else(PoisonError::into_inner).insert(*axis, measured);
                }
            });
        }
    });
    let mut envelope = Envelope { seeds, runs: seeds, reaches: Vec::new() };
    for (_, measured) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let (values, reaches) = measured?;
        envelope.runs += values * seeds;
        envelope.reaches.extend(reaches);
    }
    Ok(envelope)
}

fn measure(axis: Axis, seeds: u64, run: Run<'_>) -> Result<(u64, Vec<Reach>), String> {
    let (step, first, last) = axis.range();
    let mut known: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let at = |known: &mut BTreeMap<i64, Vec<String>>, value: i64| -> Result<(), String> {
        if let Entry::Vacant(unknown) = known.entry(value) {
            unknown.insert(tried(seeds, &axis.plan(value), run)?);
        }
        Ok(())
    };
    let mut value = first;
    while value < last {
        at(&mut known, value)?;
        value *= 2;
    }
    at(&mut known, last)?;
    let mut reaches = Vec::new();
    for guarantee in checker::all().iter().map(|checker| checker.guarantee).chain([TICKS, ATTEMPTS]) {
        // A gap of an axis that spans centuries is closed by ratio, one of seconds by the step.
        while let Reach { held, broke: Some(broke), .. } = reach(axis, guarantee, &known)
            && broke - held > step.max(broke / 16)
        {
            at(&mut known, held + (broke - held) / 2 / step * step + if broke - held < 2 * step { step } else { 0 })?;
        }
        reaches.push(reach(axis, guarantee, &known));
    }
    Ok((known.len() as u64, reaches))
}

/// Where a guarantee broke first, and the largest value below at which it held.
fn reach(axis: Axis, guarantee: &str, known: &BTreeMap<i64, Vec<String>>) -> Reach {
    let breaks = |broken: &Vec<String>| broken.iter().any(|broken| broken == guarantee);
    let broke = known.iter().find(|(_, broken)| breaks(broken)).map(|(value, _)| *value);
    let held = known.range(..broke.unwrap_or(i64::MAX)).next_back().map_or(0, |(value, _)| *value);
    Reach { axis, guarantee: guarantee.to_owned(), held, broke }
}

fn tried(seeds: u64, plan: &FaultPlan, run: Run<'_>) -> Result<Vec<String>, String> {
    let mut broken = Vec::new();
    for seed in 0..seeds {
        broken.extend(run(seed, plan)?);
    }
    broken.sort_unstable();
    broken.dedup();
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Bad;

    /// A world in which G8 breaks from 13 % of slowness on, and G1 never.
    fn breaks_from_13_percent(_: u64, plan: &FaultPlan) -> Result<Vec<String>, String> {
        let slow = plan.faults.iter().any(|fault| matches!(fault.bad, Bad::ClockDrift { ppm } if ppm <= -130_000));
        Ok(if slow { vec!["G8".to_owned()] } else { Vec::new() })
    }

    #[test]
    fn the_search_ends_at_the_step_around_the_flip() {
        let measured = envelope(&[Axis::SlowClock], 1, 1, &breaks_from_13_percent).expect("it runs");
        let of = |guarantee: &str| measured.reaches.iter().find(|reach| reach.guarantee == guarantee).cloned();
        let g8 = of("G8").expect("measured");
        assert_eq!((g8.held, g8.broke), (120_000, Some(130_000)));
        let g1 = of("G1").expect("measured");
        assert_eq!((g1.held, g1.broke), (800_000, None));
    }

    #[test]
    fn a_world_that_is_broken_anyway_is_refused() {
        let run = |_: u64, _: &FaultPlan| Ok(vec!["G1".to_owned()]);
        assert!(envelope(&[Axis::Pause], 1, 1, &run).expect_err("refused").contains("G1"));
    }
}
