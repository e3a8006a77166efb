//! G1: no duplicate claim. Per execution, claims have distinct tokens and growing fences, and a claim follows only
//! when the attempt before it ended or its lease expired by the database clock.

use std::collections::BTreeSet;

use tourbillon::{
    model::{Execution, Reentry},
    store::Verb,
};

use super::{
    Findings,
    docket::Docket,
    shadow::{Shadow, Stage},
    track::{Act, Step, Track},
};
use crate::history::What;

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G1");
    let mut tokens = BTreeSet::new();
    track.walk(|step, shadows| {
        let before = &shadows[step.row];
        match step.act {
            Act::Claimed(execution, _) => {
                let token = execution.lease.as_ref().map(|lease| lease.token);
                docket.demand(tokens.insert((step.row, token)), &[before.claim_event, step.event], || {
                    let token = token.map(|token| token.to_string()).unwrap_or_default();
                    format!("{} was claimed twice under token {token}", track.name(step.row))
                });
                claim(&mut docket, track, step, before, execution);
            }
            Act::ClaimRepeated(lease, is_told) => {
                let holds = before.stage == Stage::Held && before.lease == lease;
                docket.demand(is_told == holds, &[before.claim_event, step.event], || {
                    let (name, token) = (track.name(step.row), lease.token);
                    let (told, held) = if holds { ("left", "holds") } else { ("named", "no longer holds") };
                    format!("{name} was {told} in the answer to the repeated claim {token}, which {held} it")
                });
            }
            Act::Renewed(lease, Ok(renewal)) => {
                let promised = track.rows[step.row].lease_end(step.now);
                docket.demand(renewal.expires_at == promised, &[step.event], || {
                    let (name, token, stored) = (track.name(step.row), lease.token, renewal.expires_at);
                    let now = step.now;
                    format!("{name}: token {token} was renewed at {now} until {stored} instead of {promised}")
                });
            }
            _ => {}
        }
    });
    for &(first, again) in &track.broken_repeats {
        if let What::Applied { request, .. } = &track.history.events[again].what
            && matches!(request.verb, Verb::Claim(_))
        {
            let id = request.id;
            docket.demand(false, &[first, again], || format!("repeated claim {id} did not return its first outcome"));
        }
    }
    docket.close()
}

fn claim(docket: &mut Docket, track: &Track<'_>, step: &Step<'_>, before: &Shadow, execution: &Execution) {
    let Step { event, now, row, .. } = *step;
    let events = [before.last_event, event];
    let name = || track.name(row);
    let Some(lease) = &execution.lease else {
        docket.demand(false, &[event], || format!("{} was claimed with no lease", name()));
        return;
    };
    let token = lease.token;
    if let What::Applied { request, .. } = &track.history.events[event].what {
        docket.demand(request.id.0 == token.0, &[event], || {
            format!("{} was claimed under token {token}, which is not the id of claim {}", name(), request.id)
        });
    }
    docket.demand(execution.fence > before.fence, &[before.claim_event, event], || {
        let (fence, highest) = (execution.fence, before.fence);
        format!("{} was claimed under token {token} with fence {fence}, not above {highest}", name())
    });
    docket.demand(!before.is_leased(now), &events, || {
        let (holder, until) = (before.lease.token, before.expires_at);
        format!("{} was claimed under token {token} at {now}, while token {holder} held it until {until}", name())
    });
    let is_lost_start = before.is_abandoned || (before.stage == Stage::Held && before.is_started);
    let is_forbidden = track.rows[row].policy.is_some_and(|policy| policy.reentry == Reentry::Forbid);
    docket.demand(!(is_lost_start && is_forbidden), &events, || {
        let lost = before.lease.token;
        format!("{} was claimed under token {token} after token {lost} was lost, but re-entry is forbidden", name())
    });
    let promised = track.rows[row].lease_end(now);
    docket.demand(lease.expires_at == promised, &[event], || {
        let stored = lease.expires_at;
        format!("{} was claimed under token {token} at {now} until {stored} instead of {promised}", name())
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tourbillon::{
        model::{Fence, Reentry, RequestId, State, Token},
        store::{Claimed, Reply},
    };
    use uuid::Uuid;

    use super::super::story::Story;
    use crate::history::{HostId, RunFacts, What};

    fn forbid(facts: &mut RunFacts) {
        facts.jobs[0].reentry = Reentry::Forbid;
    }

    fn claimed(reply: &mut Reply) -> &mut Claimed {
        match reply {
            Reply::Claimed(claimed) => claimed,
            _ => panic!("not a claim: {reply:?}"),
        }
    }

    #[test]
    fn an_expired_lease_may_be_taken_strictly_after_its_expiry() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).wait(30).wait_ms(1).by(1).claim(1).start(1).wait(31).claim(1);
        story.is_fine();
        let mut story = Story::new();
        story.make(1).claim(1).start(1).wait(30).by(1).claim(1);
        story.flagged_by(&["G1"]);
    }

    #[test]
    fn a_heartbeat_keeps_others_away() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).wait(20).heartbeat(1).wait(20).by(1).claim(1);
        story.flagged_by(&["G1"]);
    }

    #[test]
    fn a_clamped_lease_expires_as_much_earlier_as_the_clock_stepped_back() {
        let mut story = Story::new();
        story.make(1).claim(1).step_clock(-20).clamp(1).wait(31).claim(1);
        story.is_fine();
        let mut story = Story::new();
        story.make(1).claim(1).step_clock(-20).wait(31).claim(1);
        story.flagged_by(&["G1"]);
    }

    #[test]
    fn a_forward_step_expires_leases() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).step_clock(31).by(1).claim(1);
        story.is_fine();
    }

    #[test]
    fn a_repeated_claim_is_not_a_second_one() {
        let mut story = Story::new();
        story.make(1).unheard().claim(1).wait(1).repeat();
        story.is_fine();
    }

    #[test]
    fn a_repeated_claim_names_what_it_still_holds() {
        let failed = || {
            let mut story = Story::new();
            story.make(1).claim(1);
            let claim = story.history.events.iter().rev().find_map(|event| match &event.what {
                What::Applied { request, result, .. } => Some((request.clone(), result.clone())),
                _ => None,
            });
            let (request, result) = claim.expect("it was claimed");
            story.repeat().start(1).fail(1, 0);
            let now = story.now();
            story.record(HostId::Database, What::Applied { request, now, result });
            story
        };
        failed().flagged_by(&["G1"]);
        let mut story = failed();
        story.forge(|_, reply| claimed(reply).executions.clear());
        story.is_fine();
    }

    #[test]
    fn a_repeated_claim_that_answers_otherwise_is_broken() {
        let mut story = Story::new();
        story.make(1).claim(1).repeat();
        story.forge(|_, reply| claimed(reply).executions.clear());
        story.flagged_by(&["G1"]);
    }

    #[test]
    fn fences_grow_across_generations() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).succeed(1).requeue(1, 2).claim(1).start(1);
        story.is_fine();
        let mut story = Story::new();
        story.make(1).run(1).effect(1).succeed(1).requeue(1, 2);
        story.row(1).fence = Fence(0);
        story.claim(1);
        story.flagged_by(&["G1"]);
    }

    #[test]
    fn a_token_is_new_and_the_id_of_its_claim() {
        let mut story = Story::new();
        story.make(1).claim(1).wait(31).claim(1);
        let other = Token(Uuid::from_u128(77));
        story.forge(|_, reply| claimed(reply).executions[0].lease.as_mut().unwrap().token = other);
        story.flagged_by(&["G1"]);

        let mut story = Story::new();
        story.make(1).claim(1).wait(31).claim(1);
        let first = story.history.events.iter().find_map(|event| match &event.what {
            What::Applied { request, .. } if request.verb.name() == "claim" => Some(request.id),
            _ => None,
        });
        // The second claim has the id of the first, but is carried out again.
        for event in &mut story.history.events[7..] {
            if let What::Applied { request, result: Ok(reply), .. } = &mut event.what {
                Arc::make_mut(request).id = RequestId(first.unwrap().0);
                claimed(reply).executions[0].lease.as_mut().unwrap().token = Token(first.unwrap().0);
            }
        }
        story.flagged_by(&["G1"]);
    }

    #[test]
    fn a_lease_lasts_as_long_as_its_policy_says() {
        let mut story = Story::new();
        story.make(1).claim(1).forge(|_, reply| {
            let lease = claimed(reply).executions[0].lease.as_mut().unwrap();
            lease.expires_at = lease.claimed_at;
        });
        story.flagged_by(&["G1"]);
        let mut story = Story::new();
        story.make(1).claim(1).start(1).wait(5).heartbeat(1).forge(|_, reply| {
            if let Reply::Renewed(renewed) = reply {
                renewed.outcomes[0].as_mut().unwrap().expires_at = Story::EPOCH;
            }
        });
        story.flagged_by(&["G1"]);
    }

    #[test]
    fn a_lost_start_is_not_claimed_again_where_reentry_is_forbidden() {
        let mut story = Story::with(forbid);
        story.make(1).claim(1).wait(31).claim(1).start(1).fail(1, 0).claim(1);
        story.is_fine();
        let mut story = Story::with(forbid);
        story.make(1).claim(1).start(1).wait(31).claim(1);
        story.flagged_by(&["G1"]);
        // Zoo A1: the sweep makes it retryable. That it does not end it is G2's matter.
        let mut story = Story::with(forbid);
        story.make(1).claim(1).start(1).wait(31).rescue(1, State::Retryable).claim(1);
        story.flagged_by(&["G1", "G2"]);
    }

    #[test]
    fn what_was_lost_once_and_may_not_run_again_is_not_claimed_ever_after() {
        let mut story = Story::with(forbid);
        story.make(1).claim(1).start(1).wait(31).claim(1).wait(31).claim(1);
        story.flagged_by(&["G1"]);
        assert_eq!(story.violations().len(), 2);
    }
}
