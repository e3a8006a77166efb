//! What one replica plans, on paused time and the in-memory store: hooks, scopes with schedules to themselves, and
//! user code that fails. What several replicas and faults do to it is the simulation's business.

#[path = "services/paused.rs"]
mod paused;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use tourbillon::{
    driver::{Running, ScheduleEdit, Scheduler, SchedulerBuilder, Triggered},
    health::{Bounds, Freshness},
    job::{BoxError, HandlerError, Job, ScopedSchedule},
    model::{JobName, Json, RequestId, Scope, SkipReason, State, Timestamp},
    plan::{Cadence, CatchUp, Cron, Hook},
    runtime::Runtime,
    store::{
        Expected, ListExecutions, ListSkipped, MAX_BATCH, ManualClock, MemoryStore, PauseOutcome, PutOutcome,
        PutSchedule, RemoveOutcome, ResumeOutcome, Revision, ScheduleData, ScheduleFilter, SkippedEntry, SpecHash,
        ask,
    },
};

const MINUTE: Duration = Duration::from_secs(60);

struct Bench {
    runtime: Runtime,
    clock: ManualClock,
    store: Arc<MemoryStore>,
    running: Running,
}

impl Bench {
    fn start(jobs: impl IntoIterator<Item = Job>) -> Self {
        let runtime = paused::runtime(1);
        let clock = ManualClock::new("2026-03-29T00:00:00Z".parse().expect("an instant"));
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let builder = Scheduler::builder(Arc::clone(&store)).runtime(runtime.clone());
        let running = jobs.into_iter().fold(builder, SchedulerBuilder::job).build().expect("valid jobs").start();
        Self { runtime, clock, store, running }
    }

    async fn pass(&self, minutes: u32) {
        for _ in 0..minutes * 6 {
            self.runtime.sleep(MINUTE / 6).await;
            self.clock.advance(MINUTE / 6);
        }
        self.runtime.sleep(MINUTE).await;
    }

    /// Slots made of a scope, without date and seconds, oldest first.
    async fn slots(&self, job: &str, scope: &Scope) -> Vec<String> {
        let list = ListExecutions { limit: MAX_BATCH, ..ListExecutions::default() };
        let page = ask(&self.store, RequestId(self.runtime.uuid()), list).await.expect("listed");
        let rows = page.executions.into_iter().filter(|row| row.job.as_str() == job && row.scope == *scope);
        let mut slots: Vec<_> =
            rows.filter_map(|row| row.slot_at).map(|slot| slot.to_string()[11..16].to_owned()).collect();
        slots.sort();
        slots
    }

    async fn ledger(&self) -> Vec<SkippedEntry> {
        let list = ListSkipped { job: None, offset: 0, limit: MAX_BATCH };
        ask(&self.store, RequestId(self.runtime.uuid()), list).await.expect("listed").entries
    }
}

fn job(name: &str) -> Job {
    Job::new(name).run(|_| async { Ok::<_, HandlerError>(()) })
}

fn minutes(every: u32) -> Cadence {
    Cadence::new(MINUTE * every).expect("a grid")
}

fn scope(id: &str) -> Scope {
    Scope::new("trigger", id).expect("a scope")
}

/// Slots at the tenth and the eleventh minute of every hour.
fn in_pairs() -> Hook {
    let slots = |after: Timestamp, through: Timestamp, cap| {
        let first = after.as_micros().div_euclid(60_000_000) + 1;
        let all = (first..)
            .filter(|minute| [10, 11].contains(&(minute % 60)))
            .map(|minute| Timestamp::from_secs(minute * 60));
        all.take_while(|slot| *slot <= through).take(cap).collect()
    };
    Hook::new("pairs-1", slots)
}

// P-1, P-4
#[tokio::test(start_paused = true)]
async fn a_hook_says_when_slots_are_and_is_capped_like_any_schedule() {
    let every = CatchUp::EverySlot { window: MINUTE * 300, max_slots: 2 };
    let bench = Bench::start([job("pairs").schedule(in_pairs()).catch_up(every)]);
    bench.pass(71).await;
    assert_eq!(bench.slots("pairs", &Scope::global()).await, ["00:10", "00:11", "01:10", "01:11", "23:11"]);
    bench.running.shutdown(MINUTE).await.expect("stopped");
}

// P-13
#[tokio::test(start_paused = true)]
async fn user_code_that_fails_stops_no_other_job_and_no_other_scope() {
    let panics = Hook::new("panics-1", |_, _, _| panic!("no slots today"));
    let jobs = [
        job("fine").every(MINUTE * 5),
        job("fails").every(MINUTE).scopes_from(|| async { Err::<Vec<Scope>, BoxError>("no tenants".into()) }),
        job("panics").every(MINUTE).scopes_from(|| async { panic!("no tenants at all") }),
        job("twice").schedules_from(|| async {
            Ok::<_, BoxError>(vec![
                ScopedSchedule::new(scope("a"), minutes(1)),
                ScopedSchedule::new(scope("a"), minutes(2)),
            ])
        }),
        job("half").schedules_from(move || {
            let both =
                vec![ScopedSchedule::new(scope("a"), panics.clone()), ScopedSchedule::new(scope("b"), minutes(5))];
            async { Ok::<_, BoxError>(both) }
        }),
    ];
    let bench = Bench::start(jobs);
    bench.pass(11).await;
    assert_eq!(bench.slots("fine", &Scope::global()).await, ["00:00", "00:05", "00:10"]);
    assert_eq!(bench.slots("half", &scope("b")).await, ["00:05", "00:10"]);
    assert_eq!(bench.slots("twice", &scope("a")).await, [""; 0]);
    bench.running.shutdown(MINUTE).await.expect("stopped");
}

// P-13, P-14
#[tokio::test(start_paused = true)]
async fn scopes_come_change_and_go_without_slots_from_before() {
    let nightly = Cron::new("30 2 * * *", "Europe/Berlin").expect("valid");
    let table = Arc::new(Mutex::new(vec![
        ScopedSchedule::new(scope("edited"), minutes(10)),
        ScopedSchedule::new(scope("nightly"), nightly),
        ScopedSchedule::new(scope("kept"), minutes(10)),
    ]));
    let seen = Arc::clone(&table);
    let bench = Bench::start([job("reminder").schedules_from(move || {
        let schedules = seen.lock().unwrap().clone();
        async { Ok::<_, BoxError>(schedules) }
    })]);
    bench.pass(25).await;
    // 00:20 passed; the new schedule has 00:15 and 00:24, which must not be made.
    table.lock().unwrap()[0].schedule = minutes(3).into();
    table.lock().unwrap().push(ScopedSchedule::new(scope("added"), minutes(1)));
    bench.pass(5).await;
    let gone = table.lock().unwrap().pop().expect("added");
    bench.pass(20).await;
    table.lock().unwrap().push(gone);
    bench.pass(15).await;
    assert_eq!(bench.slots("reminder", &scope("kept")).await, ["00:10", "00:20", "00:30", "00:40", "00:50", "01:00"]);
    assert_eq!(bench.slots("reminder", &scope("edited")).await[..4], ["00:10", "00:20", "00:27", "00:30"]);
    assert_eq!(
        bench.slots("reminder", &scope("nightly")).await,
        ["01:00"],
        "02:30 does not exist: the end of the gap"
    );
    let added = bench.slots("reminder", &scope("added")).await;
    assert!(added.iter().all(|slot| !("00:31".."00:50").contains(&slot.as_str())), "{added:?}");
    assert!(added.len() > 10, "{added:?}");
    let dropped: Vec<_> = bench.ledger().await.into_iter().map(|entry| (entry.slots.reason, entry.scope)).collect();
    let edits = dropped.iter().filter(|(reason, _)| *reason == SkipReason::ScheduleChanged);
    let edits: BTreeSet<_> = edits.map(|(_, scope)| scope.id()).collect();
    assert_eq!(edits, BTreeSet::from(["added", "edited"]));
    bench.running.shutdown(MINUTE).await.expect("stopped");
}

#[tokio::test(start_paused = true)]
async fn a_new_job_may_begin_with_its_next_slot() {
    let late = job("late").every(MINUTE * 5).delay(MINUTE * 3);
    let jobs = [job("at_once").every(MINUTE * 5), job("next").every(MINUTE * 5).begin_with_next_slot()];
    let bench = Bench::start(jobs.into_iter().chain([late.begin_with_next_slot()]));
    bench.pass(11).await;
    assert_eq!(bench.slots("at_once", &Scope::global()).await, ["00:00", "00:05", "00:10"]);
    assert_eq!(bench.slots("next", &Scope::global()).await, ["00:05", "00:10"]);
    assert_eq!(bench.slots("late", &Scope::global()).await, ["00:00", "00:05"], "due at 00:03 and 00:08");
    bench.running.shutdown(MINUTE).await.expect("stopped");
}

fn edit(id: &str) -> ScheduleEdit {
    ScheduleEdit::of("export", scope(id))
}

#[tokio::test(start_paused = true)]
async fn schedules_in_the_database_are_followed_from_their_edit_on() {
    let bench = Bench::start([job("export").stored_schedules()]);
    let operator = bench.running.jobs().named("ada").expect("a name");
    bench.pass(4).await;
    let nightly = Cron::new("30 2 * * *", "Europe/Berlin").expect("valid");
    for (id, schedule) in [("edited", minutes(10).into()), ("nightly", nightly.into()), ("kept", minutes(10).into())]
    {
        assert_eq!(operator.put_schedule(edit(id), &schedule).await, Ok(PutOutcome::Put(Revision(1))));
    }
    bench.pass(20).await;
    // 00:24 is now; the new schedule has 00:15 and 00:24, which must not be made.
    let expected = edit("edited").expecting(Expected::Revision(Revision(1)));
    assert_eq!(operator.put_schedule(expected.clone(), &minutes(3).into()).await, Ok(PutOutcome::Put(Revision(2))));
    let late = operator.put_schedule(expected, &minutes(7).into()).await;
    assert_eq!(late, Ok(PutOutcome::Conflict(Some(Revision(2)))), "another operator was faster");
    bench.pass(10).await;
    assert_eq!(
        operator.remove_schedule(edit("edited").note("no longer")).await,
        Ok(RemoveOutcome::Removed(Revision(3)))
    );
    bench.pass(30).await;
    assert_eq!(bench.slots("export", &scope("kept")).await, ["00:10", "00:20", "00:30", "00:40", "00:50", "01:00"]);
    assert_eq!(bench.slots("export", &scope("edited")).await, ["00:10", "00:20", "00:27", "00:30", "00:33"]);
    assert_eq!(bench.slots("export", &scope("nightly")).await, ["01:00"], "the end of the gap");
    assert_eq!(bench.slots("export", &Scope::global()).await, [""; 0], "it runs for what has a schedule");
    let told: BTreeSet<_> = bench.ledger().await.into_iter().map(|entry| entry.scope.id().to_owned()).collect();
    assert_eq!(told, BTreeSet::from(["edited".to_owned()]));
    let report = operator.health(&Bounds::default()).await.expect("judged");
    let kept = report.jobs[0].scopes.iter().find(|health| health.scope == scope("kept")).expect("it has a cursor");
    let next_due = kept.next_due_at.map(|at| at.to_string()[11..16].to_owned());
    assert_eq!((kept.freshness, next_due.as_deref()), (Freshness::Fresh, Some("01:10")));
    let all = operator.schedules(Some("export"), ScheduleFilter::All).await.expect("listed");
    assert_eq!(all.iter().map(|edit| edit.revision.0).collect::<Vec<_>>(), [1, 2, 3, 1, 1]);
    assert!(all.iter().all(|edit| edit.edited_by == "ada"));
    bench.running.shutdown(MINUTE).await.expect("stopped");
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_cannot_be_read_stops_its_scope_alone() {
    let bench = Bench::start([job("export").stored_schedules()]);
    bench.pass(1).await;
    let unknown = ScheduleData { json: Json::from_stored(r#"{"moon":"full"}"#), hash: SpecHash("moon".into()) };
    for (id, schedule) in [("odd", unknown), ("fine", ScheduleData::of(&minutes(5).into()).expect("data"))] {
        let (job, expected) = (JobName::new("export").expect("a name"), Expected::Anything);
        let put = PutSchedule { job, scope: scope(id), schedule, expected, note: None, actor: None };
        ask(&bench.store, RequestId(bench.runtime.uuid()), put).await.expect("kept");
    }
    bench.pass(11).await;
    assert_eq!(bench.slots("export", &scope("fine")).await, ["00:05", "00:10"]);
    assert_eq!(bench.slots("export", &scope("odd")).await, [""; 0]);
    bench.running.shutdown(MINUTE).await.expect("stopped");
}

#[tokio::test(start_paused = true)]
async fn an_operator_stops_a_job_lets_it_go_on_and_runs_it_once() {
    let every = CatchUp::EverySlot { window: MINUTE * 300, max_slots: 100 };
    let jobs = [job("digest").every(MINUTE * 5).catch_up(every), job("other").every(MINUTE * 5).catch_up(every)];
    let bench = Bench::start(jobs);
    let operator = bench.running.jobs().named("ada").expect("a name");
    bench.pass(6).await;
    assert_eq!(operator.pause("digest", None).await, Ok(PauseOutcome::Paused));
    bench.pass(14).await;
    let Ok(Triggered::Due(id)) = operator.trigger("digest", Scope::global()).await else { panic!("it is due") };
    bench.pass(1).await;
    let list = ListExecutions { id: Some(id), limit: 10, ..ListExecutions::default() };
    let row = ask(&bench.store, RequestId(bench.runtime.uuid()), list).await.expect("listed").executions.remove(0);
    assert_eq!((row.state, row.slot_at), (State::Succeeded, None), "a pause does not hold it");
    assert!(matches!(operator.resume("digest", None).await, Ok(ResumeOutcome::Resumed(_))));
    bench.pass(11).await;
    assert_eq!(bench.slots("other", &Scope::global()).await.len(), 7);
    let slots = bench.slots("digest", &Scope::global()).await;
    assert_eq!(slots, ["00:00", "00:05", "00:25", "00:30"], "none of the pause is made up for");
    let told: Vec<_> = bench.ledger().await.iter().map(|entry| entry.slots.reason).collect();
    assert_eq!(told, [SkipReason::Paused]);
    bench.running.shutdown(MINUTE).await.expect("stopped");
}
