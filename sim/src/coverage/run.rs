//! Runs seeds with and without planted bugs, and adds up which marks they reached.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use serde::Serialize;
use tourbillon::mutant::{How, Mutant, Place, take_reached};

use super::{Kind, Mark, marks, reason};
use crate::{
    exhaust::{Exhaust, exhaust},
    scenario::Scenario,
    world::engine::EngineFactory,
    zoo::{self, Cage},
};

/// Files of branches that are met by chance, and seldom, begin so.
const SELDOM: &str = "seldom";
/// How many times as many seeds they get.
const MORE: u64 = 20;

/// What is run.
#[derive(Clone, Debug)]
pub struct Cover {
    /// Scenario and regression files, in the order of reports.
    pub scenarios: Vec<PathBuf>,
    /// Seeds of each scenario: 0, 1, …; one that names its own seed has that one alone, and one of what happens seldom, by the
    /// beginning of its file's name, twenty times as many.
    pub seeds: u64,
    /// Whether every single fault at every request of `exhaustive.toml` is run, too.
    pub is_exhaustive: bool,
    /// Bugs, each loose in the scenario of its cage.
    pub mutants: Vec<Mutant>,
    /// Seeds of each bug.
    pub mutant_seeds: u64,
    /// Simulations at once; 1 or more.
    pub threads: usize,
}

impl Cover {
    /// Everything below `scenarios`, and every bug.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn everything(scenarios: &Path, seeds: u64) -> Result<Self, String> {
        let mut files = Vec::new();
        for folder in [scenarios.to_owned(), scenarios.join("zoo"), scenarios.join("regressions")] {
            let told = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
            let mut here = Vec::new();
            for entry in std::fs::read_dir(&folder).map_err(told)? {
                here.push(entry.map_err(told)?.path());
            }
            here.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
            here.sort();
            files.append(&mut here);
        }
        let mutants = Mutant::ALL.to_vec();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { scenarios: files, seeds, is_exhaustive: true, mutants, mutant_seeds: 20, threads })
    }
}

/// One mark, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What it is about.
    pub kind: Kind,
    /// Its name.
    pub mark: String,
    /// File, relative to the root of the workspace.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// How often it was reached; of an objection, how often it was raised.
    pub times: u64,
    /// In how many runs.
    pub runs: u64,
    /// The first of them: scenario, seed, bug.
    pub first: Option<String>,
    /// Of an objection: how often the fact held.
    pub held: Option<u64>,
    /// Why nothing reaches it, as far as anybody has said.
    pub reason: Option<&'static str>,
}

impl Row {
    /// Whether some run has reached it.
    pub const fn is_reached(&self) -> bool {
        self.runs > 0
    }
}

/// What all runs came to.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    /// Runs without a bug, and with one.
    pub runs: (u64, u64),
    /// Violations in runs without a bug, the first few: there should be none.
    pub violations: Vec<String>,
    /// In the order of files and lines.
    pub rows: Vec<Row>,
}

impl Coverage {
    /// Branches and exemptions that nothing reached, and nobody has said why. (An objection that no bug draws is told of and
    /// is no failure: hand-written histories draw it, beside its checker.)
    pub fn unexplained(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.kind != Kind::Objection && !row.is_reached() && row.reason.is_none())
    }
}

/// Place in the order of runs, so that the first one is the same however many threads there are.
type Order = (usize, u64);

#[derive(Default)]
struct Seen {
    times: u64,
    runs: u64,
    first: Option<(Order, String)>,
}

#[derive(Default)]
struct Sum {
    seen: BTreeMap<(Place, How), Seen>,
    runs: (u64, u64),
    violations: Vec<String>,
}

impl Sum {
    /// Adds what the run that has just ended on this thread has reached.
    fn add(&mut self, order: Order, what: &str, is_wanted: impl Fn(How) -> bool) {
        for ((place, how), times) in take_reached() {
            if !is_wanted(how) {
                continue;
            }
            let seen = self.seen.entry((place, how)).or_default();
            seen.times += times;
            seen.runs += 1;
            if seen.first.as_ref().is_none_or(|(first, _)| order < *first) {
                seen.first = Some((order, what.to_owned()));
            }
        }
    }
}

/// Runs all of it; `told` hears what comes next. `root` is the folder of this workspace.
///
/// # Errors
/// When a scenario or a source cannot be read, when the world itself broke, or when the sources are not those of this
/// build.
pub fn cover(
    what: &Cover,
    root: &Path,
    engine: &EngineFactory,
    told: &mut dyn FnMut(&str),
) -> Result<Coverage, String> {
    let marks = marks(root)?;
    let sum = Mutex::new(Sum::default());
    let shown = |path: &Path| path.strip_prefix(root.join("scenarios")).unwrap_or(path).display().to_string();
    for (n, path) in what.scenarios.iter().enumerate() {
        told(&shown(path));
        let scenario = Scenario::load(path).map_err(|error| error.to_string())?;
        let is_seldom = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SELDOM));
        let many = if is_seldom { what.seeds * MORE } else { what.seeds };
        let (first, count) = scenario.seed.map_or((0, many), |seed| (seed, 1));
        seeds(what.threads, &sum, (n, &shown(path), None), &scenario, (first, count), engine)?;
    }
    if what.is_exhaustive {
        told("every fault at every request");
        every_fault(what.threads, &sum, what.scenarios.len(), &root.join("scenarios/exhaustive.toml"), engine)?;
    }
    let engine = zoo::caged(engine);
    for (n, mutant) in (what.scenarios.len() + 1..).zip(&what.mutants) {
        let Cage::Hunted { scenario: file, .. } = zoo::cage(*mutant) else { continue };
        told(&format!("{file} with {}", mutant.id()));
        let scenario = Scenario::load(&root.join("scenarios").join(file)).map_err(|error| error.to_string())?;
        seeds(what.threads, &sum, (n, file, Some(*mutant)), &scenario, (0, what.mutant_seeds), &engine)?;
    }
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows(marks, sum)
}

fn seeds(
    threads: usize,
    sum: &Mutex<Sum>,
    (order, file, mutant): (usize, &str, Option<Mutant>),
    scenario: &Scenario,
    (first, count): (u64, u64),
    engine: &EngineFactory,
) -> Result<(), String> {
    let runs = zoo::in_parallel(threads, count, |n| {
        let seed = first + n;
        take_reached();
        let ran = zoo::run(mutant, scenario, seed, None, engine);
        let (verdict, _) = match (ran, mutant) {
            (Ok(ran), _) => ran,
            // A bug may break the harness, too: there is nothing to be learned from such a run.
            (Err(_), Some(_)) => return Ok(()),
            (Err(error), None) => return Err(format!("{file}, seed {seed}: {error}")),
        };
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        match mutant {
            None => {
                sum.add((order, seed), &format!("{file}, seed {seed}"), |how| how != How::Objected);
                sum.runs.0 += 1;
                let broken = verdict.violations.first().map(|broken| format!("{file}, seed {seed}: {broken}"));
                sum.violations.extend(broken);
            }
            Some(mutant) => {
                let id = mutant.id();
                sum.add((order, seed), &format!("{id} in {file}, seed {seed}"), |how| how == How::Objected);
                sum.runs.1 += 1;
            }
        }
        Ok(())
    });
    runs.into_iter().collect()
}

fn every_fault(
    threads: usize,
    sum: &Mutex<Sum>,
    order: usize,
    path: &Path,
    engine: &EngineFactory,
) -> Result<(), String> {
    let scenario = Scenario::load(path).map_err(|error| error.to_string())?;
    let what = Exhaust { threads, ..Exhaust::new(&scenario) };
    // Told of on the thread that ran the trial.
    let told = |_, _, _| {
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.add((order, 0), "exhaustive.toml, every fault at every request", |how| how != How::Objected);
        sum.runs.0 += 1;
    };
    let report = exhaust(&what, &path.display().to_string(), ("", engine), &told)?;
    let broken = report.failures.iter().flat_map(|failure| {
        failure.violations.iter().map(move |violation| format!("exhaustive.toml, {}: {violation}", failure.trial))
    });
    sum.lock().unwrap_or_else(PoisonError::into_inner).violations.extend(broken);
    Ok(())
}

fn rows(marks: Vec<Mark>, mut sum: Sum) -> Result<Coverage, String> {
    let known = |place: &Place| marks.iter().any(|mark| (mark.file.as_str(), mark.line) == *place);
    // A comparison that cannot fail is no mark.
    if let Some((((file, line), _), _)) = sum.seen.iter().find(|((place, how), _)| *how != How::Held && !known(place))
    {
        return Err(format!("{file}:{line} was reached, and is no mark: these are not the sources of this build"));
    }
    let mut rows = Vec::new();
    for mark in marks {
        let place = |how| {
            sum.seen.iter().find(|((at, seen), _)| (at.0, at.1) == (mark.file.as_str(), mark.line) && *seen == how)
        };
        let is_objection = mark.kind == Kind::Objection;
        let seen = place(if is_objection { How::Objected } else { How::Taken }).map(|(_, seen)| seen);
        rows.push(Row {
            kind: mark.kind,
            times: seen.map_or(0, |seen| seen.times),
            runs: seen.map_or(0, |seen| seen.runs),
            first: seen.and_then(|seen| seen.first.as_ref()).map(|(_, what)| what.clone()),
            held: is_objection.then(|| place(How::Held).map_or(0, |(_, seen)| seen.times)),
            reason: reason(&mark.name),
            mark: mark.name,
            file: mark.file,
            line: mark.line,
        });
    }
    sum.violations.sort();
    sum.violations.truncate(10);
    Ok(Coverage { runs: sum.runs, violations: sum.violations, rows })
}
