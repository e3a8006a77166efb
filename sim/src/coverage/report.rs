//! Coverage for people: what nothing has reached comes first, then every mark with the run that reached it first.

use std::fmt::Write as _;

use super::{Coverage, Kind, Row};

/// One page of Markdown.
pub fn markdown(coverage: &Coverage) -> String {
    let (plain, mutated) = coverage.runs;
    let mut text = format!(
        "# Coverage marks\n\nMade by `tourbillon sim coverage --out scenarios/tables`: {plain} runs as things are, {mutated} with a \
         planted bug. What a mark is, and why there are some: [ADR 44](../../docs/adr/0044-coverage-marks.md).\n\n\
         | kind | marks | reached | not reached, with a reason | not reached |\n| --- | --- | --- | --- | --- |\n"
    );
    let kinds = [
        (Kind::Driver, "branches of the driver"),
        (Kind::Exemption, "exemptions that checkers grant"),
        (Kind::Objection, "objections of checkers, drawn by a planted bug"),
    ];
    for (kind, about) in kinds {
        let of_kind = || coverage.rows.iter().filter(move |row| row.kind == kind);
        let reached = of_kind().filter(|row| row.is_reached()).count();
        let explained = of_kind().filter(|row| !row.is_reached() && row.reason.is_some()).count();
        let all = of_kind().count();
        let _ = writeln!(text, "| {about} | {all} | {reached} | {explained} | {} |", all - reached - explained);
    }
    let unreached: Vec<_> = coverage.rows.iter().filter(|row| !row.is_reached()).collect();
    if !unreached.is_empty() {
        text.push_str("\n## Reached by no run\n\n| mark | where | why |\n| --- | --- | --- |\n");
    }
    for row in unreached {
        let _ = writeln!(text, "| {} | {} | {} |", cell(&row.mark), place(row), why(row));
    }
    for (kind, about) in kinds {
        let _ = write!(text, "\n## {}\n\n", capital(about));
        let held = if kind == Kind::Objection { (" held |", " --- |") } else { ("", "") };
        let _ = writeln!(
            text,
            "| mark | where |{} times | runs | first |\n| --- | --- |{} --- | --- | --- |",
            held.0, held.1
        );
        for row in coverage.rows.iter().filter(|row| row.kind == kind && row.is_reached()) {
            let held = row.held.map_or_else(String::new, |held| format!(" {held} |"));
            let first = row.first.as_deref().unwrap_or_default();
            let _ = writeln!(
                text,
                "| {} | {} |{held} {} | {} | {first} |",
                cell(&row.mark),
                place(row),
                row.times,
                row.runs
            );
        }
    }
    text
}

fn why(row: &Row) -> &'static str {
    let unexplained = if row.kind == Kind::Objection { "hand-written histories draw it" } else { "**nobody knows**" };
    row.reason.unwrap_or(unexplained)
}

fn place(row: &Row) -> String {
    let short = row.file.trim_start_matches("core/src/").trim_start_matches("sim/src/");
    format!("{short}:{}", row.line)
}

/// Fit for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
