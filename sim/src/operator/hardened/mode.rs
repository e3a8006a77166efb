//! Owns the choice of a mode for every loop, with a line of why.

use crate::operator::loops::Loop;

/// How a loop of the hardened operator stays right on several replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// On whichever replica gets the lock for this tick; each write carries its condition all the same.
    TickLock,
    /// On the replica that leads; each write carries its condition all the same.
    Leader,
    /// One durable execution per slot and scope, at least once.
    Claimed,
    /// One durable execution per slot and scope, at most once: no second attempt, no re-entry.
    AtMostOnce,
}

impl Mode {
    /// As tables show it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TickLock => "tick lock, guarded",
            Self::Leader => "leader, guarded",
            Self::Claimed => "claimed",
            Self::AtMostOnce => "claimed, at most once",
        }
    }
}

/// The mode of a loop.
pub(crate) const fn mode(which: Loop) -> Mode {
    match which {
        Loop::JobRetry | Loop::JobTimeout | Loop::ShortLivedExpiry | Loop::AcmeGc | Loop::SessionGc => Mode::TickLock,
        Loop::RenewalCheck | Loop::AgentHealth | Loop::CrlGeneration => Mode::Leader,
        Loop::JobProcessor
        | Loop::NotificationProcess
        | Loop::NotificationRetry
        | Loop::NetworkScan
        | Loop::Digest
        | Loop::HealthCheck => Mode::Claimed,
        Loop::CloudDiscovery => Mode::AtMostOnce,
    }
}

/// Why that one.
pub(crate) const fn why(which: Loop) -> &'static str {
    match which {
        Loop::RenewalCheck => {
            "once an hour for all replicas together; should two lead, a unique key decides, and alerts are outbox rows"
        }
        Loop::JobProcessor => {
            "an issue costs: one replica at a time, rows under leases, the attempt as fence, the job as idempotency key"
        }
        Loop::JobRetry => {
            "may run early, need not run twice at once; one statement moves the row and writes its audit event"
        }
        Loop::JobTimeout => {
            "may run early, need not run twice at once; only leases that expired by the database clock"
        }
        Loop::AgentHealth => {
            "one judge of silence; should two lead, the silence is judged in the update itself, by the database clock"
        }
        Loop::NotificationProcess => {
            "a send cannot be undone: rows under leases, the attempt as fence, the notification as idempotency key"
        }
        Loop::NotificationRetry => {
            "as loop 6; an attempt whose mark is unknown is charged and retried when its lease ends"
        }
        Loop::ShortLivedExpiry => {
            "a sweep of a table, once at a time; state and end are judged in the update, with the audit event beside it"
        }
        Loop::NetworkScan => "an execution per network and slot; what it stores is an upsert",
        Loop::Digest => "an execution per recipient and slot is the ledger: restarts neither starve nor repeat it",
        Loop::HealthCheck => "an execution per slot, so that each probe is counted once, under the slot as its key",
        Loop::CloudDiscovery => "every call is billed: reserved before it is made, and never made again",
        Loop::CrlGeneration => {
            "one signer an interval; its epoch and the list's size are judged in the publishing statement, so that an \
             older leader or a smaller list is refused"
        }
        Loop::AcmeGc | Loop::SessionGc => {
            "a sweep of a table, once at a time; deletes what expired by the database clock"
        }
    }
}
