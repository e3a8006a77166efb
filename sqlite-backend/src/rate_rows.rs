//! Owns row access to the turns of limit keys. Decides nothing.

use rusqlite::Row;
use tourbillon::{
    model::{Gate, JobName, Timestamp, Turns},
    store::{RateRows, StoreError},
};

use crate::{row::Columns, rows::SqliteRows, sql};

impl RateRows for SqliteRows<'_> {
    fn gate(&mut self, key: &str) -> Result<Option<Gate>, StoreError> {
        self.first(sql::SELECT_GATE, [key], read)
    }

    fn put_gate(&mut self, gate: &Gate) -> Result<(), StoreError> {
        let (charged_at, opens_at) = (gate.charged_at.as_micros(), gate.opens_at.as_micros());
        // At most 366 days.
        let turn_us = gate.turn_us as i64;
        let params = (&gate.key, gate.queue.as_str(), charged_at, opens_at, turn_us, gate.burst);
        self.execute(sql::UPSERT_GATE, params).map(drop)
    }

    fn shut_gates(&mut self, queue: &JobName, now: Timestamp) -> Result<Vec<Gate>, StoreError> {
        self.all(sql::SELECT_SHUT_GATES, (queue.as_str(), now.as_micros()), read)
    }

    fn turns(&mut self, queue: &JobName, now: Timestamp) -> Result<Option<Turns>, StoreError> {
        self.first(sql::SELECT_TURNS, (queue.as_str(), now.as_micros()), |row| {
            let mut columns = Columns::new(row);
            let (turn_us, burst) = (columns.count()?, columns.next()?);
            Ok(Turns { turn_us, burst, shut: columns.count()?, next_at: columns.optional_instant()? })
        })
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
        turn_us: columns.count()?,
        burst: columns.next()?,
    })
}
