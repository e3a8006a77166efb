//! Where two histories part. Owns the comparison and how it is shown; judges nothing.

use std::fmt;

use super::{Event, History};

/// Events shown before the first that differs, and after it.
const BEFORE: usize = 3;
const AFTER: usize = 2;

/// Columns of each side.
const SIDE: usize = 78;

/// Two histories that are not the same, from a little before the first event that differs.
///
/// It displays itself as two columns:
///
/// ```
/// use tourbillon_sim::history::{Event, History, HostId, Phase, What, first_difference};
///
/// let one = |phase| History {
///     events: vec![Event { at_us: 0, host: HostId::World, what: What::PhaseBegan { phase } }],
/// };
/// let difference = first_difference(&one(Phase::Chaos), &one(Phase::Heal)).expect("they differ");
/// assert_eq!(difference.event, 0);
/// assert!(difference.to_string().contains("≠ 0"));
/// assert!(first_difference(&one(Phase::Heal), &one(Phase::Heal)).is_none());
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Number of the first event that differs, from 0; that of the end of the shorter history if one goes on.
    pub event: usize,
    /// Number of the first event in both excerpts.
    pub from: usize,
    /// The left history from there.
    pub left: Vec<Event>,
    /// The right history from there.
    pub right: Vec<Event>,
    /// How long the histories are.
    pub lengths: (usize, usize),
}

/// The first event that two histories do not share, with those around it; `None` when they are equal.
pub fn first_difference(left: &History, right: &History) -> Option<Difference> {
    let lengths = (left.events.len(), right.events.len());
    let shared = left.events.iter().zip(&right.events).take_while(|(left, right)| left == right).count();
    if shared == lengths.0 && shared == lengths.1 {
        return None;
    }
    let from = shared.saturating_sub(BEFORE);
    let excerpt =
        |history: &History| history.events.iter().skip(from).take(shared - from + 1 + AFTER).cloned().collect();
    Some(Difference { event: shared, from, left: excerpt(left), right: excerpt(right), lengths })
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right) = self.lengths;
        writeln!(f, "the first {} events are the same, of {left} on the left and {right} on the right", self.event)?;
        let parts = self.parts();
        for row in 0..self.left.len().max(self.right.len()) {
            let number = self.from + row;
            let mark = if number == self.event { '≠' } else { ' ' };
            let around = if number == self.event { parts } else { 0 };
            let (left, right) = (shown(self.left.get(row), around), shown(self.right.get(row), around));
            writeln!(f, "{mark} {number:<7} {left:<SIDE$} │ {right}")?;
        }
        Ok(())
    }
}

impl Difference {
    /// How many characters the two events that differ share in the beginning.
    fn parts(&self) -> usize {
        let at = self.event - self.from;
        let (Some(left), Some(right)) = (self.left.get(at), self.right.get(at)) else { return 0 };
        line(left).chars().zip(line(right).chars()).take_while(|(left, right)| left == right).count()
    }
}

fn line(event: &Event) -> String {
    serde_json::to_string(event).unwrap_or_else(|error| format!("not to be shown: {error}"))
}

/// One line, cut to its column around the character `at`, so that what differs is in it.
fn shown(event: Option<&Event>, at: usize) -> String {
    let Some(event) = event else { return "(the history ends here)".to_owned() };
    let line = line(event);
    let skipped = at.saturating_sub(SIDE / 2);
    let mut shown: String = if skipped > 0 { "…" } else { "" }.to_owned();
    shown.extend(line.chars().skip(skipped).take(SIDE - 2));
    if line.chars().count() > skipped + SIDE - 2 {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{HostId, What};

    fn history(tasks: &[u64]) -> History {
        let event = |(at_us, tasks): (u64, &u64)| Event {
            at_us,
            host: HostId::Replica(0),
            what: What::Panicked { message: format!("{}{tasks}", "a long message ".repeat(8)) },
        };
        History { events: (0..).zip(tasks).map(event).collect() }
    }

    #[test]
    fn equal_histories_do_not_differ() {
        assert_eq!(first_difference(&history(&[1, 2, 3]), &history(&[1, 2, 3])), None);
        assert_eq!(first_difference(&History::default(), &History::default()), None);
    }

    #[test]
    fn the_first_event_that_differs_is_shown_side_by_side_with_its_neighbours() {
        let (left, right) = (history(&[1, 2, 3, 4, 5, 6, 7, 8]), history(&[1, 2, 3, 4, 9, 6, 7, 8]));
        let difference = first_difference(&left, &right).expect("they differ");
        assert_eq!((difference.event, difference.from), (4, 1));
        assert_eq!((difference.left.len(), difference.right.len()), (6, 6));
        let text = difference.to_string();
        let marked: Vec<_> = text.lines().filter(|line| line.starts_with('≠')).collect();
        let [marked] = marked.as_slice() else { panic!("not one line is marked:\n{text}") };
        let (left, right) = marked.split_once('│').expect("two columns");
        assert!(left.contains("a long message 5") && right.contains("a long message 9"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 2 * SIDE + 14), "{text}");
    }

    #[test]
    fn a_history_that_goes_on_differs_where_the_other_ends() {
        let difference = first_difference(&history(&[1, 2]), &history(&[1, 2, 3])).expect("they differ");
        assert_eq!((difference.event, difference.lengths), (2, (2, 3)));
        assert!(difference.to_string().contains("(the history ends here)"), "{difference}");
    }
}
