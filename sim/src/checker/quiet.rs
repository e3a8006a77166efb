//! When nothing is in anybody's way: no fault lasts, and none has touched a replica, the database or the world for a
//! while. Knows what is under way, and what has only just happened; judges nothing.

use std::collections::BTreeMap;

use crate::{
    fault::FaultKind,
    history::{Event, HostId, What},
};

/// Follows a history.
#[derive(Default)]
pub(super) struct Quiet {
    /// What lasts at the moment, and how often it began.
    open: BTreeMap<(HostId, String), u32>,
    since_us: u64,
}

impl Quiet {
    /// Sees the next event.
    pub(super) fn see(&mut self, event: &Event) {
        match &event.what {
            // What it leaves is announced again.
            What::PhaseBegan { .. } => self.open.clear(),
            What::FaultBegan { kind, .. } => {
                if is_followed_by_an_end(kind) {
                    *self.open.entry((event.host, kind.clone())).or_default() += 1;
                }
            }
            What::FaultEnded { kind } => {
                let key = (event.host, kind.clone());
                if let Some(open) = self.open.get_mut(&key) {
                    *open = open.saturating_sub(1);
                    self.open.retain(|_, open| *open > 0);
                }
            }
            What::Struck { .. }
            | What::Booted { .. }
            | What::Crashed { .. }
            | What::ShutdownBegan { .. }
            | What::ShutdownEnded { .. }
            | What::Paused
            | What::Resumed
            | What::ClockSet { .. }
            | What::FailedOver { .. } => {}
            _ => return,
        }
        self.since_us = event.at_us;
    }

    /// Since when, in true time; not while something lasts.
    pub(super) fn since_us(&self) -> Option<u64> {
        self.open.is_empty().then_some(self.since_us)
    }
}

/// Whether a fault of this name lasts, and its end is recorded. The ends of crashes and restarts are not: processes that
/// are gone boot again, and what they do then says so.
pub(super) fn is_followed_by_an_end(kind: &str) -> bool {
    FaultKind::from_name(kind).is_none_or(|kind| {
        let ends_silently = matches!(
            kind,
            FaultKind::Crash | FaultKind::PowerLoss | FaultKind::Shutdown | FaultKind::RestartAll | FaultKind::Deploy
        );
        kind.lasts() && !ends_silently
    })
}
