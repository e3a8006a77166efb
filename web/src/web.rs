//! Owns how the router is put together: what an owner sets, and which path leads where.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    http::request::Parts,
    middleware,
    routing::{get, post},
};
use tourbillon::{
    driver::JobOperator,
    health::Bounds,
    model::RequestId,
    runtime::Runtime,
    store::{ErrorKind, Operation, Store, StoreError, ask},
};

use crate::{
    access::{self, Access},
    action, api, exposition,
    look::Looks,
    page, probe, schedule,
};

/// Longest wait for one answer of the store.
const PATIENCE: Duration = Duration::from_secs(10);

type CheckFn = Arc<dyn Fn(&Parts) -> Access + Send + Sync>;

/// Health, metrics and dashboard of one database. Built by chaining; [`Web::router`] is what it becomes.
///
/// Whoever reaches the router reads names of jobs, inputs, results and errors: mount it where only those come who may, or
/// say who with [`Web::authorize`]. Nothing can be changed unless [`Web::allow_actions`] was called.
///
/// ```
/// use tourbillon::{model::{OperatorName, Timestamp}, runtime::Runtime, store::{ManualClock, MemoryStore}};
/// use tourbillon_web::{Access, Web};
/// # let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
///
/// let router = Web::new(store, Runtime::tokio())
///     .titled("invoices, production")
///     .allow_actions()
///     .authorize(|request| {
///         // What your sign-on left in a header, or in the request's extensions.
///         let user = request.headers.get("x-user").and_then(|user| user.to_str().ok());
///         match user.map(OperatorName::new) {
///             Some(Ok(name)) => Access::Act(name),
///             Some(Err(_)) | None => Access::Denied,
///         }
///     })
///     .router();
/// ```
#[derive(Clone)]
pub struct Web {
    store: Arc<dyn Store>,
    runtime: Runtime,
    title: String,
    bounds: Bounds,
    actions: bool,
    hosts: Option<Vec<String>>,
    authorize: Option<CheckFn>,
    recorder: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("title", &self.title).field("actions", &self.actions).finish_non_exhaustive()
    }
}

impl Web {
    /// Of the database behind this store: read-only, for whoever asks, with the usual bounds of health.
    pub fn new(store: impl Store, runtime: Runtime) -> Self {
        Self {
            store: Arc::new(store),
            runtime,
            title: "Tourbillon".to_owned(),
            bounds: Bounds::default(),
            actions: false,
            hosts: None,
            authorize: None,
            recorder: None,
        }
    }

    /// What the dashboard calls itself, such as the service's name. Default: Tourbillon.
    #[must_use]
    pub fn titled(self, title: &str) -> Self {
        Self { title: title.to_owned(), ..self }
    }

    /// From when on something is stale or late.
    #[must_use]
    pub fn bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// Lets those who may act pause, resume and trigger jobs, edit schedules that the database keeps, retry and cancel
    /// executions. Without [`Web::authorize`] that is everybody, under the name `dashboard`.
    #[must_use]
    pub fn allow_actions(self) -> Self {
        Self { actions: true, ..self }
    }

    /// Asks at each request what its sender may do; [`Access::Denied`] is answered with 401. Not for `/healthz` and `/readyz`,
    /// which say nothing of jobs. A check that has to wait belongs in a layer around the router, which leaves what it found
    /// in the request's extensions.
    #[must_use]
    pub fn authorize(self, check: impl Fn(&Parts) -> Access + Send + Sync + 'static) -> Self {
        Self { authorize: Some(Arc::new(check)), ..self }
    }

    /// Refuses requests whose `Host` is none of these, port aside. For a router on an address that other programs of the
    /// machine reach, such as 127.0.0.1, where nothing else keeps a hostile page from giving that address a name of its own
    /// and reading along.
    #[must_use]
    pub fn hosts<H: Into<String>>(self, hosts: impl IntoIterator<Item = H>) -> Self {
        Self { hosts: Some(hosts.into_iter().map(Into::into).collect()), ..self }
    }

    /// Adds a text in the exposition format to `/metrics`: what a recorder of the `metrics` facade renders, for the metrics of
    /// this process's scheduler and of your own code.
    #[must_use]
    pub fn metrics_from(self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { recorder: Some(Arc::new(render)), ..self }
    }

    /// The router. Mount it with `nest`, or serve it by itself.
    pub fn router(self) -> Router {
        let looks = Looks::new(JobOperator::new(Arc::clone(&self.store), self.runtime.clone()), self.bounds);
        let shared = Arc::new(Shared { web: self, looks });
        let guarded = Router::new()
            .route("/", get(page::dashboard))
            .route("/metrics", get(exposition::metrics))
            .route("/api/overview", get(api::overview))
            .route("/api/scopes", get(api::scopes))
            .route("/api/executions", get(api::executions))
            .route("/api/execution", get(api::execution))
            .route("/api/queue", get(api::queue))
            .route("/api/missed", get(api::missed))
            .route("/api/pauses", get(api::pauses))
            .route("/api/schedules", get(schedule::list))
            .route("/api/preview", get(schedule::preview))
            .route("/api/pause", post(action::pause))
            .route("/api/resume", post(action::resume))
            .route("/api/trigger", post(action::trigger))
            .route("/api/put_schedule", post(schedule::put))
            .route("/api/remove_schedule", post(schedule::remove))
            .route("/api/retry", post(action::retry))
            .route("/api/cancel", post(action::cancel))
            .layer(middleware::from_fn_with_state(Arc::clone(&shared), access::guard));
        Router::new()
            .route("/healthz", get(probe::alive))
            .route("/readyz", get(probe::ready))
            .merge(guarded)
            .with_state(shared)
    }
}

/// What all requests share.
pub(crate) struct Shared {
    web: Web,
    pub(crate) looks: Looks,
}

impl Shared {
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.web.runtime
    }

    pub(crate) fn title(&self) -> &str {
        &self.web.title
    }

    /// What the recorder has to say.
    pub(crate) fn recorded(&self) -> String {
        self.web.recorder.as_ref().map_or_else(String::new, |render| render())
    }

    /// What the sender may do.
    pub(crate) fn access(&self, request: &Parts) -> Access {
        let asked = self.web.authorize.as_ref().map_or_else(Access::anybody, |check| check(request));
        match asked {
            Access::Act(_) if !self.web.actions => Access::Read,
            asked => asked,
        }
    }

    /// Whether the router may be called by this name, which may have a port.
    pub(crate) fn is_host(&self, host: &str) -> bool {
        let Some(hosts) = &self.web.hosts else { return true };
        // A port stands behind the last colon; those of an IPv6 address are in brackets.
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }

    pub(crate) fn operator(&self) -> JobOperator {
        JobOperator::new(Arc::clone(&self.web.store), self.web.runtime.clone())
    }

    /// Asks the store once.
    ///
    /// # Errors
    /// As the store says; `Unknown` when it says nothing for too long.
    pub(crate) async fn ask<V: Operation>(&self, verb: V) -> Result<V::Reply, StoreError> {
        let id = RequestId(self.web.runtime.uuid());
        let asked = self.web.runtime.timeout(PATIENCE, ask(&self.web.store, id, verb)).await;
        asked.unwrap_or_else(|| {
            let message = format!("the store gave no answer within {PATIENCE:?}");
            Err(StoreError::new(ErrorKind::Unknown, message))
        })
    }
}
