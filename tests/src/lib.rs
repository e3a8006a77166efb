//! Tests across crates: the store conformance suite, races on real connections, and what they run on.

pub mod cluster;
pub mod conformance;
pub mod engines;
pub mod races;
pub mod stores;
