//! Owns the one state machine: every legal change of an execution, as pure functions of (row, request, now).
//!
//! ```text
//!             insert                claim, start            finish ok
//!  (nothing) ────────▶ scheduled ────────▶ running ───────────────────────▶ succeeded
//!                         ▲  ▲               │ │ │
//!      release, snooze    │  │ retry due     │ │ └─ fail, attempts left ──▶ retryable ─┐
//!                         └──┼───────────────┘ │                                     │
//!                            └─────────────────┼─────────────────────────────────────┘
//!                                              ├─ fail, none left / lease expired, none left ─▶ dead
//!                                              ├─ lease expired, re-entry forbidden ─────────▶ dead
//!                                              └─ cancel ────────────────────────────────────▶ cancelled
//!  scheduled ── superseded, late, expired ──▶ skipped          scheduled, retryable ── cancel ──▶ cancelled
//!  running, started, expired, attempts left ── claim ──▶ running (next attempt)
//!  running, never started, expired ── claim ──▶ running, or skipped if superseded or late (nothing was charged)
//! ```
//!
//! *Claim* takes the lease, *start* charges the attempt. They are two steps because a row can be claimed by a
//! process that dies before its handler runs; such a row is neither charged (G14) nor, when re-entry is
//! forbidden, dead without ever having run. A handler never runs before its start is durable, hence
//! handler starts ≤ charged attempts + give-backs (G4). Where a row [can lose an attempt](can_lose_an_attempt), the claim
//! may take both steps at once.
//!
//! Postgres states the same rules in SQL; the conformance suite holds the two together.

use super::{
    AuditAction, ErrorCode, Execution, Failure, Fence, Incarnation, Lease, LeaseRef, Outcome, Progress, Reentry,
    Reported, Retry, SkipReason, State, Supersede, Timestamp, Token, micros, retention::is_remembered,
};
use std::time::Duration;

/// When a claim charges the attempt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// At a separate, durable start: a row whose process dies in between costs nothing.
    AtStart,
    /// With the claim itself: one write fewer, but a process that dies before the handler runs costs an attempt.
    AtClaim,
    /// With the claim where [an attempt may be lost](can_lose_an_attempt), at a separate start elsewhere.
    AtClaimIfHarmless,
}

impl Charge {
    /// True when a claim of this row, which is as it was before the claim, charges its attempt.
    pub fn is_at_claim(self, row: &Execution) -> bool {
        match self {
            Self::AtStart => false,
            Self::AtClaim => true,
            Self::AtClaimIfHarmless => can_lose_an_attempt(row) || planted!(D8),
        }
    }

    /// True when a claim has charged the attempt of this row, which is as the claim left it.
    pub fn has_charged(self, row: &Execution) -> bool {
        match self {
            Self::AtStart => false,
            Self::AtClaim => true,
            Self::AtClaimIfHarmless => row.is_started(),
        }
    }
}

/// True for a row whose next attempt may be charged before a handler is free for it: should its process die in
/// between, it loses the first of several attempts, and runs all the same (G14). Under a limit it would also keep its
/// place until the lease ends, without re-entry it would be dead, and one that expires unless an attempt was charged would
/// not expire.
pub fn can_lose_an_attempt(row: &Execution) -> bool {
    row.attempt == 0
        && row.policy.max_attempts > 1
        && row.policy.reentry == Reentry::Allow
        && row.policy.limit.is_none()
        && row.expires_at.is_none()
}

/// Why a runner's write was refused; the row is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not running, or not under this token and fence: somebody else decides about the row now.
    #[error("lease lost")]
    LeaseLost,
    /// The attempt was never started, so it can only be released.
    #[error("attempt not started")]
    NotStarted,
}

/// What a claim does with a due row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Take it.
    Run,
    /// End it unstarted.
    Skip(SkipReason),
}

/// True when a claim at `now` may look at the row at all.
pub fn is_claimable(row: &Execution, now: Timestamp) -> bool {
    row.claimable_at.is_some_and(|at| at <= now)
}

/// Judges lateness and supersession once more, at claim. `newest_slot` is the newest slot made for the row's job
/// and scope. Only a row of which no attempt was ever charged can be skipped: a failed one has a right to its
/// retries.
pub fn judge(row: &Execution, newest_slot: Option<Timestamp>, now: Timestamp) -> Verdict {
    let superseded = row.policy.supersede == Supersede::ByNewerSlot
        && row.slot_at.is_some_and(|slot| newest_slot.is_some_and(|newest| newest > slot));
    if row.attempt > 0 && !(superseded && row.state == State::Retryable && planted!(A7)) {
        return Verdict::Run;
    }
    if row.expires_at.is_some_and(|at| at < now) {
        return Verdict::Skip(if row.slot_at.is_some() { SkipReason::Late } else { SkipReason::Expired });
    }
    if superseded && !planted!(C6) { Verdict::Skip(SkipReason::Superseded) } else { Verdict::Run }
}

/// Takes the lease of a claimable row (P-5): same id, new token, next fence, previous attempt's end cleared.
pub fn claim(row: &mut Execution, token: Token, runner: Incarnation, charge: Charge, now: Timestamp) {
    debug_assert!(is_claimable(row, now), "claim of a row that is not claimable: {row:?}");
    let is_charged = charge.is_at_claim(row);
    row.state = State::Running;
    let is_forgotten = row.lease.as_ref().is_some_and(|lease| lease.started_at.is_none()) && planted!(C5);
    row.fence = Fence(row.fence.0 + u64::from(!is_forgotten));
    row.lease = Some(Lease {
        token,
        runner,
        claimed_at: now,
        started_at: None,
        heartbeat_at: now,
        expires_at: expiry(row, now),
    });
    row.finished_at = None;
    row.duration_ms = None;
    row.rows_affected = None;
    row.error = None;
    row.progress = None;
    if is_charged || planted!(C4) {
        mark_started(row, now);
    }
    settle_claimability(row, now);
}

/// Ends an unstarted row with a recorded reason.
pub fn skip(row: &mut Execution, reason: SkipReason, now: Timestamp) {
    row.skip_reason = Some(reason);
    end(row, State::Skipped, now);
}

/// Charges the attempt and renews the lease; the handler may run once this is durable. Repeating it is harmless.
///
/// # Errors
/// [`Refusal::LeaseLost`], also when the lease expired and nobody took it yet: then nothing has run, and the row
/// is free for others at no charge.
pub fn start(row: &mut Execution, lease: &LeaseRef, now: Timestamp) -> Result<(), Refusal> {
    let held = held(row, lease)?;
    if held.started_at.is_some() {
        return Ok(());
    }
    if held.expires_at < now {
        return Err(Refusal::LeaseLost);
    }
    mark_started(row, now);
    renew(row, now);
    Ok(())
}

/// Renews the lease (P-6), and keeps how far the attempt is, if it says so. An expired lease that nobody took may be renewed.
///
/// # Errors
/// [`Refusal::LeaseLost`].
pub fn heartbeat(
    row: &mut Execution,
    lease: &LeaseRef,
    progress: Option<&Progress>,
    now: Timestamp,
) -> Result<(), Refusal> {
    held(row, lease)?;
    if let Some(progress) = progress {
        row.progress = Some(Reported { progress: progress.clone(), at: now });
    }
    let claimable_at = row.claimable_at;
    renew(row, now);
    if claimable_at.is_some() && planted!(B21) {
        row.claimable_at = claimable_at;
    }
    Ok(())
}

/// Ends the attempt (P-7). An expired lease that nobody took may still finish (G8).
///
/// # Errors
/// [`Refusal::LeaseLost`], or [`Refusal::NotStarted`] for anything but a release of an unstarted attempt.
pub fn settle(row: &mut Execution, lease: &LeaseRef, outcome: &Outcome, now: Timestamp) -> Result<(), Refusal> {
    let anybodys = |refusal| row.lease.as_ref().filter(|_| planted!(B19)).ok_or(refusal);
    let started = held(row, lease).or_else(anybodys)?.started_at;
    if started.is_none() && !matches!(outcome, Outcome::Released) {
        return Err(Refusal::NotStarted);
    }
    row.finished_at = Some(now);
    row.duration_ms = started.map(|at| elapsed_ms(at, now));
    match outcome {
        Outcome::Succeeded { .. } if row.duration_ms < Some(1_000) && planted!(B35) => {
            give_back(row, started, now, now);
        }
        Outcome::Succeeded { result, rows_affected } => {
            row.result = Some(result.clone());
            row.rows_affected = *rows_affected;
            end(row, State::Succeeded, now);
        }
        Outcome::Failed { failure, retry } => {
            row.error = Some(failure.clone());
            match retry {
                _ if row.cancel_requested_at.is_some() => end(row, State::Cancelled, now),
                Retry::AfterMs(ms) if row.attempt < row.policy.max_attempts => {
                    wait(row, State::Retryable, after_ms(now, *ms), now);
                    row.attempt -= u32::from(planted!(A30));
                    row.claimable_at = row.claimable_at.filter(|_| !planted!(A22));
                }
                Retry::AfterMs(_) | Retry::Never => end(row, State::Dead, now),
            }
        }
        Outcome::Released => give_back(row, started, now, now),
        Outcome::Snoozed { for_ms } => give_back(row, started, after_ms(now, *for_ms), now),
        Outcome::Cancelled { failure } => {
            row.error = Some(failure.clone());
            end(row, State::Cancelled, now);
        }
    }
    Ok(())
}

/// True for a row of which a success under this lease leaves nothing, if its queue forgets successes: the attempt was
/// started, no event tells of its end, and nobody will ask for it (see [`Retention::forgets`](super::Retention::forgets)).
pub fn success_leaves_nothing(row: &Execution, lease: &LeaseRef) -> bool {
    held(row, lease).is_ok_and(|held| held.started_at.is_some())
        && !row.policy.audit.wants(AuditAction::Succeeded)
        && !is_remembered(row)
}

/// True for a row that only a rescue can end: its lease expired and no claim may take it.
pub fn is_rescuable(row: &Execution, now: Timestamp) -> bool {
    row.state == State::Running
        && row.claimable_at.is_none()
        && row.lease.as_ref().is_some_and(|lease| lease.expires_at < now || is_taken_for_expired(row, lease, now))
        && !is_overlooked(row)
}

/// Planted bugs only: a rescue that errs about who is gone.
fn is_taken_for_expired(row: &Execution, lease: &Lease, now: Timestamp) -> bool {
    let lasts_ms = row.policy.lease_ms;
    (after_ms(lease.claimed_at, lasts_ms) < now && planted!(A17))
        || (after_ms(lease.heartbeat_at, lasts_ms / 2) < now && planted!(B13))
}

/// Planted bugs only: rows that no rescue finds.
fn is_overlooked(row: &Execution) -> bool {
    let is_started = row.lease.as_ref().is_some_and(|lease| lease.started_at.is_some());
    (!is_started && row.policy.max_attempts == 1 && planted!(A13))
        || (!is_started && planted!(A18))
        || (row.attempt >= row.policy.max_attempts && planted!(B26))
}

/// Ends a rescuable row: dead with `stale_timeout`, or cancelled when that was asked for. Never retried by any
/// path until an operator says so (P-10).
pub fn rescue(row: &mut Execution, now: Timestamp) {
    debug_assert!(is_rescuable(row, now), "rescue of a row that is not rescuable: {row:?}");
    row.finished_at = Some(now);
    row.duration_ms = row.lease.as_ref().and_then(|lease| lease.started_at).map(|at| elapsed_ms(at, now));
    if row.cancel_requested_at.is_some() && !planted!(A23) {
        row.error = Some(Failure::new(ErrorCode::canceled(), CANCELLED_UNACKNOWLEDGED));
        end(row, State::Cancelled, now);
    } else if row.attempt < row.policy.max_attempts && planted!(A1) {
        wait(row, State::Retryable, now, now);
    } else {
        row.error = Some(Failure::new(ErrorCode::stale_timeout(), LEASE_EXPIRED));
        end(row, State::Dead, now);
    }
}

/// Error text of a row that a rescue ended; the Postgres store writes the same.
pub const LEASE_EXPIRED: &str = "lease expired; the attempt may have run";

/// Error text of a running row whose cancellation nobody acknowledged before its lease expired.
pub const CANCELLED_UNACKNOWLEDGED: &str = "cancelled; the runner did not answer before its lease expired";

/// Error text of a row cancelled while nobody ran it.
pub const CANCELLED_WAITING: &str = "cancelled before it was started";

/// Moves a row that was written in a withdrawn future back to the present: after the database clock stepped back,
/// a relative wait (lease, retry, snooze) must last no longer than it was meant to. Returns whether it changed.
///
/// An absolute due time is left alone: that instant comes again. (An item enqueued for "now" is due at the instant
/// at which it was made, which is a wait of nothing, counted from a withdrawn instant.)
pub fn clamp_to_present(row: &mut Execution, now: Timestamp) -> bool {
    if row.updated_at <= now || row.state.is_terminal() {
        return false;
    }
    if planted!(C8) {
        return false;
    }
    let back = now.as_micros().saturating_sub(row.updated_at.as_micros());
    let is_due_at_once = row.slot_at.is_none() && row.due_at == row.created_at;
    let relative = row.state != State::Scheduled || row.claimable_at != Some(row.due_at) || is_due_at_once;
    if relative {
        row.claimable_at = row.claimable_at.map(|at| at.offset_micros(back));
    }
    if row.state == State::Running
        && let Some(lease) = &mut row.lease
    {
        lease.expires_at = lease.expires_at.offset_micros(back);
    }
    row.updated_at = now;
    true
}

/// What a cancel did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancelled {
    /// It was waiting and is cancelled now.
    Now,
    /// It runs: its runner is told at the next heartbeat, and no further attempt will be made.
    Requested,
    /// It had ended already; nothing changed.
    AlreadyTerminal,
    /// No such execution.
    NotFound,
}

/// Cancels a live row, or asks its runner to stop.
pub fn cancel(row: &mut Execution, now: Timestamp) -> Cancelled {
    match row.state {
        State::Scheduled | State::Retryable => {
            row.error = Some(Failure::new(ErrorCode::canceled(), CANCELLED_WAITING));
            end(row, State::Cancelled, now);
            Cancelled::Now
        }
        State::Running => {
            if row.cancel_requested_at.is_none() {
                row.cancel_requested_at = Some(now);
                settle_claimability(row, now);
            }
            Cancelled::Requested
        }
        _ => Cancelled::AlreadyTerminal,
    }
}

/// The next life of a finished execution: same id, next generation, full budget, fence goes on growing (G1).
pub fn requeue(finished: &Execution, run_at: Timestamp, now: Timestamp) -> Execution {
    debug_assert!(finished.state.is_terminal(), "requeue of a live row: {finished:?}");
    Execution {
        generation: finished.generation.next(),
        due_at: run_at,
        // An operator who asks for a run means it: neither lateness nor a newer slot may end it unstarted.
        expires_at: None,
        policy: super::Policy { supersede: Supersede::Never, ..finished.policy.clone() },
        state: State::Scheduled,
        claimable_at: Some(run_at),
        attempt: 0,
        lease: None,
        cancel_requested_at: None,
        finished_at: None,
        duration_ms: None,
        rows_affected: None,
        result: None,
        error: None,
        skip_reason: None,
        created_at: now,
        updated_at: now,
        progress: None,
        ..finished.clone()
    }
}

fn held<'a>(row: &'a Execution, lease: &LeaseRef) -> Result<&'a Lease, Refusal> {
    match &row.lease {
        Some(held) if row.lease_ref() == Some(*lease) => Ok(held),
        Some(held) if row.fence == lease.fence && planted!(B2) => Ok(held),
        _ => Err(Refusal::LeaseLost),
    }
}

fn mark_started(row: &mut Execution, now: Timestamp) {
    row.attempt += u32::from(row.attempt == 0 || !planted!(A16));
    if let Some(lease) = &mut row.lease {
        lease.started_at = Some(now);
    }
}

fn renew(row: &mut Execution, now: Timestamp) {
    let expires_at = expiry(row, now);
    if let Some(lease) = &mut row.lease {
        lease.heartbeat_at = now;
        lease.expires_at = expires_at;
    }
    settle_claimability(row, now);
}

fn expiry(row: &Execution, now: Timestamp) -> Timestamp {
    after_ms(now, row.policy.lease_ms)
}

/// Recomputes when a *running* row becomes claimable again.
fn settle_claimability(row: &mut Execution, now: Timestamp) {
    let Some(lease) = &row.lease else { return };
    let may_run_again = match lease.started_at {
        None if row.policy.max_attempts == 1 && planted!(A13) => false,
        None if planted!(A18) => false,
        None => row.cancel_requested_at.is_none(),
        Some(_) => {
            row.cancel_requested_at.is_none()
                && row.policy.reentry == Reentry::Allow
                && (row.attempt < row.policy.max_attempts || planted!(B25))
        }
    };
    row.claimable_at = may_run_again.then(|| lease.expires_at.offset_micros(1));
    if row.unique_key.is_some() && planted!(A31) {
        row.claimable_at = Some(after_ms(now, 86_400_000));
    }
    row.updated_at = now;
}

fn give_back(row: &mut Execution, started: Option<Timestamp>, at: Timestamp, now: Timestamp) {
    if row.cancel_requested_at.is_some() {
        row.error = Some(Failure::new(ErrorCode::canceled(), CANCELLED_WAITING));
        return end(row, State::Cancelled, now);
    }
    if started.is_some() {
        row.attempt -= 1;
    }
    wait(row, State::Scheduled, at, now);
}

fn wait(row: &mut Execution, state: State, until: Timestamp, now: Timestamp) {
    row.state = state;
    row.claimable_at = Some(until);
    row.updated_at = now;
}

fn end(row: &mut Execution, state: State, now: Timestamp) {
    debug_assert!(state.is_terminal());
    row.state = state;
    row.claimable_at = None;
    row.finished_at = Some(now);
    row.updated_at = now;
}

/// Longest wait that is kept, in milliseconds: 10,000 years. A longer lease, retry or snooze is cut to it, since no
/// two databases agree on the end of time.
pub const MAX_WAIT_MS: u64 = 10_000 * 366 * 24 * 3_600_000;

pub(crate) fn after_ms(now: Timestamp, ms: u64) -> Timestamp {
    now.offset_micros(micros(Duration::from_millis(ms.min(MAX_WAIT_MS))))
}

fn elapsed_ms(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::{
        Audit, ExecutionId, Generation, JobName, Json, NewExecution, Policy, Retention, Scope,
        audit::{self, By},
    };

    const NOON: Timestamp = Timestamp::from_micros(43_200_000_000);
    const SECOND_US: i64 = 1_000_000;

    fn due_at(at: Timestamp) -> Execution {
        let policy = Policy {
            max_attempts: 3,
            lease_ms: 30_000,
            reentry: Reentry::Allow,
            supersede: Supersede::Never,
            limit: None,
            audit: Audit::Exceptions,
        };
        let new = NewExecution {
            id: ExecutionId(Uuid::from_u128(1)),
            slot_at: None,
            due_at: at,
            expires_at: None,
            priority: 0,
            payload: None,
            unique_key: None,
            policy,
        };
        Execution::fresh(JobName::new("mail").expect("short"), Scope::global(), new, NOON)
    }

    #[test]
    fn a_wait_is_ten_thousand_years_at_most() {
        let years = Duration::from_hours(24 * 366 * 10_000);
        assert_eq!(after_ms(NOON, u64::MAX), NOON.offset_micros(micros(years)));
    }

    #[test]
    fn a_row_may_be_claimed_from_its_instant_on_and_no_sooner() {
        let row = due_at(NOON);
        assert!(!is_claimable(&row, NOON.offset_micros(-1)));
        assert!(is_claimable(&row, NOON));
        assert!(!is_claimable(&Execution { claimable_at: None, ..row }, NOON), "nothing is due that has ended");
    }

    #[test]
    fn a_claim_is_asked_whether_it_charged_by_how_it_charges() {
        let mut row = due_at(NOON);
        claim(&mut row, Token(Uuid::from_u128(2)), Incarnation(Uuid::from_u128(3)), Charge::AtStart, NOON);
        assert_eq!(
            [Charge::AtStart, Charge::AtClaim, Charge::AtClaimIfHarmless].map(|charge| charge.has_charged(&row)),
            [false, true, false]
        );
        let lease = row.lease_ref().expect("just claimed");
        start(&mut row, &lease, NOON).expect("held");
        assert!(Charge::AtClaimIfHarmless.has_charged(&row));
    }

    #[test]
    fn only_a_row_from_a_withdrawn_future_is_moved_and_only_while_it_lives() {
        let mut row = due_at(NOON);
        for now in [NOON, NOON.offset_micros(SECOND_US)] {
            assert!(!clamp_to_present(&mut row, now), "written at {NOON}, and it is {now}");
            assert_eq!(row, due_at(NOON));
        }
        let mut ended = Execution { state: State::Succeeded, claimable_at: None, ..due_at(NOON) };
        assert!(!clamp_to_present(&mut ended, NOON.offset_micros(-SECOND_US)), "what has ended never changes");
        let earlier = NOON.offset_micros(-SECOND_US);
        assert!(clamp_to_present(&mut row, earlier));
        assert_eq!((row.claimable_at, row.updated_at), (Some(earlier), earlier), "due at once stays due at once");
    }

    /// Nothing: it ends, no event tells of it, and a queue that forgets successes keeps nothing of it.
    #[test]
    fn a_success_leaves_nothing_exactly_where_its_settlement_would_leave_nothing() {
        let mut left = [0; 2];
        for variant in 0..1 << 7 {
            let has = |bit: u32| variant >> bit & 1 == 1;
            let mut row = due_at(NOON);
            row.slot_at = has(0).then_some(NOON);
            row.generation = if has(1) { Generation::FIRST.next() } else { Generation::FIRST };
            row.policy.audit = [Audit::Off, Audit::Exceptions, Audit::All, Audit::All][variant >> 2 & 3];
            claim(&mut row, Token(Uuid::from_u128(2)), Incarnation(Uuid::from_u128(3)), Charge::AtStart, NOON);
            let held = row.lease_ref().expect("just claimed");
            if has(4) {
                start(&mut row, &held, NOON).expect("held");
            }
            let lease = match (has(5), has(6)) {
                (false, false) => held,
                (true, false) => LeaseRef { token: Token(Uuid::from_u128(4)), ..held },
                (false, true) => LeaseRef { fence: Fence(held.fence.0 + 1), ..held },
                (true, true) => {
                    wait(&mut row, State::Scheduled, NOON, NOON);
                    held
                }
            };
            let success = Outcome::Succeeded { result: Json::empty(), rows_affected: None };
            let mut after = row.clone();
            let is_nothing = settle(&mut after, &lease, &success, NOON).is_ok()
                && Retention::Failures.forgets(&after)
                && audit::event(Some(&row), &after, By::Settler(&success), NOON).is_none();
            assert_eq!(success_leaves_nothing(&row, &lease), is_nothing, "{lease:?} of {row:?}");
            left[usize::from(is_nothing)] += 1;
        }
        assert_eq!(left, [126, 2], "one without events, one that tells of exceptions");
    }
}
