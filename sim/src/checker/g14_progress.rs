//! G14: progress, as far as a history proves it. Rows that were claimed and not started when a process died are not
//! charged, nor ended for it; every store call has a deadline by its replica's monotonic clock. Ticks of services,
//! renewals, schedules, listeners,
//! rows that wait and the picking up of items have files of their own.

use std::collections::BTreeMap;

use tourbillon::{
    model::{Incarnation, Reentry, RequestId, transition::Charge},
    store::{Reply, Verb},
};

use super::{
    Findings,
    docket::Docket,
    g14_early, g14_listening, g14_pickup, g14_renewals, g14_schedule, g14_ticks,
    shadow::Stage,
    topic::Topic,
    track::{Act, Track},
};
use crate::history::{HostId, RunFacts, What};

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G14");
    unstarted_costs_nothing(&mut docket, track);
    charged_where_harmless(&mut docket, track);
    g14_ticks::judge(track, &mut docket);
    g14_pickup::judge(track, &mut docket);
    if let Some(facts) = track.facts {
        every_call_ends(&mut docket, track, facts);
        g14_renewals::judge(&mut docket, track, facts);
        g14_early::judge(&mut docket, track, facts);
        g14_schedule::judge(&mut docket, track, facts);
        g14_listening::judge(&mut docket, track, facts);
    }
    docket.close()
}

fn unstarted_costs_nothing(docket: &mut Docket, track: &Track<'_>) {
    track.walk(|step, shadows| {
        let before = &shadows[step.row];
        if before.stage != Stage::Held || before.is_started {
            return;
        }
        let (name, token) = (|| track.name(step.row), before.lease.token);
        match step.act {
            Act::Claimed(execution, false) => {
                docket.demand(execution.attempt == before.attempt, &[before.claim_event, step.event], || {
                    let (stored, charged) = (execution.attempt, before.attempt);
                    format!("{}: token {token} never started, yet attempts are {stored}, not {charged}", name())
                });
            }
            Act::Rescued(state) => {
                docket.demand(before.is_cancel_requested, &[before.claim_event, step.event], || {
                    format!("{} was ended as {state} at {}; token {token} never started", name(), step.now)
                });
            }
            _ => {}
        }
    });
}

/// A claim that may charge what can lose an attempt without harm charges the first of several, of rows that may be
/// re-entered, are under no limit and do not expire: should its process die beside them, they run all the same.
fn charged_where_harmless(docket: &mut Docket, track: &Track<'_>) {
    for (event, now, request, reply) in track.applied() {
        let (Verb::Claim(claim), Reply::Claimed(claimed)) = (&request.verb, reply) else { continue };
        if claim.charge != Charge::AtClaimIfHarmless {
            continue;
        }
        for row in claimed.executions.iter().filter(|row| row.is_started()) {
            let policy = &row.policy;
            let may_run_again = policy.max_attempts > 1 && policy.reentry == Reentry::Allow;
            let is_free = policy.limit.is_none() && row.expires_at.is_none();
            docket.demand(row.attempt == 1 && may_run_again && is_free, &[event], || {
                let (id, attempt, max) = (row.id, row.attempt, policy.max_attempts);
                format!(
                    "execution {id} was charged attempt {attempt} of {max} by its claim at {now}: it could be lost"
                )
            });
        }
    }
}

/// The time for which a replica was scheduled, and how fast its monotonic clock runs. What passes during a pause is
/// left out: a deadline cannot fire then.
#[derive(Default)]
struct Awake {
    at_us: u64,
    passed_us: u128,
    drift_ppm: i32,
    is_paused: bool,
}

impl Awake {
    fn advance(&mut self, at_us: u64) -> u128 {
        sometimes!("a pause stops the clock of a deadline", self.is_paused);
        if !self.is_paused {
            self.passed_us += u128::from(at_us.saturating_sub(self.at_us));
        }
        self.at_us = at_us;
        self.passed_us
    }

    /// In millionths, so that drift stays exact.
    fn rate(&self) -> u128 {
        u128::from(u32::try_from(1_000_000 + i64::from(self.drift_ppm)).unwrap_or(0))
    }
}

/// Transmissions under way.
struct Calls {
    /// In the order in which they were sent. They are few at a time.
    open: Vec<Open>,
    limit: u128,
}

struct Open {
    incarnation: Incarnation,
    request: RequestId,
    event: usize,
    host: HostId,
    since: u128,
    /// A deadline runs at the rate at which it was set, whatever becomes of the clock meanwhile.
    rate: u128,
}

fn every_call_ends(docket: &mut Docket, track: &Track<'_>, facts: &RunFacts) {
    let mut awake: BTreeMap<HostId, Awake> = BTreeMap::new();
    let limit = (facts.call_timeout + facts.granularity).as_micros() * 1_000_000;
    let mut calls = Calls { open: Vec::new(), limit };
    for (index, event) in track.about(Topic::CALLS_AND_OTHER) {
        let mut clock = || awake.entry(event.host).or_default().advance(event.at_us);
        match &event.what {
            What::ClockSet { drift_ppm, .. } => {
                clock();
                awake.entry(event.host).or_default().drift_ppm = *drift_ppm;
            }
            // A pause does not outlive the process, whether or not the world says that it is over.
            What::Paused | What::Resumed | What::Booted { .. } => {
                clock();
                awake.entry(event.host).or_default().is_paused = event.what == What::Paused;
            }
            What::Invoked { incarnation, request, .. } => {
                let awake = awake.entry(event.host).or_default();
                let (since, rate) = (awake.advance(event.at_us), awake.rate());
                let (incarnation, request) = (*incarnation, *request);
                calls.open.push(Open { incarnation, request, event: index, host: event.host, since, rate });
            }
            What::Answered { incarnation, request, .. } => {
                let now = clock();
                let is_it = |call: &Open| call.request == *request && call.incarnation == *incarnation;
                if let Some(first) = calls.open.iter().position(is_it) {
                    demand(docket, calls.limit, &calls.open.remove(first), (now, index));
                }
            }
            What::Crashed { incarnation, .. } | What::ShutdownEnded { incarnation, .. } => {
                let now = clock();
                calls.close(docket, |call| call.incarnation == *incarnation, |_| now, index);
            }
            What::Ended { .. } => {
                calls.close(docket, |_| true, |host| awake.entry(host).or_default().advance(event.at_us), index);
            }
            _ => {}
        }
    }
}

impl Calls {
    /// Processes ended: what they had under way need not be answered any more, but may not have been overdue.
    fn close(
        &mut self,
        docket: &mut Docket,
        mut is_over: impl FnMut(&Open) -> bool,
        mut now: impl FnMut(HostId) -> u128,
        event: usize,
    ) {
        for call in self.open.extract_if(.., |call| is_over(call)) {
            demand(docket, self.limit, &call, (now(call.host), event));
        }
    }
}

fn demand(docket: &mut Docket, limit: u128, call: &Open, (now, event): (u128, usize)) {
    let passed = (now - call.since) * call.rate;
    docket.demand(passed <= limit, &[call.event, event], || {
        let Open { request, host, .. } = call;
        let (passed_us, limit_us) = (passed / 1_000_000, limit / 1_000_000);
        format!(
            "request {request} of {host} was under way for {passed_us} us of its clock; its limit is {limit_us} us"
        )
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tourbillon::{
        model::{
            Reentry, State,
            transition::{Cancelled, Charge},
        },
        store::{ErrorKind, Reply, Verb},
    };

    use super::super::story::{Story, incarnation};
    use crate::history::{Answer, HostId, RunFacts, What};

    #[test]
    fn a_deadline_runs_at_the_rate_at_which_it_was_set() {
        let drifts = |drift_ppm| What::ClockSet { offset_us: 0, drift_ppm };
        let late = |before, after| {
            let mut story = Story::new();
            story.record(HostId::Replica(0), drifts(before));
            let request = story.invoke("claim", &[]);
            story.wait(5).record(HostId::Replica(0), drifts(after));
            story.answer(request, "claim", Answer::Error(ErrorKind::Unknown, "deadline".to_owned()));
            story
        };
        late(-40_000, 50_000).is_fine();
        late(0, -50_000).is_fine();
    }

    /// Zoo C4.
    #[test]
    fn an_unstarted_claim_costs_nothing() {
        let mut story = Story::new();
        story.make(1).claim(1).crash().wait(31).by(1).claim(1);
        story.is_fine();
        story.forge(|_, reply| {
            if let Reply::Claimed(claimed) = reply {
                claimed.executions[0].attempt = 1;
            }
        });
        story.flagged_by(&["G14"]);
    }

    #[test]
    fn only_an_attempt_that_can_be_lost_is_charged_early() {
        let mut story = Story::new();
        story.make(1).claim_with(1, Charge::AtClaimIfHarmless).fail(1, 0);
        story.claim_with(1, Charge::AtClaimIfHarmless).start(1);
        story.is_fine();
        let mut story = Story::new();
        story.make(1).run(1).fail(1, 0).claim_with(1, Charge::AtClaim);
        story.is_fine();
        story.forge(|verb, _| {
            if let Verb::Claim(claim) = verb {
                claim.charge = Charge::AtClaimIfHarmless;
            }
        });
        story.flagged_by(&["G14"]);
    }

    #[test]
    fn what_could_be_lost_is_not_charged_early() {
        let charged = |change: fn(&mut RunFacts)| {
            let mut story = Story::with(change);
            story.make(1).claim_with(1, Charge::AtClaim).forge(|verb, _| {
                if let Verb::Claim(claim) = verb {
                    claim.charge = Charge::AtClaimIfHarmless;
                }
            });
            story
        };
        charged(|_| {}).is_fine();
        let harms: [fn(&mut RunFacts); 4] = [
            |facts| facts.jobs[0].max_attempts = 1,
            |facts| facts.jobs[0].reentry = Reentry::Forbid,
            |facts| facts.jobs[0].overlap_max = Some(1),
            |facts| facts.jobs[0].planner.max_lateness = Some(Duration::from_secs(60)),
        ];
        for harm in harms {
            charged(harm).flagged_by(&["G14"]);
        }
    }

    #[test]
    fn an_unstarted_claim_is_not_ended_unless_it_was_cancelled() {
        let mut story = Story::new();
        story.make(1).claim(1).wait(31).rescue(1, State::Dead);
        story.flagged_by(&["G14"]);
        let mut story = Story::new();
        story.make(1).claim(1).cancel(1, Cancelled::Requested).wait(31).rescue(1, State::Cancelled);
        story.is_fine();
    }

    fn call(tell: impl FnOnce(&mut Story)) -> Story {
        let mut story = Story::new();
        let request = story.invoke("claim", &[]);
        tell(&mut story);
        story.answer(request, "claim", Answer::Error(ErrorKind::Unknown, "deadline".to_owned()));
        story
    }

    #[test]
    fn a_call_ends_by_its_deadline() {
        call(|story| _ = story.wait_ms(5_100)).is_fine();
        call(|story| _ = story.wait_ms(5_101)).flagged_by(&["G14"]);
        call(|story| _ = story.wait_ms(5_101)).says("under way for 5101000 us of its clock; its limit is 5100000 us");
    }

    #[test]
    fn a_slow_clock_and_a_pause_move_the_deadline() {
        let drifting = |ppm, ms| {
            let mut story = Story::new();
            story.drift(ppm);
            let request = story.invoke("claim", &[]);
            story.wait_ms(ms).answer(request, "claim", Answer::Error(ErrorKind::Unknown, "deadline".to_owned()));
            story
        };
        drifting(-50_000, 5_300).is_fine();
        drifting(50_000, 5_000).flagged_by(&["G14"]);
        call(|story| _ = story.here(What::Paused).wait(60).here(What::Resumed).wait_ms(100)).is_fine();
        call(|story| _ = story.here(What::Paused).wait(60).here(What::Resumed).wait_ms(5_200)).flagged_by(&["G14"]);
    }

    /// Zoo A11.
    #[test]
    fn a_call_that_hangs_is_found_at_the_end_but_not_after_a_crash() {
        let mut story = Story::new();
        story.invoke("claim", &[]);
        story.wait(6).end();
        story.flagged_by(&["G14"]);
        let mut story = Story::new();
        story.invoke("claim", &[]);
        story.wait(4).crash().wait(6).end();
        story.is_fine();
    }

    #[test]
    fn a_pause_does_not_outlive_its_process() {
        let mut story = Story::new();
        story.here(What::Paused).crash().here(What::Booted { incarnation: incarnation(0) });
        let request = story.invoke("claim", &[]);
        story.wait(6).record(HostId::World, What::FaultEnded { kind: "pause".to_owned() });
        story.answer(request, "claim", Answer::Reply);
        story.flagged_by(&["G14"]);
    }
}
