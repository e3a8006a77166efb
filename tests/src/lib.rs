//! Tests across crates: the store conformance suite, races on real connections, what they run on, and a browser.

pub mod browser;
pub mod certificate;
pub mod cluster;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod engines;
pub mod pooler;
#[cfg(feature = "conformance")]
pub mod races;
#[cfg(feature = "conformance")]
mod spoil;
#[cfg(feature = "conformance")]
pub mod stores;

/// The code in the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// So is the code in the guide.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../docs/guide/quick-start.md")]
    mod quick_start {}
    #[doc = include_str!("../../docs/guide/choosing-a-mode.md")]
    mod choosing_a_mode {}
    #[doc = include_str!("../../docs/guide/testing-your-jobs.md")]
    mod testing_your_jobs {}
    #[doc = include_str!("../../docs/guide/coming-from.md")]
    mod coming_from {}
    #[cfg(feature = "conformance")]
    #[doc = include_str!("../../docs/guide/writing-a-store.md")]
    mod writing_a_store {}
}
