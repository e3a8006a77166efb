//! Cases of plan: one compare-and-set per entry, with its slots in the same transaction.

use tourbillon::{
    model::{ExecutionId, JobName, NewExecution, Scope, SkipReason, SkippedSlots, State, Timestamp},
    store::{ListSkipped, Plan, PlanEntry, PlanOutcome, ReadCursors, RegisterOutcome},
};

use super::subject::{Subject, hash, job, scope, succeeded};

super::cases! {
    plan_makes_its_slots_and_moves_the_cursor,
    new_slot_is_stored_as_it_was_sent,
    cursor_that_moved_makes_nothing,
    first_plan_of_a_planned_scope_makes_nothing,
    plan_from_a_cursor_that_does_not_exist_makes_nothing,
    two_planners_make_a_slot_once,
    plan_of_an_unknown_job_is_superseded,
    slot_is_made_from_its_due_time_on,
    delay_moves_when_a_slot_may_be_made,
    plan_that_stands_still_is_refused,
    plan_backwards_is_refused,
    scopes_have_cursors_of_their_own,
    jobs_have_cursors_of_their_own,
    entries_of_one_batch_have_their_own_outcomes_in_order,
    skipped_slots_are_recorded_with_the_move,
    refused_entry_records_nothing,
    cursor_moves_without_slots,
    cursor_in_a_withdrawn_future_follows_the_clock,
    cursor_that_is_due_does_not_go_back,
    slot_that_exists_is_not_made_again_after_a_backward_step,
    finished_slot_is_not_made_again_after_a_backward_step,
    missing_slot_is_made_after_a_backward_step,
    slot_of_another_scope_is_no_obstacle_after_a_backward_step,
    high_water_survives_a_backward_step,
    edited_schedule_makes_no_slot_from_before_the_edit,
    new_scope_of_an_edited_schedule_starts_at_the_edit,
    edit_in_a_withdrawn_future_holds_nobody_up,
}

fn slot(s: &Subject, at: Timestamp) -> NewExecution {
    s.row_with(|row| (row.slot_at, row.due_at) = (Some(at), at))
}

async fn high_water(s: &Subject, name: &JobName) -> Timestamp {
    s.call(ReadCursors { jobs: vec![name.clone()] }).await.jobs[0].cursors[0].high_water
}

/// Plans one slot at `at` for the global scope and returns its id with the outcome.
async fn plan_slot(s: &Subject, name: &JobName, at: Timestamp) -> (ExecutionId, PlanOutcome) {
    let row = slot(s, at);
    let id = row.id;
    let cursor = s.cursor(name).await;
    (id, s.plan(s.entry(name, cursor, at, vec![row])).await)
}

/// G6.
async fn plan_makes_its_slots_and_moves_the_cursor(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let rows: Vec<_> = [-3_000, -2_000, -1_000].into_iter().map(|ms| slot(s, s.after(ms))).collect();
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let planned = s.call(Plan { entries: vec![s.entry(&name, None, s.after(-1_000), rows)] }).await;
    assert_eq!((planned.now, planned.outcomes), (s.now(), vec![PlanOutcome::Made(ids.clone())]));
    assert_eq!(s.cursor(&name).await, Some(s.after(-1_000)));
    assert_eq!(high_water(s, &name).await, s.after(-1_000));
    assert_eq!(s.claim(&name).await.executions.into_iter().map(|row| row.id).collect::<Vec<_>>(), ids);
}

/// P-11.
// P-11
async fn new_slot_is_stored_as_it_was_sent(s: &Subject) {
    let name = job("rollup");
    let new = s.row_with(|row| {
        row.slot_at = Some(s.after(-5));
        row.due_at = s.after(7);
        row.expires_at = Some(s.after(99));
        row.priority = -3;
        row.payload = tourbillon::model::Json::new(&serde_json::json!({"k": [1, 2]})).ok();
        row.policy.limit = Some(tourbillon::model::Limit { key: "disk".to_owned(), max: 2 });
    });
    s.add(&name, vec![new.clone()]).await;
    let row = s.get(new.id).await;
    assert_eq!((row.job, row.scope, row.generation.0), (name, Scope::global(), 1));
    assert_eq!((row.slot_at, row.due_at, row.expires_at), (new.slot_at, new.due_at, new.expires_at));
    assert_eq!((row.priority, row.payload, row.unique_key), (new.priority, new.payload, None));
    assert_eq!((row.policy, row.state, row.claimable_at), (new.policy, State::Scheduled, Some(new.due_at)));
    assert_eq!((row.attempt, row.fence.0, row.lease), (0, 0, None));
    assert_eq!((row.created_at, row.updated_at), (s.now(), s.now()));
}

/// G6: one slot, one execution.
async fn cursor_that_moved_makes_nothing(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    s.plan(s.entry(&name, None, s.after(-2_000), Vec::new())).await;
    let stale = s.entry(&name, Some(s.after(-3_000)), s.now(), vec![s.row()]);
    assert_eq!(s.plan(stale).await, PlanOutcome::CursorMoved(Some(s.after(-2_000))));
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.cursor(&name).await, Some(s.after(-2_000)));
}

async fn first_plan_of_a_planned_scope_makes_nothing(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    s.plan(s.entry(&name, None, s.after(-2_000), Vec::new())).await;
    let late = s.entry(&name, None, s.now(), vec![s.row()]);
    assert_eq!(s.plan(late).await, PlanOutcome::CursorMoved(Some(s.after(-2_000))));
}

async fn plan_from_a_cursor_that_does_not_exist_makes_nothing(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let entry = s.entry(&name, Some(s.after(-1_000)), s.now(), vec![s.row()]);
    assert_eq!(s.plan(entry).await, PlanOutcome::CursorMoved(None));
    assert_eq!(s.cursor(&name).await, None);
}

/// G6.
async fn two_planners_make_a_slot_once(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let (a, b) = (
        s.entry(&name, None, s.now(), vec![slot(s, s.now())]),
        s.entry(&name, None, s.now(), vec![slot(s, s.now())]),
    );
    assert!(matches!(s.plan(a).await, PlanOutcome::Made(ids) if ids.len() == 1));
    assert_eq!(s.plan(b).await, PlanOutcome::CursorMoved(Some(s.now())));
    assert_eq!(s.claim(&name).await.executions.len(), 1);
}

async fn plan_of_an_unknown_job_is_superseded(s: &Subject) {
    let entry = s.entry(&job("nobody"), None, s.now(), vec![s.row()]);
    assert_eq!(s.plan(entry).await, PlanOutcome::SpecSuperseded);
    assert!(s.nothing_to_claim(&job("nobody")).await);
}

/// P-3, P-12: the store rechecks that the slots are due.
// P-3, P-12
async fn slot_is_made_from_its_due_time_on(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let at = s.now().offset_micros(1);
    assert_eq!(plan_slot(s, &name, at).await.1, PlanOutcome::NotDue);
    assert_eq!(s.cursor(&name).await, None);
    s.pass_micros(1);
    assert!(matches!(plan_slot(s, &name, at).await.1, PlanOutcome::Made(_)));
}

/// P-1, P-3.
// P-1, P-3
async fn delay_moves_when_a_slot_may_be_made(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let to = s.now();
    let delayed = |s: &Subject| PlanEntry { delay_ms: 300_000, ..s.entry(&name, None, to, Vec::new()) };
    s.pass_micros(299_999_999);
    assert_eq!(s.plan(delayed(s)).await, PlanOutcome::NotDue);
    s.pass_micros(1);
    assert_eq!(s.plan(delayed(s)).await, PlanOutcome::Made(Vec::new()));
}

async fn plan_that_stands_still_is_refused(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    plan_slot(s, &name, s.now()).await;
    assert_eq!(plan_slot(s, &name, s.now()).await.1, PlanOutcome::NotDue);
}

/// G6.
async fn plan_backwards_is_refused(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    plan_slot(s, &name, s.now()).await;
    assert_eq!(plan_slot(s, &name, s.after(-1)).await.1, PlanOutcome::NotDue);
    assert_eq!(s.cursor(&name).await, Some(s.now()));
}

/// P-13.
// P-13
async fn scopes_have_cursors_of_their_own(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    plan_slot(s, &name, s.now()).await;
    let entry = PlanEntry { scope: scope("a"), ..s.entry(&name, None, s.after(-1), vec![slot(s, s.after(-1))]) };
    assert!(matches!(s.plan(entry).await, PlanOutcome::Made(ids) if ids.len() == 1));
    let other_kind = Scope::new("shard", "a").expect("valid");
    let entry = PlanEntry { scope: other_kind, ..s.entry(&name, None, s.after(-1), Vec::new()) };
    assert_eq!(s.plan(entry).await, PlanOutcome::Made(Vec::new()));
}

async fn jobs_have_cursors_of_their_own(s: &Subject) {
    for name in ["rollup", "rollup2"] {
        s.register(&job(name)).await;
        assert!(matches!(plan_slot(s, &job(name), s.now()).await.1, PlanOutcome::Made(_)));
    }
}

/// P-13: an error in one stops no other.
// P-13
async fn entries_of_one_batch_have_their_own_outcomes_in_order(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    s.plan(PlanEntry { scope: scope("moved"), ..s.entry(&name, None, s.after(-9), Vec::new()) }).await;
    let entry = |id: &str, to, rows| PlanEntry { scope: scope(id), ..s.entry(&name, None, to, rows) };
    let (first, second) = (s.row(), s.row());
    let ids = [first.id, second.id];
    let entries = vec![
        entry("early", s.after(1), vec![s.row()]),
        entry("good", s.now(), vec![first]),
        entry("moved", s.now(), vec![s.row()]),
        PlanEntry { spec_hash: hash("old"), ..entry("old", s.now(), vec![s.row()]) },
        entry("fine", s.now(), vec![second]),
    ];
    let outcomes = s.call(Plan { entries }).await.outcomes;
    let expected = [
        PlanOutcome::NotDue,
        PlanOutcome::Made(vec![ids[0]]),
        PlanOutcome::CursorMoved(Some(s.after(-9))),
        PlanOutcome::SpecSuperseded,
        PlanOutcome::Made(vec![ids[1]]),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(s.claim(&name).await.executions.len(), 2);
}

/// P-4, G5.
// P-4
async fn skipped_slots_are_recorded_with_the_move(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let skipped = SkipReason::ALL.map(|reason| SkippedSlots {
        after: s.after(-9_000),
        through: s.after(-1_000),
        count: (reason != SkipReason::ScheduleChanged).then_some(8),
        reason,
    });
    s.plan(PlanEntry { skipped: skipped.to_vec(), ..s.entry(&name, None, s.now(), Vec::new()) }).await;
    let ledger = s.call(ListSkipped { job: Some(name.clone()), offset: 0, limit: 10 }).await.entries;
    assert_eq!(ledger.len(), SkipReason::ALL.len());
    for slots in skipped {
        let entry = ledger.iter().find(|entry| entry.slots == slots).expect("recorded");
        assert_eq!((&entry.job, &entry.scope, entry.recorded_at), (&name, &Scope::global(), s.now()));
    }
}

async fn refused_entry_records_nothing(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let slots = SkippedSlots { after: s.after(-2), through: s.after(-1), count: Some(1), reason: SkipReason::Late };
    let refused = PlanEntry { skipped: vec![slots], ..s.entry(&name, None, s.after(1), Vec::new()) };
    assert_eq!(s.plan(refused).await, PlanOutcome::NotDue);
    assert_eq!(s.call(ListSkipped { job: None, offset: 0, limit: 10 }).await.entries, []);
}

async fn cursor_moves_without_slots(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    assert_eq!(s.plan(s.entry(&name, None, s.after(-1), Vec::new())).await, PlanOutcome::Made(Vec::new()));
    assert_eq!(s.cursor(&name).await, Some(s.after(-1)));
}

/// G6: or the schedule would be silent until the withdrawn future comes again.
async fn cursor_in_a_withdrawn_future_follows_the_clock(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    plan_slot(s, &name, s.now()).await;
    let future = s.now();
    s.pass(-3_600_000);
    let back = s.entry(&name, Some(future), s.now(), Vec::new());
    assert_eq!(s.plan(back).await, PlanOutcome::Made(Vec::new()));
    assert_eq!(s.cursor(&name).await, Some(s.now()));
}

/// G6: going back is allowed only from a future that the database clock has withdrawn.
async fn cursor_that_is_due_does_not_go_back(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    plan_slot(s, &name, s.now()).await;
    let cursor = s.now();
    s.pass(60_000);
    s.pass(-60_000);
    let back = s.entry(&name, Some(cursor), s.after(-1_000), Vec::new());
    assert_eq!(s.plan(back).await, PlanOutcome::NotDue);
}

/// Plans slots one, two, three seconds ago, steps the clock back four seconds, and follows it with the cursor.
async fn planned_then_stepped_back(s: &Subject, name: &JobName) -> [(ExecutionId, Timestamp); 3] {
    s.register(name).await;
    let mut made = Vec::new();
    for ms in [-3_000, -2_000, -1_000] {
        let (id, outcome) = plan_slot(s, name, s.after(ms)).await;
        assert_eq!(outcome, PlanOutcome::Made(vec![id]));
        made.push((id, s.after(ms)));
    }
    let cursor = s.cursor(name).await;
    s.pass(-4_000);
    assert_eq!(s.plan(s.entry(name, cursor, s.now(), Vec::new())).await, PlanOutcome::Made(Vec::new()));
    made.try_into().expect("three")
}

/// G6: no clock change makes a slot twice.
async fn slot_that_exists_is_not_made_again_after_a_backward_step(s: &Subject) {
    let name = job("rollup");
    let made = planned_then_stepped_back(s, &name).await;
    s.pass(4_000);
    for (_, at) in made {
        assert_eq!(plan_slot(s, &name, at).await.1, PlanOutcome::Made(Vec::new()), "{at}");
    }
    assert_eq!(s.claim(&name).await.executions.len(), 3);
}

/// G6.
async fn finished_slot_is_not_made_again_after_a_backward_step(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    let (id, _) = plan_slot(s, &name, s.now()).await;
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(s.start(lease).await, Ok(1));
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
    let at = s.now();
    s.pass(-5_000);
    s.plan(s.entry(&name, Some(at), s.now(), Vec::new())).await;
    s.pass(5_000);
    assert_eq!(plan_slot(s, &name, at).await.1, PlanOutcome::Made(Vec::new()));
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.get(id).await.state, State::Succeeded);
}

/// G5, G6.
async fn missing_slot_is_made_after_a_backward_step(s: &Subject) {
    let name = job("rollup");
    let made = planned_then_stepped_back(s, &name).await;
    s.pass(4_000);
    let between = made[0].1.offset_micros(500_000);
    let (id, outcome) = plan_slot(s, &name, between).await;
    assert_eq!(outcome, PlanOutcome::Made(vec![id]));
    let (second, third) = (made[1].1, made[2].1);
    let slots = [second, second.offset_micros(1), second.offset_micros(2), third].map(|at| slot(s, at)).to_vec();
    let new = vec![slots[1].id, slots[2].id];
    assert_eq!(s.plan(s.entry(&name, Some(between), third, slots)).await, PlanOutcome::Made(new));
}

/// P-13, G6.
// P-13
async fn slot_of_another_scope_is_no_obstacle_after_a_backward_step(s: &Subject) {
    let name = job("rollup");
    let at = s.now();
    s.register(&name).await;
    plan_slot(s, &name, at).await;
    s.plan(PlanEntry { scope: scope("a"), ..s.entry(&name, None, at, Vec::new()) }).await;
    s.pass(-5_000);
    s.plan(PlanEntry { scope: scope("a"), ..s.entry(&name, Some(at), s.now(), Vec::new()) }).await;
    let back = Some(s.now());
    s.pass(5_000);
    let row = slot(s, at);
    let id = row.id;
    let entry = PlanEntry { scope: scope("a"), ..s.entry(&name, back, at, vec![row]) };
    assert_eq!(s.plan(entry).await, PlanOutcome::Made(vec![id]));
}

/// G6.
async fn high_water_survives_a_backward_step(s: &Subject) {
    let name = job("rollup");
    let made = planned_then_stepped_back(s, &name).await;
    assert_eq!(high_water(s, &name).await, made[2].1);
    s.pass(10_000);
    plan_slot(s, &name, s.now()).await;
    assert_eq!(high_water(s, &name).await, s.now());
}

/// G6: an edit moves the cursor, so that a planner which saw the old one loses.
async fn edited_schedule_makes_no_slot_from_before_the_edit(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    plan_slot(s, &name, s.after(-9_000)).await;
    let seen = s.cursor(&name).await;
    assert_eq!(s.register_as(&name, "spec-2", "spec-2").await, RegisterOutcome::ScheduleChanged);
    let entry = PlanEntry { spec_hash: hash("spec-2"), ..s.entry(&name, seen, s.now(), vec![s.row()]) };
    assert_eq!(s.plan(entry).await, PlanOutcome::CursorMoved(Some(s.now())));
    let entry = PlanEntry { spec_hash: hash("spec-2"), ..s.entry(&name, Some(s.now()), s.now(), vec![s.row()]) };
    assert_eq!(s.plan(entry).await, PlanOutcome::NotDue);
}

fn after_edit(s: &Subject, name: &JobName, to: Timestamp) -> PlanEntry {
    let entry = s.entry(name, None, to, Vec::new());
    PlanEntry { spec_hash: hash("spec-2"), scope: scope("new"), ..entry }
}

/// G6: the edited schedule has no slots before the edit.
async fn new_scope_of_an_edited_schedule_starts_at_the_edit(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    s.register_as(&name, "spec-2", "spec-2").await;
    let before = after_edit(s, &name, s.now().offset_micros(-1));
    assert_eq!(s.plan(before).await, PlanOutcome::NotDue);
    assert_eq!(s.plan(after_edit(s, &name, s.now())).await, PlanOutcome::Made(Vec::new()));
}

/// G6.
async fn edit_in_a_withdrawn_future_holds_nobody_up(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    s.register_as(&name, "spec-2", "spec-2").await;
    s.pass(-60_000);
    assert_eq!(s.plan(after_edit(s, &name, s.now())).await, PlanOutcome::Made(Vec::new()));
}
