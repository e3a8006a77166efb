//! The columns of the table: classes of faults, what each consists of, and inside which windows of a unit of work a
//! fault of the class tells something.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! classes {
    ($($class:ident = $name:literal, $short:literal, $about:literal;)*) => {
        /// A class of faults: a column.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum FaultClass { $(#[doc = $about] $class,)* }

        impl FaultClass {
            /// All columns, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$class,)*];

            /// The name used in commands and reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$class => $name,)* }
            }

            /// The head of the column.
            pub const fn short(self) -> &'static str {
                match self { $(Self::$class => $short,)* }
            }

            /// One line for people.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$class => $about,)* }
            }

            /// The class of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|class| class.name() == name)
            }
        }
    };
}

classes! {
    None = "none", "none", "nothing goes wrong";
    Crash = "crash", "crash", "a process dies, politely or with its machine, while a unit is under way";
    CrashEffectMark = "crash_effect_mark", "crash, effect → mark", "a process dies after the effect and before its mark is durable";
    Partition = "partition", "partition", "no messages between a replica and the database: both ways, or one way";
    LostReply = "lost_reply", "lost reply", "a request is applied and its reply is lost";
    Hold = "hold", "hold, late", "messages are held back and delivered late, all at once";
    Pause = "pause", "pause > lease", "a process stands still for longer than its lease and then goes on";
    ReplicaClock = "replica_clock", "replica clock", "a replica's clock is off, drifts, jumps back, jumps forward";
    DatabaseClock = "database_clock", "database clock", "the database clock steps back or forward";
    DatabaseRestart = "database_restart", "database restart", "the database restarts and loses all sessions";
    Failover = "failover", "fail-over", "the database fails over to a server that lacks the last commits";
    Shutdown = "shutdown", "shutdown", "a process shuts down in order while a unit is under way";
    Swarm = "swarm", "swarm", "all of them, as drawn by the seed";
}

impl fmt::Display for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A part of a unit of work during which a fault can do harm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// From the claim, lock or read to the end: a lease is held, or ought to be.
    Held,
    /// From the effect at its receiver to the durable mark. For a row without an outside effect: while what it
    /// writes is under way.
    EffectToMark,
}

impl Window {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "while held",
            Self::EffectToMark => "effect to mark",
        }
    }
}

/// One of the things that a class consists of. A cell is covered only when each of them fired in its window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facet {
    /// The unit was carried out.
    Done,
    /// A process died.
    Died,
    /// No message passed either way.
    BothWays,
    /// No message passed to the database.
    ToDatabase,
    /// No message passed from the database.
    FromDatabase,
    /// The reply to a request of this unit was lost.
    ReplyLost,
    /// The answer to an effect of this unit was lost.
    AnswerLost,
    /// Messages were held back.
    Held,
    /// A process stood still for longer than the lease.
    Paused,
    /// A wall clock was wrong.
    Offset,
    /// A clock ran at another rate.
    Drift,
    /// A wall clock jumped back.
    JumpBack,
    /// A wall clock jumped forward.
    JumpForward,
    /// The database clock stepped back.
    StepBack,
    /// The database clock stepped forward.
    StepForward,
    /// The database restarted.
    Restarted,
    /// The database failed over.
    FailedOver,
    /// A shutdown began.
    ShutDown,
    /// Any fault.
    Any,
}

impl Facet {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Died => "died",
            Self::BothWays => "both ways",
            Self::ToDatabase => "to the database",
            Self::FromDatabase => "from the database",
            Self::ReplyLost => "reply lost",
            Self::AnswerLost => "answer lost",
            Self::Held => "held",
            Self::Paused => "paused",
            Self::Offset => "offset",
            Self::Drift => "drift",
            Self::JumpBack => "jump back",
            Self::JumpForward => "jump forward",
            Self::StepBack => "step back",
            Self::StepForward => "step forward",
            Self::Restarted => "restarted",
            Self::FailedOver => "failed over",
            Self::ShutDown => "shut down",
            Self::Any => "any fault",
        }
    }
}

impl FaultClass {
    /// What must have fired for a cell of this column to be covered. A row without an outside effect has no answer to
    /// lose, and one that asks the database for nothing no reply.
    pub const fn facets(self, has_effect: bool, asks: bool) -> &'static [Facet] {
        match self {
            Self::None => &[Facet::Done],
            Self::Crash | Self::CrashEffectMark => &[Facet::Died],
            Self::Partition => &[Facet::BothWays, Facet::ToDatabase, Facet::FromDatabase],
            Self::LostReply if has_effect && asks => &[Facet::ReplyLost, Facet::AnswerLost],
            Self::LostReply if has_effect => &[Facet::AnswerLost],
            Self::LostReply => &[Facet::ReplyLost],
            Self::Hold => &[Facet::Held],
            Self::Pause => &[Facet::Paused],
            Self::ReplicaClock => &[Facet::Offset, Facet::Drift, Facet::JumpBack, Facet::JumpForward],
            Self::DatabaseClock => &[Facet::StepBack, Facet::StepForward],
            Self::DatabaseRestart => &[Facet::Restarted],
            Self::Failover => &[Facet::FailedOver],
            Self::Shutdown => &[Facet::ShutDown],
            Self::Swarm => &[Facet::Any],
        }
    }

    /// Inside which window it must have fired.
    pub const fn window(self) -> Window {
        match self {
            Self::CrashEffectMark => Window::EffectToMark,
            _ => Window::Held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_what_serde_writes() {
        for class in FaultClass::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.name());
            assert_eq!(FaultClass::from_name(class.name()), Some(*class));
        }
    }
}
