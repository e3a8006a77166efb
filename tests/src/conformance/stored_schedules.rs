//! Cases of schedules that the database keeps: put, edited, removed at run time; in force at once, never backwards.

use tourbillon::{
    model::{JobName, Json, Scope, SkipReason, SkippedSlots, Timestamp},
    store::{
        Cursor, Expected, ListSchedules, ListSkipped, MAX_NOTE_BYTES, PauseJob, PlanEntry, PlanOutcome, Prune,
        PutOutcome, PutSchedule, ReadCursors, Register, RegisteredRules, Registration, RemoveOutcome, RemoveSchedule,
        ResumeJob, Revision, ScheduleData, ScheduleFilter, SkippedEntry, StoredSchedule,
    },
};

use super::subject::{SPEC, Subject, hash, job, operator, rules, runner, scope};

super::cases! {
    unknown_job_takes_no_schedule,
    job_with_schedules_of_its_program_takes_none_from_the_database,
    stored_schedule_begins_with_its_edit,
    put_schedule_is_read_with_the_cursors,
    edited_schedule_makes_no_slot_from_before_the_edit,
    planner_that_read_an_older_revision_makes_nothing,
    edit_records_what_the_old_schedule_had_not_planned,
    edit_of_one_scope_leaves_the_others_alone,
    same_schedule_by_another_hash_is_an_edit,
    edit_at_the_newest_slot_keeps_it,
    same_schedule_again_changes_nothing,
    edit_that_expects_another_revision_is_a_conflict,
    first_schedule_may_be_put_only_where_there_is_none,
    removed_schedule_makes_no_more_slots_and_what_waits_runs,
    removal_that_expects_another_revision_is_a_conflict,
    schedule_that_comes_back_continues_its_revisions,
    every_edit_is_listed_with_who_made_it_and_why,
    stored_schedules_are_paged,
    edit_during_a_pause_waits_for_the_resumption,
    registration_leaves_stored_schedules_in_force,
    edit_in_a_withdrawn_future_holds_no_schedule_up,
    repeated_edits_answer_as_the_first,
    note_that_is_too_long_is_refused,
    replaced_edits_are_pruned_and_the_newest_of_each_scope_stays,
    pruning_takes_the_edits_that_were_replaced_first,
}

/// A schedule of this name. What it says is nothing to a store.
pub(super) fn data(name: &str) -> ScheduleData {
    let json = Json::new(&serde_json::json!({ "schedule": name, "umlaut": "täglich" })).expect("short");
    ScheduleData { json, hash: hash(name) }
}

fn put(name: &JobName, of: &Scope, schedule: &str) -> PutSchedule {
    let (job, scope, expected) = (name.clone(), of.clone(), Expected::Anything);
    PutSchedule { job, scope, schedule: data(schedule), expected, note: None, actor: None }
}

fn removal(name: &JobName, of: &Scope) -> RemoveSchedule {
    RemoveSchedule { job: name.clone(), scope: of.clone(), expected: Expected::Anything, note: None, actor: None }
}

async fn edit(s: &Subject, name: &JobName, of: &Scope, schedule: &str) -> PutOutcome {
    s.call(put(name, of, schedule)).await.outcome
}

async fn remove(s: &Subject, name: &JobName, of: &Scope) -> RemoveOutcome {
    s.call(removal(name, of)).await.outcome
}

/// A job that has its schedules from the database.
async fn stored(s: &Subject) -> (JobName, Scope) {
    let name = job("export");
    let rules = Some(RegisteredRules { stored_schedules: true, ..rules() });
    let registration =
        Registration { job: name.clone(), spec_hash: hash(SPEC), schedule_hash: hash("stored"), rules };
    s.call(Register { runner: runner(), jobs: vec![registration] }).await;
    (name, scope("a"))
}

async fn cursor_row(s: &Subject, name: &JobName, of: &Scope) -> Cursor {
    let read = s.call(ReadCursors { jobs: vec![name.clone()] }).await.jobs.remove(0);
    read.cursors.into_iter().find(|cursor| cursor.scope == *of).expect("it has a cursor")
}

async fn in_force(s: &Subject, name: &JobName) -> Vec<StoredSchedule> {
    s.call(ReadCursors { jobs: vec![name.clone()] }).await.jobs.remove(0).schedules
}

async fn ledger(s: &Subject) -> Vec<SkippedEntry> {
    s.call(ListSkipped { job: None, offset: 0, limit: 10 }).await.entries
}

/// Plans one slot at `slot`, by a schedule, from where the cursor was seen.
async fn plan(
    s: &Subject,
    name: &JobName,
    of: &Scope,
    schedule: &str,
    (expect, slot): (Option<Timestamp>, Timestamp),
) -> PlanOutcome {
    let row = s.row_with(|row| row.slot_at = Some(slot));
    let entry = s.entry(name, expect, slot, vec![row]);
    s.plan(PlanEntry { scope: of.clone(), schedule_hash: Some(hash(schedule)), ..entry }).await
}

async fn unknown_job_takes_no_schedule(s: &Subject) {
    let (name, a) = (job("nobody"), scope("a"));
    assert_eq!(edit(s, &name, &a, "daily").await, PutOutcome::UnknownJob);
    assert_eq!(remove(s, &name, &a).await, RemoveOutcome::UnknownJob);
}

async fn job_with_schedules_of_its_program_takes_none_from_the_database(s: &Subject) {
    let (told, silent, a) = (job("told"), job("silent"), scope("a"));
    s.register(&silent).await;
    let rules = Some(RegisteredRules { stored_schedules: false, ..rules() });
    let registration = Registration { job: told.clone(), spec_hash: hash(SPEC), schedule_hash: hash("fixed"), rules };
    s.call(Register { runner: runner(), jobs: vec![registration] }).await;
    for name in [told, silent] {
        assert_eq!(edit(s, &name, &a, "daily").await, PutOutcome::NotStored);
        assert_eq!(remove(s, &name, &a).await, RemoveOutcome::NotThere);
        assert_eq!((in_force(s, &name).await, s.cursor_of(&name, &a).await), (Vec::new(), None));
    }
}

/// G6.
async fn stored_schedule_begins_with_its_edit(s: &Subject) {
    let (name, a) = stored(s).await;
    assert_eq!(edit(s, &name, &a, "daily").await, PutOutcome::Put(Revision::FIRST));
    let begun = Cursor {
        scope: a.clone(),
        at: s.now(),
        high_water: s.now(),
        newest_slot: None,
        schedule_hash: Some(hash("daily")),
        edited_at: Some(s.now()),
    };
    assert_eq!((cursor_row(s, &name, &a).await, ledger(s).await), (begun, Vec::new()));
    let (began, early) = (s.now(), s.after(-1));
    s.pass(10_000);
    assert_eq!(plan(s, &name, &a, "daily", (Some(began), early)).await, PlanOutcome::NotDue);
    assert!(
        matches!(plan(s, &name, &a, "daily", (Some(began), s.now())).await, PlanOutcome::Made(ids) if ids.len() == 1)
    );
}

async fn put_schedule_is_read_with_the_cursors(s: &Subject) {
    let (name, a) = stored(s).await;
    let b = scope("b");
    edit(s, &name, &b, "weekly").await;
    edit(s, &name, &a, "daily").await;
    s.pass(1_000);
    edit(s, &name, &a, "hourly").await;
    let read: Vec<_> =
        in_force(s, &name).await.into_iter().map(|stored| (stored.scope, stored.revision, stored.schedule)).collect();
    assert_eq!(read, [(a, Revision(2), Some(data("hourly"))), (b.clone(), Revision(1), Some(data("weekly")))]);
    remove(s, &name, &b).await;
    assert_eq!(in_force(s, &name).await.len(), 1);
    assert_eq!(in_force(s, &job("other")).await, []);
}

/// G6.
async fn edited_schedule_makes_no_slot_from_before_the_edit(s: &Subject) {
    let (name, a) = stored(s).await;
    edit(s, &name, &a, "daily").await;
    s.pass(60_000);
    edit(s, &name, &a, "hourly").await;
    let edited_at = s.now();
    s.pass(60_000);
    let early = edited_at.offset_micros(-1);
    assert_eq!(plan(s, &name, &a, "hourly", (Some(edited_at), early)).await, PlanOutcome::NotDue);
    assert!(s.nothing_to_claim(&name).await);
}

/// The edit takes hold for every planner with the verb itself.
async fn planner_that_read_an_older_revision_makes_nothing(s: &Subject) {
    let (name, a) = stored(s).await;
    edit(s, &name, &a, "daily").await;
    let seen = s.cursor_of(&name, &a).await;
    s.pass(60_000);
    edit(s, &name, &a, "hourly").await;
    let edited_at = s.now();
    assert_eq!(plan(s, &name, &a, "daily", (seen, edited_at)).await, PlanOutcome::CursorMoved(Some(edited_at)));
    s.pass(60_000);
    remove(s, &name, &a).await;
    let moved = PlanOutcome::CursorMoved(Some(s.now()));
    assert_eq!(plan(s, &name, &a, "hourly", (Some(edited_at), s.now())).await, moved);
    assert!(s.nothing_to_claim(&name).await);
}

/// G5.
async fn edit_records_what_the_old_schedule_had_not_planned(s: &Subject) {
    let (name, a) = stored(s).await;
    edit(s, &name, &a, "daily").await;
    let began = s.now();
    s.pass(60_000);
    edit(s, &name, &a, "hourly").await;
    let edited_at = s.now();
    let told = |after, through| SkippedEntry {
        job: name.clone(),
        scope: a.clone(),
        slots: SkippedSlots { after, through, count: None, reason: SkipReason::ScheduleChanged },
        recorded_at: through,
    };
    assert_eq!(ledger(s).await, [told(began, edited_at)]);
    s.pass(60_000);
    remove(s, &name, &a).await;
    assert_eq!(ledger(s).await, [told(began, edited_at), told(edited_at, s.now())]);
}

async fn edit_of_one_scope_leaves_the_others_alone(s: &Subject) {
    let (name, a) = stored(s).await;
    let b = scope("b");
    edit(s, &name, &a, "daily").await;
    edit(s, &name, &b, "daily").await;
    let before = cursor_row(s, &name, &b).await;
    s.pass(60_000);
    edit(s, &name, &a, "hourly").await;
    s.pass(60_000);
    remove(s, &name, &a).await;
    assert_eq!(cursor_row(s, &name, &b).await, before);
    let left: Vec<_> = in_force(s, &name).await.into_iter().map(|stored| stored.scope).collect();
    assert_eq!(left, [b]);
}

/// Whichever of the two differs.
async fn same_schedule_by_another_hash_is_an_edit(s: &Subject) {
    let (name, a) = stored(s).await;
    let ([daily, weekly], [old, new]) = (["daily", "weekly"].map(|name| data(name).json), ["1", "2"].map(hash));
    let edits = [(&daily, &old), (&daily, &new), (&weekly, &new)];
    for (revision, (json, hash)) in (1..).zip(edits) {
        let schedule = ScheduleData { json: json.clone(), hash: hash.clone() };
        let outcome = s.call(PutSchedule { schedule, ..put(&name, &a, "") }).await.outcome;
        assert_eq!(outcome, PutOutcome::Put(Revision(revision)));
    }
}

async fn edit_at_the_newest_slot_keeps_it(s: &Subject) {
    let (name, a) = stored(s).await;
    edit(s, &name, &a, "daily").await;
    let began = s.now();
    s.pass(1_000);
    plan(s, &name, &a, "daily", (Some(began), s.now())).await;
    edit(s, &name, &a, "hourly").await;
    assert_eq!(cursor_row(s, &name, &a).await.newest_slot, Some(s.now()));
}

async fn same_schedule_again_changes_nothing(s: &Subject) {
    let (name, a) = stored(s).await;
    edit(s, &name, &a, "daily").await;
    let (before, stored) = (cursor_row(s, &name, &a).await, in_force(s, &name).await);
    s.pass(60_000);
    let again = PutSchedule { note: Some("again".to_owned()), ..put(&name, &a, "daily") };
    assert_eq!(s.call(again).await.outcome, PutOutcome::Unchanged(Revision(1)));
    assert_eq!((cursor_row(s, &name, &a).await, in_force(s, &name).await), (before, stored));
    assert_eq!(ledger(s).await, []);
}

/// Two operators who saw the same do not overwrite each other unseen.
async fn edit_that_expects_another_revision_is_a_conflict(s: &Subject) {
    let (name, a) = stored(s).await;
    let expecting = |schedule, revision| PutSchedule {
        expected: Expected::Revision(Revision(revision)),
        ..put(&name, &a, schedule)
    };
    assert_eq!(s.call(expecting("daily", 1)).await.outcome, PutOutcome::Conflict(None));
    edit(s, &name, &a, "daily").await;
    assert_eq!(s.call(expecting("hourly", 1)).await.outcome, PutOutcome::Put(Revision(2)));
    s.pass(1_000);
    let stored = in_force(s, &name).await;
    assert_eq!(s.call(expecting("weekly", 1)).await.outcome, PutOutcome::Conflict(Some(Revision(2))));
    assert_eq!(
        s.call(expecting("hourly", 1)).await.outcome,
        PutOutcome::Conflict(Some(Revision(2))),
        "even the same"
    );
    assert_eq!(in_force(s, &name).await, stored);
}

async fn first_schedule_may_be_put_only_where_there_is_none(s: &Subject) {
    let (name, a) = stored(s).await;
    let first = |schedule| PutSchedule { expected: Expected::Nothing, ..put(&name, &a, schedule) };
    assert_eq!(s.call(first("daily")).await.outcome, PutOutcome::Put(Revision(1)));
    assert_eq!(s.call(first("hourly")).await.outcome, PutOutcome::Conflict(Some(Revision(1))));
    remove(s, &name, &a).await;
    assert_eq!(s.call(first("hourly")).await.outcome, PutOutcome::Put(Revision(3)));
}

async fn removed_schedule_makes_no_more_slots_and_what_waits_runs(s: &Subject) {
    let (name, a) = stored(s).await;
    edit(s, &name, &a, "daily").await;
    let began = s.now();
    s.pass(60_000);
    let PlanOutcome::Made(made) = plan(s, &name, &a, "daily", (Some(began), s.now())).await else {
        panic!("the slot is made")
    };
    s.pass(1_000);
    assert_eq!(remove(s, &name, &a).await, RemoveOutcome::Removed(Revision(2)));
    let cursor = cursor_row(s, &name, &a).await;
    assert_eq!((cursor.at, cursor.schedule_hash, cursor.edited_at), (s.now(), None, Some(s.now())));
    assert_eq!(s.claim_one(&name).await.0.id, made[0]);
    assert_eq!(remove(s, &name, &a).await, RemoveOutcome::NotThere);
}

async fn removal_that_expects_another_revision_is_a_conflict(s: &Subject) {
    let (name, a) = stored(s).await;
    edit(s, &name, &a, "daily").await;
    edit(s, &name, &a, "hourly").await;
    for expected in [Expected::Nothing, Expected::Revision(Revision(1))] {
        let outcome = s.call(RemoveSchedule { expected, ..removal(&name, &a) }).await.outcome;
        assert_eq!(outcome, RemoveOutcome::Conflict(Revision(2)));
    }
    let expected = Expected::Revision(Revision(2));
    let outcome = s.call(RemoveSchedule { expected, ..removal(&name, &a) }).await.outcome;
    assert_eq!(outcome, RemoveOutcome::Removed(Revision(3)));
}

async fn schedule_that_comes_back_continues_its_revisions(s: &Subject) {
    let (name, a) = stored(s).await;
    edit(s, &name, &a, "daily").await;
    s.pass(1_000);
    remove(s, &name, &a).await;
    s.pass(600_000);
    assert_eq!(edit(s, &name, &a, "daily").await, PutOutcome::Put(Revision(3)));
    let cursor = cursor_row(s, &name, &a).await;
    assert_eq!((cursor.at, cursor.schedule_hash), (s.now(), Some(hash("daily"))));
}

async fn every_edit_is_listed_with_who_made_it_and_why(s: &Subject) {
    let (name, a) = stored(s).await;
    let note = Some("ticket 4711: „früher“".to_owned());
    let first = PutSchedule { note: note.clone(), actor: Some(operator("ada")), ..put(&name, &a, "daily") };
    let began = s.call(first).await.now;
    s.pass(1_000);
    let removed = s.call(RemoveSchedule { actor: Some(operator("bob")), ..removal(&name, &a) }).await.now;
    let revision = |revision, schedule, (edited_at, edited_by): (_, &str), replaced_at, note| StoredSchedule {
        job: name.clone(),
        scope: a.clone(),
        revision: Revision(revision),
        schedule,
        note,
        edited_at,
        edited_by: edited_by.to_owned(),
        replaced_at,
    };
    let list = |which| ListSchedules { job: Some(name.clone()), scope: None, which, after: None, limit: 10 };
    let expected = [
        revision(1, Some(data("daily")), (began, "ada"), Some(removed), note),
        revision(2, None, (removed, "bob"), None, None),
    ];
    assert_eq!(s.call(list(ScheduleFilter::All)).await.schedules, expected);
    assert_eq!(s.call(list(ScheduleFilter::InForce)).await.schedules, []);
    edit(s, &name, &a, "weekly").await;
    let listed = s.call(list(ScheduleFilter::InForce)).await.schedules;
    assert_eq!((listed.len(), listed[0].revision, listed[0].edited_by.as_str()), (1, Revision(3), "operator"));
}

async fn stored_schedules_are_paged(s: &Subject) {
    let (name, _) = stored(s).await;
    for tenant in ["b", "Z", "a", "ä"] {
        for schedule in ["daily", "hourly"] {
            edit(s, &name, &scope(tenant), schedule).await;
        }
    }
    let key = |stored: &StoredSchedule| (stored.job.clone(), stored.scope.clone(), stored.revision);
    for (which, count) in [(ScheduleFilter::All, 8), (ScheduleFilter::InForce, 4)] {
        let (mut after, mut got) = (None, Vec::new());
        loop {
            let list = ListSchedules { job: None, scope: None, which, after, limit: 3 };
            let page = s.call(list).await.schedules;
            got.extend(page.iter().map(key));
            if page.len() < 3 {
                break;
            }
            after = got.last().cloned();
        }
        let mut ordered = got.clone();
        ordered.sort_unstable();
        assert_eq!((got.len(), &got), (count, &ordered), "{which:?}");
    }
    let of_scope = ListSchedules {
        job: Some(name),
        scope: Some(scope("Z")),
        which: ScheduleFilter::All,
        after: None,
        limit: 10,
    };
    assert_eq!(s.call(of_scope).await.schedules.len(), 2);
}

async fn edit_during_a_pause_waits_for_the_resumption(s: &Subject) {
    let (name, a) = stored(s).await;
    edit(s, &name, &a, "daily").await;
    s.call(PauseJob { job: name.clone(), scope: Some(a.clone()), actor: None }).await;
    s.pass(1_000);
    edit(s, &name, &a, "hourly").await;
    let edited_at = s.now();
    s.pass(1_000);
    assert_eq!(plan(s, &name, &a, "hourly", (Some(edited_at), s.now())).await, PlanOutcome::Paused);
    s.call(ResumeJob { job: name.clone(), scope: Some(a.clone()), actor: None }).await;
    let told: Vec<_> = ledger(s).await.iter().map(|entry| entry.slots.reason).collect();
    assert_eq!(told, [SkipReason::ScheduleChanged, SkipReason::Paused]);
    let resumed_at = s.now();
    s.pass(1_000);
    assert!(matches!(plan(s, &name, &a, "hourly", (Some(resumed_at), s.now())).await, PlanOutcome::Made(_)));
}

async fn registration_leaves_stored_schedules_in_force(s: &Subject) {
    let (name, a) = stored(s).await;
    edit(s, &name, &a, "daily").await;
    let before = in_force(s, &name).await;
    s.pass(1_000);
    s.register_as(&name, "spec-2", "schedule-2").await;
    assert_eq!(in_force(s, &name).await, before);
    assert_eq!(cursor_row(s, &name, &a).await.schedule_hash, Some(hash("daily")));
    assert_eq!(edit(s, &name, &a, "hourly").await, PutOutcome::NotStored, "that registration does not say so");
    assert_eq!(remove(s, &name, &a).await, RemoveOutcome::Removed(Revision(2)), "and may be cleared away");
}

async fn edit_in_a_withdrawn_future_holds_no_schedule_up(s: &Subject) {
    let (name, a) = stored(s).await;
    edit(s, &name, &a, "daily").await;
    s.pass(600_000);
    edit(s, &name, &a, "hourly").await;
    let ahead = s.now();
    s.pass(-500_000);
    assert_eq!(edit(s, &name, &a, "weekly").await, PutOutcome::Put(Revision(3)));
    let cursor = cursor_row(s, &name, &a).await;
    assert_eq!((cursor.at, cursor.high_water), (s.now(), ahead));
    let edited_at = s.now();
    s.pass(1_000);
    assert!(matches!(plan(s, &name, &a, "weekly", (Some(edited_at), s.now())).await, PlanOutcome::Made(_)));
}

async fn repeated_edits_answer_as_the_first(s: &Subject) {
    let (name, a) = stored(s).await;
    let first = s.request(put(&name, &a, "daily"));
    let second = s.request(put(&name, &a, "hourly"));
    let gone = s.request(removal(&name, &a));
    for _ in 0..2 {
        assert_eq!(s.repeat::<PutSchedule>(&first).await.outcome, PutOutcome::Put(Revision(1)));
        s.pass(1_000);
    }
    for _ in 0..2 {
        assert_eq!(s.repeat::<PutSchedule>(&second).await.outcome, PutOutcome::Put(Revision(2)));
        assert_eq!(
            s.repeat::<PutSchedule>(&first).await.outcome,
            PutOutcome::Put(Revision(1)),
            "and changes nothing"
        );
    }
    assert_eq!(in_force(s, &name).await[0].schedule, Some(data("hourly")));
    for _ in 0..2 {
        assert_eq!(s.repeat::<RemoveSchedule>(&gone).await.outcome, RemoveOutcome::Removed(Revision(3)));
    }
}

async fn note_that_is_too_long_is_refused(s: &Subject) {
    let (name, a) = stored(s).await;
    let noted = |note: String| PutSchedule { note: Some(note), ..put(&name, &a, "daily") };
    let error = s.refused(noted("x".repeat(MAX_NOTE_BYTES + 1))).await;
    assert_eq!(
        error.to_string(),
        "invalid: put_schedule: its note has 1025 bytes, at most 1024 are kept: shorten it"
    );
    let error = s.refused(noted("a\0b".to_owned())).await;
    assert_eq!(
        error.to_string(),
        "invalid: put_schedule: its note holds a NUL character, which Postgres cannot keep"
    );
    assert_eq!(in_force(s, &name).await, []);
    assert!(matches!(s.call(noted("x".repeat(MAX_NOTE_BYTES))).await.outcome, PutOutcome::Put(_)));
}

fn edits_older_than(edits_ms: u64, limit: u32) -> Prune {
    Prune { history_ms: u64::MAX, receipts_ms: u64::MAX, edits_ms, limit }
}

async fn left(s: &Subject) -> Vec<(String, u32)> {
    let all = ListSchedules { job: None, scope: None, which: ScheduleFilter::All, after: None, limit: 100 };
    let told = |stored: StoredSchedule| (stored.scope.id().to_owned(), stored.revision.0);
    s.call(all).await.schedules.into_iter().map(told).collect()
}

async fn replaced_edits_are_pruned_and_the_newest_of_each_scope_stays(s: &Subject) {
    let (name, a) = stored(s).await;
    let (b, told) = (scope("b"), |kept: &[(&str, u32)]| {
        kept.iter().map(|(scope, revision)| ((*scope).to_owned(), *revision)).collect::<Vec<_>>()
    });
    edit(s, &name, &a, "daily").await;
    edit(s, &name, &b, "daily").await;
    s.pass(1_000);
    edit(s, &name, &a, "hourly").await;
    s.pass(60_000);
    assert_eq!(s.call(edits_older_than(60_000, 10)).await.edits, 0, "replaced as long ago as the bound is not older");
    s.pass_micros(1);
    assert_eq!(s.call(edits_older_than(60_000, 10)).await.edits, 1);
    assert_eq!(left(s).await, told(&[("a", 2), ("b", 1)]), "that of b is older, and in force");
    remove(s, &name, &a).await;
    s.pass(1);
    assert_eq!(s.call(edits_older_than(0, 10)).await.edits, 1);
    assert_eq!(left(s).await, told(&[("a", 3), ("b", 1)]), "a removal is the newest, too");
    let back = edit(s, &name, &a, "daily").await;
    assert_eq!(back, PutOutcome::Put(Revision(4)), "no number comes again");
}

async fn pruning_takes_the_edits_that_were_replaced_first(s: &Subject) {
    let (name, a) = stored(s).await;
    let b = scope("b");
    // The one that was made first is replaced last.
    for (of, schedule) in [(&a, "daily"), (&b, "daily"), (&b, "hourly"), (&a, "hourly")] {
        edit(s, &name, of, schedule).await;
        s.pass(1_000);
    }
    assert_eq!(s.call(edits_older_than(0, 1)).await.edits, 1);
    assert_eq!(left(s).await, [("a".to_owned(), 1), ("a".to_owned(), 2), ("b".to_owned(), 2)]);
    assert_eq!(s.call(edits_older_than(u64::MAX, 1)).await.edits, 0, "the widest bound keeps everything");
}
