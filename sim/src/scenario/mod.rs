//! Scenarios: what runs, on how many replicas, for how long, under which faults. Read from TOML files; the format
//! is described in `scenarios/README.md`.

#[cfg(test)]
mod broken;
mod case;
mod duration;
mod editor;
mod error;
mod file;
mod job;
mod pinned;
pub mod planned;
mod queue;
pub(crate) mod queues;
mod regression;
mod round;
mod schedule;
mod service;
pub mod services;
mod shape;
mod table;

pub use case::Case;
pub use duration::{format_duration, parse_duration};
pub use error::ScenarioError;
pub use regression::regression_file;
pub use shape::{
    Enqueues, FaultMix, JobShape, Operates, Orders, Phases, QueueShape, Scenario, ScheduleShape, ServiceShape, Work,
};
