//! G8: losing a lease cancels the handler. It sends nothing after its trust window, nothing after it was told that
//! the lease is lost, and no store write of a superseded lease is accepted. An expired lease that nobody took may
//! still finish. Time during which the replica's monotonic clock stood still is none to the replica. Whether or not it has
//! anything to send, it is not polled any more when the lease has run out.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::{ExecutionId, Fence, Incarnation, LeaseRef, RequestId, Token, transition::Refusal},
    store::{Reply, Request, Verb},
};

use super::{
    Findings,
    docket::Docket,
    topic::Topic,
    track::{Act, Track},
};
use crate::history::{Answer, Effect, HostId, What};

/// A lease as its handler knows it: effects carry the fence, not the token.
type Held = (Incarnation, ExecutionId, Fence);

/// One request.
#[derive(Default)]
struct Call {
    sent: Option<(usize, u64)>,
    /// When it was carried out, and again, which hardly any is: repeating a start or a heartbeat may answer differently.
    applied: Option<usize>,
    repeated: Vec<usize>,
}

impl Call {
    fn carried_out(&mut self, event: usize) {
        match self.applied {
            Some(_) => self.repeated.push(event),
            None => self.applied = Some(event),
        }
    }

    fn all_applied(&self) -> impl Iterator<Item = &usize> {
        self.applied.iter().chain(&self.repeated)
    }
}

struct Judge<'t, 'h> {
    track: &'t Track<'h>,
    docket: Docket,
    calls: BTreeMap<RequestId, Call>,
    /// Whose effects these are: the lease of the last claim that was acknowledged. Where commits are lost, a fence comes
    /// back under another token, and news of the old lease says nothing of the new one.
    holds: BTreeMap<Held, LeaseRef>,
    /// Latest sending of an acknowledged claim, start or heartbeat: (true time, event).
    trust: BTreeMap<(Incarnation, LeaseRef), (u64, usize)>,
    /// When the incarnation was told: (true time, event).
    lost: BTreeMap<(Incarnation, LeaseRef), (u64, usize)>,
    /// Leases under which a handler runs. What only waited for a worker ends without having begun.
    running: BTreeSet<(Incarnation, LeaseRef)>,
    /// When a host was last held up, or let go.
    held_up: BTreeMap<HostId, u64>,
}

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut judge = Judge {
        track,
        docket: Docket::new("G8"),
        calls: BTreeMap::new(),
        holds: BTreeMap::new(),
        trust: BTreeMap::new(),
        lost: BTreeMap::new(),
        running: BTreeSet::new(),
        held_up: BTreeMap::new(),
    };
    judge.superseded_writes();
    for (index, event) in track.about(&[Topic::Claim, Topic::Start, Topic::Heartbeat, Topic::Settle, Topic::Other]) {
        match &event.what {
            What::Invoked { request, verb, .. } if is_of_leases(verb) => {
                judge.calls.entry(*request).or_default().sent.get_or_insert((index, event.at_us));
            }
            What::Applied { request, result: Ok(_), .. } if is_of_leases(request.verb.name()) => {
                judge.calls.entry(request.id).or_default().carried_out(index);
            }
            What::Answered { incarnation, request, answer: Answer::Reply, .. } => {
                judge.answered(index, event.at_us, *incarnation, *request);
            }
            What::EffectSent { incarnation, effect } => judge.sent(index, event.at_us, *incarnation, effect),
            What::HandlerStarted { incarnation, lease, .. } => {
                judge.running.insert((*incarnation, *lease));
            }
            What::HandlerEnded { incarnation, lease, .. } if judge.running.remove(&(*incarnation, *lease)) => {
                judge.ended(index, event.at_us, *incarnation, *lease);
            }
            What::Paused | What::Resumed | What::ClockSet { .. } => {
                judge.held_up.insert(event.host, event.at_us);
            }
            _ => {}
        }
    }
    judge.docket.close()
}

impl Judge<'_, '_> {
    fn superseded_writes(&mut self) {
        let (track, docket) = (self.track, &mut self.docket);
        track.walk(|step, shadows| {
            let before = &shadows[step.row];
            let (lease, what) = match step.act {
                Act::Started(lease, Ok(_)) => (lease, "start"),
                Act::Renewed(lease, Ok(_)) => (lease, "heartbeat"),
                Act::Settled(settlement, Ok(_)) => (&settlement.lease, "settle"),
                _ => return,
            };
            // A write to a row that has ended breaks G2, whoever wrote it.
            docket.demand(before.is_terminal() || before.is_held_by(lease), &[before.last_event, step.event], || {
                let (name, token, fence) = (track.name(step.row), lease.token, lease.fence);
                let (stage, holder, current) = (before.stage, before.lease.token, before.lease.fence);
                format!(
                    "{name}: a {what} under token {token}, fence {fence} was accepted at {} while {stage:?}; \
                     the last lease is token {holder}, fence {current}",
                    step.now
                )
            });
        });
    }

    fn answered(&mut self, event: usize, at_us: u64, incarnation: Incarnation, request: RequestId) {
        let Some(call) = self.calls.get(&request) else { return };
        let mut verdicts: BTreeMap<LeaseRef, Verdict> = BTreeMap::new();
        for applied in call.all_applied() {
            if let What::Applied { request, result: Ok(reply), .. } = &self.track.history.events[*applied].what {
                each_verdict(request, reply, |lease, verdict| {
                    // Of several answers the replica saw one, and we do not know which: it is accused only of
                    // what all of them said, and trusted for what any of them said.
                    let known = verdicts.entry(lease).or_insert(verdict);
                    sometimes!("a replica may have heard either of two answers", *known != verdict);
                    *known = (*known).max(verdict);
                });
            }
        }
        let is_claim = |applied: &usize| match &self.track.history.events[*applied].what {
            What::Applied { request, .. } => matches!(request.verb, Verb::Claim(_)),
            _ => false,
        };
        let is_claim = call.all_applied().any(is_claim);
        for (lease, verdict) in verdicts {
            let held = (incarnation, lease.id, lease.fence);
            if verdict == Verdict::Trusted {
                let holds = self.holds.entry(held).or_insert(lease);
                if is_claim {
                    sometimes!("a fence comes back under another token", *holds != lease);
                    *holds = lease;
                }
            }
            let known = (incarnation, lease);
            match (verdict, call.sent) {
                (Verdict::Trusted, Some((sent, sent_us))) => {
                    let trust = self.trust.entry(known).or_insert((sent_us, sent));
                    *trust = (*trust).max((sent_us, sent));
                }
                (Verdict::Lost, _) => {
                    self.lost.entry(known).or_insert((at_us, event));
                }
                _ => {}
            }
        }
    }

    fn sent(&mut self, event: usize, at_us: u64, incarnation: Incarnation, effect: &Effect) {
        let held = (incarnation, effect.execution, effect.fence);
        let what = || format!("effect on {:?} of execution {}, fence {}", effect.key, effect.execution, effect.fence);
        // At one and the same instant the order of tasks within a host is nobody's promise.
        let known = self.holds.get(&held).map(|lease| (incarnation, *lease));
        let lost = known.and_then(|known| self.lost.get(&known));
        sometimes!(
            "an effect of the instant of the news is excused",
            lost.is_some_and(|(told_us, _)| *told_us == at_us)
        );
        let lost = lost.filter(|(told_us, _)| *told_us < at_us);
        self.docket.demand(lost.is_none(), &[lost.map_or(event, |(_, told)| *told), event], || {
            format!("{} was sent at {at_us} us by {incarnation}, which had been told that its lease is lost", what())
        });
        let trust = known.and_then(|known| self.trust.get(&known));
        self.docket.demand(trust.is_some(), &[event], || {
            format!("{} was sent at {at_us} us by {incarnation}, to which no lease was acknowledged", what())
        });
        let Some((sent_us, sent)) = trust.copied() else { return };
        let Some((until_us, lease_ms)) = self.until(event, sent_us, effect.execution) else { return };
        self.docket.demand(at_us <= until_us, &[sent, event], || {
            format!(
                "{} was sent at {at_us} us by {incarnation}; its last acknowledged sign of life was sent at \
                 {sent_us} us for {lease_ms} ms, so its lease could be trusted until {until_us} us",
                what()
            )
        });
    }

    /// True time until which a lease may be trusted by whoever sent its last acknowledged sign of life at `sent_us`, and its
    /// length in milliseconds.
    fn until(&self, event: usize, sent_us: u64, execution: ExecutionId) -> Option<(u64, u64)> {
        let track = self.track;
        let lease_ms = track.rows[track.row_at(execution)?].policy?.lease_ms;
        let granularity_us = u64::try_from(track.facts?.granularity.as_micros()).unwrap_or(u64::MAX);
        let event = &track.history.events[event];
        let unseen_us = track.stood_still_us(event.host, sent_us, event.at_us);
        let until_us = sent_us.saturating_add(lease_ms * 1_000 + unseen_us).saturating_add(granularity_us);
        sometimes!("a lease is trusted for longer because a clock stood still", event.at_us > until_us - unseen_us);
        Some((until_us, lease_ms))
    }

    fn ended(&mut self, event: usize, at_us: u64, incarnation: Incarnation, lease: LeaseRef) {
        let Some((sent_us, sent)) = self.trust.get(&(incarnation, lease)).copied() else { return };
        let Some((until_us, lease_ms)) = self.until(event, sent_us, lease.id) else { return };
        // Whoever was held up stops when it goes on.
        let host = self.track.history.events[event].host;
        let until_us = self.held_up.get(&host).map_or(until_us, |up_us| until_us.max(*up_us));
        self.docket.demand(at_us <= until_us, &[sent, event], || {
            let LeaseRef { id, token, .. } = lease;
            format!(
                "a handler of execution {id} ran in {incarnation} under token {token} until {at_us} us; its last \
                 acknowledged sign of life was sent at {sent_us} us for {lease_ms} ms, so it must have stopped by {until_us} us"
            )
        });
    }
}

/// What an answer says about a lease; `max` is the benefit of the doubt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Lost,
    Nothing,
    Trusted,
}

/// Whether `each_verdict` finds something in it. Others are most of a history, and not remembered.
fn is_of_leases(verb: &str) -> bool {
    matches!(verb, "claim" | "start" | "heartbeat" | "settle")
}

fn each_verdict(request: &Request, reply: &Reply, mut see: impl FnMut(LeaseRef, Verdict)) {
    fn of<T>(outcome: &Result<T, Refusal>, when_ok: Verdict) -> Verdict {
        match outcome {
            Ok(_) => when_ok,
            Err(Refusal::LeaseLost) => Verdict::Lost,
            Err(Refusal::NotStarted) => Verdict::Nothing,
        }
    }
    match (&request.verb, reply) {
        (Verb::Claim(_), Reply::Claimed(claimed)) => {
            let token = Token(request.id.0);
            let leases = claimed.executions.iter().map(|row| LeaseRef { id: row.id, token, fence: row.fence });
            leases.for_each(|lease| see(lease, Verdict::Trusted));
        }
        (Verb::Start(start), Reply::Started(started)) => {
            let outcomes = start.leases.iter().zip(&started.outcomes);
            outcomes.for_each(|(lease, outcome)| see(*lease, of(outcome, Verdict::Trusted)));
        }
        (Verb::Heartbeat(heartbeat), Reply::Renewed(renewed)) => {
            let outcomes = heartbeat.leases.iter().zip(&renewed.outcomes);
            outcomes.for_each(|(lease, outcome)| see(*lease, of(outcome, Verdict::Trusted)));
        }
        (Verb::Settle(settle), Reply::Settled(settled)) => {
            let outcomes = settle.settlements.iter().map(|one| &one.lease).zip(&settled.outcomes);
            outcomes.for_each(|(lease, outcome)| see(*lease, of(outcome, Verdict::Nothing)));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, failed};
    use crate::history::{Answer, STANDSTILL_PPM};
    use tourbillon::{
        model::{Fence, Outcome, Retry, State, transition::Refusal},
        runtime::HandlerEnd,
        store::{ErrorKind, Reply},
    };

    #[test]
    fn a_lease_is_trusted_from_the_sending_of_its_last_acknowledged_renewal() {
        let mut story = Story::new();
        story.make(1).run(1).wait(20).heartbeat(1).wait(30).send(1);
        story.is_fine();
        let mut story = Story::new();
        story.make(1).run(1).wait(20).heartbeat(1).wait(31).send(1);
        story.flagged_by(&["G8"]);
    }

    #[test]
    fn time_that_its_clock_did_not_see_is_none_to_a_replica() {
        let sent_after = |seen| {
            let mut story = Story::new();
            story.make(1).run(1).wait(10).drift(STANDSTILL_PPM).wait(60).drift(0).wait(seen).send(1);
            story
        };
        sent_after(20).is_fine();
        sent_after(21).flagged_by(&["G8"]);
    }

    #[test]
    fn an_unheard_renewal_gives_no_trust() {
        let mut story = Story::new();
        story.make(1).run(1).wait(20).unheard().heartbeat(1).wait(11).send(1);
        story.flagged_by(&["G8"]);
    }

    #[test]
    fn trust_counts_from_the_first_transmission() {
        let retried = |wait| {
            let mut story = Story::new();
            story.make(1).run(1).wait(10);
            let lease = story.lease(1);
            story.heartbeat(1);
            let (request, sent) = match &story.history.events[story.history.events.len() - 3].what {
                invoked @ crate::history::What::Invoked { request, .. } => (*request, invoked.clone()),
                other => panic!("{other:?}"),
            };
            story.history.events.pop();
            story
                .answer(request, "heartbeat", Answer::Error(ErrorKind::Unknown, "lost".to_owned()))
                .wait(5)
                .here(sent);
            story.repeat().forge(|_, reply| {
                if let Reply::Renewed(renewed) = reply {
                    renewed.now = Story::EPOCH.offset_micros(15_000_000);
                    renewed.outcomes[0].as_mut().unwrap().expires_at = Story::EPOCH.offset_micros(45_000_000);
                }
            });
            assert_eq!(lease, story.lease(1));
            story.answer(request, "heartbeat", Answer::Reply).wait(wait).send(1);
            story
        };
        retried(25).is_fine();
        retried(26).flagged_by(&["G8"]);
    }

    #[test]
    fn an_effect_needs_an_acknowledged_lease() {
        let mut story = Story::new();
        story.make(1).unheard().claim(1).unheard().start(1).handler(1).send(1);
        story.flagged_by(&["G4", "G8"]);
    }

    /// Zoo A3, B20.
    #[test]
    fn nothing_is_sent_after_the_loss_is_known() {
        let mut story = Story::new();
        story.make(1).run(1).wait(10);
        let lease = story.lease(1);
        story.heartbeat_refused(lease).wait_ms(1).send(1);
        story.flagged_by(&["G8"]);
        let mut story = Story::new();
        story.make(1).run(1).wait(10).unheard().heartbeat_refused(lease).wait_ms(1).send(1);
        story.is_fine();
    }

    /// Which of the two was the one that it heard is not known.
    #[test]
    fn one_request_with_two_answers_is_no_news_of_a_loss() {
        let mut story = Story::new();
        story.make(1).run(1).wait(10).heartbeat(1);
        let (request, sent) = match &story.history.events[story.history.events.len() - 3].what {
            invoked @ crate::history::What::Invoked { request, .. } => (*request, invoked.clone()),
            other => panic!("{other:?}"),
        };
        story.history.events.pop();
        story.answer(request, "heartbeat", Answer::Error(ErrorKind::Unknown, "lost".to_owned())).here(sent);
        story.repeat().forge(|_, reply| {
            if let Reply::Renewed(renewed) = reply {
                renewed.outcomes[0] = Err(Refusal::LeaseLost);
            }
        });
        story.answer(request, "heartbeat", Answer::Reply).wait_ms(1).send(1);
        story.is_fine();
    }

    /// Zoo B20, D3: it sends nothing, and would go on.
    #[test]
    fn a_handler_that_outlives_its_lease_is_seen() {
        let ended_after = |wait| {
            let mut story = Story::new();
            story.make(1).run(1).wait(9).heartbeat(1).wait(wait).handler_ends(1, HandlerEnd::LeaseLost);
            story
        };
        ended_after(30).flagged_by(&["G14"]);
        ended_after(31).flagged_by(&["G8", "G14"]);
        let mut story = Story::new();
        story.make(1).run(1).wait(9).pause().wait(60).resume().handler_ends(1, HandlerEnd::LeaseLost);
        story.is_fine();
        // What waited for a worker until it was lost never ran.
        let mut story = Story::new();
        story.make(1).claim(1).start(1).wait(9).heartbeat(1).wait(31).handler_ends(1, HandlerEnd::LeaseLost);
        story.flagged_by(&["G14"]);
    }

    /// Zoo B18, B19.
    #[test]
    fn a_superseded_lease_writes_nothing() {
        type Write = fn(&mut Story, tourbillon::model::LeaseRef);
        let writes: [Write; 3] = [
            |story, lease| _ = story.heartbeat_as(lease),
            |story, lease| _ = story.settle_as(lease, failed(Retry::AfterMs(0))),
            |story, lease| _ = story.settle_as(lease, Outcome::Released),
        ];
        for write in writes {
            let mut story = Story::new();
            story.make(1).run(1);
            let lease = story.lease(1);
            story.wait(31).by(1).claim(1).start(1).by(0);
            write(&mut story, lease);
            story.flagged_by(&["G8"]);
        }
        let mut story = Story::new();
        story.make(1).claim(1);
        let lease = story.lease(1);
        story.wait(31).by(1).claim(1).by(0).start_as(lease);
        story.flagged_by(&["G8"]);
    }

    #[test]
    fn an_expired_lease_that_nobody_took_may_finish() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).wait(60).succeed(1).end();
        story.is_fine();
    }

    #[test]
    fn a_lease_that_was_given_back_writes_nothing() {
        let mut story = Story::new();
        story.make(1).run(1).settle(1, Outcome::Released).heartbeat(1);
        story.flagged_by(&["G8"]);
    }

    #[test]
    fn news_of_a_lost_claim_says_nothing_of_the_next_with_its_fence() {
        let claimed_twice = || {
            let mut story = Story::new();
            story.make(1).claim(1).start(1).lose(2);
            let lost = story.lease(1);
            let row = story.row(1);
            (row.state, row.fence, row.attempt, row.lease) = (State::Scheduled, Fence(0), 0, None);
            story.run(1).wait_ms(1);
            assert_eq!(lost.fence, story.lease(1).fence);
            (story, lost)
        };
        let (mut story, lost) = claimed_twice();
        story.heartbeat_refused(lost).wait_ms(1).send(1);
        story.is_fine();
        let (mut story, _) = claimed_twice();
        let lease = story.lease(1);
        story.heartbeat_refused(lease).wait_ms(1).send(1);
        story.flagged_by(&["G8"]);
    }

    #[test]
    fn a_start_is_a_sign_of_life() {
        let sent_after = |wait| {
            let mut story = Story::new();
            story.make(1).claim(1).wait(20).start(1).handler(1).wait(wait).send(1);
            story
        };
        sent_after(30).is_fine();
        sent_after(31).flagged_by(&["G8"]);
    }

    #[test]
    fn whoever_is_refused_to_end_an_attempt_knows_that_its_lease_is_lost() {
        let refused = |then_ms| {
            let mut story = Story::new();
            story.make(1).run(1).wait(10).fail(1, 0).forge(|_, reply| {
                if let Reply::Settled(settled) = reply {
                    settled.outcomes[0] = Err(Refusal::LeaseLost);
                }
            });
            story.wait_ms(then_ms).send(1);
            story
        };
        refused(1).flagged_by(&["G8"]);
        // At one instant the order of tasks is nobody's promise.
        refused(0).is_fine();
    }

    #[test]
    fn who_writes_after_another_life_has_begun_is_told_apart_from_the_last_holder() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1);
        let lease = story.lease(1);
        story.succeed(1).requeue(1, 2).heartbeat_as(lease);
        story.flagged_by(&["G8"]);
        story.says(&format!("the last lease is token {}, fence 1", lease.token));
    }
}
