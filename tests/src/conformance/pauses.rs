//! Cases of pausing, resuming and triggering: what stops, what goes on, what is recorded, who did it.

use tourbillon::{
    model::{AuditAction, ExecutionId, JobName, Pause, Scope, SkipReason, Timestamp},
    store::{
        ListPauses, ListSkipped, PauseFilter, PauseJob, PauseOutcome, PlanEntry, PlanOutcome, Prune, ReadCursors,
        RegisterOutcome, ResumeJob, ResumeOutcome, SkippedEntry, TriggerJob, TriggerOutcome,
    },
};

use super::subject::{Subject, failed, hash, job, operator, scope, succeeded, trace_of};

super::cases! {
    unknown_job_is_neither_paused_nor_resumed_nor_triggered,
    paused_job_makes_no_slot_and_keeps_its_cursor,
    waiting_slots_of_a_paused_job_are_not_claimed,
    what_runs_goes_on_while_its_job_is_paused,
    failed_slot_of_a_paused_job_waits_beyond_its_retry_time,
    expired_slot_of_a_paused_job_is_not_taken_over,
    pause_of_a_scope_holds_that_scope_alone,
    pause_of_a_scope_that_was_never_planned_begins_its_cursor,
    items_are_not_held_by_a_pause,
    held_rows_do_not_fill_the_page_of_a_claim,
    pausing_twice_says_since_when,
    resumed_job_makes_no_slot_of_the_time_of_its_pause,
    resumed_scope_makes_no_slot_of_the_time_of_its_pause,
    lifting_one_pause_leaves_the_other_in_force,
    late_slot_is_skipped_after_the_pause_and_not_during_it,
    edit_during_a_pause_is_recorded_as_an_edit,
    registration_leaves_a_pause_in_force,
    planners_read_the_pauses_in_force,
    pauses_are_listed_newest_first_with_who_made_and_lifted_them,
    repeated_pause_and_resumption_answer_as_the_first,
    triggered_execution_is_due_at_once_and_no_slot,
    triggered_execution_runs_while_its_job_is_paused,
    trigger_is_told_under_the_operator_s_name,
    trigger_of_an_id_that_is_taken_makes_nothing,
    pauses_of_one_instant_are_listed_by_their_ids,
    lifted_pauses_are_pruned_and_those_in_force_stay,
    repeated_trigger_makes_one_execution,
    triggered_execution_counts_for_the_limit_of_its_job,
}

async fn pause(s: &Subject, name: &JobName, of: Option<Scope>) -> PauseOutcome {
    s.call(PauseJob { job: name.clone(), scope: of, actor: None }).await.outcome
}

async fn resume(s: &Subject, name: &JobName, of: Option<Scope>) -> ResumeOutcome {
    s.call(ResumeJob { job: name.clone(), scope: of, actor: None }).await.outcome
}

/// Plans one slot, now, from wherever the cursor is.
async fn plan_slot(s: &Subject, name: &JobName, of: &Scope) -> PlanOutcome {
    let row = s.row_with(|row| row.slot_at = Some(s.now()));
    let entry = s.entry(name, s.cursor_of(name, of).await, s.now(), vec![row]);
    s.plan(PlanEntry { scope: of.clone(), ..entry }).await
}

/// The same, where it must be made.
async fn made(s: &Subject, name: &JobName, of: &Scope) -> ExecutionId {
    match plan_slot(s, name, of).await {
        PlanOutcome::Made(ids) if ids.len() == 1 => ids[0],
        other => panic!("the slot is made: {other:?}"),
    }
}

async fn ledger(s: &Subject, name: &JobName) -> Vec<SkippedEntry> {
    s.call(ListSkipped { job: Some(name.clone()), offset: 0, limit: 100 }).await.entries
}

/// A registered job with its global scope planned up to now.
async fn planned(s: &Subject) -> JobName {
    let name = job("digest");
    s.register(&name).await;
    made(s, &name, &Scope::global()).await;
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    s.settle(lease, succeeded()).await.expect("held");
    s.pass(60_000);
    name
}

fn trigger(s: &Subject, name: &JobName) -> TriggerJob {
    let row = s.row();
    TriggerJob {
        job: name.clone(),
        scope: Scope::global(),
        id: row.id,
        priority: 0,
        payload: None,
        policy: row.policy,
        actor: Some(operator("ada")),
        trace: Some(trace_of(7)),
    }
}

async fn unknown_job_is_neither_paused_nor_resumed_nor_triggered(s: &Subject) {
    let name = job("nobody");
    assert_eq!(pause(s, &name, None).await, PauseOutcome::UnknownJob);
    assert_eq!(resume(s, &name, Some(scope("a"))).await, ResumeOutcome::UnknownJob);
    assert_eq!(s.call(trigger(s, &name)).await.outcome, TriggerOutcome::UnknownJob);
    s.register(&name).await;
    assert_eq!(resume(s, &name, None).await, ResumeOutcome::NotPaused);
}

async fn paused_job_makes_no_slot_and_keeps_its_cursor(s: &Subject) {
    let name = planned(s).await;
    let before = s.cursor(&name).await;
    assert_eq!(pause(s, &name, None).await, PauseOutcome::Paused);
    s.pass(60_000);
    assert_eq!(plan_slot(s, &name, &Scope::global()).await, PlanOutcome::Paused);
    assert_eq!(plan_slot(s, &name, &scope("new")).await, PlanOutcome::Paused);
    assert_eq!(s.cursor(&name).await, before);
    assert_eq!(ledger(s, &name).await, []);
}

async fn waiting_slots_of_a_paused_job_are_not_claimed(s: &Subject) {
    let name = planned(s).await;
    let id = made(s, &name, &Scope::global()).await;
    pause(s, &name, None).await;
    assert!(s.nothing_to_claim(&name).await);
    resume(s, &name, None).await;
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

async fn what_runs_goes_on_while_its_job_is_paused(s: &Subject) {
    let name = planned(s).await;
    made(s, &name, &Scope::global()).await;
    let (_, lease) = s.claim_one(&name).await;
    pause(s, &name, None).await;
    assert_eq!(s.start(lease).await, Ok(1));
    s.heartbeat(lease).await.expect("held");
    s.settle(lease, succeeded()).await.expect("held");
}

async fn failed_slot_of_a_paused_job_waits_beyond_its_retry_time(s: &Subject) {
    let name = planned(s).await;
    made(s, &name, &Scope::global()).await;
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    pause(s, &name, None).await;
    s.settle(lease, failed(1_000)).await.expect("held");
    s.pass(5_000);
    assert!(s.nothing_to_claim(&name).await);
    resume(s, &name, None).await;
    assert_eq!(s.claim_one(&name).await.0.id, lease.id);
}

async fn expired_slot_of_a_paused_job_is_not_taken_over(s: &Subject) {
    let name = planned(s).await;
    made(s, &name, &Scope::global()).await;
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    pause(s, &name, None).await;
    s.pass(600_000);
    assert!(s.nothing_to_claim(&name).await);
    resume(s, &name, None).await;
    assert_eq!(s.claim_one(&name).await.0.id, lease.id);
}

async fn pause_of_a_scope_holds_that_scope_alone(s: &Subject) {
    let name = planned(s).await;
    let (a, b) = (scope("a"), scope("b"));
    let held = made(s, &name, &a).await;
    assert_eq!(pause(s, &name, Some(a.clone())).await, PauseOutcome::Paused);
    let free = made(s, &name, &b).await;
    assert_eq!(s.claim_one(&name).await.0.id, free);
    s.pass(60_000);
    assert_eq!(plan_slot(s, &name, &a).await, PlanOutcome::Paused);
    resume(s, &name, Some(a)).await;
    let taken: Vec<_> = s.claim(&name).await.executions.iter().map(|row| row.id).collect();
    assert!(taken.contains(&held), "{taken:?}");
}

async fn pause_of_a_scope_that_was_never_planned_begins_its_cursor(s: &Subject) {
    let name = planned(s).await;
    let new = scope("new");
    pause(s, &name, Some(new.clone())).await;
    assert_eq!(s.cursor_of(&name, &new).await, Some(s.now()));
    s.pass(60_000);
    assert_eq!(plan_slot(s, &name, &new).await, PlanOutcome::Paused);
    resume(s, &name, Some(new.clone())).await;
    assert_eq!(s.cursor_of(&name, &new).await, Some(s.now()));
    s.pass(60_000);
    made(s, &name, &new).await;
}

async fn items_are_not_held_by_a_pause(s: &Subject) {
    let name = planned(s).await;
    pause(s, &name, None).await;
    let id = s.enqueue_one(&name, |_| {}).await;
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

async fn held_rows_do_not_fill_the_page_of_a_claim(s: &Subject) {
    let (name, other) = (planned(s).await, job("other"));
    s.register(&other).await;
    for _ in 0..12 {
        made(s, &name, &Scope::global()).await;
        s.pass(1);
    }
    let free = made(s, &other, &Scope::global()).await;
    pause(s, &name, None).await;
    let claimed = s.call(super::subject::claim_of(&[&name, &other], 10)).await;
    assert_eq!(claimed.executions.iter().map(|row| row.id).collect::<Vec<_>>(), [free]);
}

async fn pausing_twice_says_since_when(s: &Subject) {
    let name = planned(s).await;
    let since = s.now();
    pause(s, &name, None).await;
    s.pass(1_000);
    assert_eq!(pause(s, &name, None).await, PauseOutcome::Already(since));
    assert_eq!(resume(s, &name, None).await, ResumeOutcome::Resumed(since));
    assert_eq!(resume(s, &name, None).await, ResumeOutcome::NotPaused);
    assert_eq!(pause(s, &name, None).await, PauseOutcome::Paused);
}

/// G5, G6.
async fn resumed_job_makes_no_slot_of_the_time_of_its_pause(s: &Subject) {
    let name = planned(s).await;
    let after = s.cursor(&name).await.expect("planned");
    pause(s, &name, None).await;
    s.pass(600_000);
    resume(s, &name, None).await;
    let told: Vec<_> = ledger(s, &name).await;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].slots.after, told[0].slots.through, told[0].slots.count), (after, s.now(), None));
    assert_eq!(told[0].slots.reason, SkipReason::Paused);
    // A planner that still has the old cursor, one that is late, and one for a new scope make nothing before now.
    let early = |expect, to| {
        let row = s.row_with(|row| row.slot_at = Some(to));
        s.entry(&name, expect, to, vec![row])
    };
    assert_eq!(s.plan(early(Some(after), s.now())).await, PlanOutcome::CursorMoved(Some(s.now())));
    assert_eq!(s.plan(early(Some(s.now()), s.after(-1))).await, PlanOutcome::NotDue);
    let new = PlanEntry { scope: scope("new"), ..early(None, s.after(-1)) };
    assert_eq!(s.plan(new).await, PlanOutcome::NotDue);
    s.pass(1);
    made(s, &name, &Scope::global()).await;
}

async fn resumed_scope_makes_no_slot_of_the_time_of_its_pause(s: &Subject) {
    let name = planned(s).await;
    let a = scope("a");
    made(s, &name, &a).await;
    let after = s.cursor_of(&name, &a).await.expect("planned");
    pause(s, &name, Some(a.clone())).await;
    s.pass(600_000);
    resume(s, &name, Some(a.clone())).await;
    let told = ledger(s, &name).await;
    assert_eq!(told.iter().map(|entry| &entry.scope).collect::<Vec<_>>(), [&a], "no other scope was paused");
    assert_eq!((told[0].slots.after, told[0].slots.through), (after, s.now()));
    let cursors = s.call(ReadCursors { jobs: vec![name.clone()] }).await.jobs.remove(0).cursors;
    let edited_at = cursors.iter().find(|cursor| cursor.scope == a).and_then(|cursor| cursor.edited_at);
    assert_eq!(edited_at, Some(s.now()), "no slot from before it is made, whatever becomes of the cursor");
    let row = s.row_with(|row| row.slot_at = Some(s.after(-1)));
    let entry = PlanEntry { scope: a, ..s.entry(&name, Some(s.now()), s.after(-1), vec![row]) };
    assert_eq!(s.plan(entry).await, PlanOutcome::NotDue);
}

async fn lifting_one_pause_leaves_the_other_in_force(s: &Subject) {
    let name = planned(s).await;
    let a = scope("a");
    made(s, &name, &a).await;
    pause(s, &name, None).await;
    assert_eq!(pause(s, &name, Some(a.clone())).await, PauseOutcome::Paused);
    s.pass(1_000);
    assert!(matches!(resume(s, &name, None).await, ResumeOutcome::Resumed(_)));
    s.pass(1_000);
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(plan_slot(s, &name, &a).await, PlanOutcome::Paused);
    made(s, &name, &Scope::global()).await;
    pause(s, &name, None).await;
    assert!(matches!(resume(s, &name, Some(a.clone())).await, ResumeOutcome::Resumed(_)));
    s.pass(1_000);
    assert_eq!(plan_slot(s, &name, &a).await, PlanOutcome::Paused, "the whole job is paused still");
}

async fn late_slot_is_skipped_after_the_pause_and_not_during_it(s: &Subject) {
    let name = planned(s).await;
    let row = s.row_with(|row| (row.slot_at, row.expires_at) = (Some(s.now()), Some(s.after(1_000))));
    let id = row.id;
    s.plan(s.entry(&name, s.cursor(&name).await, s.now(), vec![row])).await;
    pause(s, &name, None).await;
    s.pass(5_000);
    assert!(s.nothing_to_claim(&name).await);
    resume(s, &name, None).await;
    assert_eq!(s.claim(&name).await.skipped, [(id, SkipReason::Late)]);
}

async fn edit_during_a_pause_is_recorded_as_an_edit(s: &Subject) {
    let name = planned(s).await;
    pause(s, &name, None).await;
    s.pass(1_000);
    assert_eq!(s.register_as(&name, "spec-2", "schedule-2").await, RegisterOutcome::ScheduleChanged);
    s.pass(1_000);
    resume(s, &name, None).await;
    let told: Vec<_> = ledger(s, &name).await.iter().map(|entry| entry.slots.reason).collect();
    assert_eq!(told, [SkipReason::ScheduleChanged, SkipReason::Paused]);
}

async fn registration_leaves_a_pause_in_force(s: &Subject) {
    let name = planned(s).await;
    pause(s, &name, None).await;
    s.pass(1_000);
    s.register_as(&name, "spec-2", "schedule-2").await;
    s.pass(1_000);
    let row = s.row_with(|row| row.slot_at = Some(s.now()));
    let entry = s.entry(&name, s.cursor(&name).await, s.now(), vec![row]);
    assert_eq!(s.plan(PlanEntry { spec_hash: hash("spec-2"), ..entry }).await, PlanOutcome::Paused);
}

async fn planners_read_the_pauses_in_force(s: &Subject) {
    let name = planned(s).await;
    pause(s, &name, Some(scope("b"))).await;
    pause(s, &name, Some(scope("a"))).await;
    pause(s, &name, None).await;
    pause(s, &name, Some(scope("c"))).await;
    resume(s, &name, Some(scope("c"))).await;
    let read = s.call(ReadCursors { jobs: vec![name.clone(), job("other")] }).await.jobs;
    let scopes: Vec<_> = read[0].pauses.iter().map(|pause| pause.scope.clone()).collect();
    assert_eq!(scopes, [None, Some(scope("a")), Some(scope("b"))]);
    assert_eq!(read[1].pauses, []);
}

async fn pauses_are_listed_newest_first_with_who_made_and_lifted_them(s: &Subject) {
    let name = planned(s).await;
    let first = s.request(PauseJob { job: name.clone(), scope: None, actor: Some(operator("ada")) });
    s.repeat::<PauseJob>(&first).await;
    let paused_at = s.now();
    s.pass(1_000);
    s.call(ResumeJob { job: name.clone(), scope: None, actor: Some(operator("bob")) }).await;
    let resumed_at: Timestamp = s.now();
    s.pass(1_000);
    pause(s, &name, Some(scope("a"))).await;
    let list = |which, offset| ListPauses { job: Some(name.clone()), which, offset, limit: 10 };
    let all = s.call(list(PauseFilter::All, 0)).await.pauses;
    let lifted = Pause {
        id: first.id,
        job: name.clone(),
        scope: None,
        paused_at,
        paused_by: "ada".to_owned(),
        resumed_at: Some(resumed_at),
        resumed_by: Some("bob".to_owned()),
    };
    assert_eq!((all.len(), &all[1]), (2, &lifted));
    assert_eq!((all[0].scope.as_ref(), all[0].paused_by.as_str()), (Some(&scope("a")), "operator"));
    assert_eq!(s.call(list(PauseFilter::InForce, 0)).await.pauses, all[..1]);
    assert_eq!(s.call(list(PauseFilter::All, 1)).await.pauses, all[1..]);
}

async fn pauses_of_one_instant_are_listed_by_their_ids(s: &Subject) {
    let name = planned(s).await;
    for of in ["a", "b", "c", "d"] {
        pause(s, &name, Some(scope(of))).await;
    }
    let list = async |offset| {
        let which = PauseFilter::All;
        let pauses = s.call(ListPauses { job: None, which, offset, limit: 2 }).await.pauses;
        pauses.into_iter().map(|pause| pause.id).collect::<Vec<_>>()
    };
    let all = [list(0).await, list(2).await].concat();
    assert!(all.len() == 4 && all.is_sorted_by(|one, next| one > next), "{all:?}");
}

async fn lifted_pauses_are_pruned_and_those_in_force_stay(s: &Subject) {
    let name = planned(s).await;
    // The one that began last is lifted first.
    for of in [scope("c"), scope("a")] {
        pause(s, &name, Some(of)).await;
        s.pass(1_000);
    }
    for of in [scope("a"), scope("c")] {
        resume(s, &name, Some(of)).await;
        s.pass(1_000);
    }
    pause(s, &name, Some(scope("b"))).await;
    let prune = |edits_ms, limit| Prune { history_ms: u64::MAX, receipts_ms: u64::MAX, edits_ms, limit };
    let all = || ListPauses { job: None, which: PauseFilter::All, offset: 0, limit: 10 };
    let left = |pauses: Vec<Pause>| pauses.into_iter().map(|pause| pause.scope).collect::<Vec<_>>();
    assert_eq!(s.call(prune(2_000, 10)).await.pauses, 0, "lifted as long ago as the bound is not older");
    s.pass_micros(1);
    assert_eq!(s.call(prune(0, 1)).await.pauses, 1);
    assert_eq!(
        left(s.call(all()).await.pauses),
        [Some(scope("b")), Some(scope("c"))],
        "the first to be lifted is gone"
    );
    assert_eq!(s.call(prune(0, 1)).await.pauses, 1);
    assert_eq!(s.call(prune(0, 1)).await.pauses, 0);
    assert_eq!(left(s.call(all()).await.pauses), [Some(scope("b"))], "it is in force");
    assert_eq!(pause(s, &name, Some(scope("b"))).await, PauseOutcome::Already(s.now().offset_micros(-1)));
}

async fn repeated_pause_and_resumption_answer_as_the_first(s: &Subject) {
    let name = planned(s).await;
    let since = s.now();
    let pause = s.request(PauseJob { job: name.clone(), scope: None, actor: None });
    let resume = s.request(ResumeJob { job: name.clone(), scope: None, actor: None });
    for _ in 0..2 {
        assert_eq!(s.repeat::<PauseJob>(&pause).await.outcome, PauseOutcome::Paused);
        s.pass(1_000);
    }
    for _ in 0..2 {
        assert_eq!(s.repeat::<ResumeJob>(&resume).await.outcome, ResumeOutcome::Resumed(since));
        assert_eq!(s.repeat::<PauseJob>(&pause).await.outcome, PauseOutcome::Paused, "and changes nothing");
    }
    assert_eq!(ledger(s, &name).await.len(), 1);
    s.pass(1_000);
    made(s, &name, &Scope::global()).await;
}

async fn triggered_execution_is_due_at_once_and_no_slot(s: &Subject) {
    let name = planned(s).await;
    let before = s.cursor(&name).await;
    let wish = trigger(s, &name);
    assert_eq!(s.call(wish.clone()).await.outcome, TriggerOutcome::Triggered);
    let (row, _) = s.claim_one(&name).await;
    assert_eq!((row.id, row.slot_at, row.due_at, row.attempt), (wish.id, None, s.now(), 0));
    assert_eq!(s.cursor(&name).await, before);
}

async fn triggered_execution_runs_while_its_job_is_paused(s: &Subject) {
    let name = planned(s).await;
    made(s, &name, &Scope::global()).await;
    pause(s, &name, None).await;
    let wish = trigger(s, &name);
    s.call(wish.clone()).await;
    assert_eq!(s.claim_one(&name).await.0.id, wish.id);
}

/// G9.
async fn trigger_is_told_under_the_operator_s_name(s: &Subject) {
    let name = planned(s).await;
    let mut wish = trigger(s, &name);
    wish.policy.audit = tourbillon::model::Audit::Exceptions;
    s.call(wish.clone()).await;
    let events = s.audit(Some(wish.id)).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].action, events[0].actor.name.as_str()), (AuditAction::Trigger, "ada"));
}

async fn trigger_of_an_id_that_is_taken_makes_nothing(s: &Subject) {
    let name = planned(s).await;
    // Of which no audit event tells.
    let live = s.add_one(&name, |row| row.policy.audit = tourbillon::model::Audit::Off).await;
    let wish = TriggerJob { id: live, ..trigger(s, &name) };
    assert_eq!(s.call(wish).await.outcome, TriggerOutcome::Duplicate);
    s.cancel(live).await;
    let wish = TriggerJob { id: live, ..trigger(s, &name) };
    assert_eq!(s.call(wish).await.outcome, TriggerOutcome::Duplicate);
}

async fn repeated_trigger_makes_one_execution(s: &Subject) {
    let name = planned(s).await;
    let request = s.request(trigger(s, &name));
    for _ in 0..2 {
        assert_eq!(s.repeat::<TriggerJob>(&request).await.outcome, TriggerOutcome::Triggered);
    }
    s.claim_one(&name).await;
}

/// G15.
async fn triggered_execution_counts_for_the_limit_of_its_job(s: &Subject) {
    let name = planned(s).await;
    let limit = || Some(tourbillon::model::Limit { key: "digest".to_owned(), max: 1 });
    for _ in 0..2 {
        let mut wish = trigger(s, &name);
        wish.policy.limit = limit();
        s.call(wish).await;
    }
    s.claim_one(&name).await;
    assert!(s.nothing_to_claim(&name).await);
}
