//! Owns the bugs that are planted on purpose, to see that the simulation catches them: their names, which one is loose
//! on this thread, and how often it was reached. Refuses to know who should catch which (`tourbillon-sim`, `zoo`).
//!
//! Without the feature `mutants`, that is in every normal build, `planted!` is the constant `false` and no bug has as much
//! as a name.

/// Whether a bug is loose here and now. Asked last, after whatever else the wrong branch takes: each `true` is counted as
/// "reached".
#[cfg(not(feature = "mutants"))]
macro_rules! planted {
    ($mutant:ident) => {
        $crate::mutant::never()
    };
}

/// A call, so that lints do not take two bugs in one condition for the same constant.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn never() -> bool {
    false
}

/// Whether a bug is loose here and now. Asked last, after whatever else the wrong branch takes: each `true` is counted as
/// "reached".
#[cfg(feature = "mutants")]
macro_rules! planted {
    ($mutant:ident) => {
        $crate::mutant::is_planted($crate::mutant::Mutant::$mutant)
    };
}

#[cfg(feature = "mutants")]
mod cage;

#[cfg(feature = "mutants")]
pub use cage::{Loose, Mutant, hits, is_planted, let_loose};
