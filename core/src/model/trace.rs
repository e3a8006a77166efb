//! Owns the trace that an item belongs to: where in it the item was enqueued, as W3C Trace Context says it. Pure; knows
//! no spans and no tracer.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

/// Bytes of a `traceparent`.
const PARENT_BYTES: usize = 55;

/// Longest `tracestate` that is kept, in bytes: what every participant must be able to pass on.
pub const MAX_TRACE_STATE_BYTES: usize = 512;

/// A place in a distributed trace ([W3C Trace Context](https://www.w3.org/TR/trace-context/)): the span in which an item
/// was enqueued. Stored as text: the `traceparent`, and behind a space the `tracestate`, if there is one.
///
/// ```
/// use tourbillon::model::TraceContext;
/// let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let trace = TraceContext::new(parent, Some("vendor=1"))?;
/// assert_eq!(trace.traceparent(), parent);
/// assert_eq!(trace.tracestate(), Some("vendor=1"));
/// assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// # Ok::<(), tourbillon::model::TraceContextError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TraceContext(Arc<str>);

/// A `traceparent` that is none: say where it comes from, or leave it out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent: {0:?}")]
pub struct TraceContextError(String);

impl TraceContext {
    /// From the two headers. A later version of `traceparent` is taken for what version 00 makes of it; a `tracestate` that is
    /// empty, longer than [`MAX_TRACE_STATE_BYTES`] or no printable ASCII is left out, as the recommendation has it.
    ///
    /// # Errors
    /// [`TraceContextError`] for a `traceparent` that is malformed, or whose ids are zero.
    pub fn new(traceparent: &str, tracestate: Option<&str>) -> Result<Self, TraceContextError> {
        let Some(parent) = parent_of(traceparent) else {
            return Err(TraceContextError(traceparent.chars().take(2 * PARENT_BYTES).collect()));
        };
        Ok(match tracestate.map(|state| state.trim_matches([' ', '\t'])).filter(|state| is_state(state)) {
            Some(state) => Self(format!("00{parent} {state}").into()),
            None => Self(format!("00{parent}").into()),
        })
    }

    /// Takes text back from a store that got it from [`TraceContext::as_str`]. Anything else is none: what is wrong with
    /// a trace is no reason not to run.
    pub fn from_stored(text: &str) -> Option<Self> {
        let (parent, state) = text.split_once(' ').map_or((text, None), |(parent, state)| (parent, Some(state)));
        Self::new(parent, state).ok()
    }

    /// The text as stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `00-` trace id `-` span id `-` flags, in lower-case hexadecimal digits: 55 bytes.
    pub fn traceparent(&self) -> &str {
        &self.0[..PARENT_BYTES]
    }

    /// What vendors add, 1 to [`MAX_TRACE_STATE_BYTES`] of printable ASCII.
    pub fn tracestate(&self) -> Option<&str> {
        self.0.get(PARENT_BYTES + 1..)
    }

    /// 32 hexadecimal digits, not all zero.
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    /// The span in which the item was enqueued: 16 hexadecimal digits, not all zero.
    pub fn span_id(&self) -> &str {
        &self.0[36..52]
    }

    /// Whether that span was recorded.
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.0[53..PARENT_BYTES], 16).is_ok_and(|flags| flags & 1 == 1)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::from_stored(&text).ok_or_else(|| serde::de::Error::custom(TraceContextError(text)))
    }
}

/// For a field of a row: text that is no trace context is none.
pub(crate) fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Option<TraceContext>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.as_deref().and_then(TraceContext::from_stored))
}

/// What comes behind the version, to the end of the flags.
fn parent_of(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    if bytes.len() < PARENT_BYTES || !text.is_ascii() {
        return None;
    }
    let is_hex = |from: usize, to: usize| bytes[from..to].iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |from: usize, to: usize| bytes[from..to].iter().all(|b| *b == b'0');
    let has_dashes = [2, 35, 52].iter().all(|at| bytes[*at] == b'-');
    let is_whole = match &bytes[..2] {
        b"ff" => false,
        b"00" => bytes.len() == PARENT_BYTES,
        _ => bytes.get(PARENT_BYTES).is_none_or(|next| *next == b'-'),
    };
    let is_sound = is_whole
        && has_dashes
        && is_hex(0, 2)
        && is_hex(3, 35)
        && is_hex(36, 52)
        && is_hex(53, PARENT_BYTES)
        && !is_zero(3, 35)
        && !is_zero(36, 52);
    is_sound.then(|| &text[2..PARENT_BYTES])
}

fn is_state(state: &str) -> bool {
    (1..=MAX_TRACE_STATE_BYTES).contains(&state.len()) && state.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_stored_as_text_and_comes_back() {
        for state in [None, Some("a=1"), Some("a=1, b=2,c= 3")] {
            let trace = TraceContext::new(PARENT, state).unwrap();
            assert_eq!((trace.traceparent(), trace.tracestate()), (PARENT, state));
            assert_eq!((trace.trace_id(), trace.span_id()), ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"));
            assert_eq!(TraceContext::from_stored(trace.as_str()), Some(trace.clone()));
            let json = serde_json::to_string(&trace).unwrap();
            assert_eq!(serde_json::from_str::<TraceContext>(&json).unwrap(), trace);
        }
    }

    #[test]
    fn flags_say_whether_it_is_sampled() {
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let parent = format!("{}{flags}", &PARENT[..53]);
            assert_eq!(TraceContext::new(&parent, None).unwrap().is_sampled(), is_sampled, "{flags}");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_refused_and_none_when_it_is_stored() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
        let with = |at: usize, text: &str| format!("{}{text}{}", &PARENT[..at], &PARENT[at + text.len()..]);
        for wrong in [
            "",
            " ",
            "nonsense",
            &PARENT[..54],
            &format!("{PARENT}-more"),
            &format!("{PARENT}0"),
            &with(0, "ff"),
            &with(0, "0x"),
            &with(2, "_"),
            &with(35, "_"),
            &with(52, "_"),
            &with(3, "A"),
            &with(36, "g"),
            &with(53, "-"),
            // Longer than 55 bytes, and cut within a character there.
            &format!("{}ä", &PARENT[..54]),
            &zero_trace,
            &zero_span,
        ] {
            assert!(TraceContext::new(wrong, None).is_err(), "{wrong:?}");
            assert_eq!(TraceContext::from_stored(wrong), None, "{wrong:?}");
            assert!(serde_json::from_value::<TraceContext>(wrong.into()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_later_version_is_taken_for_this_one() {
        for later in [format!("01{}", &PARENT[2..]), format!("cc{}-what-else", &PARENT[2..])] {
            assert_eq!(TraceContext::new(&later, None).unwrap().traceparent(), PARENT);
        }
        assert!(TraceContext::new(&format!("01{}.what", &PARENT[2..]), None).is_err());
    }

    #[test]
    fn a_tracestate_that_cannot_be_kept_is_left_out() {
        let longest = "x".repeat(MAX_TRACE_STATE_BYTES);
        assert_eq!(TraceContext::new(PARENT, Some(&longest)).unwrap().tracestate(), Some(&*longest));
        for wrong in ["", "  ", "a=\n", "a=ä", "a=\0", &format!("{longest}y")] {
            let trace = TraceContext::new(PARENT, Some(wrong)).unwrap();
            assert_eq!((trace.traceparent(), trace.tracestate()), (PARENT, None), "{wrong:?}");
        }
    }
}
