//! The history: everything that happened in one run, in true order. The only thing that checkers read.
//!
//! One format for every lane and engine, and later for real processes: one JSON object a line. What the engine is
//! and which lane carried the messages is deliberately absent from it, so that equal runs are equal bytes.

mod compare;
mod event;
mod log;

pub use compare::{Difference, first_difference};
pub use event::{
    Answer, Boot, CallAnswer, CrashKind, Effect, Event, FinalState, HostId, JobFacts, OutsideCall, Phase, QueueFacts,
    QueueRate, ReceiverFacts, RunFacts, STANDSTILL_PPM, ServiceFacts, ShutdownOutcome, Stage, What,
};
pub(crate) use event::{micros, usual_probe};
pub use log::{History, HistoryHash, Recorder};
