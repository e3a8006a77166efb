//! Runs a workload's variants over all classes and seeds, on all cores, and puts the table together. The result
//! depends on the workload and the seeds alone: neither on the number of threads nor on the engine.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde::Serialize;

use super::{Cell, FaultClass, Finding, Hits, Judged, Reading, Row, Seen, Workload, find, hits, judge, plan};
use crate::{
    checker::{self, Violation},
    fault::FaultPlan,
    history::History,
    world::{
        self, RunSetup,
        engine::{self, EngineFactory},
    },
};

/// One run of a cell.
#[derive(Clone, Debug)]
pub struct CellRun {
    /// What went wrong on purpose.
    pub plan: FaultPlan,
    /// What the workload read.
    pub readings: Vec<Reading>,
    /// How often faults hit each row, in the order of the rows.
    pub hits: Vec<Hits>,
    /// What the checkers of the guarantees say.
    pub violations: Vec<Violation>,
    /// True time that passed.
    pub simulated: Duration,
    /// Everything that happened.
    pub history: History,
}

impl CellRun {
    /// Whatever is wrong with the run: guarantees that broke, and rows over their bounds under the names of the rows.
    pub fn broken(&self) -> Vec<Violation> {
        let rows = self.readings.iter().filter(|reading| reading.is_broken()).map(|reading| {
            let Reading { row, measure, count, bound, evidence, events } = reading;
            let message = format!("{measure}: {count}, bound {bound}: {evidence}");
            Violation { guarantee: (*row).to_owned(), message, events: events.clone() }
        });
        self.violations.iter().cloned().chain(rows).collect()
    }
}

/// Runs one cell with one seed.
///
/// # Errors
/// When no engine could be made, or the world itself broke.
pub fn run_cell(workload: &dyn Workload, cell: &Cell<'_>, engine: &EngineFactory) -> Result<CellRun, String> {
    let rows = workload.rows(cell.variant);
    let trial = workload.trial(cell);
    let plan = plan(cell, &trial, &rows);
    let outcome = world::run(RunSetup {
        facts: trial.facts,
        receivers: trial.receivers,
        phases: trial.phases,
        plan: plan.clone(),
        lane: trial.lane,
        engine: engine::renewable(engine).map_err(|error| format!("cannot make the database engine: {error}"))?,
        app: trial.app,
        application: trial.application,
        orders: None,
    })?;
    let readings = workload.read(cell, &outcome.history);
    let hits = hits(&rows, &outcome.history);
    let violations = checker::check_all(&outcome.history).into_iter().flat_map(|(_, f)| f.violations).collect();
    Ok(CellRun { plan, readings, hits, violations, simulated: outcome.simulated, history: outcome.history })
}

/// A guarantee of the library that broke in a run of the table, whatever the rows say.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    /// Variant of the workload.
    pub variant: String,
    /// The column.
    pub class: FaultClass,
    /// The seed.
    pub seed: u64,
    /// What was broken first.
    pub violation: Violation,
}

/// A computed table.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// Name of the workload.
    pub workload: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its variants.
    pub variants: Vec<&'static str>,
    /// Rows by variant, in the order of the table.
    pub rows: BTreeMap<String, Vec<Row>>,
    /// The columns.
    pub classes: Vec<FaultClass>,
    /// First seed of each cell.
    pub first_seed: u64,
    /// Seeds of each cell.
    pub seeds: u64,
    /// By variant, row, column.
    pub cells: Vec<Judged>,
    /// What became of documented claims.
    pub findings: Vec<Finding>,
    /// Guarantees of the library that broke; every run is held against all of them.
    pub broken: Vec<Broken>,
    /// Simulations.
    pub runs: u64,
    /// True time simulated in all of them, in seconds.
    pub sim_seconds: u64,
}

impl Table {
    /// The cells of a row, in the order of the columns.
    pub fn cells_of<'t>(&'t self, variant: &'t str, row: &'t str) -> impl Iterator<Item = &'t Judged> {
        self.cells.iter().filter(move |cell| cell.variant == variant && cell.row == row)
    }
}

/// Which runs a table is computed of.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// First seed.
    pub first_seed: u64,
    /// Seeds per variant and column; one run each, for all rows together.
    pub seeds: u64,
    /// Simulations at once, 1 or more.
    pub threads: usize,
}

/// What is kept of a run.
struct Kept {
    readings: Vec<Reading>,
    hits: Vec<Hits>,
    violation: Option<Violation>,
    simulated: Duration,
}

/// Computes the table; `progress` is told after each run how many are done.
///
/// # Errors
/// When the world itself broke, naming variant, class and seed.
pub fn compute(
    workload: &dyn Workload,
    span: Span,
    engine: &EngineFactory,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Table, String> {
    let mut cells = Vec::new();
    for variant in workload.variants() {
        for class in FaultClass::ALL {
            let seeds = span.first_seed..span.first_seed.saturating_add(span.seeds);
            cells.extend(seeds.map(|seed| Cell { variant, class: *class, seed }));
        }
    }
    let kept = run_all(workload, &cells, span.threads, engine, progress)?;
    Ok(put_together(workload, span, &cells, &kept))
}

/// How many runs a table takes.
pub fn runs_of(workload: &dyn Workload, seeds: u64) -> u64 {
    workload.variants().len() as u64 * FaultClass::ALL.len() as u64 * seeds
}

fn run_all(
    workload: &dyn Workload,
    cells: &[Cell<'_>],
    threads: usize,
    engine: &EngineFactory,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Kept>, String> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let done = Mutex::new(BTreeMap::new());
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(cell) = cells.get(index) else { return };
                    match run_cell(workload, cell, engine) {
                        Ok(run) => {
                            let kept = Kept {
                                readings: run.readings,
                                hits: run.hits,
                                violation: run.violations.into_iter().next(),
                                simulated: run.simulated,
                            };
                            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                            done.insert(index, kept);
                            let count = done.len() as u64;
                            drop(done);
                            progress(count);
                        }
                        Err(error) => {
                            let Cell { variant, class, seed } = cell;
                            let error = format!("{variant}, {class}, seed {seed}: {error}");
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()),
    }
}

fn put_together(workload: &dyn Workload, span: Span, cells: &[Cell<'_>], kept: &[Kept]) -> Table {
    let mut table = Table {
        workload: workload.name(),
        about: workload.about(),
        variants: workload.variants().to_vec(),
        rows: BTreeMap::new(),
        classes: FaultClass::ALL.to_vec(),
        first_seed: span.first_seed,
        seeds: span.seeds,
        cells: Vec::new(),
        findings: Vec::new(),
        broken: Vec::new(),
        runs: kept.len() as u64,
        sim_seconds: kept.iter().map(|run| run.simulated).sum::<Duration>().as_secs(),
    };
    for (cell, run) in cells.iter().zip(kept) {
        if let Some(violation) = run.violation.clone() {
            let variant = cell.variant.to_owned();
            table.broken.push(Broken { variant, class: cell.class, seed: cell.seed, violation });
        }
    }
    for variant in workload.variants() {
        let rows = workload.rows(variant);
        for (number, row) in rows.iter().enumerate() {
            let first = table.cells.len();
            for class in FaultClass::ALL {
                let runs =
                    cells.iter().zip(kept).filter(|(cell, _)| cell.variant == *variant && cell.class == *class);
                let seen: Vec<_> = runs.map(|(cell, run)| seen(cell.seed, run, number, row)).collect();
                table.cells.push(judge(variant, row, *class, workload.promise(variant, row, *class), &seen));
            }
            table.findings.extend(find(variant, row, &Vec::from_iter(&table.cells[first..])));
        }
        table.rows.insert((*variant).to_owned(), rows);
    }
    table
}

fn seen(seed: u64, run: &Kept, number: usize, row: &Row) -> Seen {
    let readings = run.readings.iter().filter(|reading| reading.row == row.id).cloned().collect();
    Seen { seed, readings, hits: run.hits[number].clone() }
}
