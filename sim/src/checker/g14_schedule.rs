//! G14 for schedules: a slot is made soon after it is due, whatever handlers do meanwhile (B8).
//!
//! Judged when nothing has been in anybody's way for a while before the slot was due. Nor is a slot judged that an
//! operator, an edit or the first planning of a scope may have kept until then.

use std::time::Duration;

use tourbillon::store::{PlanOutcome, Reply, Request, Verb};

use super::{docket::Docket, quiet::Quiet, topic::Topic, track::Track};
use crate::history::{RunFacts, micros};

/// How long after the last fault everything that was under way then has come to an end.
const RECOVERY: Duration = Duration::from_secs(30);

/// What a replica adds on purpose, and a few calls, generously.
const SPREAD: Duration = Duration::from_secs(2);

pub(super) fn judge(docket: &mut Docket, track: &Track<'_>, facts: &RunFacts) {
    let bound_us = micros(SPREAD + facts.granularity * 10);
    let mut quiet = Quiet::default();
    // An operator's hand, or an edit.
    let mut moved_us = 0;
    let mut others = track.about(&[Topic::Other]).peekable();
    for (index, now, request, reply) in track.applied() {
        while let Some((_, other)) = others.next_if(|(other, _)| *other < index) {
            quiet.see(other);
        }
        let event = &track.history.events[index];
        if is_move(request, reply) {
            moved_us = event.at_us;
        }
        let (Verb::Plan(plan), Reply::Planned(planned), Some(since_us)) = (&request.verb, reply, quiet.since_us())
        else {
            continue;
        };
        let judged_from_us = since_us.max(moved_us) + micros(RECOVERY);
        for (entry, outcome) in plan.entries.iter().zip(&planned.outcomes) {
            let PlanOutcome::Made(made) = outcome else { continue };
            let slots = entry.slots.iter().filter(|slot| made.contains(&slot.id));
            let late = slots.filter_map(|slot| Some((now.since(slot.due_at), slot.slot_at?)));
            let Some((late, slot_at)) = late.max() else { continue };
            let late_us = micros(late);
            let due_us = event.at_us.saturating_sub(late_us);
            if entry.expect.is_none() || due_us < judged_from_us {
                continue;
            }
            docket.demand(late_us <= bound_us, &[index], || {
                let (job, scope) = (&entry.job, &entry.scope);
                format!(
                    "slot {slot_at} of {job} ({scope}) was made {late_us} us after it was due, and nothing was in \
                     anybody's way; the bound is {bound_us} us"
                )
            });
        }
    }
}

fn is_move(request: &Request, reply: &Reply) -> bool {
    match (&request.verb, reply) {
        (Verb::Register(_) | Verb::PauseJob(_) | Verb::ResumeJob(_), _) => true,
        (Verb::PutSchedule(_) | Verb::RemoveSchedule(_), _) => true,
        (Verb::Plan(_), Reply::Planned(planned)) => planned.outcomes.contains(&PlanOutcome::ScheduleChanged),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use crate::history::{HostId, What};

    /// Zoo B8. Slots are a minute apart.
    #[test]
    fn a_slot_that_is_made_late_without_need_is_seen() {
        let made_after = |late: u64| {
            let mut story = Story::new();
            story.make_at(1, Story::slot(0)).wait(60 + late).make_at(2, Story::slot(1));
            story
        };
        made_after(2).is_fine();
        made_after(20).flagged_by(&["G14"]);
    }

    #[test]
    fn a_slot_may_be_late_while_something_is_in_the_way() {
        let mut story = Story::new();
        story.make_at(1, Story::slot(0)).wait(50).in_the_way().wait(30).make_at(2, Story::slot(1)).wait(20);
        story.record(HostId::Replica(1), What::FaultEnded { kind: "partition".to_owned() });
        story.wait(40).make_at(3, Story::slot(2));
        story.is_fine();
    }

    /// Two seconds, and ten times the granularity.
    #[test]
    fn a_slot_has_until_the_bound() {
        let made_after = |ms: u64| {
            let mut story = Story::new();
            story.make_at(1, Story::slot(0)).wait_ms(60_000 + ms).make_at(2, Story::slot(1));
            story
        };
        made_after(3_000).is_fine();
        made_after(3_001).flagged_by(&["G14"]);
    }

    /// Half a minute after the last hindrance.
    #[test]
    fn a_slot_that_is_due_when_all_have_recovered_is_judged() {
        let touched_at = |ms| {
            let mut story = Story::new();
            story.make_at(1, Story::slot(0)).wait_ms(ms).by(1).crash().by(0);
            story.wait_ms(70_000 - ms).make_at(2, Story::slot(1));
            story
        };
        touched_at(30_000).flagged_by(&["G14"]);
        touched_at(30_001).is_fine();
    }
}
