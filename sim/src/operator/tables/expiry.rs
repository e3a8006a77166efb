//! Rows that are kept until they expire: ACME rows, sessions, keys (loops 14 and 15).

use serde::{Deserialize, Serialize};
use tourbillon::model::Timestamp;

use super::{Change, Operator, Told, count};

/// Which table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shelf {
    /// Nonces, orders and challenges.
    Acme,
    /// Sessions.
    Session,
    /// Keys of the API.
    Key,
}

/// A row that expires.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Perishable {
    /// Which table.
    pub(crate) shelf: Shelf,
    /// Which row.
    pub(crate) id: u32,
    /// When it expires.
    pub(crate) expires_at: Timestamp,
}

impl Operator {
    /// `DELETE … WHERE expires_at <= now`.
    pub(super) fn delete_expired(&mut self, shelf: Shelf, now: Timestamp, changes: &mut Vec<Change>) -> Told {
        let before = self.shelves.len();
        self.shelves.retain(|row| {
            let expired = row.shelf == shelf && row.expires_at <= now;
            if expired {
                changes.push(Change::Deleted { shelf, id: row.id, expires_at: row.expires_at });
            }
            !expired
        });
        Ok(count(before - self.shelves.len()))
    }
}
