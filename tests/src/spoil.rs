//! Owns the hands that spoil rows of our stores: plain SQL beside the store.

use std::path::PathBuf;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tourbillon::{model::ExecutionId, store::BoxFuture};
use tourbillon_sqlite::rusqlite;
use uuid::Uuid;

use crate::conformance::Spoiler;

/// The file of a store.
pub(crate) struct SpoilSqlite(pub(crate) PathBuf);

impl Spoiler for SpoilSqlite {
    fn spoil(&self, id: ExecutionId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let connection = rusqlite::Connection::open(&self.0).expect("the store's file opens");
            // Text that is no UTF-8: what a failing disk leaves.
            let sql = "update execution set payload = cast(x'80ff' as text) where id = ?1";
            assert_eq!(connection.execute(sql, [id.0.as_bytes()]), Ok(1));
        })
    }

    fn spoil_trace(&self, id: ExecutionId, text: &'static str) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let connection = rusqlite::Connection::open(&self.0).expect("the store's file opens");
            let sql = "update execution set trace = ?2 where id = ?1";
            assert_eq!(connection.execute(sql, (id.0.as_bytes(), text)), Ok(1));
        })
    }

    fn set_aside(&self) -> BoxFuture<'_, Vec<(ExecutionId, String)>> {
        Box::pin(async move {
            let connection = rusqlite::Connection::open(&self.0).expect("the store's file opens");
            let sql = "select id, reason from unreadable order by id";
            let mut rows = connection.prepare(sql).expect("the table is there");
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, [u8; 16]>(0)?, row.get(1)?));
            let rows = rows.query_map([], read).expect("it can be read");
            let kept: Result<Vec<_>, _> = rows.collect();
            let named = |(id, reason)| (ExecutionId(Uuid::from_bytes(id)), reason);
            kept.expect("it can be read").into_iter().map(named).collect()
        })
    }
}

/// The schema of a store.
pub(crate) struct SpoilPostgres {
    pub(crate) url: String,
    pub(crate) schema: String,
}

impl SpoilPostgres {
    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("the store's server takes connections")
    }
}

impl Spoiler for SpoilPostgres {
    fn spoil(&self, id: ExecutionId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // What no type and no check of the table forbids, and no program of ours writes.
            let sql = format!("update {}.execution set created_at = 'infinity' where id = '{id}'", self.schema);
            let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut self.connect().await).await;
            assert_eq!(done.expect("the row can be written").rows_affected(), 1);
        })
    }

    fn spoil_trace(&self, id: ExecutionId, text: &'static str) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let sql = format!("update {}.execution set trace = $1 where id = '{id}'", self.schema);
            let done = sqlx::query(AssertSqlSafe(sql)).bind(text).execute(&mut self.connect().await).await;
            assert_eq!(done.expect("the row can be written").rows_affected(), 1);
        })
    }

    fn set_aside(&self) -> BoxFuture<'_, Vec<(ExecutionId, String)>> {
        Box::pin(async move {
            let sql = format!("select id::text, reason from {}.unreadable order by id", self.schema);
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut self.connect().await).await;
            let named = |row: &sqlx::postgres::PgRow| (row.get::<String, _>(0).parse().expect("an id"), row.get(1));
            rows.expect("the table can be read").iter().map(named).collect()
        })
    }
}
