//! Owns the choice of a mode for every loop, with a line of why.

use crate::operator::loops::Loop;

/// How a loop of the hardened operator stays right on several replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Runs on every replica; each write carries its condition.
    Guarded,
    /// One durable execution per slot and scope, at least once.
    Claimed,
    /// One durable execution per slot and scope, at most once: no second attempt, no re-entry.
    AtMostOnce,
}

impl Mode {
    /// As tables show it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Guarded => "every replica, guarded",
            Self::Claimed => "claimed",
            Self::AtMostOnce => "claimed, at most once",
        }
    }
}

/// The mode of a loop.
pub(crate) const fn mode(which: Loop) -> Mode {
    match which {
        Loop::RenewalCheck
        | Loop::JobRetry
        | Loop::JobTimeout
        | Loop::AgentHealth
        | Loop::ShortLivedExpiry
        | Loop::AcmeGc
        | Loop::SessionGc => Mode::Guarded,
        Loop::JobProcessor
        | Loop::NotificationProcess
        | Loop::NotificationRetry
        | Loop::NetworkScan
        | Loop::Digest
        | Loop::HealthCheck
        | Loop::CrlGeneration => Mode::Claimed,
        Loop::CloudDiscovery => Mode::AtMostOnce,
    }
}

/// Why that one.
pub(crate) const fn why(which: Loop) -> &'static str {
    match which {
        Loop::RenewalCheck => {
            "check and insert are one statement on a unique key; alerts are outbox rows that loop 6 sends"
        }
        Loop::JobProcessor => {
            "an issue costs: one replica at a time, rows under leases, the attempt as fence, the job as idempotency key"
        }
        Loop::JobRetry => "one statement moves the row and writes its audit event",
        Loop::JobTimeout => "one statement, and only leases that have expired by the database clock",
        Loop::AgentHealth => "the silence is judged in the update itself, by the database clock",
        Loop::NotificationProcess => {
            "a send cannot be undone: rows under leases, the attempt as fence, the notification as idempotency key"
        }
        Loop::NotificationRetry => {
            "as loop 6; an attempt whose mark is unknown is charged and retried when its lease ends"
        }
        Loop::ShortLivedExpiry => {
            "state and end are judged in the update itself, with the audit event in its transaction"
        }
        Loop::NetworkScan => "an execution per network and slot; what it stores is an upsert",
        Loop::Digest => "an execution per recipient and slot is the ledger: restarts neither starve nor repeat it",
        Loop::HealthCheck => "an execution per slot, so that each probe is counted once, under the slot as its key",
        Loop::CloudDiscovery => "every call is billed: reserved before it is made, and never made again",
        Loop::CrlGeneration => {
            "number and term are judged in the publishing statement: an older term or a smaller list is refused"
        }
        Loop::AcmeGc | Loop::SessionGc => "one statement that deletes what has expired by the database clock",
    }
}
