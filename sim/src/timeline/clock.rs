//! How each host's wall clock compares with true time, from the history's own account of it.

use crate::history::STANDSTILL_PPM;

/// From here on a wall clock is ahead of true time by so much, and the difference grows at this rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// True time, in microseconds.
    pub from_us: u64,
    /// Wall time minus true time then, in microseconds; positive is ahead.
    pub skew_us: i64,
    /// How fast that grows, in parts per million.
    pub drift_ppm: i32,
    /// The monotonic clock stands still meanwhile; the wall clock does not.
    pub stands_still: bool,
}

/// A host's clock, as its readings tell it so far.
#[derive(Clone, Debug)]
pub(super) struct Account {
    readings: Vec<Reading>,
    offset_us: i64,
}

impl Account {
    /// A clock that is right.
    pub(super) fn new() -> Self {
        let right = Reading { from_us: 0, skew_us: 0, drift_ppm: 0, stands_still: false };
        Self { readings: vec![right], offset_us: 0 }
    }

    /// What the history says of a change: the offset by steps, and the rate from now on. What drift had come to stays.
    pub(super) fn set(&mut self, at_us: u64, offset_us: i64, drift_ppm: i32) {
        let drifted = self.skew_us(at_us) - self.offset_us;
        self.offset_us = offset_us;
        let stands_still = drift_ppm == STANDSTILL_PPM;
        let drift_ppm = if stands_still { 0 } else { drift_ppm };
        self.readings.push(Reading { from_us: at_us, skew_us: drifted + offset_us, drift_ppm, stands_still });
    }

    /// Wall time minus true time, at or after the last change.
    pub(super) fn skew_us(&self, at_us: u64) -> i64 {
        self.readings.last().map_or(0, |reading| reading.at(at_us))
    }

    pub(super) fn finish(self) -> Vec<Reading> {
        self.readings
    }
}

impl Reading {
    /// Wall time minus true time at this instant of true time, in microseconds; for instants from [`Reading::from_us`]
    /// until the next reading.
    pub fn at(&self, at_us: u64) -> i64 {
        let passed = i64::try_from(at_us.saturating_sub(self.from_us)).unwrap_or(i64::MAX);
        let drifted = i128::from(passed) * i128::from(self.drift_ppm) / 1_000_000;
        self.skew_us.saturating_add(i64::try_from(drifted).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_steps_and_what_drift_came_to_and_a_standstill_adds_none() {
        let mut clock = Account::new();
        clock.set(1_000_000, 0, 100_000);
        clock.set(2_000_000, -5_000_000, 100_000);
        assert_eq!(clock.skew_us(2_000_000), 100_000 - 5_000_000);
        clock.set(3_000_000, -5_000_000, STANDSTILL_PPM);
        assert_eq!(clock.skew_us(9_000_000), 200_000 - 5_000_000);
        assert!(clock.finish()[3].stands_still);
    }
}
