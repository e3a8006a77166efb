//! G5, the slots: every slot of every schedule is made or in the missed-slot ledger, with a reason that was true.
//!
//! The facts describe a schedule as it is after its last edit, so slots at or before an edit are not held against
//! the job; that the edit recorded them is. Facts with two planners describe it before as well. A slot later than the final database clock is not lost.

use std::collections::BTreeSet;

use tourbillon::{
    model::{ExecutionId, Scope, SkipReason, SkippedSlots, Timestamp},
    plan::{CatchUp, Planner, Schedule},
    store::{PauseJob, PauseOutcome, PlanEntry, PlanOutcome, RegisterOutcome, Reply, ResumeOutcome, SpecHash, Verb},
};

use super::{
    docket::Docket,
    edits::{Edit, stored_edit},
    g05_future,
    g06_slots_once::last_edits,
    track::{Series, Track},
};
use crate::history::JobFacts;

/// What the history planned for one (job, scope).
#[derive(Clone, Default)]
struct Planned<'h> {
    /// Of the last registration.
    spec: Option<&'h SpecHash>,
    cursor: Option<Timestamp>,
    furthest: Option<Timestamp>,
    edited_at: Option<Timestamp>,
    /// A cursor was there, or began, at the last edit: from then on every slot counts, made or not.
    is_begun: bool,
    made: Vec<Timestamp>,
    skipped: Vec<SkippedSlots>,
    last_event: usize,
}

/// (series, entry, recorded at, event)
type Recorded = (usize, SkippedSlots, Timestamp, usize);

pub(super) fn judge(docket: &mut Docket, track: &Track<'_>, is_healed: bool) {
    let (planned, recorded) = follow(docket, track);
    let Some((end, state)) = track.ended else { return };
    ledger_is_complete(docket, track, &recorded);
    let Some(settle_within) = track.facts.map(|facts| facts.settle_within + facts.granularity) else { return };
    for (series, planned) in track.series.iter().zip(&planned) {
        let Some(facts) = series.facts.filter(|facts| facts.scopes.contains(series.scope)) else { continue };
        if is_healed {
            docket.demand(planned.furthest.is_some(), &[end], || format!("{series} was never planned"));
        }
        let planner = planned.planner(track, facts);
        let due = is_healed.then(|| state.now - planner.delay - settle_within);
        let through = due.max(planned.cursor);
        if let Some(through) = through {
            let schedule = planned.schedule(track, facts, series.scope);
            covered(docket, series, planned, schedule, (through, end));
        }
        let schedule = planned.schedule(track, facts, series.scope);
        if let (true, Some(cursor), Some(schedule)) = (is_healed, planned.cursor, schedule) {
            let present = (cursor, state.now - planner.delay);
            g05_future::cursor(docket, series, schedule, present, &[planned.last_event, end]);
        }
    }
}

fn follow<'h>(docket: &mut Docket, track: &Track<'h>) -> (Vec<Planned<'h>>, Vec<Recorded>) {
    let mut all = vec![Planned::default(); track.series.len()];
    let last_edits = last_edits(track);
    let mut recorded = Vec::new();
    for (event, now, request, reply) in track.applied() {
        if let Some(Edit { job, scope, .. }) = stored_edit(request, reply)
            && let Some(series) = track.series_at(job, scope)
        {
            recorded.extend(all[series].edit_scope(now, event).map(|slots| (series, slots, now, event)));
        }
        match (&request.verb, reply) {
            (Verb::Plan(plan), Reply::Planned(reply)) => {
                for (entry, outcome) in plan.entries.iter().zip(&reply.outcomes) {
                    let Some(series) = track.series_at(&entry.job, &entry.scope) else { continue };
                    if *outcome == PlanOutcome::ScheduleChanged {
                        let told = all[series].edit_scope(now, event);
                        recorded.extend(told.map(|slots| (series, slots, now, event)));
                    }
                    let PlanOutcome::Made(made) = outcome else { continue };
                    let is_described = last_edits[series].is_none_or(|edited| edited < event);
                    let is_known = |facts: &JobFacts| facts.revised.is_some() || is_described;
                    let facts = track.series[series].facts.filter(|facts| is_known(facts));
                    sometimes!("a schedule before its last edit is not judged", !is_described && facts.is_none());
                    for slots in &entry.skipped {
                        if let Some(facts) = facts {
                            reason_is_true(docket, track, (series, facts), (entry, slots), (now, event));
                        }
                        recorded.push((series, slots.clone(), now, event));
                    }
                    if let Some(facts) = facts {
                        gaps_are_told(docket, track, (series, facts), entry, event);
                    }
                    all[series].plan(entry, made, event);
                }
            }
            (Verb::Register(register), Reply::Registered(reply)) => {
                for (job, outcome) in register.jobs.iter().zip(&reply.outcomes) {
                    let of_job = (0..all.len()).filter(|series| *track.series[*series].job == job.job);
                    for series in of_job {
                        if *outcome == RegisterOutcome::ScheduleChanged {
                            before_edit(docket, track, series, &all[series], event);
                            let told = all[series].edit(now, event, SkipReason::ScheduleChanged);
                            recorded.extend(told.map(|slots| (series, slots, now, event)));
                        }
                        all[series].spec = Some(&job.spec_hash);
                    }
                }
            }
            // A scope that was never planned begins with its pause.
            (Verb::PauseJob(PauseJob { job, scope: Some(scope), .. }), Reply::JobPaused(reply))
                if reply.outcome == PauseOutcome::Paused =>
            {
                if let Some(series) = track.series_at(job, scope).filter(|series| all[*series].cursor.is_none()) {
                    (all[series].cursor, all[series].edited_at) = (Some(now), Some(now));
                }
            }
            (Verb::ResumeJob(resume), Reply::JobResumed(reply)) => {
                let ResumeOutcome::Resumed(_) = reply.outcome else { continue };
                let is_meant = |series: &usize| {
                    let Series { job, scope, .. } = track.series[*series];
                    *job == resume.job && resume.scope.as_ref().is_none_or(|own| own == scope)
                };
                for series in (0..all.len()).filter(is_meant) {
                    let told = all[series].edit(now, event, SkipReason::Paused);
                    recorded.extend(told.map(|slots| (series, slots, now, event)));
                }
            }
            (Verb::Claim(_), Reply::Claimed(reply)) => {
                for (id, reason) in &reply.skipped {
                    skip_is_true(docket, track, &all, (*id, *reason), (now, event));
                }
            }
            _ => {}
        }
    }
    (all, recorded)
}

/// What the old schedule had planned when it was edited, where it is known.
fn before_edit(docket: &mut Docket, track: &Track<'_>, series: usize, planned: &Planned<'_>, event: usize) {
    let series = &track.series[series];
    if let (Some(facts), Some(through)) = (series.facts.filter(|facts| facts.revised.is_some()), planned.cursor) {
        let schedule = planned.schedule(track, facts, series.scope);
        covered(docket, series, planned, schedule, (through, event));
    }
}

impl Planned<'_> {
    fn planner<'f>(&self, track: &Track<'f>, facts: &'f JobFacts) -> &'f Planner {
        self.spec.map_or(&facts.planner, |spec| track.planner_of(facts, spec))
    }

    fn schedule<'f>(&self, track: &Track<'f>, facts: &'f JobFacts, scope: &Scope) -> Option<&'f Schedule> {
        self.spec.map_or(facts.schedule(scope), |spec| track.schedule_of(facts, scope, spec))
    }

    fn plan(&mut self, entry: &PlanEntry, made: &[ExecutionId], event: usize) {
        self.cursor = Some(entry.to);
        self.furthest = self.furthest.max(Some(entry.to));
        self.last_event = event;
        let made = entry.slots.iter().filter(|new| made.contains(&new.id));
        self.made.extend(made.filter_map(|new| new.slot_at));
        self.skipped.extend(entry.skipped.iter().cloned());
    }

    /// The same for the schedule that a scope has to itself, which begins with it.
    fn edit_scope(&mut self, now: Timestamp, event: usize) -> Option<SkippedSlots> {
        let told = self.edit(now, event, SkipReason::ScheduleChanged);
        (self.is_begun, self.cursor) = (true, Some(now));
        self.furthest = self.furthest.max(Some(now));
        told
    }

    /// What the edit, or the resumption, must have recorded.
    fn edit(&mut self, now: Timestamp, event: usize, reason: SkipReason) -> Option<SkippedSlots> {
        (self.edited_at, self.is_begun) = (Some(now), self.cursor.is_some());
        let after = self.cursor?;
        self.cursor = Some(now);
        self.furthest = self.furthest.max(Some(now));
        self.last_event = event;
        (after < now).then_some(SkippedSlots { after, through: now, count: None, reason })
    }
}

/// Every slot after the first that was made, and through `through`, is made or recorded.
fn covered(
    docket: &mut Docket,
    series: &Series<'_>,
    planned: &Planned<'_>,
    schedule: Option<&Schedule>,
    (through, end): (Timestamp, usize),
) {
    let Some(schedule) = schedule else { return };
    let made: BTreeSet<Timestamp> = planned.made.iter().copied().collect();
    // What a gap left out is no slot.
    let slots = planned.skipped.iter().filter(|slots| slots.reason != SkipReason::Gap);
    let mut ranges: Vec<_> = slots.map(|slots| (slots.after, slots.through)).collect();
    ranges.sort_unstable();
    let mut ranges = ranges.into_iter().peekable();
    let first = made.first().copied();
    let from = if planned.is_begun { planned.edited_at } else { first.and(planned.edited_at.max(first)) };
    let Some(from) = from else { return };
    let mut recorded_through = from;
    let mut next = schedule.next_after(from);
    while let Some(slot) = next.filter(|slot| *slot <= through) {
        while let Some((_, range_through)) = ranges.next_if(|(after, _)| *after < slot) {
            recorded_through = recorded_through.max(range_through);
        }
        if slot <= recorded_through {
            sometimes!("a slot that was not made is excused by the ledger");
            docket.demand(true, &[], String::new);
            next = schedule.next_after(recorded_through);
            continue;
        }
        docket.demand(made.contains(&slot), &[planned.last_event, end], || {
            format!("{series}: slot {slot} was neither made nor recorded as skipped (planned through {through})")
        });
        next = schedule.next_after(slot);
    }
}

/// What was answered as recorded is in the ledger, unless pruning may have taken it.
fn ledger_is_complete(docket: &mut Docket, track: &Track<'_>, recorded: &[Recorded]) {
    let Some((end, state)) = track.ended else { return };
    let key = |slots: &SkippedSlots, at| (slots.after, slots.through, slots.reason, at);
    let ledger: BTreeSet<_> = state
        .skipped
        .iter()
        .filter_map(|entry| Some((track.series_at(&entry.job, &entry.scope)?, key(&entry.slots, entry.recorded_at))))
        .collect();
    for (series, slots, at, event) in recorded {
        let is_prunable = track.history_pruned_before.is_some_and(|before| *at < before);
        sometimes!("an entry that the ledger lacks may have been pruned", is_prunable);
        docket.demand(is_prunable || ledger.contains(&(*series, key(slots, *at))), &[*event, end], || {
            let (name, after, through) = (&track.series[*series], slots.after, slots.through);
            format!("{name}: slots after {after} through {through} were skipped at {at} and are not in the ledger")
        });
    }
}

/// A range is recorded with a reason that applies to its newest slot, and so to all of them.
fn reason_is_true(
    docket: &mut Docket,
    track: &Track<'_>,
    (series, facts): (usize, &JobFacts),
    (entry, slots): (&PlanEntry, &SkippedSlots),
    (now, event): (Timestamp, usize),
) {
    let series = &track.series[series];
    let schedule = track.schedule_of(facts, series.scope, &entry.spec_hash);
    let planner = track.planner_of(facts, &entry.spec_hash);
    if slots.reason == SkipReason::Gap {
        // Judged as a whole.
        sometimes!("what a change of the clocks left out is no slot");
        return;
    }
    let Some(newest) = schedule.and_then(|schedule| schedule.latest(slots.through)) else { return };
    let due_at = newest + planner.delay;
    let is_true = match (slots.reason, planner.catch_up) {
        (SkipReason::Superseded, CatchUp::LatestOnly) => newest < entry.to,
        (SkipReason::OutsideWindow, CatchUp::EverySlot { window, .. }) if window.is_zero() => newest < entry.to,
        (SkipReason::OutsideWindow, CatchUp::EverySlot { window, .. }) => due_at + window < now,
        (SkipReason::Late, _) => planner.max_lateness.is_some_and(|limit| due_at + limit < now),
        _ => false,
    };
    docket.demand(is_true, &[event], || {
        let reason = slots.reason.as_str();
        format!("{series}: slot {newest}, due {due_at}, was recorded as {reason} at {now}, which is not true")
    });
}

/// What a change of the clocks left out is recorded when the cursor passes it, and nothing else is recorded as that.
fn gaps_are_told(
    docket: &mut Docket,
    track: &Track<'_>,
    (series, facts): (usize, &JobFacts),
    entry: &PlanEntry,
    event: usize,
) {
    let series = &track.series[series];
    let Some(schedule) = track.schedule_of(facts, series.scope, &entry.spec_hash) else { return };
    let told: Vec<_> = entry.skipped.iter().filter(|slots| slots.reason == SkipReason::Gap).cloned().collect();
    let expected = entry.expect.map_or_else(Vec::new, |cursor| schedule.left_out(cursor, entry.to));
    docket.demand(told == expected, &[event], || {
        format!("{series}: up to {} the clocks left out {expected:?}, and recorded is {told:?}", entry.to)
    });
}

/// The same for a row that a claim ended unstarted.
fn skip_is_true(
    docket: &mut Docket,
    track: &Track<'_>,
    planned: &[Planned<'_>],
    (id, reason): (ExecutionId, SkipReason),
    (now, event): (Timestamp, usize),
) {
    let Some(index) = track.row_at(id) else { return };
    let row = &track.rows[index];
    let is_true = match reason {
        SkipReason::Late => row.slot_at.is_some() && row.expires_at.is_some_and(|at| at < now),
        SkipReason::Expired => row.slot_at.is_none() && row.expires_at.is_some_and(|at| at < now),
        SkipReason::Superseded => row.series.is_some_and(|series| planned[series].furthest > row.slot_at),
        SkipReason::OutsideWindow | SkipReason::ScheduleChanged | SkipReason::Gap | SkipReason::Paused => false,
    };
    docket.demand(is_true, &[row.made.unwrap_or(event), event], || {
        format!("{} was skipped as {} at {now}, which is not true", track.name(index), reason.as_str())
    });
}
