//! Owns how far a running attempt says it is: a short note, and a part of the whole. Pure; knows no store and no clock.

use serde::{Deserialize, Deserializer, Serialize};

use super::Timestamp;

/// Longest note that is kept, in bytes.
pub const MAX_PROGRESS_BYTES: usize = 200;

/// How far an attempt is, in its handler's words.
///
/// ```
/// use tourbillon::model::Progress;
/// let progress = Progress::new("page 3 of 12").done(0.25);
/// assert_eq!((progress.note(), progress.permille()), ("page 3 of 12", Some(250)));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Progress {
    note: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permille: Option<u16>,
}

impl Progress {
    /// One line for people. What is longer than [`MAX_PROGRESS_BYTES`] is cut, at the end of a character; control characters
    /// become spaces.
    pub fn new(note: &str) -> Self {
        let clean: String = note.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut end = clean.len().min(MAX_PROGRESS_BYTES);
        while !clean.is_char_boundary(end) {
            end -= 1;
        }
        Self { note: clean[..end].to_owned(), permille: None }
    }

    /// Which part of the whole is done, 0 to 1; anything else is taken for the nearest of these, and no number for nothing.
    #[must_use]
    pub fn done(self, part: f64) -> Self {
        Self { permille: (!part.is_nan()).then(|| (part.clamp(0.0, 1.0) * 1_000.0).round() as u16), ..self }
    }

    /// The note; may be empty.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The part that is done, in thousandths: 0 to 1,000.
    pub const fn permille(&self) -> Option<u16> {
        self.permille
    }

    /// Whether it is what [`Progress::new`] makes.
    pub(crate) fn is_sound(&self) -> bool {
        Self::new(&self.note).note == self.note && self.permille.is_none_or(|permille| permille <= 1_000)
    }
}

/// What a row keeps of the progress of its last attempt.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Reported {
    /// What the handler said.
    #[serde(flatten)]
    pub progress: Progress,
    /// When the heartbeat came that brought it.
    pub at: Timestamp,
}

/// For a field of a row: whatever is no progress is none.
pub(crate) fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Reported>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).ok())
}

impl Reported {
    /// Takes text back from a store that got it from [`Reported::stored`]; anything else is none.
    pub fn from_stored(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The text as stored: JSON.
    pub fn stored(&self) -> String {
        serde_json::to_string(self).expect("two texts and two numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_one_short_line() {
        assert_eq!(Progress::new("a\nb\0c\td").note(), "a b c d");
        assert_eq!(Progress::new(&"ä".repeat(150)).note(), "ä".repeat(100));
        assert_eq!(Progress::new(&format!("x{}", "ä".repeat(150))).note().len(), 199);
    }

    #[test]
    fn parts_are_thousandths_of_the_whole() {
        for (part, permille) in [
            (0.0, Some(0)),
            (0.2504, Some(250)),
            (0.9996, Some(1_000)),
            (-3.0, Some(0)),
            (7.0, Some(1_000)),
            (f64::INFINITY, Some(1_000)),
            (f64::NAN, None),
        ] {
            assert_eq!(Progress::new("x").done(part).permille(), permille, "{part}");
        }
    }

    #[test]
    fn what_is_stored_comes_back_and_nothing_else() {
        for progress in [Progress::new("page 3").done(0.5), Progress::new("")] {
            let reported = Reported { progress, at: Timestamp::from_micros(7) };
            assert_eq!(Reported::from_stored(&reported.stored()), Some(reported));
        }
        for wrong in ["", "null", "7", "{}", r#"{"note":7,"at":7}"#, r#"{"note":"x"}"#] {
            assert_eq!(Reported::from_stored(wrong), None, "{wrong}");
        }
    }
}
