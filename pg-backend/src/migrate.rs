//! Owns the schema's versions: applied once, in order, under any number of booting replicas and crashes (G12).

use tourbillon::store::{ErrorKind, StoreError};

use crate::{
    error::Fault,
    session::Session,
    store::{Inner, PgStore},
};

/// One step of the schema. Forward only; a published file never changes.
struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "init", sql: include_str!("../migrations/0001_init.sql") },
    Migration { version: 2, name: "locks", sql: include_str!("../migrations/0002_locks.sql") },
    Migration { version: 3, name: "add_queues", sql: include_str!("../migrations/0003_add_queues.sql") },
    Migration { version: 4, name: "audit", sql: include_str!("../migrations/0004_audit.sql") },
    Migration { version: 5, name: "items", sql: include_str!("../migrations/0005_items.sql") },
    Migration { version: 6, name: "unreadable", sql: include_str!("../migrations/0006_unreadable.sql") },
];

/// The schema version that this program works with.
pub const SCHEMA_VERSION: i64 = 6;

const _: () = assert!(MIGRATIONS[MIGRATIONS.len() - 1].version == SCHEMA_VERSION);

impl PgStore {
    /// Brings the schema to [`SCHEMA_VERSION`], creating it if need be. Safe to call from every replica at every boot.
    ///
    /// Each migration and its ledger row are one transaction, behind a transaction-level advisory lock, so it works
    /// through a transaction pooler and a crash leaves whole steps only.
    ///
    /// # Errors
    /// `Invalid` when the schema is newer than this program, or the user may not create it; `Unavailable` when
    /// another session holds a needed lock longer than the builder's `lock_timeout`; `Unknown` when the connection
    /// was lost (call it again).
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let inner = self.inner();
        for migration in MIGRATIONS {
            // The usual boot takes no lock.
            if self.checked_version().await? < migration.version {
                let apply = inner.with_session(async |session| inner.apply(session, migration).await);
                inner.within("migration_timeout", inner.migration_timeout, apply).await??;
            }
        }
        self.checked_version().await.map(drop)
    }

    /// The schema's version: 0 when there is none yet.
    ///
    /// # Errors
    /// As a call of the store.
    pub async fn schema_version(&self) -> Result<i64, StoreError> {
        let inner = self.inner();
        let read = inner.with_session(async |session| inner.read_version(session).await);
        inner.within("call_timeout", inner.call_timeout, read).await?
    }

    pub(crate) async fn refuse_newer_schema(&self) -> Result<(), StoreError> {
        self.checked_version().await.map(drop)
    }

    async fn checked_version(&self) -> Result<i64, StoreError> {
        let version = self.schema_version().await?;
        self.inner().check_version(version)
    }
}

impl Inner {
    async fn with_session<T>(
        &self,
        work: impl AsyncFnOnce(&mut Session<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let result = async {
            let mut session = self.open().await?;
            let result = work(&mut session).await;
            session.close().await;
            result
        };
        result.await.map_err(|fault| match fault {
            Fault::Retry(error) | Fault::Final(error) => error,
        })
    }

    fn check_version(&self, version: i64) -> Result<i64, StoreError> {
        if version > SCHEMA_VERSION {
            let message = format!(
                "schema `{}` at {} has version {version}, this program knows {SCHEMA_VERSION}: deploy a newer program",
                self.schema.name(),
                self.place.server
            );
            return Err(StoreError::new(ErrorKind::Invalid, message));
        }
        Ok(version)
    }

    /// Two statements: naming a table that does not exist is an error, even behind a condition. The catalogue is read
    /// as a table: `to_regclass` answers from a cache that behind the lock may not know yet what its last holder made.
    async fn read_version(&self, session: &mut Session<'_>) -> Result<i64, Fault> {
        let exists = sqlx::query(
            "select (select c.oid from pg_catalog.pg_class c
                     join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                     where n.nspname = $1 and c.relname = 'migration')::text",
        );
        let exists = session.ask(exists.bind(self.schema.name().to_owned())).await?;
        if exists.is_none() {
            return Ok(0);
        }
        let latest = self.schema.fill("select coalesce(max(version), 0)::text from {schema}.migration");
        let version = session.ask(sqlx::query(latest)).await?;
        Ok(version.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    async fn apply(&self, session: &mut Session<'_>, migration: &Migration) -> Result<(), Fault> {
        session.begin().await?;
        let bounded = sqlx::query("select set_config('lock_timeout', $1, true)");
        session.ask(bounded.bind(format!("{}ms", self.lock_timeout.as_millis()))).await?;
        let lock = "select pg_advisory_xact_lock(hashtextextended('tourbillon migrate ' || $1, 0))::text";
        session.ask(sqlx::query(lock).bind(self.schema.name().to_owned())).await?;
        // A statement of its own, behind the lock: its snapshot shows what the last holder committed.
        let version = self.read_version(session).await?;
        if version < migration.version {
            tracing::info!(schema = self.schema.name(), version = migration.version, "applying migration");
            if version == 0 {
                self.create_ledger(session).await?;
            }
            session.run(self.schema.fill(migration.sql)).await?;
            let record = self.schema.fill(
                "insert into {schema}.migration (version, name, applied_at) values ($1, $2, clock_timestamp())
                 returning version::text",
            );
            session.ask(sqlx::query(record).bind(migration.version).bind(migration.name)).await?;
        }
        session.commit().await
    }

    async fn create_ledger(&self, session: &mut Session<'_>) -> Result<(), Fault> {
        // `create schema if not exists` asks for the privilege even when it exists; an owner may have made it for us.
        let exists = sqlx::query("select (select oid from pg_namespace where nspname = $1)::text");
        if session.ask(exists.bind(self.schema.name().to_owned())).await?.is_none() {
            session.run(self.schema.fill("create schema {schema}")).await?;
        }
        session.run(self.schema.fill(LEDGER)).await
    }
}

const LEDGER: &str = "create table {schema}.migration (
    version bigint primary key,
    name text not null,
    applied_at timestamptz not null
)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps_and_name_no_schema() {
        for (expected, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, expected);
            assert!(!migration.sql.contains("tourbillon."), "{} names a schema", migration.name);
        }
    }
}
