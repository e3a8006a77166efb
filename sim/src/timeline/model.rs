//! What a picture of a run is made of. Owns the shapes, and what of a run is worth looking at first; draws nothing.

use tourbillon::model::Timestamp;

use super::Reading;
use crate::history::HostId;

/// A run, ready to be drawn.
#[derive(Clone, PartialEq, Debug)]
pub struct Timeline {
    /// Scenario and seed.
    pub title: String,
    /// What replays the run, if somebody said.
    pub replay: Option<String>,
    /// The database clock at true time zero.
    pub epoch: Timestamp,
    /// True time of the last event, in microseconds.
    pub end_us: u64,
    /// One per host: world, replicas, database, receivers, each in the order of their numbers.
    pub lanes: Vec<Lane>,
    /// What events and bars are about, by index: an execution, a lock, an effect's key, …
    pub subjects: Vec<String>,
    /// One per event of the history, in its order: a point's index is the number of its event, from 0.
    pub points: Vec<Point>,
    /// What lasts, ordered by (lane, track, beginning). Bars of one kind on one track do not overlap.
    pub bars: Vec<Bar>,
    /// What was broken, in the order of the findings.
    pub marks: Vec<Mark>,
}

/// A host.
#[derive(Clone, PartialEq, Debug)]
pub struct Lane {
    /// Which.
    pub host: HostId,
    /// How its wall clock compares with true time; at least one reading, at 0.
    pub clock: Vec<Reading>,
}

/// One event.
#[derive(Clone, PartialEq, Debug)]
pub struct Point {
    /// True time, in microseconds.
    pub at_us: u64,
    /// Index of its lane.
    pub lane: usize,
    /// What sort of event.
    pub kind: PointKind,
    /// In a few words.
    pub label: String,
    /// What it is about, by index, ascending.
    pub subjects: Vec<usize>,
    /// The request that it belongs to: equal for what was sent, applied and answered under one request id.
    pub request: Option<usize>,
}

/// Something that lasts.
#[derive(Clone, PartialEq, Debug)]
pub struct Bar {
    /// Index of its lane.
    pub lane: usize,
    /// What lasts.
    pub kind: BarKind,
    /// The line of the lane that it is drawn on, from 0, for its kind's [`BarKind::group`].
    pub track: usize,
    /// True time of its beginning, in microseconds.
    pub from_us: u64,
    /// True time of its end, in microseconds; not before its beginning.
    pub to_us: u64,
    /// In a few words: token, fence, epoch.
    pub label: String,
    /// How it ended; empty: it lasts to the end of the run.
    pub note: String,
    /// What it is about, by index, ascending.
    pub subjects: Vec<usize>,
    /// The event that began it.
    pub first: usize,
    /// The event that ended it; `None` when time did, or nothing.
    pub last: Option<usize>,
}

/// A broken guarantee.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Its name.
    pub guarantee: String,
    /// What happened.
    pub message: String,
    /// The events that prove it, ascending; the last one completes the proof. May be empty.
    pub events: Vec<usize>,
    /// The part of true time to look at first, in microseconds.
    pub view_us: (u64, u64),
}

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($kind:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum $name { $(#[doc = $text] $kind,)* }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// For legends.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $text,)* }
            }
        }
    };
}

kinds! {
    /// A sort of event.
    PointKind {
        Invoked = "request sent",
        Applied = "applied",
        Idle = "applied, nothing changed",
        Refused = "applied, refused",
        Answered = "answered",
        Failed = "failed at its sender",
        Handler = "handler or tick",
        Effect = "effect sent",
        Received = "effect received",
        Rejected = "effect refused",
        Process = "process or phase",
        Clock = "clock set",
        Fault = "fault",
        Panic = "panic",
        Other = "other",
    }
}

kinds! {
    /// A sort of bar.
    BarKind {
        Down = "process down",
        Paused = "paused",
        Fault = "fault",
        Lock = "lock held",
        Leader = "believes to lead",
        Lease = "lease held",
        Attempt = "attempt runs",
        Tick = "tick runs",
        Unit = "unit of work",
        Call = "request under way",
    }
}

impl BarKind {
    /// Kinds of one group share the tracks of a lane; what a lease or a lock holder does is drawn on its line.
    pub const fn group(self) -> usize {
        match self {
            Self::Down | Self::Paused => 0,
            Self::Fault => 1,
            Self::Lock | Self::Leader => 2,
            Self::Lease | Self::Attempt => 3,
            Self::Tick => 4,
            Self::Unit => 5,
            Self::Call => 6,
        }
    }
}

/// How much of the time before a proof of one instant is shown, in microseconds.
const BEFORE_US: u64 = 4_000_000;

/// The shortest and the longest proof that decides itself how much is shown, in microseconds.
const SHORTEST_US: u64 = 50_000;
const LONGEST_US: u64 = 120_000_000;

/// What to look at first: from the first proving event to the last, with a margin, of which most is before; when they
/// lie far apart, the time before the last one. `proof_us` is when they happened, ascending; empty: the whole run.
pub(super) fn first_view(proof_us: &[u64], end_us: u64) -> (u64, u64) {
    let (Some(first), Some(last)) = (proof_us.first(), proof_us.last()) else { return (0, end_us) };
    let span = if first == last { BEFORE_US } else { (last - first).clamp(SHORTEST_US, LONGEST_US) };
    (last.saturating_sub(span + span / 4), last + span / 4)
}
