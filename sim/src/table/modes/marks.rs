//! A table of the probes' own, in the same database: where a tick writes down that it was done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tourbillon::{model::Timestamp, store::StoreError};

use crate::world::application::Tables;

/// How often each row was marked.
#[derive(Clone, Default, Debug, Serialize)]
pub(super) struct Marks(BTreeMap<String, u64>);

/// A pass of this row is done.
#[derive(Serialize, Deserialize)]
pub(super) struct Mark(pub(super) String);

impl Tables for Marks {
    type Verb = Mark;
    type Reply = u64;
    type Change = u64;

    fn apply(&mut self, _: Timestamp, Mark(row): Mark, changes: &mut Vec<u64>) -> Result<u64, StoreError> {
        let marks = self.0.entry(row).or_default();
        *marks += 1;
        changes.push(*marks);
        Ok(*marks)
    }
}
