//! Owns "when a job's slots are": the one question that planner and checkers ask of all kinds of schedules.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Cadence, Cron, Hook};
use crate::model::{SkipReason, SkippedSlots, Timestamp};

/// When a job's slots are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// On a fixed grid in UTC.
    Cadence(Cadence),
    /// At wall times of a time zone.
    Cron(Cron),
    /// Where a function of the user says.
    Hook(Hook),
}

impl fmt::Display for Schedule {
    /// For people: `every 300s`, `0 8 * * * Europe/Berlin`, `hook v1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cadence(cadence) => write!(f, "every {:?}", cadence.every()),
            Self::Cron(cron) => write!(f, "{} {}", cron.pattern(), cron.zone()),
            Self::Hook(hook) => write!(f, "hook {}", hook.version()),
        }
    }
}

impl Schedule {
    /// The last slot at or before `at`, if there is one.
    pub fn latest(&self, at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cadence(cadence) => Some(cadence.floor(at)),
            Self::Cron(cron) => cron.latest(at),
            Self::Hook(hook) => hook.latest(at),
        }
    }

    /// The first slot after `at`, if there is one. Strictly later than `at`.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cadence(cadence) => Some(cadence.next_after(at)),
            Self::Cron(cron) => cron.next_after(at),
            Self::Hook(hook) => hook.next_after(at),
        }
    }

    /// How many slots lie in (`after`, `through`].
    pub fn count(&self, after: Timestamp, through: Timestamp) -> u64 {
        match self {
            Self::Cadence(cadence) => cadence.count(after, through),
            Self::Cron(cron) => cron.count(after, through),
            Self::Hook(hook) => hook.count(after, through),
        }
    }

    /// What a change of the clocks in (`after`, `through`] left out, oldest first, to be recorded: these are no slots.
    pub fn left_out(&self, after: Timestamp, through: Timestamp) -> Vec<SkippedSlots> {
        let Self::Cron(cron) = self else { return Vec::new() };
        let record = |(at, count): (Timestamp, u64)| SkippedSlots {
            after: at.offset_micros(-1),
            through: at,
            count: Some(count),
            reason: SkipReason::Gap,
        };
        cron.left_out(after, through).into_iter().map(record).collect()
    }
}

impl From<Cadence> for Schedule {
    fn from(cadence: Cadence) -> Self {
        Self::Cadence(cadence)
    }
}

impl From<Hook> for Schedule {
    fn from(hook: Hook) -> Self {
        Self::Hook(hook)
    }
}

impl From<Cron> for Schedule {
    fn from(cron: Cron) -> Self {
        Self::Cron(cron)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_schedule_reads_as_people_write_it() {
        let told = |schedule: Schedule| schedule.to_string();
        assert_eq!(told(Cadence::new(Duration::from_secs(300)).expect("not zero").into()), "every 300s");
        assert_eq!(
            told(Cron::new("0 8 * * *", "Europe/Berlin").expect("a pattern").into()),
            "0 8 * * * Europe/Berlin"
        );
        assert_eq!(told(Schedule::Hook(Hook::new("v1", |_, _, _| Vec::new()))), "hook v1");
    }
}
