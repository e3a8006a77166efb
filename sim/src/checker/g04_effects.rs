//! G4: bounded duplicates. E(k) ≤ u + s ≤ max attempts + g; succeeded implies E ≥ 1, where there always is work; a
//! receiver that refuses lower fences accepts in claim order; a handler starts once per charged lease, never before that
//! is durable.
//!
//! A handler that took its work from the application's tables takes it again when a fail-over lost that commit. Which
//! commit that was is not known here: each of the application's that its process lost since the first start there
//! excuses one more effect per key.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::model::{Fence, Generation, Incarnation, LeaseRef, Outcome, State};

use super::{
    Findings,
    docket::Docket,
    g04_known,
    shadow::Shadow,
    track::{Act, Step, Track},
};
use crate::history::{Effect, HostId};

/// One generation of one execution.
#[derive(Default)]
struct Life {
    /// u + s.
    starts: u32,
    /// Starts whose charge a fail-over lost: each of them may come on top, and no other.
    lost: u32,
    last_start: usize,
    /// Where it was started, and the first start there.
    runners: BTreeMap<Incarnation, usize>,
    /// g.
    give_backs: u32,
    succeeded: Option<usize>,
    received: u64,
}

/// One claim.
struct Claim {
    runner: Option<Incarnation>,
    is_charged: bool,
    handler: Option<usize>,
}

struct Judge<'t, 'h> {
    track: &'t Track<'h>,
    docket: Docket,
    lives: BTreeMap<(usize, Generation), Life>,
    claims: BTreeMap<LeaseRef, Claim>,
    effects: BTreeMap<(usize, Generation, &'h str), u64>,
    accepted: BTreeMap<(usize, &'h str), (Fence, usize)>,
    /// Charges that a fail-over lost, and that excuse no start yet.
    lost: BTreeSet<LeaseRef>,
}

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut judge = Judge {
        track,
        docket: Docket::new("G4"),
        lives: BTreeMap::new(),
        claims: BTreeMap::new(),
        effects: BTreeMap::new(),
        accepted: BTreeMap::new(),
        lost: track.lost_charges.clone(),
    };
    track.walk(|step, shadows| judge.see(step, &shadows[step.row]));
    judge.succeeded_had_an_effect();
    g04_known::judge(&mut judge.docket, track);
    judge.docket.close()
}

impl<'h> Judge<'_, 'h> {
    fn see(&mut self, step: &Step<'h>, before: &Shadow) {
        match step.act {
            Act::Claimed(execution, is_charged) => {
                if let Some(lease) = execution.lease_ref() {
                    let runner = execution.lease.as_ref().map(|lease| lease.runner);
                    self.claims.insert(lease, Claim { runner, is_charged, handler: None });
                }
            }
            Act::Started(lease, Ok(_)) => {
                if let Some(claim) = self.claims.get_mut(lease) {
                    claim.is_charged = true;
                }
            }
            Act::Settled(settlement, Ok(state)) => {
                let life = self.lives.entry((step.row, before.generation)).or_default();
                let is_give_back = matches!(settlement.outcome, Outcome::Released | Outcome::Snoozed { .. });
                life.give_backs += u32::from(is_give_back && before.is_started);
                if *state == State::Succeeded {
                    life.succeeded = Some(step.event);
                }
            }
            Act::HandlerStarted(incarnation, lease, generation) => self.start(step, incarnation, lease, generation),
            Act::EffectReceived(effect, is_accepted) => self.effect(step, effect, is_accepted),
            _ => {}
        }
    }

    fn start(&mut self, step: &Step<'h>, incarnation: Incarnation, lease: &LeaseRef, generation: Generation) {
        let (track, event) = (self.track, step.event);
        let name = || track.name(step.row);
        let (token, fence) = (lease.token, lease.fence);
        let mut earlier = None;
        let mut is_charged = false;
        if let Some(claim) = self.claims.get_mut(lease) {
            is_charged = claim.is_charged && claim.runner == Some(incarnation);
            earlier = claim.handler.replace(event);
        }
        let is_lost = !is_charged && earlier.is_none() && self.lost.remove(lease);
        sometimes!("a start is excused because a fail-over lost its charge", is_lost);
        self.docket.demand(is_charged || is_lost, &[event], || {
            format!("a handler of {} started in {incarnation} under token {token}, which was not charged", name())
        });
        self.docket.demand(earlier.is_none(), &[earlier.unwrap_or(event), event], || {
            format!("two handlers of {} started under token {token}, fence {fence}", name())
        });
        let life = self.lives.entry((step.row, generation)).or_default();
        life.starts += 1;
        life.lost += u32::from(is_lost);
        life.last_start = event;
        life.runners.entry(incarnation).or_insert(event);
        if let Some(policy) = track.rows[step.row].policy {
            let (starts, give_backs, max) = (life.starts, life.give_backs, policy.max_attempts);
            sometimes!("more starts than attempts are excused by give-backs", starts > max && give_backs > 0);
            self.docket.demand(starts <= max + give_backs + life.lost, &[event], || {
                let name = name();
                format!("{name} was started {starts} times: more than {max} attempts and {give_backs} give-backs")
            });
        }
    }

    fn effect(&mut self, step: &Step<'h>, effect: &'h Effect, is_accepted: bool) {
        let (track, event, generation) = (self.track, step.event, effect.generation);
        let life = self.lives.entry((step.row, generation)).or_default();
        life.received += 1;
        let received = self.effects.entry((step.row, generation, &effect.key)).or_default();
        *received += 1;
        // Items of a scenario's queue send one effect per start and key; planned jobs say how many.
        let knows_items = track.facts.is_none_or(|facts| facts.receivers.is_empty());
        let row = &track.rows[step.row];
        let is_item = knows_items && row.slot_at.is_none() && row.made.is_some();
        let per_start = track.job_facts(step.row).map(|facts| facts.effects_per_start).or(is_item.then_some(1));
        if let Some(per_start) = per_start {
            let (received, starts) = (*received, life.starts);
            let retaken = life.runners.iter().map(|(runner, first)| track.lost_work(*runner, *first..event));
            let usual = u64::from(starts) * u64::from(per_start);
            let bound = usual + retaken.sum::<u64>();
            sometimes!("an effect is excused because a fail-over lost the taking of its work", received > usual);
            self.docket.demand(received <= bound, &[life.last_start, event], || {
                let (name, key, fence) = (track.name(step.row), &effect.key, effect.fence);
                format!("{name} had {received} effects on {key:?} (last: fence {fence}) of {starts} starts")
            });
        }
        let HostId::Receiver(receiver) = track.history.events[event].host else { return };
        if is_accepted && track.facts.is_none_or(|facts| facts.fences(receiver)) {
            let highest = self.accepted.entry((step.row, &effect.key)).or_insert((effect.fence, event));
            self.docket.demand(highest.0 <= effect.fence, &[highest.1, event], || {
                let (name, key, fence) = (track.name(step.row), &effect.key, effect.fence);
                format!("{name}: an effect on {key:?} with fence {fence} was accepted after one with {}", highest.0)
            });
            *highest = (highest.0.max(effect.fence), event);
        }
    }

    fn succeeded_had_an_effect(&mut self) {
        let track = self.track;
        for ((row, generation), life) in &self.lives {
            let Some(succeeded) = life.succeeded else { continue };
            if track.job_facts(*row).is_some_and(|facts| facts.effects_per_start > 0 && !facts.may_idle) {
                self.docket.demand(life.received > 0, &[succeeded], || {
                    format!("{} generation {generation} succeeded with no effect", track.name(*row))
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tourbillon::model::{Fence, Outcome, transition::Charge};

    use super::super::story::{Story, incarnation};
    use crate::{
        history::{HostId, ReceiverFacts, RunFacts, What},
        world::application::{ApplicationReply, ApplicationRequest},
    };

    /// One for one, and no more.
    #[test]
    fn a_start_whose_charge_was_lost_is_excused_once() {
        let mut story = Story::with(|facts| facts.jobs[0].max_attempts = 1);
        story.make(1).claim(1);
        let unstarted = story.row(1).clone();
        story.start(1).handler(1).effect(1).lose(1);
        *story.row(1) = unstarted;
        story.wait(31).run(1).effect(1);
        let running = story.row(1).clone();
        story.succeed(1);
        story.is_fine();
        *story.row(1) = running;
        story.handler(1);
        story.flagged_by(&["G4"]);
    }

    #[test]
    fn one_effect_per_start_is_fine_whatever_becomes_of_the_mark() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).wait(31).by(1).run(1).effect(1).fail(1, 0).run(1).effect(1).succeed(1).end();
        story.is_fine();
        let mut story = Story::new();
        story.make(1).claim_with(1, Charge::AtClaim).handler(1).effect(1).succeed(1).end();
        story.is_fine();
    }

    #[test]
    fn a_charge_that_a_claim_made_and_a_fail_over_lost_is_excused() {
        let mut story = Story::with(|facts| facts.jobs[0].max_attempts = 1);
        story.make(1);
        let unclaimed = story.row(1).clone();
        story.claim_with(1, Charge::AtClaim).handler(1).effect(1).lose(1);
        *story.row(1) = unclaimed;
        story.wait(31).run(1).effect(1).succeed(1);
        story.is_fine();
    }

    #[test]
    fn a_lost_charge_that_was_made_up_for_excuses_nothing() {
        let mut story = Story::with(|facts| facts.jobs[0].max_attempts = 1);
        story.make(1).claim(1);
        let unstarted = story.row(1).clone();
        story.start(1).lose(1);
        *story.row(1) = unstarted;
        story.start(1).handler(1).wait(31).run(1);
        story.flagged_by(&["G3", "G4"]);
    }

    #[test]
    fn a_start_has_as_many_effects_as_its_job_says() {
        let mut story = Story::with(|facts| facts.jobs[0].effects_per_start = 2);
        story.make(1).run(1).effect(1).effect(1).succeed(1);
        story.is_fine();
        story.effect(1).flagged_by(&["G4"]);
    }

    fn unfenced(facts: &mut RunFacts) {
        facts.receivers = vec![ReceiverFacts { receiver: "mail".to_owned(), fences: false }];
    }

    #[test]
    fn how_many_effects_items_have_is_known_of_scenarios_only() {
        let sent_twice = |change: fn(&mut RunFacts)| {
            let mut story = Story::with(change);
            story.enqueue_within(9, &[1], None).run(1).effect(1).effect(1);
            story
        };
        sent_twice(|_| {}).flagged_by(&["G4"]);
        sent_twice(unfenced).is_fine();
    }

    #[test]
    fn claim_order_is_demanded_of_what_a_fencing_receiver_accepts() {
        let overtaken = |change: fn(&mut RunFacts)| {
            let mut story = Story::with(change);
            story.make(1).run(1).wait(31).by(1).run(1).receive_as(1, Fence(2)).receive_as(1, Fence(1));
            story
        };
        overtaken(|_| {}).flagged_by(&["G4"]);
        overtaken(unfenced).is_fine();
        let mut refused = overtaken(|_| {});
        if let Some(What::EffectReceived { accepted, .. }) =
            refused.history.events.last_mut().map(|event| &mut event.what)
        {
            *accepted = false;
        }
        refused.is_fine();
    }

    #[test]
    fn a_start_has_so_many_effects_and_no_more() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).effect(1);
        story.flagged_by(&["G4"]);
    }

    #[test]
    fn work_that_a_fail_over_took_back_may_be_done_once_more() {
        let taken_by = |by: u8| {
            let mut story = Story::new();
            story.make(1).run(1);
            let request = ApplicationRequest {
                id: story.last_request(),
                incarnation: incarnation(by),
                verb: 1.into(),
                with: None,
            }
            .into();
            let (now, result) = (story.now(), Ok(ApplicationReply { value: 1.into(), with: None }));
            story.record(
                HostId::Database,
                What::ApplicationApplied { request, now, result: result.into(), changes: vec![1.into()] },
            );
            let lost = vec![story.history.events.len() - 1];
            story.effect(1).record(HostId::Database, What::FailedOver { lost }).effect(1);
            story
        };
        taken_by(0).is_fine();
        taken_by(0).fail(1, 0).by(1).run(1).effect(1).is_fine();
        taken_by(0).effect(1).flagged_by(&["G4"]);
        taken_by(1).flagged_by(&["G4"]);
    }

    #[test]
    fn a_handler_starts_after_a_durable_start_by_its_claimer() {
        let mut story = Story::new();
        story.make(1).claim(1).handler(1).start(1);
        story.flagged_by(&["G4"]);
        let mut story = Story::new();
        story.make(1).claim(1).start(1).by(1).handler(1);
        story.flagged_by(&["G4"]);
        // Also when that other process has asked for the start itself.
        let mut story = Story::new();
        story.make(1).claim(1).by(1).start(1).handler(1);
        story.flagged_by(&["G4"]);
    }

    #[test]
    fn a_handler_starts_once_per_claim() {
        let mut story = Story::new();
        story.make(1).run(1).handler(1);
        story.flagged_by(&["G4"]);
    }

    #[test]
    fn starts_stay_within_attempts_and_give_backs() {
        let mut story = Story::with(|facts| facts.jobs[0].max_attempts = 1);
        story.make(1).run(1).settle(1, Outcome::Released).run(1);
        story.is_fine();
        let mut story = Story::with(|facts| facts.jobs[0].max_attempts = 1);
        story.make(1).run(1).wait(31).run(1);
        story.flagged_by(&["G3", "G4"]);
        // What was given back unstarted gives no right to another start.
        let mut story = Story::with(|facts| facts.jobs[0].max_attempts = 1);
        story.make(1).claim(1).settle(1, Outcome::Released).run(1).wait(31).run(1);
        story.flagged_by(&["G3", "G4"]);
    }

    #[test]
    fn success_implies_an_effect() {
        let mut story = Story::new();
        story.make(1).run(1).succeed(1).end();
        story.flagged_by(&["G4"]);
        let mut story = Story::with(|facts| facts.jobs[0].effects_per_start = 0);
        story.make(1).run(1).succeed(1).end();
        story.is_fine();
        let mut story = Story::with(|facts| facts.jobs[0].may_idle = true);
        story.make(1).run(1).succeed(1).end();
        story.is_fine();
    }

    #[test]
    fn a_fencing_receiver_accepts_in_claim_order() {
        let mut story = Story::new();
        story.make(1).run(1).wait(31).by(1).run(1).receive_as(1, Fence(2)).receive_as(1, Fence(1));
        story.flagged_by(&["G4"]);
        let mut story = Story::new();
        story.make(1).run(1).wait(31).by(1).run(1).receive_as(1, Fence(1)).receive_as(1, Fence(2));
        story.is_fine();
    }
}
