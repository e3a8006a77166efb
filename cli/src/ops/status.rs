//! The state of a database in a few lines.

use serde_json::json;
use tourbillon::{
    model::State,
    store::{ListJobs, ListLocks, ListRecent, MAX_BATCH, ReadStats, SCHEMA_VERSION},
};

use super::{
    Answer,
    args::StatusArgs,
    database::Database,
    json,
    text::{age, span},
};

/// `status`.
pub(super) async fn run(database: &Database, args: &StatusArgs) -> Result<Answer, String> {
    let stats = database.ask(ReadStats {}).await?;
    let jobs = database.ask(ListJobs { after: None, limit: MAX_BATCH }).await?.jobs;
    let locks = database.ask(ListLocks { after: None, limit: MAX_BATCH }).await?.locks;
    let dead = ListRecent { states: vec![State::Dead], ..ListRecent::new(1) };
    let last_dead = database.ask(dead).await?.executions.into_iter().next();
    let now = stats.now;

    let live = |count: fn(&tourbillon::store::JobStats) -> u64| stats.jobs.values().map(count).sum::<u64>();
    let (scheduled, running, retryable) =
        (live(|job| job.scheduled), live(|job| job.running), live(|job| job.retryable));
    let due =
        stats.jobs.iter().filter_map(|(name, job)| Some((job.oldest_claimable_at.filter(|at| *at <= now)?, name)));
    let oldest = due.min();
    let lag = oldest.map(|(at, _)| now.since(at)).unwrap_or_default();
    let is_late = args.max_lag.is_some_and(|max| lag > max);
    let held = locks.iter().filter(|lock| lock.is_held(now)).count();
    let last_success = jobs.iter().filter_map(|job| Some((job.last_success?.finished_at, &job.job))).max();

    if args.at.json {
        json::print(&json!({
            "database": database.name, "schema_version": SCHEMA_VERSION, "now": now, "jobs": jobs.len(),
            "scheduled": scheduled, "running": running, "retryable": retryable,
            "oldest_due": oldest.map(|(at, job)| json!({"due_at": at, "job": job})),
            "lag_ms": u64::try_from(lag.as_millis()).unwrap_or(u64::MAX), "is_late": is_late,
            "locks": locks.len(), "locks_held": held,
            "last_success": last_success.map(|(at, job)| json!({"finished_at": at, "job": job})),
            "last_dead": last_dead,
        }))?;
    } else {
        let many =
            |count: usize| if count == MAX_BATCH as usize { format!("{count} or more") } else { count.to_string() };
        println!("database      {} (schema version {SCHEMA_VERSION})", database.name);
        println!("its clock     {now}");
        println!("jobs          {} registered", many(jobs.len()));
        println!("live          {scheduled} scheduled, {running} running, {retryable} retryable");
        match oldest {
            Some((at, job)) => println!("oldest due    {} ({job})", age(at, now)),
            None => println!("oldest due    nothing is due"),
        }
        match last_success {
            Some((at, job)) => println!("last success  {} ({job})", age(at, now)),
            None => println!("last success  no slot succeeded yet"),
        }
        match &last_dead {
            Some(row) => println!("last dead     {} ({}, {})", age(row.updated_at, now), row.job, row.id),
            None => println!("last dead     none"),
        }
        println!("locks         {held} held of {}", many(locks.len()));
        if let (true, Some(max)) = (is_late, args.max_lag) {
            println!("late          due for {}, allowed is {}", span(lag), span(max));
        }
    }
    Ok(if is_late { Answer::No } else { Answer::Yes })
}
