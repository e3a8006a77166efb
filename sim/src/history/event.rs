//! The events of a history.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tourbillon::{
    model::{
        AuditEvent, Epoch, Execution, ExecutionId, Fence, Generation, Incarnation, JobName, LeaseRef, LockName,
        RequestId, Scope, ServiceName, Timestamp,
    },
    runtime::{HandlerEnd, TickEnd},
    store::{ErrorKind, Reply, Request, SkippedEntry, StoreError},
};

use super::RunFacts;
use crate::world::application::{ApplicationReply, ApplicationRequest};

/// A host of the simulated world. Ordered and short: it is on every line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostId {
    /// The world itself: faults, phases.
    World,
    /// The database host.
    Database,
    /// The n-th replica, from 0.
    Replica(u8),
    /// The n-th outside receiver, from 0.
    Receiver(u8),
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.write_str("world"),
            Self::Database => f.write_str("database"),
            Self::Replica(n) => write!(f, "replica-{n}"),
            Self::Receiver(n) => write!(f, "receiver-{n}"),
        }
    }
}

/// One event.
#[derive(Clone, PartialEq, Hash, Debug, Serialize, Deserialize)]
pub struct Event {
    /// True time since the start of the run, in microseconds. Never decreases; the order of events is the order
    /// of the history.
    pub at_us: u64,
    /// Where.
    pub host: HostId,
    /// What. (Named by a field of its own: beside those of the event its fields could be read only with a copy of each value
    /// in between, and the code for every verb twice.)
    pub what: What,
}

/// The drift of a monotonic clock that stands still: none of its seconds passes. See [`What::ClockSet`].
pub const STANDSTILL_PPM: i32 = -1_000_000;

/// What happened.
#[derive(Clone, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// First event: what the run is about. Host: world.
    Began {
        /// Everything a checker may assume.
        facts: Box<RunFacts>,
    },
    /// Another phase begins. Host: world.
    PhaseBegan {
        /// Which.
        phase: Phase,
    },
    /// A process started. Host: replica.
    Booted {
        /// Its identity.
        incarnation: Incarnation,
    },
    /// The process that just booted runs software that a deploy brought. Not there for version 0. Host: replica.
    Deployed {
        /// Its identity.
        incarnation: Incarnation,
        /// Its version.
        version: u32,
    },
    /// A process was killed; nothing of it runs after this. Host: replica.
    Crashed {
        /// Its identity.
        incarnation: Incarnation,
        /// How.
        kind: CrashKind,
    },
    /// A shutdown was asked for. Host: replica.
    ShutdownBegan {
        /// Of which process.
        incarnation: Incarnation,
        /// How long handlers may finish, by the replica's monotonic clock, in milliseconds.
        grace_ms: u64,
    },
    /// The shutdown returned. Host: replica.
    ShutdownEnded {
        /// Of which process.
        incarnation: Incarnation,
        /// What it said.
        outcome: ShutdownOutcome,
    },
    /// A replica that listens for notices has just heard from the database on the way that they come. Host: replica.
    Listens {
        /// Who.
        incarnation: Incarnation,
    },
    /// A replica sent a request. One event per transmission: repetitions have the same request id. Host: replica.
    Invoked {
        /// Who.
        incarnation: Incarnation,
        /// Of the request.
        request: RequestId,
        /// Verb name.
        verb: Cow<'static, str>,
        /// Rows that the request shows leases of (start, heartbeat, settle), in order; else empty.
        leases: Vec<LeaseRef>,
    },
    /// The database carried out a request: the truth. Also when nobody heard of it. Host: database.
    Applied {
        /// The request as applied. (Elsewhere, as are others below: a history is made of events of one size, which checkers walk through.
        /// Shared with whoever sent it.)
        request: Arc<Request>,
        /// The database clock at that moment.
        now: Timestamp,
        /// What it answered, whether or not the answer arrived.
        result: Result<Reply, StoreError>,
    },
    /// The database carried out a request of the application: the truth, as for `Applied`. A store request in the
    /// same transaction has an `Applied` event of its own just before. Host: database.
    ApplicationApplied {
        /// The request as applied.
        request: Arc<ApplicationRequest>,
        /// The database clock at that moment.
        now: Timestamp,
        /// What it answered, whether or not the answer arrived.
        result: Box<Result<ApplicationReply, StoreError>>,
        /// What it changed, as the application says; empty when a repetition was answered by its first outcome.
        changes: Vec<Value>,
    },
    /// A transmission came back, or was given up. Host: replica.
    Answered {
        /// Who.
        incarnation: Incarnation,
        /// Of the request.
        request: RequestId,
        /// Verb name.
        verb: Cow<'static, str>,
        /// What the replica saw.
        answer: Answer,
    },
    /// A handler is polled for the first time. Host: replica.
    HandlerStarted {
        /// Who.
        incarnation: Incarnation,
        /// Under which claim.
        lease: LeaseRef,
        /// Which life.
        generation: Generation,
        /// Attempt number, from 1.
        attempt: u32,
        /// The job.
        job: JobName,
        /// The scope.
        scope: Box<Scope>,
        /// Its slot.
        slot_at: Option<Timestamp>,
    },
    /// A handler will not be polled again. (None follows when the process dies first.) Host: replica.
    HandlerEnded {
        /// Who.
        incarnation: Incarnation,
        /// Under which claim.
        lease: LeaseRef,
        /// How, as its own replica saw it.
        end: HandlerEnd,
    },
    /// The work of a service's tick is polled for the first time. Host: replica.
    TickStarted {
        /// Who.
        incarnation: Incarnation,
        /// Which tick.
        tick: RequestId,
        /// Of which service.
        service: ServiceName,
        /// The lock that it runs under, and its epoch.
        under: Option<(LockName, Epoch)>,
    },
    /// The work of a tick will not be polled again. (None follows when the process dies first.) Host: replica.
    TickEnded {
        /// Who.
        incarnation: Incarnation,
        /// Which tick.
        tick: RequestId,
        /// How, as its own replica saw it.
        end: TickEnd,
    },
    /// A replica believes from now on that it leads a group. Host: replica.
    LeaderGained {
        /// Who.
        incarnation: Incarnation,
        /// The group's lock.
        lock: LockName,
        /// Its epoch.
        epoch: Option<Epoch>,
    },
    /// It does not any more. (None follows when the process dies first.) Host: replica.
    LeaderLost {
        /// Who.
        incarnation: Incarnation,
        /// The group's lock.
        lock: LockName,
        /// Its epoch.
        epoch: Option<Epoch>,
    },
    /// A handler began to send an effect. Host: replica.
    EffectSent {
        /// Who.
        incarnation: Incarnation,
        /// The effect.
        effect: Effect,
    },
    /// An outside receiver got an effect. Host: receiver.
    EffectReceived {
        /// The effect.
        effect: Effect,
        /// False when the receiver refused it: its fence was below the highest seen for the key.
        accepted: bool,
    },
    /// An outside receiver got a call. Host: receiver.
    CallReceived {
        /// Who called.
        incarnation: Incarnation,
        /// The call. If an attempt made it, an `EffectReceived` event comes just before.
        call: Box<OutsideCall>,
        /// What the receiver did. `Done` is one effect; the others are none.
        answer: CallAnswer,
    },
    /// A unit of work, of a row of a truth table, reached a stage. Host: replica; receiver when it landed.
    Staged {
        /// Whose work it is.
        incarnation: Incarnation,
        /// Id of the row.
        row: String,
        /// Which unit: unique while it lasts, per row and incarnation.
        unit: String,
        /// How far it is.
        stage: Stage,
    },
    /// A fault of single messages struck this one. Host: database for a request, receiver for an effect.
    Struck {
        /// Kind, as in fault plans.
        kind: String,
        /// Whose message.
        replica: u8,
        /// Of the request, if it was one.
        request: Option<RequestId>,
    },
    /// A fault took hold. Host: the host concerned, or world.
    FaultBegan {
        /// Kind, as in fault plans.
        kind: String,
        /// What exactly, for people.
        detail: String,
    },
    /// A fault that lasts ended. Host: as it began.
    FaultEnded {
        /// Kind, as in fault plans.
        kind: String,
    },
    /// A host's wall clock now differs from true time by this much. Host: replica or database.
    ClockSet {
        /// Signed microseconds.
        offset_us: i64,
        /// Drift of the monotonic clock in parts per million; positive runs fast. [`STANDSTILL_PPM`]: it stands still,
        /// and the wall clock does not.
        drift_ppm: i32,
    },
    /// The database goes on as a server that lacks the newest commits. Host: database.
    FailedOver {
        /// The `Applied` and `ApplicationApplied` events of what is lost, by their numbers from 0, ascending: whatever
        /// the database committed from the first of them on.
        lost: Vec<usize>,
    },
    /// A host stopped being scheduled; it goes on later as if nothing had happened. Host: replica.
    Paused,
    /// It goes on. Host: replica.
    Resumed,
    /// A task panicked. Always a violation unless it is a handler's planned panic. Host: where.
    Panicked {
        /// The panic message.
        message: String,
    },
    /// Tasks were started past the runtime that the process was given. Always a violation. Host: replica.
    Strayed {
        /// How many since the last such event, or since the process began; one or more.
        tasks: u64,
    },
    /// The application's own remark about what it does: the stage of a loop, for example. Host: replica.
    Noted {
        /// Who.
        incarnation: Incarnation,
        /// What, in the application's own words.
        note: Value,
    },
    /// Just before the last event: what the application's tables hold at the end. Host: database.
    ApplicationEnded {
        /// Everything, in the application's own words.
        state: Value,
    },
    /// Last event: what the database holds at the end. Host: database.
    Ended {
        /// Everything.
        state: Box<FinalState>,
    },
}

/// How far a unit of work is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It was taken: claimed, locked, or read as due. Nothing of it has happened yet.
    Begun,
    /// Its effect is under way to a receiver.
    Sent,
    /// A receiver has its effect. Reported by the receiver, whether or not its answer arrives.
    Landed,
    /// What it did is about to be written to the database.
    Marking,
    /// It is over, in whatever way, as far as its process knows. None follows when the process dies first.
    Ended,
}

/// How a process was killed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashKind {
    /// Destructors ran and connections said goodbye, as with a panic that unwinds or a SIGTERM without a handler.
    Polite,
    /// Cut off first and never polled again, as with kill -9 or a power cut.
    PowerLoss,
}

/// What a shutdown said.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownOutcome {
    /// Nothing runs any more and every interrupted row was given back.
    Ok,
    /// These may still run or were not given back.
    Timeout(Vec<String>),
}

/// What a replica learnt from one transmission.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The reply arrived. Its content is in the `Applied` event with the same request id (the first successful
    /// one: repetitions answer the same).
    Reply,
    /// An error arrived, or arose on the way.
    Error(ErrorKind, String),
}

/// Parts of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Faults come and go.
    Chaos,
    /// Only a random working core is healed; skew is left in place. Liveness is demanded of it.
    PartialHeal,
    /// Everything is healed; the system must converge.
    Heal,
}

/// One effect on the outside world.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Effect {
    /// Which execution caused it.
    pub execution: ExecutionId,
    /// Which life.
    pub generation: Generation,
    /// The fence its handler was shown.
    pub fence: Fence,
    /// The attempt, from 1.
    pub attempt: u32,
    /// What the receiver counts by, for example the e-mail address and the day.
    pub key: String,
}

/// Something asked of an outside receiver.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct OutsideCall {
    /// What the receiver counts by.
    pub key: String,
    /// What receivers that deduplicate recognise a repetition by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<String>,
    /// Of the lock or leadership that it was made under, if it shows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The attempt that made it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
}

/// What a receiver did about a call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallAnswer {
    /// What was asked.
    Done,
    /// Nothing: it had done so before, for the same idempotency key.
    Duplicate,
    /// Nothing: the fence was below the highest seen.
    Fenced,
    /// Nothing: it could not.
    Failed,
}

/// As the instants of a history are counted; saturates.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What the database holds at the end of a run.
#[derive(Clone, PartialEq, Hash, Debug, Serialize, Deserialize)]
pub struct FinalState {
    /// Database clock.
    pub now: Timestamp,
    /// All executions, live and finished, ordered by (id, generation).
    pub executions: Vec<Execution>,
    /// The missed-slot ledger.
    pub skipped: Vec<SkippedEntry>,
    /// The audit log, ordered by key.
    pub audit: Vec<AuditEvent>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history is tens of thousands of them, and every checker walks through it: what is large and seldom is in a box.
    #[test]
    fn an_event_takes_two_lines_of_a_cache() {
        assert!(size_of::<Event>() <= 128, "{} bytes", size_of::<Event>());
    }
}
