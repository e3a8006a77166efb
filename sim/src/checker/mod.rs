//! The checkers: one file per guarantee, reading nothing but the history.
//!
//! Unknown stays unknown: a checker accuses only of what the history proves.
//!
//! What all of them share is bookkeeping, not judgement: `track` sorts the history by execution, `topic` by what
//! events are about, `shadow` says what must be true of an execution if every accepted write did what its guarantee
//! promises, `docket` counts and collects. None of it calls the state machine or the stores of core: those are what is being judged.

mod docket;
mod edits;
mod g01_claims;
mod g02_terminal;
mod g03_attempts;
mod g03_backoff;
mod g04_effects;
mod g04_known;
mod g05_future;
mod g05_nothing_lost;
mod g05_runs;
mod g05_slots;
#[cfg(test)]
mod g05_slots_tests;
mod g05_told;
mod g05_window;
mod g06_slots_once;
mod g07_epochs;
mod g07_held;
mod g07_refused;
mod g08_lost_lease;
mod g09_audit;
mod g10_clocks;
mod g11_room;
mod g11_unique;
mod g12_migrations;
mod g13_shutdown;
mod g14_early;
mod g14_listening;
mod g14_pickup;
#[cfg(test)]
mod g14_pickup_tests;
mod g14_progress;
mod g14_renewals;
mod g14_schedule;
mod g14_ticks;
mod g15_overlap;
mod g15_rates;
mod panics;
mod quiet;
mod shadow;
#[cfg(test)]
mod specification;
#[cfg(test)]
mod story;
#[cfg(test)]
mod story_life;
#[cfg(test)]
mod story_locks;
#[cfg(test)]
mod story_queue;
mod topic;
mod track;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use g10_clocks::same_decisions;

use crate::history::History;
use track::Track;

/// A guarantee that was broken, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// `G1` … `G15`, or `PANIC`.
    pub guarantee: String,
    /// What happened, in one sentence that names execution, tokens and instants.
    pub message: String,
    /// Indices of the events that prove it, ascending; the last one completes the proof.
    pub events: Vec<usize>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.guarantee, self.message)
    }
}

/// What a checker found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many individual facts were compared; zero means that the guarantee was not exercised.
    pub checks: u64,
    /// What was broken: the first [`MAX_VIOLATIONS`], in the order of the history where the checker can.
    pub violations: Vec<Violation>,
}

/// Most violations that one checker keeps of one history; a broken store breaks everything after the first.
pub const MAX_VIOLATIONS: usize = 100;

/// A guarantee's checker.
pub struct Checker {
    /// `G1` … `G15`, or `PANIC`.
    pub guarantee: &'static str,
    /// One line for tables.
    pub about: &'static str,
    /// Reads a finished history.
    pub check: fn(&History) -> Findings,
}

macro_rules! checkers {
    ($($guarantee:literal $module:ident $about:literal;)*) => {
        const ALL: &[Checker] = &[$(Checker {
            guarantee: $guarantee,
            about: $about,
            check: |history| $module::judge(&Track::of(history)),
        },)*];
        const JUDGES: &[fn(&Track<'_>) -> Findings] = &[$($module::judge,)*];
    };
}

checkers! {
    "G1" g01_claims "claims have new tokens and growing fences, and take nobody's live lease";
    "G2" g02_terminal "one terminal transition per generation, and nothing after it";
    "G3" g03_attempts "charged attempts stay within the budget; due times and backoff are respected";
    "G4" g04_effects "effects are bounded by handler starts, and those by attempts and give-backs";
    "G5" g05_nothing_lost "every due execution ends with a reason; every slot is made or recorded as skipped";
    "G6" g06_slots_once "one slot, one execution; none early, off the grid or before an edit";
    "G7" g07_epochs "one holder per epoch, epochs grow, and the work of two epochs does not overlap";
    "G8" g08_lost_lease "a lost lease stops its handler and its writes";
    "G9" g09_audit "audit events equal the transitions of audited executions, one to one";
    "G10" g10_clocks "every stored instant is the database's own";
    "G11" g11_unique "at most one live execution per unique key; duplicates were there; one enqueue per request; bounds hold";
    "G12" g12_migrations "steps of the schema are applied once, in order, before anything else";
    "G13" g13_shutdown "a shutdown that says ok has stopped everything and given back what it interrupted";
    "G14" g14_progress "unstarted claims cost nothing; calls have deadlines; services tick after a heal; what is due is planned and picked up";
    "G15" g15_overlap "at most n unexpired leases per limit key; no more claims in a time than a rate allows";
    "PANIC" panics "no task panicked, and none was started past the spawner";
}

/// All checkers that judge a single history, in the order of their numbers. [`same_decisions`] judges a pair.
pub fn all() -> &'static [Checker] {
    ALL
}

/// Runs all checkers over `history`, in the order of [`all`]: the same as calling each, but the history is sorted
/// by execution only once.
pub fn check_all(history: &History) -> Vec<(&'static str, Findings)> {
    let track = Track::of(history);
    ALL.iter().zip(JUDGES).map(|(checker, judge)| (checker.guarantee, judge(&track))).collect()
}

#[cfg(test)]
mod tests {
    use super::Violation;

    #[test]
    fn a_violation_is_told_with_its_guarantee() {
        let (guarantee, message) = ("G5".to_owned(), "execution 1 is gone".to_owned());
        let violation = Violation { guarantee, message, events: vec![1] };
        assert_eq!(violation.to_string(), "G5: execution 1 is gone");
    }
}
