//! Health, metrics and a dashboard of a Tourbillon database, as an [`axum`] router to mount in a service. Owns the HTTP side;
//! reads and changes rows through the verbs of a [`Store`](tourbillon::store::Store) alone. Knows no database, and no scheduler:
//! it shows what is stored, so any replica may serve it, or a process that runs nothing else.
//!
//! | path | what |
//! | --- | --- |
//! | `/` | the dashboard, one page without external assets |
//! | `/healthz` | 200 while the process answers |
//! | `/readyz` | 200 when the store answers and its schema is this program's; else 503 with the reason |
//! | `/metrics` | what is stored, for Prometheus, and what [`Web::metrics_from`] adds |
//! | `/api/…` | what the dashboard reads, as JSON; changes, where they are allowed |
//!
//! ```
//! use axum::Router;
//! use tourbillon::{model::Timestamp, runtime::Runtime, store::{ManualClock, MemoryStore}};
//! use tourbillon_web::Web;
//! # let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
//!
//! let jobs = Web::new(store, Runtime::tokio()).router();
//! // Beside the routes of your own; the page is then at `/jobs`.
//! let app: Router = Router::new().nest("/jobs", jobs);
//! ```

mod access;
mod action;
mod api;
mod exposition;
mod json;
mod look;
mod page;
mod probe;
mod problem;
mod schedule;
mod web;

pub use access::Access;
pub use axum;
pub use json::readable;
pub use web::Web;
