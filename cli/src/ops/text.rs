//! Owns how things look to people: columns, ages, states. Knows no verb.

use std::{fmt::Write as _, time::Duration};

use tourbillon::model::{Execution, Progress, Timestamp, Turns};

/// A table with a head; columns as wide as what is in them, two spaces apart, nothing behind the last.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&title| title.to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table, or `nothing` and a line end when it has no row.
    pub(super) fn print(&self, nothing: &str) -> String {
        if self.rows.len() == 1 {
            return format!("{nothing}\n");
        }
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

/// Two units at most: `3d 4h`, `5m 3s`, `12s`, `340ms`.
pub(super) fn span(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    let seconds = duration.as_secs();
    let units = [(86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")];
    for (size, unit, below, small) in units {
        if seconds >= size {
            let rest = seconds % size / below;
            return if rest == 0 {
                format!("{}{unit}", seconds / size)
            } else {
                format!("{}{unit} {rest}{small}", seconds / size)
            };
        }
    }
    format!("{seconds}s")
}

/// `5m ago`, `in 3s`, `now`.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    let apart = if at <= now { now.since(at) } else { at.since(now) };
    match at {
        _ if apart < Duration::from_secs(1) => "now".to_owned(),
        _ if at < now => format!("{} ago", span(apart)),
        _ => format!("in {}", span(apart)),
    }
}

/// The same, or a dash.
pub(super) fn age_of(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(dash, |at| age(at, now))
}

pub(super) fn dash() -> String {
    "-".to_owned()
}

/// Of a text of somebody else's making: one line of at most `longest` characters, nothing that a terminal obeys.
pub(super) fn line(text: &str, longest: usize) -> String {
    let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(longest).collect();
    if text.chars().count() > longest { format!("{shown}…") } else { shown }
}

/// What a row waits for, or how it ended.
pub(super) fn fate(row: &Execution, now: Timestamp) -> String {
    if let Some(reason) = row.skip_reason {
        return reason.as_str().replace('_', " ");
    }
    let error = row.error.as_ref().map(|failure| {
        let code = failure.code.as_str();
        line(&format!("{code}: {}", failure.text.as_str()), 60)
    });
    let when = match (row.state.is_terminal(), &row.lease, row.claimable_at) {
        (true, ..) => row.duration_ms.map(|ms| format!("took {}", span(Duration::from_millis(ms)))),
        (false, Some(lease), _) if row.state == tourbillon::model::State::Running => {
            let ends = if lease.expires_at < now { "ended" } else { "ends" };
            let said = row.progress.as_ref().map(|said| format!("{}; ", line(&progress(&said.progress), 60)));
            Some(format!("{}lease {ends} {}", said.unwrap_or_default(), age(lease.expires_at, now)))
        }
        (false, _, Some(at)) => Some(format!("due {}", age(at, now))),
        (false, _, None) => None,
    };
    [when, error].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// `25 %, page 3 of 12`.
pub(super) fn progress(said: &Progress) -> String {
    let part = said.permille().map(|permille| format!("{} %", permille / 10));
    let note = Some(said.note().to_owned()).filter(|note| !note.is_empty());
    [part, note].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// How often items may begin, and whether some must wait for it: `every 6s, up to 3 at once; limited, next in 4s`.
pub(super) fn rate(turns: &Turns, now: Timestamp) -> String {
    let turn = Duration::from_micros(turns.turn_us);
    let every = if turn < Duration::from_secs(1) { format!("{turn:?}") } else { span(turn) };
    let burst = if turns.burst > 1 { format!(", up to {} at once", turns.burst) } else { String::new() };
    let limited = match turns.next_at {
        None => String::new(),
        Some(at) if turns.shut == 1 => format!("; limited, next {}", age(at, now)),
        Some(at) => format!("; {} keys limited, next {}", turns.shut, age(at, now)),
    };
    format!("every {every}{burst}{limited}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_says_who_is_limited_and_until_when() {
        let now = Timestamp::from_secs(1_000);
        let said = |turn_us, burst, shut, next_at: Option<i64>| {
            rate(&Turns { turn_us, burst, shut, next_at: next_at.map(Timestamp::from_secs) }, now)
        };
        assert_eq!(said(6_000_000, 1, 0, None), "every 6s");
        assert_eq!(said(250, 1, 0, None), "every 250µs");
        assert_eq!(said(6_000_000, 3, 1, Some(1_004)), "every 6s, up to 3 at once; limited, next in 4s");
        assert_eq!(said(3_600_000_000, 1, 12, Some(1_090)), "every 1h; 12 keys limited, next in 1m 30s");
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let cases = [(0, "0ms"), (999, "999ms"), (61_000, "1m 1s"), (3_600_000, "1h"), (90_061_000, "1d 1h")];
        for (ms, text) in cases {
            assert_eq!(span(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn ages_look_both_ways() {
        let now = Timestamp::from_secs(1_000);
        let texts = [940, 1_000, 1_065].map(|secs| age(Timestamp::from_secs(secs), now));
        assert_eq!(texts, ["1m ago", "now", "in 1m 5s"]);
    }

    #[test]
    fn text_of_others_stays_on_one_line() {
        assert_eq!(line("a\u{1b}[31m\nb", 20), "a [31m b");
        assert_eq!(line("abcdef", 3), "abc…");
    }
}
