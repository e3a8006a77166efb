//! G5, the rows that were made: what a claim takes though no attempt of it was charged is neither late nor superseded.
//! Such rows end as skipped; that they do so for a true reason is for `g05_slots` to say.
//!
//! An operator who requeues means it, so this is asked of first generations only.

use tourbillon::{
    model::{Execution, Generation, Scope, Supersede, Timestamp},
    store::{PlanEntry, PlanOutcome, RegisterOutcome, Reply, ResumeOutcome, Verb},
};

use super::{docket::Docket, track::Track};

/// The newest slot made for one (job, scope), and where: what supersedes older ones. A slot that lies after the cursor
/// was made in a future that the database clock withdrew, and supersedes nothing any more.
#[derive(Clone, Copy, Default)]
struct Newest(Option<(Timestamp, usize)>);

impl Newest {
    /// The cursor moves to `to` and makes slots. One that comes again after a step back is not made twice, and counts.
    fn plan(&mut self, entry: &PlanEntry, event: usize) {
        self.withdraw_after(entry.to);
        let slots = entry.slots.iter().filter_map(|new| new.slot_at).map(|slot| (slot, event));
        self.0 = slots.chain(self.0).max_by_key(|(slot, _)| *slot);
    }

    fn withdraw_after(&mut self, to: Timestamp) {
        self.0 = self.0.filter(|(slot, _)| *slot <= to);
    }
}

pub(super) fn judge(docket: &mut Docket, track: &Track<'_>) {
    let mut all = vec![Newest::default(); track.series.len()];
    for (event, now, request, reply) in track.applied() {
        match (&request.verb, reply) {
            (Verb::Plan(plan), Reply::Planned(reply)) => {
                for (entry, outcome) in plan.entries.iter().zip(&reply.outcomes) {
                    let Some(series) = track.series_at(&entry.job, &entry.scope) else { continue };
                    match outcome {
                        PlanOutcome::Made(_) => all[series].plan(entry, event),
                        PlanOutcome::ScheduleChanged => all[series].withdraw_after(now),
                        _ => {}
                    }
                }
            }
            (Verb::Register(register), Reply::Registered(reply)) => {
                let edits = register.jobs.iter().zip(&reply.outcomes);
                for (job, _) in edits.filter(|(_, outcome)| **outcome == RegisterOutcome::ScheduleChanged) {
                    let of_job = all.iter_mut().zip(&track.series).filter(|(_, series)| *series.job == job.job);
                    of_job.for_each(|(newest, _)| newest.withdraw_after(now));
                }
            }
            // What is resumed begins now, as an edit does.
            (Verb::ResumeJob(resume), Reply::JobResumed(reply))
                if matches!(reply.outcome, ResumeOutcome::Resumed(_)) =>
            {
                let is_resumed = |scope: &Scope| resume.scope.as_ref().is_none_or(|resumed| resumed == scope);
                let resumed = all.iter_mut().zip(&track.series);
                let resumed = resumed.filter(|(_, of)| *of.job == resume.job && is_resumed(of.scope));
                resumed.for_each(|(newest, _)| newest.withdraw_after(now));
            }
            (Verb::Claim(claim), Reply::Claimed(reply)) => {
                for execution in &reply.executions {
                    run_is_due(docket, track, &all, (execution, claim.charge.has_charged(execution)), (now, event));
                }
            }
            _ => {}
        }
    }
}

fn run_is_due(
    docket: &mut Docket,
    track: &Track<'_>,
    all: &[Newest],
    (execution, is_charged): (&Execution, bool),
    (now, event): (Timestamp, usize),
) {
    let charged_before = execution.attempt.saturating_sub(u32::from(is_charged));
    let Some(index) = track.row_at(execution.id) else { return };
    if charged_before > 0 || execution.generation != Generation::FIRST {
        sometimes!("a retry or a requeued row is excused from the window of its first run");
        return;
    }
    let row = &track.rows[index];
    let made = row.made.unwrap_or(event);
    docket.demand(row.expires_at.is_none_or(|at| now <= at), &[made, event], || {
        let until = row.expires_at.unwrap_or(now);
        format!("{} was to run by {until}, and was claimed at {now} instead of skipped", track.name(index))
    });
    let (Some(slot), Some(series)) = (row.slot_at, row.series) else { return };
    if row.policy.is_some_and(|policy| policy.supersede == Supersede::ByNewerSlot) {
        let (newest, planned) = all[series].0.unwrap_or((slot, event));
        docket.demand(newest <= slot, &[made, planned, event], || {
            format!("{} was claimed at {now}, instead of skipped for slot {newest}", track.name(index))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tourbillon::{
        model::{
            Outcome, Scope, SkipReason,
            transition::{Cancelled, Charge},
        },
        store::{RegisterOutcome, ResumeOutcome},
    };

    use super::super::story::Story;
    use crate::history::RunFacts;

    fn skip_late(facts: &mut RunFacts) {
        facts.jobs[0].planner.max_lateness = Some(Duration::from_secs(90));
    }

    /// Zoo A10.
    #[test]
    fn a_claim_takes_nothing_that_is_late() {
        let mut story = Story::with(skip_late);
        story.make(1).wait(90).claim(1);
        story.is_fine();
        let mut story = Story::with(skip_late);
        story.make(1).wait(91).claim(1);
        story.flagged_by(&["G5"]);
        // A lease that ended unstarted changes nothing about it, nor does a start that was given back …
        let mut story = Story::with(skip_late);
        story.make(1).wait(60).claim(1).wait(31).claim_with(1, Charge::AtClaim);
        story.flagged_by(&["G5"]);
        let mut story = Story::with(skip_late);
        story.make(1).claim(1).start(1).settle(1, Outcome::Released).wait(91).claim(1);
        story.flagged_by(&["G5"]);
        // … but a failed attempt has a right to its retries, and an operator who asks again means it.
        let mut story = Story::with(skip_late);
        story.make(1).claim(1).start(1).fail(1, 0).wait(91).claim(1);
        story.is_fine();
        let mut story = Story::with(skip_late);
        story.make(1).wait(91).skip(1, SkipReason::Late).requeue(1, 2).claim(1);
        story.is_fine();
    }

    /// Zoo A10.
    #[test]
    fn a_claim_takes_nothing_that_is_superseded() {
        let mut story = Story::new();
        story.make(1).wait(60).make(2).claim(2);
        story.is_fine();
        let mut story = Story::new();
        story.make(1).wait(60).make(2).claim(1);
        story.flagged_by(&["G5"]);
        let mut story = Story::new();
        story.make(1).claim(1).start(1).wait(60).make(2).claim(1);
        story.is_fine();
    }

    /// Zoo C8.
    #[test]
    fn a_slot_of_a_withdrawn_future_supersedes_nothing() {
        let mut story = Story::new();
        story.step_clock(3_600).make(1).cancel(1, Cancelled::Now).step_clock(-3_600);
        story.plan(Story::slot(0), &[(2, Story::slot(0))], Vec::new()).claim(2);
        story.is_fine();
        let mut story = Story::new();
        story.register("old", RegisterOutcome::New).make(1).step_clock(3_600).make(2).cancel(2, Cancelled::Now);
        story.step_clock(-3_600).register("new", RegisterOutcome::ScheduleChanged).claim(1);
        story.is_fine();
        for scope in [None, Some(Scope::global())] {
            let mut story = Story::new();
            story.make(1).step_clock(3_600).make(2).cancel(2, Cancelled::Now).pause_job(scope.clone());
            story.step_clock(-3_600).resume_job(scope).claim(1);
            story.is_fine();
        }
    }

    /// A slot of a withdrawn future supersedes others until something withdraws it, too.
    #[test]
    fn an_edit_of_its_own_schedule_withdraws_a_slot_and_what_concerns_others_does_not() {
        let made_tomorrow = || {
            let mut story = Story::new();
            story.edit_scope(Some("own")).wait(60).make(1);
            story.step_clock(3_600).make(2).cancel(2, Cancelled::Now).step_clock(-3_600);
            story
        };
        made_tomorrow().claim(1).flagged_by(&["G5"]);
        made_tomorrow().edit_scope(Some("other")).claim(1).is_fine();
        made_tomorrow().resume_job(Some(Scope::global())).claim(1).is_fine();
        let elsewhere = Scope::new("tenant", "elsewhere").unwrap();
        made_tomorrow().resume_job(Some(elsewhere)).claim(1).flagged_by(&["G5"]);
        made_tomorrow().resume_job_as(None, ResumeOutcome::NotPaused).claim(1).flagged_by(&["G5"]);
    }
}
