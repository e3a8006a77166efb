//! The history: everything that happened in one run, in true order. The only thing that checkers read.
//!
//! One format for every lane and engine, and later for real processes: one JSON object a line. What the engine is
//! and which lane carried the messages is deliberately absent from it, so that equal runs are equal bytes.

mod compare;
mod event;
mod facts;
mod log;

pub use compare::{Difference, first_difference};
pub(crate) use event::micros;
pub use event::{
    Answer, CallAnswer, CrashKind, Effect, Event, FinalState, HostId, OutsideCall, Phase, STANDSTILL_PPM,
    ShutdownOutcome, Stage, What,
};
pub(crate) use facts::usual_probe;
pub use facts::{Boot, JobFacts, QueueFacts, QueueRate, ReceiverFacts, RunFacts, ServiceFacts};
pub use log::{History, HistoryHash, Recorder};
