//! Owns what is measured on Postgres and in a file: each bench runs ours and the ceiling one after the other.

use std::time::Duration;

use tourbillon_sqlite::Synchronous;

use crate::{
    file::{self, Side, Task},
    report::{Plan, Sheet},
    server::{Database, Server},
    system::{DELETING, KEEPING, OURS, OURS_COALESCING, OURS_KEEPING, OURS_NEAR, System, field},
    workload::{Outcome, now, pause},
};

/// How the names of the benches begin.
pub(crate) const NAMES: &str =
    "bulk, drain, growth, snapshot, enqueue, transaction, latency, near latency, idle, fail-over, SQLite";

/// One round of a report.
pub(crate) struct Round<'a> {
    pub(crate) number: u64,
    pub(crate) server: &'a Server,
    pub(crate) plan: &'a Plan,
    pub(crate) sheet: &'a mut Sheet,
}

impl Round<'_> {
    fn wants(&self, name: &str) -> bool {
        name.starts_with(&self.plan.only)
    }
}

/// Every bench that is wanted.
pub(crate) async fn all(round: &mut Round<'_>) -> Outcome<()> {
    for system in [&OURS, &DELETING] {
        for processes in [1, 2, 4, 8, 16] {
            drain(round, system, processes).await?;
        }
    }
    for system in [&OURS_KEEPING, &KEEPING] {
        for processes in [1, 4] {
            drain(round, system, processes).await?;
        }
    }
    for finished in [0, round.plan.finished] {
        for system in [&OURS_KEEPING, &KEEPING] {
            growth(round, system, finished).await?;
        }
    }
    for is_held in [false, true] {
        for system in [&OURS, &DELETING] {
            snapshot(round, system, is_held).await?;
        }
    }
    for (ours, verb, more) in
        [(&OURS, "single", ""), (&OURS_COALESCING, "single", ", coalescing"), (&OURS, "within", "")]
    {
        let bench = if verb == "single" { "enqueue" } else { "transaction" };
        // One caller has nobody to share with; with many, sharing is what there is to see.
        let of = if more.is_empty() {
            [("1", "2000", "1 caller"), ("16", "8000", "16 callers")]
        } else {
            [("16", "8000", "16 callers"), ("64", "32000", "64 callers")]
        };
        for (callers, jobs, who) in of {
            enqueue(round, ours, &format!("{bench}, {who}{more}"), &[verb, jobs, callers]).await?;
        }
    }
    for (ours, name) in [(&OURS, "latency"), (&OURS_NEAR, "near latency")] {
        latency(round, ours, name).await?;
    }
    idle(round).await?;
    fail_over(round).await?;
    sqlite(round).await
}

async fn drain(round: &mut Round<'_>, system: &System, processes: u32) -> Outcome<()> {
    let name = format!("drain, {processes} process{}", if processes == 1 { "" } else { "es" });
    let fills = processes == 1 && round.wants("bulk enqueue");
    if !round.wants(&name) && !fills {
        return Ok(());
    }
    let (plan, sheet) = (round.plan, &mut *round.sheet);
    let mut database = system.database(round.server).await?;
    sheet.add("bulk enqueue", "rows/s", system, system.fill(plan.jobs, &database)?);
    let done = database.race(&system.race(&system.worker(), processes, plan.jobs)).await?;
    sheet.add(&name, "jobs/s", system, done.jobs_per_s);
    sheet.add(&format!("{name}: server"), "us CPU/job", system, done.server_us);
    sheet.add(&format!("{name}: client"), "us CPU/job", system, done.client_us);
    sheet.add(&format!("{name}: WAL"), "B/job", system, done.wal_bytes);
    Ok(())
}

/// A drain by one process beside a history.
async fn growth(round: &mut Round<'_>, system: &System, finished: u64) -> Outcome<()> {
    if !round.wants("growth") {
        return Ok(());
    }
    let mut database = system.database(round.server).await?;
    system.age(finished, &mut database).await?;
    system.fill(round.plan.jobs, &database)?;
    let done = database.race(&system.race(&system.worker(), 1, round.plan.jobs)).await?;
    round.sheet.add(&format!("growth, {finished} finished"), "jobs/s", system, done.jobs_per_s);
    Ok(())
}

/// A drain by one process, for which nothing that it deletes may be forgotten.
async fn snapshot(round: &mut Round<'_>, system: &System, is_held: bool) -> Outcome<()> {
    if !round.wants("snapshot") {
        return Ok(());
    }
    let mut database = system.database(round.server).await?;
    system.fill(round.plan.snapshot_jobs, &database)?;
    database.run("vacuum analyze").await?;
    let held = if is_held { Some(database.snapshot().await?) } else { None };
    let done = database.race(&system.race(&system.worker(), 1, round.plan.snapshot_jobs)).await?;
    drop(held);
    let name = if is_held { "snapshot, one held" } else { "snapshot, none held" };
    round.sheet.add(name, "jobs/s", system, done.jobs_per_s);
    Ok(())
}

async fn enqueue(round: &mut Round<'_>, ours: &System, name: &str, words: &[&str]) -> Outcome<()> {
    if !round.wants(name) {
        return Ok(());
    }
    for system in [ours, &DELETING] {
        let database = system.database(round.server).await?;
        round.sheet.add(name, "rows/s", system, field(&system.finish(words, &database)?, "RATE "));
    }
    Ok(())
}

async fn latency(round: &mut Round<'_>, ours: &System, name: &str) -> Outcome<()> {
    if !round.wants(name) {
        return Ok(());
    }
    for system in [ours, &DELETING] {
        let database = system.database(round.server).await?;
        let told = system.finish(&["lat", &round.plan.samples.to_string(), "20"], &database)?;
        round.sheet.add(&format!("{name} p50"), "us", system, field(&told, "p50="));
        round.sheet.add(&format!("{name} p99"), "us", system, field(&told, "p99="));
    }
    Ok(())
}

/// One process with nothing to do: a worker of the one queue, and a replica with many jobs and queues.
async fn idle(round: &mut Round<'_>) -> Outcome<()> {
    const MANY: &str = "idle, 100 jobs and 20 queues";
    if !round.wants("idle") {
        return Ok(());
    }
    for (name, system, words) in [
        ("idle", &OURS, &["worker"][..]),
        ("idle", &DELETING, &["worker"]),
        (MANY, &OURS, &["replica", "100", "20"]),
        // It knows one queue.
        (MANY, &DELETING, &["worker"]),
    ] {
        let mut database = system.database(round.server).await?;
        let _process = system.spawn(words, &database)?;
        round.sheet.add(name, "statements/s", system, statements(&mut database).await?);
    }
    Ok(())
}

/// Statements a second of a process that was just started.
async fn statements(database: &mut Database) -> Outcome<f64> {
    // Probes, readings of cursors and rescues come every 15 to 30 s.
    const SECONDS: u64 = 60;
    pause(Duration::from_secs(3)).await;
    let before = database.cost().await?.statements;
    pause(Duration::from_secs(SECONDS)).await;
    let after = database.cost().await?.statements;
    // Those with which the costs were asked are three.
    Ok((after - before - 3) as f64 / SECONDS as f64)
}

/// From the kill of a replica that leads and runs a job in each worker until another one leads, and has begun all of the
/// jobs again, with default settings. No queue with leases could do it sooner than they end: what is left of them at the
/// kill stands in the ceiling's place.
async fn fail_over(round: &mut Round<'_>) -> Outcome<()> {
    const JOBS: u64 = 10;
    const ROWS: &str = "fail-over, 10 running jobs";
    const LEADER: &str = "fail-over, leader";
    const LEASES: &str = "select (extract(epoch from max(lease_expires_at) - clock_timestamp()) * 1000)::bigint \
                          from tourbillon.execution";
    const LOCK: &str = "select (extract(epoch from max(expires_at) - clock_timestamp()) * 1000)::bigint \
                        from tourbillon.lock where name = 'watch'";
    const PATIENCE: Duration = Duration::from_secs(180);
    if !round.wants("fail-over") {
        return Ok(());
    }
    let mut database = OURS.database(round.server).await?;
    let first = OURS.spawn(&["hold"], &database)?;
    OURS.fill(JOBS, &database)?;
    let began = now();
    while !first.leads() || first.runs() < JOBS {
        if began.elapsed() > PATIENCE {
            return Err("the first replica neither leads nor runs all jobs: fail-over cannot be measured".into());
        }
        pause(Duration::from_millis(10)).await;
    }
    let second = OURS.spawn(&["hold"], &database)?;
    // It is up, and renewals are under way, each round at another place between two of them.
    pause(Duration::from_secs(3 + 4 * round.number)).await;
    let (leases, lock) = (database.number(LEASES).await?, database.number(LOCK).await?);
    drop(first);
    let began = now();
    let (mut led_after, mut run_after) = (None, None);
    while led_after.is_none() || run_after.is_none() {
        if began.elapsed() > PATIENCE {
            return Err(format!("nobody took over within {PATIENCE:?}").into());
        }
        pause(Duration::from_millis(5)).await;
        if second.leads() {
            led_after.get_or_insert(began.elapsed());
        }
        if second.runs() >= JOBS {
            run_after.get_or_insert(began.elapsed());
        }
    }
    for (name, left_ms, after) in [(ROWS, leases, run_after), (LEADER, lock, led_after)] {
        round.sheet.add(name, "s", &OURS, after.unwrap_or_default().as_secs_f64());
        round.sheet.add(name, "s", &DELETING, left_ms as f64 / 1e3);
    }
    Ok(())
}

/// In a file, with and without a flush for each commit.
async fn sqlite(round: &mut Round<'_>) -> Outcome<()> {
    for (synchronous, name) in [(Synchronous::Full, "SQLite FULL"), (Synchronous::Normal, "SQLite NORMAL")] {
        if !round.wants(name) {
            continue;
        }
        let plan = round.plan;
        for (side, system) in [(Side::Ours, &OURS), (Side::Ceiling, &DELETING)] {
            let task = Task { jobs: plan.jobs, synchronous, finished: 0, keeps: false };
            let rates = file::drain(side, &task).await?;
            round.sheet.add(&format!("{name}, bulk enqueue"), "rows/s", system, rates.enqueued);
            round.sheet.add(&format!("{name}, drain"), "jobs/s", system, rates.drained);
            for (callers, more) in [(1, "1 caller"), (16, "16 callers")] {
                let rate = file::single(side, synchronous, 4_000, callers, false).await?;
                round.sheet.add(&format!("{name}, enqueue, {more}"), "rows/s", system, rate);
            }
            let rate = file::single(side, synchronous, 8_000, 16, true).await?;
            round.sheet.add(&format!("{name}, enqueue, 16 callers, coalescing"), "rows/s", system, rate);
            let latencies = file::latency(side, synchronous, plan.samples).await?;
            round.sheet.add(&format!("{name}, latency p50"), "us", system, latencies.at(0.5));
            round.sheet.add(&format!("{name}, latency p99"), "us", system, latencies.at(0.99));
        }
        for finished in [0, plan.finished] {
            for (side, system) in [(Side::Ours, &OURS_KEEPING), (Side::Ceiling, &KEEPING)] {
                let task = Task { jobs: plan.jobs, synchronous, finished, keeps: true };
                let rates = file::drain(side, &task).await?;
                round.sheet.add(&format!("{name}, growth, {finished} finished"), "jobs/s", system, rates.drained);
            }
        }
    }
    Ok(())
}
