//! Cases of what is kept of a row when the end of its attempt is recorded.

use tourbillon::{
    model::{
        Audit, AuditAction, ErrorCode, Failure, Fence, Generation, JobName, LeaseRef, Limit, Outcome, Retention,
        State, Token,
        transition::{Cancelled, Refusal},
    },
    store::{Counts, EnqueueOutcome, ReadQueueStats, RequeueOutcome, Settle, Settlement, Unique},
};

use super::subject::{LEASE_MS, Subject, failed, failed_for_good, job, succeeded};

super::cases! {
    success_that_is_not_retained_is_unknown_from_then_on,
    failures_are_retained_where_successes_are_not,
    nothing_is_retained_of_any_recorded_end,
    row_that_has_not_ended_stays_whatever_is_retained,
    ends_that_nobody_records_are_retained,
    repeated_settle_of_a_row_that_is_gone_is_answered_as_the_first,
    second_settle_of_a_row_that_is_gone_is_refused,
    refused_settle_forgets_nothing,
    slot_is_remembered_whatever_is_retained,
    further_life_is_retained_and_its_fences_go_on,
    forgotten_row_is_told_of_and_its_id_stays_taken,
    forgotten_row_frees_its_key_and_its_limit,
    each_row_of_a_batch_is_retained_by_its_own_rule,
}

fn queue() -> JobName {
    job("notify")
}

fn cancelled() -> Outcome {
    Outcome::Cancelled { failure: Failure::new(ErrorCode::canceled(), "stopped") }
}

/// An item whose first attempt runs.
async fn running(s: &Subject) -> LeaseRef {
    s.enqueue_one(&queue(), |_| {}).await;
    next(s).await
}

async fn next(s: &Subject) -> LeaseRef {
    let (_, lease) = s.claim_one(&queue()).await;
    s.start(lease).await.expect("just claimed");
    lease
}

/// The states of what is there of an execution, oldest generation first.
async fn kept(s: &Subject, lease: LeaseRef) -> Vec<State> {
    s.generations(lease.id).await.into_iter().map(|row| row.state).collect()
}

async fn success_that_is_not_retained_is_unknown_from_then_on(s: &Subject) {
    let retains = [Retention::Failures, Retention::Nothing];
    // Of rows that tell of exceptions alone a success leaves no event either, and stores have shorter ways for it.
    for (retain, audit) in retains.into_iter().flat_map(|retain| Audit::ALL.map(|audit| (retain, audit))) {
        s.enqueue_one(&queue(), |item| item.policy.audit = audit).await;
        let lease = next(s).await;
        assert_eq!(s.settle_retaining(lease, succeeded(), retain).await, Ok(State::Succeeded), "{audit:?}");
        assert_eq!(kept(s, lease).await, []);
        assert_eq!(s.cancel(lease.id).await, Cancelled::NotFound);
        assert_eq!(s.requeue(lease.id).await, RequeueOutcome::NotFound);
        assert_eq!(s.heartbeat(lease).await.err(), Some(Refusal::LeaseLost));
        assert!(s.nothing_to_claim(&queue()).await);
    }
    assert_eq!(s.call(ReadQueueStats { queue: queue() }).await.succeeded, 0);
}

async fn failures_are_retained_where_successes_are_not(s: &Subject) {
    for (outcome, state) in [(failed_for_good(), State::Dead), (cancelled(), State::Cancelled)] {
        let lease = running(s).await;
        assert_eq!(s.settle_retaining(lease, outcome, Retention::Failures).await, Ok(state));
        assert_eq!(kept(s, lease).await, [state]);
    }
}

async fn nothing_is_retained_of_any_recorded_end(s: &Subject) {
    for (outcome, state) in [(failed_for_good(), State::Dead), (cancelled(), State::Cancelled)] {
        let lease = running(s).await;
        assert_eq!(s.settle_retaining(lease, outcome, Retention::Nothing).await, Ok(state));
        assert_eq!(kept(s, lease).await, []);
    }
}

async fn row_that_has_not_ended_stays_whatever_is_retained(s: &Subject) {
    let lease = running(s).await;
    assert_eq!(s.settle_retaining(lease, failed(0), Retention::Nothing).await, Ok(State::Retryable));
    let lease = next(s).await;
    assert_eq!(s.settle_retaining(lease, Outcome::Released, Retention::Nothing).await, Ok(State::Scheduled));
    let lease = next(s).await;
    let snoozed = Outcome::Snoozed { for_ms: 0 };
    assert_eq!(s.settle_retaining(lease, snoozed, Retention::Nothing).await, Ok(State::Scheduled));
    assert_eq!(kept(s, lease).await, [State::Scheduled]);
}

/// A rescue and an operator say nothing of what is kept.
async fn ends_that_nobody_records_are_retained(s: &Subject) {
    s.enqueue_one(&queue(), |item| item.policy.max_attempts = 1).await;
    let lost = next(s).await;
    s.pass(LEASE_MS as i64 + 1);
    s.rescue().await;
    assert_eq!(kept(s, lost).await, [State::Dead]);
    let id = s.enqueue_one(&queue(), |_| {}).await;
    assert_eq!(s.cancel(id).await, Cancelled::Now);
    assert_eq!(s.get(id).await.state, State::Cancelled);
}

async fn repeated_settle_of_a_row_that_is_gone_is_answered_as_the_first(s: &Subject) {
    let lease = running(s).await;
    let settlements = vec![Settlement { retain: Retention::Failures, ..Settlement::of(lease, succeeded()) }];
    let request = s.request(Settle { settlements });
    let first = s.repeat::<Settle>(&request).await;
    s.pass(500);
    assert_eq!(s.repeat::<Settle>(&request).await, first);
    assert_eq!(first.outcomes, [Ok(State::Succeeded)]);
}

async fn second_settle_of_a_row_that_is_gone_is_refused(s: &Subject) {
    let lease = running(s).await;
    s.settle_retaining(lease, succeeded(), Retention::Nothing).await.expect("held");
    for retain in [Retention::Nothing, Retention::Everything] {
        assert_eq!(s.settle_retaining(lease, succeeded(), retain).await, Err(Refusal::LeaseLost));
    }
}

async fn refused_settle_forgets_nothing(s: &Subject) {
    let lease = running(s).await;
    for wrong in [LeaseRef { fence: Fence(lease.fence.0 + 1), ..lease }, LeaseRef { token: Token(s.uuid()), ..lease }]
    {
        assert_eq!(s.settle_retaining(wrong, succeeded(), Retention::Nothing).await, Err(Refusal::LeaseLost));
        assert_eq!(kept(s, lease).await, [State::Running]);
    }
    s.settle_retaining(lease, failed(0), Retention::Nothing).await.expect("held");
    assert_eq!(s.settle_retaining(lease, succeeded(), Retention::Nothing).await, Err(Refusal::LeaseLost));
    assert_eq!(kept(s, lease).await, [State::Retryable], "its lease is over, and the next attempt is due");
    assert_eq!(s.settle_retaining(next(s).await, succeeded(), Retention::Nothing).await, Ok(State::Succeeded));
    s.enqueue_one(&queue(), |_| {}).await;
    let (_, unstarted) = s.claim_one(&queue()).await;
    assert_eq!(s.settle_retaining(unstarted, succeeded(), Retention::Nothing).await, Err(Refusal::NotStarted));
    assert_eq!(kept(s, unstarted).await, [State::Running]);
}

/// By its record the planner knows that a slot was made.
async fn slot_is_remembered_whatever_is_retained(s: &Subject) {
    let lease = s.running(&job("digest"), |row| row.slot_at = Some(s.after(-90_000_000))).await;
    assert_eq!(s.settle_retaining(lease, succeeded(), Retention::Nothing).await, Ok(State::Succeeded));
    assert_eq!(kept(s, lease).await, [State::Succeeded]);
}

/// Forgotten, a third life would begin with the second's generation and fences, which receivers have seen (G1).
async fn further_life_is_retained_and_its_fences_go_on(s: &Subject) {
    let lease = running(s).await;
    s.settle_retaining(lease, failed_for_good(), Retention::Failures).await.expect("held");
    assert_eq!(s.requeue(lease.id).await, RequeueOutcome::Requeued(Generation(2)));
    let again = next(s).await;
    assert_eq!(again.fence, Fence(lease.fence.0 + 1));
    assert_eq!(s.settle_retaining(again, succeeded(), Retention::Nothing).await, Ok(State::Succeeded));
    assert_eq!(kept(s, lease).await, [State::Dead, State::Succeeded]);
    assert_eq!(s.requeue(lease.id).await, RequeueOutcome::Requeued(Generation(3)));
    assert_eq!(next(s).await.fence, Fence(again.fence.0 + 1));
}

/// G9.
async fn forgotten_row_is_told_of_and_its_id_stays_taken(s: &Subject) {
    s.enqueue_one(&queue(), |item| item.policy.audit = Audit::All).await;
    let lease = next(s).await;
    s.settle_retaining(lease, succeeded(), Retention::Nothing).await.expect("held");
    let told = s.audit(Some(lease.id)).await.into_iter().map(|event| event.action);
    let life = [AuditAction::Schedule, AuditAction::Claim, AuditAction::Start, AuditAction::Succeeded];
    assert_eq!(told.collect::<Vec<_>>(), life);
    let same = s.item_with(|item| item.id = lease.id);
    assert_eq!(s.enqueue(&queue(), vec![same]).await, [EnqueueOutcome::Duplicate(lease.id)]);
}

/// G11, G15.
async fn forgotten_row_frees_its_key_and_its_limit(s: &Subject) {
    let limited = || {
        s.item_with(|item| {
            let key = "customer 7".to_owned();
            item.unique = Some(Unique { key: key.clone(), period_ms: None, counts: Counts::Live });
            item.policy.limit = Some(Limit { key, max: 1 });
        })
    };
    for _ in 0..2 {
        let item = limited();
        assert_eq!(s.enqueue(&queue(), vec![item.clone()]).await, [EnqueueOutcome::Enqueued(item.id)]);
        let lease = next(s).await;
        s.settle_retaining(lease, succeeded(), Retention::Failures).await.expect("held");
    }
}

async fn each_row_of_a_batch_is_retained_by_its_own_rule(s: &Subject) {
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(running(s).await);
    }
    let retains = [Retention::Failures, Retention::Everything, Retention::Nothing, Retention::Failures];
    let outcomes = [succeeded(), succeeded(), failed_for_good(), failed_for_good()];
    let one = |((lease, retain), outcome)| Settlement { retain, ..Settlement::of(lease, outcome) };
    let settlements = leases.iter().copied().zip(retains).zip(outcomes).map(one).collect();
    let settled = s.call(Settle { settlements }).await.outcomes;
    let told = [State::Succeeded, State::Succeeded, State::Dead, State::Dead];
    assert_eq!(settled, told.map(Ok));
    let mut left = Vec::new();
    for lease in leases {
        left.push(kept(s, lease).await);
    }
    assert_eq!(left, [vec![], vec![State::Succeeded], vec![], vec![State::Dead]]);
}
