//! The zoo: bugs planted on purpose, each of which the checkers must catch, and the matrix that says whether they do.
//! `docs/ZOO.md` says how to read it and how to add a bug.

mod hunt;
mod matrix;
mod registry;
mod store;
mod walls;

use std::{cell::Cell, collections::BTreeSet, path::Path};

use tourbillon::mutant::{self, Loose};

pub use tourbillon::mutant::Mutant;

pub use hunt::{Hunt, Limits, STRIDE, Start};
pub(crate) use hunt::{in_parallel, run};
pub use matrix::{Line, Matrix, markdown};
pub use registry::{Cage, cage};
pub(crate) use store::{caged, server_stops};
pub(crate) use walls::asked;

use crate::{fault::FaultPlan, scenario::Scenario, verdict::Verdict, world::engine::EngineFactory};

/// A few that are caught soon, by as many properties: for every change.
pub const SUBSET: &[Mutant] = &[
    Mutant::A1,
    Mutant::A2,
    Mutant::A6,
    Mutant::A9,
    Mutant::A14,
    Mutant::A18,
    Mutant::A19,
    Mutant::A21,
    Mutant::A25,
    Mutant::A26,
    Mutant::A29,
];

thread_local! {
    static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Ends with its scope.
struct Chosen(());

impl Drop for Chosen {
    fn drop(&mut self) {
        CHOSEN.set(None);
    }
}

/// The bug of the runs on this thread while the guard lives.
fn with_bug(mutant: Option<Mutant>) -> Chosen {
    CHOSEN.set(mutant);
    Chosen(())
}

/// Lets the chosen bug loose: in the world alone. Whoever judges uses the same code of core, and must not have it.
pub(crate) fn let_loose() -> Loose {
    mutant::let_loose(CHOSEN.get())
}

/// Runs one seed under a plan with a bug loose that goes by the wall clock of whoever asks as that clock is, where
/// elsewhere it makes up an error. A bug that goes by nothing of the kind is what it always is.
///
/// # Errors
/// When no engine could be made, or the world itself broke.
pub fn run_by_walls(
    mutant: Mutant,
    scenario: &Scenario,
    seed: u64,
    plan: &FaultPlan,
    engine: &EngineFactory,
) -> Result<Verdict, String> {
    let _walls = walls::follow();
    hunt::run(Some(mutant), scenario, seed, Some(plan.clone()), &store::caged(engine)).map(|(verdict, _)| verdict)
}

/// Hunts these bugs, and runs the same seeds without them. `scenarios` is the folder of the scenario files; `told` hears
/// of each line as it is there.
///
/// # Errors
/// When a scenario cannot be read.
pub fn visit(
    mutants: &[Mutant],
    scenarios: &Path,
    limits: Limits,
    engine: &EngineFactory,
    told: &mut dyn FnMut(&Line),
) -> Result<Matrix, String> {
    let mut lines = Vec::new();
    let mut runs: Vec<(&'static str, Scenario, BTreeSet<u64>)> = Vec::new();
    for mutant in mutants {
        let line = match cage(*mutant) {
            Cage::Hunted { by, scenario: file } => {
                let mut scenario = Scenario::load(&scenarios.join(file)).map_err(|error| error.to_string())?;
                scenario.orders = scenario.orders.or(limits.orders);
                let hunt = hunt::hunt(*mutant, by, &scenario, limits, engine);
                let seeds = hunt.starts.iter().zip(0..).flat_map(|(start, n)| n * STRIDE..n * STRIDE + start.seeds);
                match runs.iter_mut().find(|(known, ..)| *known == file) {
                    Some((_, _, run)) => run.extend(seeds),
                    None => runs.push((file, scenario, seeds.collect())),
                }
                Line::hunted(*mutant, by, file, &hunt, limits)
            }
            Cage::Outside { test, why } => Line::outside(*mutant, test, why),
            Cage::Impossible { why } => Line::impossible(*mutant, why),
        };
        told(&line);
        lines.push(line);
    }
    let mut unmutated = Vec::new();
    let mut clean = 0;
    for (file, scenario, seeds) in runs {
        clean += seeds.len();
        let broken = hunt::unmutated(&scenario, &seeds, limits.threads, engine);
        unmutated.extend(broken.into_iter().map(|(seed, broken)| format!("{file}, seed {seed}: {broken}")));
    }
    Ok(Matrix { lines, clean_seeds: clean, unmutated, limits })
}
