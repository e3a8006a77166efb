//! A high-availability scheduler and job queue whose guarantees are run, not claimed.
//!
//! This crate is the scheduler: the [model] with its one state machine, the store trait with its executable
//! specification, and the driver. It knows no database and no simulator: `tourbillon-pg` and
//! `tourbillon-sqlite` bring the databases, `tourbillon-sim` the world in which the guarantees G1–G15 are checked.

pub mod model;
pub mod plan;
pub mod runtime;
pub mod store;
