//! What scans of networks and clouds find (loops 9 and 12).

use serde::{Deserialize, Serialize};
use tourbillon::model::Timestamp;

use super::{Change, Operator, Reply, Told, count};

/// What a scan found: a certificate, by whom, where.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Of the certificate.
    pub(crate) fingerprint: u64,
    /// Which agent or source saw it.
    pub(crate) agent: String,
    /// Where.
    pub(crate) path: String,
}

/// A discovered row: unique.
pub(crate) type Discovered = Found;

/// A billed call that was reserved: unique.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Scan {
    /// Of which source.
    pub(crate) source: u32,
    /// For which slot.
    pub(crate) slot: Timestamp,
}

impl Operator {
    /// `INSERT … ON CONFLICT DO NOTHING`.
    pub(super) fn store_found(&mut self, found: Vec<Found>, changes: &mut Vec<Change>) -> Told {
        let before = self.discovered.len();
        for row in found {
            if !self.discovered.contains(&row) {
                changes.push(Change::Discovered { row: row.clone() });
                self.discovered.push(row);
            }
        }
        Ok(count(self.discovered.len() - before))
    }

    pub(super) fn reserve_call(&mut self, source: u32, slot: Timestamp, changes: &mut Vec<Change>) -> Told {
        let scan = Scan { source, slot };
        if self.reserved.contains(&scan) {
            return Ok(Reply::Refused);
        }
        self.reserved.push(scan);
        changes.push(Change::Reserved { source, slot });
        Ok(Reply::Done)
    }
}
