//! The simulated world in which the guarantees of Tourbillon are run.

pub mod chance;
pub mod checker;
mod failure;
pub mod fault;
pub mod figures;
pub mod history;
pub mod operator;
pub mod scenario;
mod sweep;
pub mod table;
pub mod timeline;
mod verdict;
pub mod world;

pub use failure::{Budget, Failure, explain, replay_line};
pub use sweep::{SeedResult, Seeds, SweepReport, stopwatch, sweep};
pub use verdict::{Overrides, Verdict, run_seed};
pub use world::{Lane, engine::EngineFactory};
