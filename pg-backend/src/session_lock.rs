//! Owns locks of another kind: Postgres session advisory locks, each on a connection of its own (P-28).
//!
//! The connection never comes from the pool and never goes back to one: what holds it, or is dropped while it gets one,
//! closes it, and the server releases the lock with the session. Best effort, as [`Locker`] says: the server may end the
//! session at any time, and somebody else may hold the lock until the next verification. Sets no deadlines: who asks
//! does, and drops what takes too long.

use std::fmt;

use sqlx::{Connection, PgConnection, Row, postgres::PgConnectOptions};
use tourbillon::{
    model::LockName,
    service::{Locker, SessionLock},
    store::{BoxFuture, ErrorKind, StoreError},
};

use crate::{
    builder::Pooler,
    error::{Phase, Place},
    sql::Schema,
    store::PgStore,
};

// Apart from the store's statements, which leave no session state behind.
const TRY: &str = include_str!("../sql/session/try_lock.sql");
const VERIFY: &str = include_str!("../sql/session/verify_lock.sql");
const UNLOCK: &str = include_str!("../sql/session/unlock_lock.sql");

/// How soon the server looks for a client that is gone without a goodbye: nobody else can have its locks before, and
/// messages for it pile up.
/// Seconds idle, seconds between probes, probes. `PgBouncer` refuses such settings when it is connected to, before a lock
/// could stay behind in one of its sessions.
pub(crate) const KEEPALIVES: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")];

/// Session advisory locks of one database, by the store's schema and the lock's name. Each lock that is held, and each
/// try, has one connection to itself, beside those of the store's pool.
///
/// Does not work behind a transaction pooler, and says so at the first lock. The server frees the lock of a client that
/// died as soon as it is told, and that of one that is cut off within half a minute; the client learns at its next
/// verification.
///
/// ```no_run
/// # use std::{sync::Arc, time::Duration};
/// # use tourbillon::{job::BoxError, service::{HaMode, Service}};
/// # async fn example(store: tourbillon_pg::PgStore) {
/// let service = Service::new("crl")
///     .every(Duration::from_secs(3600))
///     .mode(HaMode::TickLock)
///     .locker(Arc::new(store.session_locker()))
///     .run(|_| async { Ok::<_, BoxError>(()) });
/// # let _ = service;
/// # }
/// ```
#[derive(Clone)]
pub struct SessionLocker {
    /// `None` where only a transaction pooler is known.
    options: Option<PgConnectOptions>,
    place: Place,
    schema: Schema,
}

impl fmt::Debug for SessionLocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLocker").field("server", &self.place.server).finish_non_exhaustive()
    }
}

impl PgStore {
    /// Locks of another kind in the same database: see [`SessionLocker`]. Connects to nothing.
    pub fn session_locker(&self) -> SessionLocker {
        let inner = self.inner();
        let pooled = (inner.pooler == Pooler::None).then(|| inner.pool.connect_options().as_ref().clone());
        let options = inner.direct.clone().or(pooled);
        SessionLocker {
            options: options.map(|options| options.application_name("tourbillon lock").options(KEEPALIVES)),
            place: inner.place.clone(),
            schema: inner.schema.clone(),
        }
    }
}

impl SessionLocker {
    fn refusal(&self) -> StoreError {
        let mend = "name a way past the pooler where the store is built, `.direct_url(…)`";
        let message = format!("{} keeps no session for a lock: {mend}", self.place.server);
        StoreError::new(ErrorKind::Invalid, message)
    }
}

impl Locker for SessionLocker {
    fn try_lock(&self, name: LockName) -> BoxFuture<'_, Result<Option<Box<dyn SessionLock>>, StoreError>> {
        Box::pin(async move {
            let Some(options) = &self.options else { return Err(self.refusal()) };
            let connection = PgConnection::connect_with(options).await;
            let connection = connection.map_err(|error| self.place.sort(Phase::Connect, error).into_error())?;
            let mut lock = AdvisoryLock { locker: self.clone(), name, connection };
            if !lock.ask(TRY).await? {
                lock.close().await;
                return Ok(None);
            }
            // Behind a transaction pooler the next statement may run in another session.
            if !lock.ask(VERIFY).await? {
                return Err(self.refusal());
            }
            Ok(Some(Box::new(lock) as Box<dyn SessionLock>))
        })
    }
}

/// A lock and the session that holds it. Dropping it closes the connection.
struct AdvisoryLock {
    locker: SessionLocker,
    name: LockName,
    connection: PgConnection,
}

impl fmt::Debug for AdvisoryLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdvisoryLock").field("name", &self.name).finish_non_exhaustive()
    }
}

impl AdvisoryLock {
    async fn ask(&mut self, statement: &'static str) -> Result<bool, StoreError> {
        let query =
            sqlx::query(statement).bind(self.locker.schema.name().to_owned()).bind(self.name.as_str().to_owned());
        let row = query.fetch_one(&mut self.connection).await.and_then(|row| row.try_get(0));
        row.map_err(|error| self.locker.place.sort(Phase::Statement, error).into_error())
    }

    async fn close(self) {
        // A failed farewell ends the session all the same.
        let _ = self.connection.close().await;
    }
}

impl SessionLock for AdvisoryLock {
    fn verify(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            if self.ask(VERIFY).await? {
                return Ok(());
            }
            let message = format!("session lock {} at {} is not held any more", self.name, self.locker.place.server);
            Err(StoreError::new(ErrorKind::LeaseLost, message))
        })
    }

    fn unlock(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // The end of the session would do; this is sooner than the server's notice of it.
            let _ = self.ask(UNLOCK).await;
            self.close().await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locker_is_told_without_the_password() {
        let options = "postgres://ada:hunter2@db:5432/app".parse().ok();
        let place = Place { server: "db:5432/app".to_owned(), user: "ada".to_owned(), schema: "jobs".to_owned() };
        let locker = SessionLocker { options, place, schema: Schema::new("jobs").unwrap() };
        assert_eq!(format!("{locker:?}"), "SessionLocker { server: \"db:5432/app\", .. }");
    }
}
