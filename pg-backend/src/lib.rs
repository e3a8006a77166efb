//! Tourbillon's store on Postgres 14 and later.
//!
//! Every verb of [`tourbillon::store`] is one SQL statement where one is sound, hence one round trip and one implicit
//! transaction; the few that are not say why in the header of their file in `sql/`. It decides nothing of its
//! own: the statements follow `tourbillon::store::apply` and `tourbillon::model::transition` to the letter, and the
//! conformance suite compares them.
//!
//! TLS is the feature `tls`, off by default; the URL's `sslmode` and `sslrootcert` say what is asked of the server. Without
//! `sslmode` a connection is encrypted where the server can, and the server is not verified: write `sslmode=verify-full`.
//!
//! Nothing but transaction-level state is used, so a transaction pooler may stand between: [`Pooler::Transaction`].
//! [`SessionLocker`] and listening to notices have connections of their own, and need a way past it:
//! [`PgStoreBuilder::direct_url`].

mod bind;
mod builder;
mod claim;
mod error;
mod herald;
mod item;
mod job;
mod line;
mod listener;
mod migrate;
mod parameter;
mod pause;
#[cfg(feature = "planted")]
#[doc(hidden)]
pub mod planted;
mod queue;
mod schedule;
mod session;
mod session_lock;
mod settle;
mod sql;
mod store;
mod transaction;
mod wire;

pub use builder::{DEFAULT_SCHEMA, Notices, PgStoreBuilder, Pooler};
pub use session_lock::SessionLocker;
/// The driver, so that a caller can open transactions for [`PgStore::enqueue_in`] with the very same version.
pub use sqlx;
pub use store::PgStore;

/// What a role needs that does not own the schema: SQL for the owner to run once, with the usual schema `tourbillon` and a role
/// `app`, to be replaced by your own names. Migrations are for the owner.
///
/// ```
/// let grants = tourbillon_pg::GRANTS.replace("schema tourbillon", "schema jobs").replace("to app", "to mailer");
/// assert!(grants.starts_with("grant usage on schema jobs to mailer;"));
/// ```
pub const GRANTS: &str = include_str!("../grants.sql");

/// The schema version that this program works with.
pub use tourbillon::store::SCHEMA_VERSION;

#[cfg(test)]
mod tests {
    #[test]
    fn the_manual_has_the_grants_to_the_letter() {
        let manual = include_str!("../../docs/OPERATING.md");
        assert!(manual.contains(&format!("```sql\n{}```", super::GRANTS)));
    }
}
