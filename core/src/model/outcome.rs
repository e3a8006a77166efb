//! Owns what an attempt can end with, already in a form that every store accepts.
//!
//! The caps live in the types: an [`ErrorText`] that a database would refuse cannot be built (P-8), so a mark
//! can never be lost to its own content.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// Most bytes of error text that are kept.
pub const MAX_ERROR_BYTES: usize = 4_000;

/// Most bytes of canonical JSON that a result or payload may have.
pub const MAX_JSON_BYTES: usize = 16 * 1024;

/// A short machine-readable reason, such as `run_timeout`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(Arc<str>);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub fn $name() -> Self { Self($text.into()) })*
    };
}

impl ErrorCode {
    codes! {
        /// The handler returned an error and named no code of its own.
        handler_error = "handler_error";
        /// The handler panicked: a failure, never a success.
        handler_panic = "handler_panic";
        /// The handler ran longer than the job's run timeout.
        run_timeout = "run_timeout";
        /// Cancelled by an operator.
        canceled = "canceled";
        /// The lease was lost while the handler ran.
        lease_lost = "lease_lost";
        /// The lease expired and re-entry is forbidden or no attempt is left.
        stale_timeout = "stale_timeout";
        /// The handler succeeded with a result above [`MAX_JSON_BYTES`]; that attempt fails.
        result_too_large = "result_too_large";
    }

    /// A code of the user's own, cleaned like an [`ErrorText`] and cut at 100 bytes.
    pub fn custom(code: &str) -> Self {
        Self(clean(code, 100).into())
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Error text as stored: no NUL (Postgres refuses it), at most [`MAX_ERROR_BYTES`], cut between characters.
///
/// ```
/// use tourbillon::model::{ErrorText, MAX_ERROR_BYTES};
/// let text = ErrorText::new(&"é".repeat(4_000));
/// assert!(text.as_str().len() <= MAX_ERROR_BYTES);
/// assert_eq!(ErrorText::new("a\0b").as_str(), "ab");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorText(Arc<str>);

impl ErrorText {
    /// Cleans and cuts `text`.
    pub fn new(text: &str) -> Self {
        Self(clean(text, MAX_ERROR_BYTES).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn clean(text: &str, max_bytes: usize) -> String {
    let mut kept: String = text.chars().filter(|c| *c != '\0').collect();
    let mut end = kept.len().min(max_bytes);
    while !kept.is_char_boundary(end) {
        end -= 1;
    }
    kept.truncate(end);
    kept
}

/// A JSON document in canonical form: keys sorted, no white space, so that equal documents are equal bytes on
/// every store. At most [`MAX_JSON_BYTES`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Arc<str>);

/// Why a value cannot be kept as [`Json`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Above [`MAX_JSON_BYTES`].
    #[error("JSON too large: {0} bytes, at most {MAX_JSON_BYTES} are kept")]
    TooLarge(usize),
    /// A string holds NUL, which Postgres cannot keep.
    #[error("JSON holds a NUL character, which Postgres cannot keep")]
    Nul,
}

impl Json {
    /// `{}`: what an empty result is (P-8).
    pub fn empty() -> Self {
        Self("{}".into())
    }

    /// The canonical form of `value`.
    ///
    /// # Errors
    /// [`JsonError`] when it is too large or holds NUL.
    pub fn new(value: &serde_json::Value) -> Result<Self, JsonError> {
        // serde_json keeps objects in a BTreeMap (we do not enable `preserve_order`), hence sorted keys.
        let text = value.to_string();
        if text.len() > MAX_JSON_BYTES {
            return Err(JsonError::TooLarge(text.len()));
        }
        if holds_nul(value) {
            return Err(JsonError::Nul);
        }
        Ok(Self(text.into()))
    }

    /// Takes text back from a store that got it from [`Json::as_str`].
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn holds_nul(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An error as stored: code and text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// What kind.
    pub code: ErrorCode,
    /// What exactly.
    pub text: ErrorText,
}

impl Failure {
    /// Builds a failure, cleaning the text.
    pub fn new(code: ErrorCode, text: &str) -> Self {
        Self { code, text: ErrorText::new(text) }
    }
}

/// A wait as stored: whole milliseconds, rounded up so that nothing is early.
pub(crate) fn wait_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Whether a failed attempt may be followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// After this many milliseconds of the database clock, while attempts remain.
    AfterMs(u64),
    /// Not at all: the execution is dead whatever its budget.
    Never,
}

impl Retry {
    /// From a duration; sub-millisecond parts are rounded up, so a retry is never early.
    pub fn after(delay: Duration) -> Self {
        Self::AfterMs(wait_ms(delay))
    }
}

/// How a runner ends its attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The handler returned success.
    Succeeded {
        /// What it returned; `{}` when nothing.
        result: Json,
        /// How many rows it says it touched.
        rows_affected: Option<u64>,
    },
    /// The handler failed; becomes retryable or dead.
    Failed {
        /// Why.
        failure: Failure,
        /// Whether and when another attempt may follow.
        retry: Retry,
    },
    /// Given back untouched or interrupted by a shutdown: due again now, the attempt is not charged.
    Released,
    /// The handler asked for later: due again after this many milliseconds, the attempt is not charged.
    Snoozed {
        /// Milliseconds of the database clock.
        for_ms: u64,
    },
    /// The handler stopped because an operator cancelled it.
    Cancelled {
        /// Code and text kept on the row.
        failure: Failure,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_text_is_cut_between_characters_and_holds_no_nul() {
        for (input, len) in [("é".repeat(3000), 4000), ("a€".repeat(2000), 4000), ("x".repeat(10), 10)] {
            let text = ErrorText::new(&input);
            assert!(
                text.as_str().len() <= len && text.as_str().len() + 3 > len.min(input.len()),
                "{}",
                text.as_str().len()
            );
        }
        assert_eq!(ErrorText::new("\0a\0").as_str(), "a");
    }

    #[test]
    fn json_is_canonical_and_capped() {
        let value: serde_json::Value = serde_json::from_str(r#"{"b": 1, "a": [ 2 ]}"#).unwrap();
        assert_eq!(Json::new(&value).unwrap().as_str(), r#"{"a":[2],"b":1}"#);
        let large = serde_json::Value::String("x".repeat(MAX_JSON_BYTES));
        assert_eq!(Json::new(&large), Err(JsonError::TooLarge(MAX_JSON_BYTES + 2)));
        assert_eq!(Json::new(&serde_json::json!(["\0"])), Err(JsonError::Nul));
        assert!(Json::new(&serde_json::json!("\\u0000")).is_ok(), "an escaped backslash is not a NUL");
    }

    #[test]
    fn retry_rounds_up() {
        assert_eq!(Retry::after(Duration::from_micros(1)), Retry::AfterMs(1));
        assert_eq!(Retry::after(Duration::ZERO), Retry::AfterMs(0));
    }
}
