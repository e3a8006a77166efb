//! Cases of the bounds of planning: how far back a cursor may go, which slots are there already, and what becomes of a cursor that was
//! moved by another schedule.

use tourbillon::{
    model::{Audit, Scope, SkipReason, Timestamp},
    store::{Cursor, ListSkipped, Plan, PlanEntry, PlanOutcome, ReadCursors, RegisterOutcome},
};

use super::subject::{Subject, hash, job, scope, succeeded};

super::cases! {
    delay_counts_for_what_is_withdrawn,
    cursor_goes_back_to_its_edit_and_no_further,
    cursor_that_goes_back_to_its_newest_slot_keeps_it,
    cursor_of_another_schedule_is_taken_over_at_once,
    cursor_of_another_schedule_keeps_its_high_water_mark,
    edit_at_the_newest_slot_keeps_it,
    finished_slots_of_others_are_no_obstacle_after_a_backward_step,
    id_that_history_has_is_not_planned,
}

/// By a schedule of the scope's own, or by the job's.
fn by(s: &Subject, schedule: Option<&str>, expect: Option<Timestamp>, to: Timestamp) -> PlanEntry {
    PlanEntry { schedule_hash: schedule.map(hash), ..s.entry(&job("rollup"), expect, to, Vec::new()) }
}

async fn cursor(s: &Subject, of: &Scope) -> Cursor {
    let read = s.call(ReadCursors { jobs: vec![job("rollup")] }).await.jobs.remove(0);
    read.cursors.into_iter().find(|cursor| cursor.scope == *of).expect("it has a cursor")
}

/// Plans one slot, which must be made.
async fn slot(s: &Subject, entry: PlanEntry, at: Timestamp) {
    let row = s.row_with(|row| (row.slot_at, row.due_at) = (Some(at), s.now()));
    let id = row.id;
    assert_eq!(s.plan(PlanEntry { slots: vec![row], ..entry }).await, PlanOutcome::Made(vec![id]));
}

const MADE: PlanOutcome = PlanOutcome::Made(Vec::new());

/// What the delay does not let be planned yet is in the future as well.
async fn delay_counts_for_what_is_withdrawn(s: &Subject) {
    s.register(&job("rollup")).await;
    let at = s.after(-5_000);
    assert_eq!(s.plan(by(s, None, None, at)).await, MADE);
    let late = PlanEntry { delay_ms: 10_000, ..by(s, None, Some(at), s.after(-20_000)) };
    assert_eq!(s.plan(late).await, MADE);
}

async fn cursor_goes_back_to_its_edit_and_no_further(s: &Subject) {
    s.register(&job("rollup")).await;
    let edited = s.now();
    assert_eq!(s.plan(by(s, Some("own"), None, edited)).await, PlanOutcome::ScheduleChanged);
    s.pass(10_000);
    let future = s.now();
    assert_eq!(s.plan(by(s, Some("own"), Some(edited), future)).await, MADE);
    s.pass(-10_000);
    assert_eq!(s.plan(by(s, Some("own"), Some(future), s.after(-1))).await, PlanOutcome::NotDue, "before the edit");
    s.pass(5_000);
    assert_eq!(s.plan(by(s, Some("own"), Some(future), edited)).await, MADE);
}

async fn cursor_that_goes_back_to_its_newest_slot_keeps_it(s: &Subject) {
    s.register(&job("rollup")).await;
    let newest = s.now();
    slot(s, by(s, None, None, newest), newest).await;
    s.pass(10_000);
    let future = s.now();
    assert_eq!(s.plan(by(s, None, Some(newest), future)).await, MADE);
    s.pass(-5_000);
    assert_eq!(s.plan(by(s, None, Some(future), newest)).await, MADE);
    assert_eq!(cursor(s, &Scope::global()).await.newest_slot, Some(newest));
}

/// That one alone, and of the time in between, if there is any, it is recorded that nobody planned it.
async fn cursor_of_another_schedule_is_taken_over_at_once(s: &Subject) {
    s.register(&job("rollup")).await;
    s.register(&job("digest")).await;
    let began = s.now();
    slot(s, by(s, None, None, began), began).await;
    for other in [
        PlanEntry { scope: Scope::new("tenant", "global").expect("valid"), ..by(s, None, None, began) },
        PlanEntry { scope: Scope::new("global", "a").expect("valid"), ..by(s, None, None, began) },
        PlanEntry { job: job("digest"), ..by(s, None, None, began) },
    ] {
        assert_eq!(s.plan(other).await, MADE);
    }
    let changes = async |schedule, expect| {
        assert_eq!(s.plan(by(s, schedule, Some(expect), s.now())).await, PlanOutcome::ScheduleChanged);
        let cursor = cursor(s, &Scope::global()).await;
        assert_eq!((cursor.at, cursor.newest_slot), (s.now(), Some(began)));
        let entries = s.call(ListSkipped { job: None, offset: 0, limit: 9 }).await.entries;
        entries.into_iter().map(|entry| (entry.slots.after, entry.slots.through, entry.slots.reason)).collect()
    };
    let told: Vec<_> = changes(Some("own"), began).await;
    assert_eq!(told, [], "no time has passed");
    s.pass(1_000);
    let told: Vec<_> = changes(None, began).await;
    assert_eq!(told, [(began, s.now(), SkipReason::ScheduleChanged)]);
}

async fn cursor_of_another_schedule_keeps_its_high_water_mark(s: &Subject) {
    s.register(&job("rollup")).await;
    let planned = s.now();
    slot(s, by(s, None, None, planned), planned).await;
    s.pass(-5_000);
    assert_eq!(s.plan(by(s, Some("own"), Some(planned), s.now())).await, PlanOutcome::ScheduleChanged);
    let cursor = cursor(s, &Scope::global()).await;
    assert_eq!((cursor.at, cursor.high_water, cursor.newest_slot), (s.now(), planned, None));
}

async fn edit_at_the_newest_slot_keeps_it(s: &Subject) {
    let name = job("rollup");
    s.register(&name).await;
    slot(s, by(s, None, None, s.now()), s.now()).await;
    assert_eq!(s.register_as(&name, "spec-2", "spec-2").await, RegisterOutcome::ScheduleChanged);
    assert_eq!(cursor(s, &Scope::global()).await.newest_slot, Some(s.now()));
}

/// The same slot of another scope and of another job, and another slot of this scope.
async fn finished_slots_of_others_are_no_obstacle_after_a_backward_step(s: &Subject) {
    let (name, other, a) = (job("rollup"), job("digest"), scope("a"));
    s.register(&name).await;
    s.register(&other).await;
    let (before, at) = (s.after(-1_000), s.now());
    slot(s, PlanEntry { scope: a.clone(), ..by(s, None, None, before) }, before).await;
    for entry in [
        by(s, None, None, at),
        PlanEntry { scope: scope("b"), ..by(s, None, None, at) },
        PlanEntry { scope: Scope::new("team", "a").expect("valid"), ..by(s, None, None, at) },
        PlanEntry { job: other.clone(), scope: a.clone(), ..by(s, None, None, at) },
    ] {
        slot(s, entry, at).await;
    }
    for name in [&name, &other] {
        for row in s.claim(name).await.executions {
            let lease = row.lease_ref().expect("it is running");
            s.start(lease).await.expect("held");
            s.settle(lease, succeeded()).await.expect("held");
        }
    }
    let of_a = |entry| PlanEntry { scope: a.clone(), ..entry };
    assert_eq!(s.plan(of_a(by(s, None, Some(before), at))).await, MADE);
    s.pass(-5_000);
    let back = s.now();
    assert_eq!(s.plan(of_a(by(s, None, Some(at), back))).await, MADE);
    s.pass(5_000);
    slot(s, of_a(by(s, None, Some(back), at)), at).await;
}

/// Not because of its events, either: of this one there are none.
async fn id_that_history_has_is_not_planned(s: &Subject) {
    let name = job("rollup");
    let lease = s.running(&name, |row| row.policy.audit = Audit::Off).await;
    s.settle(lease, succeeded()).await.expect("held");
    let again = s.row_with(|row| (row.id, row.policy.audit) = (lease.id, Audit::Off));
    let entry = s.entry(&name, s.cursor(&name).await, s.now(), vec![again]);
    s.refused(Plan { entries: vec![entry] }).await;
}
