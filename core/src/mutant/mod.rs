//! Owns the bugs that are planted on purpose, to see that the simulation catches them: their names, which one is loose
//! on this thread, and how often it was reached; and the coverage marks: branches of which some seed must be seen to take
//! each. Refuses to know who should catch which, and who should reach what (`tourbillon-sim`: `zoo`, `coverage`).
//!
//! Without the feature `mutants`, that is in every normal build, `planted!` is the constant `false`, `sometimes!` is
//! nothing, and no bug has as much as a name.

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

/// A coverage mark: this line, or this line while the condition holds, is one that some seed must be seen to reach
/// (ADR 44). The name is a sentence, and unique.
#[cfg(not(feature = "mutants"))]
macro_rules! sometimes {
    ($name:literal) => {};
    ($name:literal, $when:expr) => {
        let _ = $crate::mutant::never() && $when;
    };
}

/// A coverage mark: this line, or this line while the condition holds, is one that some seed must be seen to reach
/// (ADR 44). The name is a sentence, and unique.
#[cfg(feature = "mutants")]
macro_rules! sometimes {
    ($name:literal) => {
        $crate::mutant::reach(file!(), line!(), $crate::mutant::How::Taken)
    };
    ($name:literal, $when:expr) => {
        if $when {
            $crate::mutant::reach(file!(), line!(), $crate::mutant::How::Taken)
        }
    };
}

#[cfg(feature = "mutants")]
mod cage;
#[cfg(feature = "mutants")]
mod reach;

#[cfg(feature = "mutants")]
pub use cage::{Loose, Mutant, hits, is_planted, let_loose};
#[cfg(feature = "mutants")]
pub use reach::{How, Place, reach, take_reached};
