//! Owns access to a parsed TOML table by key, with errors that say where, what is wrong and what is allowed. Knows
//! nothing of scenarios.

use std::{fmt, ops::Range, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    duration::{DURATION_HELP, parse_duration},
    error::{ScenarioError, Source},
};

/// A table of which every key is known to be allowed.
pub(super) struct Table<'t, 'i> {
    source: Source<'t>,
    /// As it appears in the file, for messages: ``[[job]] `rollup` ``.
    pub(super) what: String,
    span: Range<usize>,
    entries: &'t DeTable<'i>,
}

impl<'t, 'i> Table<'t, 'i> {
    /// Refuses a table with a key that is not among `allowed`.
    pub(super) fn new(
        source: Source<'t>,
        what: &str,
        span: Range<usize>,
        entries: &'t DeTable<'i>,
        allowed: &[&str],
    ) -> Result<Self, ScenarioError> {
        // The first in the file, whatever the order of the map.
        let unknown = entries.keys().filter(|key| !allowed.contains(&key.get_ref().as_ref()));
        if let Some(key) = unknown.min_by_key(|key| key.span().start) {
            let error = source.error(key.span(), format!("unknown key `{}` in {what}", key.get_ref()));
            return Err(error.help(suggestion(key.get_ref(), allowed.iter().copied())));
        }
        Ok(Self { source, what: what.to_owned(), span, entries })
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Value<'t, 'i>> {
        let raw = self.entries.get(key)?;
        Some(Value { source: self.source, what: format!("`{key}`"), raw })
    }

    /// The value of a key that must be there. `example` says what to write.
    pub(super) fn need(&self, key: &str, example: &str) -> Result<Value<'t, 'i>, ScenarioError> {
        self.get(key).ok_or_else(|| self.error(format!("`{key}` is missing in {}", self.what)).help(example))
    }

    /// The value of a key read by `read`, or `default` when it is not there.
    pub(super) fn or<T>(
        &self,
        key: &str,
        default: T,
        read: impl FnOnce(&Value<'t, 'i>) -> Result<T, ScenarioError>,
    ) -> Result<T, ScenarioError> {
        self.get(key).map_or(Ok(default), |value| read(&value))
    }

    /// An error about the table as a whole; marks its head.
    pub(super) fn error(&self, message: impl Into<String>) -> ScenarioError {
        self.source.error(self.span.clone(), message)
    }

    /// An error about a key, or about the table when the key is not there.
    pub(super) fn error_at(&self, key: &str, message: impl Into<String>) -> ScenarioError {
        match self.get(key) {
            Some(value) => value.error(message),
            None => self.error(message),
        }
    }
}

/// A value and where it stands.
pub(super) struct Value<'t, 'i> {
    source: Source<'t>,
    what: String,
    raw: &'t Spanned<DeValue<'i>>,
}

impl<'t, 'i> Value<'t, 'i> {
    /// An error at this value.
    pub(super) fn error(&self, message: impl Into<String>) -> ScenarioError {
        self.source.error(self.raw.span(), message)
    }

    fn not(&self, wanted: &str) -> ScenarioError {
        let kind = self.raw.get_ref().type_str();
        let article = if kind.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
        self.error(format!("{} must be {wanted}, found {article} {kind}", self.what))
    }

    pub(super) fn is_text(&self) -> bool {
        self.raw.get_ref().is_str()
    }

    pub(super) fn is_integer(&self) -> bool {
        self.raw.get_ref().is_integer()
    }

    pub(super) fn is_array(&self) -> bool {
        self.raw.get_ref().is_array()
    }

    pub(super) fn text(&self) -> Result<&'t str, ScenarioError> {
        self.raw.get_ref().as_str().ok_or_else(|| self.not("text in quotes"))
    }

    pub(super) fn duration(&self) -> Result<Duration, ScenarioError> {
        let Some(text) = self.raw.get_ref().as_str() else {
            return Err(self.not("a duration in quotes").help(DURATION_HELP));
        };
        parse_duration(text)
            .ok_or_else(|| self.error(format!("{} is not a duration: `{text}`", self.what)).help(DURATION_HELP))
    }

    /// A duration between two others, both allowed.
    pub(super) fn duration_within(&self, low: Duration, high: Duration) -> Result<Duration, ScenarioError> {
        let duration = self.duration()?;
        if (low..=high).contains(&duration) {
            return Ok(duration);
        }
        let (low, high) = (super::format_duration(low), super::format_duration(high));
        Err(self.error(format!("{} is out of range: {low} to {high} are allowed", self.what)))
    }

    /// A whole number between two others, both allowed.
    pub(super) fn integer<T>(&self, low: T, high: T) -> Result<T, ScenarioError>
    where
        T: TryFrom<i128> + Into<i128> + Copy + fmt::Display,
    {
        let Some(integer) = self.raw.get_ref().as_integer() else {
            return Err(self.not(&format!("a whole number from {low} to {high}")));
        };
        let digits = integer.as_str().replace('_', "");
        let number = i128::from_str_radix(&digits, integer.radix()).ok();
        let within = number.filter(|number| (low.into()..=high.into()).contains(number));
        within
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.error(format!("{} is {digits}, allowed are {low} to {high}", self.what)))
    }

    /// The member of a list that this text names.
    pub(super) fn one_of<T: Copy>(&self, noun: &str, allowed: &[(&str, T)]) -> Result<T, ScenarioError> {
        let text = self.text()?;
        allowed.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
            let names = allowed.iter().map(|(name, _)| *name);
            self.error(format!("unknown {noun} `{text}`")).help(suggestion(text, names))
        })
    }

    /// The elements of a list, in order.
    pub(super) fn list(&self, of: &str) -> Result<Vec<Self>, ScenarioError> {
        let Some(array) = self.raw.get_ref().as_array() else {
            return Err(self.not(&format!("a list of {of}")));
        };
        let element = |raw: &'t Spanned<DeValue<'i>>| Self {
            source: self.source,
            what: format!("each entry of {}", self.what.trim_start_matches("each entry of ")),
            raw,
        };
        Ok(array.iter().map(element).collect())
    }

    /// A table with no other keys than these; `what` is its name in messages, `like` an example of it.
    pub(super) fn table(&self, what: &str, like: &str, allowed: &[&str]) -> Result<Table<'t, 'i>, ScenarioError> {
        let Some(entries) = self.raw.get_ref().as_table() else { return Err(self.not(like)) };
        Table::new(self.source, what, self.raw.span(), entries, allowed)
    }
}

/// "did you mean `x`?" when something is near, and all that is allowed.
pub(super) fn suggestion<'a>(word: &str, allowed: impl Iterator<Item = &'a str>) -> String {
    let allowed: Vec<_> = allowed.collect();
    let list = allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let near = allowed.iter().map(|name| (strsim::levenshtein(word, name), name)).min();
    match near {
        Some((far, name)) if far <= (word.chars().count() / 3).max(2) => {
            format!("did you mean `{name}`? allowed are {list}")
        }
        _ => format!("allowed are {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_only_when_it_is_near() {
        let suggest = |word| suggestion(word, ["every", "lease"].into_iter());
        assert_eq!(suggest("evry"), "did you mean `every`? allowed are `every`, `lease`");
        assert_eq!(suggest("cadence"), "allowed are `every`, `lease`");
    }
}
