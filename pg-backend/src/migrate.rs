//! Owns the schema's versions: applied once, in order, under any number of booting replicas and crashes (G12).

use std::sync::atomic::Ordering;

use tourbillon::store::{Migrated, SCHEMA_VERSION, StoreError, apply};

use crate::{
    error::Fault,
    session::Session,
    store::{Inner, PgStore},
};

/// One step of the schema. Forward only; a published file never changes.
struct Migration {
    version: u32,
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
    Migration { version: 7, name: "success", sql: include_str!("../migrations/0007_success.sql") },
    Migration { version: 8, name: "pauses", sql: include_str!("../migrations/0008_pauses.sql") },
    Migration { version: 9, name: "schedules", sql: include_str!("../migrations/0009_schedules.sql") },
    Migration { version: 10, name: "rates", sql: include_str!("../migrations/0010_rates.sql") },
    Migration { version: 11, name: "traces", sql: include_str!("../migrations/0011_traces.sql") },
    Migration { version: 12, name: "rates_shown", sql: include_str!("../migrations/0012_rates_shown.sql") },
    Migration { version: 13, name: "progress", sql: include_str!("../migrations/0013_progress.sql") },
];

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
        while self.migrate_once(SCHEMA_VERSION).await?.to < SCHEMA_VERSION {}
        Ok(())
    }

    /// The verb: at most the next pending step.
    pub(crate) async fn migrate_once(&self, known: u32) -> Result<Migrated, StoreError> {
        let inner = self.inner();
        // The usual boot takes no lock.
        let version = self.schema_version().await?;
        if apply::next_step(&inner.database(), version, known)?.is_none() {
            return Ok(Migrated { from: version, to: version });
        }
        let step = inner.with_session(async |session| inner.apply_next(session, known).await);
        inner.within("migration_timeout", inner.migration_timeout, step).await?
    }

    /// The schema's version: 0 when there is none yet.
    ///
    /// # Errors
    /// As a call of the store.
    pub async fn schema_version(&self) -> Result<u32, StoreError> {
        let inner = self.inner();
        let read = inner.with_session(async |session| inner.read_version(session).await);
        let version = inner.within("call_timeout", inner.call_timeout, read).await??;
        // Migrations only add, so that what was complete once stays so.
        inner.is_complete.fetch_or(version == SCHEMA_VERSION, Ordering::Relaxed);
        Ok(version)
    }

    /// Looks at the server until the schema was once seen to be complete.
    pub(crate) async fn require_schema(&self) -> Result<(), StoreError> {
        let inner = self.inner();
        if inner.is_complete.load(Ordering::Relaxed) {
            return Ok(());
        }
        apply::require_complete(&inner.database(), self.schema_version().await?)
    }

    pub(crate) async fn refuse_newer_schema(&self) -> Result<(), StoreError> {
        apply::next_step(&self.inner().database(), self.schema_version().await?, SCHEMA_VERSION).map(drop)
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

    /// What errors call it.
    fn database(&self) -> String {
        format!("schema `{}` at {}", self.schema.name(), self.place.server)
    }

    /// Two statements: naming a table that does not exist is an error, even behind a condition. The catalogue is read
    /// as a table: `to_regclass` answers from a cache that behind the lock may not know yet what its last holder made.
    async fn read_version(&self, session: &mut Session<'_>) -> Result<u32, Fault> {
        let exists = sqlx::query(
            "select (select c.oid from pg_catalog.pg_class c
                     where c.relname = 'migration' and c.relnamespace = (
                         select n.oid from pg_catalog.pg_namespace n where n.nspname = $1::text::name))::text",
        );
        let exists = session.ask(exists.bind(self.schema.name().to_owned())).await?;
        if exists.is_none() {
            return Ok(0);
        }
        let latest = self.schema.fill("select coalesce(max(version), 0)::text from {schema}.migration");
        let version = session.ask(sqlx::query(latest)).await?;
        Ok(version.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    async fn apply_next(&self, session: &mut Session<'_>, known: u32) -> Result<Migrated, Fault> {
        session.begin().await?;
        let bounded = sqlx::query("select set_config('lock_timeout', $1, true)");
        session.ask(bounded.bind(format!("{}ms", self.lock_timeout.as_millis()))).await?;
        let lock = "select pg_advisory_xact_lock(hashtextextended('tourbillon migrate ' || $1, 0))::text";
        session.ask(sqlx::query(lock).bind(self.schema.name().to_owned())).await?;
        // A statement of its own, behind the lock: its snapshot shows what the last holder committed.
        let version = self.read_version(session).await?;
        let next = apply::next_step(&self.database(), version, known).map_err(Fault::Final)?;
        let migration = MIGRATIONS.iter().find(|migration| Some(migration.version) == next);
        if let Some(migration) = migration {
            tracing::info!(schema = self.schema.name(), version = migration.version, "applying migration");
            if version == 0 {
                self.create_ledger(session).await?;
            }
            session.run(self.schema.fill(migration.sql)).await?;
            let record = self.schema.fill(
                "insert into {schema}.migration (version, name, applied_at) values ($1, $2, clock_timestamp())
                 returning version::text",
            );
            let record = sqlx::query(record).bind(i64::from(migration.version)).bind(migration.name);
            session.ask(record).await?;
        }
        session.commit().await?;
        Ok(Migrated { from: version, to: migration.map_or(version, |migration| migration.version) })
    }

    async fn create_ledger(&self, session: &mut Session<'_>) -> Result<(), Fault> {
        // `create schema if not exists` asks for the privilege even when it exists; an owner may have made it for us.
        let exists = sqlx::query("select (select oid from pg_namespace where nspname = $1::text::name)::text");
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
