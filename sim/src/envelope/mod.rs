//! The safe envelope: how far one thing may go wrong before the first guarantee breaks. One axis is moved at a time, on a
//! small world that is made so that the bound of each shows; the checkers judge, and a search finds where they flip.
//!
//! What a guarantee excuses beyond its condition is read without the excuse, too: work that overlaps. Beyond that it knows
//! no guarantee: what flips where is measured. That measured and documented bounds agree is held by
//! `sim/tests/envelope.rs`.

mod axis;
mod chart;
mod overlap;
mod search;

pub use axis::Axis;
pub use chart::{markdown, svg};
pub use overlap::{ATTEMPTS, TICKS, overlaps};
pub use search::{Envelope, Reach, Run, envelope, world};
