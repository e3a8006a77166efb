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

#[cfg(test)]
mod tests {
    use tourbillon::runtime::TickEnd;

    use super::super::story::{Story, incarnation};
    use super::Quiet;
    use crate::history::{CrashKind, Phase, ShutdownOutcome, What};

    fn began(kind: &str) -> What {
        What::FaultBegan { kind: kind.to_owned(), detail: String::new() }
    }

    fn ended(kind: &str) -> What {
        What::FaultEnded { kind: kind.to_owned() }
    }

    /// Since when it is quiet, when these happen to replica 0 at 1 s, 2 s, …
    fn quiet_since(happens: &[What]) -> Option<u64> {
        let (mut story, mut quiet) = (Story::new(), Quiet::default());
        for what in happens {
            story.wait(1).here(what.clone());
        }
        story.history.events.iter().for_each(|event| quiet.see(event));
        quiet.since_us().map(|since_us| since_us / 1_000_000)
    }

    #[test]
    fn it_is_quiet_when_all_that_lasted_has_ended() {
        assert_eq!(quiet_since(&[]), Some(0));
        assert_eq!(quiet_since(&[began("partition")]), None);
        assert_eq!(quiet_since(&[began("partition"), ended("partition")]), Some(2));
        assert_eq!(quiet_since(&[began("partition"), began("slow"), ended("partition")]), None);
        assert_eq!(quiet_since(&[began("partition"), began("partition"), ended("partition")]), None);
        let twice = [began("partition"), began("partition"), ended("partition"), ended("partition")];
        assert_eq!(quiet_since(&twice), Some(4));
    }

    #[test]
    fn a_phase_leaves_nothing_as_it_was() {
        assert_eq!(quiet_since(&[began("partition"), What::PhaseBegan { phase: Phase::Heal }]), Some(2));
    }

    #[test]
    fn what_ends_with_a_boot_lasts_for_a_moment_only() {
        assert_eq!(quiet_since(&[began("crash")]), Some(1));
    }

    #[test]
    fn whatever_touches_somebody_begins_the_quiet_anew_and_work_does_not() {
        let incarnation = incarnation(0);
        let touches = [
            What::Struck { kind: "slow".to_owned(), replica: 0, request: None },
            What::Booted { incarnation },
            What::Crashed { incarnation, kind: CrashKind::Polite },
            What::ShutdownBegan { incarnation, grace_ms: 1 },
            What::ShutdownEnded { incarnation, outcome: ShutdownOutcome::Ok },
            What::Paused,
            What::Resumed,
            What::ClockSet { offset_us: 0, drift_ppm: 0 },
            What::FailedOver { lost: Vec::new() },
        ];
        for touch in touches {
            assert_eq!(quiet_since(std::slice::from_ref(&touch)), Some(1), "{touch:?}");
        }
        let tick = Story::new().last_request();
        assert_eq!(quiet_since(&[What::TickEnded { incarnation, tick, end: TickEnd::Succeeded }]), Some(0));
    }
}
