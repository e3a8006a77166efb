//! Runs a simulation: seed by seed on all cores, the lowest failing one again and again until it is small, and one of
//! those that held a second time, to know that it can be.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    Simulation,
    environment::{self, Asked},
    facts::{self, Known},
    failure::{CheckError, Counterexample},
    run::{Shown, case_of, run_case},
    words,
};
use crate::{
    checker::Violation,
    failure::phase_at,
    history::first_difference,
    scenario::Case,
    shrink::{Room, shrink_case},
    sweep::stopwatch,
    timeline::Timeline,
};

/// What a check that found nothing has looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Seeds run.
    pub seeds: usize,
    /// Comparisons of each expectation, by name, over all seeds.
    pub checks: BTreeMap<String, u64>,
    /// True time simulated, in all.
    pub simulated: Duration,
}

/// As `20 seeds, 7.3 simulated hours`, and a line for each expectation.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seeds, {:.1} simulated hours", self.seeds, self.simulated.as_secs_f64() / 3600.0)?;
        self.checks.iter().try_for_each(|(name, checks)| write!(f, "\n  {checks:>8} comparisons of: {name}"))
    }
}

impl Simulation {
    /// Runs it. Prints how much was looked at when nothing was found.
    ///
    /// # Panics
    /// If a guarantee or an expectation is broken, with all that [`CheckError`] tells; if the simulation is not set up
    /// well; if the application panics while it builds its scheduler.
    #[track_caller]
    pub fn check(self) {
        match self.try_check() {
            // For those who ask: shown with `--nocapture`.
            Ok(held) => println!("simulation `{}` held: {held}", self.name),
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`Simulation::check`], for whoever expects a failure.
    ///
    /// # Errors
    /// [`CheckError`] says what broke, or what must be mended.
    ///
    /// # Panics
    /// If the application panics while it builds its scheduler.
    pub fn try_check(&self) -> Result<Held, CheckError> {
        let asked = environment::asked(&self.seeds, self.part, |name| std::env::var(name).ok());
        self.try_check_as(&asked.map_err(CheckError::Setup)?)
    }

    fn try_check_as(&self, asked: &Asked) -> Result<Held, CheckError> {
        let known =
            facts::learn(self).map_err(|error| CheckError::Setup(format!("simulation `{}`: {error}", self.name)))?;
        self.misfit(&known).map_err(CheckError::Setup)?;
        let cases = match &self.pinned {
            Some(text) => {
                let unreadable = |error: crate::scenario::ScenarioError| CheckError::Setup(error.to_string());
                let case =
                    Case::parse(text, &format!("the case of simulation `{}`", self.name)).map_err(unreadable)?;
                self.misfit_of(&known, &case).map_err(CheckError::Setup)?;
                vec![case]
            }
            None => asked.seeds.iter().map(|seed| case_of(self, &known, *seed)).collect(),
        };
        let swept = self.sweep(&known, &cases)?;
        if let Some(first) = swept.failed {
            return Err(CheckError::Violated(Box::new(self.explain(
                &known,
                first,
                (&cases, asked.keep_in.as_deref()),
            ))));
        }
        // A case that is pinned shows one thing; of a part of the seeds, none may be left.
        let is_sample = self.pinned.is_some() || cases.len() < 2;
        let names = self.expectations.iter().map(|expectation| expectation.name());
        let checks: BTreeMap<_, _> = names.zip(swept.checks).collect();
        if let Some((expectation, _)) = checks.iter().find(|(_, checks)| **checks == 0 && !is_sample) {
            let (simulation, expectation) = (self.name.clone(), expectation.clone());
            return Err(CheckError::Untested { simulation, expectation, seeds: cases.len() });
        }
        self.repeats(&known, cases.first())?;
        Ok(Held { seeds: cases.len(), checks, simulated: swept.simulated })
    }

    /// Runs the cases, in their order, on all cores. The failing one is the first of them all: whatever comes before it
    /// was run.
    fn sweep(&self, known: &Known, cases: &[Case]) -> Result<Swept, CheckError> {
        let next = AtomicUsize::new(0);
        let sum = Mutex::new(Swept { checks: vec![0; self.expectations.len()], ..Swept::default() });
        let lock = || sum.lock().unwrap_or_else(PoisonError::into_inner);
        let threads = thread::available_parallelism().map_or(1, usize::from).min(cases.len()).max(1);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let shown = self.run(known, case);
                        let mut sum = lock();
                        let is_over = !matches!(&shown, Ok(shown) if shown.violations.is_empty());
                        sum.add(case, shown);
                        if is_over {
                            next.store(cases.len(), Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let swept = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
        match swept.broken {
            Some((seed, error)) => Err(CheckError::World { simulation: self.name.clone(), seed, error }),
            None => Ok(swept),
        }
    }

    fn run(&self, known: &Known, case: &Case) -> Result<Shown, String> {
        // Panics of the application are in the history; one of an expectation has been printed.
        let run = catch_unwind(AssertUnwindSafe(|| run_case(self, known, case)));
        run.unwrap_or_else(|_| Err("an expectation panicked, or the simulation itself: see above".to_owned()))
    }

    /// The same seed must have the same history, or no failure could be replayed.
    fn repeats(&self, known: &Known, case: Option<&Case>) -> Result<(), CheckError> {
        let Some(case) = case else { return Ok(()) };
        let world = |error| CheckError::World { simulation: self.name.clone(), seed: case.seed, error };
        let (once, again) = (self.run(known, case).map_err(world)?, self.run(known, case).map_err(world)?);
        match first_difference(&once.history, &again.history) {
            None => Ok(()),
            Some(difference) => {
                let simulation = self.name.clone();
                let difference = difference.to_string();
                Err(CheckError::NotRepeatable { simulation, seed: case.seed, difference })
            }
        }
    }

    fn explain(&self, known: &Known, first: Shown, (cases, keep_in): (&[Case], Option<&Path>)) -> Counterexample {
        let property = first.violations.first().map(|violation| violation.guarantee.clone()).unwrap_or_default();
        let drawn = first.case.clone();
        let mut smallest = first;
        let room = Room {
            parts: known.parts.clone(),
            proved_at: proved_at(&smallest, &property),
            least_chaos: Duration::ZERO,
        };
        let elapsed = stopwatch();
        let budget = self.budget;
        // A case that is pinned was made small before.
        let runs_left = if self.pinned.is_some() { 0 } else { budget.runs };
        let start = smallest.case.clone();
        let shrunk = shrink_case(
            &start,
            &room,
            |case| match self.run(known, case) {
                Ok(shown) if shown.breaks(&property) => {
                    smallest = shown;
                    true
                }
                Ok(_) | Err(_) => false,
            },
            |runs| runs < runs_left && elapsed() < budget.wall,
        );
        let exhausted = (shrunk.exhausted && self.pinned.is_none()).then(|| budget.to_string());
        let of_property = smallest.violations.iter().find(|violation| violation.guarantee == property);
        let violation = of_property.cloned().unwrap_or_else(|| Violation {
            guarantee: property,
            message: "the seed does not fail again".to_owned(),
            events: Vec::new(),
        });
        let mut counterexample = Counterexample {
            simulation: self.name.clone(),
            others: smallest.violations.len().saturating_sub(1),
            phase: violation.events.last().and_then(|last| phase_at(&smallest.history, *last)),
            is_pinned: self.pinned.is_some(),
            seeds: (cases.first().map_or(0, |case| case.seed), cases.last().map_or(0, |case| case.seed)),
            engine: self.engine.0.clone(),
            replay: replay_line(drawn.seed, self.pinned.is_some()),
            drawn,
            smallest: shrunk.case,
            runs: shrunk.runs,
            exhausted,
            story: words::tell(&smallest.history, &violation),
            violation,
            kept: Vec::new(),
        };
        if let Some(folder) = keep_in {
            counterexample.kept = keep(folder, &counterexample, &smallest)
                .unwrap_or_else(|error| vec![PathBuf::from(format!("nothing, {}: {error}", folder.display()))]);
        }
        counterexample
    }
}

/// What the seeds showed together.
#[derive(Default)]
struct Swept {
    checks: Vec<u64>,
    simulated: Duration,
    /// The lowest seed that failed.
    failed: Option<Shown>,
    broken: Option<(u64, String)>,
}

impl Swept {
    fn add(&mut self, case: &Case, shown: Result<Shown, String>) {
        match shown {
            Ok(shown) => {
                for (sum, checks) in self.checks.iter_mut().zip(&shown.checks) {
                    *sum += checks;
                }
                self.simulated += shown.simulated;
                let is_lower = self.failed.as_ref().is_none_or(|failed| shown.case.seed < failed.case.seed);
                if !shown.violations.is_empty() && is_lower {
                    self.failed = Some(shown);
                }
            }
            Err(error) => self.broken = Some((case.seed, error)),
        }
    }
}

/// When the first violation of this property was complete.
fn proved_at(shown: &Shown, property: &str) -> Duration {
    let first = shown.violations.iter().find(|violation| violation.guarantee == property);
    let last = first.and_then(|violation| violation.events.last());
    let event = last.and_then(|last| shown.history.events.get(*last));
    event.map_or(Duration::MAX, |event| Duration::from_micros(event.at_us)).min(shown.case.chaos)
}

/// A case that is pinned needs no seed.
fn replay_line(seed: u64, is_pinned: bool) -> String {
    let name = environment::test_name(thread::current().name(), std::env::args());
    let package = std::env::var("CARGO_PKG_NAME").map_or_else(|_| String::new(), |package| format!(" -p {package}"));
    let seed = if is_pinned { String::new() } else { format!("TOURBILLON_SEED={seed} ") };
    match name {
        Some(name) => format!("{seed}cargo test{package} {name}"),
        None => format!("{seed}cargo test{package}"),
    }
}

/// Writes what is needed to work on a failure on another machine: what was printed, the case, the history, and its
/// picture.
fn keep(folder: &Path, counterexample: &Counterexample, smallest: &Shown) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = counterexample.simulation.chars().map(plain).collect();
    let stem = format!("{name}-seed-{}", counterexample.drawn.seed);
    let path = |ending: &str| folder.join(format!("{stem}.{ending}"));
    fs::write(path("txt"), counterexample.to_string())?;
    fs::write(path("toml"), counterexample.smallest.to_toml())?;
    let mut lines = io::BufWriter::new(fs::File::create(path("history.jsonl"))?);
    smallest.history.write_lines(&mut lines)?;
    io::Write::flush(&mut lines)?;
    // What the counterexample is about comes first.
    let (first, others): (Vec<_>, Vec<_>) =
        smallest.violations.iter().cloned().partition(|violation| *violation == counterexample.violation);
    let timeline = Timeline::of(&smallest.history, &[first, others].concat());
    fs::write(path("html"), timeline.replayed_by(&counterexample.replay).html())?;
    Ok(["txt", "toml", "history.jsonl", "html"].map(path).into())
}

#[cfg(test)]
mod tests {
    use tourbillon::{
        driver::Scheduler,
        job::{Context, HandlerError, Job},
    };

    use super::*;
    use crate::{history::History, simulation::holds, world::Host};

    fn app(host: &Host) -> Scheduler {
        let job =
            Job::new("hello").every(Duration::from_secs(60)).run(|_: Context| async { Ok::<_, HandlerError>(()) });
        Scheduler::builder(host.store()).runtime(host.runtime()).job(job).build().expect("the rules hold")
    }

    fn never() -> Simulation {
        let never = holds("nothing runs", |record, judgement| {
            for attempt in record.attempts("hello") {
                judgement.demand(false, &[attempt.event], || format!("{attempt}"));
            }
        });
        Simulation::new("hello world").lasting(Duration::from_secs(60)).app(app).expect(never)
    }

    #[test]
    fn a_failure_is_kept_where_the_environment_says() {
        let folder = std::env::temp_dir().join(format!("tourbillon-failures-{}", std::process::id()));
        let asked = Asked { seeds: vec![5, 6], keep_in: Some(folder.clone()) };
        let error = never().try_check_as(&asked).expect_err("it runs");
        let counterexample = error.counterexample().expect("a counterexample");
        assert_eq!((counterexample.seeds, counterexample.drawn.seed), ((5, 6), 5));
        let read = |ending: &str| {
            fs::read_to_string(folder.join(format!("hello_world-seed-5.{ending}"))).expect("it was written")
        };
        let case = Case::parse(&read("toml"), "kept").expect("readable");
        assert_eq!(case, counterexample.smallest);
        assert!(read("txt").contains("run it again"), "{}", read("txt"));
        assert!(read("html").contains("nothing runs"));
        let history = History::read_lines(&read("history.jsonl")).expect("readable");
        assert!(counterexample.violation.events.iter().all(|event| *event < history.events.len()));
        fs::remove_dir_all(&folder).expect("it was made here");
    }

    #[test]
    fn a_shrink_without_budget_says_so() {
        let simulation = never().shrinking(crate::Budget { runs: 1, wall: Duration::from_secs(600) });
        let error = simulation.try_check_as(&Asked { seeds: vec![1], keep_in: None }).expect_err("it runs");
        let exhausted = error.counterexample().and_then(|found| found.exhausted.clone());
        assert_eq!(exhausted.as_deref(), Some("out of its budget of 1 runs or 600s"));
    }
}
