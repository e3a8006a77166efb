//! Cases of start: the charge just before a handler runs.

use tourbillon::{
    model::{
        ExecutionId, Fence, LeaseRef, State, Token,
        transition::{Charge, Refusal},
    },
    store::{Claim, Start},
};

use super::subject::{LEASE_MS, Subject, claim_of, job, succeeded};

super::cases! {
    start_charges_and_renews_the_lease,
    repeated_start_charges_once,
    start_after_charging_at_claim_charges_nothing,
    start_under_an_expired_lease_is_refused,
    start_is_accepted_in_the_last_instant_of_the_lease,
    start_after_a_takeover_is_refused,
    start_with_the_wrong_token_or_fence_is_refused,
    start_of_an_unknown_row_is_refused,
    start_of_a_finished_row_is_refused,
    start_of_a_waiting_row_is_refused,
    each_row_of_a_batch_has_its_own_outcome_in_order,
    cancelled_but_claimed_row_may_still_start,
}

/// P-5, G3.
// P-5
async fn start_charges_and_renews_the_lease(s: &Subject) {
    let name = job("digest");
    let lease = s.claimed(&name, |_| {}).await;
    s.pass(1_000);
    assert_eq!(s.start(lease).await, Ok(1));
    let row = s.get(lease.id).await;
    let held = row.lease.as_ref().expect("running");
    assert_eq!((row.attempt, held.started_at, held.heartbeat_at), (1, Some(s.now()), s.now()));
    assert_eq!(held.expires_at, s.after(LEASE_MS as i64));
    assert_eq!(held.claimed_at, s.after(-1_000));
}

/// Under a fresh request id: start is idempotent by its own guard.
async fn repeated_start_charges_once(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.pass(1_000);
    assert_eq!(s.start(lease).await, Ok(1));
    let row = s.get(lease.id).await;
    assert_eq!(row.attempt, 1);
    assert_eq!(row.lease.and_then(|lease| lease.started_at), Some(s.after(-1_000)), "the first start counts");
}

async fn start_after_charging_at_claim_charges_nothing(s: &Subject) {
    let name = job("digest");
    s.add_one(&name, |_| {}).await;
    let claimed = s.call(Claim { charge: Charge::AtClaim, ..claim_of(&[&name], 1) }).await;
    let lease = claimed.executions[0].lease_ref().expect("claimed");
    assert_eq!(s.start(lease).await, Ok(1));
    assert_eq!(s.get(lease.id).await.attempt, 1);
}

/// G8: nothing has run, and the row is free for others at no charge.
async fn start_under_an_expired_lease_is_refused(s: &Subject) {
    let lease = s.claimed(&job("digest"), |_| {}).await;
    s.pass_micros(LEASE_MS as i64 * 1_000 + 1);
    assert_eq!(s.start(lease).await, Err(Refusal::LeaseLost));
    let row = s.get(lease.id).await;
    assert_eq!((row.attempt, row.state), (0, State::Running));
}

/// P-5: expiry compares strictly.
// P-5
async fn start_is_accepted_in_the_last_instant_of_the_lease(s: &Subject) {
    let lease = s.claimed(&job("digest"), |_| {}).await;
    s.pass(LEASE_MS as i64);
    assert_eq!(s.start(lease).await, Ok(1));
}

/// G1.
async fn start_after_a_takeover_is_refused(s: &Subject) {
    let name = job("digest");
    let first = s.claimed(&name, |_| {}).await;
    s.pass(LEASE_MS as i64 + 1);
    let (_, second) = s.claim_one(&name).await;
    assert_eq!(s.start(first).await, Err(Refusal::LeaseLost));
    assert_eq!(s.start(second).await, Ok(1));
    assert_eq!(s.start(first).await, Err(Refusal::LeaseLost));
}

/// G1: id, token and fence are all checked.
async fn start_with_the_wrong_token_or_fence_is_refused(s: &Subject) {
    let lease = s.claimed(&job("digest"), |_| {}).await;
    for wrong in [
        LeaseRef { token: Token(s.uuid()), ..lease },
        LeaseRef { fence: Fence(lease.fence.0 + 1), ..lease },
        LeaseRef { fence: Fence(0), ..lease },
    ] {
        assert_eq!(s.start(wrong).await, Err(Refusal::LeaseLost), "{wrong:?}");
    }
    assert_eq!(s.get(lease.id).await.attempt, 0);
}

async fn start_of_an_unknown_row_is_refused(s: &Subject) {
    let unknown = LeaseRef { id: s.id(), token: Token(s.uuid()), fence: Fence(1) };
    assert_eq!(s.start(unknown).await, Err(Refusal::LeaseLost));
}

/// G2.
async fn start_of_a_finished_row_is_refused(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
    assert_eq!(s.start(lease).await, Err(Refusal::LeaseLost));
}

async fn start_of_a_waiting_row_is_refused(s: &Subject) {
    let name = job("digest");
    let lease = s.claimed(&name, |_| {}).await;
    assert_eq!(s.settle(lease, tourbillon::model::Outcome::Released).await, Ok(State::Scheduled));
    assert_eq!(s.start(lease).await, Err(Refusal::LeaseLost));
}

async fn each_row_of_a_batch_has_its_own_outcome_in_order(s: &Subject) {
    let name = job("digest");
    let (a, b, c) = (s.claimed(&name, |_| {}).await, s.claimed(&name, |_| {}).await, s.claimed(&name, |_| {}).await);
    let unknown = LeaseRef { id: ExecutionId(s.uuid()), ..a };
    let stale = LeaseRef { fence: Fence(9), ..b };
    let started = s.call(Start { leases: vec![c, unknown, stale, a] }).await;
    let lost = Err(Refusal::LeaseLost);
    assert_eq!(started.outcomes, [Ok(1), lost, lost, Ok(1)]);
    assert_eq!(started.now, s.now());
    assert_eq!(s.get(b.id).await.attempt, 0);
}

/// The runner is told at its next heartbeat.
async fn cancelled_but_claimed_row_may_still_start(s: &Subject) {
    let lease = s.claimed(&job("digest"), |_| {}).await;
    s.cancel(lease.id).await;
    assert_eq!(s.start(lease).await, Ok(1));
    assert_eq!(s.get(lease.id).await.claimable_at, None, "no further attempt");
}
