//! Owns the cadence grid: instants at a fixed distance from a stated anchor, in UTC.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Timestamp, micros};

/// Slots at `anchor + k · every`, for every whole k, negative ones included.
///
/// ```
/// use std::time::Duration;
/// use tourbillon::{model::Timestamp, plan::Cadence};
/// let weekly = Cadence::new(Duration::from_secs(7 * 86_400)).unwrap();
/// let friday: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
/// assert_eq!(weekly.floor(friday).to_string(), "2026-11-16T00:00:00Z", "a Monday");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cadence {
    every_us: i64,
    anchor: Timestamp,
}

impl Cadence {
    /// Monday 1970-01-05T00:00:00Z: a weekly cadence falls on Mondays, a daily one on midnight, an hourly one on
    /// the full hour, all in UTC.
    pub const MONDAY: Timestamp = Timestamp::from_secs(4 * 86_400);

    /// A grid anchored at [`Cadence::MONDAY`]; `None` when `every` is below one microsecond.
    pub fn new(every: Duration) -> Option<Self> {
        let every_us = micros(every);
        (every_us > 0).then_some(Self { every_us, anchor: Self::MONDAY })
    }

    /// The same grid moved so that `anchor` is one of its slots.
    #[must_use]
    pub fn anchored_at(self, anchor: Timestamp) -> Self {
        Self { anchor, ..self }
    }

    /// One of its slots.
    pub fn anchor(&self) -> Timestamp {
        self.anchor
    }

    /// The distance between two slots.
    pub fn every(&self) -> Duration {
        Duration::from_micros(self.every_us.unsigned_abs())
    }

    /// The last slot at or before `at`.
    pub fn floor(&self, at: Timestamp) -> Timestamp {
        let past = at.as_micros().saturating_sub(self.anchor.as_micros()).rem_euclid(self.every_us);
        at.offset_micros(-past)
    }

    /// The first slot after `at`.
    pub fn next_after(&self, at: Timestamp) -> Timestamp {
        self.floor(at).offset_micros(self.every_us)
    }

    /// How many slots lie in (`after`, `through`].
    pub fn count(&self, after: Timestamp, through: Timestamp) -> u64 {
        let span = self.floor(through).as_micros().saturating_sub(self.floor(after).as_micros());
        u64::try_from(span / self.every_us).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // P-3
        #[test]
        fn floor_is_the_last_slot_at_or_before(every in 1i64..10_000_000, anchor in -1_000_000_000i64..1_000_000_000,
                                               at in -1_000_000_000_000i64..1_000_000_000_000) {
            let cadence = Cadence { every_us: every, anchor: Timestamp::from_micros(anchor) };
            let at = Timestamp::from_micros(at);
            let slot = cadence.floor(at);
            prop_assert!(slot <= at && at < cadence.next_after(at));
            prop_assert_eq!((slot.as_micros() - anchor).rem_euclid(every), 0);
            prop_assert_eq!(cadence.floor(slot), slot);
            prop_assert_eq!(cadence.count(slot, cadence.next_after(slot)), 1);
            prop_assert_eq!(cadence.count(at, at), 0);
            prop_assert_eq!(cadence.count(slot, slot.offset_micros(3 * every)), 3);
            prop_assert_eq!(cadence.every(), Duration::from_micros(every.unsigned_abs()));
        }
    }

    // P-3
    #[test]
    fn weeks_start_on_monday_unless_told_otherwise() {
        let week = Duration::from_secs(7 * 86_400);
        let at: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let sunday: Timestamp = "2000-01-02T06:00:00Z".parse().unwrap();
        let cadence = Cadence::new(week).unwrap();
        assert_eq!(cadence.floor(at).to_string(), "2026-11-16T00:00:00Z");
        assert_eq!(cadence.anchored_at(sunday).floor(at).to_string(), "2026-11-15T06:00:00Z");
        assert_eq!(Cadence::new(Duration::from_nanos(999)), None);
    }
}
