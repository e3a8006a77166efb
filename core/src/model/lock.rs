//! Owns the lock: a lease by name with an epoch that only grows, and every legal change of it, as pure functions of
//! (row, request, now).
//!
//! ```text
//!            acquire, epoch 1            release
//!  (nothing) ───────────────▶ held ────────────────────▶ released
//!                            │ ▲  │ expires                 │
//!                     renew ─┘ │  ▼                         │
//!                              │ expired                    │
//!                              └──┴── acquire, epoch + 1 ───┘
//! ```
//!
//! The row is never deleted: its epoch is what fences the holders before (G7). An expired lock is not renewed, even if
//! nobody took it: its holder has stopped working by then, and a late renewal would only delay the next one.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Incarnation, LockName, Timestamp, Token, micros, transition::Refusal};

/// Longest time to live of a lock: 90 days.
pub const MAX_TTL_MS: u64 = 90 * 86_400_000;

/// Counts the times that a lock was acquired, from 1. Holders pass it to receivers that can refuse a lower number than
/// the highest they have seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug, Default)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lock's row.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Lock {
    /// Its name.
    pub name: LockName,
    /// Of the last holder. Only grows.
    pub epoch: Epoch,
    /// The last holder.
    pub holder: Incarnation,
    /// The random half of the last holder's lease: the id of the request that acquired it.
    pub token: Token,
    /// How long the lock outlives its last renewal, in milliseconds.
    pub ttl_ms: u64,
    /// When the last holder acquired it.
    pub acquired_at: Timestamp,
    /// When it was acquired or renewed last.
    pub renewed_at: Timestamp,
    /// Held through this instant, unless released.
    pub expires_at: Timestamp,
    /// When the last holder gave it back, if it did.
    pub released_at: Option<Timestamp>,
}

/// What a holder shows with every write: name, token and epoch. All three are checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct LockRef {
    /// Which lock.
    pub name: LockName,
    /// The id of the request that acquired it.
    pub token: Token,
    /// The epoch that it was told.
    pub epoch: Epoch,
}

/// What a new holder is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct LockHeld {
    /// Higher than all before.
    pub epoch: Epoch,
    /// Held through this instant, by the database clock.
    pub expires_at: Timestamp,
}

/// Who holds a lock that could not be acquired.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct HeldBy {
    /// The process.
    pub holder: Incarnation,
    /// Its epoch.
    pub epoch: Epoch,
    /// Until when at least, by the database clock.
    pub expires_at: Timestamp,
}

impl Lock {
    /// Whether somebody holds it at `now`. Expiry compares strictly.
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.released_at.is_none() && now <= self.expires_at
    }

    fn is_of(&self, lock: &LockRef) -> bool {
        self.name == lock.name && self.token == lock.token && self.epoch == lock.epoch
    }
}

/// Takes the lock if nobody holds it; `was` is its row, if there is one.
///
/// # Errors
/// Who holds it.
pub(crate) fn acquire(
    was: Option<&Lock>,
    name: &LockName,
    token: Token,
    holder: Incarnation,
    ttl_ms: u64,
    now: Timestamp,
) -> Result<Lock, HeldBy> {
    let is_kept = |lock: &Lock| lock.released_at.is_none() && planted!(B17);
    if let Some(lock) = was.filter(|lock| lock.is_held(now) || is_kept(lock)) {
        return Err(HeldBy { holder: lock.holder, epoch: lock.epoch, expires_at: lock.expires_at });
    }
    Ok(Lock {
        name: name.clone(),
        epoch: Epoch(was.map_or(0, |lock| lock.epoch.0) + 1),
        holder,
        token,
        ttl_ms,
        acquired_at: now,
        renewed_at: now,
        expires_at: now + Duration::from_millis(ttl_ms),
        released_at: None,
    })
}

/// Holds the lock for another time to live.
pub(crate) fn renew(row: &mut Lock, lock: &LockRef, now: Timestamp) -> Result<Timestamp, Refusal> {
    let is_own = row.is_of(lock) || planted!(B1);
    if !is_own || !row.is_held(now) {
        return Err(Refusal::LeaseLost);
    }
    row.renewed_at = now;
    row.expires_at = now + Duration::from_millis(row.ttl_ms);
    Ok(row.expires_at)
}

/// Gives the lock back, so that anybody may take it at once. Repeating it changes nothing.
pub(crate) fn release(row: &mut Lock, lock: &LockRef, now: Timestamp) -> Result<(), Refusal> {
    if !row.is_of(lock) {
        return Err(Refusal::LeaseLost);
    }
    row.released_at.get_or_insert(now);
    Ok(())
}

/// After the database clock stepped back: a lock written in the withdrawn future is moved to the present. Says whether
/// it was.
pub(crate) fn clamp_to_present(row: &mut Lock, now: Timestamp) -> bool {
    if row.released_at.is_some() || row.renewed_at <= now {
        return false;
    }
    row.expires_at = row.expires_at - row.renewed_at.since(now);
    row.renewed_at = now;
    debug_assert!(micros(Duration::from_millis(row.ttl_ms)) >= row.expires_at.as_micros() - now.as_micros());
    true
}
