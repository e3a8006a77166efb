//! G5, catching up: what is made after a gap is what the job asks for, and no more of it (B16). Each step is judged by what its
//! planner had read, however late it was carried out.

use std::collections::BTreeMap;

use tourbillon::{
    model::{Incarnation, RequestId, Timestamp},
    plan::CatchUp,
    store::{PlanOutcome, Reply, Request, Verb},
};

use super::{docket::Docket, topic::Topic, track::Track};
use crate::history::{Answer, What};

#[derive(Default)]
struct Judge {
    /// The database clock as requests for the cursors were told.
    told: BTreeMap<RequestId, Timestamp>,
    /// As each process knew it last.
    known: BTreeMap<Incarnation, Timestamp>,
    /// As it was known when a plan was sent first.
    read: BTreeMap<RequestId, Timestamp>,
}

pub(super) fn judge(docket: &mut Docket, track: &Track<'_>) {
    let mut judge = Judge::default();
    let is_of_plan = |request: &Request| matches!(request.verb, Verb::Plan(_) | Verb::ReadCursors(_));
    let mut applied = track.applied().filter(|(_, _, request, _)| is_of_plan(request)).peekable();
    for (index, event) in track.about(&[Topic::Plan]) {
        match &event.what {
            What::Invoked { incarnation, request, verb, .. } if verb == "plan" => {
                if let Some(now) = judge.known.get(incarnation) {
                    judge.read.entry(*request).or_insert(*now);
                }
            }
            What::Answered { incarnation, request, answer: Answer::Reply, .. } => {
                if let Some(now) = judge.told.remove(request) {
                    judge.known.insert(*incarnation, now);
                }
            }
            _ => {}
        }
        let Some((_, _, request, reply)) = applied.next_if(|(at, ..)| *at == index) else { continue };
        match (&request.verb, reply) {
            (Verb::ReadCursors(_), Reply::CursorsRead(read)) => {
                judge.told.insert(request.id, read.now);
            }
            (Verb::Plan(plan), Reply::Planned(planned)) => {
                let Some(read_at) = judge.read.get(&request.id).copied() else { continue };
                for (entry, outcome) in plan.entries.iter().zip(&planned.outcomes) {
                    let PlanOutcome::Made(_) = outcome else { continue };
                    let facts =
                        track.series_at(&entry.job, &entry.scope).and_then(|series| track.series[series].facts);
                    let Some(facts) = facts else { continue };
                    let catch_up = track.planner_of(facts, &entry.spec_hash).catch_up;
                    let (most, window) = match catch_up {
                        CatchUp::EverySlot { window, max_slots } if !window.is_zero() => {
                            (max_slots as usize, Some(window))
                        }
                        CatchUp::EverySlot { .. } | CatchUp::LatestOnly => (1, None),
                    };
                    let (job, scope, count) = (&entry.job, &entry.scope, entry.slots.len());
                    docket.demand(count <= most, &[index], || {
                        format!(
                            "{count} slots of {job} ({scope}) were made in one step; at most {most} are asked for"
                        )
                    });
                    let oldest = entry.slots.iter().map(|slot| slot.due_at).min();
                    // With no cursor only the present slot is made, however old.
                    if let (Some(window), Some(oldest), Some(_)) = (window, oldest, entry.expect) {
                        docket.demand(oldest + window >= read_at, &[index], || {
                            format!(
                                "a slot of {job} ({scope}) that was due at {oldest} was made by what was read at \
                                 {read_at}, and is not made up for after {window:?}"
                            )
                        });
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tourbillon::{
        plan::CatchUp,
        store::{CursorsRead, ReadCursors, Reply},
    };

    use super::super::story::{Story, job};

    impl Story {
        fn read_cursors(&mut self) -> &mut Self {
            let (now, jobs) = (self.now(), Vec::new());
            self.exchange(&[], ReadCursors { jobs: vec![job()] }, Reply::CursorsRead(CursorsRead { now, jobs }))
        }
    }

    /// Slots are a minute apart, and made up for within three.
    fn caught_up_by(first: i64) -> Story {
        let mut story = Story::with(|facts| {
            facts.jobs[0].planner.catch_up = CatchUp::EverySlot { window: Duration::from_secs(180), max_slots: 3 };
        });
        story.make_at(1, Story::slot(0)).wait(600);
        let now = story.now();
        story.read_cursors();
        let slots: Vec<_> = (first..=10).zip(2..).map(|(minute, n)| (n, Story::slot(minute))).take(3).collect();
        let to = slots.last().map_or(now, |(_, slot)| *slot);
        story.wait(100).plan(to, &slots, Vec::new());
        story
    }

    /// Zoo B16.
    #[test]
    fn what_is_made_up_for_too_late_is_seen() {
        // Both are late, too, in a story in which nothing was in the way.
        caught_up_by(7).flagged_by(&["G14"]);
        caught_up_by(6).flagged_by(&["G5", "G14"]);
    }

    #[test]
    fn a_window_of_nothing_means_the_latest_slot_alone_however_many_are_allowed() {
        let planned = |slots: &[(u8, i64)]| {
            let mut story = Story::with(|facts| {
                facts.jobs[0].planner.catch_up = CatchUp::EverySlot { window: Duration::ZERO, max_slots: 3 };
            });
            let slots: Vec<_> = slots.iter().map(|(n, minute)| (*n, Story::slot(*minute))).collect();
            story.in_the_way().wait(90).read_cursors().plan(Story::slot(1), &slots, Vec::new());
            story
        };
        planned(&[(1, 0), (2, 1)]).flagged_by(&["G5"]);
        let mut story = planned(&[(2, 1)]);
        story.wait(60).read_cursors().make(3);
        story.is_fine();
    }
}
