//! Owns the translation of SQLite's errors into what the caller does about them.

use rusqlite::{Error, ErrorCode};
use tourbillon::store::{ErrorKind, StoreError};

/// When the error happened: only a commit can leave the outcome open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the commit: nothing was applied.
    Statement,
    /// In the commit.
    Commit,
}

/// Translates `error` of the database called `name`.
pub(crate) fn translate(name: &str, phase: Phase, error: Error) -> StoreError {
    let (kind, message) = classify(name, phase, &error);
    StoreError::new(kind, message).with_source(error)
}

fn classify(name: &str, phase: Phase, error: &Error) -> (ErrorKind, String) {
    use ErrorKind::{Conflict, Corrupt, Invalid, Unavailable, Unknown};
    let Some(code) = driver_error(error).map(|error| error.code) else {
        return match error {
            Error::FromSqlConversionFailure(..)
            | Error::InvalidColumnType(..)
            | Error::IntegralValueOutOfRange(..) => {
                (Corrupt, format!("{name} holds a value that this program does not understand: {error}"))
            }
            _ => (Invalid, format!("{name}: {error}")),
        };
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            (Unavailable, format!("{name} is locked by another connection"))
        }
        ErrorCode::DiskFull => {
            (Unavailable, format!("disk full: {name} cannot grow; free some space or raise max_page_count"))
        }
        ErrorCode::OutOfMemory => (Unavailable, format!("{name}: SQLite is out of memory")),
        ErrorCode::OperationInterrupted | ErrorCode::OperationAborted => {
            (Unavailable, format!("{name}: the statement was interrupted"))
        }
        // The pages may be in the log although the call that makes them durable failed.
        ErrorCode::SystemIoFailure if phase == Phase::Commit => {
            (Unknown, format!("{name}: the disk failed during the commit: {error}"))
        }
        ErrorCode::SystemIoFailure => (Unavailable, format!("{name}: the disk failed: {error}")),
        ErrorCode::ReadOnly => (Invalid, read_only(name)),
        ErrorCode::CannotOpen => {
            (Invalid, format!("cannot open {name}: create its folder and let this user write there"))
        }
        ErrorCode::PermissionDenied => {
            (Invalid, format!("no permission for {name}: let this user read and write it"))
        }
        ErrorCode::DatabaseCorrupt => (Corrupt, format!("{name} is damaged: restore it from a backup")),
        ErrorCode::NotADatabase => (Corrupt, format!("{name} is not an SQLite database: name another file")),
        ErrorCode::ConstraintViolation if is_duplicate(error) => (Conflict, format!("{name}: {error}")),
        _ if is_missing_table(error) => (Invalid, missing_schema(name)),
        _ => (Invalid, format!("{name}: {error}")),
    }
}

/// What a file that cannot be written gets.
pub(crate) fn read_only(name: &str) -> String {
    format!("{name} is read-only: let this user write the file and its folder")
}

/// What a database without our tables gets.
pub(crate) fn missing_schema(name: &str) -> String {
    format!("{name} has no tourbillon schema: run migrate")
}

fn is_duplicate(error: &Error) -> bool {
    use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_ROWID, SQLITE_CONSTRAINT_UNIQUE};
    let duplicates = [SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_ROWID, SQLITE_CONSTRAINT_UNIQUE];
    driver_error(error).is_some_and(|error| duplicates.contains(&error.extended_code))
}

fn driver_error(error: &Error) -> Option<&rusqlite::ffi::Error> {
    match error {
        Error::SqlInputError { error, .. } => Some(error),
        _ => error.sqlite_error(),
    }
}

fn is_missing_table(error: &Error) -> bool {
    let message = match error {
        Error::SqliteFailure(_, Some(message)) => message,
        Error::SqlInputError { msg, .. } => msg,
        _ => return false,
    };
    // SQLite has no code of its own for it; the words have been the same since 2004.
    message.starts_with("no such table")
}
