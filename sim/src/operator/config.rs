//! Owns the operator's configuration: which loops run, how often, how long a tick may take, and the floors (P-41).

use std::{collections::BTreeMap, time::Duration};

use super::loops::Loop;

/// Shortest interval of the renewal check (P-41).
pub const RENEWAL_FLOOR: Duration = Duration::from_secs(60);
/// Shortest interval of every other loop (P-41).
pub const FLOOR: Duration = Duration::from_secs(1);

/// Timing of one loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// From tick to tick.
    pub every: Duration,
    /// A tick that runs longer is given up.
    pub timeout: Duration,
}

/// Which loops run, and how. Loops that are left out are absent: no timer, no tick (P-40).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    loops: BTreeMap<Loop, Timing>,
}

/// Why a configuration was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// Too often.
    #[error("loop `{which}`: the interval is {every:?}: give it {floor:?} or more")]
    BelowFloor {
        /// Which loop.
        which: Loop,
        /// As set.
        every: Duration,
        /// The least.
        floor: Duration,
    },
    /// A tick could never end in time.
    #[error("loop `{0}`: the timeout is zero: give it how long a tick may run")]
    NoTimeout(Loop),
}

impl Default for Config {
    /// All fifteen, at the intervals of the reference.
    fn default() -> Self {
        Self::only(Loop::ALL)
    }
}

impl Config {
    /// These loops, at the intervals of the reference.
    pub fn only(loops: impl IntoIterator<Item = Loop>) -> Self {
        let timing = |one: Loop| (one, Timing { every: one.interval(), timeout: one.timeout() });
        Self { loops: loops.into_iter().map(timing).collect() }
    }

    /// Sets the timing of one loop, and adds it if it was absent.
    ///
    /// # Errors
    /// [`ConfigError`] names the loop, the floor and the mend.
    pub fn with(mut self, which: Loop, timing: Timing) -> Result<Self, ConfigError> {
        let floor = if which == Loop::RenewalCheck { RENEWAL_FLOOR } else { FLOOR };
        if timing.every < floor {
            return Err(ConfigError::BelowFloor { which, every: timing.every, floor });
        }
        if timing.timeout.is_zero() {
            return Err(ConfigError::NoTimeout(which));
        }
        self.loops.insert(which, timing);
        Ok(self)
    }

    /// The loops that run, in the order of their numbers.
    pub fn loops(&self) -> impl Iterator<Item = (Loop, Timing)> + '_ {
        self.loops.iter().map(|(which, timing)| (*which, *timing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // P-41
    #[test]
    fn intervals_below_their_floor_are_refused() {
        let timing = |ms| Timing { every: Duration::from_millis(ms), timeout: FLOOR };
        let refused = |which, ms| Config::default().with(which, timing(ms)).expect_err("refused").to_string();
        assert_eq!(
            refused(Loop::RenewalCheck, 59_999),
            "loop `renewal_check`: the interval is 59.999s: give it 60s or more"
        );
        for which in Loop::ALL.into_iter().skip(1) {
            assert!(refused(which, 999).ends_with("is 999ms: give it 1s or more"));
            assert!(Config::default().with(which, timing(1_000)).is_ok());
        }
        let none = Timing { every: RENEWAL_FLOOR, timeout: Duration::ZERO };
        let error = Config::default().with(Loop::Digest, none).expect_err("refused");
        assert_eq!(error.to_string(), "loop `digest`: the timeout is zero: give it how long a tick may run");
    }

    // P-40
    #[test]
    fn a_loop_that_is_not_configured_is_absent() {
        let config = Config::only([Loop::Digest]);
        assert_eq!(config.loops().map(|(which, _)| which).collect::<Vec<_>>(), [Loop::Digest]);
        assert_eq!(Config::default().loops().count(), 15);
    }
}
