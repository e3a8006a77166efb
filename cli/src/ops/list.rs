//! The listings: jobs, scopes, executions, queues, locks, missed slots.

use std::collections::BTreeSet;

use serde_json::json;
use tourbillon::{
    model::{Execution, ExecutionId, Generation, JobName, LockName, Timestamp},
    store::{
        Direction, ItemOrder, ListItems, ListJobs, ListLocks, ListRecent, ListScopes, ListSkipped, Lives,
        ReadQueueStats, ReadStats,
    },
};

use super::{
    Answer,
    args::{ExecutionsArgs, JobsArgs, MissedArgs, PageArgs, QueueArgs, scope, states},
    database::Database,
    json,
    text::{Table, age, age_of, dash, fate, line, rate},
};

/// Most characters of a holder that is shown: enough of an incarnation to tell two apart.
const SHORT_ID: usize = 8;

/// `jobs`.
pub(super) async fn jobs(database: &Database, args: &JobsArgs) -> Result<Answer, String> {
    if let Some(job) = &args.job {
        return scopes(database, job, args).await;
    }
    let after = args.after.as_deref().map(JobName::new).transpose().map_err(|error| format!("--after: {error}"))?;
    let page = database.ask(ListJobs { after, limit: args.limit }).await?;
    let stats = database.ask(ReadStats {}).await?.jobs;
    let next = more(&page.jobs, args.limit).map(|last| last.job.to_string());
    if args.at.json {
        json::print(&json!({"now": page.now, "jobs": page.jobs, "live": stats, "next": next}))?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(&[
        "JOB",
        "SCHEDULE",
        "STATE",
        "SCOPES",
        "SCHEDULED",
        "RUNNING",
        "RETRYABLE",
        "OLDEST DUE",
        "LAST SUCCESS",
        "OF SLOT",
    ]);
    for entry in &page.jobs {
        let live = stats.get(&entry.job).cloned().unwrap_or_default();
        let due = live.oldest_claimable_at.filter(|at| *at <= page.now);
        let success = entry.last_success;
        table.row([
            entry.job.to_string(),
            entry.rules.as_ref().map_or_else(dash, |rules| rules.schedule.clone()),
            state(entry.paused_at, page.now),
            entry.scopes.to_string(),
            live.scheduled.to_string(),
            live.running.to_string(),
            live.retryable.to_string(),
            age_of(due, page.now),
            age_of(success.map(|success| success.finished_at), page.now),
            success.map_or_else(dash, |success| success.slot_at.to_string()),
        ]);
    }
    print!("{}", table.print("no job was ever registered here"));
    hint(next.as_deref());
    Ok(Answer::Yes)
}

fn state(paused_at: Option<Timestamp>, now: Timestamp) -> String {
    paused_at.map_or_else(|| "active".to_owned(), |at| format!("paused {}", age(at, now)))
}

async fn scopes(database: &Database, job: &JobName, args: &PageArgs) -> Result<Answer, String> {
    let after = args.after.as_deref().map(scope).transpose().map_err(|error| format!("--after: {error}"))?;
    let is_first = after.is_none();
    let page = database.ask(ListScopes { job: job.clone(), after, limit: args.limit }).await?;
    if page.scopes.is_empty() && is_first {
        database.require_known(job).await?;
    }
    let next = more(&page.scopes, args.limit).map(|last| last.cursor.scope.to_string());
    if args.at.json {
        json::print(&json!({"now": page.now, "job": job, "scopes": page.scopes, "next": next}))?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(&["SCOPE", "STATE", "PLANNED UP TO", "NEWEST SLOT", "LAST SUCCESS", "OF SLOT"]);
    for entry in &page.scopes {
        let success = entry.last_success;
        table.row([
            entry.cursor.scope.to_string(),
            state(entry.paused_at, page.now),
            entry.cursor.at.to_string(),
            entry.cursor.newest_slot.map_or_else(dash, |slot| slot.to_string()),
            age_of(success.map(|success| success.finished_at), page.now),
            success.map_or_else(dash, |success| success.slot_at.to_string()),
        ]);
    }
    print!("{}", table.print("no scope of this job was ever planned"));
    hint(next.as_deref());
    Ok(Answer::Yes)
}

/// `executions`.
pub(super) async fn executions(database: &Database, args: &ExecutionsArgs) -> Result<Answer, String> {
    let after = args.after.as_deref().map(place).transpose()?;
    let (job, scope) = (args.job.clone(), args.scope.clone());
    let page =
        database.ask(ListRecent { job, scope, states: states(&args.states), after, limit: args.limit }).await?;
    if page.executions.is_empty()
        && let Some(job) = &args.job
    {
        database.require_known(job).await?;
    }
    let next = more(&page.executions, args.limit).map(place_of);
    if args.at.json {
        json::print(&json!({"now": page.now, "executions": page.executions, "next": next}))?;
        return Ok(Answer::Yes);
    }
    print!("{}", rows(&page.executions, page.now).print("no execution is as asked"));
    hint(next.as_deref());
    Ok(Answer::Yes)
}

/// Executions as a table.
pub(super) fn rows(executions: &[Execution], now: Timestamp) -> Table {
    let mut table = Table::new(&["ID", "JOB", "SCOPE", "STATE", "ATTEMPT", "SLOT", "CHANGED", "WHY"]);
    for row in executions {
        table.row([
            row.id.to_string(),
            row.job.to_string(),
            row.scope.to_string(),
            row.state.to_string(),
            format!("{}/{}", row.attempt, row.policy.max_attempts),
            row.slot_at.map_or_else(dash, |slot| slot.to_string()),
            age(row.updated_at, now),
            fate(row, now),
        ]);
    }
    table
}

/// `queue`.
pub(super) async fn queue(database: &Database, args: &QueueArgs) -> Result<Answer, String> {
    match &args.queue {
        Some(queue) => items(database, queue, args).await,
        None => queues(database, args).await,
    }
}

async fn queues(database: &Database, args: &QueueArgs) -> Result<Answer, String> {
    let jobs: BTreeSet<_> = database.jobs().await?.into_iter().map(|entry| entry.job).collect();
    let stats = database.ask(ReadStats {}).await?;
    let queues: Vec<_> = stats.jobs.iter().filter(|(name, _)| !jobs.contains(*name)).collect();
    if args.at.json {
        let queues: serde_json::Map<_, _> =
            queues.iter().map(|(name, live)| (name.to_string(), json!(live))).collect();
        json::print(&json!({"now": stats.now, "queues": queues}))?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(&["QUEUE", "SCHEDULED", "RUNNING", "RETRYABLE", "OLDEST DUE", "RATE"]);
    for (name, live) in queues {
        let due = live.oldest_claimable_at.filter(|at| *at <= stats.now);
        let counts = [live.scheduled, live.running, live.retryable].map(|count| count.to_string());
        let rate = live.turns.map_or_else(dash, |turns| rate(&turns, stats.now));
        table.row([name.to_string()].into_iter().chain(counts).chain([age_of(due, stats.now), rate]));
    }
    print!("{}", table.print("no queue holds a live item"));
    Ok(Answer::Yes)
}

async fn items(database: &Database, queue: &JobName, args: &QueueArgs) -> Result<Answer, String> {
    let stats = database.ask(ReadQueueStats { queue: queue.clone() }).await?;
    let list = ListItems {
        states: states(&args.states),
        lives: Lives::Newest,
        order: ItemOrder::Updated,
        direction: Direction::Descending,
        offset: args.offset,
        ..ListItems::new(queue.clone(), args.limit)
    };
    let page = database.ask(list).await?;
    if page.items.is_empty() && args.offset == 0 {
        database.require_known(queue).await?;
    }
    if args.at.json {
        json::print(&json!({"now": page.now, "queue": queue, "figures": stats, "items": page.items}))?;
        return Ok(Answer::Yes);
    }
    println!(
        "{queue}: {} scheduled, {} running, {} retryable; {} succeeded, {} dead, {} cancelled, {} skipped; {} retries",
        stats.scheduled,
        stats.running,
        stats.retryable,
        stats.succeeded,
        stats.dead,
        stats.cancelled,
        stats.skipped,
        stats.retries
    );
    if let Some(oldest) = stats.oldest_at {
        println!("oldest live item made {}", age(oldest, stats.now));
    }
    if let Some(turns) = &stats.turns {
        println!("rate: {}", rate(turns, stats.now));
    }
    println!();
    print!("{}", rows(&page.items, page.now).print("no item is as asked"));
    if page.items.len() == args.limit as usize {
        println!("\nmore: --offset {}", u64::from(args.offset) + u64::from(args.limit));
    }
    Ok(Answer::Yes)
}

/// `locks`.
pub(super) async fn locks(database: &Database, args: &PageArgs) -> Result<Answer, String> {
    let after = args.after.as_deref().map(LockName::new).transpose().map_err(|error| format!("--after: {error}"))?;
    let page = database.ask(ListLocks { after, limit: args.limit }).await?;
    let next = more(&page.locks, args.limit).map(|last| last.name.to_string());
    if args.at.json {
        json::print(&json!({"now": page.now, "locks": page.locks, "next": next}))?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(&["LOCK", "HELD", "EPOCH", "HOLDER", "SINCE", "EXPIRES"]);
    for lock in &page.locks {
        let held = lock.is_held(page.now);
        table.row([
            lock.name.to_string(),
            if held { "yes" } else { "no" }.to_owned(),
            lock.epoch.to_string(),
            line(&lock.holder.to_string(), SHORT_ID),
            age(lock.acquired_at, page.now),
            lock.released_at
                .map_or_else(|| age(lock.expires_at, page.now), |at| format!("given back {}", age(at, page.now))),
        ]);
    }
    print!("{}", table.print("no lock was ever taken here"));
    hint(next.as_deref());
    Ok(Answer::Yes)
}

/// `missed`.
pub(super) async fn missed(database: &Database, args: &MissedArgs) -> Result<Answer, String> {
    let page = database.ask(ListSkipped { job: args.job.clone(), offset: args.offset, limit: args.limit }).await?;
    if let (true, Some(job)) = (page.entries.is_empty(), &args.job) {
        database.require_known(job).await?;
    }
    if args.at.json {
        json::print(&page)?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(&["JOB", "SCOPE", "AFTER", "THROUGH", "SLOTS", "REASON", "RECORDED"]);
    for entry in &page.entries {
        table.row([
            entry.job.to_string(),
            entry.scope.to_string(),
            entry.slots.after.to_string(),
            entry.slots.through.to_string(),
            entry.slots.count.map_or_else(|| "?".to_owned(), |count| count.to_string()),
            entry.slots.reason.as_str().replace('_', " "),
            entry.recorded_at.to_string(),
        ]);
    }
    print!("{}", table.print("no slot was missed"));
    if page.entries.len() == args.limit as usize {
        println!("\nmore: --offset {}", u64::from(args.offset) + u64::from(args.limit));
    }
    Ok(Answer::Yes)
}

/// The last row of a full page: there may be more behind it.
fn more<T>(rows: &[T], limit: u32) -> Option<&T> {
    rows.last().filter(|_| rows.len() == limit as usize)
}

fn hint(next: Option<&str>) {
    if let Some(next) = next {
        println!("\nmore: --after '{next}'");
    }
}

/// Where a listing by change continues: instant, id and generation of its last row.
fn place_of(row: &Execution) -> String {
    format!("{}/{}/{}", row.updated_at, row.id, row.generation)
}

fn place(text: &str) -> Result<(Timestamp, ExecutionId, Generation), String> {
    let mut parts = text.split('/');
    let read = || Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?));
    let mut read = read;
    let (at, id, generation): (Timestamp, ExecutionId, u32) = read()
        .ok_or("--after: give the whole row that the page before named, such as 2027-01-15T08:00:00Z/<id>/1")?;
    Ok((at, id, Generation(generation)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let text = "2027-01-15T08:00:00.000001Z/00000000-0000-0000-0000-000000000007/2";
        let (at, id, generation) = place(text).expect("written by us");
        assert_eq!(format!("{at}/{id}/{generation}"), text);
        assert!(place("2027-01-15T08:00:00Z").is_err());
    }
}
