//! What the dashboard reads. Each answer is one page at most, whatever the database holds.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tourbillon::{
    health::JobHealth,
    model::{Execution, ExecutionId, Generation, JobName, Scope, State as RowState, Timestamp},
    store::{
        ListAudit, ListExecutions, ListPauses, ListRecent, ListSkipped, MAX_BATCH, PauseFilter, ReadQueueStats,
        SCHEMA_VERSION,
    },
};

use crate::{
    access::Access,
    json::readable,
    look::{Rate, rates},
    problem::Problem,
    web::Shared,
};

/// Rows that ended lately, for rates.
const RECENT: u32 = 500;

/// Rows of a page that says nothing of its size, and most that it may ask for.
const USUAL_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 500;

type Asked<T> = Result<Query<T>, QueryRejection>;
pub(crate) type Answer = Result<Json<Value>, Problem>;

pub(crate) fn answer(value: impl Serialize) -> Answer {
    let value = serde_json::to_value(value).map_err(|error| Problem::bad(error.to_string()))?;
    Ok(Json(readable(value)))
}

pub(crate) fn page_limit(asked: Option<u32>) -> u32 {
    asked.unwrap_or(USUAL_PAGE).clamp(1, LARGEST_PAGE)
}

/// The scope that is meant; `None`: none was named.
pub(crate) fn scope(kind: Option<&str>, id: Option<&str>) -> Result<Option<Scope>, Problem> {
    match (kind, id) {
        (Some(kind), Some(id)) => Ok(Some(Scope::new(kind, id)?)),
        (None, None) => Ok(None),
        _ => Err(Problem::bad("a scope has a kind and an id: give `scope_kind` and `scope_id`")),
    }
}

/// Health of everything, with rates.
pub(crate) async fn overview(State(shared): State<Arc<Shared>>, Extension(access): Extension<Access>) -> Answer {
    let report = shared.looks.report(shared.runtime()).await?;
    let ended = RowState::ALL.into_iter().filter(|state| state.is_terminal()).collect();
    let recent = shared.ask(ListRecent { states: ended, ..ListRecent::new(RECENT) }).await?;
    let rates = rates(&recent.executions, recent.executions.len() == RECENT as usize, recent.now);
    let rate = |name: &JobName| {
        let Rate { finished, dead } = rates.get(name).copied().unwrap_or_default();
        json!({ "finished": finished, "dead": dead })
    };
    let findings: Vec<_> =
        report.findings.iter().map(|finding| json!({ "finding": finding, "text": finding.to_string() })).collect();
    let jobs: Vec<_> = report.jobs.iter().map(|job| summary(job, &rate(&job.job))).collect();
    let mut queues: Vec<_> = report
        .queues
        .iter()
        .map(|queue| {
            json!({
                "queue": queue.queue, "live": queue.live, "oldest_due_at": queue.oldest_due_at,
                "lag_ms": queue.lag_ms, "per_minute": rate(&queue.queue),
            })
        })
        .collect();
    // One that is empty now, and was not a moment ago, stays in view.
    let is_shown = |name: &JobName| {
        report.jobs.iter().any(|job| job.job == *name) || report.queues.iter().any(|queue| queue.queue == *name)
    };
    for name in rates.keys().filter(|name| !is_shown(name)) {
        let none = tourbillon::store::JobStats::default();
        queues.push(json!({
            "queue": name, "live": none, "oldest_due_at": null, "lag_ms": 0, "per_minute": rate(name),
        }));
    }
    let name = if let Access::Act(name) = &access { Some(name) } else { None };
    answer(json!({
        "now": report.now, "schema_version": SCHEMA_VERSION, "is_healthy": report.is_healthy(),
        "findings": findings, "jobs": jobs, "queues": queues, "locks": report.locks, "acts_as": name,
    }))
}

fn summary(job: &JobHealth, rate: &Value) -> Value {
    json!({
        "job": job.job, "schedule": job.schedule, "stored_schedules": job.stored_schedules, "paused_at": job.paused_at, "live": job.live,
        "oldest_due_at": job.oldest_due_at, "lag_ms": job.lag_ms, "last_success": job.last_success,
        "next_due_at": job.next_due_at, "scopes": job.scopes.len() as u64 + job.unseen_scopes,
        "stale_scopes": job.stale_scopes(), "unseen_scopes": job.unseen_scopes, "per_minute": rate,
    })
}

/// A page by number.
#[derive(Deserialize)]
pub(crate) struct Numbered {
    job: Option<String>,
    #[serde(default)]
    offset: u32,
    limit: Option<u32>,
}

impl Numbered {
    fn limit(&self) -> u32 {
        page_limit(self.limit)
    }

    fn job(&self) -> Result<Option<JobName>, Problem> {
        Ok(self.job.as_deref().map(JobName::new).transpose()?)
    }
}

/// Scopes of a job, with the freshness of each.
pub(crate) async fn scopes(State(shared): State<Arc<Shared>>, asked: Asked<Numbered>) -> Answer {
    let Query(asked) = asked?;
    let name = asked.job()?.ok_or_else(|| Problem::bad("of which job? add ?job=NAME"))?;
    let report = shared.looks.report(shared.runtime()).await?;
    let job = report.jobs.iter().find(|job| job.job == name);
    let scopes: Vec<_> = job.into_iter().flat_map(|job| &job.scopes).collect();
    let page: Vec<_> = scopes.iter().skip(asked.offset as usize).take(asked.limit() as usize).collect();
    answer(json!({ "now": report.now, "job": name, "total": scopes.len(), "scopes": page }))
}

/// What executions are asked for.
#[derive(Deserialize)]
pub(crate) struct Filter {
    job: Option<String>,
    scope_kind: Option<String>,
    scope_id: Option<String>,
    /// Names of states, with commas.
    state: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

/// Executions, those that changed last first.
pub(crate) async fn executions(State(shared): State<Arc<Shared>>, asked: Asked<Filter>) -> Answer {
    let Query(asked) = asked?;
    let limit = page_limit(asked.limit);
    let scope = scope(asked.scope_kind.as_deref(), asked.scope_id.as_deref())?;
    let names = asked.state.iter().flat_map(|states| states.split(',')).filter(|name| !name.is_empty());
    let list = ListRecent {
        job: asked.job.as_deref().map(JobName::new).transpose()?,
        scope,
        states: names.map(state).collect::<Result<_, _>>()?,
        after: asked.after.as_deref().map(place).transpose()?,
        limit,
    };
    let page = shared.ask(list).await?;
    let next = page.executions.last().filter(|_| page.executions.len() == limit as usize).map(place_of);
    answer(json!({ "now": page.now, "executions": page.executions, "next": next }))
}

fn state(name: &str) -> Result<RowState, Problem> {
    RowState::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(|| {
        let known = RowState::ALL.map(RowState::as_str).join(", ");
        Problem::bad(format!("there is no state `{name}`: there are {known}"))
    })
}

/// Where a listing by change continues: instant, id and generation of its last row.
fn place_of(row: &Execution) -> String {
    format!("{}/{}/{}", row.updated_at, row.id, row.generation)
}

fn place(text: &str) -> Result<(Timestamp, ExecutionId, Generation), Problem> {
    let mut parts = text.split('/');
    let mut read = || Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?));
    let (at, id, generation): (Timestamp, ExecutionId, u32) =
        read().ok_or_else(|| Problem::bad("`after` is what the page before gave as `next`"))?;
    Ok((at, id, Generation(generation)))
}

/// One execution.
#[derive(Deserialize)]
pub(crate) struct One {
    id: String,
}

/// One execution: all its lives, and its audit events.
pub(crate) async fn execution(State(shared): State<Arc<Shared>>, asked: Asked<One>) -> Answer {
    let Query(One { id }) = asked?;
    let id: ExecutionId = id.parse().map_err(|_| Problem::bad(format!("`{id}` is no id of an execution")))?;
    let list = ListExecutions { id: Some(id), limit: MAX_BATCH, ..ListExecutions::default() };
    let page = shared.ask(list).await?;
    let audit = ListAudit { execution: Some(id), limit: MAX_BATCH, ..ListAudit::default() };
    let events = shared.ask(audit).await?.events;
    answer(json!({ "now": page.now, "executions": page.executions, "audit": events }))
}

/// Figures of one queue over all that is kept: not for polling, they count rows.
pub(crate) async fn queue(State(shared): State<Arc<Shared>>, asked: Asked<Numbered>) -> Answer {
    let Query(asked) = asked?;
    let queue = asked.job()?.ok_or_else(|| Problem::bad("which queue? add ?job=NAME"))?;
    answer(shared.ask(ReadQueueStats { queue }).await?)
}

/// The ledger of slots that were not made.
pub(crate) async fn missed(State(shared): State<Arc<Shared>>, asked: Asked<Numbered>) -> Answer {
    let Query(asked) = asked?;
    let limit = asked.limit();
    let entries = shared.ask(ListSkipped { job: asked.job()?, offset: asked.offset, limit }).await?.entries;
    let next = (entries.len() == limit as usize).then(|| asked.offset.saturating_add(limit));
    answer(json!({ "entries": entries, "next": next }))
}

/// Pauses, newest first, lifted ones too.
pub(crate) async fn pauses(State(shared): State<Arc<Shared>>, asked: Asked<Numbered>) -> Answer {
    let Query(asked) = asked?;
    let limit = asked.limit();
    let list = ListPauses { job: asked.job()?, which: PauseFilter::All, offset: asked.offset, limit };
    let page = shared.ask(list).await?;
    let next = (page.pauses.len() == limit as usize).then(|| asked.offset.saturating_add(limit));
    answer(json!({ "now": page.now, "pauses": page.pauses, "next": next }))
}
