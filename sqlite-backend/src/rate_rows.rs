//! Owns row access to the turns of limit keys. Decides nothing.

use rusqlite::Row;
use tourbillon::{
    model::{Gate, JobName, Timestamp},
    store::{RateRows, StoreError},
};

use crate::{row::Columns, rows::SqliteRows, sql};

impl RateRows for SqliteRows<'_> {
    fn gate(&mut self, key: &str) -> Result<Option<Gate>, StoreError> {
        self.first(sql::SELECT_GATE, [key], read)
    }

    fn put_gate(&mut self, gate: &Gate) -> Result<(), StoreError> {
        let params = (&gate.key, gate.queue.as_str(), gate.charged_at.as_micros(), gate.opens_at.as_micros());
        self.execute(sql::UPSERT_GATE, params).map(drop)
    }

    fn shut_gates(&mut self, queue: &JobName, now: Timestamp) -> Result<Vec<Gate>, StoreError> {
        self.all(sql::SELECT_SHUT_GATES, (queue.as_str(), now.as_micros()), read)
    }

    fn withdrawn_gates(&mut self, now: Timestamp) -> Result<Vec<Gate>, StoreError> {
        self.all(sql::SELECT_WITHDRAWN_GATES, [now.as_micros()], read)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Gate> {
    let mut columns = Columns::new(row);
    Ok(Gate {
        key: columns.str()?.to_owned(),
        queue: columns.job()?,
        charged_at: columns.instant()?,
        opens_at: columns.instant()?,
    })
}
