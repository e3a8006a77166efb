//! Owns the handle by which a workload says how far a unit of its work is, so that a truth table can tell whether a
//! fault struck inside the window that matters. Knows no rows and no faults.

use std::{fmt, sync::Arc};

use super::{process::Process, strikes::Struck, wire::UnitTag};
use crate::{
    fault::TriggerPoint,
    history::{Stage, What},
};

/// One unit of work of one row of a truth table: a notification to send, a tick of a service, a list to sign.
///
/// Not needed for executions of a job that is a row of its own: their stages are read from the store's verbs.
/// Dropping it ends it, as when a handler is stopped; after a power loss nothing is recorded any more.
pub struct Unit {
    process: Arc<Process>,
    tag: UnitTag,
    is_ended: bool,
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tag.row, self.tag.unit)
    }
}

impl Unit {
    pub(super) fn begin(process: &Arc<Process>, row: &str, unit: String) -> Self {
        let tag = UnitTag { incarnation: process.incarnation(), row: row.to_owned(), unit };
        let unit = Self { process: Arc::clone(process), tag, is_ended: false };
        unit.reached(Stage::Begun);
        unit
    }

    /// The mark is about to be written: call it right before the store call that writes it, with no other call in
    /// between, so that a fault that strikes the next request of this process strikes the mark.
    pub fn marking(&self) {
        self.reached(Stage::Marking);
    }

    /// It is over.
    pub fn end(self) {
        drop(self);
    }

    /// The effect is about to be sent; what goes along with it, so that its receiver can say that it landed.
    pub(super) fn sending(&self) -> UnitTag {
        self.reached(Stage::Sent);
        self.tag.clone()
    }

    fn reached(&self, stage: Stage) {
        let UnitTag { incarnation, row, unit } = self.tag.clone();
        self.process.record(What::Staged { incarnation, row, unit, stage });
        let point = match stage {
            Stage::Begun => TriggerPoint::UnitBegun,
            Stage::Marking => TriggerPoint::UnitMarking,
            Stage::Ended => TriggerPoint::UnitEnded,
            // Triggers wait for the effect to be received.
            Stage::Sent | Stage::Landed => return,
        };
        // A lost reply strikes the next request; every other strike works through the gate or the controller.
        let _: Struck = self.process.world.strikes.reached(point, &[&self.tag.row], self.process.replica);
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if !std::mem::replace(&mut self.is_ended, true) {
            self.reached(Stage::Ended);
        }
    }
}
