//! Owns the stores to race on: several independent ways into one empty store on the database's own clock.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tourbillon::{
    model::{AuditEvent, Execution, Timestamp},
    runtime::Runtime,
    store::{
        BoxFuture, ListAudit, ListExecutions, MAX_BATCH, ManualClock, MemoryStore, Operation, Reply, Request, Store,
        StoreError,
    },
};
use tourbillon_pg::{DEFAULT_SCHEMA, PgStore};
use tourbillon_sqlite::SqliteStore;
use uuid::Uuid;

/// Connections of each Postgres handle.
const CONNECTIONS: u32 = 4;

/// Longest wait for one of them, so that a crash is noticed soon.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ways into one store.
pub(crate) struct Arena {
    pub(crate) name: &'static str,
    pub(crate) handles: Vec<Arc<dyn Store>>,
    /// The database's URL, where it is a server.
    pub(crate) url: Option<String>,
    _folder: Option<Folder>,
}

impl Arena {
    /// The memory store on real time. Its "connections" are one mutex, so it shows what the race itself demands.
    pub(crate) fn memory() -> Self {
        let store: Arc<dyn Store> = Arc::new(TickingMemory::new());
        Self { name: "memory", handles: vec![store], url: None, _folder: None }
    }

    /// One SQLite file with `handles` connections and writer threads.
    pub(crate) fn sqlite(handles: usize) -> Self {
        let folder = Folder::new();
        let open = |_| {
            let store = SqliteStore::open(folder.0.join("jobs.db")).expect("a new file in a new folder opens");
            Arc::new(store) as Arc<dyn Store>
        };
        Self { name: "sqlite", handles: (0..handles).map(open).collect(), url: None, _folder: Some(folder) }
    }

    /// The Postgres database at `url`, `handles` pools of connections.
    pub(crate) async fn postgres(url: String, handles: usize) -> Self {
        let mut all: Vec<Arc<dyn Store>> = Vec::new();
        for _ in 0..handles {
            let store = PgStore::builder(&url).max_connections(CONNECTIONS).acquire_timeout(PATIENCE).connect().await;
            let store = store.expect("the throw-away server takes connections");
            store.migrate().await.expect("an empty database can be migrated");
            all.push(Arc::new(store));
        }
        Self { name: "postgres", handles: all, url: Some(url), _folder: None }
    }

    /// As [`Arena::postgres`], and a deadlock is not resolved: its calls run into their deadline, so that it shows.
    pub(crate) async fn postgres_without_deadlock_detector(url: String, handles: usize) -> Self {
        let mut connection = PgConnection::connect(&url).await.expect("the throw-away server takes connections");
        no_deadlock_detector(&mut connection).await;
        Self::postgres(url, handles).await
    }

    /// Everything, live and finished. Nothing else may run.
    pub(crate) async fn listing(&self) -> Vec<Execution> {
        let mut rows: Vec<Execution> = Vec::new();
        loop {
            let after = rows.last().map(|row| (row.id, row.generation));
            let verb = ListExecutions { after, limit: MAX_BATCH, ..ListExecutions::default() };
            let request = Request { id: tourbillon::model::RequestId(Uuid::nil()), verb: verb.into() };
            let reply = self.handles[0].call(request).await.expect("a quiet store lists");
            let page = ListExecutions::reply(reply).expect("a list is answered with a page").executions;
            let last = page.len() < MAX_BATCH as usize;
            rows.extend(page);
            if last {
                return rows;
            }
        }
    }

    /// The whole audit log. Nothing else may run.
    pub(crate) async fn audit(&self) -> Vec<AuditEvent> {
        let mut events: Vec<AuditEvent> = Vec::new();
        loop {
            let after = events.last().map(|event| event.key);
            let verb = ListAudit { after, limit: MAX_BATCH, ..ListAudit::default() };
            let request = Request { id: tourbillon::model::RequestId(Uuid::nil()), verb: verb.into() };
            let reply = self.handles[0].call(request).await.expect("a quiet store lists");
            let page = ListAudit::reply(reply).expect("a list is answered with a page").events;
            let last = page.len() < MAX_BATCH as usize;
            events.extend(page);
            if last {
                return events;
            }
        }
    }

    /// What is wrong with the gate counters: each must be the number of running rows with its key. Nothing else may run.
    pub(crate) async fn gate_findings(&self) -> Vec<String> {
        let Some(url) = &self.url else { return Vec::new() };
        let mut connection = PgConnection::connect(url).await.expect("the throw-away server takes connections");
        let sql = format!("select key, running from {DEFAULT_SCHEMA}.limit_gate");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.expect("gates can be read");
        let counted: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut running: BTreeMap<String, i64> = counted.keys().map(|key| (key.clone(), 0)).collect();
        for row in self.listing().await {
            if let (Some(limit), tourbillon::model::State::Running) = (&row.policy.limit, row.state) {
                *running.entry(limit.key.clone()).or_default() += 1;
            }
        }
        if counted == running {
            return Vec::new();
        }
        vec![format!("G15: gates say {counted:?}, running are {running:?}")]
    }
}

/// Makes the server look for deadlocks only after the deadline of a call (5 s), in sessions to come. (Its statistics
/// count those that it found, but a session reports them long after.)
pub(crate) async fn no_deadlock_detector(connection: &mut PgConnection) {
    let name = sqlx::query("select current_database()").fetch_one(&mut *connection).await;
    let name: String = name.expect("the server answers").get(0);
    let sql = format!("alter database {name} set deadlock_timeout = '7s'");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect("a superuser may set it");
}

/// A memory store whose clock is the process's own; read and applied under one lock, so that it never steps back.
struct TickingMemory {
    store: MemoryStore,
    clock: ManualClock,
    runtime: Runtime,
    turn: Mutex<()>,
}

impl TickingMemory {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        Self { store: MemoryStore::new(clock.clone()), clock, runtime: Runtime::tokio(), turn: Mutex::default() }
    }
}

impl Store for TickingMemory {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>> {
        Box::pin(async move {
            // Lets tasks interleave between calls.
            tokio::task::yield_now().await;
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let since = self.runtime.monotonic().0 + Duration::from_secs(1_800_000_000);
            self.clock.set(Timestamp::EPOCH + Duration::from_micros(u64::try_from(since.as_micros()).unwrap_or(0)));
            self.store.apply(&request)
        })
    }
}

/// A temporary folder; gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("tourbillon-races-{}-{}", std::process::id(), Runtime::tokio().uuid());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
