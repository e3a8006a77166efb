//! Cases of prune: what goes, what stays, in what order.

use tourbillon::{
    model::{SkipReason, SkippedSlots, State, transition::Cancelled},
    store::{ListExecutions, ListSkipped, PlanEntry, Prune, Pruned, RequeueOutcome},
};

use super::subject::{Subject, failed, failed_for_good, job, scope, succeeded};

super::cases! {
    history_goes_when_it_is_older_than_the_bound,
    age_is_counted_from_the_finish,
    live_executions_stay,
    every_terminal_state_goes,
    limit_bounds_the_batch_oldest_first,
    ledger_goes_with_the_history,
    receipts_have_a_bound_of_their_own,
    limit_bounds_ledger_and_receipts_too,
    pruned_execution_cannot_be_requeued,
    earlier_generation_goes_alone,
    fence_grows_on_when_earlier_generations_have_gone,
    widest_bounds_keep_everything,
}

fn history(history_ms: u64) -> Prune {
    Prune { history_ms, receipts_ms: u64::MAX, edits_ms: u64::MAX, limit: 1_000 }
}

/// What of history, ledger and receipts goes; audit events have cases of their own.
async fn prune(s: &Subject, verb: Prune) -> Pruned {
    Pruned { audit: 0, ..s.call(verb).await }
}

const NOTHING: Pruned = Pruned { executions: 0, skipped: 0, audit: 0, receipts: 0, turns: 0, edits: 0, pauses: 0 };

async fn history_goes_when_it_is_older_than_the_bound(s: &Subject) {
    let id = s.ended(&job("digest"), succeeded()).await;
    s.pass(60_000);
    assert_eq!(prune(s, history(60_000)).await, NOTHING, "as old as the bound is not older");
    s.pass_micros(1);
    assert_eq!(prune(s, history(60_000)).await, Pruned { executions: 1, ..NOTHING });
    assert!(s.generations(id).await.is_empty());
    assert_eq!(prune(s, history(60_000)).await, NOTHING);
}

async fn age_is_counted_from_the_finish(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    s.pass(50_000);
    s.settle(lease, succeeded()).await.expect("held");
    s.pass(50_000);
    assert_eq!(prune(s, history(60_000)).await, NOTHING);
}

/// G5.
async fn live_executions_stay(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.settle(lease, failed(1)).await.expect("held");
    s.running(&name, |_| {}).await;
    s.add_one(&name, |_| {}).await;
    s.pass(86_400_000);
    assert_eq!(prune(s, history(0)).await, NOTHING);
    let all = ListExecutions { limit: 10, ..ListExecutions::default() };
    assert_eq!(s.call(all).await.executions.len(), 3);
}

async fn every_terminal_state_goes(s: &Subject) {
    let name = job("digest");
    s.ended(&name, succeeded()).await;
    s.ended(&name, failed_for_good()).await;
    s.add_one(&name, |row| row.expires_at = Some(s.after(-1))).await;
    s.claim(&name).await;
    let waiting = s.add_one(&name, |_| {}).await;
    assert_eq!(s.cancel(waiting).await, Cancelled::Now);
    s.pass(1);
    assert_eq!(prune(s, history(0)).await, Pruned { executions: 4, ..NOTHING });
}

/// G14.
async fn limit_bounds_the_batch_oldest_first(s: &Subject) {
    let name = job("digest");
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(s.ended(&name, succeeded()).await);
        s.pass(1);
    }
    for left in [3, 1, 0] {
        s.call(Prune { limit: 2, ..history(0) }).await;
        let mut expected = ids[5 - left..].to_vec();
        expected.sort_unstable();
        let rows = s.call(ListExecutions { limit: 10, ..ListExecutions::default() }).await.executions;
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), expected);
    }
}

/// Records `n` ranges a millisecond apart, each for a scope of its own.
async fn ledger(s: &Subject, n: i64) {
    s.register(&job("digest")).await;
    for tenant in 0..n {
        let slots =
            SkippedSlots { after: s.after(-2), through: s.after(-1), count: Some(1), reason: SkipReason::Late };
        let entry = s.entry(&job("digest"), None, s.now(), Vec::new());
        s.plan(PlanEntry { scope: scope(&tenant.to_string()), skipped: vec![slots], ..entry }).await;
        s.pass(1);
    }
}

async fn ledger_left(s: &Subject) -> Vec<String> {
    let entries = s.call(ListSkipped { job: None, offset: 0, limit: 100 }).await.entries;
    entries.iter().map(|entry| entry.scope.id().to_owned()).collect()
}

async fn ledger_goes_with_the_history(s: &Subject) {
    ledger(s, 1).await;
    s.pass(59_999);
    assert_eq!(prune(s, history(60_000)).await, NOTHING);
    s.pass_micros(1);
    assert_eq!(prune(s, history(60_000)).await, Pruned { skipped: 1, ..NOTHING });
    assert!(ledger_left(s).await.is_empty());
}

async fn receipts_have_a_bound_of_their_own(s: &Subject) {
    s.ended(&job("digest"), succeeded()).await;
    s.pass(1);
    let receipts = prune(s, Prune { history_ms: u64::MAX, receipts_ms: 0, edits_ms: u64::MAX, limit: 100 }).await;
    assert_eq!(receipts, Pruned { receipts: 3, ..NOTHING }, "those of plan, claim and settle");
    assert_eq!(prune(s, history(0)).await, Pruned { executions: 1, ..NOTHING });
}

async fn limit_bounds_ledger_and_receipts_too(s: &Subject) {
    ledger(s, 3).await;
    let first = prune(s, Prune { history_ms: 0, receipts_ms: 0, edits_ms: u64::MAX, limit: 2 }).await;
    assert_eq!(first, Pruned { skipped: 2, receipts: 2, ..NOTHING });
    assert_eq!(ledger_left(s).await, ["2"], "the newest is left");
    let second = prune(s, Prune { history_ms: 0, receipts_ms: 0, edits_ms: u64::MAX, limit: 2 }).await;
    assert_eq!(second, Pruned { skipped: 1, receipts: 1, ..NOTHING });
}

async fn pruned_execution_cannot_be_requeued(s: &Subject) {
    let id = s.ended(&job("digest"), succeeded()).await;
    s.pass(1);
    prune(s, history(0)).await;
    assert_eq!(s.requeue(id).await, RequeueOutcome::NotFound);
    assert_eq!(s.cancel(id).await, Cancelled::NotFound);
}

async fn earlier_generation_goes_alone(s: &Subject) {
    let id = s.ended(&job("digest"), succeeded()).await;
    s.requeue(id).await;
    s.pass(1);
    assert_eq!(prune(s, history(0)).await.executions, 1);
    let rows = s.generations(id).await;
    assert_eq!(rows.iter().map(|row| (row.generation.0, row.state)).collect::<Vec<_>>(), [(2, State::Scheduled)]);
}

/// G1.
async fn fence_grows_on_when_earlier_generations_have_gone(s: &Subject) {
    let name = job("digest");
    let id = s.ended(&name, succeeded()).await;
    s.requeue(id).await;
    s.pass(1);
    prune(s, history(0)).await;
    let (row, lease) = s.claim_one(&name).await;
    assert_eq!((row.generation.0, lease.fence.0), (2, 2));
}

async fn widest_bounds_keep_everything(s: &Subject) {
    s.ended(&job("digest"), succeeded()).await;
    s.pass(86_400_000 * 365);
    assert_eq!(
        prune(s, Prune { history_ms: u64::MAX, receipts_ms: u64::MAX, edits_ms: u64::MAX, limit: 1_000 }).await,
        NOTHING
    );
}
