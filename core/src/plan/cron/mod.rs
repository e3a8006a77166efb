//! Owns cron schedules: a pattern of wall times, a time zone, and the rules for wall times that a change of the clocks
//! leaves out or repeats. Croner parses; which wall times match and what becomes of them is decided here, because cron
//! libraries disagree about it. Reads no clock, and no zone database but the bundled one.
//!
//! A slot is an instant. Slots strictly increase, whatever the zone does, and [`Cron::next_after`] has an answer for
//! every instant up to the last year that has dates: the rules say which instants are slots, and there is no other
//! state.

mod pattern;
#[cfg(test)]
mod tests;
mod zone;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use self::{
    pattern::Pattern,
    zone::{Stretch, Zone},
};
use crate::model::Timestamp;

const SECOND_US: i64 = 1_000_000;

/// What becomes of wall times that do not exist, because the clocks were put forward past them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// They have no slot.
    Skip,
    /// All of one gap have one slot together, at the instant in which the gap ends. If that instant is a slot anyway
    /// it is that one.
    RunAtEnd,
}

/// What becomes of wall times that exist twice, because the clocks were put back over them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fold {
    /// The first of the two is the slot.
    First,
    /// The last of the two is the slot.
    Last,
    /// Both are.
    Both,
}

/// Slots at the wall times of a cron pattern in a time zone.
///
/// Patterns have five fields (minute, hour, day of month, month, day of week), or six with the second first. Fields
/// take `*`, lists, ranges, steps, names of months and days, `L`, `W` and `#`; when both day fields are given a day
/// matches that matches either, or both with `+` before the day of the week. `@hourly`, `@daily`, `@weekly`,
/// `@monthly` and `@yearly` stand for patterns.
///
/// # When the clocks change
///
/// By the zone database that was compiled in, up to the year 2200.
///
/// Chosen by what the pattern says, unless [`Cron::gap`] and [`Cron::fold`] say otherwise:
///
/// * **A time of the day** (`30 2 * * *`, `*/15 2 * * *`, `0 8,20 * * *`): a day's run must be neither lost nor
///   doubled. [`Gap::RunAtEnd`] and [`Fold::First`].
/// * **Every so often**: the hour field is `*` or `*/n`, or names all 24 hours. Runs go on evenly by elapsed time,
///   as far as the pattern allows: a repeated hour has its runs too, and nothing is made up for. [`Gap::Skip`] and
///   [`Fold::Both`].
///
/// ```
/// use tourbillon::{model::Timestamp, plan::Cron};
/// let nightly = Cron::new("30 2 * * *", "Europe/Berlin")?;
/// let saturday: Timestamp = "2026-03-28T12:00:00Z".parse().unwrap();
/// let sunday = nightly.next_after(saturday).unwrap();
/// assert_eq!(sunday.to_string(), "2026-03-29T01:00:00Z", "02:30 does not exist; the gap ends at 03:00 local time");
/// let monday = nightly.next_after(sunday).unwrap();
/// assert_eq!(monday.to_string(), "2026-03-30T00:30:00Z");
/// # Ok::<(), tourbillon::plan::CronError>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "Described", try_from = "Described")]
pub struct Cron {
    pattern: Arc<Pattern>,
    zone: Arc<Zone>,
    gap: Gap,
    fold: Fold,
}

/// Why a cron schedule was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five or six fields.
    #[error(
        "`{text}` has {found} fields: write five (minute hour day-of-month month day-of-week), or six with the second first"
    )]
    Fields {
        /// As given.
        text: String,
        /// How many.
        found: usize,
    },
    /// A field that cannot be read.
    #[error(
        "the {field} field is `{text}`: allowed are {allowed}, with `*`, lists (1,2), ranges (1-5) and steps (*/5, 10-30/5)"
    )]
    Field {
        /// Its name.
        field: &'static str,
        /// As given.
        text: String,
        /// What it takes.
        allowed: &'static str,
    },
    /// Begins with `@` and is none that is known.
    #[error(
        "unknown nickname `{0}`: allowed are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly"
    )]
    Nickname(String),
    /// Such as 30 February.
    #[error("`{0}` never matches: no year has such a day; check day-of-month against month")]
    Never(String),
    /// Not in the zone database.
    #[error("unknown time zone `{name}`: {}", advice(near))]
    Zone {
        /// As given.
        name: String,
        /// Up to three that may have been meant, nearest first.
        near: Vec<String>,
    },
}

impl Cron {
    /// The schedule of a pattern in a zone of the IANA database, such as `Europe/Berlin` or `UTC` (in any case).
    ///
    /// # Errors
    /// [`CronError`] names the field or the zone, and the mend.
    pub fn new(pattern: &str, zone: &str) -> Result<Self, CronError> {
        let pattern = Pattern::parse(pattern)?;
        let zone = Zone::find(zone)?;
        let (gap, fold) = if pattern.is_interval() { (Gap::Skip, Fold::Both) } else { (Gap::RunAtEnd, Fold::First) };
        Ok(Self { pattern: Arc::new(pattern), zone, gap, fold })
    }

    /// Sets what becomes of wall times that do not exist.
    #[must_use]
    pub fn gap(self, gap: Gap) -> Self {
        Self { gap, ..self }
    }

    /// Sets what becomes of wall times that exist twice.
    #[must_use]
    pub fn fold(self, fold: Fold) -> Self {
        Self { fold, ..self }
    }

    /// What becomes of wall times that do not exist.
    pub fn gap_rule(&self) -> Gap {
        self.gap
    }

    /// What becomes of wall times that exist twice.
    pub fn fold_rule(&self) -> Fold {
        self.fold
    }

    /// The pattern: upper case, single spaces, nicknames written out.
    pub fn pattern(&self) -> &str {
        self.pattern.text()
    }

    /// The zone's name, as the database spells it.
    pub fn zone(&self) -> &str {
        &self.zone.name
    }

    /// The first slot after `at`; `None` only after the last year that has dates (9999).
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let mut second = at.as_micros().div_euclid(SECOND_US).checked_add(1)?;
        loop {
            let stretch = self.stretch(second);
            if let Some(slot) = self.first_of(&stretch, second) {
                return Some(Timestamp::from_secs(slot));
            }
            // `None` at the last stretch, which has no end: then the calendar ended.
            second = Some(stretch.end).filter(|end| *end != i64::MAX)?;
        }
    }

    /// The last slot at or before `at`; `None` only before the first year that has dates (−9999).
    pub fn latest(&self, at: Timestamp) -> Option<Timestamp> {
        let mut second = at.as_micros().div_euclid(SECOND_US);
        loop {
            let stretch = self.stretch(second);
            if let Some(slot) = self.last_of(&stretch, second) {
                return Some(Timestamp::from_secs(slot));
            }
            second = Some(stretch.start).filter(|start| *start != i64::MIN)? - 1;
        }
    }

    /// How many slots lie in (`after`, `through`]. Takes time by the day, not by the slot.
    pub fn count(&self, after: Timestamp, through: Timestamp) -> u64 {
        let Some(mut second) = after.as_micros().div_euclid(SECOND_US).checked_add(1) else { return 0 };
        let through = through.as_micros().div_euclid(SECOND_US);
        let mut count = 0;
        while second <= through {
            let stretch = self.stretch(second);
            let last = through.min(stretch.end - 1);
            let (from, to) = (wall(second, &stretch).max(stretch.from), wall(last + 1, &stretch).min(stretch.to));
            count += self.pattern.count(from, to);
            if second == stretch.start
                && self.makes_up(&stretch)
                && self.regular_first(&stretch, second) != Some(second)
            {
                count += 1;
            }
            let Some(next) = last.checked_add(1) else { break };
            second = next;
        }
        count
    }

    /// The wall times in (`after`, `through`] that a gap leaves out and that are no slots, oldest first: when the gap
    /// ended, and how many it left out. Empty under [`Gap::RunAtEnd`], and for patterns that say "every so often", which
    /// go on evenly by elapsed time and miss nothing.
    pub fn left_out(&self, after: Timestamp, through: Timestamp) -> Vec<(Timestamp, u64)> {
        if self.gap == Gap::RunAtEnd || self.pattern.is_interval() {
            return Vec::new();
        }
        let (after, through) = (after.as_micros().div_euclid(SECOND_US), through.as_micros().div_euclid(SECOND_US));
        let passed_over = self.zone.passed_over(after, through).into_iter();
        let counted = passed_over.map(|(at, (from, to))| (Timestamp::from_secs(at), self.pattern.count(from, to)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    fn stretch(&self, at: i64) -> Stretch {
        self.zone.stretch(self.gap, self.fold, at)
    }

    /// The first slot of the stretch at or after `second`.
    fn first_of(&self, stretch: &Stretch, second: i64) -> Option<i64> {
        if second == stretch.start && self.makes_up(stretch) {
            return Some(second);
        }
        self.regular_first(stretch, second)
    }

    fn regular_first(&self, stretch: &Stretch, second: i64) -> Option<i64> {
        let found = self.pattern.at_or_after(wall(second, stretch).max(stretch.from))?;
        (found < stretch.to).then(|| found - stretch.offset)
    }

    /// The last slot of the stretch at or before `second`.
    fn last_of(&self, stretch: &Stretch, second: i64) -> Option<i64> {
        let found = self.pattern.at_or_before(wall(second, stretch).min(stretch.to.saturating_sub(1)));
        let regular = found.filter(|found| *found >= stretch.from).map(|found| found - stretch.offset);
        regular.or_else(|| self.makes_up(stretch).then_some(stretch.start))
    }

    /// Whether the stretch begins with a slot for what was passed over right before it.
    fn makes_up(&self, stretch: &Stretch) -> bool {
        self.pattern.any(stretch.skipped.0, stretch.skipped.1)
    }
}

fn wall(second: i64, stretch: &Stretch) -> i64 {
    second.saturating_add(stretch.offset)
}

fn advice(near: &[String]) -> String {
    if near.is_empty() {
        return "names are those of the IANA database, such as `Europe/Berlin` or `UTC`".to_owned();
    }
    let near: Vec<_> = near.iter().map(|name| format!("`{name}`")).collect();
    format!("did you mean {}? Names are those of the IANA database", near.join(" or "))
}

/// What a cron schedule is written as, and what makes two of them equal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Described {
    pattern: String,
    zone: String,
    gap: Gap,
    fold: Fold,
}

impl From<Cron> for Described {
    fn from(cron: Cron) -> Self {
        let (pattern, zone) = (cron.pattern().to_owned(), cron.zone().to_owned());
        Self { pattern, zone, gap: cron.gap, fold: cron.fold }
    }
}

impl TryFrom<Described> for Cron {
    type Error = CronError;

    fn try_from(described: Described) -> Result<Self, CronError> {
        Ok(Self::new(&described.pattern, &described.zone)?.gap(described.gap).fold(described.fold))
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        (self.pattern(), self.zone(), self.gap, self.fold) == (other.pattern(), other.zone(), other.gap, other.fold)
    }
}

impl Eq for Cron {}

/// The schedule in one line; part of a job's schedule hash, so that any edit of it is noticed.
impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({} {} {:?} {:?})", self.pattern(), self.zone(), self.gap, self.fold)
    }
}
