//! Owns the settings of a store and its first contact with the server.

use std::{fmt, str::FromStr, sync::atomic::AtomicBool, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions},
    query::Query,
};
use tourbillon::store::{DatabaseClock, ErrorKind, StoreError};

use crate::{
    claim::Mixed,
    error::{Fault, Phase, Place},
    herald::{self, Herald},
    listener::Ears,
    sql::{Schema, Statements},
    store::{Inner, PgStore},
};

/// The schema unless another is named.
pub const DEFAULT_SCHEMA: &str = "tourbillon";

/// Oldest server that is supported: `extract` is exact from here on.
const MIN_SERVER_VERSION: u32 = 140_000;

/// A connection that idled longer than this is tried before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// Whether a store tells others what its calls made due, and hears what theirs did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Notices {
    /// It does: by messages of the server, beside the calls, at most 50 a second. A scheduler's listener has a connection
    /// to itself, beside those of the store's pool.
    #[default]
    On,
    /// It does neither: due work is found by polling.
    Off,
}

/// What a store's URL leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pooler {
    /// The server itself, or a pooler that gives a client one session for as long as it is connected.
    #[default]
    None,
    /// A pooler that gives each transaction whichever session is free, such as `PgBouncer` with
    /// `pool_mode = transaction`. Each call is a transaction of its own, of statements that are not kept prepared: three
    /// round trips more, and a plan each time. Nobody can listen through it: a scheduler polls, unless there is a
    /// [`direct_url`](PgStoreBuilder::direct_url).
    Transaction,
}

impl Pooler {
    /// A statement as it may be sent through it.
    pub(crate) fn fit(self, query: Query<'_, Postgres, PgArguments>) -> Query<'_, Postgres, PgArguments> {
        query.persistent(self == Self::None)
    }
}

/// Settings of a [`PgStore`]; made by [`PgStore::builder`].
#[derive(Clone)]
pub struct PgStoreBuilder {
    url: String,
    schema: String,
    max_connections: u32,
    acquire_timeout: Duration,
    call_timeout: Duration,
    lock_timeout: Duration,
    migration_timeout: Duration,
    clock: DatabaseClock,
    notices: Notices,
    pooler: Pooler,
    direct_url: Option<String>,
}

impl fmt::Debug for PgStoreBuilder {
    /// Without the URL: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgStoreBuilder")
            .field("schema", &self.schema)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

impl PgStore {
    /// Connects with default settings. Creates nothing: see [`PgStore::migrate`].
    ///
    /// # Errors
    /// As [`PgStoreBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// Settings for the server at `url` (`postgres://user:password@host:port/database`, with
    /// `?sslmode=verify-full&sslrootcert=FILE` for TLS, which is the feature `tls`).
    pub fn builder(url: &str) -> PgStoreBuilder {
        PgStoreBuilder {
            url: url.to_owned(),
            schema: DEFAULT_SCHEMA.to_owned(),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(30),
            migration_timeout: Duration::from_secs(600),
            clock: DatabaseClock::Database,
            notices: Notices::On,
            pooler: Pooler::None,
            direct_url: None,
        }
    }
}

impl PgStoreBuilder {
    /// The schema that holds the tables; several services can live in one database. Default [`DEFAULT_SCHEMA`].
    #[must_use]
    pub fn schema(mut self, schema: &str) -> Self {
        self.schema = schema.to_owned();
        self
    }

    /// Most connections kept; 1 or more, 10 by default.
    #[must_use]
    pub fn max_connections(mut self, max: u32) -> Self {
        self.max_connections = max;
        self
    }

    /// Longest wait for a connection, new or free; 5 s by default.
    #[must_use]
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// Longest wait for the answer to one try of a call, after which its outcome is unknown; 5 s by default.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Longest wait of a migration for its locks, such as another replica's migration; 30 s by default.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Longest time for one migration, locks included, after which its outcome is unknown; 10 min by default.
    #[must_use]
    pub fn migration_timeout(mut self, timeout: Duration) -> Self {
        self.migration_timeout = timeout;
        self
    }

    /// Where the time comes from; the server's clock by default.
    #[must_use]
    pub fn clock(mut self, clock: DatabaseClock) -> Self {
        self.clock = clock;
        self
    }

    /// Whether there are notices; by default there are.
    #[must_use]
    pub fn notices(mut self, notices: Notices) -> Self {
        self.notices = notices;
        self
    }

    /// What the URL leads to; by default the server itself.
    ///
    /// ```no_run
    /// # use tourbillon_pg::{PgStore, Pooler};
    /// # async fn example() -> Result<(), tourbillon::store::StoreError> {
    /// let store = PgStore::builder("postgres://app@pgbouncer:6432/app")
    ///     .pooler(Pooler::Transaction)
    ///     .direct_url("postgres://app@db:5432/app")
    ///     .connect()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn pooler(mut self, pooler: Pooler) -> Self {
        self.pooler = pooler;
        self
    }

    /// Where listeners, and [`SessionLocker`](crate::SessionLocker)s, connect to if the store's own URL leads to a
    /// transaction pooler, which keeps no session for them: the same database, directly. By default they connect to
    /// the store's own URL, and a scheduler that does not hear itself there says so and polls.
    #[must_use]
    pub fn direct_url(mut self, url: &str) -> Self {
        self.direct_url = Some(url.to_owned());
        self
    }

    /// Connects, and looks at the server once; not for the listener.
    ///
    /// # Errors
    /// `Invalid` for settings that will not work (URL, password, database name, server or schema version);
    /// `Unavailable` when the server cannot be reached.
    pub async fn connect(self) -> Result<PgStore, StoreError> {
        let options = self.options(&self.url)?;
        let direct = self.direct_url.as_deref().map(|url| self.options(url)).transpose()?;
        let schema = Schema::new(&self.schema)?;
        let place = place(&options, &schema);
        self.probe(&options, &place).await?;
        let pool = PgPoolOptions::new()
            .max_connections(self.max_connections)
            .acquire_timeout(self.acquire_timeout)
            // Instead of a round trip before each call, one for connections that had time to die.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options.clone());
        let statements = Statements::new(&schema);
        let (mut herald, mut ears) = (None, None);
        if self.notices == Notices::On {
            let channel = herald::channel(&schema);
            let statement = statements.tell_listeners.clone();
            herald = Some(Herald::start(pool.clone(), self.pooler, statement, channel.clone()));
            let to = direct.clone().or((self.pooler == Pooler::None).then_some(options));
            ears = to.map(|options| Ears { place: self::place(&options, &schema), options, channel });
        }
        let store = PgStore::new(Inner {
            pool,
            place,
            pooler: self.pooler,
            direct,
            herald,
            ears,
            statements,
            schema,
            clock: self.clock,
            call_timeout: self.call_timeout,
            lock_timeout: self.lock_timeout,
            migration_timeout: self.migration_timeout,
            is_complete: AtomicBool::new(false),
            mixed: Mixed::default(),
            floors: crate::claim::Floors::default(),
            detour: crate::settle::Detour::default(),
        });
        store.refuse_newer_schema().await?;
        Ok(store)
    }

    fn options(&self, url: &str) -> Result<PgConnectOptions, StoreError> {
        let invalid = |message: String| StoreError::new(ErrorKind::Invalid, message);
        if self.max_connections == 0 {
            return Err(invalid("max_connections is 0, at least 1 is needed".to_owned()));
        }
        // The parser's own message is kept out: it may quote the URL with its password.
        let scheme = url.starts_with("postgres://") || url.starts_with("postgresql://");
        let options = PgConnectOptions::from_str(url).ok().filter(|_| scheme).ok_or_else(|| {
            invalid("database URL cannot be read: write postgres://user:password@host:port/database".to_owned())
        })?;
        // Statements carry users' data; the driver would log slow ones.
        let options = options.disable_statement_logging().application_name("tourbillon");
        // A setting of the session, which a pooler refuses to promise; no statement of ours answers fractions.
        Ok(options.extra_float_digits(None))
    }

    /// One connection outside the pool: the pool would try again until its timeout and then forget the reason.
    #[expect(clippy::disallowed_methods, reason = "guards a real socket in real time; nothing stored depends on it")]
    async fn probe(&self, options: &PgConnectOptions, place: &Place) -> Result<(), StoreError> {
        let connect = tokio::time::timeout(self.acquire_timeout, PgConnection::connect_with(options)).await;
        let connection = connect
            .map_err(|_| place.late(Phase::Connect, "acquire_timeout", self.acquire_timeout))?
            .map_err(|error| match place.sort(Phase::Connect, error) {
                Fault::Retry(error) | Fault::Final(error) => error,
            })?;
        let version = connection.server_version_num().unwrap_or(MIN_SERVER_VERSION);
        // Nothing was asked of it; a failed farewell changes nothing.
        drop(connection.close().await);
        refuse_old_server(version, place)
    }
}

fn refuse_old_server(version: u32, place: &Place) -> Result<(), StoreError> {
    if version >= MIN_SERVER_VERSION {
        return Ok(());
    }
    let message = format!("server {} has version {version}, {MIN_SERVER_VERSION} or later is needed", place.server);
    Err(StoreError::new(ErrorKind::Invalid, message))
}

fn place(options: &PgConnectOptions, schema: &Schema) -> Place {
    let host = options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    Place {
        server: format!("{host}:{}/{database}", options.get_port()),
        user: options.get_username().to_owned(),
        schema: schema.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "postgres://ada:hunter2@db:6432/app";

    #[test]
    fn settings_are_told_without_the_password() {
        let told = format!("{:?}", PgStore::builder(URL).schema("jobs").max_connections(3));
        assert_eq!(told, "PgStoreBuilder { schema: \"jobs\", max_connections: 3, .. }");
    }

    #[test]
    fn errors_name_server_database_user_and_schema() {
        let place_of = |url: &str| {
            let options = PgStore::builder(url).options(url).unwrap();
            let place = place(&options, &Schema::new("jobs").unwrap());
            (place.server, place.user, place.schema)
        };
        let told = |server: &str| (server.to_owned(), "ada".to_owned(), "jobs".to_owned());
        assert_eq!(place_of(URL), told("db:6432/app"));
        assert_eq!(place_of("postgresql://ada@db/"), told("db:5432/ada"));
        assert_eq!(place_of("postgres://ada@%2Frun%2Fpg/app"), told("/run/pg:5432/app"));
    }

    #[test]
    fn servers_before_the_oldest_supported_are_refused() {
        let options = PgStore::builder(URL).options(URL).unwrap();
        let place = place(&options, &Schema::new("jobs").unwrap());
        let refused = refuse_old_server(139_999, &place).unwrap_err();
        assert_eq!(refused.to_string(), "invalid: server db:6432/app has version 139999, 140000 or later is needed");
        refuse_old_server(140_000, &place).unwrap();
        refuse_old_server(180_000, &place).unwrap();
    }

    #[test]
    fn urls_of_other_databases_are_refused_without_quoting_them() {
        for url in ["mysql://ada:hunter2@db/app", "postgres", "db:6432/app", "postgres://ada:hunter2@db:port/app"] {
            let refused = PgStore::builder(url).options(url).unwrap_err();
            assert!(refused.message().starts_with("database URL cannot be read: write postgres://"), "{refused}");
        }
    }
}
