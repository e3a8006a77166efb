//! Tick services of one replica, on paused time and the in-memory store: when they tick, what is recorded of it, how
//! they end. What several replicas and faults do to them is the simulation's business.

mod paused;
mod ticking;
