//! Cases of a database clock that stepped back: waits last no longer than they were meant to.

use tourbillon::{
    model::{Outcome, Reentry, State},
    store::Rescue,
};

use super::subject::{LEASE_MS, Subject, failed, job, succeeded};

super::cases! {
    lease_is_shortened_to_what_it_was_meant_to_last,
    retry_is_shortened_to_what_it_was_meant_to_last,
    snooze_is_shortened_to_what_it_was_meant_to_last,
    absolute_due_time_is_left_alone,
    item_that_was_due_at_once_is_due_at_once,
    row_of_the_present_is_left_alone,
    row_from_before_the_withdrawn_future_is_left_alone,
    finished_row_is_left_alone,
    holder_keeps_a_shortened_lease,
    shortened_lease_can_be_renewed,
    row_that_only_a_rescue_ends_is_shortened_too,
    nothing_is_shortened_twice,
    nothing_is_shortened_while_the_clock_runs_forwards,
    nothing_is_shortened_before_the_first_rescue_saw_the_time,
    shortened_rows_are_listed_by_id,
    limit_of_a_rescue_does_not_bound_the_shortening,
    duration_is_never_negative,
    claim_works_on_while_the_clock_is_back,
}

const LEASE: i64 = LEASE_MS as i64;
const HOUR: i64 = 3_600_000;

/// Steps the clock back by an hour, seen by the next rescue since one ran before.
async fn step_back(s: &Subject) {
    s.rescue().await;
    s.pass(-HOUR);
}

/// G14: a lease that expires later than now + ttl proves that the clock stepped back.
async fn lease_is_shortened_to_what_it_was_meant_to_last(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    step_back(s).await;
    assert_eq!(s.rescue().await.clamped, [lease.id]);
    let row = s.get(lease.id).await;
    assert_eq!(row.lease.map(|lease| lease.expires_at), Some(s.after(LEASE)));
    assert_eq!(row.updated_at, s.now());
    s.pass(LEASE);
    assert!(s.nothing_to_claim(&name).await);
    s.pass_micros(1);
    assert_eq!(s.claim_one(&name).await.0.id, lease.id);
}

async fn retry_is_shortened_to_what_it_was_meant_to_last(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.settle(lease, failed(5_000)).await.expect("held");
    step_back(s).await;
    assert_eq!(s.rescue().await.clamped, [lease.id]);
    assert_eq!(s.get(lease.id).await.next_retry_at(), Some(s.after(5_000)));
}

async fn snooze_is_shortened_to_what_it_was_meant_to_last(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.due_at = s.after(-1)).await;
    s.settle(lease, Outcome::Snoozed { for_ms: 5_000 }).await.expect("held");
    step_back(s).await;
    s.rescue().await;
    s.pass(5_000);
    assert_eq!(s.claim_one(&name).await.0.id, lease.id);
}

/// That instant comes again.
async fn absolute_due_time_is_left_alone(s: &Subject) {
    let name = job("digest");
    let due_at = s.after(1_000);
    let id = s.add_one(&name, |row| row.due_at = due_at).await;
    step_back(s).await;
    s.rescue().await;
    assert_eq!(s.get(id).await.claimable_at, Some(due_at));
    s.pass(5_000);
    assert!(s.nothing_to_claim(&name).await);
}

/// And a slot that is made for when it is made is not: its time is its own.
async fn item_that_was_due_at_once_is_due_at_once(s: &Subject) {
    let name = job("mail");
    let item = s.enqueue_one(&name, |_| {}).await;
    let slot = s.add_one(&name, |row| row.slot_at = Some(s.now())).await;
    step_back(s).await;
    assert_eq!(s.rescue().await.clamped.len(), 2);
    assert_eq!(s.claim_one(&name).await.0.id, item);
    assert_eq!(s.get(slot).await.due_at, s.after(HOUR));
}

async fn row_of_the_present_is_left_alone(s: &Subject) {
    s.add_one(&job("digest"), |_| {}).await;
    s.pass(HOUR);
    step_back(s).await;
    assert_eq!(s.rescue().await.clamped, []);
}

async fn row_from_before_the_withdrawn_future_is_left_alone(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    let before = s.get(lease.id).await;
    s.pass(HOUR + 1_000);
    step_back(s).await;
    assert_eq!(s.rescue().await.clamped, []);
    assert_eq!(s.get(lease.id).await, before);
}

/// G2.
async fn finished_row_is_left_alone(s: &Subject) {
    let id = s.ended(&job("digest"), succeeded()).await;
    let before = s.get(id).await;
    step_back(s).await;
    assert_eq!(s.rescue().await.clamped, []);
    assert_eq!(s.get(id).await, before);
}

/// G8.
async fn holder_keeps_a_shortened_lease(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    step_back(s).await;
    s.rescue().await;
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
}

async fn shortened_lease_can_be_renewed(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    step_back(s).await;
    s.rescue().await;
    s.pass(1_000);
    assert_eq!(s.heartbeat(lease).await.map(|renewal| renewal.expires_at), Ok(s.after(LEASE)));
}

/// P-10.
// P-10
async fn row_that_only_a_rescue_ends_is_shortened_too(s: &Subject) {
    let lease = s.running(&job("digest"), |row| row.policy.reentry = Reentry::Forbid).await;
    step_back(s).await;
    let rescued = s.rescue().await;
    assert_eq!((rescued.clamped, rescued.ended), (vec![lease.id], vec![]));
    s.pass(LEASE + 1);
    assert_eq!(s.rescue().await.ended, [(lease.id, State::Dead)]);
}

async fn nothing_is_shortened_twice(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    step_back(s).await;
    assert_eq!(s.rescue().await.clamped, [lease.id]);
    let before = s.get(lease.id).await;
    assert_eq!(s.rescue().await.clamped, []);
    s.pass(1);
    assert_eq!(s.rescue().await.clamped, []);
    assert_eq!(s.get(lease.id).await, before);
}

async fn nothing_is_shortened_while_the_clock_runs_forwards(s: &Subject) {
    s.rescue().await;
    s.pass(1);
    s.running(&job("digest"), |_| {}).await;
    s.pass(-1);
    assert_eq!(s.rescue().await.clamped, [], "as late as the last rescue is not back");
}

async fn nothing_is_shortened_before_the_first_rescue_saw_the_time(s: &Subject) {
    s.running(&job("digest"), |_| {}).await;
    s.pass(-HOUR);
    assert_eq!(s.rescue().await.clamped, []);
}

async fn shortened_rows_are_listed_by_id(s: &Subject) {
    let name = job("digest");
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(s.running(&name, |_| {}).await.id);
    }
    ids.sort_unstable();
    step_back(s).await;
    assert_eq!(s.rescue().await.clamped, ids);
}

async fn limit_of_a_rescue_does_not_bound_the_shortening(s: &Subject) {
    let name = job("digest");
    for _ in 0..3 {
        s.running(&name, |_| {}).await;
    }
    step_back(s).await;
    assert_eq!(s.call(Rescue { limit: 1 }).await.clamped.len(), 3);
}

/// P-11.
// P-11
async fn duration_is_never_negative(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.pass(-5_000);
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
    let row = s.get(lease.id).await;
    assert_eq!((row.duration_ms, row.finished_at), (Some(0), Some(s.now())));
}

async fn claim_works_on_while_the_clock_is_back(s: &Subject) {
    let name = job("digest");
    let id = s.add_one(&name, |row| row.due_at = s.after(-2 * HOUR)).await;
    s.pass(-HOUR);
    let (row, lease) = s.claim_one(&name).await;
    assert_eq!(row.id, id);
    assert_eq!(row.lease.map(|lease| lease.expires_at), Some(s.after(LEASE)));
    assert_eq!(s.start(lease).await, Ok(1));
}
