//! Owns the migrations: numbered, forward only, each in one transaction with its entry in the ledger (G12).

use rusqlite::Connection;
use tourbillon::{
    model::Timestamp,
    store::{SCHEMA_VERSION, SchemaRows, StoreError, apply},
};

use crate::{
    error::{Phase, translate},
    rows::SqliteRows,
    sql,
};

struct Migration {
    version: u32,
    name: &'static str,
    script: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "create_tables", script: include_str!("../migrations/0001_create_tables.sql") },
    Migration { version: 2, name: "locks", script: include_str!("../migrations/0002_locks.sql") },
    Migration { version: 3, name: "add_queues", script: include_str!("../migrations/0003_add_queues.sql") },
    Migration { version: 4, name: "audit", script: include_str!("../migrations/0004_audit.sql") },
    Migration { version: 5, name: "items", script: include_str!("../migrations/0005_items.sql") },
    Migration { version: 6, name: "unreadable", script: include_str!("../migrations/0006_unreadable.sql") },
    Migration { version: 7, name: "success", script: include_str!("../migrations/0007_success.sql") },
    Migration { version: 8, name: "pauses", script: include_str!("../migrations/0008_pauses.sql") },
    Migration { version: 9, name: "schedules", script: include_str!("../migrations/0009_schedules.sql") },
    Migration { version: 10, name: "rates", script: include_str!("../migrations/0010_rates.sql") },
    Migration { version: 11, name: "traces", script: include_str!("../migrations/0011_traces.sql") },
    Migration { version: 12, name: "rates_shown", script: include_str!("../migrations/0012_rates_shown.sql") },
    Migration { version: 13, name: "progress", script: include_str!("../migrations/0013_progress.sql") },
];

const _: () = assert!(MIGRATIONS[MIGRATIONS.len() - 1].version == SCHEMA_VERSION);

impl SchemaRows for SqliteRows<'_> {
    fn database(&self) -> String {
        self.name.to_owned()
    }

    fn schema_version(&mut self) -> Result<u32, StoreError> {
        version(self.connection, self.name)
    }

    fn apply_step(&mut self, version: u32, now: Timestamp) -> Result<(), StoreError> {
        let step =
            MIGRATIONS.iter().find(|step| step.version == version).expect("no step beyond the last is asked for");
        let apply = || {
            self.connection.execute_batch(sql::CREATE_MIGRATION)?;
            self.connection.execute_batch(step.script)?;
            self.connection.execute(sql::INSERT_MIGRATION, (step.version, step.name, now.as_micros())).map(drop)
        };
        apply().map_err(|error| translate(self.name, Phase::Statement, error))
    }
}

/// Checks that the schema of the database called `name` is there and is this program's.
///
/// # Errors
/// `Invalid`, naming the version and the mend.
pub(crate) fn check(connection: &Connection, name: &str) -> Result<(), StoreError> {
    apply::require_complete(name, version(connection, name)?)
}

/// The newest migration in the ledger of the database called `name`; 0 without a ledger or with an empty one.
///
/// # Errors
/// What SQLite says.
pub(crate) fn version(connection: &Connection, name: &str) -> Result<u32, StoreError> {
    let read = || {
        let exists: bool = connection.query_row(sql::EXISTS_MIGRATION, [], |row| row.get(0))?;
        if !exists {
            return Ok(None);
        }
        connection.query_row(sql::SELECT_MIGRATION, [], |row| row.get(0))
    };
    let newest = read().map_err(|error| translate(name, Phase::Statement, error))?;
    Ok(newest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps() {
        for (expected, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, expected, "{}", migration.name);
        }
    }
}
