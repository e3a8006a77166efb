//! Cases of requeue: the next life of a finished execution.

use tourbillon::{
    model::{
        Fence, Generation, Json, Outcome, Reentry, SkipReason, State, Supersede,
        transition::{Cancelled, Refusal},
    },
    store::{Requeue, RequeueOutcome},
};

use super::subject::{LEASE_MS, Subject, failed, failed_for_good, failure, job, succeeded};

super::cases! {
    requeued_row_is_due_now_under_the_next_generation,
    requeued_row_starts_with_a_clean_record,
    requeued_row_has_its_full_budget_again,
    fence_goes_on_growing_across_generations,
    holder_from_the_generation_before_is_refused,
    earlier_generations_stay_as_they_were,
    each_terminal_state_can_be_requeued,
    stale_row_runs_again_when_an_operator_says_so,
    requeued_row_is_neither_late_nor_superseded,
    live_row_is_left_as_it_is,
    requeued_row_is_live,
    unknown_row_is_not_found,
    generations_count_up,
    each_row_of_a_batch_has_its_own_outcome_in_order,
}

const SECOND: RequeueOutcome = RequeueOutcome::Requeued(Generation(2));

/// G2.
async fn requeued_row_is_due_now_under_the_next_generation(s: &Subject) {
    let name = job("digest");
    let id = s.ended(&name, failed_for_good()).await;
    s.pass(5_000);
    assert_eq!(s.requeue(id).await, SECOND);
    let row = s.get(id).await;
    assert_eq!((row.generation, row.state), (Generation(2), State::Scheduled));
    assert_eq!((row.due_at, row.claimable_at), (s.now(), Some(s.now())));
    assert_eq!((row.created_at, row.updated_at), (s.now(), s.now()));
    let (claimed, _) = s.claim_one(&name).await;
    assert_eq!((claimed.id, claimed.generation), (id, Generation(2)));
}

async fn requeued_row_starts_with_a_clean_record(s: &Subject) {
    let name = job("digest");
    let result = Json::new(&serde_json::json!({ "sent": 3 })).expect("small");
    let succeeded = s.ended(&name, Outcome::Succeeded { result, rows_affected: Some(3) }).await;
    let cancelled = s.running(&name, |_| {}).await;
    assert_eq!(s.cancel(cancelled.id).await, Cancelled::Requested);
    assert_eq!(s.settle(cancelled, failed(0)).await, Ok(State::Cancelled));
    let late = s.add_one(&name, |row| row.expires_at = Some(s.after(-1))).await;
    assert_eq!(s.claim(&name).await.skipped.len(), 1);
    let before = [s.get(succeeded).await, s.get(cancelled.id).await, s.get(late).await];
    assert!(before[0].rows_affected.is_some() && before[0].duration_ms.is_some(), "{:?}", before[0]);
    assert!(before[1].error.is_some() && before[1].cancel_requested_at.is_some(), "{:?}", before[1]);
    assert!(before[2].skip_reason.is_some() && before[2].expires_at.is_some(), "{:?}", before[2]);

    for id in [succeeded, cancelled.id, late] {
        s.requeue(id).await;
        let row = s.get(id).await;
        assert_eq!((row.attempt, row.lease, row.error, row.result), (0, None, None, None));
        assert_eq!((row.finished_at, row.duration_ms, row.rows_affected), (None, None, None));
        assert_eq!((row.cancel_requested_at, row.skip_reason, row.expires_at), (None, None, None));
    }
}

/// G3: per generation.
async fn requeued_row_has_its_full_budget_again(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.max_attempts = 1).await;
    assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Dead));
    assert_eq!(s.requeue(lease.id).await, SECOND);
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(s.start(lease).await, Ok(1));
    assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Dead));
}

/// G1.
async fn fence_goes_on_growing_across_generations(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.settle(lease, failed(0)).await.expect("held");
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    s.settle(lease, failed_for_good()).await.expect("held");
    s.requeue(lease.id).await;
    assert_eq!(s.get(lease.id).await.fence, Fence(2));
    assert_eq!(s.claim_one(&name).await.1.fence, Fence(3));
}

/// G1, G8.
async fn holder_from_the_generation_before_is_refused(s: &Subject) {
    let name = job("digest");
    let old = s.running(&name, |_| {}).await;
    s.settle(old, succeeded()).await.expect("held");
    s.requeue(old.id).await;
    let (_, new) = s.claim_one(&name).await;
    assert_eq!(s.start(new).await, Ok(1));
    assert_eq!(s.settle(old, failed(0)).await, Err(Refusal::LeaseLost));
    assert_eq!(s.heartbeat(old).await, Err(Refusal::LeaseLost));
}

/// G2: terminal rows never change.
async fn earlier_generations_stay_as_they_were(s: &Subject) {
    let name = job("digest");
    let id = s.ended(&name, failed_for_good()).await;
    let first = s.get(id).await;
    s.requeue(id).await;
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    s.settle(lease, succeeded()).await.expect("held");
    let all = s.generations(id).await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[0], first);
    assert_eq!(all[1].state, State::Succeeded);
}

async fn each_terminal_state_can_be_requeued(s: &Subject) {
    let name = job("digest");
    let mut ids = Vec::new();
    for outcome in [succeeded(), failed_for_good(), Outcome::Cancelled { failure: failure("stopped") }] {
        ids.push(s.ended(&name, outcome).await);
    }
    let late = s.add_one(&name, |row| row.expires_at = Some(s.after(-1))).await;
    assert_eq!(s.claim(&name).await.skipped.len(), 1);
    ids.push(late);
    for id in ids {
        assert_eq!(s.requeue(id).await, SECOND);
        assert_eq!(s.claim_one(&name).await.0.id, id);
    }
}

/// P-10.
// P-10
async fn stale_row_runs_again_when_an_operator_says_so(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.reentry = Reentry::Forbid).await;
    s.pass(LEASE_MS as i64 + 1);
    assert_eq!(s.rescue().await.ended, [(lease.id, State::Dead)]);
    assert_eq!(s.requeue(lease.id).await, SECOND);
    let (row, _) = s.claim_one(&name).await;
    assert_eq!(row.policy.reentry, Reentry::Forbid, "the rules stay");
}

/// An operator who asks for a run means it.
async fn requeued_row_is_neither_late_nor_superseded(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    let row = s.row_with(|row| {
        row.slot_at = Some(s.after(-9_000));
        row.expires_at = Some(s.after(-1_000));
        row.policy.supersede = Supersede::ByNewerSlot;
    });
    let id = row.id;
    s.plan(s.entry(&name, None, s.now(), vec![row])).await;
    assert_eq!(s.claim(&name).await.skipped, [(id, SkipReason::Late)]);
    assert_eq!(s.requeue(id).await, SECOND);
    let row = s.get(id).await;
    assert_eq!((row.expires_at, row.policy.supersede), (None, Supersede::Never));
    assert_eq!(row.slot_at, Some(s.after(-9_000)), "it is still that slot");
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

async fn live_row_is_left_as_it_is(s: &Subject) {
    let name = job("digest");
    let running = s.running(&name, |_| {}).await.id;
    let waiting = s.add_one(&name, |_| {}).await;
    for id in [running, waiting] {
        let before = s.get(id).await;
        assert_eq!(s.requeue(id).await, RequeueOutcome::StillLive);
        assert_eq!(s.get(id).await, before);
    }
}

async fn requeued_row_is_live(s: &Subject) {
    let id = s.ended(&job("digest"), succeeded()).await;
    assert_eq!(s.requeue(id).await, SECOND);
    assert_eq!(s.requeue(id).await, RequeueOutcome::StillLive);
    assert_eq!(s.generations(id).await.len(), 2);
}

async fn unknown_row_is_not_found(s: &Subject) {
    assert_eq!(s.requeue(s.id()).await, RequeueOutcome::NotFound);
}

async fn generations_count_up(s: &Subject) {
    let name = job("digest");
    let id = s.ended(&name, succeeded()).await;
    for generation in 2..=4 {
        assert_eq!(s.requeue(id).await, RequeueOutcome::Requeued(Generation(generation)));
        let (_, lease) = s.claim_one(&name).await;
        s.start(lease).await.expect("held");
        s.settle(lease, succeeded()).await.expect("held");
    }
    let generations: Vec<_> = s.generations(id).await.iter().map(|row| row.generation.0).collect();
    assert_eq!(generations, [1, 2, 3, 4]);
}

async fn each_row_of_a_batch_has_its_own_outcome_in_order(s: &Subject) {
    let name = job("digest");
    let done = s.ended(&name, succeeded()).await;
    let live = s.running(&name, |_| {}).await.id;
    let outcomes = s.call(Requeue { ids: vec![live, done, s.id()], actor: None }).await.outcomes;
    assert_eq!(outcomes, [RequeueOutcome::StillLive, SECOND, RequeueOutcome::NotFound]);
}
