//! Faults as data: what goes wrong, when, to whom. A plan is drawn from a seed, read from a file, shrunk, and
//! printed; the world carries it out.

mod draw;
mod plan;
mod shrink;
mod tree;

pub use draw::{PlanStrategy, draw, draw_any, draw_mixed, strategy};
pub use plan::{Bad, Fault, FaultKind, FaultPlan, Then, Trigger, TriggerPoint};
pub use shrink::{Shrunk, shrink};
pub use tree::PlanTree;
