//! The simulated world in which the guarantees of Tourbillon are run.

pub mod checker;
pub mod fault;
pub mod history;
pub mod scenario;
