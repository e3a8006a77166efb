//! Owns the cron pattern: which wall times it names, on a calendar without zones. Parsed by croner, evaluated here;
//! refuses to know what a zone does to a wall time.
//!
//! A wall time is a count of seconds, `date · 86,400 + seconds of the day`, as if the calendar were in UTC.

use croner::parser::{CronParser, Seconds, Year};
use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::Offset,
};

use super::CronError;

const DAY_S: i64 = 86_400;

/// The Gregorian calendar repeats after this many years, and 146,097 days are whole weeks.
const CALENDAR_YEARS: i16 = 400;

/// A parsed pattern that matches at least one day.
pub(super) struct Pattern {
    text: String,
    parsed: croner::Cron,
    seconds: u64,
    minutes: u64,
    hours: u64,
    /// How many wall times a matching day has.
    per_day: u64,
}

/// A field: its name, what may stand in it, and which words.
struct Field {
    name: &'static str,
    allowed: &'static str,
    words: &'static [&'static str],
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: &[&str] =
    &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "L", "SUNL", "MONL", "TUEL", "WEDL", "THUL", "FRIL", "SATL"];

const FIELDS: [Field; 6] = [
    Field { name: "second", allowed: "0 to 59", words: &[] },
    Field { name: "minute", allowed: "0 to 59", words: &[] },
    Field { name: "hour", allowed: "0 to 23", words: &[] },
    Field { name: "day-of-month", allowed: "1 to 31, L (last), nW (nearest weekday)", words: &["L", "W", "LW"] },
    Field { name: "month", allowed: "1 to 12 or JAN to DEC", words: MONTHS },
    Field {
        name: "day-of-week",
        allowed: "0 to 7 or SUN to SAT, 5L (last Friday), 5#2 (second Friday)",
        words: DAYS,
    },
];

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, CronError> {
        let normal = normalised(text)?;
        let fields: Vec<&str> = normal.split(' ').collect();
        let offset = FIELDS.len() - fields.len();
        for (field, text) in FIELDS[offset..].iter().zip(&fields) {
            field.check(text)?;
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let Ok(parsed) = parser.parse(&normal) else {
            return Err(culprit(&parser, &fields, &FIELDS[offset..]));
        };
        let bits = |values: Vec<u16>| values.into_iter().fold(0u64, |bits, value| bits | 1 << value);
        let [seconds, minutes, hours] = [&parsed.pattern.seconds, &parsed.pattern.minutes, &parsed.pattern.hours]
            .map(|field| bits(field.values()));
        let per_day = [seconds, minutes, hours].map(|bits| u64::from(bits.count_ones())).iter().product();
        let pattern = Self { text: normal, parsed, seconds, minutes, hours, per_day };
        let is_possible = pattern.day_from(jiff::civil::date(2000, 1, 1)).is_some();
        if is_possible { Ok(pattern) } else { Err(CronError::Never(pattern.text)) }
    }

    /// As it was read: upper case, one space between fields, nicknames written out.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether every hour of a day is named, by `*` or one by one, or every n-th by `*/n`: such a pattern says "every
    /// so often", not "at this time of the day".
    pub(super) fn is_interval(&self) -> bool {
        let fields: Vec<&str> = self.text.split(' ').collect();
        fields[fields.len() - 4].starts_with('*') || self.hours.count_ones() == 24
    }

    /// The first wall time at or after `wall`; `None` only at the end of the calendar.
    pub(super) fn at_or_after(&self, wall: i64) -> Option<i64> {
        let (day, second) = (wall.div_euclid(DAY_S), wall.rem_euclid(DAY_S));
        let date = date_of(day)?;
        if self.matches(date)
            && let Some(second) = self.second_from(second)
        {
            return Some(day * DAY_S + second);
        }
        let next = self.day_from(date.tomorrow().ok()?)?;
        Some(day_of(next) * DAY_S + self.second_from(0)?)
    }

    /// The last wall time at or before `wall`; `None` only at the beginning of the calendar.
    pub(super) fn at_or_before(&self, wall: i64) -> Option<i64> {
        let (day, second) = (wall.div_euclid(DAY_S), wall.rem_euclid(DAY_S));
        let date = date_of(day)?;
        if self.matches(date)
            && let Some(second) = self.second_through(second)
        {
            return Some(day * DAY_S + second);
        }
        let previous = self.day_through(date.yesterday().ok()?)?;
        Some(day_of(previous) * DAY_S + self.second_through(DAY_S)?)
    }

    /// How many wall times lie in `from..to`. Takes time by the day, not by the wall time.
    pub(super) fn count(&self, from: i64, to: i64) -> u64 {
        if from >= to {
            return 0;
        }
        let (first, last) = (from.div_euclid(DAY_S), to.div_euclid(DAY_S));
        let Some(mut date) = date_of(first) else { return 0 };
        let mut count = 0;
        for day in first..=last {
            if self.matches(date) {
                let (from, to) = (from.max(day * DAY_S), to.min((day + 1) * DAY_S));
                count += self.count_of_day(from - day * DAY_S, to - day * DAY_S);
            }
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        count
    }

    /// Whether a wall time lies in `from..to`.
    pub(super) fn any(&self, from: i64, to: i64) -> bool {
        from < to && self.at_or_after(from).is_some_and(|wall| wall < to)
    }

    fn count_of_day(&self, from: i64, to: i64) -> u64 {
        if (from, to) == (0, DAY_S) {
            return self.per_day;
        }
        let mut count = 0;
        let mut next = self.second_from(from);
        while let Some(second) = next.filter(|second| *second < to) {
            count += 1;
            next = self.second_from(second + 1);
        }
        count
    }

    fn matches(&self, date: Date) -> bool {
        let pattern = &self.parsed.pattern;
        let weekday = u32::try_from(date.weekday().to_sunday_zero_offset()).unwrap_or(0);
        let (month, day) = (month_of(date), u32::try_from(date.day()).unwrap_or(0));
        let weekday = croner::Weekday::from_days_from_sunday(weekday);
        // Neither can fail: month and day are those of a date.
        pattern.month_match(month).unwrap_or(false)
            && pattern.day_match(i32::from(date.year()), month, day, weekday).unwrap_or(false)
    }

    /// The first matching day from `date` on. Months that do not match are passed over; that some day matches, in any
    /// 400 years, was seen when the pattern was read.
    fn day_from(&self, mut date: Date) -> Option<Date> {
        let limit = date.year().saturating_add(CALENDAR_YEARS);
        while date.year() <= limit {
            if !self.parsed.pattern.month_match(month_of(date)).unwrap_or(false) {
                date = date.last_of_month().tomorrow().ok()?;
            } else if self.matches(date) {
                return Some(date);
            } else {
                date = date.tomorrow().ok()?;
            }
        }
        None
    }

    fn day_through(&self, mut date: Date) -> Option<Date> {
        let limit = date.year().saturating_sub(CALENDAR_YEARS);
        while date.year() >= limit {
            if !self.parsed.pattern.month_match(month_of(date)).unwrap_or(false) {
                date = date.first_of_month().yesterday().ok()?;
            } else if self.matches(date) {
                return Some(date);
            } else {
                date = date.yesterday().ok()?;
            }
        }
        None
    }

    /// The first named second of a day at or after `second`.
    fn second_from(&self, second: i64) -> Option<i64> {
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        if has(self.hours, h) {
            if has(self.minutes, m)
                && let Some(s) = bit_from(self.seconds, s)
            {
                return Some(h * 3600 + m * 60 + s);
            }
            if let Some(m) = bit_from(self.minutes, m + 1) {
                return Some(h * 3600 + m * 60 + bit_from(self.seconds, 0)?);
            }
        }
        let h = bit_from(self.hours, h + 1)?;
        Some(h * 3600 + bit_from(self.minutes, 0)? * 60 + bit_from(self.seconds, 0)?)
    }

    /// The last named second of a day at or before `second`.
    fn second_through(&self, second: i64) -> Option<i64> {
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        if has(self.hours, h) {
            if has(self.minutes, m)
                && let Some(s) = bit_through(self.seconds, s)
            {
                return Some(h * 3600 + m * 60 + s);
            }
            if let Some(m) = bit_through(self.minutes, m - 1) {
                return Some(h * 3600 + m * 60 + bit_through(self.seconds, 59)?);
            }
        }
        let h = bit_through(self.hours, h - 1)?;
        Some(h * 3600 + bit_through(self.minutes, 59)? * 60 + bit_through(self.seconds, 59)?)
    }
}

impl Field {
    /// What croner lets pass or would not survive: words of another field, empty entries of a list, numbers of any
    /// length.
    fn check(&self, text: &str) -> Result<(), CronError> {
        let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
        let is_good = words.into_iter().all(|word| self.words.contains(&word))
            && text.split(',').all(|entry| !entry.is_empty())
            && text.split(|c: char| !c.is_ascii_digit()).all(|digits| digits.len() <= 2);
        if is_good { Ok(()) } else { Err(self.error(text)) }
    }

    fn error(&self, text: &str) -> CronError {
        CronError::Field { field: self.name, text: text.to_owned(), allowed: self.allowed }
    }
}

/// Which field croner refuses: the first that it refuses among stars.
fn culprit(parser: &CronParser, fields: &[&str], known: &[Field]) -> CronError {
    for (index, (field, text)) in known.iter().zip(fields).enumerate() {
        let mut alone = vec!["*"; fields.len()];
        alone[index] = text;
        if parser.parse(&alone.join(" ")).is_err() {
            return field.error(text);
        }
    }
    CronError::Fields { text: fields.join(" "), found: fields.len() }
}

fn normalised(text: &str) -> Result<String, CronError> {
    let text = text.trim();
    if text.starts_with('@') {
        let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        return known.map(|(_, pattern)| (*pattern).to_owned()).ok_or_else(|| CronError::Nickname(text.to_owned()));
    }
    let fields: Vec<_> = text.split_whitespace().map(str::to_uppercase).collect();
    if !(5..=6).contains(&fields.len()) {
        return Err(CronError::Fields { text: text.to_owned(), found: fields.len() });
    }
    Ok(fields.join(" "))
}

fn has(bits: u64, index: i64) -> bool {
    (0..64).contains(&index) && bits >> index & 1 == 1
}

fn bit_from(bits: u64, index: i64) -> Option<i64> {
    let rest = if (0..64).contains(&index) { bits >> index << index } else { 0 };
    (rest != 0).then(|| i64::from(rest.trailing_zeros()))
}

fn bit_through(bits: u64, index: i64) -> Option<i64> {
    let rest = if (0..64).contains(&index) { bits << (63 - index) >> (63 - index) } else { 0 };
    (rest != 0).then(|| i64::from(63 - rest.leading_zeros()))
}

fn month_of(date: Date) -> u32 {
    u32::try_from(date.month()).unwrap_or(0)
}

fn date_of(day: i64) -> Option<Date> {
    Some(Offset::UTC.to_datetime(Timestamp::from_second(day.checked_mul(DAY_S)?).ok()?).date())
}

fn day_of(date: Date) -> i64 {
    let midnight = DateTime::from_parts(date, Time::midnight());
    Offset::UTC.to_timestamp(midnight).map_or(0, |at| at.as_second() / DAY_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> i64 {
        Offset::UTC.to_timestamp(text.parse().expect("a date and time")).expect("in range").as_second()
    }

    fn shown(wall: i64) -> String {
        Offset::UTC.to_datetime(Timestamp::from_second(wall).expect("in range")).to_string()
    }

    fn refused(text: &str) -> String {
        Pattern::parse(text).err().expect("refused").to_string()
    }

    #[test]
    fn the_next_and_the_last_wall_time_are_found_across_months_and_years() {
        for (pattern, from, next, last) in [
            ("0 8 * * *", "2026-03-29T08:00", "2026-03-29T08:00:00", "2026-03-29T08:00:00"),
            ("0 8 * * *", "2026-03-29T08:00:01", "2026-03-30T08:00:00", "2026-03-29T08:00:00"),
            ("*/15 9-17 * * MON-FRI", "2026-11-20T17:46", "2026-11-23T09:00:00", "2026-11-20T17:45:00"),
            ("0 0 29 2 *", "2097-01-01T00:00", "2104-02-29T00:00:00", "2096-02-29T00:00:00"),
            ("0 12 L * *", "2026-02-01T00:00", "2026-02-28T12:00:00", "2026-01-31T12:00:00"),
            ("0 12 * * 5#2", "2026-11-20T00:00", "2026-12-11T12:00:00", "2026-11-13T12:00:00"),
            ("30 59 23 31 12 *", "2026-11-20T00:00", "2026-12-31T23:59:30", "2025-12-31T23:59:30"),
            ("0 0 13 * +FRI", "2026-11-20T00:00", "2027-08-13T00:00:00", "2026-11-13T00:00:00"),
            ("@weekly", "2026-11-20T00:00", "2026-11-22T00:00:00", "2026-11-15T00:00:00"),
        ] {
            let parsed = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{error}"));
            let found =
                [parsed.at_or_after(wall(from)), parsed.at_or_before(wall(from))].map(Option::unwrap).map(shown);
            assert_eq!(found, [next, last], "{pattern} from {from}");
        }
    }

    /// Forwards, backwards and by number, from every second of a day.
    #[test]
    fn the_seconds_of_a_day_are_those_that_its_fields_name() {
        let midnight = wall("2026-11-20T00:00");
        type Named = fn(i64, i64, i64) -> bool;
        let named: [(&str, Named); 3] = [
            ("5,40 10-20/5 9,17 * * *", |h, m, s| {
                [9, 17].contains(&h) && [10, 15, 20].contains(&m) && [5, 40].contains(&s)
            }),
            ("0 0,59 0,23 * * *", |h, m, s| [0, 23].contains(&h) && [0, 59].contains(&m) && s == 0),
            ("59 30 * * * *", |_, m, s| (m, s) == (30, 59)),
        ];
        for (pattern, names) in named {
            let parsed = Pattern::parse(pattern).expect("valid");
            let named: Vec<i64> =
                (0..DAY_S).filter(|second| names(second / 3600, second / 60 % 60, second % 60)).collect();
            for second in 0..DAY_S {
                let (before, after) = named.split_at(named.partition_point(|named| *named < second));
                let found = parsed.second_from(second);
                assert_eq!(found, after.first().copied(), "{pattern} from {second}");
                let through = after.first().filter(|named| **named == second).or(before.last());
                assert_eq!(parsed.second_through(second), through.copied(), "{pattern} through {second}");
                let (start, at) = (midnight, midnight + second);
                assert_eq!(parsed.count(start, at), before.len() as u64, "{pattern} before {second}");
                assert_eq!(parsed.any(start, at), !before.is_empty(), "{pattern} before {second}");
            }
        }
    }

    #[test]
    fn wall_times_are_counted_by_the_day() {
        let count = |pattern, from, to| Pattern::parse(pattern).expect("valid").count(wall(from), wall(to));
        assert_eq!(count("* * * * *", "2026-01-01T00:00", "2027-01-01T00:00"), 365 * 1440);
        assert_eq!(count("*/20 * * * *", "2026-01-01T00:20", "2026-01-01T01:00:01"), 3);
        assert_eq!(count("0 8 * * MON", "2026-11-16T08:00:01", "2026-11-23T08:00"), 0);
    }

    /// P-2: every mistake is named with what is allowed in its place.
    // P-2
    #[test]
    fn a_bad_pattern_names_its_field_and_what_is_allowed() {
        for (pattern, expected) in [
            (
                "0 25 * * *",
                "the hour field is `25`: allowed are 0 to 23, with `*`, lists (1,2), ranges (1-5) and steps (*/5, 10-30/5)",
            ),
            (
                "0 8 * MON *",
                "the month field is `MON`: allowed are 1 to 12 or JAN to DEC, with `*`, lists (1,2), ranges (1-5) and steps (*/5, 10-30/5)",
            ),
            (
                "*/65535 * * * *",
                "the minute field is `*/65535`: allowed are 0 to 59, with `*`, lists (1,2), ranges (1-5) and steps (*/5, 10-30/5)",
            ),
            (
                "1,,2 8 * * *",
                "the minute field is `1,,2`: allowed are 0 to 59, with `*`, lists (1,2), ranges (1-5) and steps (*/5, 10-30/5)",
            ),
            (
                "x 0 8 * * *",
                "the second field is `X`: allowed are 0 to 59, with `*`, lists (1,2), ranges (1-5) and steps (*/5, 10-30/5)",
            ),
            (
                "0 8 * *",
                "`0 8 * *` has 4 fields: write five (minute hour day-of-month month day-of-week), or six with the second first",
            ),
            (
                "",
                "`` has 0 fields: write five (minute hour day-of-month month day-of-week), or six with the second first",
            ),
            (
                "@reboot",
                "unknown nickname `@reboot`: allowed are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly",
            ),
            ("0 0 30 2 *", "`0 0 30 2 *` never matches: no year has such a day; check day-of-month against month"),
        ] {
            assert_eq!(refused(pattern), expected);
        }
    }
}
