//! Tick services on paused time and the in-memory store: when they tick, what is recorded of it, how they end, and how two
//! replicas share a lock. What faults do to them is the simulation's business.

mod locked;
mod paused;
mod store;
mod ticking;
