//! Owns how a `[[queue]]` table becomes a queue: how its items are produced, and how they are worked on.

use std::time::Duration;

use tourbillon::{
    model::{JobName, Retention},
    plan::Backoff,
    queue::Delivery,
    store::Counts,
};

use super::{
    error::ScenarioError,
    job::{idle, read_backoff, read_work},
    shape::{Enqueues, Operates, QueueShape},
    table::{Table, Value},
};
use crate::history::QueueRate;

/// Keys of a `[[queue]]`.
pub(super) const QUEUE_KEYS: &[&str] = &[
    "name",
    "produce_every",
    "operate_every",
    "cancel_percent",
    "operates",
    "keys",
    "counts",
    "period",
    "retain",
    "enqueues",
    "capacity",
    "concurrency_per_key",
    "limit_keys",
    "rate",
    "rate_per_key",
    "ttl",
    "delay",
    "delivery",
    "workers",
    "run_timeout",
    "lease",
    "max_attempts",
    "backoff",
    "work",
];

/// For all items, or for those of each key; core refuses what does not go together.
fn read_rate(table: &Table<'_, '_>) -> Result<Option<QueueRate>, ScenarioError> {
    const KEYS: &[&str] = &["items", "period", "burst"];
    const LIKE: &str = "`{ items = 5, period = \"10s\" }`, and `burst = 3`, if so many may begin at once";
    if table.get("rate").is_some() && table.get("rate_per_key").is_some() {
        let what = format!("{}: a rate for all items and one per key: choose one", table.what);
        return Err(table.error_at("rate_per_key", what));
    }
    let Some((key, value)) = ["rate", "rate_per_key"].iter().find_map(|key| Some((*key, table.get(key)?))) else {
        return Ok(None);
    };
    let rate = value.table(&format!("`{key}`"), LIKE, KEYS)?;
    Ok(Some(QueueRate {
        items: rate.need("items", "say how many: `items = 5`")?.integer(1, 1_000_000)?,
        period: rate.need("period", "say in which time: `period = \"10s\"`")?.duration()?,
        burst: rate.or("burst", 1, |value| value.integer(1, 1_000_000))?,
        per_key: key == "rate_per_key",
    }))
}

const DAY: Duration = Duration::from_secs(86_400);

/// Reads one queue. Its name is in every error; what is left to say is said by core, when the scenario is read.
pub(super) fn read_queue(mut table: Table<'_, '_>) -> Result<QueueShape, ScenarioError> {
    let named = table.need("name", "give each queue a name of its own: `name = \"push\"`")?;
    let name = named.text()?;
    JobName::new(name).map_err(|error| named.error(format!("queue `{name}`: {error}")))?;
    table.what = format!("queue `{name}`");
    let run_timeout = table.or("run_timeout", Duration::from_secs(60), Value::duration)?;
    let within = |value: &Value<'_, '_>| value.duration_within(Duration::from_millis(1), 30 * DAY).map(Some);
    let shape = QueueShape {
        name: name.to_owned(),
        produce_every: table.or("produce_every", Duration::from_secs(5), |value| {
            value.duration_within(Duration::from_millis(100), DAY)
        })?,
        operate_every: table
            .or("operate_every", None, |value| value.duration_within(Duration::from_secs(1), DAY).map(Some))?,
        cancel_percent: table.or("cancel_percent", 0, |value| value.integer(0, 100))?,
        operates: table.or("operates", Operates::Drawn, |value| {
            value.one_of("choice", &[("drawn", Operates::Drawn), ("in_turn", Operates::InTurn)])
        })?,
        keys: table.or("keys", 0, |value| value.integer(0, 200))?,
        counts: table.or("counts", Counts::Live, |value| {
            let names = [("live", Counts::Live), ("succeeded", Counts::Succeeded), ("finished", Counts::Finished)];
            value.one_of("what counts", &names)
        })?,
        period: table.or("period", None, within)?,
        enqueues: table.or("enqueues", Enqueues::InBatches, |value| {
            value.one_of("way", &[("in_batches", Enqueues::InBatches), ("by_callers", Enqueues::ByCallers)])
        })?,
        retain: table.or("retain", Retention::Everything, |value| {
            let names = [
                ("everything", Retention::Everything),
                ("failures", Retention::Failures),
                ("nothing", Retention::Nothing),
            ];
            value.one_of("retention", &names)
        })?,
        capacity: table.or("capacity", None, |value| value.integer(0, 100_000).map(Some))?,
        concurrency_per_key: table.or("concurrency_per_key", None, |value| value.integer(1, 1_000).map(Some))?,
        rate: read_rate(&table)?,
        limit_keys: table.or("limit_keys", 1, |value| value.integer(1, 200))?,
        ttl: table.or("ttl", None, within)?,
        delay: table.or("delay", Duration::ZERO, |value| value.duration_within(Duration::ZERO, DAY))?,
        delivery: table.or("delivery", Delivery::AtLeastOnce, |value| {
            let names = [("at_least_once", Delivery::AtLeastOnce), ("at_most_once", Delivery::AtMostOnce)];
            value.one_of("delivery", &names)
        })?,
        workers: table.or("workers", 4, |value| value.integer(1, 1_000))?,
        run_timeout,
        lease: table.or("lease", run_timeout + Duration::from_secs(30), Value::duration)?,
        max_attempts: table.or("max_attempts", None, |value| value.integer(1, 1_000).map(Some))?,
        backoff: table.or("backoff", Backoff::exponential(Duration::from_secs(10)), read_backoff)?,
        work: table.or("work", idle(), read_work)?,
    };
    if shape.enqueues == Enqueues::ByCallers && !shape.retain.is_everything() {
        // Each would be refused, and a scenario without items breaks nothing.
        let mend = "callers know their items by ids, which a queue that forgets does not take: retain everything, or enqueue in batches";
        return Err(table.error_at("enqueues", format!("{}: {mend}", table.what)));
    }
    super::queues::check(&shape).map_err(|error| named.error(error.to_string()))?;
    Ok(shape)
}
