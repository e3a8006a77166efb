//! G14 for services: after a heal every service ticks, again and again (B9, B17), and never twice at once in one process
//! (P-40).

use std::collections::BTreeMap;

use tourbillon::{
    model::{Incarnation, RequestId, ServiceName},
    service::HaMode,
};

use super::{docket::Docket, topic::Topic, track::Track};
use crate::history::{HostId, Phase, RunFacts, ServiceFacts, What};

pub(super) fn judge(track: &Track<'_>, docket: &mut Docket) {
    one_at_a_time(track, docket);
    if let Some(facts) = track.facts {
        sometimes!(
            "a service that ticks seldom is not awaited after a heal",
            facts.services.iter().any(|service| service.every > facts.settle_within)
        );
        // The others tick too seldom for a heal to show that they do.
        for service in facts.services.iter().filter(|service| service.every <= facts.settle_within) {
            ticks_after_heal(track, docket, facts, service);
        }
    }
}

fn one_at_a_time(track: &Track<'_>, docket: &mut Docket) {
    let mut running: BTreeMap<(Incarnation, &ServiceName), (RequestId, usize)> = BTreeMap::new();
    for (index, event) in track.about(&[Topic::Other]) {
        match &event.what {
            What::TickStarted { incarnation, tick, service, .. } => {
                let before = running.insert((*incarnation, service), (*tick, index));
                docket.demand(before.is_none(), &[before.map_or(index, |(_, started)| started), index], || {
                    format!("{incarnation} began a tick of service {service} while another ran")
                });
            }
            What::TickEnded { incarnation, tick, .. } => {
                running.retain(|(process, _), (other, _)| (process, &*other) != (incarnation, tick));
            }
            _ => {}
        }
    }
}

/// From the beginning of each heal to its end, no longer than the bound without a tick. On every replica only once all
/// are healed: which of them are before is for the world to know.
fn ticks_after_heal(track: &Track<'_>, docket: &mut Docket, facts: &RunFacts, service: &ServiceFacts) {
    let bound_us = u64::try_from(facts.settle_within.as_micros()).unwrap_or(u64::MAX);
    let hosts: Vec<Option<HostId>> = match service.mode {
        HaMode::EveryReplica => (0..facts.replicas).map(|n| Some(HostId::Replica(n))).collect(),
        HaMode::TickLock | HaMode::Leader => vec![None],
    };
    for host in hosts {
        // The last tick in the present phase, or the beginning of the phase.
        let mut last: Option<(usize, u64)> = None;
        for (index, event) in track.about(&[Topic::Other]) {
            let is_tick = matches!(&event.what, What::TickStarted { service: name, .. } if *name == service.service)
                && host.is_none_or(|host| host == event.host);
            let begins = match &event.what {
                What::PhaseBegan { phase } => Some(*phase),
                _ => None,
            };
            let is_end = begins.is_some() || matches!(event.what, What::Ended { .. });
            if let (true, Some((since, since_us))) = (is_tick || is_end, last) {
                let passed_us = event.at_us - since_us;
                docket.demand(passed_us <= bound_us, &[since, index], || {
                    let place = host.map_or_else(|| "anywhere".to_owned(), |host| format!("on {host}"));
                    format!(
                        "service {} did not tick {place} for {} s after a heal",
                        service.service,
                        passed_us / 1_000_000
                    )
                });
            }
            match begins {
                Some(Phase::Heal) => last = Some((index, event.at_us)),
                Some(Phase::PartialHeal) if host.is_none() => last = Some((index, event.at_us)),
                Some(_) => last = None,
                None if is_tick && last.is_some() => last = Some((index, event.at_us)),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use crate::history::Phase;

    #[test]
    fn a_service_that_does_not_tick_after_a_heal_is_seen() {
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).tick_ends(1).phase(Phase::Heal).wait(301).end();
        story.flagged_by(&["G14"]);
        let mut story = Story::of_a_service();
        story.phase(Phase::Heal).wait(200).acquire(2).tick_starts(2).tick_ends(2).wait(200).end();
        story.is_fine();
    }

    #[test]
    fn two_ticks_of_one_service_at_once_are_seen() {
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).wait(1).tick_starts(1);
        story.flagged_by(&["G14"]);
    }

    #[test]
    fn nothing_but_a_tick_is_one() {
        let mut story = Story::of_a_service();
        story.phase(Phase::Heal).wait(200).acquire(1).wait(200).end();
        story.flagged_by(&["G14"]);
    }

    #[test]
    fn before_a_heal_nothing_is_demanded() {
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).tick_ends(1).wait(400).phase(Phase::Heal).wait(10).end();
        story.is_fine();
    }

    #[test]
    fn a_service_of_every_replica_ticks_on_each() {
        let ticking_on = |replicas: &[u8]| {
            let mut story = Story::of_every_replica(2);
            story.phase(Phase::Heal).wait(200);
            for n in replicas {
                story.by(*n).tick(*n);
            }
            story.wait(200).end();
            story
        };
        ticking_on(&[0, 1]).is_fine();
        ticking_on(&[0]).flagged_by(&["G14"]);
        ticking_on(&[0]).says("did not tick on replica-1 for 400 s");
    }

    #[test]
    fn a_partial_heal_is_enough_for_one_of_all_but_not_for_each() {
        let mut story = Story::of_a_service();
        story.phase(Phase::PartialHeal).wait(301).phase(Phase::Chaos);
        story.flagged_by(&["G14"]);
        let mut story = Story::of_every_replica(2);
        story.phase(Phase::PartialHeal).wait(301).phase(Phase::Chaos);
        story.is_fine();
    }
}
