//! The simulated world in which the guarantees of Tourbillon are run.

pub mod checker;
pub mod history;
