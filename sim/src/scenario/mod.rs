//! Scenarios: what runs, on how many replicas, for how long, under which faults. Read from TOML files.

mod shape;

pub use shape::{FaultMix, JobShape, Phases, Scenario, Work};
