//! Owns the locks of the scene, one in every state, and the verbs that meet at one of them. Knows no database.

use std::collections::BTreeMap;

use tourbillon::{
    model::{LockName, LockRef, Token},
    store::{AcquireLock, LockTried, ReleaseLock, RenewLock, Verb},
};

use super::scene::{Side, runner};

/// A lock's state where the verbs meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Lock {
    /// There is no row.
    New,
    /// Given back by its last holder.
    Released,
    /// Its holder's time is over.
    Expired,
    /// In the last instant of its holder's time.
    Held,
}

/// What is done with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Deed {
    Acquire,
    Renew,
    Release,
}

/// All that says something: nobody ever held a lock without a row.
pub(crate) const ALL: [(Deed, Lock); 10] = [
    (Deed::Acquire, Lock::New),
    (Deed::Acquire, Lock::Released),
    (Deed::Acquire, Lock::Expired),
    (Deed::Acquire, Lock::Held),
    (Deed::Renew, Lock::Released),
    (Deed::Renew, Lock::Expired),
    (Deed::Renew, Lock::Held),
    (Deed::Release, Lock::Released),
    (Deed::Release, Lock::Expired),
    (Deed::Release, Lock::Held),
];

/// Those with a row, and for how long they are acquired, a minute before the verbs meet.
pub(crate) const KEPT: [(Lock, u64); 3] = [(Lock::Released, 600_000), (Lock::Expired, 30_000), (Lock::Held, 60_000)];

/// What the last holders were told.
pub(crate) type Held = BTreeMap<Lock, LockRef>;

impl Lock {
    fn name(self) -> LockName {
        let name = match self {
            Self::New => "new",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Held => "held",
        };
        LockName::new(name).expect("a plain name")
    }

    pub(crate) fn acquire(self, side: Side, ttl_ms: u64) -> AcquireLock {
        AcquireLock { name: self.name(), holder: runner(side), ttl_ms }
    }

    /// What its holder shows from then on.
    pub(crate) fn told(self, token: Token, tried: &LockTried) -> LockRef {
        let epoch = tried.outcome.as_ref().expect("nobody holds it").epoch;
        LockRef { name: self.name(), token, epoch }
    }
}

/// Renewals and releases are those of the last holder, on both sides: it repeats itself, or does both at once.
pub(crate) fn verb((deed, lock): (Deed, Lock), side: Side, held: &Held) -> Verb {
    let ttl_ms = if side == Side::A { 20_000 } else { 40_000 };
    match deed {
        Deed::Acquire => lock.acquire(side, ttl_ms).into(),
        Deed::Renew => RenewLock { lock: held[&lock].clone() }.into(),
        Deed::Release => ReleaseLock { lock: held[&lock].clone() }.into(),
    }
}
