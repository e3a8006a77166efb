//! Exhaustive before random: one short run, and then that run again for every request in it and every fault that a
//! request can meet, each by itself, and in pairs. Nothing is drawn, so what was covered is a number with a whole.
//!
//! It knows neither verbs nor guarantees: what is asked is read from the history of a run without faults, and the
//! checkers of every other run judge.

mod point;
mod run;
mod trial;

pub use point::{Point, points};
pub use run::{Exhaust, ExhaustReport, FailedTrial, exhaust};
pub use trial::{Extent, Strike, Trial, trials};
