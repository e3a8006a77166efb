//! The safe envelope: how far one thing may go wrong before the first guarantee breaks. One axis is moved at a time, on a
//! small world that is made so that the bound of each shows; the checkers judge, and a search finds where they flip.
//!
//! What a guarantee excuses beyond its condition is read without the excuse, too: work that overlaps. Beyond that it knows
//! no guarantee: what flips where is measured. That measured and documented bounds agree is held by
//! `sim/tests/envelope.rs`.

mod axis;
#[cfg(feature = "zoo")]
mod bugs;
mod chart;
mod overlap;
mod search;

pub use axis::Axis;
#[cfg(feature = "zoo")]
pub use bugs::{FLIPS, Flip, Moved, bugs_markdown, bugs_svg, moved};
pub use chart::{markdown, svg};
pub use overlap::{ATTEMPTS, TICKS, overlaps};
pub use search::{Envelope, Reach, Run, envelope, world};
