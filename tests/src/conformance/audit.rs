//! Cases of the audit log: which transitions are told, once each, by whom, with what (G9, P-43).

use tourbillon::{
    model::{
        ActorType, Audit, AuditAction, AuditEvent, ExecutionId, Fence, Outcome, Reentry, State, Supersede,
        transition::Charge,
    },
    store::{Cancel, Claim, Requeue},
};

use super::subject::{
    LEASE_MS, Subject, claim_of, failed, failed_for_good, failure, job, operator, runner, succeeded,
};

super::cases! {
    whole_life_is_told_in_order,
    failed_row_with_attempts_left_goes_back_with_one_event,
    attempts_are_capped_and_the_end_is_told,
    failure_that_must_not_be_retried_is_told_as_the_end,
    expired_lease_taken_over_is_told,
    expired_lease_rescued_is_told,
    give_backs_and_snoozes_are_told,
    skipped_rows_are_told_with_the_reason,
    cancelled_waiting_row_is_told_once,
    request_to_stop_and_its_acknowledgement_are_two_events,
    request_to_stop_before_the_start_comes_first,
    rescued_cancelled_row_is_told_as_rescued,
    requeue_is_told_under_the_next_generation,
    claim_that_charges_is_one_event,
    exceptions_leave_the_normal_life_untold,
    items_that_tell_of_exceptions_alone_are_made_untold,
    off_tells_nothing,
    refused_and_repeated_writes_tell_nothing,
    heartbeats_and_clamps_tell_nothing,
}

/// What happened, in the order of the life.
fn actions(events: &[AuditEvent]) -> Vec<&'static str> {
    events.iter().map(|event| event.action.as_str()).collect()
}

async fn told(s: &Subject, id: ExecutionId) -> Vec<&'static str> {
    actions(&s.audit(Some(id)).await)
}

async fn last(s: &Subject, id: ExecutionId) -> AuditEvent {
    s.audit(Some(id)).await.pop().expect("something was told")
}

/// Sort and name of the actor, action, states before and after, attempts and their maximum, reason.
type Facts<'a> = (ActorType, &'a str, &'a str, Option<State>, State, (u32, u32), Option<&'a str>);

/// Every field of an event but its key, instant, job and scope.
fn facts(event: &AuditEvent) -> Facts<'_> {
    let AuditEvent { actor, action, details, .. } = event;
    let attempts = (details.attempts, details.max_attempts);
    let reason = details.reason.as_deref();
    (actor.actor_type, &actor.name, action.as_str(), details.old_status, details.new_status, attempts, reason)
}

async fn whole_life_is_told_in_order(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.settle(lease, succeeded()).await.expect("held");
    let events = s.audit(Some(lease.id)).await;
    let me = runner().to_string();
    let seen: Vec<_> = events.iter().map(facts).collect();
    assert_eq!(
        seen,
        [
            (ActorType::System, "system", "job_schedule", None, State::Scheduled, (0, 3), None),
            (ActorType::Runner, &*me, "job_claim", Some(State::Scheduled), State::Running, (0, 3), None),
            (ActorType::Runner, &*me, "job_start", Some(State::Running), State::Running, (1, 3), None),
            (ActorType::Runner, &*me, "job_succeeded", Some(State::Running), State::Succeeded, (1, 3), None),
        ]
    );
    let keys: Vec<_> = events.iter().map(|event| (event.key.fence, event.key.step)).collect();
    assert_eq!(keys, [(Fence(0), 0), (Fence(1), 1), (Fence(1), 3), (Fence(1), 5)]);
    assert!(events.iter().all(|event| event.at == s.now() && event.job == name));
}

// P-43
async fn failed_row_with_attempts_left_goes_back_with_one_event(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.audit = Audit::Exceptions).await;
    assert_eq!(s.settle(lease, failed(1_000)).await, Ok(State::Retryable));
    let events = s.audit(None).await;
    let seen: Vec<_> = events.iter().map(facts).collect();
    let retry = (
        ActorType::System,
        "system",
        "job_retry",
        Some(State::Running),
        State::Retryable,
        (1, 3),
        Some("handler_error"),
    );
    assert_eq!(seen, [retry]);
    // The claim itself picks it up when it is due: no other loop has to.
    s.pass(1_000);
    let (row, _) = s.claim_one(&name).await;
    assert_eq!((row.id, row.attempt, row.fence), (lease.id, 1, Fence(2)));
}

// P-43
async fn attempts_are_capped_and_the_end_is_told(s: &Subject) {
    let name = job("digest");
    let id = s.add_one(&name, |row| row.policy.audit = Audit::Exceptions).await;
    for attempt in 1..=3 {
        let (_, lease) = s.claim_one(&name).await;
        assert_eq!(s.start(lease).await, Ok(attempt));
        s.settle(lease, failed(0)).await.expect("held");
    }
    assert!(s.nothing_to_claim(&name).await, "the row's own budget is the cap, whatever its runner asks for");
    assert_eq!(told(s, id).await, ["job_retry", "job_retry", "job_dead"]);
    let end = last(s, id).await;
    let me = runner().to_string();
    let dead =
        (ActorType::Runner, &*me, "job_dead", Some(State::Running), State::Dead, (3, 3), Some("handler_error"));
    assert_eq!(facts(&end), dead);
}

async fn failure_that_must_not_be_retried_is_told_as_the_end(s: &Subject) {
    let id = s.ended(&job("digest"), failed_for_good()).await;
    assert_eq!(last(s, id).await.action, AuditAction::Dead);
}

async fn expired_lease_taken_over_is_told(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.audit = Audit::Exceptions).await;
    s.pass(LEASE_MS as i64 + 1);
    s.claim_one(&name).await;
    let event = last(s, lease.id).await;
    let me = runner().to_string();
    let reclaim = (ActorType::Runner, &*me, "job_reclaim", Some(State::Running), State::Running, (1, 3), None);
    assert_eq!((facts(&event), event.key.fence), (reclaim, Fence(2)));
}

async fn expired_lease_rescued_is_told(s: &Subject) {
    let forbid = |row: &mut tourbillon::model::NewExecution| {
        row.policy.audit = Audit::Exceptions;
        row.policy.reentry = Reentry::Forbid;
    };
    let lease = s.running(&job("digest"), forbid).await;
    s.pass(LEASE_MS as i64 + 1);
    s.rescue().await;
    let events = s.audit(Some(lease.id)).await;
    let rescue =
        (ActorType::System, "system", "job_rescue", Some(State::Running), State::Dead, (1, 3), Some("stale_timeout"));
    assert_eq!(events.iter().map(facts).collect::<Vec<_>>(), [rescue]);
}

async fn give_backs_and_snoozes_are_told(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.settle(lease, Outcome::Released).await.expect("held");
    let event = last(s, lease.id).await;
    assert_eq!((event.action, event.details.attempts), (AuditAction::Release, 0));
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    s.settle(lease, Outcome::Snoozed { for_ms: 0 }).await.expect("held");
    let event = last(s, lease.id).await;
    assert_eq!(
        (event.action, event.details.new_status, event.key.fence),
        (AuditAction::Snooze, State::Scheduled, Fence(2))
    );
}

async fn skipped_rows_are_told_with_the_reason(s: &Subject) {
    let name = job("digest");
    let late = s.add_one(&name, |row| row.expires_at = Some(s.now())).await;
    s.pass(1);
    s.claim(&name).await;
    let event = last(s, late).await;
    let skip =
        (ActorType::System, "system", "job_skip", Some(State::Scheduled), State::Skipped, (0, 3), Some("expired"));
    assert_eq!((facts(&event), event.key.fence, event.key.step), (skip, Fence(0), 6));

    // Claimed by somebody who died before the start, and too late by the time it could be claimed again.
    let name = job("rollup");
    let expires_at = Some(s.after(1_000));
    let lease = s.claimed(&name, |row| row.expires_at = expires_at).await;
    s.pass(LEASE_MS as i64 + 1);
    s.claim(&name).await;
    let event = last(s, lease.id).await;
    assert_eq!((event.action, event.details.old_status), (AuditAction::Skip, Some(State::Running)));
    assert_eq!((event.key.fence, event.key.step), (Fence(1), 5));
}

async fn cancelled_waiting_row_is_told_once(s: &Subject) {
    let id = s.add_one(&job("digest"), |row| row.policy.audit = Audit::Exceptions).await;
    let cancel = Cancel { ids: vec![id], actor: Some(operator("ana")) };
    s.call(cancel.clone()).await;
    s.call(cancel).await;
    let events = s.audit(None).await;
    let cancelled = (
        ActorType::Operator,
        "ana",
        "job_cancel",
        Some(State::Scheduled),
        State::Cancelled,
        (0, 3),
        Some("canceled"),
    );
    assert_eq!(events.iter().map(facts).collect::<Vec<_>>(), [cancelled]);
}

async fn request_to_stop_and_its_acknowledgement_are_two_events(s: &Subject) {
    let lease = s.running(&job("digest"), |row| row.policy.audit = Audit::Exceptions).await;
    s.cancel(lease.id).await;
    // Only the first request is one.
    s.cancel(lease.id).await;
    s.settle(lease, Outcome::Cancelled { failure: failure("stopped") }).await.expect("held");
    let events = s.audit(Some(lease.id)).await;
    let me = runner().to_string();
    let asked =
        (ActorType::Operator, "operator", "job_cancel_request", Some(State::Running), State::Running, (1, 3), None);
    let answered = (
        ActorType::Runner,
        &*me,
        "job_cancel",
        Some(State::Running),
        State::Cancelled,
        (1, 3),
        Some("handler_error"),
    );
    assert_eq!(events.iter().map(facts).collect::<Vec<_>>(), [asked, answered]);
    assert_eq!((events[0].key.step, events[1].key.step), (4, 5));
}

async fn request_to_stop_before_the_start_comes_first(s: &Subject) {
    let lease = s.claimed(&job("digest"), |_| {}).await;
    s.cancel(lease.id).await;
    assert_eq!(s.start(lease).await, Ok(1));
    s.settle(lease, Outcome::Released).await.expect("held");
    let expected = ["job_schedule", "job_claim", "job_cancel_request", "job_start", "job_cancel"];
    assert_eq!(told(s, lease.id).await, expected);
}

async fn rescued_cancelled_row_is_told_as_rescued(s: &Subject) {
    let lease = s.running(&job("digest"), |row| row.policy.audit = Audit::Exceptions).await;
    s.cancel(lease.id).await;
    s.pass(LEASE_MS as i64 + 1);
    s.rescue().await;
    let event = last(s, lease.id).await;
    let reason = event.details.reason.as_deref();
    assert_eq!(
        (event.action, event.details.new_status, reason),
        (AuditAction::Rescue, State::Cancelled, Some("canceled"))
    );
}

async fn requeue_is_told_under_the_next_generation(s: &Subject) {
    let name = job("digest");
    let id = s.ended(&name, failed_for_good()).await;
    s.call(Requeue { ids: vec![id], actor: Some(operator("oncall")) }).await;
    let event = last(s, id).await;
    let requeued = (ActorType::Operator, "oncall", "job_requeue", Some(State::Dead), State::Scheduled, (0, 3), None);
    assert_eq!((facts(&event), event.key.generation.0, event.key.fence), (requeued, 2, Fence(1)));
    s.claim_one(&name).await;
    assert_eq!(last(s, id).await.key.fence, Fence(2), "the fence goes on growing");
    s.requeue(id).await;
    assert_eq!(last(s, id).await.action, AuditAction::Claim, "a live row is not requeued");
}

async fn claim_that_charges_is_one_event(s: &Subject) {
    let name = job("digest");
    let id = s.add_one(&name, |_| {}).await;
    s.call(Claim { charge: Charge::AtClaim, ..claim_of(&[&name], 1) }).await;
    assert_eq!(told(s, id).await, ["job_schedule", "job_claim"]);
    assert_eq!(last(s, id).await.details.attempts, 1);
}

async fn exceptions_leave_the_normal_life_untold(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.audit = Audit::Exceptions).await;
    s.settle(lease, Outcome::Snoozed { for_ms: 0 }).await.expect("held");
    let (_, lease) = s.claim_one(&name).await;
    s.settle(lease, Outcome::Released).await.expect("held");
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    s.settle(lease, succeeded()).await.expect("held");
    let superseded = |row: &mut tourbillon::model::NewExecution| {
        row.policy.audit = Audit::Exceptions;
        row.policy.supersede = Supersede::ByNewerSlot;
        row.expires_at = Some(row.due_at);
    };
    s.add_one(&name, superseded).await;
    s.pass(1);
    assert_eq!(s.claim(&name).await.skipped.len(), 1);
    assert_eq!(s.audit(None).await, []);
    s.requeue(lease.id).await;
    assert_eq!(told(s, lease.id).await, ["job_requeue"]);
}

/// One of them, and several that are alike.
async fn items_that_tell_of_exceptions_alone_are_made_untold(s: &Subject) {
    for items in [1, 2] {
        let items: Vec<_> = (0..items).map(|_| s.item_with(|item| item.policy.audit = Audit::Exceptions)).collect();
        s.enqueue(&job("mail"), items).await;
    }
    assert_eq!(s.audit(None).await, []);
}

// P-43
async fn off_tells_nothing(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.audit = Audit::Off).await;
    s.settle(lease, failed(0)).await.expect("held");
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    s.pass(LEASE_MS as i64 + 1);
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    s.cancel(lease.id).await;
    s.pass(LEASE_MS as i64 + 1);
    s.rescue().await;
    s.requeue(lease.id).await;
    s.cancel(lease.id).await;
    assert_eq!(s.audit(None).await, []);
}

async fn refused_and_repeated_writes_tell_nothing(s: &Subject) {
    let name = job("digest");
    let old = s.running(&name, |_| {}).await;
    s.pass(LEASE_MS as i64 + 1);
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    let before = s.audit(None).await;
    // Told twice, charged once.
    s.start(lease).await.expect("held");
    s.start(old).await.expect_err("lost");
    s.settle(old, failed(0)).await.expect_err("lost");
    s.heartbeat(old).await.expect_err("lost");
    assert_eq!(s.audit(None).await, before);
    let settle = s.request(tourbillon::store::Settle {
        settlements: vec![tourbillon::store::Settlement::of(lease, succeeded())],
    });
    s.repeat::<tourbillon::store::Settle>(&settle).await;
    s.repeat::<tourbillon::store::Settle>(&settle).await;
    assert_eq!(s.audit(None).await.len(), before.len() + 1);
}

async fn heartbeats_and_clamps_tell_nothing(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.rescue().await;
    s.heartbeat(lease).await.expect("held");
    let before = s.audit(None).await;
    s.pass(-10_000);
    assert_eq!(s.rescue().await.clamped, [lease.id]);
    assert_eq!(s.audit(None).await, before);
}
