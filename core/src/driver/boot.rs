//! Owns what a replica does before its scheduler starts: bringing the schema up to date, step by step, beside any
//! number of others that do the same. Knows no step.

use std::{sync::Arc, time::Duration};

use super::{Settings, call::Caller};
use crate::{
    runtime::Runtime,
    store::{Migrate, Migrated, SCHEMA_VERSION, Store, StoreError},
};

/// Brings the schema of `store` to [`SCHEMA_VERSION`], through its own verb. Every replica may call it at every boot,
/// all of them at once: each step is applied once and in order, whoever asks for it, and a crash leaves whole steps
/// (G12). With nothing pending it is one call.
///
/// A store's own way in is as good (`PgStore::migrate`, opening a `SqliteStore`); this one works for any store.
///
/// ```
/// # use std::time::Duration;
/// # use tourbillon::{driver::migrate, model::Timestamp, runtime::Runtime, store::{ManualClock, MemoryStore, StoreError}};
/// # async fn boot() -> Result<(), StoreError> {
/// let store = MemoryStore::unmigrated(ManualClock::new(Timestamp::EPOCH));
/// migrate(store.clone(), Runtime::tokio(), Duration::from_secs(60)).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// `Invalid`, at once, when the schema is newer than this program; `Unavailable` or `Unknown`, the last one seen, when
/// the store did not answer for `patience` (by the monotonic clock, over all steps). Calling again is safe.
pub async fn migrate(store: impl Store, runtime: Runtime, patience: Duration) -> Result<(), StoreError> {
    let give_up_at = runtime.monotonic() + patience;
    let caller = Caller::new(Arc::new(store), runtime, Settings::default().call_timeout);
    loop {
        let Migrated { from, to } = caller.until(Migrate { known: SCHEMA_VERSION }, give_up_at).await?.reply;
        sometimes!("a replica boots and finds the schema as it should be", from == to && to >= SCHEMA_VERSION);
        sometimes!("a replica boots with a schema that is half-way", from < to && from > 0);
        if from < to {
            tracing::info!(version = to, "applied a step of the schema");
        }
        if to >= SCHEMA_VERSION {
            return Ok(());
        }
    }
}
