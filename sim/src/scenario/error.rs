//! Owns what is wrong with a scenario file, shown as rustc shows it: what, where, the line itself, what is allowed.

use std::{fmt, ops::Range};

/// A scenario file that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScenarioError(Box<Report>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Report {
    file: String,
    message: String,
    help: Option<String>,
    place: Option<Place>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
    /// How many characters are marked, at least 1.
    width: usize,
    text: String,
}

impl ScenarioError {
    /// The file as a whole cannot be used.
    pub(super) fn whole(file: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Report { file: file.to_owned(), message: message.into(), help: None, place: None }))
    }

    /// The same with advice.
    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// The file, as it was named by the caller.
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Line and column, from 1, columns in characters; `None` when the file could not be read at all.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.0.place.as_ref().map(|place| (place.line, place.column))
    }
}

impl std::error::Error for ScenarioError {}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { file, message, help, place } = &*self.0;
        f.write_str(message)?;
        let Some(Place { line, column, width, text }) = place else {
            write!(f, "\n --> {file}")?;
            return help.iter().try_for_each(|help| write!(f, "\n  = {help}"));
        };
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        // Tabs stay tabs, so that the mark stands below what it marks.
        let lead: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, "\n{gutter}--> {file}:{line}:{column}\n{gutter} |\n{number} | {text}")?;
        write!(f, "\n{gutter} | {lead}{}", "^".repeat(*width))?;
        help.iter().try_for_each(|help| write!(f, "\n{gutter} = {help}"))
    }
}

/// A file's name and text, for errors that quote it.
#[derive(Clone, Copy)]
pub(super) struct Source<'t> {
    pub(super) file: &'t str,
    pub(super) text: &'t str,
}

impl Source<'_> {
    /// An error at these bytes of the text. A span over several lines marks the first.
    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) -> ScenarioError {
        let boundary = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = boundary(span.start);
        let end = boundary(span.end.max(start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let place = Place {
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            width: self.text[start..end.clamp(start, line_end)].chars().count().max(1),
            text: self.text[line_start..line_end].trim_end_matches('\r').to_owned(),
        };
        let mut error = ScenarioError::whole(self.file, message);
        error.0.place = Some(place);
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_below_what_it_marks() {
        let source = Source { file: "a.toml", text: "é = 1\n\tkey = [\n2]\n" };
        let error = source.error(14..19, "not a list").help("write one value");
        assert_eq!(
            error.to_string(),
            "not a list\n --> a.toml:2:8\n  |\n2 | \tkey = [\n  | \t      ^\n  = write one value"
        );
        assert_eq!(error.position(), Some((2, 8)));
    }

    #[test]
    fn a_place_outside_the_text_does_not_panic() {
        let source = Source { file: "a.toml", text: "é" };
        assert_eq!(source.error(1..9, "x").position(), Some((1, 1)));
        assert_eq!(source.error(7..9, "x").position(), Some((1, 2)));
    }
}
