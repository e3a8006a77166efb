//! Cron schedules at changes of the clocks: cases to read, and every change of every zone against an oracle that
//! walks through time minute by minute and knows neither stretches nor patterns.

use std::collections::BTreeMap;

use jiff::{
    Timestamp as Instant,
    civil::{DateTime, Weekday},
    tz::{Offset, TimeZone, TimeZoneDatabase},
};

use super::*;

const HOUR_S: i64 = 3600;

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// The first slots after `from`, without date and seconds: `hh:mm` in UTC.
fn slots(cron: &Cron, from: &str, many: usize) -> Vec<String> {
    let mut last = at(from);
    let mut next = || {
        last = cron.next_after(last).expect("in range");
        last.to_string()[11..16].to_owned()
    };
    (0..many).map(|_| next()).collect()
}

fn check(pattern: &str, gap: Gap, fold: Fold, from: &str, expected: &[&str]) {
    let cron = Cron::new(pattern, "Europe/Berlin").expect("valid").gap(gap).fold(fold);
    assert_eq!(slots(&cron, from, expected.len()), expected, "{cron:?} from {from}");
}

/// Berlin: 02:00 to 03:00 is left out on 2026-03-29 at 01:00 UTC.
#[test]
fn a_gap_is_skipped_or_made_up_for_once_at_its_end() {
    let night = "2026-03-28T12:00:00Z";
    check("30 2 * * *", Gap::Skip, Fold::First, night, &["00:30"]);
    check("30 2 * * *", Gap::RunAtEnd, Fold::First, night, &["01:00", "00:30"]);
    check("*/20 2 * * *", Gap::RunAtEnd, Fold::First, night, &["01:00", "00:00", "00:20", "00:40"]);
    check("0,30 2,3 * * *", Gap::RunAtEnd, Fold::First, night, &["01:00", "01:30", "00:00"]);
    let hour = "2026-03-28T23:45:00Z";
    check("0 * * * *", Gap::Skip, Fold::Both, hour, &["00:00", "01:00", "02:00"]);
    check("30 * * * *", Gap::Skip, Fold::Both, hour, &["00:30", "01:30"]);
    check("30 * * * *", Gap::RunAtEnd, Fold::Both, hour, &["00:30", "01:00", "01:30"]);
}

/// Berlin: 02:00 to 03:00 comes twice on 2026-10-25, from 00:00 and from 01:00 UTC.
#[test]
fn a_fold_has_its_first_its_last_or_both_slots() {
    let night = "2026-10-24T12:00:00Z";
    check("30 2 * * *", Gap::RunAtEnd, Fold::First, night, &["00:30", "01:30"]);
    check("30 2 * * *", Gap::RunAtEnd, Fold::Last, night, &["01:30", "01:30"]);
    check("30 2 * * *", Gap::RunAtEnd, Fold::Both, night, &["00:30", "01:30", "01:30"]);
    let hour = "2026-10-24T23:30:00Z";
    check("0,30 2,3 * * *", Gap::Skip, Fold::First, hour, &["00:00", "00:30", "02:00", "02:30"]);
    check("0,30 2,3 * * *", Gap::Skip, Fold::Last, hour, &["01:00", "01:30", "02:00", "02:30"]);
    check("0,30 2,3 * * *", Gap::Skip, Fold::Both, hour, &["00:00", "00:30", "01:00", "01:30", "02:00"]);
}

#[test]
fn a_time_of_the_day_is_neither_lost_nor_doubled_and_an_interval_goes_on() {
    let rules = |pattern| {
        let cron = Cron::new(pattern, "UTC").expect("valid");
        (cron.gap, cron.fold)
    };
    for pattern in
        ["30 2 * * *", "*/15 2 * * *", "0 8,20 * * *", "@daily", "0 0 2 * * *", "0 */5 2 * * *", "0 9-17 * * MON-FRI"]
    {
        assert_eq!(rules(pattern), (Gap::RunAtEnd, Fold::First), "{pattern}");
    }
    for pattern in
        ["0 * * * *", "*/15 * * * *", "@hourly", "*/5 * * * * *", "30 */2 * * *", "0 0 */2 * * *", "0 0-23 * * *"]
    {
        assert_eq!(rules(pattern), (Gap::Skip, Fold::Both), "{pattern}");
    }
}

#[test]
fn a_day_that_a_zone_left_out_is_made_up_for_once() {
    // Samoa went from 29 to 31 December 2011.
    let cron = Cron::new("0 8 * * *", "Pacific/Apia").expect("valid");
    let expected = ["18:00", "10:00", "18:00"];
    assert_eq!(slots(&cron, "2011-12-29T12:00:00Z", 3), expected, "29th 08:00, the end of the gap, 31st 08:00");
    assert_eq!(slots(&cron.gap(Gap::Skip), "2011-12-29T12:00:00Z", 2), ["18:00", "18:00"]);
}

#[test]
fn a_rare_pattern_costs_no_walk_through_the_years() {
    let leap = Cron::new("0 0 29 2 *", "America/New_York").expect("valid");
    assert_eq!(leap.next_after(at("2096-03-01T00:00:00Z")), Some(at("2104-02-29T05:00:00Z")));
    assert_eq!(leap.latest(at("2104-02-29T04:59:59Z")), Some(at("2096-02-29T05:00:00Z")));
    assert_eq!(leap.count(at("2000-01-01T00:00:00Z"), at("2104-03-01T00:00:00Z")), 26);
}

/// B15.
#[test]
fn there_is_a_next_slot_up_to_the_end_of_the_calendar() {
    for zone in ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"] {
        let cron = Cron::new("0 0 1 1 *", zone).expect("valid");
        for from in [i64::MIN, -377_705_000_000_000_000, 0, 253_370_000_000_000_000, i64::MAX] {
            let from = Timestamp::from_micros(from);
            assert!(cron.next_after(from).is_none_or(|next| next > from));
            assert!(cron.latest(from).is_none_or(|latest| latest <= from));
        }
        assert!(cron.next_after(at("9990-01-01T00:00:00Z")).is_some());
        assert_eq!(cron.next_after(at("9999-12-30T00:00:00Z")), None);
    }
}

#[test]
fn a_schedule_is_written_and_read_back() {
    let cron = Cron::new("@daily", "europe/berlin").expect("valid").fold(Fold::Last);
    let text = serde_json::to_string(&cron).expect("serialisable");
    assert_eq!(text, r#"{"pattern":"0 0 * * *","zone":"Europe/Berlin","gap":"run_at_end","fold":"last"}"#);
    assert_eq!(serde_json::from_str::<Cron>(&text).expect("readable"), cron);
    assert_eq!(format!("{cron:?}"), "Cron(0 0 * * * Europe/Berlin RunAtEnd Last)");
    let others = [
        Cron::new("@hourly", "Europe/Berlin").expect("valid").gap(Gap::RunAtEnd).fold(Fold::Last),
        Cron::new("@daily", "Europe/Paris").expect("valid").fold(Fold::Last),
        cron.clone().gap(Gap::Skip),
        cron.clone().fold(Fold::First),
    ];
    for other in others {
        assert_ne!(other, cron);
    }
}

/// Berlin again, a whole year: one gap, one fold.
#[test]
fn what_a_gap_leaves_out_is_counted_and_nothing_else() {
    let (start, end) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
    let left_out = |pattern, gap| Cron::new(pattern, "Europe/Berlin").expect("valid").gap(gap).left_out(start, end);
    assert_eq!(left_out("*/20 2 * * *", Gap::Skip), [(at("2026-03-29T01:00:00Z"), 3)]);
    assert_eq!(left_out("0 3 * * *", Gap::Skip), [], "its end is shown");
    assert_eq!(left_out("*/20 2 * * *", Gap::RunAtEnd), [], "made up for");
    assert_eq!(left_out("*/20 * * * *", Gap::Skip), [], "goes on by elapsed time");
}

/// A pattern, and the same said by hand of what a clock shows.
type Said = (&'static str, fn(DateTime) -> bool);

fn is_weekday(at: DateTime) -> bool {
    !matches!(at.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// Whether the weekday nearest to that day of its month is here: neither the first nor the last of the month.
fn is_nearest_weekday(at: DateTime, day: i8) -> bool {
    match at.weekday() {
        Weekday::Monday => at.day() == day || at.day() == day + 1,
        Weekday::Friday => at.day() == day || at.day() + 1 == day,
        _ => is_weekday(at) && at.day() == day,
    }
}

const SAID: [Said; 13] = [
    ("*/15 * * * *", |at| at.minute() % 15 == 0),
    ("30 2 * * *", |at| (at.hour(), at.minute()) == (2, 30)),
    ("0 0 * * *", |at| (at.hour(), at.minute()) == (0, 0)),
    ("0 * * * *", |at| at.minute() == 0),
    ("0,30 0-3 * * *", |at| at.hour() <= 3 && at.minute() % 30 == 0),
    ("5 */2 * * *", |at| at.hour() % 2 == 0 && at.minute() == 5),
    ("*/20 23,0,1,2 * * *", |at| (at.hour() == 23 || at.hour() <= 2) && at.minute() % 20 == 0),
    ("59 * 1,2,29-31 * SUN", |at| {
        at.minute() == 59 && (at.day() <= 2 || at.day() >= 29 || at.weekday() == Weekday::Sunday)
    }),
    // Most changes are on a Sunday, the last of its month, the first or the second; many are at a month's end.
    ("*/30 * * * SUNL", |at| {
        at.minute() % 30 == 0 && at.weekday() == Weekday::Sunday && at.day() + 7 > at.days_in_month()
    }),
    ("15 0-6 * * 0#2", |at| {
        at.minute() == 15 && at.hour() <= 6 && at.weekday() == Weekday::Sunday && (8..=14).contains(&at.day())
    }),
    ("0,40 * * 3-11 SUN#1", |at| {
        at.minute() % 40 == 0 && (3..=11).contains(&at.month()) && at.weekday() == Weekday::Sunday && at.day() <= 7
    }),
    ("10-20/5 0-23 L * *", |at| [10, 15, 20].contains(&at.minute()) && at.day() == at.days_in_month()),
    ("30 * 15W * *", |at| at.minute() == 30 && is_nearest_weekday(at, 15)),
];

const RULES: [(Gap, Fold); 6] = [
    (Gap::Skip, Fold::First),
    (Gap::RunAtEnd, Fold::First),
    (Gap::Skip, Fold::Last),
    (Gap::RunAtEnd, Fold::Last),
    (Gap::Skip, Fold::Both),
    (Gap::RunAtEnd, Fold::Both),
];

/// What a clock on the wall shows, minute by minute, from long before a change until long after it; each half minute
/// where it ran half a minute off (Monrovia, until 1972).
struct Walk {
    /// (instant, wall time), in order of the instants.
    shown: Vec<(i64, i64)>,
    /// What is compared: here every occurrence of every wall time lies within the walk.
    inner: (i64, i64),
}

impl Walk {
    fn around(zone: &TimeZone, change: i64) -> Self {
        let offset = |at| i64::from(zone.to_offset(Instant::from_second(at).expect("in range")).seconds());
        let by = (offset(change) - offset(change - 1)).abs();
        let (margin, around) = (by + HOUR_S, 2 * by + 3 * HOUR_S);
        let step = if offset(change) % 60 == 0 && offset(change - 1) % 60 == 0 { 60 } else { 30 };
        let start = (change - around).div_euclid(60) * 60;
        let instants = (0..=2 * around / step).map(|steps| start + steps * step);
        let shown = instants.map(|at| (at, at + offset(at))).collect();
        Self { shown, inner: (change - around + margin, change + around - margin) }
    }

    /// The slots of the inner part, by the rules as they are documented.
    fn slots(&self, says: impl Fn(i64) -> bool, gap: Gap, fold: Fold) -> Vec<i64> {
        let mut shown: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        let mut slots = Vec::new();
        let mut newest = self.shown[0].1 - 1;
        for (instant, wall) in &self.shown {
            let next_minute = (newest.div_euclid(60) + 1) * 60;
            let passed_over = (next_minute..*wall).step_by(60).any(&says);
            if passed_over && gap == Gap::RunAtEnd {
                slots.push(*instant);
            }
            newest = newest.max(*wall);
            if wall % 60 == 0 && says(*wall) {
                shown.entry(*wall).or_default().push(*instant);
            }
        }
        for instants in shown.values() {
            match fold {
                Fold::First => slots.extend(instants.first()),
                Fold::Last => slots.extend(instants.last()),
                Fold::Both => slots.extend(instants),
            }
        }
        slots.sort_unstable();
        slots.dedup();
        slots.retain(|slot| (self.inner.0 + 1..=self.inner.1).contains(slot));
        slots
    }
}

fn says(said: fn(DateTime) -> bool, wall: i64) -> bool {
    said(Offset::UTC.to_datetime(Instant::from_second(wall).expect("in range")))
}

/// Slots of the inner part as the schedule finds them, forwards; backwards and by number they must be the same.
fn found(cron: &Cron, (after, through): (i64, i64)) -> Vec<i64> {
    let (after, through) = (Timestamp::from_secs(after), Timestamp::from_secs(through));
    let mut found = Vec::new();
    let mut last = after;
    while let Some(next) = cron.next_after(last).filter(|next| *next <= through) {
        assert!(next > last, "{cron:?}: {next} follows {last}");
        assert_eq!(cron.latest(next), Some(next), "{cron:?}");
        assert!(cron.latest(next.offset_micros(-1)) < Some(next), "{cron:?}: before {next}");
        if last != after {
            assert_eq!(cron.latest(next.offset_micros(-1)), Some(last), "{cron:?}: before {next}");
        }
        found.push(next.as_micros() / SECOND_US);
        last = next;
    }
    assert_eq!(cron.count(after, through), found.len() as u64, "{cron:?} after {after} through {through}");
    found
}

/// B15. Every change of every zone of the IANA database from 1970 to 2037: each with four of the patterns and one of
/// the rules in turn, so that each pattern meets each rule at many hundreds of changes.
// P-1, P-14
#[test]
fn slots_around_every_change_of_every_zone_are_those_that_a_walk_finds() {
    let zones = TimeZoneDatabase::bundled();
    let (first, last) = (Instant::from_second(0).unwrap(), Instant::from_second(2_145_916_800).unwrap());
    let (mut compared, mut changes) = (0, 0);
    let mut names: Vec<_> = zones.available().map(|name| name.to_string()).collect();
    names.sort();
    for name in names {
        let zone = zones.get(&name).expect("available");
        // Made once a zone: what is tested is the search.
        let crons: Vec<_> = SAID.iter().map(|(pattern, _)| Cron::new(pattern, &name).expect("valid")).collect();
        for change in zone.following(first).map(|change| change.timestamp()).take_while(|change| *change < last) {
            let walk = Walk::around(&zone, change.as_second());
            changes += 1;
            for turn in [changes, changes + 2, changes + 3, changes + 5] {
                let (pattern, (gap, fold)) = (turn % SAID.len(), RULES[changes / SAID.len() % RULES.len()]);
                let cron = crons[pattern].clone().gap(gap).fold(fold);
                let expected = walk.slots(|wall| says(SAID[pattern].1, wall), gap, fold);
                assert_eq!(found(&cron, walk.inner), expected, "{cron:?} around {change}");
                compared += expected.len();
            }
        }
    }
    assert!(changes > 10_000 && compared > 500_000, "{changes} changes, {compared} slots");
}
