//! What the dashboard changes, where it may: each is a verb that commands and code use as well, under the actor's name.

use std::sync::Arc;

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use serde::Deserialize;
use serde_json::json;
use tourbillon::{
    driver::{JobOperator, Triggered},
    model::{ExecutionId, Scope, transition::Cancelled},
    store::{Cancel, PauseOutcome, Requeue, RequeueOutcome, ResumeOutcome},
};

use crate::{
    access::Actor,
    api::{self, Answer},
    problem::Problem,
    web::Shared,
};

pub(crate) type Asked<T> = Result<Json<T>, JsonRejection>;

/// A job, or one scope of it.
#[derive(Deserialize)]
pub(crate) struct Target {
    job: String,
    scope_kind: Option<String>,
    scope_id: Option<String>,
}

impl Target {
    fn scope(&self) -> Result<Option<Scope>, Problem> {
        api::scope(self.scope_kind.as_deref(), self.scope_id.as_deref())
    }
}

/// What became of it, in a line.
pub(crate) fn told(done: bool, text: impl Into<String>) -> Answer {
    Ok(Json(json!({ "done": done, "text": text.into() })))
}

pub(crate) fn operator(shared: &Shared, Actor(name): &Actor) -> Result<JobOperator, Problem> {
    Ok(shared.operator().named(name.as_str())?)
}

pub(crate) fn unknown(job: &str) -> Answer {
    told(false, format!("there is no job `{job}`"))
}

/// Stops a job.
pub(crate) async fn pause(State(shared): State<Arc<Shared>>, actor: Actor, asked: Asked<Target>) -> Answer {
    let Json(target) = asked?;
    match operator(&shared, &actor)?.pause(&target.job, target.scope()?).await? {
        PauseOutcome::Paused => told(true, format!("`{}` is paused", target.job)),
        PauseOutcome::Already(at) => told(false, format!("`{}` is paused already, since {at}", target.job)),
        PauseOutcome::UnknownJob => unknown(&target.job),
    }
}

/// Lets it go on.
pub(crate) async fn resume(State(shared): State<Arc<Shared>>, actor: Actor, asked: Asked<Target>) -> Answer {
    let Json(target) = asked?;
    match operator(&shared, &actor)?.resume(&target.job, target.scope()?).await? {
        ResumeOutcome::Resumed(_) => told(true, format!("`{}` goes on", target.job)),
        ResumeOutcome::NotPaused => told(false, format!("`{}` is not paused", target.job)),
        ResumeOutcome::UnknownJob => unknown(&target.job),
    }
}

/// Runs it once.
pub(crate) async fn trigger(State(shared): State<Arc<Shared>>, actor: Actor, asked: Asked<Target>) -> Answer {
    let Json(target) = asked?;
    let scope = target.scope()?.unwrap_or_else(Scope::global);
    match operator(&shared, &actor)?.trigger(&target.job, scope).await? {
        Triggered::Due(id) => told(true, format!("`{}` is due now, as {id}", target.job)),
        Triggered::UnknownJob => unknown(&target.job),
        Triggered::UnknownRules => {
            told(false, format!("`{}` was registered by a program that does not say its rules", target.job))
        }
    }
}

/// Executions.
#[derive(Deserialize)]
pub(crate) struct Rows {
    ids: Vec<ExecutionId>,
}

/// Gives ended ones another life.
pub(crate) async fn retry(State(shared): State<Arc<Shared>>, actor: Actor, asked: Asked<Rows>) -> Answer {
    let Json(Rows { ids }) = asked?;
    let outcomes = shared.ask(Requeue { ids, actor: Some(actor.0) }).await?.outcomes;
    let done = outcomes.iter().filter(|outcome| matches!(outcome, RequeueOutcome::Requeued(_))).count();
    match outcomes.as_slice() {
        [RequeueOutcome::StillLive] => told(false, "it has not ended: nothing to retry"),
        [RequeueOutcome::Conflict] => told(false, "a live item has its unique key: that one runs instead"),
        [RequeueOutcome::NotFound] => told(false, "there is no such execution: it was pruned, or never was"),
        all => told(done == all.len() && done > 0, format!("{done} of {} will run again", all.len())),
    }
}

/// Ends waiting ones, and asks running ones to stop.
pub(crate) async fn cancel(State(shared): State<Arc<Shared>>, actor: Actor, asked: Asked<Rows>) -> Answer {
    let Json(Rows { ids }) = asked?;
    let outcomes = shared.ask(Cancel { ids, actor: Some(actor.0) }).await?.outcomes;
    let done = outcomes.iter().filter(|outcome| matches!(outcome, Cancelled::Now | Cancelled::Requested)).count();
    match outcomes.as_slice() {
        [Cancelled::Now] => told(true, "cancelled"),
        [Cancelled::Requested] => told(true, "its handler is asked to stop, with its next heartbeat"),
        [Cancelled::AlreadyTerminal] => told(false, "it has ended already"),
        [Cancelled::NotFound] => told(false, "there is no such execution: it was pruned, or never was"),
        all => told(done == all.len() && done > 0, format!("{done} of {} are cancelled or asked to stop", all.len())),
    }
}
