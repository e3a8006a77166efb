//! Revocations and the list of them (loop 13).

use serde::{Deserialize, Serialize};

use super::{Change, Operator, Reply, Told};

/// A revocation list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Crl {
    /// Its number.
    pub(crate) number: u64,
    /// How many certificates are on it.
    pub(crate) revoked: u32,
    /// Epoch of the leader that published it: of two the later one is right. 0 without leaders.
    pub(crate) epoch: u64,
}

impl Operator {
    pub(super) fn read_revocations(&self) -> Told {
        Ok(Reply::Revocations { number: self.crl.number, revoked: self.revoked })
    }

    pub(super) fn publish_crl(&mut self, number: u64, revoked: u32, changes: &mut Vec<Change>) -> Told {
        self.publish(Crl { number, revoked, epoch: 0 }, changes);
        Ok(Reply::Done)
    }

    pub(super) fn publish_next(&mut self, epoch: u64, revoked: u32, changes: &mut Vec<Change>) -> Told {
        let is_older = epoch < self.crl.epoch || revoked < self.crl.revoked;
        if is_older && !planted!(A24) {
            return Ok(Reply::Refused);
        }
        let number = self.crl.number + 1;
        self.publish(Crl { number, revoked, epoch }, changes);
        Ok(Reply::Published(number))
    }

    fn publish(&mut self, after: Crl, changes: &mut Vec<Change>) {
        let before = std::mem::replace(&mut self.crl, after);
        changes.push(Change::Crl { before, after });
    }
}
