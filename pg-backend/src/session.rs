//! Owns one checked-out connection for one attempt of a call.
//!
//! A connection goes back to the pool only after its last statement was answered outside a transaction. Dropped in
//! any other state (cancelled call, deadline, lost connection), it is closed: the server rolls back, and a half-open
//! socket keeps no place in the pool.

use sqlx::{
    PgConnection, PgPool, Postgres, SqlStr,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use crate::{
    builder::Pooler,
    error::{Fault, Phase, Place},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    place: &'a Place,
    pooler: Pooler,
    connection: Option<PoolConnection<Postgres>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The last statement was answered; no transaction is open.
    Clean,
    /// The last statement was answered, inside a transaction.
    Transaction,
    /// A statement is under way, or its answer never came.
    Busy,
}

impl<'a> Session<'a> {
    /// Waits for a connection, as long as the pool's own `acquire_timeout` allows.
    pub(crate) async fn open(pool: &PgPool, place: &'a Place, pooler: Pooler) -> Result<Self, Fault> {
        let connection = pool.acquire().await.map_err(|error| place.sort(Phase::Connect, error))?;
        Ok(Self { place, pooler, connection: Some(connection), state: State::Clean })
    }

    /// Runs a statement that answers one text, or null.
    pub(crate) async fn ask(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<String>, Fault> {
        let lines = self.lines(query).await?;
        let text = lines.first().ok_or(sqlx::Error::RowNotFound).and_then(|line| sqlx::Row::try_get(line, 0));
        text.map_err(|error| self.place.sort(Phase::Statement, error))
    }

    /// Runs a statement that answers any number of lines, to its end.
    pub(crate) async fn lines(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, Fault> {
        if self.pooler == Pooler::None || self.state != State::Clean {
            return self.lines_here(query).await;
        }
        // The driver prepares a statement and runs it in two steps: only a transaction has both in one session.
        self.begin().await?;
        match self.lines_here(query).await {
            Ok(lines) => {
                self.commit().await?;
                Ok(lines)
            }
            Err(fault) => {
                // As without a pooler: what is asked next does not meet a transaction that has failed.
                self.roll_back().await;
                Err(fault)
            }
        }
    }

    /// `fetch_all` reads on until the server is ready for the next statement, that is, until the commit is done; an
    /// answer taken from the first row would be one that may still be rolled back.
    async fn lines_here(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, Fault> {
        let before = std::mem::replace(&mut self.state, State::Busy);
        let result = self.pooler.fit(query).fetch_all(self.connection()).await;
        self.answered(before, result)
    }

    /// Opens a transaction.
    pub(crate) async fn begin(&mut self) -> Result<(), Fault> {
        self.command("begin", State::Transaction).await
    }

    /// Commits it.
    pub(crate) async fn commit(&mut self) -> Result<(), Fault> {
        self.command("commit", State::Clean).await
    }

    /// Runs text without parameters, for example a migration, and stays in the transaction.
    pub(crate) async fn run(&mut self, sql: SqlStr) -> Result<(), Fault> {
        let before = std::mem::replace(&mut self.state, State::Busy);
        let result = sqlx::raw_sql(sql).execute(self.connection()).await;
        self.answered(before, result).map(drop)
    }

    /// Makes the connection fit for the pool again, if it is still alive, and gives it back.
    pub(crate) async fn close(mut self) {
        self.roll_back().await;
        if self.state == State::Clean {
            drop(self.connection.take());
        }
    }

    async fn roll_back(&mut self) {
        if self.state == State::Transaction && self.command("rollback", State::Clean).await.is_err() {
            self.state = State::Busy;
        }
    }

    async fn command(&mut self, sql: &'static str, after: State) -> Result<(), Fault> {
        let before = std::mem::replace(&mut self.state, State::Busy);
        let result = sqlx::raw_sql(sql).execute(self.connection()).await;
        // A failed commit has ended the transaction, too.
        let kept = if sql == "begin" { before } else { State::Clean };
        self.answered(kept, result)?;
        self.state = after;
        Ok(())
    }

    /// The server's own errors are answers: the connection goes on.
    fn answered<T>(&mut self, state: State, result: Result<T, sqlx::Error>) -> Result<T, Fault> {
        if matches!(result, Ok(_) | Err(sqlx::Error::Database(_))) {
            self.state = state;
        }
        result.map_err(|error| self.place.sort(Phase::Statement, error))
    }

    fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("present until close or drop")
    }
}

/// Runs statements that answer one text, or null.
pub(crate) trait Ask {
    /// One statement.
    async fn ask(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<String>, Fault>;
}

impl Ask for Session<'_> {
    async fn ask(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<String>, Fault> {
        Session::ask(self, query).await
    }
}

/// A connection of the caller's, inside a transaction of the caller's: begins, ends and closes nothing.
pub(crate) struct Borrowed<'a> {
    pub(crate) place: &'a Place,
    pub(crate) pooler: Pooler,
    pub(crate) connection: &'a mut PgConnection,
}

impl Borrowed<'_> {
    pub(crate) async fn run(&mut self, command: &'static str) -> Result<(), Fault> {
        let done = sqlx::raw_sql(command).execute(&mut *self.connection).await;
        done.map(drop).map_err(|error| self.place.sort(Phase::Statement, error))
    }
}

impl Ask for Borrowed<'_> {
    async fn ask(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<String>, Fault> {
        let row = self.pooler.fit(query).fetch_one(&mut *self.connection).await;
        let text = row.and_then(|row| sqlx::Row::try_get(&row, 0));
        text.map_err(|error| self.place.sort(Phase::Statement, error))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}
