//! Faults as data: what goes wrong, when, to whom. A plan is drawn from a seed, read from a file, shrunk, and
//! printed; the world carries it out.

mod plan;

pub use plan::{Bad, Fault, FaultKind, FaultPlan, Then, Trigger, TriggerPoint};
