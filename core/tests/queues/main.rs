//! Queues of one replica, on paused time and the in-memory store: what producers are told, what handlers get, how items
//! end. What several replicas and faults do to them is the simulation's business.

mod ahead;
mod alarms;
mod coalescing;
mod forwarding;
mod noticing;
#[path = "../services/paused.rs"]
mod paused;
mod polling;
mod producing;
mod progress;
mod rates;
mod retaining;
mod stage;
mod traces;
mod working;
