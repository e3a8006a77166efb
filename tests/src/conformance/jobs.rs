//! Cases of what operators ask of jobs: names, scopes, successes, what changed last.

use tourbillon::{
    model::{ExecutionId, JobName, Scope, State, Timestamp},
    store::{
        Cancel, ListJobs, ListRecent, ListScopes, PauseJob, PlanEntry, PlanOutcome, Register, RegisteredRules,
        Registration, ResumeJob, Success,
    },
};

use super::subject::{Subject, failed_for_good, hash, job, rules, runner, scope, succeeded};

super::cases! {
    jobs_are_listed_by_name_and_paged,
    queue_is_no_job,
    rules_are_told_as_they_were_registered_last,
    pauses_show_on_jobs_and_scopes,
    last_success_of_a_job_is_its_newest_slot_that_succeeded,
    of_successes_of_one_slot_the_last_to_finish_counts,
    last_success_is_forgotten_with_history,
    scopes_of_a_job_are_ordered_and_paged,
    recent_lists_what_changed_last_first,
    recent_is_filtered_and_paged,
    recent_is_filtered_by_scope_and_state_live_and_finished,
    recent_page_may_end_among_rows_of_one_instant,
    recent_page_may_end_among_lives_of_one_instant,
}

async fn jobs_are_listed_by_name_and_paged(s: &Subject) {
    let names = ["rollup", "Über", "digest", "Z", "a b"];
    for name in names {
        s.register(&job(name)).await;
    }
    let mut expected = names.map(job).to_vec();
    expected.sort_unstable();
    let (mut after, mut got) = (None, Vec::new());
    loop {
        let jobs = s.call(ListJobs { after, limit: 2 }).await.jobs;
        got.extend(jobs.iter().map(|entry| entry.job.clone()));
        if jobs.len() < 2 {
            break;
        }
        after = got.last().cloned();
    }
    assert_eq!(got, expected);
}

async fn queue_is_no_job(s: &Subject) {
    s.enqueue_one(&job("mail"), |_| {}).await;
    assert_eq!(s.call(ListJobs { after: None, limit: 10 }).await.jobs, []);
    assert_eq!(s.call(ListScopes { job: job("mail"), after: None, limit: 10 }).await.scopes, []);
}

async fn rules_are_told_as_they_were_registered_last(s: &Subject) {
    let name = job("digest");
    let told = async |spec: &str, told: Option<RegisteredRules>| {
        let (spec_hash, schedule_hash) = (hash(spec), hash("schedule"));
        let jobs = vec![Registration { job: name.clone(), spec_hash, schedule_hash, rules: told }];
        s.call(Register { runner: runner(), jobs }).await;
        s.call(ListJobs { after: None, limit: 1 }).await.jobs.remove(0).rules
    };
    assert_eq!(told("1", None).await, None);
    assert_eq!(told("2", Some(rules())).await, Some(rules()));
    assert_eq!(told("2", None).await, Some(rules()), "the same spec again is no news");
    let another = RegisteredRules { max_overlap: None, ..rules() };
    assert_eq!(told("3", Some(another.clone())).await, Some(another));
}

async fn pauses_show_on_jobs_and_scopes(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    let (at_job, at_scope) = (s.now(), s.after(1_000));
    s.call(PauseJob { job: name.clone(), scope: None, actor: None }).await;
    s.pass(1_000);
    s.call(PauseJob { job: name.clone(), scope: Some(scope("a")), actor: None }).await;
    assert_eq!(s.call(ListJobs { after: None, limit: 1 }).await.jobs[0].paused_at, Some(at_job));
    let scopes = s.call(ListScopes { job: name.clone(), after: None, limit: 9 }).await.scopes;
    assert_eq!(scopes[0].paused_at, Some(at_scope));
    s.call(ResumeJob { job: name.clone(), scope: None, actor: None }).await;
    s.call(ResumeJob { job: name.clone(), scope: Some(scope("a")), actor: None }).await;
    assert_eq!(s.call(ListJobs { after: None, limit: 1 }).await.jobs[0].paused_at, None);
    assert_eq!(s.call(ListScopes { job: name, after: None, limit: 9 }).await.scopes[0].paused_at, None);
}

/// Makes the slot `ms` from now of a scope, runs it and ends it after `took_ms`.
async fn run_slot(s: &Subject, name: &JobName, of: Scope, ms: i64, took_ms: i64, ok: bool) -> (Timestamp, Timestamp) {
    let slot_at = s.after(ms);
    let row = s.row_with(|row| (row.slot_at, row.due_at) = (Some(slot_at), s.now()));
    let entry = s.entry(name, s.cursor_of(name, &of).await, s.now(), vec![row]);
    let made = s.plan(PlanEntry { scope: of, ..entry }).await;
    assert!(matches!(made, PlanOutcome::Made(ref ids) if ids.len() == 1), "{made:?}");
    let (_, lease) = s.claim_one(name).await;
    s.start(lease).await.expect("held");
    s.pass(took_ms);
    s.settle(lease, if ok { succeeded() } else { failed_for_good() }).await.expect("held");
    (slot_at, s.now())
}

async fn last_success_of_a_job_is_its_newest_slot_that_succeeded(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    let of = |name: &JobName| ListScopes { job: name.clone(), after: None, limit: 10 };
    assert_eq!(s.call(ListJobs { after: None, limit: 1 }).await.jobs[0].last_success, None);

    run_slot(s, &name, scope("a"), -3, 10, true).await;
    let (slot_at, finished_at) = run_slot(s, &name, scope("a"), -2, 10, true).await;
    let a = Some(Success { slot_at, finished_at });
    run_slot(s, &name, scope("a"), -1, 10, false).await;
    let (slot_at, finished_at) = run_slot(s, &name, scope("b"), -1, 10, true).await;
    let b = Some(Success { slot_at, finished_at });
    s.ended(&name, succeeded()).await; // of no slot, in a third scope

    let entry = s.call(ListJobs { after: None, limit: 10 }).await.jobs.remove(0);
    assert_eq!((entry.job, entry.scopes, entry.last_success), (name.clone(), 3, b));
    let scopes = s.call(of(&name)).await.scopes;
    let successes: Vec<_> = scopes.iter().map(|entry| entry.last_success).collect();
    assert_eq!(successes, [None, a, b], "global/global, tenant/a, tenant/b");
}

async fn of_successes_of_one_slot_the_last_to_finish_counts(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    let of_job = async || s.call(ListJobs { after: None, limit: 1 }).await.jobs[0].last_success;
    run_slot(s, &name, scope("a"), -5, 1, true).await;
    let (slot_at, finished_at) = run_slot(s, &name, scope("a"), -1, 10, true).await;
    assert_eq!(of_job().await, Some(Success { slot_at, finished_at }), "of two slots of one scope the newer");
    let (_, finished_at) = run_slot(s, &name, scope("b"), -11, 10, true).await;
    assert_eq!(of_job().await, Some(Success { slot_at, finished_at }), "of one slot in two scopes the later end");

    let filter = ListRecent { scope: Some(scope("a")), ..ListRecent::new(1) };
    let id = ids(s, filter).await[0];
    s.requeue(id).await;
    s.pass(10);
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    s.settle(lease, succeeded()).await.expect("held");
    let again = Some(Success { slot_at, finished_at: s.now() });
    assert_eq!(of_job().await, again);
    let scopes = s.call(ListScopes { job: name, after: None, limit: 9 }).await.scopes;
    assert_eq!(scopes[0].last_success, again, "of two lives of one slot the later end");
}

async fn last_success_is_forgotten_with_history(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    run_slot(s, &name, Scope::global(), -1, 10, true).await;
    s.pass(5_000);
    s.call(tourbillon::store::Prune { history_ms: 1_000, receipts_ms: 1_000, edits_ms: u64::MAX, limit: 100 }).await;
    assert_eq!(s.call(ListJobs { after: None, limit: 1 }).await.jobs[0].last_success, None);
}

async fn scopes_of_a_job_are_ordered_and_paged(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    for tenant in ["10", "ä", "9", "Z"] {
        let entry = s.entry(&name, None, s.now(), Vec::new());
        s.plan(PlanEntry { scope: scope(tenant), ..entry }).await;
    }
    s.register(&job("other")).await;
    s.plan(s.entry(&job("other"), None, s.now(), Vec::new())).await;
    let page = async |after: Option<Scope>| {
        let scopes = s.call(ListScopes { job: name.clone(), after, limit: 3 }).await.scopes;
        scopes.into_iter().map(|entry| entry.cursor.scope).collect::<Vec<_>>()
    };
    assert_eq!(page(None).await, ["10", "9", "Z"].map(scope));
    assert_eq!(page(Some(scope("Z"))).await, ["ä"].map(scope));
    assert_eq!(page(Some(scope("ä"))).await, []);
}

async fn ids(s: &Subject, filter: ListRecent) -> Vec<ExecutionId> {
    s.call(filter).await.executions.into_iter().map(|row| row.id).collect()
}

async fn recent_lists_what_changed_last_first(s: &Subject) {
    let (a, b) = (job("a"), job("b"));
    let first = s.add_one(&a, |_| {}).await;
    s.pass(1);
    let second = s.ended(&b, succeeded()).await;
    s.pass(1);
    let third = s.enqueue_one(&job("mail"), |_| {}).await;
    assert_eq!(ids(s, ListRecent::new(10)).await, [third, second, first]);
    s.pass(1);
    s.cancel(first).await;
    assert_eq!(ids(s, ListRecent::new(10)).await, [first, third, second]);
    // Of the same instant: by id, greatest first.
    s.add(&a, (0..5).map(|_| s.row()).collect()).await;
    let newest = ids(s, ListRecent::new(5)).await;
    assert!(newest.is_sorted_by(|one, next| one > next), "{newest:?}");
}

async fn recent_is_filtered_and_paged(s: &Subject) {
    let name = job("a");
    for _ in 0..4 {
        s.pass(1);
        s.ended(&name, succeeded()).await;
    }
    s.ended(&job("b"), failed_for_good()).await;
    let waiting = s.add_one(&name, |_| {}).await;
    let all = ids(s, ListRecent { job: Some(name.clone()), ..ListRecent::new(10) }).await;
    assert_eq!((all.len(), all[0]), (5, waiting));
    assert_eq!(by_twos(s, Some(&name)).await, all);
    let of = |states: &[State]| ListRecent { states: states.to_vec(), ..ListRecent::new(10) };
    assert_eq!(ids(s, of(&[State::Dead, State::Scheduled])).await.len(), 2);
    assert_eq!(ids(s, ListRecent { scope: Some(scope("x")), ..ListRecent::new(10) }).await, []);
    assert_eq!(ids(s, ListRecent { scope: Some(Scope::global()), ..ListRecent::new(10) }).await.len(), 6);
}

async fn recent_is_filtered_by_scope_and_state_live_and_finished(s: &Subject) {
    let queue = job("mail");
    let of = |of: Scope| ListRecent { scope: Some(of), ..ListRecent::new(10) };
    let [a, b] = [scope("a"), scope("b")];
    let mut by_scope = Vec::new();
    for of in [&a, &b] {
        let ended = s.enqueue_one(&queue, |item| item.scope = of.clone()).await;
        s.cancel(ended).await;
        s.pass(1);
        by_scope.push([s.enqueue_one(&queue, |item| item.scope = of.clone()).await, ended]);
    }
    assert_eq!(ids(s, of(a)).await, by_scope[0]);
    assert_eq!(ids(s, of(b)).await, by_scope[1]);
    let states = vec![State::Retryable, State::Running];
    assert_eq!(ids(s, ListRecent { states, ..ListRecent::new(10) }).await, [], "two of them wait, two are cancelled");
}

/// Pages of two, put together; of one job, or of all.
async fn by_twos(s: &Subject, of: Option<&JobName>) -> Vec<ExecutionId> {
    let (mut after, mut got) = (None, Vec::new());
    loop {
        let rows = s.call(ListRecent { job: of.cloned(), after, ..ListRecent::new(2) }).await.executions;
        let Some(last) = rows.last() else { return got };
        after = Some((last.updated_at, last.id, last.generation));
        got.extend(rows.iter().map(|row| row.id));
    }
}

async fn recent_page_may_end_among_rows_of_one_instant(s: &Subject) {
    let name = job("digest");
    for _ in 0..2 {
        s.pass(1);
        s.add(&name, (0..3).map(|_| s.row()).collect()).await;
    }
    let whole = ids(s, ListRecent::new(10)).await;
    assert_eq!(by_twos(s, None).await, whole, "live ones");
    for half in whole.chunks(3) {
        s.pass(1);
        s.call(Cancel { ids: half.to_vec(), actor: None }).await;
    }
    let whole = ids(s, ListRecent::new(10)).await;
    assert_eq!(by_twos(s, None).await, whole, "finished ones");
}

async fn recent_page_may_end_among_lives_of_one_instant(s: &Subject) {
    let id = s.add_one(&job("digest"), |_| {}).await;
    let newest = async || s.call(ListRecent::new(1)).await.executions.remove(0).generation.0;
    s.cancel(id).await;
    s.requeue(id).await;
    assert_eq!(newest().await, 2, "one is live");
    s.cancel(id).await;
    assert_eq!(newest().await, 2, "none is");
}
