//! Owns what the suite must be told about a store. Knows no store.

use std::sync::Arc;

use tourbillon::{
    model::{Audit, ExecutionId},
    store::{BoxFuture, ManualClock, Store, StoreError},
};

/// Generated sequences unless a fixture or `TOURBILLON_CASES` says otherwise.
pub const DEFAULT_SEQUENCES: u32 = 200;

/// A store, and the way to spoil its rows.
pub type Spoilable = (Arc<dyn Store>, Box<dyn Spoiler>);

/// Does by hand what no store does.
pub trait Spoiler: Send + Sync {
    /// Makes a live row such that the store cannot read it.
    fn spoil(&self, id: ExecutionId) -> BoxFuture<'_, ()>;

    /// Gives this live row this text for a trace, which no program of ours would store.
    fn spoil_trace(&self, id: ExecutionId, text: &'static str) -> BoxFuture<'_, ()>;

    /// What the store keeps aside as unreadable, each with the reason, ordered by id.
    fn set_aside(&self) -> BoxFuture<'_, Vec<(ExecutionId, String)>>;
}

/// A store under test: how to make empty ones.
///
/// Implement it for your own store and hand it to [`trials`](super::trials). Every call makes a store with no
/// rows, migrated to its newest schema (but for [`Fixture::unmigrated`]), that shares nothing with any other. What must be removed afterwards is
/// best removed when the last [`Arc`] is dropped.
pub trait Fixture: Send + Sync + 'static {
    /// First part of every trial's name, such as `sqlite`. One word.
    fn name(&self) -> &str;

    /// Why this store cannot be tested on this machine, or `None`. Asked whenever trials are collected, hence also
    /// for `--list`: it should look, and start nothing.
    fn absent(&self) -> Option<String> {
        None
    }

    /// An empty store whose database clock is `clock`.
    fn on_manual_clock(&self, clock: ManualClock) -> BoxFuture<'_, Result<Arc<dyn Store>, StoreError>>;

    /// A store whose database clock is `clock`, on a database without any table of it.
    fn unmigrated(&self, clock: ManualClock) -> BoxFuture<'_, Result<Arc<dyn Store>, StoreError>>;

    /// `handles` (1 or more) independent ways into one empty store on the database's own clock: connections of their
    /// own where there are connections. For races.
    fn on_own_clock(&self, handles: usize) -> BoxFuture<'_, Result<Vec<Arc<dyn Store>>, StoreError>>;

    /// As [`Fixture::on_manual_clock`], with a way to spoil rows behind the store's back. `None`, the default, for a
    /// store whose rows cannot be spoilt: its trials of them show nothing.
    fn with_spoiler(&self, _clock: ManualClock) -> BoxFuture<'_, Result<Option<Spoilable>, StoreError>> {
        Box::pin(async { Ok(None) })
    }

    /// What the rows of cases tell the audit, but for cases that are about that. All is the default, since what is told is compared, too. A
    /// store that has shorter ways for rows that tell nothing runs the suite a second time, as a fixture of another name, with
    /// [`Audit::Exceptions`].
    fn audit(&self) -> Audit {
        Audit::All
    }

    /// How many generated sequences are compared with the memory store. `TOURBILLON_CASES` overrides it.
    fn sequences(&self) -> u32 {
        DEFAULT_SEQUENCES
    }
}
