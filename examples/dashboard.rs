//! A web service with jobs, and their dashboard beside its own routes.
//!
//! ```text
//! cargo run -p tourbillon-examples --bin dashboard        # then http://127.0.0.1:8080/jobs
//! ```
//!
//! Probes of an orchestrator ask `/jobs/healthz` and `/jobs/readyz`, Prometheus asks `/jobs/metrics`.

use std::{error::Error, time::Duration};

use tourbillon::{model::OperatorName, prelude::*};
use tourbillon_sqlite::SqliteStore;
use tourbillon_web::{
    Access, Web,
    axum::{self, Router, http::request::Parts, routing::get},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::temp_dir().join("tourbillon-dashboard.db");
    let store = std::sync::Arc::new(SqliteStore::open(&file)?);
    let running = Scheduler::builder(std::sync::Arc::clone(&store))
        .job(Job::new("warm_cache").every(Duration::from_secs(5)).run(warm_cache))
        .job(Job::new("fetch_rates").every(Duration::from_secs(20)).max_attempts(2).run(fetch_rates))
        .build()?
        .start();

    // The dashboard reads the store, not the scheduler: another process could serve it as well.
    let jobs = Web::new(store, Runtime::tokio())
        .titled("dashboard example")
        .allow_actions()
        .authorize(who)
        // No page of another site may reach it under a name of its own.
        .hosts(["127.0.0.1", "localhost"])
        .router();
    let app =
        Router::new().route("/", get(async || "the service itself; its jobs are at /jobs\n")).nest("/jobs", jobs);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://127.0.0.1:8080/jobs");
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app).with_graceful_shutdown(interrupted).await?;
    running.shutdown(Duration::from_secs(2)).await?;
    Ok(())
}

/// Whom the proxy in front, which asks for a password, says it let in. Without one only this machine comes in.
fn who(request: &Parts) -> Access {
    let user = request.headers.get("x-forwarded-user").map(|user| user.to_str().unwrap_or_default());
    match OperatorName::new(user.unwrap_or("somebody here")) {
        Ok(name) => Access::Act(name),
        Err(_) => Access::Denied,
    }
}

async fn warm_cache(_: Context) -> Result<Completion, HandlerError> {
    Ok(Completion::new().rows_affected(42))
}

async fn fetch_rates(ctx: Context) -> Result<(), HandlerError> {
    // Every other slot fails for good, so that there is something to retry.
    let slot = ctx.slot_at().map_or(0, Timestamp::as_micros) / 20_000_000;
    if slot % 2 == 0 { Err(HandlerError::new("the exchange answered 503").never_retry()) } else { Ok(()) }
}
