//! Owns what becomes of a live row that cannot be read: it is set aside with the reason, and the others go on.

use rusqlite::{Params, Row};
use tourbillon::{model::Execution, store::StoreError};
use uuid::Uuid;

use crate::{
    row::{self, Columns},
    rows::SqliteRows,
    sql,
};

impl SqliteRows<'_> {
    /// Live rows. Asks again while it meets rows that cannot be read, so that none of them takes the place of another.
    pub(crate) fn live_rows(
        &self,
        statement: &'static str,
        params: impl Params + Clone,
    ) -> Result<Vec<Execution>, StoreError> {
        loop {
            let (mut rows, mut bad) = (Vec::new(), Vec::new());
            self.with(statement, |statement| {
                let mut found = statement.query(params.clone())?;
                while let Some(row) = found.next()? {
                    match row::read(row) {
                        Ok(read) => rows.push(read),
                        Err(error) => bad.push((id_of(row)?, error)),
                    }
                }
                Ok(())
            })?;
            if bad.is_empty() {
                return Ok(rows);
            }
            for (id, error) in bad {
                self.set_aside(id, &error.to_string())?;
            }
        }
    }

    /// One live row; one that cannot be read is none.
    pub(crate) fn live_row(&self, id: Uuid) -> Result<Option<Execution>, StoreError> {
        match self.first(sql::SELECT_LIVE, [id.as_bytes()], |row| Ok(row::read(row)))? {
            Some(Ok(row)) => Ok(Some(row)),
            Some(Err(error)) => {
                self.set_aside(id, &error.to_string())?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn set_aside(&self, id: Uuid, reason: &str) -> Result<(), StoreError> {
        tracing::error!(database = %self.name, execution = %id, reason, "cannot be read; set aside in the table `unreadable`");
        self.execute(sql::INSERT_UNREADABLE, (self.now.as_micros(), reason, id.as_bytes()))?;
        self.execute(sql::REMOVE_LIVE, [id.as_bytes()]).map(drop)
    }
}

/// The table's check leaves no other id than one of 16 bytes.
fn id_of(row: &Row<'_>) -> rusqlite::Result<Uuid> {
    Columns::new(row).id()
}
