//! The schema of the in-memory store: a number, since there are no tables to make.

use super::Tables;
use crate::{
    model::Timestamp,
    store::{SchemaRows, StoreError},
};

impl SchemaRows for Tables {
    fn database(&self) -> String {
        "the database in memory".to_owned()
    }

    fn schema_version(&mut self) -> Result<u32, StoreError> {
        Ok(self.schema_version)
    }

    fn apply_step(&mut self, version: u32, _: Timestamp) -> Result<(), StoreError> {
        self.schema_version = version;
        Ok(())
    }
}
