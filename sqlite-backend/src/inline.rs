//! Owns the store without a thread: each call runs to its end on the caller's.

use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use tourbillon::store::{Bell, BoxFuture, DatabaseClock, Listener, Reply, Request, Store, StoreError};

use crate::{
    error::{Phase, translate},
    session::Session,
};

/// The SQLite store on a connection that the caller made, called inline: for a single-threaded simulation, which
/// stays deterministic, and for tests. It blocks; in production use [`SqliteStore`](crate::SqliteStore).
///
/// ```
/// # use tourbillon::{model::Timestamp, store::{DatabaseClock, ManualClock}};
/// let clock = ManualClock::new(Timestamp::EPOCH);
/// let store = tourbillon_sqlite::SqliteInline::in_memory(DatabaseClock::Manual(clock))?;
/// # Ok::<(), tourbillon::store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct SqliteInline {
    session: Mutex<Session>,
    bell: Bell,
}

impl SqliteInline {
    /// A store on `connection`, whose schema is taken as it is: see [`SqliteInline::migrate`]. Of the connection's
    /// settings only `foreign_keys` and the size of the statement cache are changed.
    ///
    /// # Errors
    /// `Corrupt` when the file is not a database, `Unavailable` when it is locked.
    pub fn new(connection: Connection, clock: DatabaseClock) -> Result<Self, StoreError> {
        let name = match connection.path() {
            None | Some("") => "the database in memory".to_owned(),
            Some(path) => path.to_owned(),
        };
        Ok(Self { session: Mutex::new(Session::new(connection, name, clock)?), bell: Bell::default() })
    }

    /// A store in memory with the newest schema. It lives as long as this value.
    ///
    /// # Errors
    /// `Unavailable` when there is no memory left.
    pub fn in_memory(clock: DatabaseClock) -> Result<Self, StoreError> {
        let store = Self::unmigrated(clock)?;
        store.migrate()?;
        Ok(store)
    }

    /// A store in memory without any table: until it is migrated, every call but `migrate` is refused.
    ///
    /// # Errors
    /// As [`SqliteInline::in_memory`].
    pub fn unmigrated(clock: DatabaseClock) -> Result<Self, StoreError> {
        let connection = Connection::open_in_memory()
            .map_err(|error| translate("the database in memory", Phase::Statement, error))?;
        Self::new(connection, clock)
    }

    /// Brings the schema up to date. Safe to call from any number of connections at once.
    ///
    /// # Errors
    /// `Invalid` for a schema newer than this program, or a file that cannot be written.
    pub fn migrate(&self) -> Result<(), StoreError> {
        self.session().migrate()
    }

    /// Carries out one request as one transaction.
    ///
    /// # Errors
    /// As [`Store::call`].
    pub fn apply(&self, request: &Request) -> Result<Reply, StoreError> {
        self.session().apply(request)
    }

    #[cfg(test)]
    pub(crate) fn with_connection<T>(&self, look: impl FnOnce(&Connection) -> T) -> T {
        look(self.session().connection())
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        // A panic inside leaves an open transaction, and the next call says so; a poisoned lock would say less.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for SqliteInline {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>> {
        Box::pin(async move {
            let reply = self.apply(&request)?;
            self.bell.ring_after(&request.verb, &reply);
            Ok(reply)
        })
    }

    fn listen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Listener>>, StoreError>> {
        Box::pin(async { Ok(Some(Box::new(self.bell.listen()) as Box<dyn Listener>)) })
    }
}
