//! Cases of settle: every way an attempt ends, and who may end it.

use tourbillon::{
    model::{
        Audit, ErrorCode, Failure, Fence, Json, LeaseRef, NewExecution, Outcome, Reentry, Retry, State, Token,
        transition::Refusal,
    },
    store::{Settle, Settlement},
};

use super::subject::{LEASE_MS, Subject, failed, failed_for_good, failure, job, succeeded};

super::cases! {
    success_ends_the_execution,
    success_keeps_result_and_rows_affected,
    empty_result_is_an_empty_object,
    failure_with_attempts_left_waits_for_its_retry,
    failure_of_the_last_attempt_is_dead,
    failure_that_must_not_be_retried_is_dead_at_once,
    failure_is_retried_even_when_reentry_is_forbidden,
    each_code_is_kept,
    released_row_is_due_now_and_uncharged,
    released_last_attempt_may_run_again,
    unstarted_row_can_be_released,
    row_released_by_a_runner_keeps_its_fence,
    snoozed_row_is_due_later_and_uncharged,
    snoozed_row_never_runs_out_of_attempts,
    unstarted_row_can_only_be_released,
    acknowledged_cancellation_ends_the_execution,
    expired_lease_that_nobody_took_may_still_finish,
    settle_after_a_takeover_is_refused_and_changes_nothing,
    settle_after_a_rescue_is_refused_and_changes_nothing,
    settle_with_the_wrong_token_or_fence_is_refused,
    settle_of_an_unknown_row_is_refused,
    second_settle_is_refused,
    finished_row_is_never_claimed_again,
    duration_is_measured_from_the_start_not_the_claim,
    each_row_of_a_batch_has_its_own_outcome_in_order,
    refused_row_does_not_undo_its_batch,
    successes_that_no_audit_tells_end_their_rows_alone,
    lost_row_among_successes_that_no_audit_tells_is_refused_alone,
}

const LEASE: i64 = LEASE_MS as i64;

/// P-7, P-11, G2.
// P-7, P-11
async fn success_ends_the_execution(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.pass(2_500);
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
    let row = s.get(lease.id).await;
    assert_eq!((row.state, row.claimable_at, row.attempt), (State::Succeeded, None, 1));
    assert_eq!((row.finished_at, row.duration_ms, row.updated_at), (Some(s.now()), Some(2_500), s.now()));
    assert_eq!((row.error, row.skip_reason), (None, None));
    assert_eq!(row.lease.map(|lease| lease.token), Some(lease.token), "who ran it stays on record");
}

/// P-11.
// P-11
async fn success_keeps_result_and_rows_affected(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    let result = Json::new(&serde_json::json!({"sent": 3, "to": ["a", null, 1.5, true]})).expect("small");
    let outcome = Outcome::Succeeded { result: result.clone(), rows_affected: Some(1_234_567_890_123) };
    s.settle(lease, outcome).await.expect("held");
    let row = s.get(lease.id).await;
    assert_eq!((row.result, row.rows_affected), (Some(result), Some(1_234_567_890_123)));
}

/// P-8.
// P-8
async fn empty_result_is_an_empty_object(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.settle(lease, succeeded()).await.expect("held");
    let row = s.get(lease.id).await;
    assert_eq!((row.result.as_ref().map(Json::as_str), row.rows_affected), (Some("{}"), None));
}

/// P-7, P-11.
// P-7, P-11
async fn failure_with_attempts_left_waits_for_its_retry(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.pass(300);
    assert_eq!(s.settle(lease, failed(60_000)).await, Ok(State::Retryable));
    let row = s.get(lease.id).await;
    assert_eq!((row.state, row.next_retry_at()), (State::Retryable, Some(s.after(60_000))));
    assert_eq!((row.error, row.duration_ms), (Some(failure("it broke")), Some(300)));
    assert_eq!((row.finished_at, row.result), (Some(s.now()), None));
}

/// P-7: next retry only while attempts remain. G3.
// P-7
async fn failure_of_the_last_attempt_is_dead(s: &Subject) {
    let name = job("digest");
    let mut lease = s.running(&name, |row| row.policy.max_attempts = 3).await;
    for attempt in 2..=3 {
        assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Retryable));
        lease = s.claim_one(&name).await.1;
        assert_eq!(s.start(lease).await, Ok(attempt));
    }
    assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Dead));
    let row = s.get(lease.id).await;
    assert_eq!((row.attempt, row.next_retry_at(), row.claimable_at), (3, None, None));
    assert!(s.nothing_to_claim(&name).await);
}

async fn failure_that_must_not_be_retried_is_dead_at_once(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    assert_eq!(s.settle(lease, failed_for_good()).await, Ok(State::Dead));
    assert_eq!(s.get(lease.id).await.attempt, 1);
    assert!(s.nothing_to_claim(&name).await);
}

/// P-10: forbidden re-entry is about lost leases; a failure that was reported is retried.
// P-10
async fn failure_is_retried_even_when_reentry_is_forbidden(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.reentry = Reentry::Forbid).await;
    assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Retryable));
    assert_eq!(s.claim_one(&name).await.0.id, lease.id);
}

/// P-9.
// P-9
async fn each_code_is_kept(s: &Subject) {
    let codes = [
        ErrorCode::handler_error(),
        ErrorCode::run_timeout(),
        ErrorCode::canceled(),
        ErrorCode::lease_lost(),
        ErrorCode::handler_panic(),
        ErrorCode::stale_timeout(),
        ErrorCode::result_too_large(),
        ErrorCode::custom("smtp 550"),
    ];
    for code in codes {
        let lease = s.running(&job("digest"), |_| {}).await;
        let failure = Failure::new(code.clone(), "");
        s.settle(lease, Outcome::Failed { failure, retry: Retry::Never }).await.expect("held");
        let error = s.get(lease.id).await.error.expect("a dead row has an error");
        assert_eq!((error.code, error.text.as_str()), (code, ""));
    }
}

/// P-9, G13: a graceful shutdown gives the attempt back.
// P-9
async fn released_row_is_due_now_and_uncharged(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.pass(100);
    assert_eq!(s.settle(lease, Outcome::Released).await, Ok(State::Scheduled));
    let row = s.get(lease.id).await;
    assert_eq!((row.attempt, row.claimable_at), (0, Some(s.now())));
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(s.start(lease).await, Ok(1));
}

/// G13.
async fn released_last_attempt_may_run_again(s: &Subject) {
    let name = job("digest");
    let mut lease = s.running(&name, |row| row.policy.max_attempts = 1).await;
    for _ in 0..3 {
        assert_eq!(s.settle(lease, Outcome::Released).await, Ok(State::Scheduled));
        lease = s.claim_one(&name).await.1;
        assert_eq!(s.start(lease).await, Ok(1));
    }
}

/// G13.
async fn unstarted_row_can_be_released(s: &Subject) {
    let name = job("digest");
    let lease = s.claimed(&name, |_| {}).await;
    assert_eq!(s.settle(lease, Outcome::Released).await, Ok(State::Scheduled));
    let row = s.get(lease.id).await;
    assert_eq!((row.attempt, row.duration_ms), (0, None));
    assert_eq!(s.claim_one(&name).await.0.id, lease.id);
}

/// G1: the fence grows with every claim, charged or not.
async fn row_released_by_a_runner_keeps_its_fence(s: &Subject) {
    let name = job("digest");
    let lease = s.claimed(&name, |_| {}).await;
    s.settle(lease, Outcome::Released).await.expect("held");
    assert_eq!(s.get(lease.id).await.fence, Fence(1));
    assert_eq!(s.claim_one(&name).await.1.fence, Fence(2));
}

async fn snoozed_row_is_due_later_and_uncharged(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    assert_eq!(s.settle(lease, Outcome::Snoozed { for_ms: 5_000 }).await, Ok(State::Scheduled));
    assert_eq!(s.get(lease.id).await.attempt, 0);
    s.pass_micros(4_999_999);
    assert!(s.nothing_to_claim(&name).await);
    s.pass_micros(1);
    assert_eq!(s.claim_one(&name).await.0.id, lease.id);
}

/// G4: give-backs and snoozes are not charged.
async fn snoozed_row_never_runs_out_of_attempts(s: &Subject) {
    let name = job("digest");
    let mut lease = s.running(&name, |row| row.policy.max_attempts = 1).await;
    for _ in 0..4 {
        assert_eq!(s.settle(lease, Outcome::Snoozed { for_ms: 0 }).await, Ok(State::Scheduled));
        lease = s.claim_one(&name).await.1;
        assert_eq!(s.start(lease).await, Ok(1));
    }
    assert_eq!(lease.fence, Fence(5));
}

/// G4: nothing has run, so nothing can have ended.
async fn unstarted_row_can_only_be_released(s: &Subject) {
    let lease = s.claimed(&job("digest"), |_| {}).await;
    let before = s.get(lease.id).await;
    let cancelled = Outcome::Cancelled { failure: failure("stopped") };
    for outcome in [succeeded(), failed(0), failed_for_good(), Outcome::Snoozed { for_ms: 1 }, cancelled] {
        assert_eq!(s.settle(lease, outcome.clone()).await, Err(Refusal::NotStarted), "{outcome:?}");
    }
    assert_eq!(s.get(lease.id).await, before);
}

async fn acknowledged_cancellation_ends_the_execution(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.cancel(lease.id).await;
    let failure = Failure::new(ErrorCode::canceled(), "stopped half-way");
    assert_eq!(s.settle(lease, Outcome::Cancelled { failure: failure.clone() }).await, Ok(State::Cancelled));
    let row = s.get(lease.id).await;
    assert_eq!((row.state, row.error, row.claimable_at), (State::Cancelled, Some(failure), None));
}

/// G8.
async fn expired_lease_that_nobody_took_may_still_finish(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.pass(LEASE * 5);
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
}

/// P-7, G8.
// P-7
async fn settle_after_a_takeover_is_refused_and_changes_nothing(s: &Subject) {
    let name = job("digest");
    let first = s.running(&name, |_| {}).await;
    s.pass(LEASE + 1);
    s.claim_one(&name).await;
    let before = s.get(first.id).await;
    for outcome in [succeeded(), failed(0), Outcome::Released, Outcome::Snoozed { for_ms: 0 }] {
        assert_eq!(s.settle(first, outcome.clone()).await, Err(Refusal::LeaseLost), "{outcome:?}");
    }
    assert_eq!(s.get(first.id).await, before);
}

/// P-10, G2.
// P-10
async fn settle_after_a_rescue_is_refused_and_changes_nothing(s: &Subject) {
    let lease = s.running(&job("digest"), |row| row.policy.reentry = Reentry::Forbid).await;
    s.pass(LEASE + 1);
    s.rescue().await;
    let before = s.get(lease.id).await;
    assert_eq!(s.settle(lease, succeeded()).await, Err(Refusal::LeaseLost));
    assert_eq!(s.get(lease.id).await, before);
}

/// P-7.
// P-7
async fn settle_with_the_wrong_token_or_fence_is_refused(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    let before = s.get(lease.id).await;
    for wrong in [LeaseRef { token: Token(s.uuid()), ..lease }, LeaseRef { fence: Fence(0), ..lease }] {
        assert_eq!(s.settle(wrong, succeeded()).await, Err(Refusal::LeaseLost), "{wrong:?}");
    }
    assert_eq!(s.get(lease.id).await, before);
}

/// P-7.
// P-7
async fn settle_of_an_unknown_row_is_refused(s: &Subject) {
    let unknown = LeaseRef { id: s.id(), token: Token(s.uuid()), fence: Fence(1) };
    assert_eq!(s.settle(unknown, succeeded()).await, Err(Refusal::LeaseLost));
}

/// G2: under a new request id it is another settle.
async fn second_settle_is_refused(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Retryable));
    assert_eq!(s.settle(lease, succeeded()).await, Err(Refusal::LeaseLost));
    assert_eq!(s.get(lease.id).await.state, State::Retryable);
}

/// G2.
async fn finished_row_is_never_claimed_again(s: &Subject) {
    let name = job("digest");
    for outcome in [succeeded(), failed_for_good(), Outcome::Cancelled { failure: failure("stopped") }] {
        s.ended(&name, outcome).await;
    }
    s.pass(LEASE * 1_000);
    assert!(s.nothing_to_claim(&name).await);
    assert!(s.rescue().await.ended.is_empty());
}

/// P-11.
// P-11
async fn duration_is_measured_from_the_start_not_the_claim(s: &Subject) {
    let lease = s.claimed(&job("digest"), |_| {}).await;
    s.pass(1_000);
    assert_eq!(s.start(lease).await, Ok(1));
    s.pass(200);
    s.heartbeat(lease).await.expect("held");
    s.pass_micros(50_999);
    s.settle(lease, succeeded()).await.expect("held");
    assert_eq!(s.get(lease.id).await.duration_ms, Some(250), "whole milliseconds, rounded down");
}

/// P-7: per row also in batches, and the reply says per row what was refused.
// P-7
async fn each_row_of_a_batch_has_its_own_outcome_in_order(s: &Subject) {
    let name = job("digest");
    let a = s.running(&name, |_| {}).await;
    let b = s.running(&name, |row| row.policy.max_attempts = 1).await;
    let c = s.running(&name, |_| {}).await;
    let d = s.claimed(&name, |_| {}).await;
    let e = s.running(&name, |_| {}).await;
    let one = |lease, outcome| Settlement::of(lease, outcome);
    let settlements = vec![
        one(e, Outcome::Released),
        one(d, succeeded()),
        one(LeaseRef { fence: Fence(8), ..c }, succeeded()),
        one(b, failed(1)),
        one(a, succeeded()),
    ];
    let settled = s.call(Settle { settlements }).await;
    let expected = [
        Ok(State::Scheduled),
        Err(Refusal::NotStarted),
        Err(Refusal::LeaseLost),
        Ok(State::Dead),
        Ok(State::Succeeded),
    ];
    assert_eq!((settled.outcomes.as_slice(), settled.now), (&expected[..], s.now()));
}

/// G14: a refused row stops nobody else.
async fn refused_row_does_not_undo_its_batch(s: &Subject) {
    let name = job("digest");
    let (a, b) = (s.running(&name, |_| {}).await, s.running(&name, |_| {}).await);
    let stale = LeaseRef { token: Token(s.uuid()), ..a };
    let settlements = [stale, b].map(|lease| Settlement::of(lease, succeeded())).to_vec();
    s.call(Settle { settlements }).await;
    assert_eq!((s.get(a.id).await.state, s.get(b.id).await.state), (State::Running, State::Succeeded));
}

fn untold(row: &mut NewExecution) {
    row.policy.audit = Audit::Off;
}

/// A store may have a shorter way for these.
async fn successes_that_no_audit_tells_end_their_rows_alone(s: &Subject) {
    let name = job("digest");
    let (a, b) = (s.running(&name, untold).await, s.running(&name, untold).await);
    let (running, waiting) = (s.running(&name, untold).await, s.add_one(&name, untold).await);
    let before = (s.get(running.id).await, s.get(waiting).await);
    s.pass(2_500);
    let result = Json::new(&serde_json::json!({"sent": 3})).expect("small");
    let outcome = |rows| Outcome::Succeeded { result: result.clone(), rows_affected: rows };
    let settlements = vec![Settlement::of(b, outcome(Some(7))), Settlement::of(a, outcome(None))];
    let settled = s.call(Settle { settlements }).await;
    assert_eq!(settled.outcomes, [Ok(State::Succeeded), Ok(State::Succeeded)]);
    for (lease, rows) in [(a, None), (b, Some(7))] {
        let row = s.get(lease.id).await;
        assert_eq!((row.state, row.claimable_at, row.attempt), (State::Succeeded, None, 1));
        assert_eq!((row.finished_at, row.duration_ms, row.updated_at), (Some(s.now()), Some(2_500), s.now()));
        assert_eq!((row.result.as_ref(), row.rows_affected), (Some(&result), rows));
        assert_eq!((row.error, row.skip_reason), (None, None));
    }
    assert_eq!((s.get(running.id).await, s.get(waiting).await), before, "the others are as they were");
}

/// Whether its token or its fence is another's, or it has ended.
async fn lost_row_among_successes_that_no_audit_tells_is_refused_alone(s: &Subject) {
    let name = job("digest");
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(s.running(&name, untold).await);
    }
    s.settle(held[2], succeeded()).await.expect("held");
    let forged =
        [LeaseRef { fence: Fence(8), ..held[0] }, LeaseRef { token: Token(s.uuid()), ..held[1] }, held[2], held[3]];
    let settlements = forged.map(|lease| Settlement::of(lease, succeeded())).into();
    let lost = Err(Refusal::LeaseLost);
    assert_eq!(s.call(Settle { settlements }).await.outcomes, [lost, lost, lost, Ok(State::Succeeded)]);
    for lease in &held[..2] {
        assert_eq!(s.get(lease.id).await.state, State::Running);
        assert_eq!(s.settle(*lease, succeeded()).await, Ok(State::Succeeded), "by whom it is");
    }
}
