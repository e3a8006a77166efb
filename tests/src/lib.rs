//! Tests across crates: the store conformance suite, races on real connections, what they run on, and a browser.

pub mod browser;
pub mod cluster;
pub mod conformance;
pub mod engines;
pub mod pooler;
pub mod races;
mod spoil;
pub mod stores;

/// The code in the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// So is the code in the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/testing-your-jobs.md")]
pub struct Guide;
