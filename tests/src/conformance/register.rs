//! Cases of register and of the cursors that an edited schedule moves.

use tourbillon::{
    model::{SkipReason, SkippedSlots},
    store::{
        Cursor, JobCursors, ListSkipped, PlanEntry, PlanOutcome, ReadCursors, Register, RegisterOutcome, Registration,
    },
};

use super::subject::{Subject, hash, job, runner, scope};

super::cases! {
    first_registration_is_new,
    same_registration_is_unchanged,
    another_spec_with_the_same_slots_is_a_policy_change,
    policy_change_moves_no_cursor,
    edited_schedule_moves_every_cursor_to_now,
    edited_schedule_records_what_was_not_planned,
    edit_of_a_fully_planned_schedule_records_nothing,
    edit_after_a_backward_step_moves_the_cursor_back,
    policy_change_keeps_the_instant_of_the_last_edit,
    return_to_an_earlier_schedule_is_another_edit,
    older_incarnation_stops_planning_after_a_registration,
    latest_registration_wins_whoever_made_it,
    jobs_of_one_batch_have_their_own_outcomes_in_order,
    registration_of_no_jobs_is_accepted,
    cursors_of_unknown_jobs_are_empty,
    cursors_come_by_job_as_asked_and_by_scope_in_order,
}

async fn cursors(s: &Subject, name: &str) -> JobCursors {
    s.call(ReadCursors { jobs: vec![job(name)] }).await.jobs.remove(0)
}

async fn first_registration_is_new(s: &Subject) {
    assert_eq!(s.register(&job("digest")).await, RegisterOutcome::New);
    let read = cursors(s, "digest").await;
    assert_eq!((read.spec_hash, read.edited_at, read.cursors.len()), (Some(hash("spec-1")), None, 0));
}

async fn same_registration_is_unchanged(s: &Subject) {
    s.register(&job("digest")).await;
    s.pass(1);
    assert_eq!(s.register(&job("digest")).await, RegisterOutcome::Unchanged);
}

/// G6.
async fn another_spec_with_the_same_slots_is_a_policy_change(s: &Subject) {
    let name = job("digest");
    s.register_as(&name, "a", "grid").await;
    assert_eq!(s.register_as(&name, "b", "grid").await, RegisterOutcome::PolicyChanged);
    assert_eq!(s.register_as(&name, "b", "grid").await, RegisterOutcome::Unchanged);
    assert_eq!(cursors(s, "digest").await.spec_hash, Some(hash("b")));
}

/// G6.
async fn policy_change_moves_no_cursor(s: &Subject) {
    let name = job("digest");
    s.register_as(&name, "spec-1", "grid").await;
    let at = s.after(-60_000);
    s.plan(s.entry(&name, None, at, Vec::new())).await;
    s.register_as(&name, "b", "grid").await;
    let read = cursors(s, "digest").await;
    assert_eq!((read.cursors[0].at, read.edited_at), (at, None));
    assert_eq!(s.call(ListSkipped { job: None, offset: 0, limit: 10 }).await.entries.len(), 0);
}

/// G6: no slot at or before the edit is made.
async fn edited_schedule_moves_every_cursor_to_now(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    for tenant in ["b", "a"] {
        let entry = s.entry(&name, None, s.after(-60_000), Vec::new());
        s.plan(PlanEntry { scope: scope(tenant), ..entry }).await;
    }
    s.pass(5_000);
    assert_eq!(s.register_as(&name, "spec-2", "other grid").await, RegisterOutcome::ScheduleChanged);
    let read = cursors(s, "digest").await;
    let cursor = |tenant| Cursor {
        scope: scope(tenant),
        at: s.now(),
        high_water: s.now(),
        newest_slot: None,
        schedule_hash: None,
        edited_at: None,
    };
    assert_eq!((read.cursors, read.edited_at), (vec![cursor("a"), cursor("b")], Some(s.now())));
}

/// G5: every slot is executed or recorded as skipped, with the reason.
async fn edited_schedule_records_what_was_not_planned(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    let at = s.after(-60_000);
    s.plan(s.entry(&name, None, at, Vec::new())).await;
    s.register_as(&name, "spec-2", "other grid").await;
    let ledger = s.call(ListSkipped { job: None, offset: 0, limit: 10 }).await.entries;
    let reason = SkipReason::ScheduleChanged;
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].slots, SkippedSlots { after: at, through: s.now(), count: None, reason });
    assert_eq!((&ledger[0].job, ledger[0].recorded_at), (&name, s.now()));
}

async fn edit_of_a_fully_planned_schedule_records_nothing(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    s.plan(s.entry(&name, None, s.now(), Vec::new())).await;
    s.register_as(&name, "spec-2", "other grid").await;
    assert_eq!(s.call(ListSkipped { job: None, offset: 0, limit: 10 }).await.entries, []);
}

/// G6: `high_water` stays, so that slots up to there are made only if they do not exist.
async fn edit_after_a_backward_step_moves_the_cursor_back(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    let high_water = s.now();
    s.plan(s.entry(&name, None, high_water, Vec::new())).await;
    s.pass(-60_000);
    s.register_as(&name, "spec-2", "other grid").await;
    let read = cursors(s, "digest").await;
    assert_eq!((read.cursors[0].at, read.cursors[0].high_water), (s.now(), high_water));
    assert_eq!(s.call(ListSkipped { job: None, offset: 0, limit: 10 }).await.entries, []);
}

async fn policy_change_keeps_the_instant_of_the_last_edit(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    s.register_as(&name, "spec-2", "other grid").await;
    let edited_at = Some(s.now());
    s.pass(1_000);
    s.register_as(&name, "spec-3", "other grid").await;
    assert_eq!(cursors(s, "digest").await.edited_at, edited_at);
}

async fn return_to_an_earlier_schedule_is_another_edit(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    s.register_as(&name, "spec-2", "other grid").await;
    s.pass(1_000);
    assert_eq!(s.register(&name).await, RegisterOutcome::ScheduleChanged);
    assert_eq!(cursors(s, "digest").await.edited_at, Some(s.now()));
}

/// G6: in a rolling deploy older incarnations stop planning.
async fn older_incarnation_stops_planning_after_a_registration(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    s.register_as(&name, "spec-2", "spec-1").await;
    let entry = s.entry(&name, None, s.now(), vec![s.row()]);
    assert_eq!(s.plan(entry).await, PlanOutcome::SpecSuperseded);
    assert!(s.nothing_to_claim(&name).await);
}

/// G6.
async fn latest_registration_wins_whoever_made_it(s: &Subject) {
    let name = job("digest");
    s.register_as(&name, "spec-2", "spec-2").await;
    assert_eq!(s.register(&name).await, RegisterOutcome::ScheduleChanged);
    s.pass(1);
    let entry = s.entry(&name, None, s.now(), Vec::new());
    assert_eq!(s.plan(entry).await, PlanOutcome::Made(Vec::new()));
}

async fn jobs_of_one_batch_have_their_own_outcomes_in_order(s: &Subject) {
    s.register(&job("same")).await;
    s.register(&job("policy")).await;
    s.register(&job("schedule")).await;
    let one = |name, spec, schedule| Registration {
        job: job(name),
        spec_hash: hash(spec),
        schedule_hash: hash(schedule),
        rules: None,
    };
    let jobs = vec![
        one("schedule", "spec-2", "spec-2"),
        one("first", "spec-1", "spec-1"),
        one("policy", "spec-2", "spec-1"),
        one("same", "spec-1", "spec-1"),
    ];
    let outcomes = s.call(Register { runner: runner(), jobs }).await.outcomes;
    use RegisterOutcome::{New, PolicyChanged, ScheduleChanged, Unchanged};
    assert_eq!(outcomes, [ScheduleChanged, New, PolicyChanged, Unchanged]);
}

async fn registration_of_no_jobs_is_accepted(s: &Subject) {
    assert!(s.call(Register { runner: runner(), jobs: Vec::new() }).await.outcomes.is_empty());
}

async fn cursors_of_unknown_jobs_are_empty(s: &Subject) {
    let read = cursors(s, "nobody").await;
    assert_eq!((read.job, read.spec_hash, read.edited_at, read.cursors.len()), (job("nobody"), None, None, 0));
}

/// P-13.
// P-13
async fn cursors_come_by_job_as_asked_and_by_scope_in_order(s: &Subject) {
    for name in ["b", "a"] {
        s.register(&job(name)).await;
        for tenant in ["ä", "z", "Z", "10", "9"] {
            let entry = s.entry(&job(name), None, s.after(-1), Vec::new());
            s.plan(PlanEntry { scope: scope(tenant), ..entry }).await;
        }
        s.plan(s.entry(&job(name), None, s.now(), Vec::new())).await;
    }
    let read = s.call(ReadCursors { jobs: vec![job("b"), job("none"), job("a")] }).await;
    let names: Vec<_> = read.jobs.iter().map(|job| job.job.as_str().to_owned()).collect();
    assert_eq!((names, read.now), (vec!["b".to_owned(), "none".to_owned(), "a".to_owned()], s.now()));
    let scopes: Vec<_> = read.jobs[0].cursors.iter().map(|cursor| cursor.scope.id()).collect();
    assert_eq!(scopes, ["global", "10", "9", "Z", "z", "ä"], "kind first, then id, by bytes");
}
