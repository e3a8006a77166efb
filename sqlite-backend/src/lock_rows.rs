//! Owns row access to locks inside one transaction. Decides nothing.

use rusqlite::{Row, params_from_iter};
use tourbillon::{
    model::{Epoch, Incarnation, Lock, LockName, Timestamp, Token},
    store::{LockRows, StoreError},
};

use crate::{
    row::{Columns, count, id, instant, optional, text},
    rows::SqliteRows,
    sql,
};

impl LockRows for SqliteRows<'_> {
    fn lock(&mut self, name: &LockName) -> Result<Option<Lock>, StoreError> {
        self.first(sql::SELECT_LOCK, [name.as_str()], read)
    }

    fn put_lock(&mut self, lock: &Lock) -> Result<(), StoreError> {
        let params = [
            text(lock.name.as_str()),
            count("epoch", lock.epoch.0)?,
            id(&lock.holder.0),
            id(&lock.token.0),
            count("ttl_ms", lock.ttl_ms)?,
            instant(lock.acquired_at),
            instant(lock.renewed_at),
            instant(lock.expires_at),
            optional(lock.released_at, instant),
        ];
        self.execute(sql::UPSERT_LOCK, params_from_iter(params)).map(drop)
    }

    fn withdrawn_locks(&mut self, now: Timestamp) -> Result<Vec<Lock>, StoreError> {
        self.all(sql::SELECT_WITHDRAWN_LOCKS, [now.as_micros()], read)
    }

    fn locks(&mut self, after: Option<&LockName>, limit: u32) -> Result<Vec<Lock>, StoreError> {
        self.all(sql::LIST_LOCKS, (after.map_or("", LockName::as_str), limit), read)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Lock> {
    let mut columns = Columns::new(row);
    Ok(Lock {
        name: columns.lock_name()?,
        epoch: Epoch(columns.count()?),
        holder: Incarnation(columns.id()?),
        token: Token(columns.id()?),
        ttl_ms: columns.count()?,
        acquired_at: columns.instant()?,
        renewed_at: columns.instant()?,
        expires_at: columns.instant()?,
        released_at: columns.optional_instant()?,
    })
}
