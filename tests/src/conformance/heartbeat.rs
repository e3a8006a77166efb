//! Cases of heartbeat: who may renew a lease, and what the answer says.

use tourbillon::{
    model::{ExecutionId, Fence, LeaseRef, Progress, Reentry, Reported, State, Token, transition::Refusal},
    store::{CancelRequest, ErrorKind, Heartbeat, RequeueOutcome},
};

use super::subject::{LEASE_MS, Subject, failed, job, succeeded};

super::cases! {
    heartbeat_renews_the_lease,
    renewed_row_is_not_claimed_at_the_old_expiry,
    renewed_row_is_not_rescued_at_the_old_expiry,
    expired_lease_that_nobody_took_can_be_renewed,
    heartbeat_after_a_takeover_is_refused,
    heartbeat_with_the_wrong_token_or_fence_is_refused,
    heartbeat_of_an_unknown_row_is_refused,
    heartbeat_of_a_finished_row_is_refused,
    refused_heartbeat_changes_nothing,
    unstarted_row_can_be_kept_alive_uncharged,
    heartbeat_tells_of_a_cancel_request,
    last_attempt_stays_unclaimable_when_renewed,
    each_row_of_a_batch_has_its_own_outcome_in_order,
    progress_is_kept_by_the_heartbeat_that_brings_it,
    progress_of_who_holds_no_lease_is_not_kept,
    progress_stays_with_an_end_and_goes_with_the_next_claim,
    progress_that_cannot_be_kept_is_invalid,
}

const LEASE: i64 = LEASE_MS as i64;

/// P-6.
// P-6
async fn heartbeat_renews_the_lease(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.pass(20_000);
    let renewal = s.heartbeat(lease).await.expect("held");
    assert_eq!((renewal.expires_at, renewal.cancel), (s.after(LEASE), CancelRequest::None));
    let row = s.get(lease.id).await;
    let held = row.lease.as_ref().expect("running");
    assert_eq!((held.heartbeat_at, held.expires_at), (s.now(), s.after(LEASE)));
    assert_eq!((held.started_at, held.claimed_at), (Some(s.after(-20_000)), s.after(-20_000)));
    assert_eq!((row.updated_at, row.fence, row.attempt), (s.now(), Fence(1), 1));
}

/// P-5, P-6.
// P-5, P-6
async fn renewed_row_is_not_claimed_at_the_old_expiry(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.pass(20_000);
    s.heartbeat(lease).await.expect("held");
    s.pass(LEASE);
    assert!(s.nothing_to_claim(&name).await, "the new lease ends now, inclusively");
    s.pass_micros(1);
    assert!(!s.nothing_to_claim(&name).await);
}

/// P-6, P-10.
// P-6, P-10
async fn renewed_row_is_not_rescued_at_the_old_expiry(s: &Subject) {
    let lease = s.running(&job("digest"), |row| row.policy.reentry = Reentry::Forbid).await;
    s.pass(20_000);
    s.heartbeat(lease).await.expect("held");
    s.pass(LEASE);
    assert!(s.rescue().await.ended.is_empty());
    s.pass_micros(1);
    assert_eq!(s.rescue().await.ended, [(lease.id, State::Dead)]);
}

/// P-6, G8.
// P-6
async fn expired_lease_that_nobody_took_can_be_renewed(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.pass(LEASE * 10);
    assert!(s.heartbeat(lease).await.is_ok());
    assert!(s.nothing_to_claim(&name).await);
}

/// P-6, G8: zero rows is `LeaseLost`.
// P-6
async fn heartbeat_after_a_takeover_is_refused(s: &Subject) {
    let name = job("digest");
    let first = s.running(&name, |_| {}).await;
    s.pass(LEASE + 1);
    let (_, second) = s.claim_one(&name).await;
    assert_eq!(s.heartbeat(first).await, Err(Refusal::LeaseLost));
    assert!(s.heartbeat(second).await.is_ok());
}

/// P-6.
// P-6
async fn heartbeat_with_the_wrong_token_or_fence_is_refused(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    for wrong in [LeaseRef { token: Token(s.uuid()), ..lease }, LeaseRef { fence: Fence(2), ..lease }] {
        assert_eq!(s.heartbeat(wrong).await, Err(Refusal::LeaseLost), "{wrong:?}");
    }
}

/// P-6.
// P-6
async fn heartbeat_of_an_unknown_row_is_refused(s: &Subject) {
    let unknown = LeaseRef { id: s.id(), token: Token(s.uuid()), fence: Fence(1) };
    assert_eq!(s.heartbeat(unknown).await, Err(Refusal::LeaseLost));
}

/// G2, P-6.
// P-6
async fn heartbeat_of_a_finished_row_is_refused(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
    let before = s.get(lease.id).await;
    s.pass(1);
    assert_eq!(s.heartbeat(lease).await, Err(Refusal::LeaseLost));
    assert_eq!(s.get(lease.id).await, before);
}

/// G8.
async fn refused_heartbeat_changes_nothing(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    let before = s.get(lease.id).await;
    s.pass(1);
    assert!(s.heartbeat(LeaseRef { fence: Fence(7), ..lease }).await.is_err());
    assert_eq!(s.get(lease.id).await, before);
}

/// Claimed but not started rows hold leases that are renewed (back-pressure).
async fn unstarted_row_can_be_kept_alive_uncharged(s: &Subject) {
    let name = job("digest");
    let lease = s.claimed(&name, |_| {}).await;
    for _ in 0..3 {
        s.pass(LEASE);
        assert!(s.heartbeat(lease).await.is_ok());
    }
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.get(lease.id).await.attempt, 0);
    assert_eq!(s.start(lease).await, Ok(1));
}

async fn heartbeat_tells_of_a_cancel_request(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.cancel(lease.id).await;
    let renewal = s.heartbeat(lease).await.expect("still held");
    assert_eq!(renewal.cancel, CancelRequest::Requested);
}

/// G3.
async fn last_attempt_stays_unclaimable_when_renewed(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.max_attempts = 1).await;
    s.pass(1_000);
    s.heartbeat(lease).await.expect("held");
    assert_eq!(s.get(lease.id).await.claimable_at, None);
    s.pass(LEASE + 1);
    assert!(s.nothing_to_claim(&name).await);
}

/// P-6.
// P-6
async fn each_row_of_a_batch_has_its_own_outcome_in_order(s: &Subject) {
    let name = job("digest");
    let a = s.running(&name, |row| row.policy.lease_ms = 1_000).await;
    let b = s.running(&name, |row| row.policy.lease_ms = 9_000).await;
    let stale = LeaseRef { id: b.id, token: Token(s.uuid()), fence: b.fence };
    s.cancel(a.id).await;
    let renewed = s.call(Heartbeat::of(vec![stale, a])).await;
    assert_eq!(renewed.outcomes[0], Err(Refusal::LeaseLost));
    let renewal = renewed.outcomes[1].expect("held");
    assert_eq!((renewal.expires_at, renewal.cancel), (s.after(1_000), CancelRequest::Requested));
    let renewed = s.call(Heartbeat::of(vec![b, a])).await;
    let expiries: Vec<_> = renewed.outcomes.iter().map(|outcome| outcome.expect("held").expires_at).collect();
    assert_eq!(expiries, [s.after(9_000), s.after(1_000)]);
}

async fn says(s: &Subject, lease: LeaseRef, progress: Progress) -> Result<(), Refusal> {
    let beat = Heartbeat { leases: vec![lease], progress: vec![(lease.id, progress)] };
    s.call(beat).await.outcomes[0].map(drop)
}

async fn progress_of(s: &Subject, id: ExecutionId) -> Option<Reported> {
    s.get(id).await.progress
}

async fn progress_is_kept_by_the_heartbeat_that_brings_it(s: &Subject) {
    let name = job("digest");
    let (a, b) = (s.running(&name, |_| {}).await, s.running(&name, |_| {}).await);
    assert_eq!(progress_of(s, a.id).await, None);
    s.pass(1_000);
    for progress in [Progress::new("Seite 3 von \"12\"").done(0.25), Progress::new(""), Progress::new("x").done(1.0)]
    {
        s.pass(1_000);
        let beat = Heartbeat { leases: vec![a, b], progress: vec![(a.id, progress.clone())] };
        assert!(s.call(beat).await.outcomes.iter().all(Result::is_ok));
        assert_eq!(progress_of(s, a.id).await, Some(Reported { progress, at: s.now() }));
        assert_eq!(progress_of(s, b.id).await, None);
    }
    // One that says nothing leaves what was said, and when.
    let said = progress_of(s, a.id).await;
    s.pass(1_000);
    assert!(s.heartbeat(a).await.is_ok());
    assert_eq!(progress_of(s, a.id).await, said);
}

async fn progress_of_who_holds_no_lease_is_not_kept(s: &Subject) {
    let name = job("digest");
    let old = s.running(&name, |_| {}).await;
    s.pass(LEASE + 1);
    let (_, new) = s.claim_one(&name).await;
    assert_eq!(says(s, old, Progress::new("mine")).await, Err(Refusal::LeaseLost));
    assert_eq!(progress_of(s, new.id).await, None);
    // Nor what is said of a row without its lease.
    let other = s.running(&name, |_| {}).await;
    let beat = Heartbeat { leases: vec![other], progress: vec![(new.id, Progress::new("not mine"))] };
    assert!(s.call(beat).await.outcomes[0].is_ok());
    assert_eq!(progress_of(s, new.id).await, None);
    assert_eq!(progress_of(s, other.id).await, None);
}

async fn progress_stays_with_an_end_and_goes_with_the_next_claim(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.max_attempts = 2).await;
    assert_eq!(says(s, lease, Progress::new("first")).await, Ok(()));
    let first = progress_of(s, lease.id).await;
    assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Retryable));
    assert_eq!(progress_of(s, lease.id).await, first);
    let (row, lease) = s.claim_one(&name).await;
    assert_eq!(row.progress, None);
    assert_eq!(s.start(lease).await, Ok(2));
    assert_eq!(says(s, lease, Progress::new("second").done(0.9)).await, Ok(()));
    let second = progress_of(s, lease.id).await;
    assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Dead));
    assert_eq!(progress_of(s, lease.id).await, second);
    assert!(matches!(s.requeue(lease.id).await, RequeueOutcome::Requeued(_)));
    assert_eq!(progress_of(s, lease.id).await, None);
}

async fn progress_that_cannot_be_kept_is_invalid(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    let long = "x".repeat(201);
    for (note, permille) in [("a\0b", 1), ("a\nb", 1), (long.as_str(), 1), ("x", 1_001)] {
        let json = serde_json::json!({ "note": note, "permille": permille });
        let progress: Progress = serde_json::from_value(json).expect("the shape of one");
        let beat = Heartbeat { leases: vec![lease], progress: vec![(lease.id, progress)] };
        assert_eq!(s.refused(beat).await.kind(), ErrorKind::Invalid, "{note:?} {permille}");
    }
    let twice = vec![(lease.id, Progress::new("x")); 2];
    assert_eq!(s.refused(Heartbeat { leases: vec![lease], progress: twice }).await.kind(), ErrorKind::Invalid);
    assert_eq!(progress_of(s, lease.id).await, None);
}
