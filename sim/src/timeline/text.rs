//! The picture as a few lines of text, for logs: the time before a violation, with what concerns it. Same model as the
//! page; no colours, no escapes, 100 columns.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{Bar, BarKind, Mark, Point, PointKind, Timeline};

/// Columns of a line, and those of them that name what is drawn.
const WIDTH: usize = 100;
const HEAD: usize = 20;
const PLOT: usize = WIDTH - HEAD;

/// Columns between two times on the axis.
const TICK: usize = 20;

/// Rows of bars of one lane at most; more would be no picture.
const MOST_ROWS: usize = 8;

/// Proving events that get a number: a digit fits into a column.
const MOST_NUMBERS: usize = 9;

impl Timeline {
    /// The time before the n-th violation, from 0, with faults and whatever is about the same executions, locks or
    /// effects; empty when there is no such violation, or when no event proves it.
    pub fn text(&self, mark: usize) -> String {
        match self.marks.get(mark).filter(|mark| !mark.events.is_empty()) {
            Some(mark) => Picture::of(self, mark).drawn(),
            None => String::new(),
        }
    }
}

struct Picture<'t> {
    timeline: &'t Timeline,
    mark: &'t Mark,
    /// What the proof is about.
    about: BTreeSet<usize>,
    /// Proving events that have a number, with it.
    numbers: BTreeMap<usize, usize>,
}

impl<'t> Picture<'t> {
    fn of(timeline: &'t Timeline, mark: &'t Mark) -> Self {
        // The first, and the last ones: what began it, and what completed it.
        let skipped = mark.events.len().saturating_sub(MOST_NUMBERS);
        let numbered = mark.events.iter().take(1).chain(mark.events.iter().skip(1 + skipped));
        Self {
            timeline,
            mark,
            about: about(timeline, mark),
            numbers: numbered.zip(1..).map(|(event, number)| (*event, number)).collect(),
        }
    }

    fn drawn(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "the time before {}, one column is {}:\n", self.mark.guarantee, self.column());
        text += &self.axis();
        for (index, lane) in self.timeline.lanes.iter().enumerate() {
            let points = self.points(index);
            let bars = self.bars(index);
            if points.trim().is_empty() && bars.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{}", cut(&format!("{:HEAD$}{points}", lane.host.to_string())));
            bars.iter().for_each(|line| text += line);
        }
        text.push('\n');
        for (event, number) in &self.numbers {
            let point = &self.timeline.points[*event];
            let host = self.timeline.lanes[point.lane].host.to_string();
            let line = format!("  {number}  {:>12}  {host:<10}  {}", instant(point.at_us, 1_000), point.label);
            let _ = writeln!(text, "{}", cut(&line));
        }
        text += &self.legend();
        text
    }

    fn span_us(&self) -> u64 {
        let (from, to) = self.mark.view_us;
        (to - from).max(1)
    }

    fn column(&self) -> String {
        let us = self.span_us() / PLOT as u64;
        if us < 1_000 { format!("{us} µs") } else { format!("{} ms", us / 1_000) }
    }

    /// The column of an instant; `None` when it is not in view.
    fn column_of(&self, at_us: u64) -> Option<usize> {
        let passed = at_us.checked_sub(self.mark.view_us.0)?;
        let column = usize::try_from(passed.saturating_mul(PLOT as u64) / self.span_us()).ok()?;
        (column < PLOT).then_some(column)
    }

    fn axis(&self) -> String {
        let mut times = format!("{:HEAD$}", "true time");
        let mut ticks = " ".repeat(HEAD);
        for column in (0..PLOT).step_by(TICK) {
            let at_us = self.mark.view_us.0 + self.span_us() * column as u64 / PLOT as u64;
            let _ = write!(times, "{:<TICK$}", instant(at_us, self.span_us() / 100));
            let _ = write!(ticks, "{:<TICK$}", "│");
        }
        format!("{}\n{}\n", times.trim_end(), ticks.trim_end())
    }

    fn concerns(&self, subjects: &[usize]) -> bool {
        subjects.iter().any(|subject| self.about.contains(subject))
    }

    /// Events of a lane: those of the proof by number, then those about the same, then the rest as dots.
    fn points(&self, lane: usize) -> String {
        let (from_us, to_us) = self.mark.view_us;
        let first = self.timeline.points.partition_point(|point| point.at_us < from_us);
        let mut line = [(0, ' '); PLOT];
        for (event, point) in self.timeline.points.iter().enumerate().skip(first) {
            if point.at_us > to_us {
                break;
            }
            let Some(column) = self.column_of(point.at_us).filter(|_| point.lane == lane) else { continue };
            let shown = self.shown(event, point);
            if shown.0 > line[column].0 {
                line[column] = shown;
            }
        }
        line.iter().map(|(_, glyph)| glyph).collect()
    }

    /// What an event looks like, behind how much it matters.
    fn shown(&self, event: usize, point: &Point) -> (u8, char) {
        let number = self.numbers.get(&event).and_then(|number| char::from_digit(u32::try_from(*number).ok()?, 10));
        match (number, glyph(point.kind)) {
            (Some(digit), _) => (5, digit),
            (None, Some(glyph)) if is_loud(point.kind) => (4, glyph),
            (None, Some(glyph)) if self.concerns(&point.subjects) => (3, glyph),
            (None, _) => (1, '·'),
        }
    }

    fn bars(&self, lane: usize) -> Vec<String> {
        let (from_us, to_us) = self.mark.view_us;
        let is_shown = |bar: &&Bar| {
            let always = matches!(bar.kind, BarKind::Down | BarKind::Paused | BarKind::Fault);
            bar.lane == lane
                && bar.from_us <= to_us
                && bar.to_us >= from_us
                && (always || self.concerns(&bar.subjects))
        };
        let mut rows: BTreeMap<_, [char; PLOT]> = BTreeMap::new();
        for bar in self.timeline.bars.iter().filter(is_shown).filter(|bar| bar.kind != BarKind::Call) {
            self.draw(bar, rows.entry((bar.kind.group(), bar.track, bar.kind)).or_insert([' '; PLOT]));
        }
        let left_out = rows.len().saturating_sub(MOST_ROWS);
        let drawn = |((_, _, kind), row): (&(usize, usize, BarKind), &[char; PLOT])| {
            let head = format!("  {}", kind.name());
            let line: String = row.iter().collect();
            format!("{}\n", cut(&format!("{head:HEAD$}{line}")))
        };
        let mut lines: Vec<_> = rows.iter().take(MOST_ROWS).map(drawn).collect();
        if left_out > 0 {
            lines.push(format!("  and {left_out} more\n"));
        }
        lines
    }

    fn draw(&self, bar: &Bar, row: &mut [char; PLOT]) {
        let (body, open, close) = match bar.kind {
            BarKind::Down | BarKind::Paused => ('╳', '╳', '╳'),
            BarKind::Fault => ('░', '░', '░'),
            BarKind::Lease | BarKind::Lock => ('═', '╞', '╡'),
            _ => ('─', '├', '┤'),
        };
        let begins = self.column_of(bar.from_us);
        let ends = self.column_of(bar.to_us);
        let (first, last) = (begins.unwrap_or(0), ends.unwrap_or(PLOT - 1));
        row[first..=last].fill(body);
        if begins.is_some() {
            row[first] = open;
        }
        if ends.is_some() && last > first {
            row[last] = close;
        }
        // Inside, if there is room: a label that is cut says less than none.
        let label = format!(" {} ", bar.label);
        if label.chars().count() + 4 <= last - first {
            row[first + 2..].iter_mut().zip(label.chars()).for_each(|(cell, letter)| *cell = letter);
        }
    }

    fn legend(&self) -> String {
        let (from_us, to_us) = self.mark.view_us;
        let in_view = self.timeline.points.iter().enumerate();
        let in_view = in_view.filter(|(_, point)| (from_us..=to_us).contains(&point.at_us));
        let seen = in_view.filter(|(event, point)| (3..5).contains(&self.shown(*event, point).0));
        let kinds: BTreeSet<_> = seen.map(|(_, point)| point.kind).collect();
        let known = kinds.into_iter().filter_map(|kind| Some(format!("{} {}", glyph(kind)?, kind.name())));
        let known: Vec<_> = known.chain(["· about something else".to_owned()]).collect();
        let mut text = String::from("\n");
        for line in known.chunks(4) {
            let _ = writeln!(text, "  {}", line.join("   "));
        }
        text
    }
}

/// What all events of the proof have in common; else whatever any of them is about. A batch is about many.
fn about(timeline: &Timeline, mark: &Mark) -> BTreeSet<usize> {
    let proof = mark.events.iter().map(|event| timeline.points[*event].subjects.iter().copied().collect());
    let proof: Vec<BTreeSet<usize>> = proof.filter(|subjects: &BTreeSet<usize>| !subjects.is_empty()).collect();
    let common = proof.iter().cloned().reduce(|all, subjects| &all & &subjects).unwrap_or_default();
    if common.is_empty() { proof.into_iter().flatten().collect() } else { common }
}

/// What is shown whatever it is about.
const fn is_loud(kind: PointKind) -> bool {
    matches!(kind, PointKind::Process | PointKind::Clock | PointKind::Fault | PointKind::Panic)
}

const fn glyph(kind: PointKind) -> Option<char> {
    Some(match kind {
        PointKind::Applied => '◆',
        PointKind::Idle => '◇',
        PointKind::Refused | PointKind::Failed => '×',
        PointKind::Handler => '▪',
        PointKind::Effect => '▸',
        PointKind::Received => '●',
        PointKind::Rejected => '○',
        PointKind::Process => '¶',
        PointKind::Clock => '±',
        PointKind::Fault => '!',
        PointKind::Panic => '‼',
        PointKind::Invoked | PointKind::Answered | PointKind::Other => return None,
    })
}

/// True time since the start, as precise as `grain_us` asks for.
fn instant(at_us: u64, grain_us: u64) -> String {
    let (hours, minutes, seconds) = (at_us / 3_600_000_000, at_us / 60_000_000 % 60, at_us / 1_000_000 % 60);
    let mut text =
        if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") };
    if grain_us < 1_000_000 {
        let _ = write!(text, ".{:03}", at_us / 1_000 % 1_000);
    }
    text
}

/// At most the width of the picture, nothing at the end.
fn cut(line: &str) -> String {
    let mut cut: String = line.chars().take(WIDTH).collect();
    if cut.chars().count() < line.chars().count() && !line.ends_with(' ') {
        cut.pop();
        cut.push('…');
    }
    cut.trim_end().to_owned()
}
