//! Which faults a simulation draws, and which it always has. Knows no seed.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    fault::{Bad, Fault, FaultKind, FaultPlan, Then, Trigger, TriggerPoint},
    scenario::FaultMix,
};

/// What goes wrong in a [`Simulation`](super::Simulation): faults that each seed draws, and faults that every seed has.
///
/// ```
/// use std::time::Duration;
/// use tourbillon_sim::prelude::*;
///
/// let mostly_power = Faults::only([FaultKind::PowerLoss, FaultKind::LoseEffectReply]).at_most(4);
/// let everything_but = Faults::swarm().without([FaultKind::FailOver]);
/// // The power goes right after the third effect has landed; and a pause of a minute, at 10:00 on replica 1.
/// let on_purpose = Faults::none()
///     .after(TriggerPoint::EffectReceived, 3, Then::PowerLoss, Duration::from_secs(20))
///     .at(Duration::from_secs(600), 1, Bad::Pause, Duration::from_secs(60));
/// # let _ = (mostly_power, everything_but, on_purpose);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    mix: FaultMix,
    pinned: FaultPlan,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::only([])
    }

    /// Everything may go wrong: each seed switches a random part of [`FaultKind::ALL`] on, which reaches more than a bit
    /// of everything does, and draws up to twelve faults and four triggers of those.
    pub fn swarm() -> Self {
        Self::only(FaultKind::ALL.iter().copied())
    }

    /// As [`Faults::swarm`], of these kinds.
    pub fn only(kinds: impl IntoIterator<Item = FaultKind>) -> Self {
        // In the order of all kinds and each once, so that the order given does not change what is drawn.
        let kinds: BTreeSet<_> = kinds.into_iter().collect();
        let mix = FaultMix { kinds: kinds.into_iter().collect(), max_faults: 12, max_triggers: 4 };
        Self { mix, pinned: FaultPlan::default() }
    }

    /// None of these is drawn.
    #[must_use]
    pub fn without(mut self, kinds: impl IntoIterator<Item = FaultKind>) -> Self {
        let out: BTreeSet<_> = kinds.into_iter().collect();
        self.mix.kinds.retain(|kind| !out.contains(kind));
        self
    }

    /// Draws at most this many faults, and at most a third as many triggers.
    #[must_use]
    pub fn at_most(mut self, faults: u32) -> Self {
        (self.mix.max_faults, self.mix.max_triggers) = (faults, faults.div_ceil(3));
        self
    }

    /// Every seed has this fault too: from `at` on, counted from the start in whole seconds and before the end of
    /// [`Simulation::lasting`](super::Simulation::lasting), for as long as `lasting`, on this replica, from 0, if it
    /// strikes one.
    #[must_use]
    pub fn at(mut self, at: Duration, replica: u8, bad: Bad, lasting: Duration) -> Self {
        self.pinned.faults.push(Fault { at_s: seconds(at), lasts_s: seconds(lasting), replica, bad });
        self
    }

    /// Every seed has this trigger too: right after the `nth` such event, from 1 and counted over all replicas, its
    /// replica is struck.
    #[must_use]
    pub fn after(mut self, point: TriggerPoint, nth: u32, then: Then, lasting: Duration) -> Self {
        self.pinned.triggers.push(Trigger { after: point, of: None, nth, then, lasts_s: seconds(lasting) });
        self
    }

    /// Every seed has all of these faults too.
    #[must_use]
    pub fn and(mut self, plan: &FaultPlan) -> Self {
        self.pinned = self.pinned.and(plan);
        self
    }

    pub(super) fn mix(&self) -> &FaultMix {
        &self.mix
    }

    pub(super) fn pinned(&self) -> &FaultPlan {
        &self.pinned
    }

    /// What is wrong with those that every seed has, in a chaos phase of this length.
    pub(super) fn check(&self, chaos: Duration) -> Result<(), String> {
        let late = self.pinned.faults.iter().find(|fault| u64::from(fault.at_s) >= chaos.as_secs());
        if let Some(Fault { at_s, bad, .. }) = late {
            let kind = bad.kind();
            return Err(format!(
                "the {kind} at {at_s} s never strikes: faults end after {chaos:?}: lengthen `.lasting`"
            ));
        }
        match self.pinned.triggers.iter().find(|trigger| !trigger.is_possible()) {
            Some(trigger) => {
                let (after, then) = (trigger.after.name(), trigger.then.name());
                Err(format!("no {then} after {after}: no reply follows it; use `TriggerPoint::AppliedStart`"))
            }
            None => Ok(()),
        }
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_that_can_never_strike_are_refused_by_name() {
        let minute = Duration::from_secs(60);
        let late = Faults::none().at(minute, 0, Bad::Pause, minute);
        let told = late.check(minute).unwrap_err();
        assert_eq!(told, "the pause at 60 s never strikes: faults end after 60s: lengthen `.lasting`");
        assert_eq!(late.check(2 * minute), Ok(()));
        let replyless = Faults::none().after(TriggerPoint::HandlerStarted, 1, Then::LoseReply, minute);
        assert!(replyless.check(minute).unwrap_err().starts_with("no lose_reply after handler_started"));
    }

    #[test]
    fn the_order_of_kinds_does_not_matter() {
        let (crash, pause) = (FaultKind::Crash, FaultKind::Pause);
        assert_eq!(Faults::only([crash, pause, crash]), Faults::only([pause, crash]));
        assert_eq!(Faults::only([crash, pause]).without([pause]), Faults::only([crash]));
    }
}
