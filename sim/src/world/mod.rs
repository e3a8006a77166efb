//! The simulated world: hosts, clocks, links, the database, receivers, and what is done to them.
//!
//! Everything runs on one thread. A *lane* carries hosts and messages: `event` for breadth, `turmoil` for closeness to
//! the wire. The seam is `lane::Carrier` and `net::Net`; everything else here is the same on every lane.

pub mod application;
mod client;
pub mod clock;
mod commits;
mod controller;
mod database;
mod disturbance;
pub mod engine;
mod event;
mod faults;
mod gate;
mod host;
mod lane;
mod net;
mod notices;
mod panics;
mod pool;
mod probe;
mod process;
mod receiver;
mod remote;
mod runtime;
mod strikes;
mod subject;
mod turmoil;
mod unit;
mod wire;

pub use client::Client;
pub use controller::{RunOutcome, RunSetup, run};
pub use host::{App, Host, TablesOf};
pub use lane::Lane;
pub(crate) use panics::PLANNED as PLANNED_PANIC;
pub(crate) use probe::probe;
pub use receiver::{Behaviour, BehaviourFactory, Call, CallError, ReceiverSpec};
pub use unit::Unit;
pub(crate) use wire::APPLICATION;
