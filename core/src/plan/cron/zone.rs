//! Owns what a time zone does to wall times: stretches of one offset, which of their wall times count, and what to do
//! with those that a change of the clocks passed over. Knows no pattern.
//!
//! Instants are whole seconds since 1970, wall times seconds as in [`super::pattern`]: instant + offset.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use jiff::{Timestamp, tz::TimeZoneDatabase};
use strsim::levenshtein;

use super::{CronError, Fold, Gap};

/// The bundled database, whatever else the program or the machine has: a schedule is the same everywhere, and so is a
/// simulation.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Every zone that was asked for, as a table. A job per customer may ask for one zone a thousand times.
static TABLES: LazyLock<Mutex<BTreeMap<String, Arc<Zone>>>> = LazyLock::new(Mutex::default);

/// 2200-01-01T00:00:00Z. From here on no clock is changed any more: rules of today for the day after tomorrow's
/// century are no knowledge, and a table has an end.
const LAST_CHANGE_S: i64 = 7_258_118_400;

/// Changes further apart than this cannot repeat one wall time: no clock was ever changed by more than a day.
const FAR_S: i64 = 50 * 3600;

/// Most names suggested for an unknown zone.
const SUGGESTIONS: usize = 3;

/// A time zone as a table of its changes, up to the year 2200.
///
/// Our own, because asking jiff for the change *before* an instant may name one that never was (jiff 0.2.43, around
/// the last change that the database lists one by one); asking for the ones after an instant does not.
pub(super) struct Zone {
    /// As the database spells it.
    pub(super) name: String,
    /// Offset before the first change.
    first_offset: i64,
    /// In order, each with another offset than the one before.
    changes: Vec<Change>,
}

#[derive(Clone, Copy)]
struct Change {
    at: i64,
    before: i64,
    after: i64,
}

/// A time between two changes of the clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretch {
    /// First instant; the least number when there is no change before.
    pub(super) start: i64,
    /// First instant behind it; the greatest number when there is no change after.
    pub(super) end: i64,
    /// Wall time less instant.
    pub(super) offset: i64,
    /// First wall time that counts: under [`Fold::First`] those that a stretch before had are left out.
    pub(super) from: i64,
    /// First wall time that does not count: under [`Fold::Last`] those that a stretch behind has are left out.
    pub(super) to: i64,
    /// Wall times passed over at `start`, `skipped.0..skipped.1`, which are made up for at `start`; empty under
    /// [`Gap::Skip`].
    pub(super) skipped: (i64, i64),
}

impl Zone {
    /// The zone of this name, in any case.
    pub(super) fn find(name: &str) -> Result<Arc<Self>, CronError> {
        let unknown = || CronError::Zone { name: name.to_owned(), near: near(name) };
        let zone = ZONES.get(name).map_err(|_| unknown())?;
        let name = zone.iana_name().ok_or_else(unknown)?;
        let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tables.get(name) {
            return Ok(Arc::clone(known));
        }
        let offset_at = |instant| i64::from(zone.to_offset(instant).seconds());
        let first_offset = offset_at(Timestamp::MIN);
        let (mut changes, mut before) = (Vec::new(), first_offset);
        for change in zone.following(Timestamp::MIN) {
            let (at, after) = (change.timestamp().as_second(), offset_at(change.timestamp()));
            if at >= LAST_CHANGE_S {
                break;
            }
            // Changes that leave the offset as it was, of an abbreviation for example, are none to us.
            if after != before {
                changes.push(Change { at, before, after });
                before = after;
            }
        }
        let table = Arc::new(Self { name: name.to_owned(), first_offset, changes });
        tables.insert(name.to_owned(), Arc::clone(&table));
        Ok(table)
    }

    /// The changes in (`after`, `through`]: when, and the wall times that were passed over, from and to. Only a gap passes
    /// over any; with other changes the end is not after the beginning.
    pub(super) fn passed_over(&self, after: i64, through: i64) -> Vec<(i64, (i64, i64))> {
        let from = self.changes.partition_point(|change| change.at <= after);
        let ends = self.changes[from..].iter().map(|change| change.at).take_while(|at| *at <= through);
        ends.map(|at| (at, self.stretch(Gap::RunAtEnd, Fold::Both, at).skipped)).collect()
    }

    /// The stretch around `at`.
    pub(super) fn stretch(&self, gap: Gap, fold: Fold, at: i64) -> Stretch {
        let (before, after) = self.changes.split_at(self.changes.partition_point(|change| change.at <= at));
        let (start, end) = (before.last().map(|change| change.at), after.first().map(|change| change.at));
        let offset = before.last().map_or(self.first_offset, |change| change.after);
        let (start, end) = (start.unwrap_or(i64::MIN), end.unwrap_or(i64::MAX));
        let (mut from, mut to) = (start.saturating_add(offset), end.saturating_add(offset));
        // What clocks on walls had shown by the start, at most, and will show again from the end on, at least.
        let near = before.iter().rev().take_while(|change| start - change.at < FAR_S);
        let shown = near.map(|change| change.at + change.before).max();
        let near = after.iter().take_while(|change| change.at - end < FAR_S);
        let again = near.map(|change| change.at + change.after).min();
        if fold == Fold::First {
            from = from.max(shown.unwrap_or(from));
        }
        if fold == Fold::Last {
            to = to.min(again.unwrap_or(to));
        }
        let skipped = match (gap, shown) {
            (Gap::RunAtEnd, Some(shown)) if !planted!(B15) => (shown, start.saturating_add(offset)),
            _ => (0, 0),
        };
        Stretch { start, end, offset, from, to, skipped }
    }
}

/// Names of zones that somebody may have meant: first those whose last part is the name, then the nearest spellings.
fn near(name: &str) -> Vec<String> {
    let name = name.to_lowercase().replace(' ', "_");
    let last = |zone: &str| zone.rsplit('/').next().unwrap_or_default().to_owned();
    let limit = (last(&name).chars().count() / 3).max(1);
    let mut near: Vec<_> = ZONES
        .available()
        .map(|zone| zone.as_str().to_owned())
        .map(|zone| {
            let lower = zone.to_lowercase();
            let far = levenshtein(&name, &lower).min(levenshtein(&last(&name), &last(&lower)) + 1);
            (far, zone)
        })
        .filter(|(far, _)| *far <= limit)
        .collect();
    near.sort();
    near.into_iter().take(SUGGESTIONS).map(|(_, zone)| zone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_zone_comes_with_near_names() {
        let shown = |name| Zone::find(name).err().expect("unknown").to_string();
        assert_eq!(
            shown("Europe/Berln"),
            "unknown time zone `Europe/Berln`: did you mean `Europe/Berlin`? Names are those of the IANA database"
        );
        for (name, meant) in [
            ("new york", "America/New_York"),
            // The longer a name, the more of it may be wrong.
            ("Europe/Amstardan", "Europe/Amsterdam"),
            // Not `Asia/Istanbul` first.
            ("Europe/Istanbull", "Europe/Istanbul"),
        ] {
            assert!(shown(name).contains(&format!("did you mean `{meant}`")), "{}", shown(name));
        }
        assert_eq!(
            shown("Middle-earth/Shire"),
            "unknown time zone `Middle-earth/Shire`: names are those of the IANA database, such as `Europe/Berlin` or `UTC`"
        );
        assert_eq!(Zone::find("europe/berlin").expect("known").name, "Europe/Berlin");
    }
}
