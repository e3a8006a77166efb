//! What `migrate` does, and when the schema allows every other verb.

use crate::{
    model::Timestamp,
    store::{ErrorKind, Migrate, Migrated, Rows, SCHEMA_VERSION, StoreError},
};

pub(super) fn migrate(rows: &mut impl Rows, now: Timestamp, verb: Migrate) -> Result<Migrated, StoreError> {
    let from = rows.schema_version()?;
    let next = next_step(&rows.database(), from, verb.known)?;
    if let Some(version) = next {
        rows.apply_step(version, now)?;
    }
    Ok(Migrated { from, to: next.unwrap_or(from) })
}

/// The version of the step that a `migrate` applies to a database at `version`; `None` when nothing is pending.
/// `database` is what the error calls it.
///
/// # Errors
/// `Invalid` when the database is newer than the caller knows, naming both versions.
pub fn next_step(database: &str, version: u32, known: u32) -> Result<Option<u32>, StoreError> {
    if version > known {
        return Err(newer(database, version, known));
    }
    Ok((version < known).then_some(version + 1))
}

/// Whether this program's verbs may work on a database at `version`, which `database` is called in the error.
///
/// # Errors
/// `Invalid`, naming the version and the mend, unless it is [`SCHEMA_VERSION`].
pub fn require_complete(database: &str, version: u32) -> Result<(), StoreError> {
    let message = match version {
        SCHEMA_VERSION => return Ok(()),
        0 => format!("{database} has no tourbillon schema: run migrate"),
        1..SCHEMA_VERSION => {
            format!("{database} has schema version {version}, this program needs {SCHEMA_VERSION}: run migrate")
        }
        _ => return Err(newer(database, version, SCHEMA_VERSION)),
    };
    Err(StoreError::new(ErrorKind::Invalid, message))
}

fn newer(database: &str, version: u32, known: u32) -> StoreError {
    let message =
        format!("{database} has schema version {version}, newer than this program's {known}: update the program");
    StoreError::new(ErrorKind::Invalid, message)
}
