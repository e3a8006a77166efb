//! The probes of orchestrators. Ask nobody who is asked for: they say nothing of jobs.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};
use tourbillon::store::{ErrorKind, ReadClock, SCHEMA_VERSION};

use crate::web::Shared;

/// Longest wait for the store: probes usually give up after some seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process answers.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// The store answers, and its schema is the one of this program: any verb but a migration is refused otherwise.
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, Json<Value>) {
    let why = match shared.runtime().timeout(PATIENCE, shared.ask(ReadClock {})).await {
        Some(Ok(_)) => {
            return (StatusCode::OK, Json(json!({ "is_ready": true, "schema_version": SCHEMA_VERSION })));
        }
        // The words of others may hold addresses and names: the log has them.
        Some(Err(error)) => {
            tracing::warn!(%error, "not ready");
            match error.kind() {
                ErrorKind::Invalid => "the schema is not this program's: run `tourbillon migrate`",
                _ => "the database does not answer as it should",
            }
        }
        None => "the database does not answer",
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "is_ready": false, "why": why })))
}
