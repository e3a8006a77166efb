//! What can be moved: each axis, its unit, how far it is tried, and the plan that has nothing else in it.

use serde::Serialize;

use crate::fault::{Bad, Fault, FaultPlan};

/// One thing that goes wrong, by more and more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Wall clocks of replicas are off, one ahead and one behind.
    WallOffset,
    /// Wall clocks of replicas jump, again and again.
    WallJump,
    /// A replica's monotonic clock is slow while it is cut off from the database, so that it trusts for too long.
    SlowClock,
    /// A replica's monotonic clock is fast while it is cut off from the database.
    FastClock,
    /// The database clock steps forward.
    DatabaseForward,
    /// The database clock steps back.
    DatabaseBack,
    /// A replica stands still, and its monotonic clock goes on.
    Pause,
    /// A replica stands still, and its monotonic clock with it.
    Suspension,
    /// Every answer of the database comes late.
    Delay,
    /// The answers to a replica come late, and then it is cut off: what it was told last is older than it may think.
    LateAndCutOff,
}

/// When faults that come again and again do so, in seconds since the start.
const TIMES_S: [u32; 3] = [31, 101, 173];

/// The middle of the time in which faults come.
const HALF_S: u32 = 120;

/// How long a replica is cut off: longer than any lease of the world.
const CUT_OFF_S: u32 = 40;

/// For how long answers are late before that.
const LATE_S: u32 = 30;

impl Axis {
    /// All of them, in the order of reports.
    pub const ALL: &'static [Self] = &[
        Self::WallOffset,
        Self::WallJump,
        Self::SlowClock,
        Self::FastClock,
        Self::DatabaseForward,
        Self::DatabaseBack,
        Self::Pause,
        Self::Suspension,
        Self::Delay,
        Self::LateAndCutOff,
    ];

    /// One line for people.
    pub const fn about(self) -> &'static str {
        match self {
            Self::WallOffset => "wall clock of a replica off by",
            Self::WallJump => "wall clock of a replica jumps by",
            Self::SlowClock => "monotonic clock slow by, cut off",
            Self::FastClock => "monotonic clock fast by, cut off",
            Self::DatabaseForward => "database clock steps forward by",
            Self::DatabaseBack => "database clock steps back by",
            Self::Pause => "replica stands still for",
            Self::Suspension => "replica and its monotonic clock stand still for",
            Self::Delay => "every answer late by",
            Self::LateAndCutOff => "answers late, then cut off, by",
        }
    }

    /// The smallest step, the first value tried, and the largest: milliseconds, seconds or parts per million.
    pub const fn range(self) -> (i64, i64, i64) {
        match self {
            // A century.
            Self::WallOffset | Self::WallJump => (1_000, 1_000, 100 * 365 * 86_400_000),
            Self::SlowClock | Self::FastClock => (10_000, 50_000, 800_000),
            Self::DatabaseForward | Self::DatabaseBack => (250, 500, 3_600_000),
            Self::Pause | Self::Suspension => (1, 1, 60),
            Self::Delay => (250, 500, 60_000),
            // Beyond the deadline of a call no answer is heard at all.
            Self::LateAndCutOff => (200, 200, 5_000),
        }
    }

    /// A value with its unit.
    pub fn show(self, value: i64) -> String {
        match self {
            Self::SlowClock | Self::FastClock => format!("{} %", value / 10_000),
            Self::Pause | Self::Suspension => format!("{value} s"),
            _ if value >= 365 * 86_400_000 => format!("{:.1} years", value as f64 / (365.0 * 86_400_000.0)),
            _ if value >= 86_400_000 => format!("{:.1} days", value as f64 / 86_400_000.0),
            _ if value >= 60_000 => format!("{:.1} min", value as f64 / 60_000.0),
            _ => format!("{:.2} s", value as f64 / 1_000.0),
        }
    }

    /// The axis at this value, and nothing else.
    pub fn plan(self, value: i64) -> FaultPlan {
        let narrow = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
        let fault = |at_s, lasts_s, replica, bad| Fault { at_s, lasts_s, replica, bad };
        let each = |lasts_s: u32, bad: Bad| -> Vec<Fault> {
            (0..).zip(TIMES_S).map(|(n, at_s)| fault(at_s, lasts_s, n % 2, bad.clone())).collect()
        };
        let drifting = |ppm: i64| {
            let ppm = i32::try_from(ppm).unwrap_or(i32::MAX);
            let mut faults: Vec<_> = (0..2).map(|n| fault(1, 0, n, Bad::ClockDrift { ppm })).collect();
            faults.extend(each(CUT_OFF_S, Bad::Partition));
            faults
        };
        let faults = match self {
            Self::WallOffset => vec![
                fault(1, 0, 0, Bad::ClockOffset { by_ms: value }),
                fault(1, 0, 1, Bad::ClockOffset { by_ms: -value }),
                // The other way round: whoever is the first to claim was ahead so far.
                fault(HALF_S, 0, 0, Bad::ClockOffset { by_ms: -2 * value }),
                fault(HALF_S, 0, 1, Bad::ClockOffset { by_ms: 2 * value }),
            ],
            Self::WallJump => each(0, Bad::ClockJump { by_ms: value }),
            Self::SlowClock => drifting(-value),
            Self::FastClock => drifting(value),
            Self::DatabaseForward => each(0, Bad::DatabaseClockStep { by_ms: value }),
            Self::DatabaseBack => each(0, Bad::DatabaseClockStep { by_ms: -value }),
            Self::Pause => each(narrow(value), Bad::Pause),
            Self::Suspension => each(narrow(value), Bad::FreezeMonotonic),
            Self::Delay => {
                let bad = Bad::Slow { percent: 100, delay_ms: narrow(value) };
                (0..3).map(|n| fault(20, 200, n, bad.clone())).collect()
            }
            Self::LateAndCutOff => {
                let mut faults = each(CUT_OFF_S, Bad::Partition);
                let late = Bad::Slow { percent: 100, delay_ms: narrow(value) };
                faults.extend(faults.clone().iter().map(|cut| Fault {
                    at_s: cut.at_s - LATE_S,
                    lasts_s: LATE_S,
                    replica: cut.replica,
                    bad: late.clone(),
                }));
                faults
            }
        };
        FaultPlan { faults, triggers: Vec::new() }
    }
}
