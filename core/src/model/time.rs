//! Owns the one instant type of stored data; knows no clock.
//!
//! Every stored instant comes from the database clock (G10), so nothing here can read the time.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// An instant of the database clock, in whole microseconds since 1970-01-01T00:00:00Z.
///
/// Microseconds because that is what Postgres keeps: a finer instant would be rounded by one store and not by
/// another. Serialised as a plain integer; displayed as RFC 3339 in UTC. Arithmetic saturates.
///
/// ```
/// use std::time::Duration;
/// use tourbillon::model::Timestamp;
/// let t: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
/// assert_eq!((t + Duration::from_millis(1500)).to_string(), "2026-11-20T08:00:01.5Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From microseconds since the epoch; negative is before it.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This instant moved by signed microseconds.
    pub const fn offset_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

/// A duration as signed microseconds, saturating: no duration of ours comes near 292,000 years.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        self.offset_micros(micros(rhs))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        self.offset_micros(micros(rhs).saturating_neg())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => instant.fmt(f),
            // Outside the years -9999..=9999: still say something exact.
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.parse::<jiff::Timestamp>()?.as_microsecond()))
    }
}
