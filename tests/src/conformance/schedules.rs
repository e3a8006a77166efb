//! Cases of scopes that have schedules to themselves: they come, change and go by plan entries, one scope at a time.

use tourbillon::{
    model::{JobName, Scope, SkipReason, SkippedSlots, Timestamp},
    store::{Cursor, ListSkipped, PlanEntry, PlanOutcome, ReadCursors, RegisterOutcome, SkippedEntry},
};

use super::subject::{Subject, hash, job, scope};

super::cases! {
    scope_with_a_schedule_of_its_own_begins_when_it_is_first_seen,
    scope_with_a_schedule_of_its_own_is_planned_like_any_other,
    another_schedule_is_an_edit_of_that_scope_alone,
    edit_of_a_scope_makes_nothing_of_its_entry,
    edited_scope_makes_no_slot_from_before_the_edit,
    planner_that_saw_the_cursor_before_an_edit_makes_nothing,
    two_planners_edit_a_scope_once,
    edit_of_a_fully_planned_scope_records_nothing,
    schedule_that_goes_records_what_it_had_not_planned_and_comes_back_as_new,
    edit_of_a_scope_in_a_withdrawn_future_holds_nobody_up,
    edit_after_a_backward_step_keeps_the_high_water_mark,
    registered_edit_keeps_the_schedules_of_scopes,
    superseded_spec_edits_no_scope,
}

/// An entry for tenant `tenant` with a schedule of its own.
fn entry(
    s: &Subject,
    name: &JobName,
    tenant: &str,
    schedule: &str,
    expect: Option<Timestamp>,
    to: Timestamp,
) -> PlanEntry {
    let entry = s.entry(name, expect, to, Vec::new());
    PlanEntry { scope: scope(tenant), schedule_hash: Some(hash(schedule)), ..entry }
}

async fn cursors(s: &Subject, name: &JobName) -> Vec<Cursor> {
    s.call(ReadCursors { jobs: vec![name.clone()] }).await.jobs.remove(0).cursors
}

async fn ledger(s: &Subject) -> Vec<SkippedEntry> {
    s.call(ListSkipped { job: None, offset: 0, limit: 10 }).await.entries
}

/// Registers the job, lets tenant `a` begin with schedule `daily`, and passes ten seconds.
async fn begun(s: &Subject) -> (JobName, Timestamp) {
    let (name, began) = (job("reminder"), s.now());
    s.register(&name).await;
    assert_eq!(s.plan(entry(s, &name, "a", "daily", None, began)).await, PlanOutcome::ScheduleChanged);
    s.pass(10_000);
    (name, began)
}

/// P-14, G6: a trigger that is added has no slot from before.
// P-14
async fn scope_with_a_schedule_of_its_own_begins_when_it_is_first_seen(s: &Subject) {
    let name = job("reminder");
    s.register(&name).await;
    let add = PlanEntry { slots: vec![s.row()], ..entry(s, &name, "a", "daily", None, s.after(-60_000)) };
    assert_eq!(s.plan(add).await, PlanOutcome::ScheduleChanged);
    assert!(s.nothing_to_claim(&name).await);
    let begun = Cursor {
        scope: scope("a"),
        at: s.now(),
        high_water: s.now(),
        newest_slot: None,
        schedule_hash: Some(hash("daily")),
        edited_at: Some(s.now()),
    };
    assert_eq!((cursors(s, &name).await, ledger(s).await), (vec![begun], Vec::new()));
}

/// P-14.
// P-14
async fn scope_with_a_schedule_of_its_own_is_planned_like_any_other(s: &Subject) {
    let (name, began) = begun(s).await;
    let slot = s.row_with(|row| row.slot_at = Some(s.now()));
    let id = slot.id;
    let plan = PlanEntry { slots: vec![slot], ..entry(s, &name, "a", "daily", Some(began), s.now()) };
    assert_eq!(s.plan(plan).await, PlanOutcome::Made(vec![id]));
    let planned = Cursor {
        scope: scope("a"),
        at: s.now(),
        high_water: s.now(),
        newest_slot: Some(s.now()),
        schedule_hash: Some(hash("daily")),
        edited_at: Some(began),
    };
    assert_eq!(cursors(s, &name).await, [planned]);
}

/// P-14, G5, G6.
// P-14
async fn another_schedule_is_an_edit_of_that_scope_alone(s: &Subject) {
    let (name, began) = begun(s).await;
    s.plan(entry(s, &name, "b", "daily", None, s.now())).await;
    s.plan(s.entry(&name, None, s.now(), Vec::new())).await;
    let others = |cursors: Vec<Cursor>| -> Vec<_> {
        cursors.into_iter().filter(|cursor| cursor.scope != scope("a")).collect()
    };
    let before = others(cursors(s, &name).await);
    s.pass(5_000);
    let edit = entry(s, &name, "a", "weekly", Some(began), s.now());
    assert_eq!(s.plan(edit).await, PlanOutcome::ScheduleChanged);
    assert_eq!(others(cursors(s, &name).await), before);
    let reason = SkipReason::ScheduleChanged;
    let slots = SkippedSlots { after: began, through: s.now(), count: None, reason };
    let expected = SkippedEntry { job: name, scope: scope("a"), slots, recorded_at: s.now() };
    assert_eq!(ledger(s).await, [expected]);
}

/// G6.
async fn edit_of_a_scope_makes_nothing_of_its_entry(s: &Subject) {
    let (name, began) = begun(s).await;
    let skipped = SkippedSlots { after: began, through: s.now(), count: Some(9), reason: SkipReason::Late };
    let edit = entry(s, &name, "a", "weekly", Some(began), s.now());
    let edit = PlanEntry { slots: vec![s.row()], skipped: vec![skipped], ..edit };
    assert_eq!(s.plan(edit).await, PlanOutcome::ScheduleChanged);
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(ledger(s).await.len(), 1, "what was dropped, not what the entry said");
}

/// B11, G6.
async fn edited_scope_makes_no_slot_from_before_the_edit(s: &Subject) {
    let (name, began) = begun(s).await;
    s.plan(entry(s, &name, "a", "weekly", Some(began), s.now())).await;
    let edited_at = s.now();
    s.pass(1_000);
    let retroactive = entry(s, &name, "a", "weekly", Some(edited_at), edited_at.offset_micros(-1));
    assert_eq!(s.plan(retroactive).await, PlanOutcome::NotDue);
    let next = entry(s, &name, "a", "weekly", Some(edited_at), s.now());
    assert_eq!(s.plan(next).await, PlanOutcome::Made(Vec::new()));
}

/// G6: schedule and cursor are compared in one.
async fn planner_that_saw_the_cursor_before_an_edit_makes_nothing(s: &Subject) {
    let (name, began) = begun(s).await;
    s.plan(entry(s, &name, "a", "weekly", Some(began), s.now())).await;
    let late = PlanEntry { slots: vec![s.row()], ..entry(s, &name, "a", "daily", Some(began), s.now()) };
    assert_eq!(s.plan(late).await, PlanOutcome::CursorMoved(Some(s.now())));
    assert!(s.nothing_to_claim(&name).await);
    let job_wide = PlanEntry { schedule_hash: None, ..entry(s, &name, "a", "", Some(s.now()), s.now()) };
    assert_eq!(s.plan(job_wide).await, PlanOutcome::ScheduleChanged, "the schedule of the job is another one too");
}

/// G6.
async fn two_planners_edit_a_scope_once(s: &Subject) {
    let (name, began) = begun(s).await;
    let edit = || entry(s, &name, "a", "weekly", Some(began), s.now());
    assert_eq!(s.plan(edit()).await, PlanOutcome::ScheduleChanged);
    assert_eq!(s.plan(edit()).await, PlanOutcome::CursorMoved(Some(s.now())));
    assert_eq!(ledger(s).await.len(), 1);
}

/// G5.
async fn edit_of_a_fully_planned_scope_records_nothing(s: &Subject) {
    let (name, began) = begun(s).await;
    s.plan(entry(s, &name, "a", "daily", Some(began), s.now())).await;
    s.plan(entry(s, &name, "a", "weekly", Some(s.now()), s.now())).await;
    assert_eq!(ledger(s).await, []);
}

/// P-14, G5, G6: a trigger that was removed and is added again has no slot from in between.
// P-14
async fn schedule_that_goes_records_what_it_had_not_planned_and_comes_back_as_new(s: &Subject) {
    let (name, began) = begun(s).await;
    let removal = PlanEntry { schedule_hash: None, ..entry(s, &name, "a", "", Some(began), s.now()) };
    assert_eq!(s.plan(removal).await, PlanOutcome::ScheduleChanged);
    assert_eq!((ledger(s).await.len(), cursors(s, &name).await[0].schedule_hash.clone()), (1, None));
    let removed_at = s.now();
    s.pass(60_000);
    let again = PlanEntry { slots: vec![s.row()], ..entry(s, &name, "a", "daily", Some(removed_at), s.now()) };
    assert_eq!(s.plan(again).await, PlanOutcome::ScheduleChanged);
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.cursor_of(&name, &scope("a")).await, Some(s.now()));
}

/// G6.
async fn edit_of_a_scope_in_a_withdrawn_future_holds_nobody_up(s: &Subject) {
    let (name, began) = begun(s).await;
    s.plan(entry(s, &name, "a", "weekly", Some(began), s.now())).await;
    let edited_at = s.now();
    s.pass(-60_000);
    let back = entry(s, &name, "a", "weekly", Some(edited_at), s.now());
    assert_eq!(s.plan(back).await, PlanOutcome::Made(Vec::new()));
}

/// G6: slots up to the mark are made only if they do not exist.
async fn edit_after_a_backward_step_keeps_the_high_water_mark(s: &Subject) {
    let (name, began) = begun(s).await;
    let high_water = s.now();
    let slot = s.row_with(|row| row.slot_at = Some(high_water));
    let plan = PlanEntry { slots: vec![slot], ..entry(s, &name, "a", "daily", Some(began), high_water) };
    s.plan(plan).await;
    s.pass(-5_000);
    s.plan(entry(s, &name, "a", "weekly", Some(high_water), s.now())).await;
    let cursor = cursors(s, &name).await.remove(0);
    assert_eq!((cursor.at, cursor.high_water, cursor.newest_slot), (s.now(), high_water, None));
    assert_eq!(ledger(s).await, []);
}

async fn registered_edit_keeps_the_schedules_of_scopes(s: &Subject) {
    let (name, began) = begun(s).await;
    assert_eq!(s.register_as(&name, "spec-2", "spec-2").await, RegisterOutcome::ScheduleChanged);
    let cursor = cursors(s, &name).await.remove(0);
    assert_eq!((cursor.at, cursor.schedule_hash, cursor.edited_at), (s.now(), Some(hash("daily")), Some(began)));
}

/// G6.
async fn superseded_spec_edits_no_scope(s: &Subject) {
    let (name, began) = begun(s).await;
    let edit = entry(s, &name, "a", "weekly", Some(began), s.now());
    let outcome =
        s.plan(PlanEntry { spec_hash: hash("old"), scope: Scope::global(), expect: None, ..edit.clone() }).await;
    assert_eq!(outcome, PlanOutcome::SpecSuperseded);
    assert_eq!(s.plan(PlanEntry { spec_hash: hash("old"), ..edit }).await, PlanOutcome::SpecSuperseded);
    assert_eq!((cursors(s, &name).await.len(), ledger(s).await.len()), (1, 0));
}
