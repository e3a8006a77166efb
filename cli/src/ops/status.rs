//! The state of a database in a few lines, and whether it is well.

use serde_json::json;
use tourbillon::{
    health::{Bounds, JobHealth, Report},
    model::{Execution, State},
    store::{JobStats, ListRecent, SCHEMA_VERSION},
};

use super::{Answer, args::StatusArgs, database::Database, json, text::age};

/// `status`.
pub(super) async fn run(database: &Database, args: &StatusArgs) -> Result<Answer, String> {
    let report = database.health(&Bounds { missed_periods: args.stale_after, max_lag: args.max_lag }).await?;
    let dead = ListRecent { states: vec![State::Dead], ..ListRecent::new(1) };
    let last_dead = database.ask(dead).await?.executions.into_iter().next();
    if args.at.json {
        json::print(&json!({
            "database": database.name, "schema_version": SCHEMA_VERSION, "is_healthy": report.is_healthy(),
            "oldest_due": report.oldest_due().map(|(at, job)| json!({"due_at": at, "job": job})),
            "lag_ms": u64::try_from(report.lag().as_millis()).unwrap_or(u64::MAX),
            "health": report, "last_dead": last_dead,
        }))?;
    } else {
        print(&database.name, &report, last_dead.as_ref());
    }
    Ok(if report.is_healthy() { Answer::Yes } else { Answer::No })
}

fn print(name: &str, report: &Report, last_dead: Option<&Execution>) {
    let now = report.now;
    let count = |count: fn(&JobStats) -> u64| -> u64 {
        let live = report.jobs.iter().map(|job| &job.live).chain(report.queues.iter().map(|queue| &queue.live));
        live.map(count).sum()
    };
    let (scheduled, running, retryable) = (count(|c| c.scheduled), count(|c| c.running), count(|c| c.retryable));
    println!("database      {name} (schema version {SCHEMA_VERSION})");
    println!("its clock     {now}");
    println!("jobs          {} registered{}", report.jobs.len(), apart(report));
    println!("live          {scheduled} scheduled, {running} running, {retryable} retryable");
    match report.oldest_due() {
        Some((at, job)) => println!("oldest due    {} ({job})", age(at, now)),
        None => println!("oldest due    nothing is due"),
    }
    match report.jobs.iter().filter_map(|job| Some((job.last_success?.finished_at, &job.job))).max() {
        Some((at, job)) => println!("last success  {} ({job})", age(at, now)),
        None => println!("last success  no slot succeeded yet"),
    }
    match last_dead {
        Some(row) => println!("last dead     {} ({}, {})", age(row.updated_at, now), row.job, row.id),
        None => println!("last dead     none"),
    }
    let held = report.locks.iter().filter(|lock| lock.held_by.is_some()).count();
    println!("locks         {held} held of {}", report.locks.len());
    if report.is_healthy() {
        println!("health        nothing is stale or late");
    }
    for finding in &report.findings {
        println!("unwell        {finding}");
    }
}

/// What of the jobs is not as usual.
fn apart(report: &Report) -> String {
    let several = |fits: fn(&JobHealth) -> bool, what: &str| {
        let count = report.jobs.iter().filter(|job| fits(job)).count();
        if count > 0 { format!(", {count} {what}") } else { String::new() }
    };
    several(|job| job.paused_at.is_some(), "paused") + &several(|job| job.stale_scopes() > 0, "stale")
}
