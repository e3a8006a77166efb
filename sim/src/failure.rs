//! What a person is told when a seed fails: the property, the seed, the smallest case that still shows it, and one
//! line that replays it.

use std::{fmt, time::Duration};

use crate::{
    checker::Violation,
    history::{History, Phase, What},
    scenario::{Case, Scenario, format_duration, regression_file},
    shrink::{Room, shrink_case},
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
    /// The case as it was drawn.
    pub drawn: Case,
    /// The smallest case found that breaks the same guarantee.
    pub smallest: Case,
    /// Runs that shrinking took.
    pub runs: u32,
    /// The budget ended the shrinking, in these words: a smaller case may fail too.
    pub exhausted: Option<String>,
    /// A file for `scenarios/regressions/`.
    pub regression: String,
    /// Replays the seed as it failed.
    pub replay: String,
}

/// Makes the case of a failing seed smaller and says how to replay it. `path` is where the scenario was read from.
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
    let fails = |case: &Case| {
        let overrides = Overrides { lane: Some(case.lane), plan: Some(case.plan.clone()) };
        let again = run_seed(&scenario.reduced(case), verdict.seed, &overrides, engine);
        again.is_ok_and(|again| again.breaks(&violation.guarantee))
    };
    let drawn = Case {
        seed: verdict.seed,
        lane: verdict.lane,
        replicas: scenario.replicas,
        chaos: scenario.phases.chaos,
        without: Vec::new(),
        plan: verdict.plan.clone(),
    };
    // A coarse tick makes every further run many times as fast, if the failure does not need the fine one.
    let at_most = verdict.lane.tick().unwrap_or(Duration::MAX);
    let coarser = COARSE_TICKS.into_iter().filter(|tick| *tick > at_most && budget.runs > 0);
    let mut coarser = coarser.map(|tick| Case { lane: Lane::Turmoil { tick: Some(tick) }, ..drawn.clone() });
    let start = coarser.find(&fails).unwrap_or_else(|| drawn.clone());
    let last = violation.events.last().and_then(|last| verdict.history.events.get(*last));
    let room = Room {
        parts: scenario.parts(),
        proved_at: last.map_or(Duration::MAX, |event| Duration::from_micros(event.at_us)).min(start.chaos),
        least_chaos: scenario.least_chaos(),
    };
    let shrunk = shrink_case(&start, &room, fails, |runs| runs < budget.runs && elapsed() < budget.wall);
    let phase = violation.events.last().and_then(|last| phase_at(&verdict.history, *last));
    let base = scenario.based_on.as_deref().unwrap_or(path);
    Ok(Failure {
        others: verdict.violations.len() - 1,
        seed: verdict.seed,
        lane: verdict.lane,
        phase,
        runs: shrunk.runs,
        exhausted: (shrunk.exhausted && budget.runs > 0).then(|| budget.to_string()),
        regression: regression_file(base, scenario, &shrunk.case),
        replay: replay_line(path, verdict, engine_name),
        drawn,
        smallest: shrunk.case,
        violation,
    })
}

/// The line that runs a seed again as it ran. `path` is where the scenario was read from.
pub fn replay_line(path: &str, verdict: &Verdict, engine_name: &str) -> String {
    let Verdict { seed, lane, .. } = verdict;
    let lane = lane.arguments();
    format!("cargo run --release -p tourbillon-cli -- sim replay {path} --seed {seed} {lane} --engine {engine_name}")
}

/// The phase of a run that an event is in.
pub(crate) fn phase_at(history: &History, event: usize) -> Option<Phase> {
    let events = history.events.get(..=event)?;
    events.iter().rev().find_map(|event| match event.what {
        What::PhaseBegan { phase } => Some(phase),
        _ => None,
    })
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of its budget of {} runs or {:?}", self.runs, self.wall)
    }
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
        let (small, drawn) = (&self.smallest, &self.drawn);
        let (faults, of_faults) = (small.plan.len(), drawn.plan.len());
        let (chaos, of_chaos) = (format_duration(small.chaos), format_duration(drawn.chaos));
        write!(
            f,
            "  shrunk in {} runs: {faults} of {of_faults} faults, {} of {} replicas, {chaos} of {of_chaos}",
            self.runs, small.replicas, drawn.replicas
        )?;
        if !small.without.is_empty() {
            write!(f, ", without {}", small.without.join(", "))?;
        }
        writeln!(f)?;
        if let Some(budget) = &self.exhausted {
            writeln!(f, "  ({budget}: an even smaller case may do)")?;
        }
        for line in self.regression.lines() {
            writeln!(f, "    {line}")?;
        }
        writeln!(f, "  replay: {}", self.replay)
    }
}
