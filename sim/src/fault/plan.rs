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
// No `deny_unknown_fields`: beside `flatten` serde would refuse `kind` itself. Files are read by `scenario`, which
// checks keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// When it begins, in seconds since the start.
    pub at_s: u32,
    /// How long it lasts, in seconds; for a crash or restart: until the process is started again. Ignored by kinds
    /// that are instantaneous.
    #[serde(default)]
    pub lasts_s: u32,
    /// Which replica, from 0 (taken modulo their number). Ignored by kinds that strike the database
    /// or all replicas.
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
    /// Every replica loses power in the same instant, and all are started again together.
    RestartAll,
    /// A rolling deploy: one replica after the other is shut down and started again with the next version of its
    /// software. The last one's turn comes when the fault ends.
    Deploy,
    /// The server ends the replica's sessions, once: what is under way on them breaks, and so do idle ones when they
    /// are next used.
    SessionDrop,
    /// The database refuses the replica's next requests at once: busy, or a serialisation failure.
    Busy {
        /// How many of them, one after the other.
        times: u32,
    },
    /// Requests of the replica are applied, and answered late.
    Slow {
        /// Which part of them, in percent.
        percent: u8,
        /// How late, in milliseconds.
        delay_ms: u32,
    },
    /// The replica has fewer connections than it needs: requests wait for one until their deadline.
    PoolExhaustion {
        /// Connections that are left: none, or a few.
        connections: u8,
    },
    /// The database fails over to a server that lacks the last commits and has a clock of its own; every session is
    /// lost.
    FailOver {
        /// Commits that are lost, the newest ones: all of them were acknowledged, or could have been.
        commits: u32,
        /// By how much the new server's clock differs from the old one's, in signed milliseconds.
        by_ms: i64,
    },
    /// The replica's machine is suspended: its process stands still, and so does its monotonic clock, while its wall
    /// clock and everybody else go on. Afterwards it knows of no time that passed.
    FreezeMonotonic,
    /// Notices to the replica are lost, and nobody is told.
    NoticesLost {
        /// Which part of them, in percent.
        percent: u8,
    },
    /// Notices to the replica come twice.
    NoticesDoubled {
        /// Which part of them, in percent.
        percent: u8,
    },
    /// Notices to the replica come late, and overtaken by others.
    NoticesLate {
        /// Which part of them, in percent.
        percent: u8,
        /// How late, in milliseconds.
        delay_ms: u32,
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

            /// The kind with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
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
    RestartAll = "restart_all", "all replicas lose power and boot at once";
    Deploy = "deploy", "a rolling deploy restarts replicas with the next version";
    SessionDrop = "session_drop", "the server ends a replica's sessions";
    Busy = "busy", "requests in a row are refused as busy";
    Slow = "slow", "requests are applied and answered late";
    PoolExhaustion = "pool_exhaustion", "requests wait for a connection";
    FailOver = "fail_over", "the database fails over and loses the last commits";
    FreezeMonotonic = "freeze_monotonic", "a replica and its monotonic clock stand still";
    NoticesLost = "notices_lost", "notices to a replica are lost";
    NoticesDoubled = "notices_doubled", "notices to a replica come twice";
    NoticesLate = "notices_late", "notices to a replica come late";
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FaultKind {
    /// Whether it takes time; the other kinds ignore [`Fault::lasts_s`].
    pub const fn lasts(self) -> bool {
        !matches!(
            self,
            Self::ClockOffset
                | Self::ClockDrift
                | Self::ClockJump
                | Self::DatabaseClockStep
                | Self::SessionDrop
                | Self::Busy
        )
    }

    /// Whether it strikes one replica, rather than the database or all replicas, which ignore [`Fault::replica`].
    pub const fn strikes_one_replica(self) -> bool {
        !matches!(
            self,
            Self::DatabaseClockStep | Self::DatabaseRestart | Self::RestartAll | Self::Deploy | Self::FailOver
        )
    }

    /// The least [`Fault::lasts_s`] at which it does something: a process may be started again at once, but a
    /// partition of no time is none.
    pub const fn shortest_s(self) -> u32 {
        match self {
            Self::Crash
            | Self::PowerLoss
            | Self::Shutdown
            | Self::DatabaseRestart
            | Self::RestartAll
            | Self::Deploy
            | Self::FailOver => 0,
            _ if self.lasts() => 1,
            _ => 0,
        }
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
            Self::RestartAll => FaultKind::RestartAll,
            Self::Deploy => FaultKind::Deploy,
            Self::SessionDrop => FaultKind::SessionDrop,
            Self::Busy { .. } => FaultKind::Busy,
            Self::Slow { .. } => FaultKind::Slow,
            Self::PoolExhaustion { .. } => FaultKind::PoolExhaustion,
            Self::FailOver { .. } => FaultKind::FailOver,
            Self::FreezeMonotonic => FaultKind::FreezeMonotonic,
            Self::NoticesLost { .. } => FaultKind::NoticesLost,
            Self::NoticesDoubled { .. } => FaultKind::NoticesDoubled,
            Self::NoticesLate { .. } => FaultKind::NoticesLate,
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
    /// Only events of this job, or of units of work of this row of a truth table, or requests of this verb; `None`: of
    /// any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// After which of them, from 1, counted over the whole run and all replicas.
    pub nth: u32,
    /// What then.
    pub then: Then,
    /// How long it lasts, in seconds (as for [`Fault::lasts_s`]); for a clock: by how much it steps.
    #[serde(default)]
    pub lasts_s: u32,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$about])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name used in plans.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

named! {
    /// The events that a trigger can wait for.
    TriggerPoint {
        /// The database applied a plan that made at least one slot; the reply is not sent yet.
        AppliedPlan = "applied_plan",
        /// … a claim that took at least one row.
        AppliedClaim = "applied_claim",
        /// … a start.
        AppliedStart = "applied_start",
        /// … a heartbeat.
        AppliedHeartbeat = "applied_heartbeat",
        /// … a settle.
        AppliedSettle = "applied_settle",
        /// … a rescue.
        AppliedRescue = "applied_rescue",
        /// … a step of the schema.
        AppliedMigrate = "applied_migrate",
        /// A handler is about to be polled for the first time.
        HandlerStarted = "handler_started",
        /// A receiver got an effect; its answer is not sent yet.
        EffectReceived = "effect_received",
        /// A unit of work begins: it was taken, and nothing of it has happened yet.
        UnitBegun = "unit_begun",
        /// A unit of work is about to write its mark.
        UnitMarking = "unit_marking",
        /// A unit of work ended by itself.
        UnitEnded = "unit_ended",
        /// The database got a request and has done nothing about it yet. [`Trigger::of`] names the verb.
        Asked = "asked",
    }
}

named! {
    /// What a trigger does to the replica concerned.
    Then {
        /// As [`Bad::PowerLoss`].
        PowerLoss = "power_loss",
        /// As [`Bad::Crash`].
        Crash = "crash",
        /// As [`Bad::Pause`].
        Pause = "pause",
        /// As [`Bad::Partition`].
        Partition = "partition",
        /// This one reply or answer is lost and its connection broken.
        LoseReply = "lose_reply",
        /// As [`Bad::Shutdown`] with no grace.
        Shutdown = "shutdown",
        /// As [`Bad::DatabaseRestart`].
        DatabaseRestart = "database_restart",
        /// As [`Bad::FailOver`] by one commit, the one that was just made, and with no step of the clock. Its reply
        /// is sent all the same.
        FailOver = "fail_over",
        /// As [`Bad::PartitionToDatabase`].
        PartitionToDatabase = "partition_to_database",
        /// As [`Bad::PartitionFromDatabase`].
        PartitionFromDatabase = "partition_from_database",
        /// As [`Bad::Hold`].
        Hold = "hold",
        /// The database clock steps back by as many seconds as [`Trigger::lasts_s`] says.
        DatabaseClockBack = "database_clock_back",
        /// The database clock steps forward by as many seconds as [`Trigger::lasts_s`] says.
        DatabaseClockForward = "database_clock_forward",
        /// This one request is refused, and nothing is applied.
        Refuse = "refuse",
        /// This one request is refused at once as busy, and nothing is applied.
        Busy = "busy",
        /// The server ends the session that carries this request before it is applied, and the replica's other ones.
        SessionDrop = "session_drop",
        /// This one request is applied as many seconds later as [`Trigger::lasts_s`] says, and answered to nobody.
        ApplyLate = "apply_late",
        /// This one request is applied, and answered as many seconds later as [`Trigger::lasts_s`] says.
        Slow = "slow",
    }
}

impl Then {
    /// What can become of a request that the database got: the consequences of [`TriggerPoint::Asked`].
    pub const OF_A_REQUEST: &'static [Self] =
        &[Self::Refuse, Self::LoseReply, Self::ApplyLate, Self::FailOver, Self::SessionDrop, Self::Busy, Self::Slow];

    /// Whether it is done to one request, and so needs one that nothing was done about yet.
    const fn needs_a_request(self) -> bool {
        matches!(self, Self::Refuse | Self::Busy | Self::SessionDrop | Self::ApplyLate | Self::Slow)
    }

    /// Those that seeds draw. The others are for plans that aim at one row of a truth table.
    pub const DRAWN: &'static [Self] = &[
        Self::PowerLoss,
        Self::Crash,
        Self::Pause,
        Self::Partition,
        Self::LoseReply,
        Self::Shutdown,
        Self::DatabaseRestart,
        Self::FailOver,
    ];
}

impl TriggerPoint {
    /// Those that seeds draw of every scenario. Of the others, [`Self::AppliedMigrate`] is drawn where replicas
    /// migrate, and the rest are for plans that aim at one row of a truth table.
    pub const DRAWN: &'static [Self] = &[
        Self::AppliedPlan,
        Self::AppliedClaim,
        Self::AppliedStart,
        Self::AppliedHeartbeat,
        Self::AppliedSettle,
        Self::AppliedRescue,
        Self::HandlerStarted,
        Self::EffectReceived,
    ];

    /// Whether the event is a reply or an answer about to be sent. After the others, what a lost reply strikes is
    /// the next request that the replica sends.
    pub const fn has_reply(self) -> bool {
        !matches!(self, Self::HandlerStarted | Self::UnitBegun | Self::UnitMarking | Self::UnitEnded)
    }
}

impl Trigger {
    /// The kind of fault that it amounts to: a lost reply of a receiver counts as a lost effect reply.
    pub const fn kind(&self) -> FaultKind {
        match (self.then, self.after) {
            (Then::PowerLoss, _) => FaultKind::PowerLoss,
            (Then::Crash, _) => FaultKind::Crash,
            (Then::Pause, _) => FaultKind::Pause,
            (Then::Partition, _) => FaultKind::Partition,
            (Then::LoseReply, TriggerPoint::EffectReceived) => FaultKind::LoseEffectReply,
            (Then::LoseReply, _) => FaultKind::LoseReply,
            (Then::Shutdown, _) => FaultKind::Shutdown,
            (Then::DatabaseRestart, _) => FaultKind::DatabaseRestart,
            (Then::FailOver, _) => FaultKind::FailOver,
            (Then::PartitionToDatabase, _) => FaultKind::PartitionToDatabase,
            (Then::PartitionFromDatabase, _) => FaultKind::PartitionFromDatabase,
            (Then::Hold, _) => FaultKind::Hold,
            (Then::DatabaseClockBack | Then::DatabaseClockForward, _) => FaultKind::DatabaseClockStep,
            (Then::Refuse, _) => FaultKind::Refuse,
            (Then::Busy, _) => FaultKind::Busy,
            (Then::SessionDrop, _) => FaultKind::SessionDrop,
            (Then::ApplyLate, _) => FaultKind::ApplyLate,
            (Then::Slow, _) => FaultKind::Slow,
        }
    }

    /// Whether it takes time; a lost reply or a refusal does not, and ignores [`Trigger::lasts_s`].
    pub const fn lasts(&self) -> bool {
        !matches!(self.then, Then::LoseReply | Then::Refuse | Then::Busy | Then::SessionDrop)
    }

    /// Whether the event has what the consequence needs: no reply follows the start of a handler, and only a request
    /// that nothing was done about yet can be refused.
    pub const fn is_possible(&self) -> bool {
        match (self.after, self.then) {
            (TriggerPoint::HandlerStarted, Then::LoseReply) => false,
            (TriggerPoint::Asked, then) => then.needs_a_request() || matches!(then, Then::LoseReply | Then::FailOver),
            (_, then) => !then.needs_a_request(),
        }
    }
}

impl FaultPlan {
    /// Whether commits may be lost under it.
    pub fn loses_commits(&self) -> bool {
        self.faults.iter().any(|fault| fault.bad.kind() == FaultKind::FailOver)
            || self.triggers.iter().any(|trigger| trigger.then == Then::FailOver)
    }

    /// How many faults and triggers.
    pub fn len(&self) -> usize {
        self.faults.len() + self.triggers.len()
    }

    /// Whether nothing goes wrong.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// This plan and another one.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.faults.extend_from_slice(&other.faults);
        self.triggers.extend_from_slice(&other.triggers);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and kinds are written down twice, for serde and for people.
    #[test]
    fn names_agree_with_what_serde_writes() {
        let text = |value: serde_json::Value| value.as_str().expect("a name").to_owned();
        for kind in FaultKind::ALL {
            assert_eq!(text(serde_json::to_value(kind).unwrap()), kind.name());
            assert_eq!(FaultKind::from_name(kind.name()), Some(*kind));
        }
        for point in TriggerPoint::ALL {
            assert_eq!(text(serde_json::to_value(point).unwrap()), point.name());
        }
        for then in Then::ALL {
            assert_eq!(text(serde_json::to_value(then).unwrap()), then.name());
        }
    }

    #[test]
    fn a_plan_survives_json() {
        let plan: FaultPlan = serde_json::from_str(
            r#"{"fault": [{"at_s": 3, "kind": "apply_late", "percent": 50, "delay_s": 7, "lasts_s": 9, "replica": 1},
                          {"at_s": 4, "kind": "pause", "lasts_s": 9}],
                "trigger": [{"after": "applied_settle", "nth": 3, "then": "lose_reply"}]}"#,
        )
        .unwrap();
        assert_eq!(plan.faults[0].bad, Bad::ApplyLate { percent: 50, delay_s: 7 });
        let again: FaultPlan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        assert_eq!(again, plan);
    }
}
