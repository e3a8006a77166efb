//! Cases of cancel: waiting rows end at once, running rows when their runner answers.

use tourbillon::{
    model::{
        ErrorCode, Outcome, State,
        transition::{CANCELLED_WAITING, Cancelled},
    },
    store::{Cancel, CancelRequest},
};

use super::subject::{LEASE_MS, Subject, failed, job, succeeded};

super::cases! {
    waiting_row_is_cancelled_at_once,
    row_waiting_for_a_retry_is_cancelled_at_once,
    running_row_is_asked_to_stop,
    first_request_to_stop_is_the_one_recorded,
    cancelled_row_that_fails_is_not_retried,
    cancelled_row_that_succeeds_has_succeeded,
    cancelled_row_that_is_given_back_ends,
    cancelled_row_that_snoozes_ends,
    cancelled_row_is_not_reclaimed_when_its_lease_expires,
    heartbeat_of_a_cancelled_row_makes_it_claimable_by_nobody,
    cancelled_unstarted_row_that_is_released_ends,
    finished_row_is_left_as_it_is,
    unknown_row_is_not_found,
    each_row_of_a_batch_has_its_own_outcome_in_order,
}

/// G2, P-9.
// P-9
async fn waiting_row_is_cancelled_at_once(s: &Subject) {
    let name = job("digest");
    let id = s.add_one(&name, |_| {}).await;
    assert_eq!(s.cancel(id).await, Cancelled::Now);
    let row = s.get(id).await;
    let error = row.error.expect("a cancelled row has an error");
    assert_eq!((error.code, error.text.as_str()), (ErrorCode::canceled(), CANCELLED_WAITING));
    assert_eq!((row.state, row.claimable_at, row.finished_at), (State::Cancelled, None, Some(s.now())));
    assert!(s.nothing_to_claim(&name).await);
}

async fn row_waiting_for_a_retry_is_cancelled_at_once(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.settle(lease, failed(1_000)).await.expect("held");
    assert_eq!(s.cancel(lease.id).await, Cancelled::Now);
    s.pass(1_000);
    assert!(s.nothing_to_claim(&name).await);
    let row = s.get(lease.id).await;
    assert_eq!((row.state, row.attempt, row.cancel_requested_at), (State::Cancelled, 1, None));
}

async fn running_row_is_asked_to_stop(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.pass(1);
    assert_eq!(s.cancel(lease.id).await, Cancelled::Requested);
    let row = s.get(lease.id).await;
    assert_eq!((row.state, row.cancel_requested_at, row.updated_at), (State::Running, Some(s.now()), s.now()));
    assert_eq!((row.claimable_at, row.fence), (None, lease.fence), "no further attempt");
    assert_eq!(s.heartbeat(lease).await.map(|renewal| renewal.cancel), Ok(CancelRequest::Requested));
}

async fn first_request_to_stop_is_the_one_recorded(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.cancel(lease.id).await;
    let before = s.get(lease.id).await;
    s.pass(1_000);
    assert_eq!(s.cancel(lease.id).await, Cancelled::Requested);
    assert_eq!(s.get(lease.id).await, before);
}

async fn cancelled_row_that_fails_is_not_retried(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.cancel(lease.id).await;
    assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Cancelled));
    let error = s.get(lease.id).await.error.expect("kept");
    assert_eq!(error.code, ErrorCode::handler_error(), "what the handler said is kept");
    assert!(s.nothing_to_claim(&name).await);
}

/// G4: what has happened has happened.
async fn cancelled_row_that_succeeds_has_succeeded(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.cancel(lease.id).await;
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
}

async fn cancelled_row_that_is_given_back_ends(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.cancel(lease.id).await;
    assert_eq!(s.settle(lease, Outcome::Released).await, Ok(State::Cancelled));
    let row = s.get(lease.id).await;
    assert_eq!(row.error.map(|error| error.code), Some(ErrorCode::canceled()));
}

async fn cancelled_row_that_snoozes_ends(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.cancel(lease.id).await;
    assert_eq!(s.settle(lease, Outcome::Snoozed { for_ms: 5 }).await, Ok(State::Cancelled));
}

/// G11.
async fn cancelled_row_is_not_reclaimed_when_its_lease_expires(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.cancel(lease.id).await;
    s.pass(LEASE_MS as i64 * 9);
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded), "nobody took it");
}

async fn heartbeat_of_a_cancelled_row_makes_it_claimable_by_nobody(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.cancel(lease.id).await;
    s.heartbeat(lease).await.expect("held");
    assert_eq!(s.get(lease.id).await.claimable_at, None);
    s.pass(LEASE_MS as i64 + 1);
    assert!(s.nothing_to_claim(&name).await);
}

async fn cancelled_unstarted_row_that_is_released_ends(s: &Subject) {
    let lease = s.claimed(&job("digest"), |_| {}).await;
    assert_eq!(s.cancel(lease.id).await, Cancelled::Requested);
    assert_eq!(s.settle(lease, Outcome::Released).await, Ok(State::Cancelled));
    assert_eq!(s.get(lease.id).await.attempt, 0);
}

/// G2.
async fn finished_row_is_left_as_it_is(s: &Subject) {
    let id = s.ended(&job("digest"), succeeded()).await;
    let before = s.get(id).await;
    s.pass(1);
    assert_eq!(s.cancel(id).await, Cancelled::AlreadyTerminal);
    assert_eq!(s.get(id).await, before);
}

async fn unknown_row_is_not_found(s: &Subject) {
    assert_eq!(s.cancel(s.id()).await, Cancelled::NotFound);
}

async fn each_row_of_a_batch_has_its_own_outcome_in_order(s: &Subject) {
    let name = job("digest");
    let done = s.ended(&name, succeeded()).await;
    let running = s.running(&name, |_| {}).await.id;
    let waiting = s.add_one(&name, |_| {}).await;
    let ids = vec![waiting, s.id(), done, running];
    let outcomes = s.call(Cancel { ids, actor: None }).await.outcomes;
    use Cancelled::{AlreadyTerminal, NotFound, Now, Requested};
    assert_eq!(outcomes, [Now, NotFound, AlreadyTerminal, Requested]);
}
