//! Owns a connection and its transactions: one for each request, or one for several with a savepoint each.
//!
//! Knows no thread and no channel; both ways to run the store are built on it.

use rusqlite::{Connection, config::DbConfig};
use tourbillon::{
    model::RequestId,
    store::{DatabaseClock, ErrorKind, Migrate, Reply, Request, SCHEMA_VERSION, StoreError, Verb, apply},
};
use uuid::Uuid;

use crate::{
    clock,
    error::{Phase, translate},
    rows::SqliteRows,
    schema, sql,
};

#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    /// What errors call the database: its path, or what stands for one.
    name: String,
    clock: DatabaseClock,
    schema: Schema,
}

/// Whether the schema was looked at yet. Once is enough: migrations only add.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Schema {
    Unseen,
    Checked,
}

/// Why a shared transaction came to nothing.
enum GroupFailure {
    /// It never began, or its outcome is not known: every request gets this error.
    Final(StoreError),
    /// It is undone as a whole because of some request in it: each is worth a transaction of its own.
    RolledBack,
}

impl GroupFailure {
    /// What a commit that failed leaves of its group.
    fn of_commit(error: StoreError) -> Self {
        if error.kind() == ErrorKind::Unknown { Self::Final(error) } else { Self::RolledBack }
    }
}

impl Session {
    pub(crate) fn new(connection: Connection, name: String, clock: DatabaseClock) -> Result<Self, StoreError> {
        connection.set_prepared_statement_cache_capacity(sql::CACHED_STATEMENTS);
        // Without it the planner looks at the values bound to a statement, and prepares it anew whenever they
        // change: a seventh of the time of a simulation went there, all in the claim.
        let stable_plans = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop);
        stable_plans
            .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
            .map_err(|error| translate(&name, Phase::Statement, error))?;
        Ok(Self { connection, name, clock, schema: Schema::Unseen })
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn clock(&self) -> &DatabaseClock {
        &self.clock
    }

    /// Applies every pending migration. Any number of processes may do it at once: each step takes the write lock
    /// first and looks at the ledger under it.
    pub(crate) fn migrate(&mut self) -> Result<(), StoreError> {
        // Nothing to do, then: without the write lock, so that a busy or read-only file is no obstacle.
        while schema::version(&self.connection, &self.name)? != SCHEMA_VERSION {
            // It leaves no receipt, so its id is nobody's.
            let verb = Verb::Migrate(Migrate { known: SCHEMA_VERSION });
            self.apply(&Request { id: RequestId(Uuid::nil()), verb })?;
        }
        Ok(())
    }

    /// Carries out one request in one transaction.
    pub(crate) fn apply(&mut self, request: &Request) -> Result<Reply, StoreError> {
        if matches!(request.verb, Verb::Migrate(_)) {
            self.execute(sql::BEGIN_WRITE)?;
        } else {
            self.begin([request])?;
        }
        match self.run(request) {
            Ok(reply) => {
                self.commit()?;
                Ok(reply)
            }
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    /// Carries out several requests, in order, in one transaction if it can be. Each succeeds or fails on its own.
    ///
    /// One commit serves them all, which is worth most where a commit waits for the disk.
    pub(crate) fn apply_group(&mut self, requests: &[&Request]) -> Vec<Result<Reply, StoreError>> {
        if let [one] = requests {
            return vec![self.apply(one)];
        }
        match self.try_group(requests) {
            Ok(replies) => replies,
            Err(GroupFailure::Final(error)) => vec![Err(error); requests.len()],
            Err(GroupFailure::RolledBack) => requests.iter().map(|request| self.apply(request)).collect(),
        }
    }

    fn try_group(&mut self, requests: &[&Request]) -> Result<Vec<Result<Reply, StoreError>>, GroupFailure> {
        // What else is in the group may need the schema that it makes.
        if requests.iter().any(|request| matches!(request.verb, Verb::Migrate(_))) {
            return Err(GroupFailure::RolledBack);
        }
        self.begin(requests.iter().copied()).map_err(GroupFailure::Final)?;
        let mut replies = Vec::with_capacity(requests.len());
        for request in requests {
            match self.try_one_of_group(request) {
                Ok(reply) => replies.push(reply),
                Err(_) => {
                    self.roll_back();
                    return Err(GroupFailure::RolledBack);
                }
            }
        }
        self.commit().map_err(GroupFailure::of_commit)?;
        Ok(replies)
    }

    /// The outer error means that the transaction around the savepoint is of no use any more.
    fn try_one_of_group(&mut self, request: &Request) -> Result<Result<Reply, StoreError>, StoreError> {
        self.execute(sql::SAVE)?;
        let reply = self.run(request);
        if reply.is_err() {
            // Fails when SQLite has rolled back the whole transaction itself (disk full, disk failed).
            self.execute(sql::ROLL_BACK_TO)?;
        }
        self.execute(sql::RELEASE)?;
        Ok(reply)
    }

    fn run(&self, request: &Request) -> Result<Reply, StoreError> {
        // Read here and not before: the wait for the write lock is over.
        let now = clock::now(&self.clock);
        let mut rows = SqliteRows::new(&self.connection, &self.name, now);
        apply::apply(&mut rows, now, request)
    }

    /// Takes the write lock at once, unless all requests only read: those see a snapshot and wait for nobody.
    fn begin<'r>(&mut self, requests: impl IntoIterator<Item = &'r Request>) -> Result<(), StoreError> {
        let read_only = requests.into_iter().all(|request| only_reads(&request.verb));
        self.execute(if read_only { sql::BEGIN_READ } else { sql::BEGIN_WRITE })?;
        if self.schema == Schema::Unseen {
            if let Err(error) = schema::check(&self.connection, &self.name) {
                self.roll_back();
                return Err(error);
            }
            self.schema = Schema::Checked;
        }
        Ok(())
    }

    fn commit(&self) -> Result<(), StoreError> {
        let commit = self.connection.prepare_cached(sql::COMMIT).and_then(|mut statement| statement.execute([]));
        commit.map(drop).map_err(|error| {
            self.roll_back();
            translate(&self.name, Phase::Commit, error)
        })
    }

    fn roll_back(&self) {
        // SQLite has done it already after the errors that it cannot go on from.
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute(sql::ROLL_BACK)
        {
            // The next `begin` fails then, and says so to its caller; this caller has its own error.
            tracing::error!(database = %self.name, %error, "rollback failed");
        }
    }

    fn execute(&self, statement: &str) -> Result<(), StoreError> {
        let done = self.connection.prepare_cached(statement).and_then(|mut statement| statement.execute([]));
        done.map(drop).map_err(|error| translate(&self.name, Phase::Statement, error))
    }
}

const fn only_reads(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::ReadClock(_)
            | Verb::ReadCursors(_)
            | Verb::ReadDue(_)
            | Verb::ListExecutions(_)
            | Verb::ListSkipped(_)
            | Verb::ListAudit(_)
            | Verb::ReadStats(_)
            | Verb::ListItems(_)
            | Verb::ListJobs(_)
            | Verb::ListPauses(_)
            | Verb::ListSchedules(_)
            | Verb::ListScopes(_)
            | Verb::ListRecent(_)
            | Verb::ListLocks(_)
            | Verb::ReadQueueStats(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;
    use tourbillon::{
        model::{Incarnation, JobName, RequestId, Timestamp},
        store::{ManualClock, ReadCursors, Register, Registration, Rescue, SpecHash},
    };
    use uuid::Uuid;

    fn session() -> Session {
        let connection = Connection::open_in_memory().unwrap();
        let clock = DatabaseClock::Manual(ManualClock::new(Timestamp::EPOCH));
        let mut session = Session::new(connection, "jobs.db".to_owned(), clock).unwrap();
        session.migrate().unwrap();
        session
    }

    fn request(number: u128, verb: impl Into<Verb>) -> Request {
        Request { id: RequestId(Uuid::from_u128(number)), verb: verb.into() }
    }

    fn register(number: u128, name: &str, spec_hash: &str) -> Request {
        let registration = Registration {
            job: JobName::new(name).unwrap(),
            spec_hash: SpecHash(spec_hash.into()),
            schedule_hash: SpecHash("daily".into()),
            rules: None,
        };
        request(number, Register { runner: Incarnation(Uuid::nil()), jobs: vec![registration] })
    }

    fn is_registered(session: &mut Session, name: &str) -> bool {
        let jobs = vec![JobName::new(name).unwrap()];
        match session.apply(&request(99, ReadCursors { jobs })) {
            Ok(Reply::CursorsRead(read)) => read.jobs[0].spec_hash.is_some(),
            other => panic!("not cursors: {other:?}"),
        }
    }

    #[test]
    fn a_refused_request_leaves_the_rest_of_its_group() {
        let mut session = session();
        let group = [register(1, "a", "one"), request(2, Rescue { limit: 0 }), register(3, "b", "one")];
        let replies = session.apply_group(&group.each_ref());
        let succeeded: Vec<bool> = replies.iter().map(Result::is_ok).collect();
        assert_eq!(succeeded, [true, false, true]);
        assert!(is_registered(&mut session, "a") && is_registered(&mut session, "b"));
    }

    /// What may be applied is not applied again.
    #[test]
    fn only_a_group_that_is_certainly_undone_is_tried_one_by_one() {
        let of = |kind| GroupFailure::of_commit(StoreError::new(kind, "the commit failed"));
        assert!(matches!(of(ErrorKind::Unknown), GroupFailure::Final(error) if error.kind() == ErrorKind::Unknown));
        assert!(matches!(of(ErrorKind::Unavailable), GroupFailure::RolledBack));
        assert!(matches!(of(ErrorKind::Invalid), GroupFailure::RolledBack));
    }

    #[test]
    fn a_request_that_fills_the_disk_leaves_the_rest_of_its_group() {
        let mut session = session();
        let pages: i64 = session.connection.query_row("pragma page_count", [], |row| row.get(0)).unwrap();
        session.connection.pragma_update(None, "max_page_count", pages).unwrap();
        let large = "x".repeat(100_000);
        let group = [register(1, "a", "one"), register(2, "c", &large), register(3, "b", "one")];
        let replies = session.apply_group(&group.each_ref());
        assert_eq!(replies[1].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(replies[0].is_ok() && replies[2].is_ok(), "{replies:?}");
        let registered = ["a", "c", "b"].map(|name| is_registered(&mut session, name));
        assert_eq!(registered, [true, false, true]);
        assert!(session.connection.is_autocommit());
    }
}
