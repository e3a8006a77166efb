//! Revocations and the list of them (loop 13).

use serde::{Deserialize, Serialize};
use tourbillon::model::Timestamp;

use super::{Change, Operator, Reply, Told};

/// Who publishes, ordered: of two terms the later one is right. A slot and the fence of its execution, or the epoch
/// of a leader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Term {
    /// The slot, if there are slots.
    pub(crate) slot: Option<Timestamp>,
    /// Fence or epoch.
    pub(crate) fence: u64,
}

/// A revocation list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Crl {
    /// Its number.
    pub(crate) number: u64,
    /// How many certificates are on it.
    pub(crate) revoked: u32,
    /// Who published it.
    pub(crate) term: Term,
}

impl Operator {
    pub(super) fn read_revocations(&self) -> Told {
        Ok(Reply::Revocations { number: self.crl.number, revoked: self.revoked })
    }

    pub(super) fn publish_crl(&mut self, number: u64, revoked: u32, changes: &mut Vec<Change>) -> Told {
        self.publish(Crl { number, revoked, term: Term::default() }, changes);
        Ok(Reply::Done)
    }

    pub(super) fn publish_next(&mut self, term: Term, revoked: u32, changes: &mut Vec<Change>) -> Told {
        if term < self.crl.term || revoked < self.crl.revoked {
            return Ok(Reply::Refused);
        }
        let number = self.crl.number + 1;
        self.publish(Crl { number, revoked, term }, changes);
        Ok(Reply::Published(number))
    }

    fn publish(&mut self, after: Crl, changes: &mut Vec<Change>) {
        let before = std::mem::replace(&mut self.crl, after);
        changes.push(Change::Crl { before, after });
    }
}
