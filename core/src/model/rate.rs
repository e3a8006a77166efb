//! Owns how often rows of one key may be claimed: turns, one behind the other. Pure; knows no rows and no database.
//!
//! A generic cell rate: all that is kept of a key is from when its next turn is, and when the last was taken.

use serde::{Deserialize, Serialize};

use super::{JobName, Timestamp};

/// Longest distance of two turns, and longest time that a rest may make up for, in microseconds: 366 days.
pub const MAX_TURN_US: u64 = 366 * 86_400 * 1_000_000;

/// How often the rows of each [limit key](super::Limit::key) may be claimed (G15). In any time of d microseconds at most
/// `burst` − 1 + ⌈d ∕ `turn_us`⌉ claims of one key are made, by the database clock.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Rate {
    /// The key of all rows of the queue, where they have one in common: while it has no turn, nothing is claimed at all.
    /// `None`: keys differ from row to row, and each has turns of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A turn comes every so many microseconds: 1 to [`MAX_TURN_US`].
    pub turn_us: u64,
    /// How many turns a key may take at once after a rest; 1: none that it left unused. 1 or more, and the turns beyond
    /// the first within [`MAX_TURN_US`].
    pub burst: u32,
}

/// The turns of a limit key: what a store keeps of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gate {
    /// The limit key.
    pub key: String,
    /// Whose rows took its last turn.
    pub queue: JobName,
    /// When.
    pub charged_at: Timestamp,
    /// From when its next turn may be taken: at most one turn after `charged_at`, and before it where a rest left some.
    pub opens_at: Timestamp,
    /// [`Rate::turn_us`] of the claim that took it; 0: it was taken before this was kept.
    pub turn_us: u64,
    /// [`Rate::burst`] of that claim.
    pub burst: u32,
}

/// How the turns of a queue stand, for operators. Stores know a rate by the claims that come with it: this is the one under which
/// the key that is shut for the longest took its last turn.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Turns {
    /// A turn comes every so many microseconds.
    pub turn_us: u64,
    /// How many turns a key may take at once after a rest.
    pub burst: u32,
    /// Limit keys that have no turn now; with one key for the whole queue, 1 says that nothing of it may be claimed.
    pub shut: u64,
    /// When the first of them gets one.
    pub next_at: Option<Timestamp>,
}

impl Gate {
    /// Whether a store may forget it: no claim took a turn since `unused_since`, and a key that rested for this long has
    /// all turns of its burst, as one has that never took any.
    pub fn is_rested(&self, now: Timestamp, unused_since: Timestamp) -> bool {
        let burst_us = self.turn_us.saturating_mul(u64::from(self.burst.saturating_sub(1)));
        let whole_from = self.opens_at.offset_micros(i64::try_from(burst_us).unwrap_or(i64::MAX));
        self.charged_at < unused_since && whole_from <= now
    }
}

impl Rate {
    /// From when a claim under this rate may take a turn of the key. A gate that was charged under a slower rate is not
    /// waited for any longer than for a turn of this one.
    pub fn opens_at(&self, gate: &Gate) -> Timestamp {
        gate.opens_at.min(gate.charged_at.offset_micros(self.turn()))
    }

    /// Whether a turn may be taken now. A key that never took one may.
    pub fn is_open(&self, gate: Option<&Gate>, now: Timestamp) -> bool {
        gate.is_none_or(|gate| self.opens_at(gate) <= now)
    }

    /// The gate when a turn is taken at `now`, which it [may be](Self::is_open).
    #[must_use]
    pub fn charge(&self, gate: Option<&Gate>, key: &str, queue: &JobName, now: Timestamp) -> Gate {
        // A rest longer than this leaves no more turns than the burst.
        let oldest = now.offset_micros(-self.turn().saturating_mul(i64::from(self.burst) - 1));
        let from = gate.map_or(oldest, |gate| self.opens_at(gate).max(oldest));
        Gate {
            key: key.to_owned(),
            queue: queue.clone(),
            charged_at: now,
            opens_at: from.offset_micros(self.turn()),
            turn_us: self.turn_us,
            burst: self.burst,
        }
    }

    /// What is wrong with a rate for a claim of this many jobs, and the mend.
    pub(crate) fn broken(&self, jobs: usize) -> Option<String> {
        let rest_us = u128::from(self.turn_us) * u128::from(self.burst.saturating_sub(1));
        Some(match self {
            _ if jobs != 1 => format!("a rate for {jobs} jobs: claim for each queue that has one by itself"),
            _ if self.turn_us == 0 || self.turn_us > MAX_TURN_US => {
                format!("a turn every {} us, allowed are 1 to {MAX_TURN_US}", self.turn_us)
            }
            _ if self.burst == 0 => "a burst of 0: at 1 nothing is made up for".to_owned(),
            _ if rest_us > u128::from(MAX_TURN_US) => {
                format!("a burst that makes up for {rest_us} us, at most {MAX_TURN_US} are allowed")
            }
            _ => return None,
        })
    }

    fn turn(&self) -> i64 {
        i64::try_from(self.turn_us).unwrap_or(i64::MAX)
    }
}

/// Moves a gate that was charged in a future which the database clock has withdrawn to the present: it is shut for as long
/// as it was then.
pub(crate) fn clamp_to_present(gate: &mut Gate, now: Timestamp) {
    let withdrawn = gate.charged_at.as_micros() - now.as_micros();
    gate.opens_at = gate.opens_at.offset_micros(-withdrawn);
    gate.charged_at = now;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn queue() -> JobName {
        JobName::new("mail").expect("valid")
    }

    fn rate(turn_us: u64, burst: u32) -> Rate {
        Rate { key: None, turn_us, burst }
    }

    /// When turns are taken by somebody who asks at these instants, in microseconds.
    fn taken(rate: &Rate, asked: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut gate = None;
        let mut taken = Vec::new();
        for at in asked {
            let now = Timestamp::from_micros(at);
            if rate.is_open(gate.as_ref(), now) {
                gate = Some(rate.charge(gate.as_ref(), "k", &queue(), now));
                taken.push(at);
            }
        }
        taken
    }

    #[test]
    fn without_a_burst_turns_are_even() {
        let each_tenth = (0..30).map(|n| n * SECOND / 10);
        assert_eq!(taken(&rate(1_000_000, 1), each_tenth), [0, SECOND, 2 * SECOND]);
    }

    #[test]
    fn a_rest_leaves_as_many_turns_as_the_burst_and_no_more() {
        let rate = rate(1_000_000, 3);
        let asked = [0, 0, 0, 0, SECOND, SECOND, 100 * SECOND, 100 * SECOND, 100 * SECOND, 100 * SECOND];
        let expected = [0, 0, 0, SECOND, 100 * SECOND, 100 * SECOND, 100 * SECOND];
        assert_eq!(taken(&rate, asked), expected);
    }

    #[test]
    fn a_slower_rate_of_before_is_not_waited_for() {
        let now = Timestamp::from_micros(0);
        let gate = rate(3_600_000_000, 1).charge(None, "k", &queue(), now);
        assert!(!rate(1_000_000, 1).is_open(Some(&gate), now));
        assert!(rate(1_000_000, 1).is_open(Some(&gate), now.offset_micros(SECOND)));
    }

    #[test]
    fn after_a_step_back_a_gate_is_shut_for_as_long_as_it_was() {
        let mut gate = rate(1_000_000, 1).charge(None, "k", &queue(), Timestamp::from_micros(50 * SECOND));
        clamp_to_present(&mut gate, Timestamp::from_micros(20 * SECOND));
        assert_eq!((gate.charged_at.as_micros(), gate.opens_at.as_micros()), (20 * SECOND, 21 * SECOND));
    }

    proptest! {
        #[test]
        fn a_rested_gate_is_as_good_as_none(
            turn_us in 1_u64..50,
            burst in 1_u32..6,
            waits in prop::collection::vec(0_i64..60, 1..20),
            rest in 0_i64..400,
        ) {
            let rate = rate(turn_us, burst);
            let mut gate = None;
            let mut now = Timestamp::from_micros(0);
            for wait in waits {
                now = now.offset_micros(wait);
                if rate.is_open(gate.as_ref(), now) {
                    gate = Some(rate.charge(gate.as_ref(), "k", &queue(), now));
                }
            }
            let gate = gate.expect("the first turn is free");
            let now = now.offset_micros(rest);
            prop_assume!(gate.is_rested(now, now));
            prop_assert_eq!(rate.charge(Some(&gate), "k", &queue(), now), rate.charge(None, "k", &queue(), now));
        }

        #[test]
        fn no_window_has_more_turns_than_were_promised(
            turn_us in 1_u64..50,
            burst in 1_u32..6,
            waits in prop::collection::vec(0_i64..40, 1..200),
            window in 1_i64..400,
        ) {
            let asked = waits.iter().scan(0, |at, wait| { *at += wait; Some(*at) });
            let taken = taken(&rate(turn_us, burst), asked);
            let most = u64::from(burst) - 1 + window.unsigned_abs().div_ceil(turn_us);
            for (first, from) in taken.iter().enumerate() {
                let within = taken[first..].iter().filter(|at| **at < from + window).count();
                prop_assert!(within as u64 <= most, "{within} turns from {from} on, {most} are allowed: {taken:?}");
            }
        }
    }
}
