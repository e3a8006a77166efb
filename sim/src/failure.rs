//! What a person is told when a seed fails: the property, the seed, the smallest plan that still shows it, and one
//! line that replays it.

use std::{fmt, time::Duration};

use crate::{
    checker::Violation,
    fault::{self, FaultPlan},
    history::Phase,
    scenario::{Scenario, regression_file},
    sweep::stopwatch,
    verdict::{Overrides, Verdict, run_seed},
    world::{Lane, engine::EngineFactory},
};

/// Ticks that shrinking tries before that of the seed, coarsest first, on the turmoil lane.
const COARSE_TICKS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(20)];

/// How much may be spent on shrinking.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Runs at most.
    pub runs: u32,
    /// Real time at most.
    pub wall: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { runs: 200, wall: Duration::from_secs(60) }
    }
}

/// A failing seed, explained.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The first violation.
    pub violation: Violation,
    /// How many more there were.
    pub others: usize,
    /// The seed.
    pub seed: u64,
    /// The lane, with its tick.
    pub lane: Lane,
    /// Phase of the run in which the proof was complete.
    pub phase: Option<Phase>,
    /// The smallest plan found that breaks the same guarantee.
    pub shrunk: FaultPlan,
    /// Runs that shrinking took.
    pub runs: u32,
    /// The budget ended the shrinking: a smaller plan may fail too.
    pub exhausted: bool,
    /// Faults and triggers of the plan as drawn.
    pub drawn: usize,
    /// A file for `scenarios/regressions/`.
    pub regression: String,
    /// Replays the seed as it failed.
    pub replay: String,
}

/// Shrinks the plan of a failing seed and says how to replay it. `path` is where the scenario was read from.
///
/// # Errors
/// When the verdict holds no violation, or the world itself broke.
pub fn explain(
    path: &str,
    scenario: &Scenario,
    verdict: &Verdict,
    (engine_name, engine): (&str, &EngineFactory),
    budget: Budget,
) -> Result<Failure, String> {
    let violation = verdict.violations.first().ok_or("nothing was violated")?.clone();
    let elapsed = stopwatch();
    let fails_on = |lane, plan: &FaultPlan| {
        let overrides = Overrides { lane: Some(lane), plan: Some(plan.clone()) };
        run_seed(scenario, verdict.seed, &overrides, engine).is_ok_and(|again| again.breaks(&violation.guarantee))
    };
    // A coarse tick makes every further run many times as fast, if the failure does not need the fine one.
    let at_most = verdict.lane.tick().unwrap_or(Duration::MAX);
    let coarser = COARSE_TICKS.into_iter().filter(|tick| *tick > at_most && budget.runs > 0);
    let mut coarser = coarser.map(|tick| Lane::Turmoil { tick: Some(tick) });
    let lane = coarser.find(|lane| fails_on(*lane, &verdict.plan)).unwrap_or(verdict.lane);
    let still_fails = |plan: &FaultPlan| fails_on(lane, plan);
    let shrunk = fault::shrink(&verdict.plan, still_fails, |runs| runs < budget.runs && elapsed() < budget.wall);
    let phase = violation.events.last().and_then(|last| phase_at(verdict, *last));
    Ok(Failure {
        others: verdict.violations.len() - 1,
        seed: verdict.seed,
        lane: verdict.lane,
        phase,
        runs: shrunk.runs,
        exhausted: shrunk.exhausted,
        drawn: verdict.plan.faults.len() + verdict.plan.triggers.len(),
        regression: regression_file(path, verdict.seed, lane, &shrunk.plan),
        replay: replay_line(path, verdict, engine_name),
        shrunk: shrunk.plan,
        violation,
    })
}

/// The line that runs a seed again as it ran. `path` is where the scenario was read from.
pub fn replay_line(path: &str, verdict: &Verdict, engine_name: &str) -> String {
    let Verdict { seed, lane, .. } = verdict;
    let lane = lane.arguments();
    format!("cargo run --release --bin tourbillon -- sim replay {path} --seed {seed} {lane} --engine {engine_name}")
}

fn phase_at(verdict: &Verdict, event: usize) -> Option<Phase> {
    let events = verdict.history.events.get(..=event)?;
    events.iter().rev().find_map(|event| match event.what {
        crate::history::What::PhaseBegan { phase } => Some(phase),
        _ => None,
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.violation)?;
        if self.others > 0 {
            writeln!(f, "  and {} more in this seed", self.others)?;
        }
        let phase = self.phase.map_or("unknown", |phase| match phase {
            Phase::Chaos => "chaos",
            Phase::PartialHeal => "partial heal",
            Phase::Heal => "heal",
        });
        writeln!(f, "  seed {}, {}, phase {phase}", self.seed, self.lane)?;
        let left = self.shrunk.faults.len() + self.shrunk.triggers.len();
        let out = if self.exhausted { " (out of budget: fewer may do)" } else { "" };
        writeln!(f, "  shrunk from {} faults to {left} in {} runs{out}:", self.drawn, self.runs)?;
        for line in self.regression.lines() {
            writeln!(f, "    {line}")?;
        }
        writeln!(f, "  replay: {}", self.replay)
    }
}
