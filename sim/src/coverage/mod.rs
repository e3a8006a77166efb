//! Coverage marks: which branches of the driver some seed has taken, which of their exemptions the checkers have granted,
//! and which of their objections some planted bug has drawn. A branch that no seed reaches is not tested, however many
//! seeds are green; an objection that nothing draws may be one that cannot be drawn.
//!
//! Marks are read from the sources, so that none can be forgotten: `sometimes!` is one, and so is every comparison of a
//! checker. Knows no property, and does not judge a run.

mod marks;
mod reasons;
mod report;
mod run;

use std::panic::Location;

use tourbillon::mutant::{self, How};

pub use marks::{Kind, Mark, marks};
pub use reasons::{explained, reason};
pub use report::markdown;
pub use run::{Cover, Coverage, Row, cover};

/// A checker has compared a fact at that line.
pub(crate) fn demanded(at: &'static Location<'static>, holds: bool) {
    mutant::reach(at.file(), at.line(), if holds { How::Held } else { How::Objected });
}
