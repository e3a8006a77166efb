//! The schema as a verb: bringing it up to date, one step a request.

use serde::{Deserialize, Serialize};

/// How many steps the schema has: the version of a database in which all of them were applied. Every store of this
/// release has the same steps under the same numbers.
pub const SCHEMA_VERSION: u32 = 13;

/// Applies the next pending step of the schema, if there is one: the step and its entry in the ledger of steps in one
/// transaction, so that any number of replicas may ask at once, and may crash at any moment, and each step is
/// applied once and in order (G12).
///
/// Repeat it until nothing is pending: `driver::migrate` does. It needs no receipt, since a repetition
/// never applies a step again; it may apply the next. Until the schema is complete every other verb is refused as
/// `Invalid`. A database with a version above `known` is refused as `Invalid` and left as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Migrate {
    /// The newest version that the caller knows, 1 to [`SCHEMA_VERSION`]; no step beyond it is applied.
    pub known: u32,
}

/// Reply to [`Migrate`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Migrated {
    /// The version before, 0 for an empty database.
    pub from: u32,
    /// The version now: `from + 1`, or `from` when nothing was pending.
    pub to: u32,
}
