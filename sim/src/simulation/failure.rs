//! What a person is told when a check fails: what broke, the smallest case that shows it, what happened in it, how to
//! run it again, and a test that keeps it.

use std::{fmt, path::PathBuf};

use crate::{
    checker::{self, Violation},
    history::Phase,
    scenario::{Case, format_duration},
};

/// Why a check failed.
#[derive(Clone, Debug)]
pub enum CheckError {
    /// The simulation cannot be run as it was set up, or the environment variables cannot be read: says what to mend.
    Setup(String),
    /// A guarantee or an expectation was broken.
    Violated(Box<Counterexample>),
    /// This expectation compared nothing in any of so many seeds.
    Untested {
        /// Name of the simulation.
        simulation: String,
        /// Name of the expectation.
        expectation: String,
        /// Seeds run.
        seeds: usize,
    },
    /// Two runs of this seed differ: something in the application does not follow from it.
    NotRepeatable {
        /// Name of the simulation.
        simulation: String,
        /// The seed.
        seed: u64,
        /// The first event that differs, as both runs have it, with those around it, in two columns.
        difference: String,
    },
    /// The world itself broke: a bug of the simulator or of an engine.
    World {
        /// Name of the simulation.
        simulation: String,
        /// The seed.
        seed: u64,
        /// What it said.
        error: String,
    },
}

impl CheckError {
    /// The counterexample, if that is what it is.
    pub fn counterexample(&self) -> Option<&Counterexample> {
        match self {
            Self::Violated(counterexample) => Some(counterexample),
            Self::Setup(_) | Self::Untested { .. } | Self::NotRepeatable { .. } | Self::World { .. } => None,
        }
    }
}

impl std::error::Error for CheckError {}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(message) => f.write_str(message),
            Self::Violated(counterexample) => counterexample.fmt(f),
            Self::Untested { simulation, expectation, seeds } => write!(
                f,
                "simulation `{simulation}` never tested an expectation: {expectation}\n\n  Nothing that it reads \
                 happened in any of {seeds} seeds. Does the job run at all within `.lasting(…)`? Does its handler reach \
                 the receiver?"
            ),
            Self::NotRepeatable { simulation, seed, difference } => write!(
                f,
                "simulation `{simulation}` is not repeatable: two runs of seed {seed} differ\n\n{difference}\n\n  \
                 Everything that a handler does must follow from the seed: time from `Context::sleep` and \
                 `Host::runtime`, tasks from `Context::spawn`, randomness from `Host::runtime` or `Host::seed`; no order \
                 of a `HashMap`; nothing that outlives a run in a `static` or beside the closure of `.app(…)`."
            ),
            Self::World { simulation, seed, error } => {
                write!(f, "simulation `{simulation}`, seed {seed}: the simulated world broke: {error}")
            }
        }
    }
}

/// A failing seed, made small and explained.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// Name of the simulation.
    pub simulation: String,
    /// What was broken, in the smallest case. `guarantee` is `G1` … `G15`, `PANIC`, or the expectation's name.
    pub violation: Violation,
    /// How many more violations there were in that case.
    pub others: usize,
    /// Phase of the run in which the proof was complete.
    pub phase: Option<Phase>,
    /// The case was given by [`replay`](super::Simulation::replay): a test keeps it already.
    pub is_pinned: bool,
    /// The first and the last seed of the check.
    pub seeds: (u64, u64),
    /// What answered inside the database host.
    pub engine: String,
    /// The failing seed as it was drawn, or as it was pinned.
    pub drawn: Case,
    /// The smallest case found that breaks the same.
    pub smallest: Case,
    /// Runs that shrinking took.
    pub runs: u32,
    /// The budget ended the shrinking, in these words; a smaller case may fail too.
    pub exhausted: Option<String>,
    /// What happened in the smallest case, a line for each event that matters.
    pub story: Vec<String>,
    /// The line that runs the seed again.
    pub replay: String,
    /// Where the failure was kept, if it was asked for.
    pub kept: Vec<PathBuf>,
}

impl Counterexample {
    /// A test that keeps the smallest case: it fails until the bug is mended. A function `simulation` next to it builds
    /// the simulation.
    pub fn regression_test(&self) -> String {
        let (seed, property) = (self.smallest.seed, &self.violation.guarantee);
        let name = identifier(&self.simulation);
        let case = self.smallest.to_toml();
        format!(
            "/// {property}.\n#[test]\nfn {name}_seed_{seed}() {{\n    simulation()\n        .replay(\n            \
             r#\"\n{case}\"#,\n        )\n        .check();\n}}\n"
        )
    }
}

/// A name as Rust functions have them.
fn identifier(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = name.chars().map(plain).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("case_{name}") } else { name }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { guarantee, message, .. } = &self.violation;
        write!(f, "simulation `{}` broke: {guarantee}", self.simulation)?;
        // An expectation's name says what it is.
        match checker::all().iter().find(|checker| checker.guarantee == guarantee) {
            Some(checker) => writeln!(f, ", {}\n", checker.about)?,
            None => writeln!(f, "\n")?,
        }
        writeln!(f, "  {message}")?;
        if self.others > 0 {
            writeln!(f, "  and {} more violations in the same run", self.others)?;
        }
        let phase = self.phase.map_or("", |phase| match phase {
            Phase::Chaos => ", while faults come and go",
            Phase::PartialHeal => ", after the faults, when a part was healed",
            Phase::Heal => ", after the faults, when all was healed",
        });
        let (Case { seed, lane, .. }, (first, last)) = (&self.drawn, self.seeds);
        if self.is_pinned {
            writeln!(f, "\n  seed {seed}, as pinned, on {} ({lane}){phase}", self.engine)?;
        } else {
            writeln!(f, "\n  seed {seed} of {first}–{last}, on {} ({lane}){phase}", self.engine)?;
        }
        let (small, drawn) = (&self.smallest, &self.drawn);
        let (faults, of_faults) = (small.plan.len(), drawn.plan.len());
        let (chaos, of_chaos) = (format_duration(small.chaos), format_duration(drawn.chaos));
        if self.runs > 0 {
            write!(
                f,
                "  made smaller in {} runs: {faults} of {of_faults} faults, {} of {} replicas, {chaos} of {of_chaos} \
                 before healing begins",
                self.runs, small.replicas, drawn.replicas
            )?;
            if !small.without.is_empty() {
                write!(f, ", without {}", small.without.join(", "))?;
            }
            writeln!(f)?;
        }
        if let Some(budget) = &self.exhausted {
            writeln!(f, "  ({budget}: an even smaller case may do)")?;
        }
        writeln!(f, "\n  what happened in it (▶ proves it):\n")?;
        for line in &self.story {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "\n  run it again:\n\n    {}\n", self.replay)?;
        if !self.is_pinned {
            writeln!(f, "  keep it, beside the function `simulation` that builds it:\n")?;
            for line in self.regression_test().lines() {
                writeln!(f, "{}{line}", if line.is_empty() { "" } else { "    " })?;
            }
        }
        for path in &self.kept {
            writeln!(f, "\n  kept: {}", path.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        fault::{FaultPlan, Then, Trigger, TriggerPoint},
        world::Lane,
    };

    fn case(replicas: u8, minutes: u64, triggers: usize) -> Case {
        let (after, then) = (TriggerPoint::EffectReceived, Then::PowerLoss);
        let trigger = Trigger { after, of: None, nth: 1, then, lasts_s: 20 };
        let plan = FaultPlan { faults: Vec::new(), triggers: vec![trigger; triggers] };
        let chaos = Duration::from_secs(60 * minutes);
        Case { seed: 3, lane: Lane::Event, replicas, chaos, without: Vec::new(), plan }
    }

    fn counterexample() -> Counterexample {
        let message = "smtp did \"digest\" 2 times, allowed are 1:\n    at    62.004 s by attempt 1 of digest, on \
                       replica-0, not marked\n    at    92.004 s by attempt 1 of digest, on replica-1, marked";
        Counterexample {
            simulation: "daily digest".to_owned(),
            violation: Violation {
                guarantee: "effects on smtp: at most 1 per key".to_owned(),
                message: message.to_owned(),
                events: vec![7, 21],
            },
            others: 2,
            phase: Some(Phase::Chaos),
            is_pinned: false,
            seeds: (0, 19),
            engine: "memory".to_owned(),
            drawn: case(3, 20, 9),
            smallest: Case { without: vec!["job report".to_owned()], ..case(2, 1, 1) },
            runs: 31,
            exhausted: Some("out of its budget of 31 runs or 60s".to_owned()),
            story: vec!["▶     62.004 s  smtp         does \"digest\"".to_owned()],
            replay: "TOURBILLON_SEED=3 cargo test -p mails digest".to_owned(),
            kept: vec![PathBuf::from("failures/daily_digest-seed-3.toml")],
        }
    }

    #[test]
    fn a_counterexample_says_what_broke_how_to_see_it_again_and_how_to_keep_it() {
        insta::assert_snapshot!(counterexample().to_string());
    }

    #[test]
    fn a_pinned_case_is_not_offered_to_be_kept() {
        let pinned = Counterexample { is_pinned: true, ..counterexample() }.to_string();
        assert!(pinned.contains("seed 3, as pinned") && !pinned.contains("keep it"), "{pinned}");
    }

    #[test]
    fn a_guarantee_says_what_it_is() {
        let violation = Violation { guarantee: "G13".to_owned(), ..counterexample().violation };
        let text = Counterexample { violation, ..counterexample() }.to_string();
        assert!(text.starts_with("simulation `daily digest` broke: G13, a shutdown that says ok"), "{text}");
    }

    #[test]
    fn what_is_no_counterexample_says_what_to_mend() {
        let simulation = || "digest".to_owned();
        let untested =
            CheckError::Untested { simulation: simulation(), expectation: "slots of x: …".to_owned(), seeds: 20 };
        let difference = "  event 7\n  once:  {}\n  again: (the history ends here)".to_owned();
        let unrepeatable = CheckError::NotRepeatable { simulation: simulation(), seed: 0, difference };
        insta::assert_snapshot!(format!("{untested}\n\n{unrepeatable}"));
        assert!(untested.counterexample().is_none());
    }

    #[test]
    fn a_test_is_named_as_rust_allows() {
        assert_eq!(identifier("Daily digest (2)"), "daily_digest__2_");
        assert_eq!(identifier("2nd"), "case_2nd");
    }
}
