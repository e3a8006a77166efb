//! What the verbs of locks do, in terms of [`LockRows`](crate::store::LockRows).

use crate::{
    model::{LockName, LockRef, Timestamp, Token, lock, transition::Refusal},
    store::{AcquireLock, LockTried, Rows, StoreError},
};

pub(super) fn acquire(
    rows: &mut impl Rows,
    now: Timestamp,
    token: Token,
    verb: &AcquireLock,
) -> Result<LockTried, StoreError> {
    let mut was = rows.lock(&verb.name)?;
    if planted!(A29) {
        was = rows.locks(None, 1)?.pop().or(was);
    }
    let outcome = match lock::acquire(was.as_ref(), &verb.name, token, verb.holder, verb.ttl_ms, now) {
        Ok(row) => {
            rows.put_lock(&row)?;
            Ok(crate::model::LockHeld { epoch: row.epoch, expires_at: row.expires_at })
        }
        Err(held_by) => Err(held_by),
    };
    Ok(LockTried { now, outcome })
}

/// Loads the lock that the holder shows, lets `change` try, and stores what came of it.
pub(super) fn change<T>(
    rows: &mut impl Rows,
    held: &LockRef,
    change: impl FnOnce(&mut crate::model::Lock) -> Result<T, Refusal>,
) -> Result<Result<T, Refusal>, StoreError> {
    let Some(was) = rows.lock(&held.name)? else {
        return Ok(Err(Refusal::LeaseLost));
    };
    let mut row = was.clone();
    let outcome = change(&mut row);
    if row != was {
        rows.put_lock(&row)?;
    }
    Ok(outcome)
}

/// Moves locks written in a withdrawn future to the present; returns their names, in order.
pub(super) fn clamp(rows: &mut impl Rows, now: Timestamp) -> Result<Vec<LockName>, StoreError> {
    let mut clamped = Vec::new();
    for mut row in rows.withdrawn_locks(now)? {
        if lock::clamp_to_present(&mut row, now) {
            rows.put_lock(&row)?;
            clamped.push(row.name);
        }
    }
    Ok(clamped)
}
