//! Owns how a line of an answer is read, column by column from left to right. Knows no statement.

use std::error::Error;

use sqlx::{Decode, Postgres, Row, postgres::PgRow};
use tourbillon::model::Timestamp;

use crate::wire::Instant;

/// What is wrong with a line.
pub(crate) type Wrong = Box<dyn Error + Send + Sync>;

/// A line, and the column that comes next.
pub(crate) struct Line<'r> {
    row: &'r PgRow,
    at: usize,
}

impl<'r> Line<'r> {
    /// From its column `at` on.
    pub(crate) fn from(row: &'r PgRow, at: usize) -> Self {
        Self { row, at }
    }

    /// The types are not compared: the statement is ours, and so is the order of its columns.
    pub(crate) fn next<T: Decode<'r, Postgres>>(&mut self) -> Result<T, Wrong> {
        let at = self.at;
        self.at += 1;
        Ok(self.row.try_get_unchecked(at)?)
    }

    /// A number that the model keeps unsigned and the database signed.
    pub(crate) fn count<T: TryFrom<i64, Error: Error + Send + Sync + 'static>>(&mut self) -> Result<T, Wrong> {
        Ok(T::try_from(self.next::<i64>()?)?)
    }

    pub(crate) fn instant(&mut self) -> Result<Timestamp, Wrong> {
        Ok(self.next::<Instant>()?.0)
    }

    pub(crate) fn optional_instant(&mut self) -> Result<Option<Timestamp>, Wrong> {
        Ok(self.next::<Option<Instant>>()?.map(|instant| instant.0))
    }

    /// One of several names.
    pub(crate) fn named<T>(&mut self, find: impl FnOnce(&str) -> Option<T>) -> Result<T, Wrong> {
        let name: &str = self.next()?;
        find(name).ok_or_else(|| format!("unknown name {name:?}").into())
    }
}
