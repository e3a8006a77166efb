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

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn told(phase: Phase, code: i32, message: Option<&str>) -> (ErrorKind, String) {
        let error = Error::SqliteFailure(ffi::Error::new(code), message.map(str::to_owned));
        let error = translate("jobs.db", phase, error);
        (error.kind(), error.message().to_owned())
    }

    #[test]
    fn each_failure_is_told_by_what_the_caller_does() {
        use ErrorKind::{Conflict, Corrupt, Invalid, Unavailable};
        for (code, kind, part) in [
            (ffi::SQLITE_BUSY, Unavailable, "is locked by another connection"),
            (ffi::SQLITE_LOCKED, Unavailable, "is locked by another connection"),
            (ffi::SQLITE_FULL, Unavailable, "disk full"),
            (ffi::SQLITE_NOMEM, Unavailable, "out of memory"),
            (ffi::SQLITE_INTERRUPT, Unavailable, "was interrupted"),
            (ffi::SQLITE_ABORT, Unavailable, "was interrupted"),
            (ffi::SQLITE_READONLY, Invalid, "is read-only"),
            (ffi::SQLITE_CANTOPEN, Invalid, "create its folder"),
            (ffi::SQLITE_PERM, Invalid, "no permission for jobs.db"),
            (ffi::SQLITE_CORRUPT, Corrupt, "restore it from a backup"),
            (ffi::SQLITE_NOTADB, Corrupt, "is not an SQLite database"),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, Conflict, "jobs.db: "),
            (ffi::SQLITE_CONSTRAINT_ROWID, Conflict, "jobs.db: "),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, Conflict, "jobs.db: "),
            (ffi::SQLITE_CONSTRAINT_CHECK, Invalid, "jobs.db: "),
            (ffi::SQLITE_MISMATCH, Invalid, "jobs.db: "),
        ] {
            for phase in [Phase::Statement, Phase::Commit] {
                let (told, message) = told(phase, code, None);
                assert!(told == kind && message.contains(part), "{code}: {told:?}, {message}");
            }
        }
    }

    #[test]
    fn a_disk_that_fails_leaves_only_a_commit_open() {
        let (kind, message) = told(Phase::Statement, ffi::SQLITE_IOERR, None);
        assert!(kind == ErrorKind::Unavailable && message.starts_with("jobs.db: the disk failed: "), "{message}");
        let (kind, message) = told(Phase::Commit, ffi::SQLITE_IOERR, None);
        assert!(kind == ErrorKind::Unknown && message.contains("failed during the commit"), "{message}");
    }

    #[test]
    fn only_a_table_that_is_not_there_calls_for_a_migration() {
        let none = told(Phase::Statement, ffi::SQLITE_ERROR, Some("no such table: execution"));
        assert_eq!(none, (ErrorKind::Invalid, "jobs.db has no tourbillon schema: run migrate".to_owned()));
        // As SQLite tells it when it knows the place in the statement.
        let error = ffi::Error::new(ffi::SQLITE_ERROR);
        let (msg, sql) = ("no such table: execution".to_owned(), "select 1 from execution".to_owned());
        let placed = translate("jobs.db", Phase::Statement, Error::SqlInputError { error, msg, sql, offset: 14 });
        assert_eq!((placed.kind(), placed.message().to_owned()), none);
        let other = told(Phase::Statement, ffi::SQLITE_ERROR, Some("no such column: state"));
        assert_eq!(other, (ErrorKind::Invalid, "jobs.db: no such column: state".to_owned()));
    }

    #[test]
    fn only_values_that_nobody_would_have_written_are_corrupt() {
        let kind = |error| translate("jobs.db", Phase::Statement, error).kind();
        let odd = std::io::Error::other("half a lease");
        let unreadable = Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, Box::new(odd));
        assert_eq!(kind(unreadable), ErrorKind::Corrupt);
        assert_eq!(kind(Error::IntegralValueOutOfRange(0, -1)), ErrorKind::Corrupt);
        assert_eq!(
            kind(Error::InvalidColumnType(0, "fence".to_owned(), rusqlite::types::Type::Text)),
            ErrorKind::Corrupt
        );
        assert_eq!(kind(Error::InvalidParameterCount(1, 2)), ErrorKind::Invalid);
    }
}
