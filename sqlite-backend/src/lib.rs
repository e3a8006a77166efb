//! The SQLite store: a scheduler's database in one file, with no server.
//!
//! [`SqliteStore`] is for production: one thread owns the connection, calls wait for it without blocking an
//! executor, and calls that wait together share one commit. [`SqliteInline`] is the same store on a connection
//! that the caller owns, without a thread, for simulations and tests.
//!
//! This crate decides nothing: the verbs are those of [`tourbillon::store::apply`], carried out on the rows in
//! `rows`. The SQL is in `sql/`, one statement a file, and the schema in `migrations/`. Time comes from the
//! host's clock, read inside the transaction: for an embedded database that is the database's clock.
//!
//! ```
//! # fn main() -> Result<(), tourbillon::store::StoreError> {
//! # let folder = std::env::temp_dir().join(format!("tourbillon-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder).expect("a temporary folder");
//! let store = tourbillon_sqlite::SqliteStore::open(folder.join("jobs.db"))?;
//! # drop(store);
//! # let _ = std::fs::remove_dir_all(&folder);
//! # Ok(())
//! # }
//! ```

mod audit;
mod builder;
mod clock;
mod error;
mod inline;
mod job_rows;
mod lock_rows;
mod pause_rows;
mod queue_rows;
mod rate_rows;
mod row;
mod rows;
mod schedule_rows;
mod schema;
mod session;
mod sql;
mod store;
mod transaction;
mod unreadable;
mod writer;

pub use builder::{Builder, Migrate, Synchronous};
pub use inline::SqliteInline;
/// The driver, so that a caller can open the connection of a [`SqliteInline`] with the very same version.
pub use rusqlite;
pub use store::SqliteStore;
/// The schema version that this program reads and writes.
pub use tourbillon::store::SCHEMA_VERSION;
