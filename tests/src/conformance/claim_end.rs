//! Cases of claim: rows that it ends unstarted, because they are late or a newer slot exists.

use tourbillon::{
    model::{ExecutionId, JobName, NewExecution, Outcome, SkipReason, State, Supersede, Timestamp},
    store::PlanOutcome,
};

use super::subject::{LEASE_MS, Subject, claim_of, failed, job};

super::cases! {
    superseded_row_is_skipped,
    only_the_newest_of_many_slots_runs,
    newest_slot_is_not_superseded,
    slot_of_a_job_where_every_slot_counts_is_not_superseded,
    row_without_a_slot_is_not_superseded,
    failed_row_keeps_its_retries_when_a_newer_slot_exists,
    unstarted_row_is_superseded_when_its_lease_expires,
    given_back_row_can_be_superseded,
    slot_of_another_scope_supersedes_nothing,
    edit_of_the_schedule_supersedes_nothing,
    cursor_that_moved_without_a_slot_supersedes_nothing,
    newest_slot_stays_the_newest_when_the_cursor_moves_on_without_one,
    late_row_is_skipped,
    row_is_not_late_at_its_last_instant,
    failed_row_is_never_late,
    unstarted_row_can_be_late_when_its_lease_expires,
    lateness_goes_before_supersession,
    skipped_rows_count_towards_the_limit,
    rows_that_are_not_due_are_not_skipped,
}

/// Makes one slot at `at`, due at once, that a newer one supersedes.
async fn slot(s: &Subject, job: &JobName, at: Timestamp, change: impl FnOnce(&mut NewExecution)) -> ExecutionId {
    let mut row = s.row_with(|row| {
        row.slot_at = Some(at);
        row.policy.supersede = Supersede::ByNewerSlot;
    });
    change(&mut row);
    let id = row.id;
    let before = s.cursor(job).await;
    assert_eq!(s.plan(s.entry(job, before, at, vec![row])).await, PlanOutcome::Made(vec![id]));
    id
}

/// G5: ended with the reason, never run.
async fn superseded_row_is_skipped(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let old = slot(s, &name, s.after(-2_000), |_| {}).await;
    let new = slot(s, &name, s.after(-1_000), |_| {}).await;
    let claimed = s.claim(&name).await;
    assert_eq!(claimed.skipped, [(old, SkipReason::Superseded)]);
    assert_eq!(claimed.executions.iter().map(|row| row.id).collect::<Vec<_>>(), [new]);
    let row = s.get(old).await;
    assert_eq!((row.state, row.skip_reason), (State::Skipped, Some(SkipReason::Superseded)));
    assert_eq!((row.attempt, row.finished_at, row.claimable_at), (0, Some(s.now()), None));
}

/// Six hours without a runner must not run 72 slots.
async fn only_the_newest_of_many_slots_runs(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let mut ids = Vec::new();
    for slot_number in 0..72 {
        ids.push(slot(s, &name, s.after((slot_number - 72) * 300_000), |_| {}).await);
    }
    let claimed = s.call(claim_of(&[&name], 100)).await;
    let newest = ids.pop();
    assert_eq!(claimed.skipped.iter().map(|(id, _)| *id).collect::<Vec<_>>().len(), 71);
    assert_eq!(claimed.executions.iter().map(|row| Some(row.id)).collect::<Vec<_>>(), [newest]);
}

async fn newest_slot_is_not_superseded(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let id = slot(s, &name, s.after(-1_000), |_| {}).await;
    s.pass(86_400_000);
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

/// P-4: every-slot catch-up.
// P-4
async fn slot_of_a_job_where_every_slot_counts_is_not_superseded(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    slot(s, &name, s.after(-2_000), |row| row.policy.supersede = Supersede::Never).await;
    slot(s, &name, s.after(-1_000), |row| row.policy.supersede = Supersede::Never).await;
    let claimed = s.claim(&name).await;
    assert_eq!((claimed.executions.len(), claimed.skipped.len()), (2, 0));
}

async fn row_without_a_slot_is_not_superseded(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    slot(s, &name, s.after(-2_000), |row| row.slot_at = None).await;
    slot(s, &name, s.after(-1_000), |_| {}).await;
    assert_eq!(s.claim(&name).await.executions.len(), 2);
}

/// P-5: a failed attempt has a right to its retries.
// P-5
async fn failed_row_keeps_its_retries_when_a_newer_slot_exists(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let old = slot(s, &name, s.after(-2_000), |_| {}).await;
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(s.start(lease).await, Ok(1));
    assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Retryable));
    slot(s, &name, s.after(-1_000), |_| {}).await;
    let claimed = s.claim(&name).await;
    assert_eq!((claimed.executions.len(), claimed.skipped.len()), (2, 0));
    assert!(claimed.executions.iter().any(|row| row.id == old));
}

async fn unstarted_row_is_superseded_when_its_lease_expires(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let old = slot(s, &name, s.after(-2_000), |_| {}).await;
    let (_, lease) = s.claim_one(&name).await;
    slot(s, &name, s.after(-1_000), |_| {}).await;
    assert_eq!(s.claim(&name).await.skipped, [], "its lease holds");
    s.pass(LEASE_MS as i64 + 1);
    assert_eq!(s.claim(&name).await.skipped, [(old, SkipReason::Superseded)]);
    assert_eq!(s.start(lease).await, Err(tourbillon::model::transition::Refusal::LeaseLost));
}

async fn given_back_row_can_be_superseded(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let old = slot(s, &name, s.after(-2_000), |_| {}).await;
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(s.start(lease).await, Ok(1));
    assert_eq!(s.settle(lease, Outcome::Released).await, Ok(State::Scheduled));
    slot(s, &name, s.after(-1_000), |_| {}).await;
    assert_eq!(s.claim(&name).await.skipped, [(old, SkipReason::Superseded)]);
}

/// P-13.
// P-13
async fn slot_of_another_scope_supersedes_nothing(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let id = slot(s, &name, s.after(-2_000), |_| {}).await;
    let entry = s.entry(&name, None, s.after(-1_000), Vec::new());
    s.plan(tourbillon::store::PlanEntry { scope: super::subject::scope("a"), ..entry }).await;
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

/// G5, G6: an edit moves the cursor; only a slot that was made takes another one's place.
async fn edit_of_the_schedule_supersedes_nothing(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let id = slot(s, &name, s.after(-2_000), |_| {}).await;
    s.register_as(&name, "spec-2", "other grid").await;
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

/// G5.
async fn cursor_that_moved_without_a_slot_supersedes_nothing(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let id = slot(s, &name, s.after(-2_000), |_| {}).await;
    s.plan(s.entry(&name, Some(s.after(-2_000)), s.now(), Vec::new())).await;
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

async fn newest_slot_stays_the_newest_when_the_cursor_moves_on_without_one(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let old = slot(s, &name, s.after(-3_000), |_| {}).await;
    let new = slot(s, &name, s.after(-2_000), |_| {}).await;
    s.plan(s.entry(&name, Some(s.after(-2_000)), s.now(), Vec::new())).await;
    let claimed = s.claim(&name).await;
    assert_eq!(claimed.skipped, [(old, SkipReason::Superseded)]);
    assert_eq!(claimed.executions.iter().map(|row| row.id).collect::<Vec<_>>(), [new]);
}

/// P-14, G5.
// P-14
async fn late_row_is_skipped(s: &Subject) {
    let name = job("rollup");
    let id = s.add_one(&name, |row| (row.slot_at, row.expires_at) = (Some(s.now()), Some(s.after(5)))).await;
    s.pass_micros(5_001);
    assert_eq!(s.claim(&name).await.skipped, [(id, SkipReason::Late)]);
    let row = s.get(id).await;
    assert_eq!((row.state, row.skip_reason), (State::Skipped, Some(SkipReason::Late)));
    assert_eq!((row.fence.0, row.lease, row.error), (0, None, None));
    assert!(s.nothing_to_claim(&name).await);
}

async fn row_is_not_late_at_its_last_instant(s: &Subject) {
    let name = job("rollup");
    let id = s.add_one(&name, |row| (row.slot_at, row.expires_at) = (Some(s.now()), Some(s.after(5)))).await;
    s.pass(5);
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

/// P-5.
// P-5
async fn failed_row_is_never_late(s: &Subject) {
    let name = job("rollup");
    let lease = s.running(&name, |row| row.expires_at = Some(s.after(5))).await;
    assert_eq!(s.settle(lease, failed(1_000)).await, Ok(State::Retryable));
    s.pass(1_000);
    assert_eq!(s.claim_one(&name).await.0.id, lease.id);
}

async fn unstarted_row_can_be_late_when_its_lease_expires(s: &Subject) {
    let name = job("rollup");
    let lease = s.claimed(&name, |row| (row.slot_at, row.expires_at) = (Some(s.now()), Some(s.after(5)))).await;
    s.pass(LEASE_MS as i64 + 1);
    assert_eq!(s.claim(&name).await.skipped, [(lease.id, SkipReason::Late)]);
    let row = s.get(lease.id).await;
    assert_eq!((row.state, row.attempt, row.fence), (State::Skipped, 0, lease.fence));
    assert!(row.lease.is_some(), "who held it last stays on record");
}

async fn lateness_goes_before_supersession(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let old = slot(s, &name, s.after(-2_000), |row| row.expires_at = Some(s.after(-1))).await;
    slot(s, &name, s.after(-1_000), |_| {}).await;
    assert_eq!(s.claim(&name).await.skipped, [(old, SkipReason::Late)]);
}

/// The first `limit` rows are looked at, whatever becomes of them.
async fn skipped_rows_count_towards_the_limit(s: &Subject) {
    let name = job("rollup");
    let late = s
        .add_one(&name, |row| {
            (row.slot_at, row.due_at, row.expires_at) = (Some(s.after(-9)), s.after(-9), Some(s.after(-1)));
        })
        .await;
    s.add(&name, vec![s.row(), s.row()]).await;
    let claimed = s.call(claim_of(&[&name], 2)).await;
    assert_eq!(claimed.skipped, [(late, SkipReason::Late)]);
    assert_eq!(claimed.executions.len(), 1);
}

async fn rows_that_are_not_due_are_not_skipped(s: &Subject) {
    let name = job("rollup");
    s.add_one(&name, |row| (row.due_at, row.expires_at) = (s.after(1), Some(s.after(-1)))).await;
    assert!(s.nothing_to_claim(&name).await);
}
