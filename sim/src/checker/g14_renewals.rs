//! G14, renewals: while a handler runs, its replica asks for its lease at least every third of it, and for a lock while a
//! tick under it does; whatever else the replica has to do, and until the last handler has ended (B3, B22, B24). So it does
//! while a row that it has charged waits for a worker (D10). That trust ends by itself keeps things safe; it must not be
//! what ends the work.
//!
//! Judged when the work ends, in true time. What passes while the host is held up counts for nothing, and its clock may be
//! slow by as much as the lease's margin allows.

use std::collections::BTreeMap;

use tourbillon::model::{Incarnation, LeaseRef, RequestId};

use super::{
    docket::Docket,
    topic::Topic,
    track::{self, Track},
};
use crate::history::{Answer, HostId, RunFacts, What};

/// What is renewed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Handler(LeaseRef),
    Tick(RequestId),
}

/// Since when it was not.
struct Open {
    host: HostId,
    event: usize,
    since_us: u64,
    bound_us: u64,
    /// The longest time so far, and where it began.
    longest: (u64, usize),
}

impl Open {
    fn renewed(&mut self, event: usize, at_us: u64) {
        let passed_us = at_us.saturating_sub(self.since_us);
        self.longest = self.longest.max((passed_us, self.event));
        (self.event, self.since_us) = (event, at_us);
    }
}

pub(super) fn judge(docket: &mut Docket, track: &Track<'_>, facts: &RunFacts) {
    let mut open: BTreeMap<(Incarnation, Work), Open> = BTreeMap::new();
    // Leases that a request charged.
    let mut charged: BTreeMap<RequestId, Vec<LeaseRef>> = BTreeMap::new();
    let bound_of = |lease: &LeaseRef| {
        let policy = track.row_at(lease.id).and_then(|row| track.rows[row].policy);
        policy.map(|policy| policy.lease_ms.saturating_mul(1_000) / 3)
    };
    let granularity_us = u64::try_from(facts.granularity.as_micros()).unwrap_or(u64::MAX);
    for (index, event) in
        track.about(&[Topic::Claim, Topic::Start, Topic::Heartbeat, Topic::Settle, Topic::Lock, Topic::Other])
    {
        let at_us = event.at_us;
        let begun = |bound_us: u64| Open {
            host: event.host,
            event: index,
            since_us: at_us,
            bound_us: bound_us.saturating_add(granularity_us),
            longest: (0, index),
        };
        match &event.what {
            What::HandlerStarted { incarnation, lease, .. } => {
                if let Some(bound_us) = bound_of(lease) {
                    open.entry((*incarnation, Work::Handler(*lease))).or_insert_with(|| begun(bound_us));
                }
            }
            What::Applied { request, result: Ok(reply), .. } => {
                charged.insert(request.id, track::charged(request, reply));
            }
            What::Answered { incarnation, request, answer: Answer::Reply, .. } => {
                for lease in charged.remove(request).unwrap_or_default() {
                    if let Some(bound_us) = bound_of(&lease) {
                        open.entry((*incarnation, Work::Handler(lease))).or_insert_with(|| begun(bound_us));
                    }
                }
            }
            // Given back, without a handler.
            What::Invoked { incarnation, verb, leases, .. } if verb == "settle" => {
                open.retain(|(process, work), _| {
                    process != incarnation || !matches!(work, Work::Handler(lease) if leases.contains(lease))
                });
            }
            What::TickStarted { incarnation, tick, under: Some((lock, _)), .. } => {
                let service = facts.services.iter().find(|service| service.lock.as_ref() == Some(lock));
                if let Some(service) = service {
                    // A quarter of the time to live, and a quarter of that again after one that failed.
                    let bound_us = u64::try_from(service.trusted.as_micros()).unwrap_or(u64::MAX) / 10 * 4;
                    open.insert((*incarnation, Work::Tick(*tick)), begun(bound_us));
                }
            }
            What::Invoked { incarnation, verb, leases, .. } if matches!(&**verb, "heartbeat" | "renew_lock") => {
                let of_process = open.iter_mut().filter(|((process, _), _)| process == incarnation);
                of_process
                    .filter(|((_, work), _)| match work {
                        Work::Handler(lease) => verb == "heartbeat" && leases.contains(lease),
                        Work::Tick(_) => verb == "renew_lock",
                    })
                    .for_each(|(_, open)| open.renewed(index, at_us));
            }
            What::Paused | What::Resumed | What::ClockSet { .. } => {
                for open in open.values_mut().filter(|open| open.host == event.host) {
                    (open.event, open.since_us) = (index, at_us);
                }
            }
            What::HandlerEnded { incarnation, lease, .. } => {
                end(docket, open.remove(&(*incarnation, Work::Handler(*lease))), "a lease", index, at_us);
            }
            What::TickEnded { incarnation, tick, .. } => {
                end(docket, open.remove(&(*incarnation, Work::Tick(*tick))), "a lock", index, at_us);
            }
            _ => {}
        }
    }
}

fn end(docket: &mut Docket, open: Option<Open>, what: &str, index: usize, at_us: u64) {
    let Some(mut open) = open else { return };
    open.renewed(index, at_us);
    let (longest_us, since) = open.longest;
    docket.demand(longest_us <= open.bound_us, &[since, index], || {
        let (host, passed_ms, bound_ms) = (open.host, longest_us / 1_000, open.bound_us / 1_000);
        format!("{host} did not ask for {what} for {passed_ms} ms while work under it ran; at most {bound_ms} ms are allowed")
    });
}

#[cfg(test)]
mod tests {
    use tourbillon::{model::Outcome, runtime::HandlerEnd};

    use super::super::story::Story;

    /// Zoo B22, B24.
    #[test]
    fn a_handler_whose_lease_nobody_renews_is_seen() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).wait(15).handler_ends(1, HandlerEnd::Succeeded);
        story.flagged_by(&["G14"]);
        story.says("did not ask for a lease for 15000 ms while work under it ran; at most 10100 ms are allowed");
        let mut story = Story::new();
        story.make(1).run(1).effect(1).wait(9).heartbeat(1).wait(9).handler_ends(1, HandlerEnd::Succeeded);
        story.is_fine();
        let mut story = Story::new();
        story.make(1).run(1).effect(1).wait(9).pause().wait(15).resume().handler_ends(1, HandlerEnd::LeaseLost);
        story.is_fine();
    }

    /// Zoo D10.
    #[test]
    fn a_row_that_waits_and_is_not_renewed_is_seen() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).wait(15).handler(1).effect(1).handler_ends(1, HandlerEnd::Succeeded);
        story.flagged_by(&["G14"]);
        let mut story = Story::new();
        story.make(1).claim(1).start(1).wait(9).heartbeat(1).wait(9).handler(1).effect(1);
        story.handler_ends(1, HandlerEnd::Succeeded);
        story.is_fine();
    }

    /// Zoo B3.
    #[test]
    fn a_tick_whose_lock_nobody_renews_is_seen() {
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).wait(15).tick_ends(1);
        story.flagged_by(&["G14"]);
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).wait(8).renew(1).wait(8).tick_ends(1);
        story.is_fine();
    }

    #[test]
    fn a_handler_whose_start_nobody_heard_of_needs_its_lease_too() {
        let mut story = Story::new();
        story.make(1).claim(1).unheard().start(1).handler(1).wait(15).handler_ends(1, HandlerEnd::Failed);
        story.flagged_by(&["G4", "G14"]);
    }

    #[test]
    fn what_was_given_back_without_a_handler_needs_no_lease() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).unheard().settle(1, Outcome::Released);
        story.wait(15).handler_ends(1, HandlerEnd::LeaseLost);
        story.is_fine();
    }

    #[test]
    fn what_becomes_of_other_work_renews_nothing() {
        let meanwhile: [fn(&mut Story); 3] =
            [|story| _ = story.succeed(2), |story| _ = story.heartbeat(2), |story| _ = story.by(1).crash().by(0)];
        for tell in meanwhile {
            let mut story = Story::new();
            story.enqueue_within(9, &[1, 2], None).run(1).run(2).wait(9);
            tell(&mut story);
            story.wait(6).handler_ends(1, HandlerEnd::Failed);
            story.flagged_by(&["G14"]);
        }
    }
}
