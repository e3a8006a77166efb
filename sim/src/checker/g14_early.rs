//! G14, rows that wait in a replica: an attempt that may not be lost is charged only when a worker is free for it, so that
//! its handler begins at once (D8). Should the process die while it waits, an attempt would be gone that never ran.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tourbillon::{
    model::{Incarnation, LeaseRef, Policy, Reentry, RequestId},
    store::{Reply, Verb},
};

use super::{docket::Docket, topic::Topic, track::Track};
use crate::history::{Answer, HostId, RunFacts, What};

/// From the answer to the first poll, generously.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A charge that is known, and whose handler has not begun.
struct Charged {
    event: usize,
    at_us: u64,
}

pub(super) fn judge(docket: &mut Docket, track: &Track<'_>, facts: &RunFacts) {
    let bound_us = u64::try_from((AT_ONCE + facts.granularity * 2).as_micros()).unwrap_or(u64::MAX);
    // Of one request, those that may not wait.
    let mut sent: BTreeMap<RequestId, BTreeSet<LeaseRef>> = BTreeMap::new();
    let mut charged: BTreeMap<(Incarnation, LeaseRef), Charged> = BTreeMap::new();
    let mut held_up: BTreeMap<HostId, u64> = BTreeMap::new();
    for (index, event) in track.about(&[Topic::Start, Topic::Settle, Topic::Other]) {
        match &event.what {
            What::Applied { request, result: Ok(Reply::Started(started)), .. } => {
                let Verb::Start(start) = &request.verb else { continue };
                for (lease, outcome) in start.leases.iter().zip(&started.outcomes) {
                    let policy = track.row_at(lease.id).and_then(|row| track.rows[row].policy);
                    if let (Ok(number), Some(policy)) = (outcome, policy)
                        && !may_wait(*number, policy)
                    {
                        sent.entry(request.id).or_default().insert(*lease);
                    }
                }
            }
            What::Answered { incarnation, request, answer: Answer::Reply, .. } => {
                for lease in sent.remove(request).unwrap_or_default() {
                    charged.insert((*incarnation, lease), Charged { event: index, at_us: event.at_us });
                }
            }
            // What ends without a handler is dealt with before the rows beside it.
            What::Invoked { incarnation, verb, leases, .. }
                if verb == "settle" && leases.iter().any(|lease| charged.contains_key(&(*incarnation, *lease))) =>
            {
                charged.retain(|(process, _), _| process != incarnation);
            }
            What::HandlerStarted { incarnation, lease, .. } => {
                let Some(known) = charged.remove(&(*incarnation, *lease)) else { continue };
                let since_us = held_up.get(&event.host).map_or(known.at_us, |up_us| known.at_us.max(*up_us));
                let waited_us = event.at_us.saturating_sub(since_us);
                docket.demand(waited_us <= bound_us, &[known.event, index], || {
                    format!(
                        "the attempt of execution {} that {incarnation} had charged waited for {waited_us} us until its \
                         handler began, and may not be lost meanwhile; the bound is {bound_us} us",
                        lease.id
                    )
                });
            }
            What::Paused | What::Resumed | What::ClockSet { .. } => {
                held_up.insert(event.host, event.at_us);
            }
            _ => {}
        }
    }
}

/// Whether an attempt may be lost without having run: the first, and not the last, of a row that may be entered again and
/// takes nobody's room.
fn may_wait(number: u32, policy: &Policy) -> bool {
    number == 1 && policy.max_attempts > 1 && policy.reentry == Reentry::Allow && policy.limit.is_none()
}

#[cfg(test)]
mod tests {
    use tourbillon::model::{Outcome, Reentry};

    use super::super::story::Story;
    use crate::history::RunFacts;

    fn forbid(facts: &mut RunFacts) {
        facts.jobs[0].reentry = Reentry::Forbid;
    }

    #[test]
    fn an_attempt_that_waits_and_may_not_be_lost_is_seen() {
        let run_after = |wait, reentry| {
            let mut story = Story::with(|facts| facts.jobs[0].reentry = reentry);
            story.make(1).claim(1).start(1).wait(wait).handler(1).effect(1).succeed(1);
            story
        };
        run_after(5, Reentry::Allow).is_fine();
        run_after(0, Reentry::Forbid).is_fine();
        run_after(5, Reentry::Forbid).flagged_by(&["G14"]);
    }

    /// A second, and twice the granularity.
    #[test]
    fn a_handler_begins_at_once_when_it_begins_within_the_bound() {
        let run_after = |ms| {
            let mut story = Story::with(forbid);
            story.make(1).claim(1).start(1).wait_ms(ms).handler(1);
            story
        };
        run_after(1_200).is_fine();
        run_after(1_201).flagged_by(&["G14"]);
    }

    #[test]
    fn a_process_that_is_held_up_begins_when_it_goes_on() {
        let mut story = Story::with(forbid);
        story.make(1).claim(1).start(1).pause().wait(5).resume().handler(1);
        story.is_fine();
    }

    #[test]
    fn only_the_first_of_several_attempts_may_wait() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).fail(1, 0).claim(1).start(1).wait(5).handler(1);
        story.flagged_by(&["G14"]);
        let mut story = Story::with(|facts| facts.jobs[0].max_attempts = 1);
        story.make(1).claim(1).start(1).wait(5).handler(1);
        story.flagged_by(&["G14"]);
    }

    #[test]
    fn a_row_waits_while_its_process_ends_another_and_for_nothing_else() {
        let two = || {
            let mut story = Story::with(forbid);
            story.enqueue_within(9, &[1, 2], None).claim(1).start(1).claim(2).start(2);
            story
        };
        let mut story = two();
        story.settle(1, Outcome::Released).wait(5).handler(2);
        story.is_fine();
        let mut story = two();
        story.heartbeat(1).wait(5).handler(2);
        story.flagged_by(&["G14"]);
        let mut story = two();
        story.by(1).crash().by(0).wait(5).handler(2);
        story.flagged_by(&["G14"]);
    }
}
