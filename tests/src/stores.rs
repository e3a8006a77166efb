//! Owns the fixtures of our own stores: memory, SQLite in memory and in a file, Postgres.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tourbillon::{
    model::{Audit, Timestamp},
    store::{
        BoxFuture, DatabaseClock, ErrorKind, Listener, ManualClock, MemoryStore, Reply, Request, Store, StoreError,
    },
};
use tourbillon_pg::{GRANTS, PgStore, PgStoreBuilder, Pooler as Pooling};
use tourbillon_sqlite::{Builder, Migrate, SqliteInline, SqliteStore, Synchronous};

use crate::{
    cluster::{Cluster, NoPostgres},
    conformance::{Fixture, Spoilable},
    pooler::{APP, Pooler},
    spoil::{SpoilPostgres, SpoilSqlite},
};

type Made<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// [`MemoryStore`]: the specification itself, so that each case is seen to hold for it too.
#[derive(Clone, Copy, Debug)]
pub struct Memory;

impl Fixture for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn on_manual_clock(&self, clock: ManualClock) -> Made<'_, Arc<dyn Store>> {
        Box::pin(async move { Ok(Arc::new(MemoryStore::new(clock)) as Arc<dyn Store>) })
    }

    fn unmigrated(&self, clock: ManualClock) -> Made<'_, Arc<dyn Store>> {
        Box::pin(async move { Ok(Arc::new(MemoryStore::unmigrated(clock)) as Arc<dyn Store>) })
    }

    fn on_own_clock(&self, handles: usize) -> Made<'_, Vec<Arc<dyn Store>>> {
        let clock = ManualClock::new(host_now());
        let store = HostClocked { store: MemoryStore::new(clock.clone()), clock };
        Box::pin(async move { Ok(vec![Arc::new(store) as Arc<dyn Store>; handles]) })
    }

    /// Compared with itself, it shows only that the sequences are accepted.
    fn sequences(&self) -> u32 {
        20
    }
}

/// A memory store whose clock is the host's, as of the moment before each call.
struct HostClocked {
    store: MemoryStore,
    clock: ManualClock,
}

impl Store for HostClocked {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>> {
        self.clock.set(host_now());
        self.store.call(request)
    }
}

#[expect(clippy::disallowed_methods, reason = "here the host's clock plays the database's own")]
fn host_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::EPOCH + Duration::new(since.as_secs(), since.subsec_micros() * 1_000)
}

/// [`SqliteInline`] in memory. It cannot share an in-memory database between connections: handles are one store.
#[derive(Clone, Copy, Debug)]
pub struct Sqlite;

impl Fixture for Sqlite {
    fn name(&self) -> &str {
        "sqlite"
    }

    fn on_manual_clock(&self, clock: ManualClock) -> Made<'_, Arc<dyn Store>> {
        Box::pin(async { Ok(Arc::new(SqliteInline::in_memory(DatabaseClock::Manual(clock))?) as Arc<dyn Store>) })
    }

    fn unmigrated(&self, clock: ManualClock) -> Made<'_, Arc<dyn Store>> {
        Box::pin(async { Ok(Arc::new(SqliteInline::unmigrated(DatabaseClock::Manual(clock))?) as Arc<dyn Store>) })
    }

    fn on_own_clock(&self, handles: usize) -> Made<'_, Vec<Arc<dyn Store>>> {
        Box::pin(async move {
            let store = Arc::new(SqliteInline::in_memory(DatabaseClock::Database)?) as Arc<dyn Store>;
            Ok(vec![store; handles])
        })
    }
}

/// [`SqliteStore`] in a file, each handle with a writer thread and connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct SqliteFile;

impl SqliteFile {
    /// No case takes the power away, so the disk need not be waited for.
    fn builder(folder: &Folder) -> Builder {
        SqliteStore::builder(folder.0.join("jobs.db")).synchronous(Synchronous::Normal)
    }
}

impl Fixture for SqliteFile {
    fn name(&self) -> &str {
        "sqlite_file"
    }

    fn on_manual_clock(&self, clock: ManualClock) -> Made<'_, Arc<dyn Store>> {
        Box::pin(async {
            let folder = Arc::new(Folder::new()?);
            let store = Self::builder(&folder).clock(DatabaseClock::Manual(clock)).open()?;
            Ok(Arc::new(InFolder { store, _folder: folder }) as Arc<dyn Store>)
        })
    }

    fn unmigrated(&self, clock: ManualClock) -> Made<'_, Arc<dyn Store>> {
        Box::pin(async {
            let folder = Arc::new(Folder::new()?);
            let builder = Self::builder(&folder).clock(DatabaseClock::Manual(clock)).migrate(Migrate::Manual);
            Ok(Arc::new(InFolder { store: builder.open()?, _folder: folder }) as Arc<dyn Store>)
        })
    }

    fn on_own_clock(&self, handles: usize) -> Made<'_, Vec<Arc<dyn Store>>> {
        Box::pin(async move {
            let folder = Arc::new(Folder::new()?);
            let handle = |_| {
                let store = Self::builder(&folder).open()?;
                Ok(Arc::new(InFolder { store, _folder: Arc::clone(&folder) }) as Arc<dyn Store>)
            };
            (0..handles).map(handle).collect()
        })
    }

    fn with_spoiler(&self, clock: ManualClock) -> Made<'_, Option<Spoilable>> {
        Box::pin(async {
            let folder = Arc::new(Folder::new()?);
            let store = Self::builder(&folder).clock(DatabaseClock::Manual(clock)).open()?;
            let spoiler = SpoilSqlite(folder.0.join("jobs.db"));
            Ok(Some((Arc::new(InFolder { store, _folder: folder }) as Arc<dyn Store>, Box::new(spoiler) as _)))
        })
    }

    /// Rows that tell of exceptions alone take the short way (ADR 64); in memory it is the others.
    fn audit(&self) -> Audit {
        Audit::Exceptions
    }

    fn sequences(&self) -> u32 {
        60
    }
}

/// A store and the folder that goes when it goes.
struct InFolder {
    store: SqliteStore,
    _folder: Arc<Folder>,
}

impl Store for InFolder {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>> {
        self.store.call(request)
    }

    fn listen(&self) -> Made<'_, Option<Box<dyn Listener>>> {
        self.store.listen()
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, StoreError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tourbillon-conformance-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| {
            StoreError::new(ErrorKind::Unavailable, format!("no folder {}", path.display())).with_source(error)
        })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind in the system's temporary one is no reason to fail.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// [`PgStore`] on the shared throw-away server: one database per process and way, one schema per store.
#[derive(Clone, Copy, Debug)]
pub enum Postgres {
    /// Connected to the server itself.
    Direct,
    /// Through a transaction pooler that gives each transaction another session, as a user with few privileges.
    Pooled,
}

impl Postgres {
    fn builder(self, url: &str, schema: &str) -> Result<PgStoreBuilder, StoreError> {
        let builder = match self {
            Self::Direct => PgStore::builder(url),
            Self::Pooled => {
                let through = blocking(|| Pooler::shared().map(|pooler| pooler.url(url)))?;
                PgStore::builder(&through).pooler(Pooling::Transaction).direct_url(url)
            }
        };
        Ok(builder.schema(schema).max_connections(1))
    }

    /// Whose calls these are: the owner's, or those of a user who may no more than `docs/OPERATING.md` says.
    async fn made(self, (url, schema): &(String, String), clock: DatabaseClock) -> Result<PgStore, StoreError> {
        let owner = self.builder(url, schema)?.clock(clock.clone()).connect().await?;
        owner.migrate().await?;
        if let Self::Direct = self {
            return Ok(owner);
        }
        grant(url, schema).await?;
        stay(url, schema).await?;
        self.builder(&as_app(url), schema)?.clock(clock).connect().await
    }

    /// The database of this process, and a schema that nobody else uses.
    fn place() -> Result<(String, String), StoreError> {
        static DATABASE: OnceLock<Result<String, NoPostgres>> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let url = blocking(|| DATABASE.get_or_init(|| Cluster::shared().map(Cluster::fresh_database)).clone())?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok((url, format!("store_{number}")))
    }
}

fn as_app(url: &str) -> String {
    let options: PgConnectOptions = url.parse().expect("the server's URL is a URL");
    options.username(APP).to_url_lossy().to_string()
}

/// What owners are told to run, so that what they are told is tested.
async fn grant(url: &str, schema: &str) -> Result<(), StoreError> {
    let grants =
        GRANTS.replace("schema tourbillon", &format!("schema {schema}")).replace("to app", &format!("to {APP}"));
    let make = format!(
        "do $$ begin create role {APP} login; exception when duplicate_object or unique_violation then null; end $$"
    );
    owner_runs(url, [make, grants], "the grants of docs/OPERATING.md").await
}

async fn owner_runs<const N: usize>(url: &str, statements: [String; N], what: &str) -> Result<(), StoreError> {
    let run = async {
        let mut owner = PgConnection::connect(url).await?;
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut owner).await?;
        }
        owner.close().await
    };
    run.await.map_err(|error: sqlx::Error| StoreError::new(ErrorKind::Unavailable, format!("{what}: {error}")))
}

/// Lets each row that a claim onward could take keep its place when it is taken, as that one does. No clock that is set by hand lets a
/// claim go on, and every other statement has to do with such rows.
async fn stay(url: &str, schema: &str) -> Result<(), StoreError> {
    let sql = format!(
        "create or replace function {schema}.stay() returns trigger language plpgsql as $$ begin
             new.claimable_at := old.claimable_at;
             return new;
         end $$;
         create or replace trigger stay before update of token on {schema}.execution for each row
             when (new.claimable_at is not null and old.state <> 'running' and new.slot_at is null
                   and new.expires_at is null and new.limit_key is null and new.supersede = 'never' and new.audit <> 'all')
             execute function {schema}.stay()"
    );
    owner_runs(url, [sql], "the trigger that lets rows keep their place").await
}

/// On a thread of its own: starting a server blocks, and the callers are asynchronous.
fn blocking<T: Send>(start: impl FnOnce() -> Result<T, NoPostgres> + Send) -> Result<T, StoreError> {
    match thread::scope(|scope| scope.spawn(start).join()) {
        Ok(started) => started.map_err(|missing| StoreError::new(ErrorKind::Unavailable, missing.reason)),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Fixture for Postgres {
    fn name(&self) -> &str {
        match self {
            Self::Direct => "postgres",
            Self::Pooled => "pooled",
        }
    }

    fn absent(&self) -> Option<String> {
        let available = match self {
            Self::Direct => Cluster::available(),
            Self::Pooled => Pooler::available(),
        };
        available.err().map(|missing| missing.reason)
    }

    fn on_manual_clock(&self, clock: ManualClock) -> Made<'_, Arc<dyn Store>> {
        Box::pin(async {
            let store = self.made(&Self::place()?, DatabaseClock::Manual(clock)).await?;
            Ok(Arc::new(store) as Arc<dyn Store>)
        })
    }

    /// The owner's: nobody else may make tables.
    fn unmigrated(&self, clock: ManualClock) -> Made<'_, Arc<dyn Store>> {
        Box::pin(async {
            let (url, schema) = Self::place()?;
            let store = self.builder(&url, &schema)?.clock(DatabaseClock::Manual(clock)).connect().await?;
            Ok(Arc::new(store) as Arc<dyn Store>)
        })
    }

    fn on_own_clock(&self, handles: usize) -> Made<'_, Vec<Arc<dyn Store>>> {
        Box::pin(async move {
            let place = Self::place()?;
            let mut stores = Vec::new();
            for _ in 0..handles {
                stores.push(Arc::new(self.made(&place, DatabaseClock::Database).await?) as Arc<dyn Store>);
            }
            Ok(stores)
        })
    }

    fn with_spoiler(&self, clock: ManualClock) -> Made<'_, Option<Spoilable>> {
        Box::pin(async {
            let place = Self::place()?;
            let store = self.made(&place, DatabaseClock::Manual(clock)).await?;
            let (url, schema) = place;
            Ok(Some((Arc::new(store) as Arc<dyn Store>, Box::new(SpoilPostgres { url, schema }) as _)))
        })
    }

    /// Rows that tell of exceptions alone take the short ways (ADR 55, 58), and a pooler has nothing to do with what they tell.
    fn audit(&self) -> Audit {
        match self {
            Self::Direct => Audit::All,
            Self::Pooled => Audit::Exceptions,
        }
    }

    fn sequences(&self) -> u32 {
        match self {
            Self::Direct => 40,
            // The same statements again: a few, since each call is three round trips more.
            Self::Pooled => 5,
        }
    }
}
