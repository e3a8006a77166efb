//! The engines of the simulated database host, by name: the real stores behind the simulation's seam.
//!
//! Here because only this crate and the command see both backends.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tourbillon::model::Timestamp;
use tourbillon::store::{DatabaseClock, ErrorKind, ManualClock, Request, StoreError};
use tourbillon_pg::{Notices, PgStore};
use tourbillon_sim::{
    EngineFactory,
    world::engine::{self, Bridge, Engine, Inline},
};
use tourbillon_sqlite::SqliteInline;

use crate::cluster::{Cluster, NoPostgres};

/// What answers inside the simulated database host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EngineKind {
    /// The in-memory store.
    Memory,
    /// The SQLite store, in memory, called inline.
    Sqlite,
    /// The Postgres store on a real server, behind a blocking bridge.
    Postgres,
}

impl EngineKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Sqlite, Self::Postgres];

    /// The name used on command lines and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// Makes a fresh, empty engine without a schema for each run. Postgres: a schema of its own on the shared throw-away
    /// cluster, or on the server that `TOURBILLON_PG_URL` names; dropped after the run.
    ///
    /// # Errors
    /// When there is no Postgres.
    pub fn factory(self) -> Result<EngineFactory, NoPostgres> {
        Ok(match self {
            Self::Memory => Arc::new(|| Ok(engine::memory())),
            Self::Sqlite => Arc::new(sqlite),
            Self::Postgres => {
                let url = Cluster::shared()?.url().to_owned();
                Arc::new(move || postgres(url.clone()))
            }
        })
    }
}

fn sqlite() -> Result<Box<dyn Engine + Send>, StoreError> {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let store = SqliteInline::unmigrated(DatabaseClock::Manual(clock.clone()))?;
    Ok(Box::new(Inline::new(clock, move |request: &Request| store.apply(request))))
}

fn postgres(url: String) -> Result<Box<dyn Engine + Send>, StoreError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let schema = format!("sim_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let (at, in_schema) = (url.clone(), schema.clone());
    let connect = async move |clock: ManualClock| {
        // The simulated host tells its own notices.
        let builder = PgStore::builder(&at).schema(&in_schema).max_connections(1).notices(Notices::Off);
        builder.clock(DatabaseClock::Manual(clock)).connect().await
    };
    let close = async move |store: Arc<PgStore>| {
        store.close().await;
        if let Err(error) = drop_schema(&url, &schema).await {
            eprintln!("could not drop schema {schema}: {error}");
        }
    };
    Ok(Box::new(Bridge::start(connect, close)?))
}

async fn drop_schema(url: &str, schema: &str) -> Result<(), StoreError> {
    use sqlx::{Connection, PgConnection};
    let failed = |error: sqlx::Error| StoreError::new(ErrorKind::Unavailable, error.to_string());
    let mut connection = PgConnection::connect(url).await.map_err(failed)?;
    let statement = format!("drop schema if exists {schema} cascade");
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)
}
