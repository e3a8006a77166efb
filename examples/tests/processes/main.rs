//! The examples as real processes on one real database. The service: they share the work, a killed one is replaced
//! within its lease, a stopped one gives back what it ran, and all may boot at once.
//!
//! Without a Postgres its trials are ignored; with `CI=true` they fail. Everything is judged from the database's
//! listing and from what each process logged; nothing is waited for but conditions.

mod judge;
mod outbox;
mod replica;
mod scene;

use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use tourbillon::{
    model::{Execution, Incarnation, State},
    store::ListSkipped,
};
use tourbillon_pg::{PgStore, SCHEMA_VERSION};
use tourbillon_tests::cluster::{Cluster, NoPostgres};

use crate::scene::{Database, Listing, Scene};

/// As the service sets them.
const GRACE: Duration = Duration::from_secs(2);
const LEASE: Duration = Duration::from_secs(8);
const RESCUE_INTERVAL: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What a busy machine may add to a bound: starting or scheduling a process, a few round trips.
const TOLERANCE: Duration = Duration::from_secs(2);

/// Scoped, a slot a second.
const METER: &str = "meter_usage";
/// Fails at its first attempt.
const RATES: &str = "fetch_rates";
/// Takes four seconds.
const REPORT: &str = "daily_report";

type Case = fn(Database) -> Result<(), Failed>;

const ON_POSTGRES: &[(&str, Case)] = &[
    ("three_processes_share_the_work_on_postgres", |database| block_on(share_the_work(database, 3))),
    ("a_killed_process_is_replaced_within_lease_and_rescue", |database| block_on(kill_in_a_handler(database))),
    ("a_terminated_process_gives_its_attempt_back_uncharged", |database| block_on(terminate_in_a_handler(database))),
    ("processes_that_boot_at_once_all_migrate_safely", |database| block_on(boot_at_once(database))),
];

const ON_SQLITE: &[(&str, Case)] =
    &[("two_processes_share_the_work_on_sqlite", |database| block_on(share_the_work(database, 2)))];

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time: bounds are measured, and a few processes each are enough for a small machine.
    arguments.test_threads.get_or_insert(1);
    // Only listing? Then start nothing.
    let cluster = if arguments.list { Err(NoPostgres { reason: "listing".to_owned() }) } else { Cluster::shared() };
    let on_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    let on_postgres = ON_POSTGRES.iter().map(|(name, case)| match cluster.clone() {
        Ok(cluster) => Trial::test(*name, move || case(Database::Postgres(cluster))),
        Err(missing) if on_ci => Trial::test(*name, move || Err(missing.reason.into())),
        Err(_) if arguments.list => Trial::test(*name, || Ok(())),
        Err(missing) => Trial::test(*name, || Ok(())).with_kind(missing.reason).with_ignored_flag(true),
    });
    let on_sqlite = ON_SQLITE.iter().map(|(name, case)| Trial::test(*name, || case(Database::SqliteFile)));
    // P-64, P-68: in a process of its own, killed.
    let outbox = Trial::test("a_killed_outbox_loses_nothing_that_it_accepted", || {
        block_on(outbox::kill_with_parcels_waiting())
    });
    let on_nothing = Trial::test("the_judge_refuses_falsified_listings", || Ok(judge::refuses_falsified_listings()?));
    libtest_mimic::run(&arguments, on_postgres.chain(on_sqlite).chain([outbox, on_nothing]).collect()).exit();
}

/// Runs `case` on a runtime of its own.
fn block_on<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime starts").block_on(case)
}

/// Nothing fails: every slot of the metering is run exactly once, and every process runs some.
async fn share_the_work(database: Database, processes: usize) -> Result<(), Failed> {
    let mut scene = Scene::new(database)?;
    scene.start(processes)?;
    let incarnations = scene.all_serving().await?;
    scene
        .until("every process finished three meterings, and all of them together forty", |listing| {
            let done = |runner| listing.of(METER).filter(|row| is_done_by(row, runner)).count();
            let done: Vec<_> = incarnations.iter().map(|runner| done(*runner)).collect();
            (done.iter().all(|done| *done >= 3) && done.iter().sum::<usize>() >= 40).then_some(())
        })
        .await?;
    scene.terminate_all(GRACE + TOLERANCE).await?;

    let listing = scene.list().await?;
    let wrong = |wrong: String| scene.report(&wrong, &listing);
    let meterings: Vec<_> = listing.of(METER).collect();
    judge::ran_once_or_waits(&meterings, &scene.starts()).map_err(wrong)?;
    judge::no_slot_is_missing(&meterings, 1).map_err(wrong)?;
    let skipped = scene.call(ListSkipped { job: None, offset: 0, limit: 100 }).await?.entries;
    expect(skipped.is_empty(), || wrong(format!("slots were skipped: {skipped:?}")))?;
    // A failed attempt is charged, and the next one is whoever's comes first.
    let rates = listing.of(RATES).filter(|row| row.state == State::Succeeded).map(|row| (row.attempt, row.fence.0));
    let rates: Vec<_> = rates.collect();
    let twice = !rates.is_empty() && rates.iter().all(|numbers| *numbers == (2, 2));
    expect(twice, || wrong(format!("rates succeed at their second attempt, not at (attempt, fence) {rates:?}")))
}

/// `kill -9` in the middle of the report: another process takes it over in time, and nothing else is lost.
async fn kill_in_a_handler(database: Database) -> Result<(), Failed> {
    let mut scene = Scene::new(database)?;
    scene.start(3)?;
    let report = scene.until_started(REPORT).await?;
    let victim = scene.replicas[report.replica].incarnation();
    // Read before the kill, so that the time measured is not too short.
    let killed_at = scene.clock().await?;
    scene.replicas[report.replica].kill_9();

    let (row, lease, started_at) = scene
        .until("another process takes over the report of the killed one", |listing| {
            let row = listing.iter().find(|row| row.id == report.execution && row.fence.0 > report.fence)?;
            let lease = row.lease.clone()?;
            lease.started_at.map(|started_at| (row.clone(), lease, started_at))
        })
        .await?;
    let took = started_at.since(killed_at);
    let bound = LEASE + RESCUE_INTERVAL + POLL_INTERVAL + TOLERANCE;
    let wrong = |wrong: String, listing: &Listing| Err(scene.report(&wrong, listing));
    let listing = scene.list().await?;
    if (report.attempt, row.attempt) != (1, 2) || Some(lease.runner) == victim {
        return wrong(format!("after {report:?} attempt 2 of another process comes, not {row:?}"), &listing);
    }
    if took > bound {
        let parts = format!("{LEASE:?} + {RESCUE_INTERVAL:?} + {POLL_INTERVAL:?}, tolerance {TOLERANCE:?}");
        return wrong(format!("taken over {took:?} after the kill; the bound is {bound:?} ({parts})"), &listing);
    }

    let listing = scene
        .until("every slot of before the kill has succeeded", |listing| {
            let mut of_before = listing.iter().filter(|row| row.slot_at.is_some_and(|at| at <= killed_at));
            of_before.all(|row| row.state == State::Succeeded).then(|| listing.clone())
        })
        .await?;
    let meterings: Vec<_> = listing.of(METER).collect();
    let of_before = |row: &&Execution| row.slot_at.is_some_and(|at| at <= killed_at) && row.job.as_str() != RATES;
    let of_before: Vec<_> = listing.iter().filter(of_before).collect();
    judge::no_slot_is_missing(&meterings, 1)
        .and_then(|()| judge::nothing_is_lost(&of_before, &scene.starts(), report.replica))
        .map_err(|wrong| scene.report(&wrong, &listing))
}

/// SIGTERM in the middle of the report, which takes longer than the grace.
async fn terminate_in_a_handler(database: Database) -> Result<(), Failed> {
    let mut scene = Scene::new(database)?;
    scene.start(1)?;
    let first = scene.until_started(REPORT).await?;
    scene.terminate_all(GRACE + TOLERANCE).await?;
    let listing = scene.list().await?;
    let find = |listing: &Listing| listing.iter().find(|row| row.id == first.execution).cloned();
    let row = find(&listing).ok_or_else(|| scene.report("the report is gone", &listing))?;
    expect((row.state, row.attempt, row.fence.0) == (State::Scheduled, 0, first.fence), || {
        let found = (row.state, row.attempt, row.fence.0);
        scene.report(&format!("given back at no charge, not (state, attempt, fence) {found:?}"), &listing)
    })?;
    let held = listing.iter().find(|row| row.state == State::Running);
    expect(held.is_none(), || scene.report(&format!("nothing is held by an ended process, but {held:?}"), &listing))?;

    // Whoever comes next need not wait for a lease.
    scene.start(1)?;
    let row = scene
        .until("the next process finishes the report", |listing| {
            find(listing).filter(|row| row.state == State::Succeeded)
        })
        .await?;
    let again = scene.starts().into_iter().filter(|start| start.execution == first.execution && *start != first);
    let again: Vec<_> = again.map(|start| (start.attempt, start.fence)).collect();
    expect(row.attempt == 1 && again == [(1, first.fence + 1)], || {
        let text = format!("the report runs again once as attempt 1 with a larger fence, not {again:?}: {row:?}");
        scene.report(&text, &listing)
    })
}

/// Several processes find an empty database in the same moment; a few rounds, since a race may go well by luck.
async fn boot_at_once(database: Database) -> Result<(), Failed> {
    for _ in 0..3 {
        let mut scene = Scene::new(database)?;
        scene.start(3)?;
        scene.all_serving().await?;
        let version = PgStore::connect(scene.place()).await?.schema_version().await?;
        expect(version == SCHEMA_VERSION, || {
            format!("the schema is version {version}, not {SCHEMA_VERSION}").into()
        })?;
        scene
            .until("a metering has succeeded", |listing| listing.of(METER).find(|row| is_done(row)).map(drop))
            .await?;
        scene.terminate_all(GRACE + TOLERANCE).await?;
    }
    Ok(())
}

fn is_done(row: &Execution) -> bool {
    row.state == State::Succeeded
}

fn is_done_by(row: &Execution, runner: Incarnation) -> bool {
    is_done(row) && row.lease.as_ref().is_some_and(|lease| lease.runner == runner)
}

fn expect(holds: bool, wrong: impl FnOnce() -> Failed) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(wrong()) }
}
