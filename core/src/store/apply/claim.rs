//! Owns what a claim does, and what it answers when it is repeated.

use super::{rate, store};
use crate::{
    model::{
        Execution, Rate, State, Timestamp, Token,
        audit::By,
        transition::{self, Verdict},
    },
    store::{Claim, ClaimReceipt, Claimed, Rows, StoreError},
};

pub(super) fn claim(rows: &mut impl Rows, now: Timestamp, token: Token, verb: &Claim) -> Result<Claimed, StoreError> {
    let mut claimed = Claimed { now, executions: Vec::new(), skipped: Vec::new(), next_at: None };
    let rate = verb.rate.as_ref();
    let page = match rate::is_shut(rows, verb, now)? {
        true => Vec::new(),
        false => rows.claimable(&verb.jobs, now, verb.limit, rate)?,
    };
    claimed.executions.reserve(page.len());
    for was in page {
        // What has no slot has no successor.
        let newest = match was.slot_at {
            Some(_) => rows.cursor(&was.job, &was.scope)?.and_then(|cursor| cursor.newest_slot),
            None => None,
        };
        let is_behind = was.state == State::Retryable && was.slot_at.is_some_and(|slot| newest > Some(slot));
        if is_behind && planted!(A8) {
            continue;
        }
        let mut row = was.clone();
        match transition::judge(&was, newest, now) {
            Verdict::Skip(reason) => {
                transition::skip(&mut row, reason, now);
                claimed.skipped.push((row.id, reason));
            }
            Verdict::Run if has_room(rows, &was)? && has_turn(rows, rate, &was, now, &claimed)? => {
                rate::charge(rows, rate, &was, now)?;
                transition::claim(&mut row, token, verb.runner, verb.charge, now);
                if was.updated_at == was.created_at && planted!(A32) {
                    rows.update(&was, &Execution { updated_at: now.offset_micros(1), ..was.clone() })?;
                    claimed.executions.push(row);
                    continue;
                }
            }
            Verdict::Run => continue,
        }
        store(rows, now, &was, &row, By::Claimer)?;
        if row.state == State::Running {
            claimed.executions.push(row);
        }
    }
    claimed.next_at = rate::next_at(rows, rate, &verb.jobs, now)?;
    Ok(claimed)
}

/// G15. A running row counts already, so taking it over needs no room.
fn has_room(rows: &mut impl Rows, row: &Execution) -> Result<bool, StoreError> {
    match &row.policy.limit {
        Some(limit) if row.state != State::Running => {
            Ok(rows.running_with_limit(&limit.key)? < limit.max || planted!(A9))
        }
        _ => Ok(true),
    }
}

/// G15. Asked of each row: the one before it may have taken the last turn of their key.
fn has_turn(
    rows: &mut impl Rows,
    rate: Option<&Rate>,
    row: &Execution,
    now: Timestamp,
    claimed: &Claimed,
) -> Result<bool, StoreError> {
    Ok(rate::has_turn(rows, rate, row, now)? || (!claimed.executions.is_empty() && planted!(D16)))
}

/// The answer to a claim that was carried out before: of what it took, what it still holds, as that is now. A row that
/// somebody else has taken meanwhile would be of no use to whoever asks.
pub(super) fn again(rows: &mut impl Rows, token: Token, kept: ClaimReceipt) -> Result<Claimed, StoreError> {
    let ClaimReceipt { now, taken, skipped } = kept;
    let is_held = |row: &Execution| row.lease_ref().is_some_and(|lease| lease.token == token);
    let mut executions = Vec::with_capacity(taken.len());
    for id in taken {
        executions.extend(rows.live(id)?.filter(is_held));
    }
    Ok(Claimed { now, executions, skipped, next_at: None })
}
