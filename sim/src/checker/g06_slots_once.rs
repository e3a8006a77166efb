//! G6: one slot, one execution. No slot is made twice, before it is due, off the grid, at or before an edit or a
//! resumption, during a pause, from a cursor that has moved, or by a spec that has been superseded.

use std::{collections::BTreeMap, time::Duration};

use tourbillon::{
    model::{JobName, Scope, Timestamp},
    plan::Schedule,
    store::{
        PauseJob, PauseOutcome, Plan, PlanEntry, PlanOutcome, Planned, Register, RegisterOutcome, Registered, Reply,
        ResumeJob, ResumeOutcome, SpecHash, Verb,
    },
};

use super::{Findings, docket::Docket, edits, track::Track};
use crate::history::{JobFacts, What};

struct Judge<'t, 'h> {
    track: &'t Track<'h>,
    docket: Docket,
    /// Event that made the slot.
    made: BTreeMap<(usize, Timestamp), usize>,
    cursors: BTreeMap<usize, (Timestamp, usize)>,
    specs: BTreeMap<&'h JobName, (&'h SpecHash, usize)>,
    edits: BTreeMap<&'h JobName, Edit>,
    /// The schedule that a scope has to itself, since when, and the event that gave it.
    own: BTreeMap<usize, (Option<&'h SpecHash>, Edit)>,
    /// The schedule that the database keeps for a scope, and the event that edited it.
    stored: BTreeMap<usize, (Option<Stored<'h>>, usize)>,
    /// Pauses in force, of a job or of one scope of it, and the event that began each.
    pauses: BTreeMap<(&'h JobName, Option<&'h Scope>), usize>,
    /// Event of the last edit, by series. The facts describe the schedule after it; what it was before is not known.
    last_edits: Vec<Option<usize>>,
}

/// A schedule that the database keeps.
struct Stored<'h> {
    hash: &'h SpecHash,
    /// `None` when it cannot be read.
    schedule: Option<Schedule>,
}

/// The last change of a job's slots.
struct Edit {
    event: usize,
    /// `None` once the database clock has withdrawn that instant: slots before it may come again.
    at: Option<Timestamp>,
}

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut judge = Judge {
        track,
        docket: Docket::new("G6"),
        made: BTreeMap::new(),
        cursors: BTreeMap::new(),
        specs: BTreeMap::new(),
        edits: BTreeMap::new(),
        own: BTreeMap::new(),
        stored: BTreeMap::new(),
        pauses: BTreeMap::new(),
        last_edits: last_edits(track),
    };
    for (event, now, request, reply) in track.applied() {
        for edit in judge.edits.values_mut().chain(judge.own.values_mut().map(|(_, edit)| edit)) {
            sometimes!(
                "an edit in a withdrawn future allows earlier slots again",
                edit.at.is_some_and(|at| at > now)
            );
            edit.at = edit.at.filter(|at| *at <= now);
        }
        if let Some(edit) = edits::stored_edit(request, reply) {
            judge.edit_stored(event, now, &edit);
        }
        match (&request.verb, reply) {
            (Verb::Plan(plan), Reply::Planned(planned)) => judge.plan(event, now, plan, planned),
            (Verb::Register(register), Reply::Registered(registered)) => {
                judge.register(event, now, register, registered);
            }
            (Verb::PauseJob(pause), Reply::JobPaused(paused)) if paused.outcome == PauseOutcome::Paused => {
                judge.pause(event, now, pause);
            }
            (Verb::ResumeJob(resume), Reply::JobResumed(resumed)) => {
                if let ResumeOutcome::Resumed(_) = resumed.outcome {
                    judge.resume(event, now, resume);
                }
            }
            _ => {}
        }
    }
    judge.repeats();
    judge.final_rows();
    judge.docket.close()
}

/// By series, the event that last edited its schedule: that of its job, or the one it has to itself.
pub(super) fn last_edits(track: &Track<'_>) -> Vec<Option<usize>> {
    let mut last = vec![None; track.series.len()];
    for (event, _, request, reply) in track.applied() {
        let stored = edits::stored_edit(request, reply);
        if let Some(series) = stored.and_then(|edit| track.series_at(edit.job, edit.scope)) {
            last[series] = Some(event);
        }
        match (&request.verb, reply) {
            (Verb::Register(register), Reply::Registered(registered)) => {
                let outcomes = register.jobs.iter().zip(&registered.outcomes);
                let changed = outcomes.filter(|(_, outcome)| **outcome == RegisterOutcome::ScheduleChanged);
                for (registration, _) in changed {
                    let of_job =
                        track.series.iter().zip(&mut last).filter(|(series, _)| *series.job == registration.job);
                    of_job.for_each(|(_, edit)| *edit = Some(event));
                }
            }
            (Verb::Plan(plan), Reply::Planned(planned)) => {
                let outcomes = plan.entries.iter().zip(&planned.outcomes);
                let changed = outcomes.filter(|(_, outcome)| **outcome == PlanOutcome::ScheduleChanged);
                for series in changed.filter_map(|(entry, _)| track.series_at(&entry.job, &entry.scope)) {
                    last[series] = Some(event);
                }
            }
            _ => {}
        }
    }
    last
}

impl<'h> Judge<'_, 'h> {
    fn register(&mut self, event: usize, now: Timestamp, register: &'h Register, registered: &Registered) {
        for (registration, outcome) in register.jobs.iter().zip(&registered.outcomes) {
            self.specs.insert(&registration.job, (&registration.spec_hash, event));
            if *outcome == RegisterOutcome::ScheduleChanged {
                self.edits.insert(&registration.job, Edit { event, at: Some(now) });
                for (series, cursor) in &mut self.cursors {
                    if *self.track.series[*series].job == registration.job {
                        *cursor = (now, event);
                    }
                }
            }
        }
    }

    fn plan(&mut self, event: usize, now: Timestamp, plan: &'h Plan, planned: &Planned) {
        for (entry, outcome) in plan.entries.iter().zip(&planned.outcomes) {
            let Some(series) = self.track.series_at(&entry.job, &entry.scope) else { continue };
            if *outcome == PlanOutcome::ScheduleChanged {
                self.stored_counts(event, now, series, entry);
                self.cursors.insert(series, (now, event));
                self.own.insert(series, (entry.schedule_hash.as_ref(), Edit { event, at: Some(now) }));
            }
            let PlanOutcome::Made(made) = outcome else { continue };
            self.moved(event, now, series, entry);
            self.not_paused(event, now, entry);
            for new in entry.slots.iter().filter(|new| made.contains(&new.id)) {
                if let Some(slot) = new.slot_at {
                    self.slot(event, now, series, (slot, entry));
                }
            }
        }
    }

    /// A scope has the schedule that the database was given for it, from then on: what was made by the one before it, or
    /// by one that was removed, is seen when the cursor moves.
    fn edit_stored(&mut self, event: usize, now: Timestamp, edit: &edits::Edit<'h>) {
        let Some(series) = self.track.series_at(edit.job, edit.scope) else { return };
        self.cursors.insert(series, (now, event));
        let hash = edit.schedule.map(|schedule| &schedule.hash);
        self.own.insert(series, (hash, Edit { event, at: Some(now) }));
        let stored = edit.schedule.map(|data| Stored { hash: &data.hash, schedule: data.schedule().ok() });
        self.stored.insert(series, (stored, event));
    }

    /// A scope that was never planned begins with its pause.
    fn pause(&mut self, event: usize, now: Timestamp, pause: &'h PauseJob) {
        self.pauses.insert((&pause.job, pause.scope.as_ref()), event);
        if let Some(scope) = &pause.scope
            && let Some(series) = self.track.series_at(&pause.job, scope)
        {
            self.cursors.entry(series).or_insert((now, event));
        }
    }

    /// To go on is an edit: no slot at or before it.
    fn resume(&mut self, event: usize, now: Timestamp, resume: &'h ResumeJob) {
        self.pauses.remove(&(&resume.job, resume.scope.as_ref()));
        let edit = || Edit { event, at: Some(now) };
        match &resume.scope {
            None => {
                self.edits.insert(&resume.job, edit());
                for (series, cursor) in &mut self.cursors {
                    if *self.track.series[*series].job == resume.job {
                        *cursor = (now, event);
                    }
                }
            }
            Some(scope) => {
                let Some(series) = self.track.series_at(&resume.job, scope) else { return };
                self.cursors.insert(series, (now, event));
                let own = self.own.get(&series).and_then(|(own, _)| *own);
                self.own.insert(series, (own, edit()));
            }
        }
    }

    /// A planner that finds another schedule in the cursor than the one that the database keeps may set that right, and no
    /// other.
    fn stored_counts(&mut self, event: usize, now: Timestamp, series: usize, entry: &'h PlanEntry) {
        let Some((stored, edited)) = self.stored.get(&series) else { return };
        let kept = stored.as_ref().map(|stored| stored.hash);
        self.docket.demand(kept == entry.schedule_hash.as_ref(), &[*edited, event], || {
            let (name, by) = (&self.track.series[series], &entry.schedule_hash);
            format!("{name}: a planner went over to the schedule {by:?} at {now}, and the database keeps {kept:?}")
        });
    }

    /// Nothing is planned while a pause holds it.
    fn not_paused(&mut self, event: usize, now: Timestamp, entry: &'h PlanEntry) {
        let of_job = self.pauses.get(&(&entry.job, None));
        let Some(paused) = of_job.or_else(|| self.pauses.get(&(&entry.job, Some(&entry.scope)))).copied() else {
            self.docket.demand(true, &[], String::new);
            return;
        };
        let (job, scope) = (&entry.job, &entry.scope);
        self.docket
            .demand(false, &[paused, event], || format!("{job} for {scope} was planned at {now}, while paused"));
    }

    /// The cursor moved: from where it was, by the spec that counts, to nothing that is not due.
    fn moved(&mut self, event: usize, now: Timestamp, series: usize, entry: &'h PlanEntry) {
        let name = &self.track.series[series];
        let before = self.cursors.insert(series, (entry.to, event));
        let at = before.map(|(at, _)| at);
        self.docket.demand(at == entry.expect, &[before.map_or(event, |(_, moved)| moved), event], || {
            let expect = entry.expect;
            format!("{name}: the cursor stood at {at:?} and was moved by a planner that expected {expect:?}")
        });
        if let Some((spec, registered)) = self.specs.get(&entry.job) {
            self.docket.demand(**spec == entry.spec_hash, &[*registered, event], || {
                let old = &entry.spec_hash;
                format!("{name} was planned at {now} by spec {old} after spec {spec} was registered")
            });
        }
        let (own, edited) = self.own.get(&series).map_or((None, event), |(own, edit)| (*own, edit.event));
        self.docket.demand(own == entry.schedule_hash.as_ref(), &[edited, event], || {
            let by = &entry.schedule_hash;
            format!("{name} was planned at {now} by its own schedule {by:?}, but that is {own:?}")
        });
        let due_at = entry.to + self.delay(event, series, entry);
        self.docket.demand(due_at <= now, &[event], || {
            format!("{name}: the cursor moved to {} at {now}, before {due_at}, when that is due", entry.to)
        });
    }

    /// Facts with two planners say which counts; those with one describe the schedule after its last edit.
    fn facts(&self, event: usize, series: usize) -> Option<&'h JobFacts> {
        let is_described = self.last_edits[series].is_none_or(|edited| edited < event);
        sometimes!("slots before the last edit are not compared with the schedule", !is_described);
        self.track.series[series].facts.filter(|facts| facts.revised.is_some() || is_described)
    }

    fn delay(&self, event: usize, series: usize, entry: &PlanEntry) -> Duration {
        let stated = Duration::from_millis(entry.delay_ms);
        self.facts(event, series).map_or(stated, |facts| self.track.planner_of(facts, &entry.spec_hash).delay)
    }

    fn slot(&mut self, event: usize, now: Timestamp, series: usize, (slot, entry): (Timestamp, &'h PlanEntry)) {
        let name = &self.track.series[series];
        let first = *self.made.entry((series, slot)).or_insert(event);
        self.docket
            .demand(first == event, &[first, event], || format!("{name}: slot {slot} was made again at {now}"));
        let due_at = slot + self.delay(event, series, entry);
        self.docket.demand(due_at <= now, &[event], || {
            format!("{name}: slot {slot}, due at {due_at}, was made early, at {now}")
        });
        // Of a schedule that the database keeps each revision is known, not the last alone.
        let stored = self.stored.get(&series).and_then(|(stored, _)| stored.as_ref()?.schedule.as_ref());
        let told = || self.facts(event, series).and_then(|f| self.track.schedule_of(f, name.scope, &entry.spec_hash));
        if let Some(schedule) = stored.or_else(told) {
            let is_on_grid = schedule.latest(slot) == Some(slot);
            self.docket.demand(is_on_grid, &[event], || format!("{name}: slot {slot} is not on the schedule"));
        }
        let edits = [self.edits.get(&entry.job), self.own.get(&series).map(|(_, edit)| edit)];
        for (edited, at) in edits.into_iter().flatten().filter_map(|edit| Some((edit.event, edit.at?))) {
            self.docket.demand(slot > at, &[edited, event], || {
                format!("{name}: slot {slot} was made at {now}, after the schedule was edited at {at}")
            });
        }
    }

    fn repeats(&mut self) {
        for &(first, again) in &self.track.broken_repeats {
            if let What::Applied { request, .. } = &self.track.history.events[again].what
                && matches!(request.verb, Verb::Plan(_))
            {
                let id = request.id;
                self.docket.demand(false, &[first, again], || {
                    format!("repeated plan {id} did not return its first outcome")
                });
            }
        }
    }

    /// Nothing in the database that no plan made, and no slot under two ids.
    fn final_rows(&mut self) {
        let Some((end, state)) = self.track.ended else { return };
        let mut ids = BTreeMap::new();
        for row in &state.executions {
            let made = self.track.row_at(row.id).and_then(|row| self.track.rows[row].made);
            self.docket
                .demand(made.is_some(), &[end], || format!("execution {} is there and was never made", row.id));
            let Some(slot) = row.slot_at else { continue };
            let first = *ids.entry((&row.job, &row.scope, slot)).or_insert(row.id);
            self.docket.demand(first == row.id, &[made.unwrap_or(end), end], || {
                format!("job {} for {}: slot {slot} is there as {first} and as {}", row.job, row.scope, row.id)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tourbillon::{
        model::{Scope, Timestamp},
        store::{PauseOutcome, PlanOutcome, RegisterOutcome, Reply, Verb},
    };

    use super::super::story::Story;

    #[test]
    fn a_slot_is_made_once_also_across_clock_steps() {
        let mut story = Story::new();
        story.make(1).wait(60).make(2).unheard().wait(60).make(3).repeat();
        story.is_fine();
        let mut story = Story::new();
        story.make(1).wait(60).make(2).step_clock(-60).plan(Story::slot(0), &[], Vec::new()).wait(60).make(3);
        story.flagged_by(&["G6"]);
    }

    #[test]
    fn a_slot_is_made_when_it_is_due() {
        let mut story = Story::with(|facts| facts.jobs[0].planner.delay = Duration::from_secs(30));
        story.wait(30).make_at(1, Story::slot(0));
        story.is_fine();
        let mut story = Story::with(|facts| facts.jobs[0].planner.delay = Duration::from_secs(30));
        story.wait(29).make_at(1, Story::slot(0));
        story.flagged_by(&["G6"]);
        let mut story = Story::new();
        story.plan(Story::slot(1), &[], Vec::new());
        story.flagged_by(&["G6"]);
    }

    #[test]
    fn a_slot_lies_on_the_grid() {
        let mut story = Story::new();
        story.wait(31).make_at(1, Story::slot(0) + Duration::from_secs(30));
        story.flagged_by(&["G6"]);
    }

    /// Zoo B11.
    #[test]
    fn no_slot_is_made_at_or_before_an_edit() {
        let edited = || {
            let mut story = Story::new();
            story.register("old", RegisterOutcome::New).make(1).wait(120);
            story.register("new", RegisterOutcome::ScheduleChanged);
            story
        };
        let mut story = edited();
        story.wait(60).make(2);
        story.is_fine();
        for minute in [1, 2] {
            let mut story = edited();
            story.wait(1).make_at(2, Story::slot(minute));
            story.flagged_by(&["G6"]);
        }
    }

    /// Zoo B11, for a scope with a schedule to itself.
    #[test]
    fn no_slot_of_a_scope_is_made_at_or_before_its_edit_or_by_another_schedule() {
        let edited = || {
            let mut story = Story::new();
            story.edit_scope(Some("old")).wait(60).make(1).wait(60).edit_scope(Some("new"));
            story
        };
        let mut story = edited();
        story.wait(60).make(2).wait(60).edit_scope(None).wait(60).make(3);
        story.is_fine();
        for minute in [1, 2] {
            let mut story = edited();
            story.wait(1).make_at(2, Story::slot(minute));
            story.flagged_by(&["G6"]);
        }
        for own in [None, Some("old")] {
            let mut story = edited();
            story.own = own;
            story.wait(60).make(2);
            story.flagged_by(&["G6"]);
        }
    }

    #[test]
    fn a_paused_job_makes_no_slot_and_a_resumed_one_none_of_its_pause() {
        for scope in [None, Some(Scope::global())] {
            let paused = || {
                let mut story = Story::new();
                story.make(1).wait(120).pause_job(scope.clone()).wait(120);
                story
            };
            let mut story = paused();
            story.resume_job(scope.clone()).wait(60).make(2);
            story.is_fine();
            let mut story = paused();
            story.make(2);
            story.flagged_by(&["G6"]);
            let mut story = paused();
            story.resume_job(scope.clone()).wait(1).make_at(2, Story::slot(3));
            story.flagged_by(&["G6"]);
        }
    }

    #[test]
    fn a_stored_schedule_is_planned_from_its_edit_on_and_by_nothing_older() {
        let edited = || {
            let mut story = Story::new();
            story.store_schedule(Some("nightly")).wait(60).make(1).wait(90).store_schedule(Some("hourly")).wait(30);
            story
        };
        let mut story = edited();
        story.make(2).store_schedule(None);
        story.is_fine();
        // A planner that keeps the revision that it read first.
        let mut story = edited();
        story.own = Some("nightly");
        story.make(2);
        story.flagged_by(&["G6"]);
        // A slot from before the edit.
        let mut story = edited();
        story.make_at(2, Story::slot(2));
        story.flagged_by(&["G6"]);
        // A schedule that was removed.
        let mut story = edited();
        story.store_schedule(None).wait(60);
        story.own = Some("hourly");
        story.make(2);
        story.flagged_by(&["G6"]);
    }

    #[test]
    fn an_edit_in_a_withdrawn_future_is_forgotten() {
        let mut story = Story::new();
        story.register("old", RegisterOutcome::New).make(1).step_clock(3_600);
        story.register("new", RegisterOutcome::ScheduleChanged).step_clock(-3_600).wait(60);
        story.plan(Story::slot(1), &[], Vec::new()).wait(60).make(2);
        story.is_fine();
    }

    /// Zoo C7.
    #[test]
    fn a_superseded_spec_plans_nothing() {
        let mut story = Story::new();
        story.register("old", RegisterOutcome::New).make(1).register("new", RegisterOutcome::PolicyChanged).spec =
            "old";
        story.wait(60).make(2);
        story.flagged_by(&["G6"]);
    }

    #[test]
    fn a_cursor_moves_from_where_it_is() {
        let mut story = Story::new();
        story.make(1).wait(60).make(2).wait(60).cursor = Some(Story::slot(0));
        story.make(3);
        story.flagged_by(&["G6"]);
    }

    #[test]
    fn a_repeated_plan_returns_its_first_outcome() {
        let mut story = Story::new();
        story.make(1).repeat().forge(|_, reply| {
            if let Reply::Planned(planned) = reply {
                planned.outcomes[0] = PlanOutcome::CursorMoved(Some(Timestamp::EPOCH));
            }
        });
        story.flagged_by(&["G6"]);
    }

    #[test]
    fn the_database_holds_only_what_was_planned_and_each_slot_once() {
        let mut story = Story::new();
        story.make(1).wait(60).make(2);
        let slot = story.row(1).slot_at;
        story.row(2).slot_at = slot;
        story.end();
        story.flagged_by(&["G6"]);
        let mut story = Story::new();
        story.make(1).make(2).forge(|verb, reply| {
            if let (Verb::Plan(plan), Reply::Planned(planned)) = (verb, reply) {
                plan.entries[0].slots.clear();
                planned.outcomes[0] = PlanOutcome::Made(Vec::new());
            }
        });
        story.row(2).slot_at = None;
        story.end();
        story.flagged_by(&["G6"]);
    }

    #[test]
    fn a_pause_that_was_refused_holds_nothing() {
        let mut story = Story::new();
        story.make(1).pause_job_as(None, PauseOutcome::UnknownJob).wait(60).make(2);
        story.is_fine();
    }

    /// The facts know the schedule after the last edit only.
    #[test]
    fn slots_lie_on_the_grid_after_the_last_edit_and_are_not_compared_with_it_before() {
        type Edit = fn(&mut Story, &'static str);
        let edits: [Edit; 2] = [
            |story, to| {
                let outcome = if to == "old" { RegisterOutcome::New } else { RegisterOutcome::ScheduleChanged };
                story.register(to, outcome);
            },
            |story, to| _ = story.edit_scope(Some(to)),
        ];
        for edit in edits {
            let mut story = Story::new();
            edit(&mut story, "old");
            story.wait(31).make_at(1, Story::slot(0) + Duration::from_secs(30));
            edit(&mut story, "new");
            story.wait(60).make(2);
            story.is_fine();
            story.wait(40).make_at(3, Story::slot(2) + Duration::from_secs(10));
            story.flagged_by(&["G6"]);
        }
    }

    #[test]
    fn a_planner_goes_over_to_the_schedule_that_the_database_keeps_and_to_no_other() {
        let edited = |own| {
            let mut story = Story::new();
            story.store_schedule(Some("nightly")).wait(30).edit_scope(own);
            story
        };
        edited(Some("nightly")).is_fine();
        edited(Some("hourly")).flagged_by(&["G6"]);
        edited(None).flagged_by(&["G6"]);
    }

    #[test]
    fn a_cursor_moves_to_what_is_due_also_without_a_slot() {
        let moved_after = |wait| {
            let mut story = Story::with(|facts| facts.jobs[0].planner.delay = Duration::from_secs(30));
            story.wait(30).make_at(1, Story::slot(0)).wait(wait).plan(Story::slot(1), &[], Vec::new());
            story
        };
        moved_after(59).flagged_by(&["G6"]);
        moved_after(60).is_fine();
    }

    #[test]
    fn a_slot_beyond_the_cursor_is_not_made_early_either() {
        let made_after = |wait| {
            let mut story = Story::with(|facts| facts.jobs[0].planner.delay = Duration::from_secs(30));
            story.wait(wait).plan(Story::slot(0), &[(1, Story::slot(1))], Vec::new());
            story
        };
        made_after(89).flagged_by(&["G6"]);
        made_after(90).is_fine();
    }
}
