//! What a replica counts and times, for the `metrics` facade: names, labels and units in one place. Without the feature
//! `metrics` all of it is nothing, and the facade is no dependency. Decides nothing, and is asked by nobody.
//!
//! The names are stable, and a table in `docs/OPERATING.md`. What the database knows (depths, lag, staleness) is not here: one
//! look at it says it for all replicas.

use std::time::Duration;

use crate::{
    job::AttemptReport,
    model::{Epoch, JobName, LockName, ServiceName},
    runtime::{HandlerEnd, Monotonic, Runtime},
    service::TickOutcome,
    store::{Claimed, Reply, StoreError},
};

/// False in most builds: then what would be measured is not even looked at.
const ON: bool = cfg!(feature = "metrics");

/// What kind of metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Name, kind, help.
type Metric = (&'static str, Kind, &'static str);

const CALL_SECONDS: Metric =
    ("tourbillon_store_call_duration_seconds", Kind::Histogram, "Store calls, each transmission by itself, by verb.");
const CALL_ERRORS: Metric =
    ("tourbillon_store_call_errors_total", Kind::Counter, "Store calls that failed, by verb and kind of error.");
const CLAIMED: Metric = ("tourbillon_claimed_total", Kind::Counter, "Executions claimed, by job or queue.");
const CLAIM_LAG: Metric = (
    "tourbillon_claim_lag_seconds",
    Kind::Histogram,
    "From when an execution was due to its first claim; the delay of an item counts.",
);
const REFUSED: Metric =
    ("tourbillon_leases_refused_total", Kind::Counter, "Rows that were not this replica's any more, by verb.");
const RESCUED: Metric =
    ("tourbillon_rescued_total", Kind::Counter, "Executions whose lease expired and that may not run again.");
const ATTEMPTS: Metric =
    ("tourbillon_attempts_total", Kind::Counter, "Handlers that ended, by job or queue and how they ended.");
const ATTEMPT_SECONDS: Metric =
    ("tourbillon_attempt_duration_seconds", Kind::Histogram, "Time in handlers, by job or queue.");
const ENDED: Metric = (
    "tourbillon_recorded_total",
    Kind::Counter,
    "Attempts whose end was recorded, by job or queue and the state that the execution went to.",
);
const TICKS: Metric = ("tourbillon_ticks_total", Kind::Counter, "Ticks of a service, by result.");
const TICK_SECONDS: Metric = ("tourbillon_tick_duration_seconds", Kind::Histogram, "Passes of a service.");
const LEADS: Metric = ("tourbillon_leads", Kind::Gauge, "1 while this replica leads the group of this lock.");
const LED_EPOCH: Metric = ("tourbillon_led_epoch", Kind::Gauge, "The epoch of this replica's last term, by lock.");

const ALL: [Metric; 13] = [
    CALL_SECONDS,
    CALL_ERRORS,
    CLAIMED,
    CLAIM_LAG,
    REFUSED,
    RESCUED,
    ATTEMPTS,
    ATTEMPT_SECONDS,
    ENDED,
    TICKS,
    TICK_SECONDS,
    LEADS,
    LED_EPOCH,
];

/// Tells the recorder what there is, and in which unit.
pub(super) fn describe() {
    if ON {
        ALL.into_iter().for_each(facade::describe);
    }
}

/// When a call began; nothing where nobody asks.
pub(super) fn begin(runtime: &Runtime) -> Option<Monotonic> {
    ON.then(|| runtime.monotonic())
}

/// A transmission that began then is over.
pub(super) fn call(
    verb: &'static str,
    began: Option<Monotonic>,
    runtime: &Runtime,
    told: &Result<Reply, StoreError>,
) {
    let Some(began) = began else { return };
    facade::time(CALL_SECONDS, &[("verb", verb)], runtime.monotonic().since(began));
    match told {
        Ok(reply) => replied(verb, reply),
        Err(error) => facade::count(CALL_ERRORS, &[("verb", verb), ("kind", error.kind().as_str())], 1),
    }
}

fn replied(verb: &'static str, reply: &Reply) {
    fn refused<T, E>(outcomes: &[Result<T, E>]) -> usize {
        outcomes.iter().filter(|outcome| outcome.is_err()).count()
    }
    let lost = match reply {
        Reply::Claimed(reply) => return claimed(reply),
        Reply::Rescued(reply) => return facade::count(RESCUED, &[], reply.ended.len()),
        Reply::Started(reply) => refused(&reply.outcomes),
        Reply::Renewed(reply) => refused(&reply.outcomes),
        Reply::Settled(reply) => refused(&reply.outcomes),
        _ => return,
    };
    facade::count(REFUSED, &[("verb", verb)], lost);
}

fn claimed(reply: &Claimed) {
    for row in &reply.executions {
        let labels = [("job", row.job.as_str())];
        facade::count(CLAIMED, &labels, 1);
        if row.fence.0 == 1 {
            facade::time(CLAIM_LAG, &labels, reply.now.since(row.due_at));
        }
    }
}

/// A handler ended.
pub(super) fn attempt(job: &JobName, end: HandlerEnd, took: Duration) {
    if ON {
        facade::count(ATTEMPTS, &[("job", job.as_str()), ("outcome", end.as_str())], 1);
        facade::time(ATTEMPT_SECONDS, &[("job", job.as_str())], took);
    }
}

/// The end of an attempt was recorded.
pub(super) fn recorded(end: &AttemptReport) {
    if ON {
        facade::count(ENDED, &[("job", end.queue.as_str()), ("state", end.state.as_str())], 1);
    }
}

/// A tick ended; `took` is how long its pass ran, if there was one.
pub(super) fn tick(service: &ServiceName, outcome: &TickOutcome, took: Option<Duration>) {
    if ON {
        let result = match outcome {
            TickOutcome::Succeeded(_) => "success",
            TickOutcome::Skipped(_) => "skipped",
            TickOutcome::Failed(_) => "failure",
        };
        facade::count(TICKS, &[("service", service.as_str()), ("result", result)], 1);
        if let Some(took) = took {
            facade::time(TICK_SECONDS, &[("service", service.as_str())], took);
        }
    }
}

/// A term began, or ended.
pub(super) fn leads(lock: &LockName, epoch: Option<Epoch>, does: bool) {
    if ON {
        facade::set(LEADS, &[("lock", lock.as_str())], f64::from(u8::from(does)));
        if let Some(epoch) = epoch {
            facade::set(LED_EPOCH, &[("lock", lock.as_str())], epoch.0 as f64);
        }
    }
}

#[cfg(feature = "metrics")]
mod facade {
    use std::time::Duration;

    use metrics::{Label, Unit};

    use super::{Kind, Metric};

    fn labels(pairs: &[(&'static str, &str)]) -> Vec<Label> {
        pairs.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect()
    }

    pub(super) fn describe((name, kind, help): Metric) {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, Unit::Count, help),
            Kind::Gauge => metrics::describe_gauge!(name, Unit::Count, help),
            Kind::Histogram => metrics::describe_histogram!(name, Unit::Seconds, help),
        }
    }

    pub(super) fn count((name, ..): Metric, pairs: &[(&'static str, &str)], by: usize) {
        metrics::counter!(name, labels(pairs)).increment(by as u64);
    }

    pub(super) fn set((name, ..): Metric, pairs: &[(&'static str, &str)], value: f64) {
        metrics::gauge!(name, labels(pairs)).set(value);
    }

    pub(super) fn time((name, ..): Metric, pairs: &[(&'static str, &str)], took: Duration) {
        metrics::histogram!(name, labels(pairs)).record(took.as_secs_f64());
    }
}

#[cfg(not(feature = "metrics"))]
mod facade {
    use std::time::Duration;

    use super::Metric;

    pub(super) const fn describe(_: Metric) {}
    pub(super) const fn count(_: Metric, _: &[(&'static str, &str)], _: usize) {}
    pub(super) const fn set(_: Metric, _: &[(&'static str, &str)], _: f64) {}
    pub(super) const fn time(_: Metric, _: &[(&'static str, &str)], _: Duration) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_in_the_table_of_the_manual_and_named_by_its_unit() {
        let manual = include_str!("../../../docs/OPERATING.md");
        for (name, kind, _) in ALL {
            assert!(manual.contains(&format!("| `{name}` |")), "docs/OPERATING.md has no row for `{name}`");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_seconds"), kind == Kind::Histogram, "{name}");
        }
    }
}
