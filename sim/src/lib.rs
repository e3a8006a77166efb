//! The simulated world in which the guarantees of Tourbillon are run.

/// Whether a bug is loose here and now; see `tourbillon::mutant`.
#[cfg(not(feature = "zoo"))]
macro_rules! planted {
    ($mutant:ident) => {
        false
    };
}

/// Whether a bug is loose here and now; see `tourbillon::mutant`.
#[cfg(feature = "zoo")]
macro_rules! planted {
    ($mutant:ident) => {
        tourbillon::mutant::is_planted(tourbillon::mutant::Mutant::$mutant)
    };
}

/// A coverage mark: this line while the condition holds is one that some seed must be seen to reach; see
/// `tourbillon::mutant` and `coverage`.
#[cfg(not(feature = "zoo"))]
macro_rules! sometimes {
    ($name:literal) => {};
    ($name:literal, $when:expr) => {
        let _ = || $when;
    };
}

/// A coverage mark: this line while the condition holds is one that some seed must be seen to reach; see
/// `tourbillon::mutant` and `coverage`.
#[cfg(feature = "zoo")]
macro_rules! sometimes {
    ($name:literal) => {
        tourbillon::mutant::reach(file!(), line!(), tourbillon::mutant::How::Taken)
    };
    ($name:literal, $when:expr) => {
        if $when {
            tourbillon::mutant::reach(file!(), line!(), tourbillon::mutant::How::Taken)
        }
    };
}

pub mod chance;
pub mod checker;
#[cfg(feature = "zoo")]
pub mod coverage;
pub mod envelope;
pub mod exhaust;
mod failure;
pub mod fault;
pub mod figures;
pub mod history;
pub mod operator;
pub mod scenario;
pub mod shrink;
pub mod simulation;
mod sweep;
pub mod table;
pub mod timeline;
mod verdict;
pub mod world;
#[cfg(feature = "zoo")]
pub mod zoo;

/// What tests of one's own jobs need, beside `tourbillon::prelude`.
pub mod prelude {
    pub use crate::{
        failure::Budget,
        fault::{Bad, Fault, FaultKind, FaultPlan, Then, Trigger, TriggerPoint},
        history::CallAnswer,
        seed_tests,
        simulation::{
            AttemptSeen, CheckError, Counterexample, EffectSeen, Expectation, Faults, Judgement, Receiver, Record,
            Simulation, effects, holds, slots,
        },
        world::{Call, CallError, Client, Host, Lane},
    };
}

pub use failure::{Budget, Failure, explain, replay_line};
pub use sweep::{SeedResult, Seeds, SweepReport, stopwatch, sweep};
pub use verdict::{Overrides, Verdict, run_seed};
pub use world::{Lane, engine::EngineFactory};
