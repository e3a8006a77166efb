//! G7, what a holder was told: once its renewal was refused, no tick begins under that epoch, and those that run end. Its
//! trust window may be far from over, when the database clock went forwards for example: then nothing else would stop it.

use std::collections::BTreeMap;

use tourbillon::{
    model::{Epoch, Incarnation, LockName, RequestId},
    store::{Reply, Verb},
};

use super::{docket::Docket, topic::Topic, track::Track};
use crate::history::{Answer, HostId, What};

/// A lock as one process had it.
type Held<'h> = (Incarnation, &'h LockName, Epoch);

#[derive(Default)]
struct Judge<'h> {
    /// Renewals that the database refused.
    refused: BTreeMap<RequestId, (&'h LockName, Epoch)>,
    /// Who heard of it: event, true time.
    told: BTreeMap<Held<'h>, (usize, u64)>,
    running: BTreeMap<(Incarnation, RequestId), Held<'h>>,
    /// When a host was last held up, or let go.
    held_up: BTreeMap<HostId, u64>,
}

/// Not asked where a fail-over loses commits: there an epoch comes twice.
pub(super) fn judge(docket: &mut Docket, track: &Track<'_>) {
    let mut judge = Judge::default();
    let granularity = track.facts.map(|facts| facts.granularity).unwrap_or_default();
    let tolerance_us = u64::try_from(granularity.as_micros()).unwrap_or(u64::MAX).saturating_mul(2);
    for (index, event) in track.about(&[Topic::Lock, Topic::Other]) {
        match &event.what {
            What::Applied { request, result: Ok(Reply::LockRenewed(renewed)), .. } => {
                if let (Verb::RenewLock(verb), Err(_)) = (&request.verb, &renewed.outcome) {
                    judge.refused.insert(request.id, (&verb.lock.name, verb.lock.epoch));
                }
            }
            What::Answered { incarnation, request, answer: Answer::Reply, .. } => {
                if let Some((name, epoch)) = judge.refused.get(request) {
                    judge.told.entry((*incarnation, name, *epoch)).or_insert((index, event.at_us));
                }
            }
            What::TickStarted { incarnation, tick, under: Some((name, epoch)), .. } => {
                let held = (*incarnation, name, *epoch);
                let told = judge.told.get(&held).map_or(index, |(told, _)| *told);
                docket.demand(told == index, &[told, index], || {
                    format!(
                        "{incarnation} began a tick under epoch {epoch} of lock {name}, whose renewal was refused"
                    )
                });
                judge.running.insert((*incarnation, *tick), held);
            }
            What::TickEnded { incarnation, tick, .. } => {
                let Some(held) = judge.running.remove(&(*incarnation, *tick)) else { continue };
                let Some((told, told_us)) = judge.told.get(&held).copied() else { continue };
                // What it could not see while it was held up it sees right after.
                let since_us = judge.held_up.get(&event.host).map_or(told_us, |at_us| told_us.max(*at_us));
                let over_us = event.at_us.saturating_sub(since_us);
                docket.demand(over_us <= tolerance_us, &[told, index], || {
                    let (_, name, epoch) = held;
                    let over_ms = over_us / 1_000;
                    format!(
                        "a tick under epoch {epoch} of lock {name} ran for {over_ms} ms after its renewal was refused"
                    )
                });
            }
            What::Paused | What::Resumed | What::ClockSet { .. } => {
                judge.held_up.insert(event.host, event.at_us);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;

    /// Zoo A27: the clock went forwards, so that nobody may be accused of the overlap.
    #[test]
    fn a_holder_that_was_refused_and_goes_on_is_seen() {
        let held = || {
            let mut story = Story::of_a_service();
            story.acquire(1).tick_starts(1).wait(1).step_clock(60).by(1).acquire(2).by(0).renew_refused(1);
            story
        };
        let mut story = held();
        story.wait(5).tick_ends(1);
        story.flagged_by(&["G7"]);
        story.says("ran for 5000 ms after its renewal was refused");
        let mut story = held();
        story.tick_ends(1).tick_starts(1);
        story.flagged_by(&["G7"]);
        let mut story = held();
        story.tick_ends(1);
        story.is_fine();
        let mut story = held();
        story.pause().wait(20).resume().tick_ends(1);
        story.is_fine();
    }
}
