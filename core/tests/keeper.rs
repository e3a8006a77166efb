//! The keeper as the settings have it: what is deleted when.

use std::time::Duration;

use tourbillon::{
    driver::{JobOperator, ScheduleEdit, Scheduler, Settings},
    job::{Context, HandlerError, Job},
    model::{RequestId, Scope, Timestamp},
    plan::{Cadence, Schedule},
    runtime::Runtime,
    store::{ListPauses, ManualClock, MemoryStore, PauseFilter, PutOutcome, ScheduleFilter, ask},
};

const MINUTE: Duration = Duration::from_secs(60);

/// Edits that the database still has, and pauses.
async fn left(store: &MemoryStore, operator: &JobOperator) -> (usize, usize) {
    let list = ListPauses { job: None, which: PauseFilter::All, offset: 0, limit: 10 };
    let pauses = ask(store, RequestId(Runtime::tokio().uuid()), list).await.expect("listed").pauses;
    (operator.schedules(None, ScheduleFilter::All).await.expect("listed").len(), pauses.len())
}

#[tokio::test(start_paused = true)]
async fn edits_and_pauses_are_kept_as_long_as_their_setting_says_and_not_as_history_is() {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let store = MemoryStore::new(clock.clone());
    let runtime = Runtime::tokio();
    let settings = Settings {
        keep_history: MINUTE,
        keep_edits: 60 * MINUTE,
        prune_interval: Duration::from_secs(1),
        ..Settings::default()
    };
    let job = Job::new("export").stored_schedules().run(|_: Context| async { Ok::<_, HandlerError>(()) });
    let running = Scheduler::builder(store.clone()).settings(settings).job(job).build().expect("valid").start();
    let operator = running.jobs();
    for hours in [1, 2] {
        let every = Schedule::from(Cadence::new(60 * MINUTE * hours).expect("a grid"));
        let edit = || ScheduleEdit::of("export", Scope::global());
        while operator.put_schedule(edit(), &every).await == Ok(PutOutcome::UnknownJob) {
            runtime.sleep(Duration::from_millis(10)).await;
        }
    }
    operator.pause("export", None).await.expect("paused");
    operator.resume("export", None).await.expect("resumed");
    for (later, expected) in [(10 * MINUTE, (2, 1)), (51 * MINUTE, (1, 0))] {
        clock.set(clock.now() + later);
        runtime.sleep(5 * Duration::from_secs(1)).await;
        assert_eq!(left(&store, &operator).await, expected, "{later:?} later");
    }
    running.shutdown(MINUTE).await.expect("stopped");
}
