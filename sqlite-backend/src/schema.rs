//! Owns the migrations: numbered, forward only, each in one transaction with its entry in the ledger (G12).

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use tourbillon::{
    model::Timestamp,
    store::{ErrorKind, StoreError},
};

use crate::{
    error::{Phase, missing_schema, translate},
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
];

/// The schema version that this program reads and writes.
pub const SCHEMA_VERSION: u32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// Brings the schema of the database called `name` to [`SCHEMA_VERSION`]. Any number of processes may do it at once:
/// each migration takes the write lock first and looks at the ledger under it.
///
/// # Errors
/// `Invalid` for a schema newer than this program; else what SQLite says.
pub(crate) fn migrate(connection: &mut Connection, name: &str, now: Timestamp) -> Result<(), StoreError> {
    let applied = ledger_version(connection, name)?;
    // Nothing to do, then: without the write lock, so that a busy or read-only file is no obstacle.
    if applied == Some(SCHEMA_VERSION) {
        return Ok(());
    }
    for migration in MIGRATIONS {
        migrate_one(connection, name, now, migration)?;
    }
    Ok(())
}

fn migrate_one(
    connection: &mut Connection,
    name: &str,
    now: Timestamp,
    migration: &Migration,
) -> Result<(), StoreError> {
    let fail = |error| translate(name, Phase::Statement, error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    transaction.execute_batch(sql::CREATE_MIGRATION).map_err(fail)?;
    let applied = ledger_version(&transaction, name)?.unwrap_or(0);
    if applied > SCHEMA_VERSION {
        return Err(newer(name, applied));
    }
    if applied < migration.version {
        transaction.execute_batch(migration.script).map_err(fail)?;
        let entry = (migration.version, migration.name, now.as_micros());
        transaction.execute(sql::INSERT_MIGRATION, entry).map_err(fail)?;
    }
    transaction.commit().map_err(|error| translate(name, Phase::Commit, error))
}

/// Checks that the schema is there and is this program's.
///
/// # Errors
/// `Invalid`, naming both versions where there are two.
pub(crate) fn check(connection: &Connection, name: &str) -> Result<(), StoreError> {
    match ledger_version(connection, name)? {
        None => Err(StoreError::new(ErrorKind::Invalid, missing_schema(name))),
        Some(SCHEMA_VERSION) => Ok(()),
        Some(applied) if applied > SCHEMA_VERSION => Err(newer(name, applied)),
        Some(applied) => Err(StoreError::new(
            ErrorKind::Invalid,
            format!("{name} has schema version {applied}, this program needs {SCHEMA_VERSION}: run migrate"),
        )),
    }
}

fn newer(name: &str, applied: u32) -> StoreError {
    let message = format!(
        "{name} has schema version {applied}, newer than this program's {SCHEMA_VERSION}: update the program"
    );
    StoreError::new(ErrorKind::Invalid, message)
}

/// The newest migration in the ledger; `None` without a ledger or with an empty one.
fn ledger_version(connection: &Connection, name: &str) -> Result<Option<u32>, StoreError> {
    let read = || {
        let exists: bool = connection.query_row(sql::EXISTS_MIGRATION, [], |row| row.get(0))?;
        if !exists {
            return Ok(None);
        }
        connection.query_row(sql::SELECT_MIGRATION, [], |row| row.get(0)).optional().map(Option::flatten)
    };
    read().map_err(|error| translate(name, Phase::Statement, error))
}
