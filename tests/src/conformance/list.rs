//! Cases of the reads: executions, the missed-slot ledger, stats, the clock.

use tourbillon::{
    model::{ExecutionId, Generation, SkipReason, SkippedSlots, State},
    store::{JobStats, ListExecutions, ListSkipped, PlanEntry, ReadClock, ReadStats},
};
use uuid::Uuid;

use super::subject::{LEASE_MS, Subject, failed, failed_for_good, job, scope, succeeded};

super::cases! {
    clock_is_the_database_clock,
    empty_store_lists_nothing,
    executions_are_ordered_by_id_then_generation,
    ids_are_ordered_by_their_bytes,
    executions_are_listed_by_job,
    executions_are_listed_by_state_live_and_finished,
    executions_are_listed_by_id_with_all_generations,
    filters_are_combined,
    page_continues_behind_the_last_row,
    page_can_split_generations,
    ledger_is_ordered_by_job_scope_and_slots,
    ledger_is_listed_by_job,
    ledger_is_paged_by_offset,
    stats_count_live_executions_by_job,
    stats_name_the_oldest_claimable_instant,
    stats_leave_out_jobs_without_live_executions,
    stats_are_ordered_by_the_bytes_of_the_name,
}

fn all() -> ListExecutions {
    ListExecutions { limit: 1_000, ..ListExecutions::default() }
}

async fn ids(s: &Subject, filter: ListExecutions) -> Vec<ExecutionId> {
    s.call(filter).await.executions.into_iter().map(|row| row.id).collect()
}

/// P-12.
// P-12
async fn clock_is_the_database_clock(s: &Subject) {
    for ms in [0, 5, -86_400_000] {
        s.pass(ms);
        assert_eq!(s.call(ReadClock {}).await.now, s.now());
    }
}

async fn empty_store_lists_nothing(s: &Subject) {
    let page = s.call(all()).await;
    assert_eq!((page.now, page.executions.len()), (s.now(), 0));
    assert!(s.call(ListSkipped { job: None, offset: 0, limit: 1 }).await.entries.is_empty());
    let stats = s.call(ReadStats {}).await;
    assert_eq!((stats.now, stats.jobs.len()), (s.now(), 0));
}

async fn executions_are_ordered_by_id_then_generation(s: &Subject) {
    let name = job("digest");
    let mut expected = Vec::new();
    for _ in 0..4 {
        let id = s.ended(&name, succeeded()).await;
        expected.push((id, Generation(1)));
    }
    let again = expected[2].0;
    s.requeue(again).await;
    expected.push((again, Generation(2)));
    expected.sort_unstable();
    let got: Vec<_> = s.call(all()).await.executions.iter().map(|row| (row.id, row.generation)).collect();
    assert_eq!(got, expected);
}

/// As unsigned bytes, first byte first, on every store.
async fn ids_are_ordered_by_their_bytes(s: &Subject) {
    let name = job("digest");
    let numbers = [u128::MAX, 0, 1, 1 << 127, 0x7f << 120, 0xff, 0x80, 1 << 64, (1 << 64) - 1];
    let rows = numbers.map(|n| s.row_with(|row| row.id = ExecutionId(Uuid::from_u128(n)))).to_vec();
    let mut expected: Vec<_> = rows.iter().map(|row| row.id).collect();
    s.add(&name, rows).await;
    expected.sort_unstable();
    assert_eq!(ids(s, all()).await, expected);
    let claimed = s.claim(&name).await.executions;
    assert_eq!(claimed.iter().map(|row| row.id).collect::<Vec<_>>(), expected);
}

/// P-11.
// P-11
async fn executions_are_listed_by_job(s: &Subject) {
    let a = s.add_one(&job("a"), |_| {}).await;
    s.add_one(&job("b"), |_| {}).await;
    let done = s.ended(&job("c"), succeeded()).await;
    assert_eq!(ids(s, ListExecutions { job: Some(job("a")), ..all() }).await, [a]);
    assert_eq!(ids(s, ListExecutions { job: Some(job("c")), ..all() }).await, [done]);
    assert_eq!(ids(s, ListExecutions { job: Some(job("A")), ..all() }).await, []);
}

/// P-11.
// P-11
async fn executions_are_listed_by_state_live_and_finished(s: &Subject) {
    let name = job("digest");
    let dead = s.ended(&name, failed_for_good()).await;
    let done = s.ended(&name, succeeded()).await;
    let lease = s.running(&name, |_| {}).await;
    s.settle(lease, failed(86_400_000)).await.expect("held");
    let running = s.running(&name, |_| {}).await.id;
    let late = s.add_one(&name, |row| row.expires_at = Some(s.after(-1))).await;
    s.claim(&name).await;
    let cancelled = s.add_one(&name, |_| {}).await;
    s.cancel(cancelled).await;
    let waiting = s.add_one(&name, |_| {}).await;
    for (state, id) in [
        (State::Dead, dead),
        (State::Succeeded, done),
        (State::Retryable, lease.id),
        (State::Running, running),
        (State::Skipped, late),
        (State::Cancelled, cancelled),
        (State::Scheduled, waiting),
    ] {
        assert_eq!(ids(s, ListExecutions { states: vec![state], ..all() }).await, [id], "{state}");
    }
    let mut both = [dead, waiting];
    both.sort_unstable();
    assert_eq!(ids(s, ListExecutions { states: vec![State::Scheduled, State::Dead], ..all() }).await, both);
    assert_eq!(ids(s, ListExecutions { states: State::ALL.to_vec(), ..all() }).await.len(), 7);
}

async fn executions_are_listed_by_id_with_all_generations(s: &Subject) {
    let name = job("digest");
    let id = s.ended(&name, succeeded()).await;
    s.requeue(id).await;
    s.add_one(&name, |_| {}).await;
    let states: Vec<_> = s.generations(id).await.iter().map(|row| row.state).collect();
    assert_eq!(states, [State::Succeeded, State::Scheduled]);
    assert!(s.generations(s.id()).await.is_empty());
}

async fn filters_are_combined(s: &Subject) {
    let id = s.ended(&job("a"), succeeded()).await;
    s.requeue(id).await;
    let of = |name: &str, state| ListExecutions { job: Some(job(name)), id: Some(id), states: vec![state], ..all() };
    assert_eq!(ids(s, of("a", State::Succeeded)).await, [id]);
    assert_eq!(ids(s, of("a", State::Dead)).await, []);
    assert_eq!(ids(s, of("b", State::Succeeded)).await, []);
    let after = Some((id, Generation(1)));
    let rest = s.call(ListExecutions { after, ..of("a", State::Scheduled) }).await.executions;
    assert_eq!(rest.iter().map(|row| row.generation.0).collect::<Vec<_>>(), [2]);
}

async fn page_continues_behind_the_last_row(s: &Subject) {
    let name = job("digest");
    s.add(&name, (0..5).map(|_| s.row()).collect()).await;
    s.ended(&job("other"), succeeded()).await;
    s.ended(&job("other"), succeeded()).await;
    let whole = ids(s, all()).await;
    let (mut after, mut pages, mut got) = (None, Vec::new(), Vec::new());
    loop {
        let rows = s.call(ListExecutions { after, limit: 3, ..all() }).await.executions;
        let Some(last) = rows.last() else { break };
        after = Some((last.id, last.generation));
        pages.push(rows.len());
        got.extend(rows.into_iter().map(|row| row.id));
    }
    assert_eq!((pages, got), (vec![3, 3, 1], whole));
}

async fn page_can_split_generations(s: &Subject) {
    let id = s.ended(&job("digest"), succeeded()).await;
    s.requeue(id).await;
    let rows = s.call(ListExecutions { limit: 1, ..all() }).await.executions;
    assert_eq!(rows[0].generation, Generation(1));
    let rest = s.call(ListExecutions { after: Some((id, Generation(1))), limit: 1, ..all() }).await.executions;
    assert_eq!(rest[0].generation, Generation(2));
}

/// Records one range for a job and scope; the scope must be new.
async fn record(s: &Subject, name: &str, tenant: &str, ranges: &[(i64, i64, SkipReason)]) {
    let entry = s.entry(&job(name), None, s.now(), Vec::new());
    let range = |(after, through, reason): &(i64, i64, SkipReason)| SkippedSlots {
        after: s.after(*after),
        through: s.after(*through),
        count: Some(1),
        reason: *reason,
    };
    s.plan(PlanEntry { scope: scope(tenant), skipped: ranges.iter().map(range).collect(), ..entry }).await;
}

async fn ledger_of_three(s: &Subject) {
    use SkipReason::{Late, Superseded};
    s.register(&job("b")).await;
    s.register(&job("a")).await;
    record(s, "b", "1", &[(-5, -4, Late)]).await;
    record(s, "a", "2", &[(-5, -3, Late), (-5, -4, Superseded), (-5, -4, Late), (-9, -1, Late)]).await;
    record(s, "a", "10", &[(-1, 0, Late)]).await;
}

/// G5.
async fn ledger_is_ordered_by_job_scope_and_slots(s: &Subject) {
    ledger_of_three(s).await;
    let entries = s.call(ListSkipped { job: None, offset: 0, limit: 100 }).await.entries;
    let ms = |at: tourbillon::model::Timestamp| (at.as_micros() - s.now().as_micros()) / 1_000;
    let got: Vec<_> = entries
        .iter()
        .map(|e| (e.job.as_str(), e.scope.id(), ms(e.slots.after), ms(e.slots.through), e.slots.reason.as_str()))
        .collect();
    let expected = [
        ("a", "10", -1, 0, "late"),
        ("a", "2", -9, -1, "late"),
        ("a", "2", -5, -4, "late"),
        ("a", "2", -5, -4, "superseded"),
        ("a", "2", -5, -3, "late"),
        ("b", "1", -5, -4, "late"),
    ];
    assert_eq!(got, expected);
}

async fn ledger_is_listed_by_job(s: &Subject) {
    ledger_of_three(s).await;
    for (name, count) in [("a", 5), ("b", 1), ("c", 0)] {
        let entries = s.call(ListSkipped { job: Some(job(name)), offset: 0, limit: 100 }).await.entries;
        assert_eq!(entries.len(), count, "{name}");
        assert!(entries.iter().all(|entry| entry.job == job(name)));
    }
}

async fn ledger_is_paged_by_offset(s: &Subject) {
    ledger_of_three(s).await;
    let whole = s.call(ListSkipped { job: None, offset: 0, limit: 100 }).await.entries;
    let mut got = Vec::new();
    for offset in [0, 4, 8] {
        got.extend(s.call(ListSkipped { job: None, offset, limit: 4 }).await.entries);
    }
    assert_eq!(got, whole);
}

async fn stats_count_live_executions_by_job(s: &Subject) {
    let (a, b) = (job("a"), job("b"));
    s.ended(&a, succeeded()).await;
    let retry = s.running(&a, |_| {}).await;
    s.settle(retry, failed(60_000)).await.expect("held");
    s.running(&a, |_| {}).await;
    s.claimed(&a, |_| {}).await;
    s.add(&a, vec![s.row(), s.row(), s.row()]).await;
    s.add_one(&b, |_| {}).await;
    let stats = s.call(ReadStats {}).await.jobs;
    let of_a = &stats[&a];
    assert_eq!((of_a.scheduled, of_a.running, of_a.retryable), (3, 2, 1));
    assert_eq!(stats[&b], JobStats { scheduled: 1, oldest_claimable_at: Some(s.now()), ..JobStats::default() });
}

async fn stats_name_the_oldest_claimable_instant(s: &Subject) {
    let name = job("a");
    let oldest = |stats: tourbillon::store::Stats| stats.jobs[&name].oldest_claimable_at;
    s.running(&name, |row| row.policy.max_attempts = 1).await;
    assert_eq!(oldest(s.call(ReadStats {}).await), None, "no claim will ever take it");
    s.running(&name, |_| {}).await;
    let expiry = s.after(LEASE_MS as i64).offset_micros(1);
    assert_eq!(oldest(s.call(ReadStats {}).await), Some(expiry));
    s.add_one(&name, |row| row.due_at = s.after(5_000)).await;
    assert_eq!(oldest(s.call(ReadStats {}).await), Some(s.after(5_000)));
}

async fn stats_leave_out_jobs_without_live_executions(s: &Subject) {
    s.ended(&job("a"), succeeded()).await;
    s.register(&job("b")).await;
    assert!(s.call(ReadStats {}).await.jobs.is_empty());
}

async fn stats_are_ordered_by_the_bytes_of_the_name(s: &Subject) {
    let names = ["é", "z", "Z", "a b", "a-b", "ab", "日", "🦀", "\u{e000}", "_", "10", "9"];
    for name in names {
        s.add_one(&job(name), |_| {}).await;
    }
    let mut expected = names.map(job);
    expected.sort_unstable();
    let got: Vec<_> = s.call(ReadStats {}).await.jobs.into_keys().collect();
    assert_eq!(got, expected);
}
