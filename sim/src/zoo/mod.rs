//! The zoo: bugs planted on purpose, each of which the checkers must catch, and the matrix that says whether they do.
//! `docs/ZOO.md` says how to read it and how to add a bug.

mod hunt;
mod matrix;
mod registry;
mod store;
mod walls;

use std::{cell::Cell, collections::BTreeMap, path::Path};

use tourbillon::mutant::{self, Loose};

pub use tourbillon::mutant::Mutant;

pub use hunt::{Hunt, Limits, STRIDE, Start};
pub(crate) use hunt::{in_parallel, run};
pub use matrix::{Line, Matrix};
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

/// What a handler of a scenario does first.
pub(crate) fn handler_begins() {
    if mutant::is_planted(Mutant::D18) {
        stray();
    }
}

#[expect(clippy::disallowed_methods, reason = "what nobody may do: it is here to be caught")]
fn stray() {
    drop(tokio::spawn(async {}));
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

/// Hunts these bugs, each with the same seeds without it. `scenarios` is the folder of the scenario files; `told` hears of
/// each line as it is there, and may stop with an error.
///
/// # Errors
/// When a scenario cannot be read, and what `told` said.
pub fn visit(
    mutants: &[Mutant],
    scenarios: &Path,
    limits: Limits,
    engine: &EngineFactory,
    told: &mut dyn FnMut(Line) -> Result<(), String>,
) -> Result<(), String> {
    // Many bugs share a scenario, and many of their seeds: what each of them broke, if anything, without a bug.
    let mut known: BTreeMap<(&'static str, u64), Option<String>> = BTreeMap::new();
    for mutant in mutants {
        let line = match cage(*mutant) {
            Cage::Hunted { by, scenario: file } => {
                let mut scenario = Scenario::load(&scenarios.join(file)).map_err(|error| error.to_string())?;
                scenario.orders = scenario.orders.or(limits.orders);
                let hunt = hunt::hunt(*mutant, by, &scenario, limits, engine);
                let run = hunt.seeds();
                let new: Vec<u64> = run.iter().copied().filter(|seed| !known.contains_key(&(file, *seed))).collect();
                let mut broken = hunt::unmutated(&scenario, &new, limits.threads, engine);
                known.extend(new.into_iter().map(|seed| ((file, seed), broken.remove(&seed))));
                let broken = run.into_iter().filter_map(|seed| {
                    let broken = known.get(&(file, seed))?.as_ref()?;
                    Some(format!("seed {seed}: {broken}"))
                });
                Line::hunted(*mutant, by, file, &hunt, limits, broken.collect())
            }
            Cage::Outside { test, why } => Line::outside(*mutant, test, why),
            Cage::Impossible { why } => Line::impossible(*mutant, why),
        };
        told(line)?;
    }
    Ok(())
}
