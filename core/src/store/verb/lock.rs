//! Owns the verbs of locks, as data.

use serde::{Deserialize, Serialize};

use crate::model::{HeldBy, Incarnation, Lock, LockHeld, LockName, LockRef, Timestamp, transition::Refusal};

/// Tries to take a lock. Never waits for its holder. The request id becomes the token.
///
/// Only a lock that was acquired leaves a receipt: repeating a request that was told "held" may acquire it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct AcquireLock {
    /// Which.
    pub name: LockName,
    /// Who asks.
    pub holder: Incarnation,
    /// How long the lock outlives its last renewal, in milliseconds: 1 to [`MAX_TTL_MS`](crate::model::MAX_TTL_MS).
    pub ttl_ms: u64,
}

/// Reply to [`AcquireLock`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct LockTried {
    /// The database clock.
    pub now: Timestamp,
    /// The lock, or who holds it.
    pub outcome: Result<LockHeld, HeldBy>,
}

/// Holds a lock for another time to live. No receipt: repeating it renews again.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct RenewLock {
    /// Which, by name, token and epoch.
    pub lock: LockRef,
}

/// Reply to [`RenewLock`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct LockRenewed {
    /// The database clock.
    pub now: Timestamp,
    /// The new expiry; refused when it expired, was released, or somebody else took it.
    pub outcome: Result<Timestamp, Refusal>,
}

/// Gives a lock back. Its epoch stays. No receipt: repeating it changes nothing.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ReleaseLock {
    /// Which, by name, token and epoch.
    pub lock: LockRef,
}

/// Reply to [`ReleaseLock`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct LockReleased {
    /// The database clock.
    pub now: Timestamp,
    /// Refused when somebody else took it since.
    pub outcome: Result<(), Refusal>,
}

/// Lists locks, held or not, ordered by name.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ListLocks {
    /// Only names greater than this: the last one of the page before.
    pub after: Option<LockName>,
    /// 1 to [`MAX_BATCH`](super::MAX_BATCH).
    pub limit: u32,
}

/// Reply to [`ListLocks`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct LockPage {
    /// The database clock: which of them are held is [`Lock::is_held`] at this instant.
    pub now: Timestamp,
    /// The locks; fewer than `limit` means that these are the last.
    pub locks: Vec<Lock>,
}
