//! What is stored, in the text format that Prometheus scrapes. Names and units are a table in `docs/OPERATING.md`, and stable.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderName, header},
};
use tourbillon::{
    health::{Finding, Report},
    model::Timestamp,
    store::JobStats,
};

use crate::web::Shared;

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/metrics`. A database that does not answer is a figure, too: what this process knows of itself must not be lost with it.
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> ([(HeaderName, &'static str); 1], String) {
    let mut text = match shared.looks.report(shared.runtime()).await {
        Ok(report) => text(Some(&report)),
        Err(error) => {
            tracing::warn!(%error, "no metrics of the database");
            text(None)
        }
    };
    text += &shared.recorded();
    ([(header::CONTENT_TYPE, FORMAT)], text)
}

/// All metrics of a report; none but that there is no report when it is missing.
fn text(report: Option<&Report>) -> String {
    let mut page = Page(String::new());
    page.gauge("database_up", "1 when the database answered.").row(&[], f64::from(u8::from(report.is_some())));
    let Some(report) = report else { return page.0 };
    page.gauge("database_timestamp_seconds", "The database clock.").row(&[], seconds(report.now));
    page.gauge("healthy", "1 when nothing is stale or late.").row(&[], f64::from(u8::from(report.is_healthy())));
    page.findings(report);
    page.jobs(report);
    page.queues(report);
    let mut held = page.gauge("lock_held", "1 while a process holds the lock.");
    for lock in &report.locks {
        held.row(&[("lock", lock.lock.as_str())], f64::from(u8::from(lock.held_by.is_some())));
    }
    let mut epochs = page.gauge("lock_epoch", "How many times the lock was acquired so far.");
    for lock in &report.locks {
        epochs.row(&[("lock", lock.lock.as_str())], lock.epoch.0 as f64);
    }
    page.0
}

struct Page(String);

impl Page {
    /// Begins a metric.
    fn gauge(&mut self, name: &'static str, help: &str) -> Gauge<'_> {
        let text = &mut self.0;
        let _ = writeln!(text, "# HELP tourbillon_{name} {help}\n# TYPE tourbillon_{name} gauge");
        Gauge { text, name }
    }

    fn findings(&mut self, report: &Report) {
        let stale = report.findings.iter().filter(|finding| matches!(finding, Finding::Stale { .. })).count();
        let mut findings = self.gauge("findings", "Jobs and queues that want a person, by why.");
        findings.row(&[("kind", "stale")], stale as f64);
        findings.row(&[("kind", "late")], (report.findings.len() - stale) as f64);
    }

    fn jobs(&mut self, report: &Report) {
        let mut live = self.gauge("job_executions", "Live executions of a job, by state.");
        for job in &report.jobs {
            live.states("job", job.job.as_str(), &job.live);
        }
        type Value = fn(&tourbillon::health::JobHealth) -> Option<f64>;
        let metrics: [(&str, &str, Value); 6] = [
            ("job_lag_seconds", "How long the oldest due execution of a job has waited.", |job| {
                Some(lag(job.lag_ms))
            }),
            ("job_scopes", "Scopes of a job that were ever planned.", |job| {
                Some(job.scopes.len() as f64 + job.unseen_scopes as f64)
            }),
            ("job_stale_scopes", "Scopes whose last success is older than the schedule allows.", |job| {
                Some(job.stale_scopes() as f64)
            }),
            ("job_paused", "1 while a job as a whole is paused.", |job| {
                Some(f64::from(u8::from(job.paused_at.is_some())))
            }),
            ("job_last_success_timestamp_seconds", "When the newest successful slot of a job ended.", |job| {
                job.last_success.map(|success| seconds(success.finished_at))
            }),
            ("job_next_due_timestamp_seconds", "When the next slot of a job is due.", |job| {
                job.next_due_at.map(seconds)
            }),
        ];
        for (name, help, value) in metrics {
            let mut gauge = self.gauge(name, help);
            for job in &report.jobs {
                if let Some(value) = value(job) {
                    gauge.row(&[("job", job.job.as_str())], value);
                }
            }
        }
    }

    fn queues(&mut self, report: &Report) {
        let mut live = self.gauge("queue_items", "Live items of a queue, by state; a queue without any has no row.");
        for queue in &report.queues {
            live.states("queue", queue.queue.as_str(), &queue.live);
        }
        let mut lags = self.gauge("queue_lag_seconds", "How long the oldest due item of a queue has waited.");
        for queue in &report.queues {
            lags.row(&[("queue", queue.queue.as_str())], lag(queue.lag_ms));
        }
        let mut limited = self.gauge("queue_limited_keys", "Keys of a queue with a rate that must wait for a turn.");
        for queue in &report.queues {
            if let Some(turns) = queue.live.turns {
                limited.row(&[("queue", queue.queue.as_str())], turns.shut as f64);
            }
        }
    }
}

struct Gauge<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Gauge<'_> {
    fn row(&mut self, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.text, "tourbillon_{}", self.name);
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        if !labels.is_empty() {
            let _ = write!(self.text, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.text, " {value}");
    }

    fn states(&mut self, label: &str, name: &str, live: &JobStats) {
        let states = [("scheduled", live.scheduled), ("running", live.running), ("retryable", live.retryable)];
        for (state, count) in states {
            self.row(&[(label, name), ("state", state)], count as f64);
        }
    }
}

/// A name of somebody else's making, between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(at: Timestamp) -> f64 {
    at.as_micros() as f64 / 1e6
}

fn lag(ms: u64) -> f64 {
    ms as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tourbillon::{
        health::{Bounds, Facts, judge},
        model::JobName,
    };

    #[test]
    fn a_hostile_name_stays_between_its_quotes() {
        let live =
            JobStats { scheduled: 2, oldest_claimable_at: Some(Timestamp::from_secs(40)), ..JobStats::default() };
        let name = JobName::new("a\"} 1 \\").unwrap();
        let facts = Facts {
            now: Timestamp::from_micros(41_500_000),
            jobs: Vec::new(),
            live: BTreeMap::from([(name, live)]),
            locks: Vec::new(),
        };
        let text = text(Some(&judge(&facts, &Bounds::default())));
        assert!(text.contains("tourbillon_queue_items{queue=\"a\\\"} 1 \\\\\",state=\"scheduled\"} 2\n"), "{text}");
        assert!(text.contains("tourbillon_queue_lag_seconds{queue=\"a\\\"} 1 \\\\\"} 1.5\n"), "{text}");
        assert!(text.contains("\ntourbillon_healthy 1\n"), "{text}");
    }

    #[test]
    fn without_an_answer_there_is_one_figure() {
        let text = text(None);
        assert!(text.ends_with("tourbillon_database_up 0\n") && text.lines().count() == 3, "{text}");
    }
}
