//! Owns the sorting of driver errors by what a caller does about them.
//!
//! `Unknown` whenever the statement may have been committed, `Unavailable` only when it certainly was not.

use std::{borrow::Cow, io};

use sqlx::{error::DatabaseError, postgres::PgDatabaseError};
use tourbillon::store::{ErrorKind, StoreError};

/// Where a call was when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No connection yet: nothing was sent.
    Connect,
    /// The statement, or the commit, was sent.
    Statement,
}

/// What an error is about, for its message. Never holds a password.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// `host:port/database`.
    pub(crate) server: String,
    /// Who logs in.
    pub(crate) user: String,
    /// The schema's name.
    pub(crate) schema: String,
}

/// A failed attempt at a call.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Rolled back because of what runs beside it; run it again.
    Retry(StoreError),
    /// For the caller.
    Final(StoreError),
}

impl Fault {
    /// What a caller is told who cannot, or will not, run it again.
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Retry(error) | Self::Final(error) => error,
        }
    }
}

impl Place {
    /// Sorts an error of the driver.
    pub(crate) fn sort(&self, phase: Phase, error: sqlx::Error) -> Fault {
        let code = error.as_database_error().and_then(DatabaseError::code).map(Cow::into_owned);
        let retry = code.as_deref().is_some_and(|code| is_retryable(code, error.as_database_error()));
        let (kind, message) = match (&error, code.as_deref()) {
            (sqlx::Error::Database(database), Some(code)) => self.database_error(phase, code, database.message()),
            (sqlx::Error::PoolTimedOut, _) => {
                let message = format!("no connection to {} in time: pool busy or server unreachable", self.server);
                (ErrorKind::Unavailable, message)
            }
            (sqlx::Error::PoolClosed, _) => (ErrorKind::Unavailable, "the connection pool is closed".to_owned()),
            (sqlx::Error::Tls(reason), _) if !cfg!(feature = "tls") && reason.to_string().contains("without TLS") => {
                let mend = "build `tourbillon-pg` with its feature `tls`, or write `sslmode=disable`";
                (
                    ErrorKind::Invalid,
                    format!("the URL of {} asks for TLS, which is not built in: {mend}", self.server),
                )
            }
            (sqlx::Error::Configuration(_) | sqlx::Error::Tls(_), _) => {
                (ErrorKind::Invalid, format!("connection settings for {} do not work: {error}", self.server))
            }
            // What a handshake says of a certificate that it does not trust.
            (sqlx::Error::Io(reason), _)
                if phase == Phase::Connect && reason.kind() == io::ErrorKind::InvalidData =>
            {
                let mend = "name the root that signed its certificate (`sslrootcert=FILE`), and the host as it does";
                (ErrorKind::Invalid, format!("{} is not trusted ({reason}): {mend}", self.server))
            }
            (sqlx::Error::Encode(_), _) => (ErrorKind::Invalid, format!("request cannot be sent: {error}")),
            (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_), _) => {
                (ErrorKind::Corrupt, format!("reply of {} cannot be read: {error}", self.server))
            }
            _ if phase == Phase::Connect => {
                (ErrorKind::Unavailable, format!("cannot connect to {}: {error}", self.server))
            }
            _ => (ErrorKind::Unknown, format!("connection to {} lost during a statement: {error}", self.server)),
        };
        let error = StoreError::new(kind, message).with_source(error);
        if retry { Fault::Retry(error) } else { Fault::Final(error) }
    }

    /// A deadline of ours passed.
    pub(crate) fn late(&self, phase: Phase, setting: &str, deadline: std::time::Duration) -> StoreError {
        match phase {
            Phase::Connect => StoreError::new(
                ErrorKind::Unavailable,
                format!("no connection to {} within {setting} = {deadline:?}", self.server),
            ),
            Phase::Statement => StoreError::new(
                ErrorKind::Unknown,
                format!("no answer from {} within {setting} = {deadline:?}", self.server),
            ),
        }
    }

    fn database_error(&self, phase: Phase, code: &str, text: &str) -> (ErrorKind, String) {
        let Self { server, user, schema } = self;
        match code {
            // The server lets that user in with TLS alone.
            "28000" if text.ends_with("no encryption") => {
                let mend = "write `sslmode=verify-full` into the URL";
                (ErrorKind::Invalid, format!("user `{user}` may not log in to {server} unencrypted ({text}): {mend}"))
            }
            "28P01" | "28000" => (ErrorKind::Invalid, format!("user `{user}` may not log in to {server}: {text}")),
            "3D000" => (ErrorKind::Invalid, format!("there is no such database at {server}: {text}")),
            "3F000" | "42P01" | "42703" | "42883" => {
                (ErrorKind::Invalid, format!("schema `{schema}` at {server} is missing or incomplete: run migrate"))
            }
            "42501" => {
                let mend = "grant it to that user or log in as the owner";
                (ErrorKind::Invalid, format!("user `{user}` lacks a privilege at {server} ({text}): {mend}"))
            }
            // Statements that are prepared in one session are looked for in another.
            "26000" | "42P05" => {
                let mend = "say `.pooler(Pooler::Transaction)` where the store is built";
                (ErrorKind::Invalid, format!("{server} seems to be a transaction pooler ({text}): {mend}"))
            }
            "25P01" => (ErrorKind::Invalid, format!("there is no transaction open at {server}: begin one")),
            "25006" => (ErrorKind::Unavailable, format!("server {server} is read-only: a standby?")),
            // A shutdown may strike after the commit and before the answer.
            "57P01" | "57P02" | "57P03" | "57P05" if phase == Phase::Statement => {
                (ErrorKind::Unknown, format!("server {server} went away during a statement: {text}"))
            }
            // The server, or a pooler in front of it, lost track of the commit.
            "40003" => (ErrorKind::Unknown, format!("{server}: {text}")),
            _ if code.starts_with("08") && phase == Phase::Statement => {
                (ErrorKind::Unknown, format!("{server}: {text}"))
            }
            "23505" => (ErrorKind::Conflict, format!("an id of the request is taken at {server}: {text}")),
            "55P03" => (ErrorKind::Unavailable, format!("a lock at {server} was not free in time: {text}")),
            _ => match code.get(..2).unwrap_or_default() {
                // Connection, resources, operator, system: none was applied, all may pass.
                "08" | "53" | "57" | "58" | "40" => (ErrorKind::Unavailable, format!("{server}: {text}")),
                "XX" => (ErrorKind::Corrupt, format!("{server} reports an internal error: {text}")),
                _ => (ErrorKind::Invalid, format!("{server} refused the request ({code}): {text}")),
            },
        }
    }
}

/// Serialisation failure, deadlock, or a unique key that another call made first: run again, it is seen then. An id
/// of an execution that exists is not of that sort: it stays.
fn is_retryable(code: &str, error: Option<&dyn DatabaseError>) -> bool {
    let constraint = error.and_then(|error| error.try_downcast_ref::<PgDatabaseError>()?.constraint());
    match code {
        "40001" | "40P01" => true,
        "23505" => matches!(constraint, Some("receipt_pkey" | "cursor_pkey" | "job_pkey" | "execution_unique")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// What a server says: code and text.
    #[derive(Debug)]
    struct Said(&'static str, &'static str);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }
    }

    impl std::error::Error for Said {}

    impl DatabaseError for Said {
        fn message(&self) -> &str {
            self.1
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    fn sorted(phase: Phase, error: sqlx::Error) -> Fault {
        let place = Place { server: "db:5432/app".to_owned(), user: "ada".to_owned(), schema: "jobs".to_owned() };
        place.sort(phase, error)
    }

    fn check(phase: Phase, error: sqlx::Error, kind: ErrorKind, part: &str) {
        let told = sorted(phase, error).into_error();
        assert!(told.kind() == kind && told.message().contains(part), "{phase:?}, {part:?}: {told:?}");
    }

    #[test]
    fn what_the_server_says_is_sorted_by_what_the_caller_does() {
        use ErrorKind::{Conflict, Corrupt, Invalid, Unavailable};
        for (code, text, kind, part) in [
            ("28000", "no pg_hba.conf entry, no encryption", Invalid, "write `sslmode=verify-full`"),
            ("28000", "no role", Invalid, "user `ada` may not log in to db:5432/app: no role"),
            ("28P01", "password", Invalid, "user `ada` may not log in to db:5432/app: password"),
            ("3D000", "nowhere", Invalid, "no such database"),
            ("3F000", "", Invalid, "schema `jobs` at db:5432/app is missing or incomplete"),
            ("42P01", "", Invalid, "run migrate"),
            ("42703", "", Invalid, "run migrate"),
            ("42883", "", Invalid, "run migrate"),
            ("42501", "denied", Invalid, "user `ada` lacks a privilege"),
            ("26000", "", Invalid, "seems to be a transaction pooler"),
            ("42P05", "", Invalid, "seems to be a transaction pooler"),
            ("25P01", "", Invalid, "there is no transaction open"),
            ("25006", "", Unavailable, "a standby?"),
            ("40003", "lost", ErrorKind::Unknown, "db:5432/app: lost"),
            ("23505", "twice", Conflict, "an id of the request is taken"),
            ("55P03", "held", Unavailable, "was not free in time"),
            ("53300", "full", Unavailable, "db:5432/app: full"),
            ("57014", "cancelled", Unavailable, "db:5432/app: cancelled"),
            ("58030", "disk", Unavailable, "db:5432/app: disk"),
            ("40001", "beside", Unavailable, "db:5432/app: beside"),
            ("XX001", "page", Corrupt, "reports an internal error: page"),
            ("22P02", "number", Invalid, "refused the request (22P02): number"),
        ] {
            check(Phase::Statement, sqlx::Error::Database(Box::new(Said(code, text))), kind, part);
            check(Phase::Connect, sqlx::Error::Database(Box::new(Said(code, text))), kind, part);
        }
    }

    #[test]
    fn a_server_that_goes_leaves_only_what_was_sent_open() {
        for (code, part) in [("57P01", "went away"), ("57P02", "went away"), ("57P03", "went"), ("57P05", "went")] {
            let said = || sqlx::Error::Database(Box::new(Said(code, "shutdown")));
            check(Phase::Statement, said(), ErrorKind::Unknown, part);
            check(Phase::Connect, said(), ErrorKind::Unavailable, "db:5432/app: shutdown");
        }
        let said = || sqlx::Error::Database(Box::new(Said("08006", "cut")));
        check(Phase::Statement, said(), ErrorKind::Unknown, "db:5432/app: cut");
        check(Phase::Connect, said(), ErrorKind::Unavailable, "db:5432/app: cut");
    }

    #[test]
    fn what_the_driver_says_is_sorted_by_what_the_caller_does() {
        use ErrorKind::{Corrupt, Invalid, Unavailable, Unknown};
        let io = |kind: io::ErrorKind| sqlx::Error::Io(io::Error::new(kind, "bad certificate"));
        for phase in [Phase::Connect, Phase::Statement] {
            check(phase, sqlx::Error::PoolTimedOut, Unavailable, "pool busy or server unreachable");
            check(phase, sqlx::Error::PoolClosed, Unavailable, "the connection pool is closed");
            check(phase, sqlx::Error::Tls("no TLS there".into()), Invalid, "do not work");
            let missing = if cfg!(feature = "tls") { "settings for db:5432/app" } else { "with its feature `tls`" };
            check(phase, sqlx::Error::Tls("built without TLS".into()), Invalid, missing);
            check(phase, sqlx::Error::Configuration("socket".into()), Invalid, "do not work");
            check(phase, sqlx::Error::Encode("large".into()), Invalid, "request cannot be sent");
            check(phase, sqlx::Error::Decode("null".into()), Corrupt, "cannot be read");
            let column = sqlx::Error::ColumnDecode { index: "0".to_owned(), source: "null".into() };
            check(phase, column, Corrupt, "cannot be read");
        }
        check(Phase::Connect, io(io::ErrorKind::InvalidData), Invalid, "is not trusted (bad certificate)");
        check(Phase::Statement, io(io::ErrorKind::InvalidData), Unknown, "lost during a statement");
        check(Phase::Connect, io(io::ErrorKind::ConnectionReset), Unavailable, "cannot connect to db:5432/app");
        check(Phase::Statement, io(io::ErrorKind::ConnectionReset), Unknown, "lost during a statement");
    }

    #[test]
    fn only_what_runs_beside_is_tried_again() {
        for (code, again) in [("40001", true), ("40P01", true), ("40003", false), ("23505", false)] {
            let fault = sorted(Phase::Statement, sqlx::Error::Database(Box::new(Said(code, ""))));
            assert_eq!(matches!(fault, Fault::Retry(_)), again, "{code}");
        }
        assert!(matches!(sorted(Phase::Statement, sqlx::Error::PoolClosed), Fault::Final(_)));
    }
}
