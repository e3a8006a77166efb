//! Cases of rescue: expired rows that no claim may take.

use tourbillon::{
    model::{
        ErrorCode, NewExecution, Reentry, State,
        transition::{CANCELLED_UNACKNOWLEDGED, Charge, LEASE_EXPIRED},
    },
    store::{Claim, Rescue},
};

use super::subject::{LEASE_MS, Subject, claim_of, failed, job};

super::cases! {
    expired_row_with_reentry_forbidden_is_dead_with_stale_timeout,
    rescued_row_is_not_retried_by_any_path,
    lease_is_not_rescued_in_its_last_instant,
    expired_last_attempt_is_dead,
    expired_row_with_attempts_left_is_left_to_claim,
    unstarted_row_is_never_rescued,
    row_charged_at_claim_is_rescued,
    waiting_and_finished_rows_are_not_rescued,
    unacknowledged_cancellation_ends_at_expiry,
    cancelled_unstarted_row_ends_at_expiry,
    limit_bounds_the_batch_oldest_expiry_first,
    equal_expiries_are_ordered_by_id,
    rescue_of_nothing_says_so,
    second_rescue_finds_nothing,
}

const LEASE: i64 = LEASE_MS as i64;

/// P-9, P-10, P-11.
// P-9, P-10, P-11
async fn expired_row_with_reentry_forbidden_is_dead_with_stale_timeout(s: &Subject) {
    let lease = s.running(&job("digest"), |row| row.policy.reentry = Reentry::Forbid).await;
    s.pass(LEASE + 1);
    let rescued = s.rescue().await;
    assert_eq!((rescued.now, rescued.ended), (s.now(), vec![(lease.id, State::Dead)]));
    let row = s.get(lease.id).await;
    let error = row.error.expect("a rescued row has an error");
    assert_eq!((error.code, error.text.as_str()), (ErrorCode::stale_timeout(), LEASE_EXPIRED));
    assert_eq!((row.state, row.finished_at, row.attempt), (State::Dead, Some(s.now()), 1));
    assert_eq!(row.duration_ms, Some(LEASE_MS + 1));
}

/// P-10: until an operator says so.
// P-10
async fn rescued_row_is_not_retried_by_any_path(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.reentry = Reentry::Forbid).await;
    s.pass(LEASE + 1);
    s.rescue().await;
    s.pass(LEASE * 100);
    assert!(s.nothing_to_claim(&name).await);
    assert!(s.rescue().await.ended.is_empty());
    assert_eq!(s.generations(lease.id).await.len(), 1);
    s.requeue(lease.id).await;
    assert_eq!(s.claim_one(&name).await.0.id, lease.id, "the operator said so");
}

/// P-5: expiry compares strictly.
// P-5
async fn lease_is_not_rescued_in_its_last_instant(s: &Subject) {
    let lease = s.running(&job("digest"), |row| row.policy.reentry = Reentry::Forbid).await;
    s.pass(LEASE);
    assert!(s.rescue().await.ended.is_empty());
    s.pass_micros(1);
    assert_eq!(s.rescue().await.ended, [(lease.id, State::Dead)]);
}

/// G3, G5: charged attempts stay within the budget, rescues included.
async fn expired_last_attempt_is_dead(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.max_attempts = 2).await;
    s.settle(lease, failed(0)).await.expect("held");
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(s.start(lease).await, Ok(2));
    s.pass(LEASE + 1);
    assert_eq!(s.rescue().await.ended, [(lease.id, State::Dead)]);
    assert_eq!(s.get(lease.id).await.attempt, 2);
}

/// P-5.
// P-5
async fn expired_row_with_attempts_left_is_left_to_claim(s: &Subject) {
    let name = job("digest");
    s.running(&name, |_| {}).await;
    s.pass(LEASE + 1);
    assert!(s.rescue().await.ended.is_empty());
    assert!(!s.nothing_to_claim(&name).await);
}

/// G14.
async fn unstarted_row_is_never_rescued(s: &Subject) {
    let change = |row: &mut NewExecution| (row.policy.reentry, row.policy.max_attempts) = (Reentry::Forbid, 1);
    let lease = s.claimed(&job("digest"), change).await;
    s.pass(LEASE * 10);
    assert!(s.rescue().await.ended.is_empty());
    assert_eq!(s.get(lease.id).await.state, State::Running);
}

async fn row_charged_at_claim_is_rescued(s: &Subject) {
    let name = job("digest");
    let id = s.add_one(&name, |row| row.policy.max_attempts = 1).await;
    s.call(Claim { charge: Charge::AtClaim, ..claim_of(&[&name], 1) }).await;
    s.pass(LEASE + 1);
    assert_eq!(s.rescue().await.ended, [(id, State::Dead)]);
}

/// G2.
async fn waiting_and_finished_rows_are_not_rescued(s: &Subject) {
    let name = job("digest");
    s.add_one(&name, |row| row.due_at = s.after(LEASE * 100)).await;
    let lease = s.running(&name, |_| {}).await;
    s.settle(lease, failed(86_400_000)).await.expect("held");
    s.ended(&name, super::subject::succeeded()).await;
    s.pass(LEASE * 10);
    assert!(s.rescue().await.ended.is_empty());
}

/// G11: cancelling a running row ends it when it is acknowledged or expires.
async fn unacknowledged_cancellation_ends_at_expiry(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.cancel(lease.id).await;
    s.pass(LEASE);
    assert!(s.rescue().await.ended.is_empty());
    s.pass_micros(1);
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.rescue().await.ended, [(lease.id, State::Cancelled)]);
    let error = s.get(lease.id).await.error.expect("a cancelled row has an error");
    assert_eq!((error.code, error.text.as_str()), (ErrorCode::canceled(), CANCELLED_UNACKNOWLEDGED));
}

async fn cancelled_unstarted_row_ends_at_expiry(s: &Subject) {
    let name = job("digest");
    let lease = s.claimed(&name, |_| {}).await;
    s.cancel(lease.id).await;
    s.pass(LEASE + 1);
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.rescue().await.ended, [(lease.id, State::Cancelled)]);
    let row = s.get(lease.id).await;
    assert_eq!((row.attempt, row.duration_ms), (0, None));
}

/// G14.
async fn limit_bounds_the_batch_oldest_expiry_first(s: &Subject) {
    let name = job("digest");
    let mut expected = Vec::new();
    for lease_ms in [5_000, 3_000, 4_000, 1_000, 2_000] {
        let lease = s.running(&name, |row| (row.policy.max_attempts, row.policy.lease_ms) = (1, lease_ms)).await;
        expected.push((lease_ms, lease.id));
    }
    expected.sort_unstable();
    s.pass(LEASE);
    let mut got = Vec::new();
    for size in [2, 2, 1, 0] {
        let ended = s.call(Rescue { limit: 2 }).await.ended;
        assert_eq!(ended.len(), size);
        got.extend(ended.into_iter().map(|(id, _)| id));
    }
    assert_eq!(got, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
}

async fn equal_expiries_are_ordered_by_id(s: &Subject) {
    let name = job("digest");
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(s.running(&name, |row| row.policy.max_attempts = 1).await.id);
    }
    ids.sort_unstable();
    s.pass(LEASE + 1);
    assert_eq!(s.rescue().await.ended.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ids);
}

async fn rescue_of_nothing_says_so(s: &Subject) {
    let rescued = s.rescue().await;
    assert_eq!((rescued.now, rescued.ended.len(), rescued.clamped.len()), (s.now(), 0, 0));
}

/// G2.
async fn second_rescue_finds_nothing(s: &Subject) {
    s.running(&job("digest"), |row| row.policy.max_attempts = 1).await;
    s.pass(LEASE + 1);
    assert_eq!(s.rescue().await.ended.len(), 1);
    assert!(s.rescue().await.ended.is_empty());
}
