//! Recording, writing and hashing a history.

use std::{
    fmt,
    hash::{Hash as _, Hasher},
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Event, HostId, What};

/// How much of a history is written or hashed at once, in bytes.
const PIECE: usize = 64 * 1024;

/// Stands before a number that takes eight bytes, where others take the one that they are.
const LONG: u8 = u8::MAX;

/// As many as a long run has: a list that grows is copied time and again. What is not used of it takes no memory but addresses.
const EVENTS_AT_FIRST: usize = 1 << 17;

/// A finished history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// In true order.
    pub events: Vec<Event>,
}

/// SHA-256 over the events of a history, as they are in memory: equal in every build by one compiler for machines of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HistoryHash([u8; 32]);

impl fmt::Display for HistoryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sixteen digits identify a run well enough for a person.
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl History {
    /// Writes one JSON object a line, whole lines together.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_lines(&self, out: &mut impl Write) -> io::Result<()> {
        // Serialised into memory: the code of that is large, and would be made anew for each kind of writer.
        let mut lines = Vec::with_capacity(2 * PIECE);
        for event in &self.events {
            serde_json::to_writer(&mut lines, event).expect("an event is JSON, and memory does not fail");
            lines.push(b'\n');
            if lines.len() >= PIECE {
                out.write_all(&lines)?;
                lines.clear();
            }
        }
        out.write_all(&lines)
    }

    /// Reads what [`History::write_lines`] wrote.
    ///
    /// # Errors
    /// Names the first line that is not an event.
    pub fn read_lines(text: &str) -> Result<Self, String> {
        // From bytes, as messages are read: one copy of the code for all verbs.
        let events = text.lines().enumerate().map(|(index, line)| {
            serde_json::from_slice(line.as_bytes()).map_err(|error| format!("line {}: {error}", index + 1))
        });
        Ok(Self { events: events.collect::<Result<_, _>>()? })
    }

    /// Equal for equal histories. (That of a written form would be, too, and takes longer.)
    pub fn hash(&self) -> HistoryHash {
        let mut feed = Feed { digest: Sha256::new(), bytes: Vec::with_capacity(2 * PIECE) };
        self.events.iter().for_each(|event| event.hash(&mut feed));
        HistoryHash(feed.digest())
    }
}

/// Gathers what is hashed, which comes a number at a time, and hashes it in pieces.
struct Feed {
    digest: Sha256,
    bytes: Vec<u8>,
}

impl Feed {
    #[cold]
    fn pour(&mut self) {
        self.digest.update(&self.bytes);
        self.bytes.clear();
    }

    fn digest(mut self) -> [u8; 32] {
        self.digest.update(&self.bytes);
        self.digest.finalize().into()
    }
}

impl Hasher for Feed {
    // Most of what is written is one number, whose length is known where this is inlined.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= PIECE {
            self.pour();
        }
    }

    /// How long something is, which nearly always fits a byte.
    #[inline]
    fn write_usize(&mut self, length: usize) {
        match u8::try_from(length) {
            Ok(short) if short != LONG => self.write(&[short]),
            _ => {
                self.write(&[LONG]);
                self.write(&length.to_ne_bytes());
            }
        }
    }

    /// Which variant of an enum it is.
    #[inline]
    fn write_isize(&mut self, variant: isize) {
        self.write_usize(variant.cast_unsigned());
    }

    fn finish(&self) -> u64 {
        unreachable!("a history's hash has more than 64 bits")
    }
}

/// Collects events while a run goes on; clones share the history. True time is whatever the lane says it is.
#[derive(Clone, Default)]
pub struct Recorder {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    events: Vec<Event>,
    now_us: u64,
}

impl Default for Inner {
    fn default() -> Self {
        Self { events: Vec::with_capacity(EVENTS_AT_FIRST), now_us: 0 }
    }
}

impl Recorder {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds an event at true time `at_us`. Hosts of one step run one after the other, so a host may look a little
    /// behind the one before it; the history keeps the order in which things were done and never goes back.
    /// Returns the event's number, from 0.
    pub fn record(&self, at_us: u64, host: HostId, what: What) -> usize {
        self.with(|inner| {
            inner.now_us = inner.now_us.max(at_us);
            let at_us = inner.now_us;
            inner.events.push(Event { at_us, host, what });
            inner.events.len() - 1
        })
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.with(|inner| inner.events.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the history out.
    pub fn finish(&self) -> History {
        self.with(|inner| History { events: std::mem::take(&mut inner.events) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_number_takes_a_byte_and_a_long_one_nine() {
        let written = |number| {
            let mut feed = Feed { digest: Sha256::new(), bytes: Vec::new() };
            feed.write_usize(number);
            feed.bytes
        };
        let long = |number: usize| [&[LONG][..], &number.to_ne_bytes()].concat();
        assert_eq!([written(0), written(254)], [[0], [254]]);
        assert_eq!([written(255), written(256)], [long(255), long(256)]);
    }
}
