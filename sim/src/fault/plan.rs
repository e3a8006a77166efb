//! The shape of a fault plan.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything that goes wrong in one run. Times are whole seconds of true time since the start: a coarse grid
/// shrinks well and reads well.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// Faults at fixed times.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Faults that follow an event.
    #[serde(default, rename = "trigger", skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Trigger>,
}

/// One fault at a fixed time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins, in seconds since the start.
    pub at_s: u32,
    /// How long it lasts, in seconds; for a crash or restart: until the process is started again. Ignored by kinds
    /// that are instantaneous.
    #[serde(default)]
    pub lasts_s: u32,
    /// Which replica, from 0 (taken modulo their number). Ignored by kinds that strike the database.
    #[serde(default)]
    pub replica: u8,
    /// What.
    #[serde(flatten)]
    pub bad: Bad,
}

/// What goes wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Bad {
    /// The replica's wall clock is off by this much until the end of the chaos phase.
    ClockOffset {
        /// Signed milliseconds.
        by_ms: i64,
    },
    /// The replica's monotonic and wall clocks run fast (positive) or slow from now on.
    ClockDrift {
        /// Parts per million, −50,000 to 50,000.
        ppm: i32,
    },
    /// The replica's wall clock jumps, once; its monotonic clock does not.
    ClockJump {
        /// Signed milliseconds.
        by_ms: i64,
    },
    /// The database clock steps, once.
    DatabaseClockStep {
        /// Signed milliseconds.
        by_ms: i64,
    },
    /// The replica is not scheduled for a while and then goes on as if nothing had happened.
    Pause,
    /// The replica's process ends with destructors and goodbyes, and is started again afterwards.
    Crash,
    /// The replica is cut off and never polled again, and started again afterwards.
    PowerLoss,
    /// The replica shuts down in order, and is started again afterwards.
    Shutdown {
        /// Seconds that handlers may finish.
        grace_s: u32,
    },
    /// No message passes between the replica and the database.
    Partition,
    /// No message passes from the replica to the database.
    PartitionToDatabase,
    /// No message passes from the database to the replica: requests are applied, replies are lost.
    PartitionFromDatabase,
    /// Messages between the replica and the database are held back and delivered late, all at once.
    Hold,
    /// Requests of the replica are refused before they are applied.
    Refuse {
        /// Which part of them, in percent.
        percent: u8,
    },
    /// Requests of the replica are applied, and the connection breaks before the reply.
    LoseReply {
        /// Which part of them, in percent.
        percent: u8,
    },
    /// Requests of the replica are applied only after the replica gave up on them.
    ApplyLate {
        /// Which part of them, in percent.
        percent: u8,
        /// How late, in seconds.
        delay_s: u32,
    },
    /// The database stops, every session is lost, and it starts again afterwards with all that it had committed.
    DatabaseRestart,
    /// Effects of the replica reach their receiver, and the answer is lost.
    LoseEffectReply {
        /// Which part of them, in percent.
        percent: u8,
    },
}

macro_rules! kinds {
    ($($kind:ident = $name:literal, $about:literal;)*) => {
        /// A kind of fault, without its numbers.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum FaultKind { $(#[doc = $about] $kind,)* }

        impl FaultKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The name used in plans, scenarios and reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// One line for people.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$kind => $about,)* }
            }
        }
    };
}

kinds! {
    ClockOffset = "clock_offset", "a replica's wall clock is off";
    ClockDrift = "clock_drift", "a replica's clocks run fast or slow";
    ClockJump = "clock_jump", "a replica's wall clock jumps";
    DatabaseClockStep = "database_clock_step", "the database clock steps";
    Pause = "pause", "a replica stands still for a while";
    Crash = "crash", "a replica ends with goodbyes and is started again";
    PowerLoss = "power_loss", "a replica is cut off for good and started again";
    Shutdown = "shutdown", "a replica shuts down in order and is started again";
    Partition = "partition", "no messages between a replica and the database";
    PartitionToDatabase = "partition_to_database", "no messages from a replica to the database";
    PartitionFromDatabase = "partition_from_database", "no messages from the database to a replica";
    Hold = "hold", "messages are held back and delivered late";
    Refuse = "refuse", "requests are refused before they are applied";
    LoseReply = "lose_reply", "requests are applied and their replies lost";
    ApplyLate = "apply_late", "requests are applied after the caller gave up";
    DatabaseRestart = "database_restart", "the database restarts and loses all sessions";
    LoseEffectReply = "lose_effect_reply", "effects happen and their answers are lost";
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Bad {
    /// The kind without its numbers.
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::ClockOffset { .. } => FaultKind::ClockOffset,
            Self::ClockDrift { .. } => FaultKind::ClockDrift,
            Self::ClockJump { .. } => FaultKind::ClockJump,
            Self::DatabaseClockStep { .. } => FaultKind::DatabaseClockStep,
            Self::Pause => FaultKind::Pause,
            Self::Crash => FaultKind::Crash,
            Self::PowerLoss => FaultKind::PowerLoss,
            Self::Shutdown { .. } => FaultKind::Shutdown,
            Self::Partition => FaultKind::Partition,
            Self::PartitionToDatabase => FaultKind::PartitionToDatabase,
            Self::PartitionFromDatabase => FaultKind::PartitionFromDatabase,
            Self::Hold => FaultKind::Hold,
            Self::Refuse { .. } => FaultKind::Refuse,
            Self::LoseReply { .. } => FaultKind::LoseReply,
            Self::ApplyLate { .. } => FaultKind::ApplyLate,
            Self::DatabaseRestart => FaultKind::DatabaseRestart,
            Self::LoseEffectReply { .. } => FaultKind::LoseEffectReply,
        }
    }
}

/// A fault that strikes the replica concerned right after the n-th event of a sort, so that narrow windows are
/// hit on purpose.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// After which event.
    pub after: TriggerPoint,
    /// After which of them, from 1, counted over the whole run and all replicas.
    pub nth: u32,
    /// What then.
    pub then: Then,
    /// How long it lasts, in seconds (as for [`Fault::lasts_s`]).
    #[serde(default)]
    pub lasts_s: u32,
}

/// The events that a trigger can wait for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerPoint {
    /// The database applied a plan that made at least one slot; the reply is not sent yet.
    AppliedPlan,
    /// … a claim that took at least one row.
    AppliedClaim,
    /// … a start.
    AppliedStart,
    /// … a heartbeat.
    AppliedHeartbeat,
    /// … a settle.
    AppliedSettle,
    /// … a rescue.
    AppliedRescue,
    /// A handler is about to be polled for the first time.
    HandlerStarted,
    /// A receiver got an effect; its answer is not sent yet.
    EffectReceived,
}

/// What a trigger does to the replica concerned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// As [`Bad::PowerLoss`].
    PowerLoss,
    /// As [`Bad::Crash`].
    Crash,
    /// As [`Bad::Pause`].
    Pause,
    /// As [`Bad::Partition`].
    Partition,
    /// This one reply or answer is lost and its connection broken.
    LoseReply,
    /// As [`Bad::Shutdown`] with no grace.
    Shutdown,
    /// As [`Bad::DatabaseRestart`].
    DatabaseRestart,
}
