//! Owns which coverage marks this thread has passed, and how often. Knows neither their names nor which there are: those
//! are read from the sources.

use std::{cell::RefCell, collections::BTreeMap};

/// What happened at a line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum How {
    /// A mark was passed.
    Taken,
    /// A checker compared a fact, and it held.
    Held,
    /// A checker compared a fact, and objected.
    Objected,
}

/// A line of this workspace: file, relative to its root, and number, from 1.
pub type Place = (&'static str, u32);

thread_local! {
    static REACHED: RefCell<BTreeMap<(Place, How), u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Counts that this happened at that line, on this thread.
pub fn reach(file: &'static str, line: u32, how: How) {
    REACHED.with_borrow_mut(|reached| *reached.entry(((file, line), how)).or_default() += 1);
}

/// What was reached on this thread since this was last called, and how often; in the order of files and lines.
pub fn take_reached() -> BTreeMap<(Place, How), u64> {
    REACHED.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() {
        sometimes!("this test passes a mark");
    }

    #[test]
    fn what_was_reached_is_told_once_with_its_count() {
        take_reached();
        names();
        names();
        sometimes!("this test passes no mark", 1 > 2);
        let reached: Vec<_> = take_reached().into_iter().collect();
        assert!(matches!(reached[..], [(((file, _), How::Taken), 2)] if file.ends_with("reach.rs")), "{reached:?}");
        assert!(take_reached().is_empty());
    }
}
