//! Hand-written histories of schedules, good and bad, for [`super::g05_slots`]; nothing of how it judges.

use std::time::Duration;

use tourbillon::{
    model::{Scope, SkipReason, SkippedSlots, transition::Cancelled},
    plan::{Cadence, CatchUp, Planner, Schedule},
    store::{Counts, PauseOutcome, RegisterOutcome},
};

use super::story::Story;
use crate::history::{Phase, RunFacts};

fn range(after: i64, through: i64, count: u64, reason: SkipReason) -> SkippedSlots {
    SkippedSlots { after: Story::slot(after), through: Story::slot(through), count: Some(count), reason }
}

fn every_slot(facts: &mut RunFacts) {
    facts.jobs[0].planner.catch_up = CatchUp::EverySlot { window: Duration::from_secs(300), max_slots: 10 };
}

fn skip_late(facts: &mut RunFacts) {
    facts.jobs[0].planner.max_lateness = Some(Duration::from_secs(90));
}

#[test]
fn missed_slots_are_recorded() {
    let mut story = Story::new();
    let superseded = range(0, 4, 4, SkipReason::Superseded);
    story.make(1).cancel(1, Cancelled::Now).wait(300).plan(Story::slot(5), &[(2, Story::slot(5))], vec![superseded]);
    story.cancel(2, Cancelled::Now).wait(60).end();
    story.is_fine();
}

#[test]
fn a_slot_that_the_cursor_passed_is_made_or_recorded() {
    let mut story = Story::new();
    let superseded = range(1, 4, 3, SkipReason::Superseded);
    story.make(1).cancel(1, Cancelled::Now).wait(300).plan(Story::slot(5), &[(2, Story::slot(5))], vec![superseded]);
    story.end();
    story.flagged_by(&["G5"]);
}

#[test]
fn a_schedule_does_not_fall_silent() {
    let mut story = Story::new();
    story.make(1).cancel(1, Cancelled::Now).wait(299).end();
    story.is_fine();
    let mut story = Story::new();
    story.make(1).cancel(1, Cancelled::Now).wait(361).end();
    story.flagged_by(&["G5"]);
    let mut story = Story::new();
    story.wait(400).end();
    story.flagged_by(&["G5"]);
}

/// Zoo C8.
#[test]
fn slots_of_a_withdrawn_future_are_not_lost() {
    let mut story = Story::new();
    story.make(1).cancel(1, Cancelled::Now).wait(60).step_clock(86_400);
    let superseded = range(0, 1_440, 1_440, SkipReason::Superseded);
    story.plan(Story::slot(1_441), &[(2, Story::slot(1_441))], vec![superseded]).cancel(2, Cancelled::Now);
    story.step_clock(-86_400).plan(Story::slot(1), &[], Vec::new());
    for n in 3..10 {
        story.wait(60).make(n).cancel(n, Cancelled::Now);
    }
    story.end();
    story.is_fine();
    let mut story = Story::new();
    story.make(1).cancel(1, Cancelled::Now).step_clock(86_400).wait(1).step_clock(-86_400).wait(10).end();
    story.is_fine();
}

#[test]
fn what_was_recorded_is_in_the_ledger() {
    let mut story = Story::new();
    let superseded = range(0, 4, 4, SkipReason::Superseded);
    story.make(1).cancel(1, Cancelled::Now).wait(300).plan(Story::slot(5), &[(2, Story::slot(5))], vec![superseded]);
    story.cancel(2, Cancelled::Now).ledger.clear();
    story.end();
    story.flagged_by(&["G5"]);
}

#[test]
fn an_edit_records_what_it_drops() {
    let mut story = Story::new();
    story.register("old", RegisterOutcome::New).make(1).cancel(1, Cancelled::Now).wait(150);
    story.register("new", RegisterOutcome::ScheduleChanged).wait(31).make(2).cancel(2, Cancelled::Now).end();
    story.is_fine();
    let mut story = Story::new();
    story.register("old", RegisterOutcome::New).make(1).cancel(1, Cancelled::Now).wait(150);
    story.register("new", RegisterOutcome::ScheduleChanged).ledger.clear();
    story.end();
    story.flagged_by(&["G5"]);
}

#[test]
fn a_scope_with_a_schedule_to_itself_loses_no_slot_from_its_first_moment_on() {
    let mut story = Story::new();
    story.edit_scope(Some("own")).wait(60).make(1).cancel(1, Cancelled::Now).wait(150).edit_scope(Some("other"));
    story.wait(31).make(2).cancel(2, Cancelled::Now).end();
    story.is_fine();
    let mut story = Story::new();
    story.edit_scope(Some("own")).wait(60).make(1).cancel(1, Cancelled::Now).wait(150).edit_scope(Some("other"));
    story.ledger.clear();
    story.end();
    story.flagged_by(&["G5"]);
    let mut story = Story::new();
    story.edit_scope(Some("own")).wait(421).end();
    story.flagged_by(&["G5"]);
}

#[test]
fn a_reason_must_be_true() {
    // (facts, recorded range, is it true)
    type Case = (fn(&mut RunFacts), SkippedSlots, bool);
    let cases: [Case; 7] = [
        (skip_late, range(0, 3, 3, SkipReason::Late), true),
        (skip_late, range(0, 4, 4, SkipReason::Late), false),
        (every_slot, range(0, 4, 4, SkipReason::OutsideWindow), false),
        (every_slot, range(0, 4, 4, SkipReason::Superseded), false),
        (|_| {}, range(0, 4, 4, SkipReason::OutsideWindow), false),
        (|_| {}, range(0, 5, 5, SkipReason::Superseded), false),
        (|_| {}, range(0, 3, 3, SkipReason::Gap), false),
    ];
    for (facts, range, is_true) in cases {
        let mut story = Story::with(facts);
        story.in_the_way().make(1).cancel(1, Cancelled::Now).wait(300);
        let rest = [(2, Story::slot(4)), (3, Story::slot(5))];
        story.plan(Story::slot(5), &rest, vec![range.clone()]);
        story.cancel(2, Cancelled::Now).cancel(3, Cancelled::Now).end();
        story.flagged_by(if is_true { &[] } else { &["G5"] });
    }
}

/// Zoo A10.
#[test]
fn a_claim_skips_for_a_true_reason() {
    let mut story = Story::new();
    story.make(1).skip(1, SkipReason::Superseded);
    story.flagged_by(&["G5"]);
    let mut story = Story::with(skip_late);
    story.make(1).wait(90).skip(1, SkipReason::Late);
    story.flagged_by(&["G5"]);
    let mut story = Story::with(skip_late);
    story.make(1).wait(91).skip(1, SkipReason::Late);
    story.is_fine();
}

/// Rows have 300 s to settle, slots are a minute apart, and the granularity is 100 ms.
#[test]
fn a_slot_may_come_until_the_bound_is_over_and_no_longer() {
    for delay in [0, 30] {
        let silent_for = |ms| {
            let mut story = Story::with(|facts| facts.jobs[0].planner.delay = Duration::from_secs(delay));
            story.wait(delay).make_at(1, Story::slot(0)).cancel(1, Cancelled::Now).wait_ms(ms).end();
            story
        };
        silent_for(360_099).is_fine();
        silent_for(360_100).flagged_by(&["G5"]);
    }
}

/// The cursor stands at minute 7, where a withdrawn future left it; slots are due half a minute late.
#[test]
fn a_cursor_may_lie_one_slot_ahead_of_what_is_due() {
    let ended_after = |wait| {
        let mut story = Story::with(|facts| facts.jobs[0].planner.delay = Duration::from_secs(30));
        story.step_clock(450).make_at(1, Story::slot(7)).cancel(1, Cancelled::Now).step_clock(-420);
        story.phase(Phase::Heal).wait(wait).end();
        story
    };
    ended_after(359).flagged_by(&["G5"]);
    ended_after(360).is_fine();
}

#[test]
fn a_scope_that_is_paused_before_it_is_planned_begins_with_its_pause() {
    let resumed = || {
        let mut story = Story::new();
        story.pause_job(Some(Scope::global())).wait(120).resume_job(Some(Scope::global()));
        story.wait(60).make(1).cancel(1, Cancelled::Now);
        story
    };
    resumed().end().is_fine();
    let mut story = resumed();
    story.ledger.clear();
    story.end().flagged_by(&["G5"]);
    // What was refused begins nothing.
    let mut story = Story::new();
    story.pause_job_as(Some(Scope::global()), PauseOutcome::UnknownJob).wait(120);
    story.register("new", RegisterOutcome::ScheduleChanged).end().is_fine();
}

#[test]
fn reasons_are_judged_again_after_an_edit() {
    let mut story = Story::new();
    story.register("old", RegisterOutcome::New).make(1).wait(60);
    story.register("new", RegisterOutcome::ScheduleChanged).wait(60);
    story.plan(Story::slot(2), &[(2, Story::slot(2))], vec![range(1, 1, 1, SkipReason::Late)]);
    story.flagged_by(&["G5"]);
}

/// Every minute, and in the next version every half.
fn revised(facts: &mut RunFacts) {
    let schedule = Schedule::Cadence(Cadence::new(Duration::from_secs(30)).unwrap());
    facts.jobs[0].revised = Some(Planner { schedule, ..facts.jobs[0].planner.clone() });
}

#[test]
fn what_the_schedule_before_an_edit_had_planned_is_there_when_it_is_known() {
    let edited = |skipped: Vec<SkippedSlots>| {
        let mut story = Story::with(revised);
        story.in_the_way().register("old", RegisterOutcome::New).make(1).wait(180);
        story.plan(Story::slot(3), &[(2, Story::slot(3))], skipped);
        story.deploy(1).register("new", RegisterOutcome::ScheduleChanged);
        story
    };
    edited(vec![range(0, 2, 2, SkipReason::Superseded)]).is_fine();
    edited(Vec::new()).flagged_by(&["G5"]);
}

#[test]
fn slots_are_judged_by_the_schedule_of_the_version_that_made_them() {
    let after_a_minute_and_a_half = |version| {
        let mut story = Story::with(revised);
        story.register("old", RegisterOutcome::New).make(1).wait(61);
        story.deploy(version).register("new", RegisterOutcome::ScheduleChanged).wait(29);
        story.make_at(2, Story::slot(0) + Duration::from_secs(90));
        story
    };
    after_a_minute_and_a_half(1).is_fine();
    after_a_minute_and_a_half(2).flagged_by(&["G6"]);
    let mut story = Story::with(revised);
    story.register("old", RegisterOutcome::New).make(1).wait(30);
    story.make_at(2, Story::slot(0) + Duration::from_secs(30));
    story.flagged_by(&["G6"]);
}

#[test]
fn pruning_excuses_what_was_recorded_before_its_bound() {
    let pruned = |history_ms| {
        let mut story = Story::new();
        story.in_the_way().make(1).cancel(1, Cancelled::Now).wait(120);
        let superseded = range(0, 1, 1, SkipReason::Superseded);
        story.plan(Story::slot(2), &[(2, Story::slot(2))], vec![superseded]).cancel(2, Cancelled::Now);
        story.wait(100).prune(history_ms).ledger.clear();
        story.end();
        story
    };
    pruned(99_999).is_fine();
    pruned(100_000).flagged_by(&["G5"]);
}

/// Due half a minute after the slot, too late 90 s after that.
#[test]
fn a_slot_is_late_when_its_limit_has_passed_and_not_before() {
    let skipped_after = |ms| {
        let mut story = Story::with(|facts| {
            skip_late(facts);
            facts.jobs[0].planner.delay = Duration::from_secs(30);
        });
        story.in_the_way().wait(30).make_at(1, Story::slot(0)).wait_ms(ms);
        story.plan(Story::slot(1), &[], vec![range(0, 1, 1, SkipReason::Late)]);
        story
    };
    skipped_after(150_000).flagged_by(&["G5"]);
    skipped_after(150_001).is_fine();
}

#[test]
fn a_slot_is_outside_the_window_when_that_has_passed_and_not_before() {
    let skipped_after = |ms| {
        let mut story = Story::with(every_slot);
        story.in_the_way().make(1).wait_ms(ms);
        story.plan(Story::slot(1), &[], vec![range(0, 1, 1, SkipReason::OutsideWindow)]);
        story
    };
    skipped_after(360_000).flagged_by(&["G5"]);
    skipped_after(360_001).is_fine();
}

#[test]
fn outside_a_window_of_nothing_lies_whatever_is_not_the_latest_slot() {
    let skipped_through = |minute| {
        let mut story = Story::with(|facts| {
            facts.jobs[0].planner.catch_up = CatchUp::EverySlot { window: Duration::ZERO, max_slots: 10 };
        });
        story.in_the_way().make(1).wait(310);
        let skipped = range(0, minute, 1, SkipReason::OutsideWindow);
        story.plan(Story::slot(5), &[(2, Story::slot(5))], vec![skipped]);
        story
    };
    skipped_through(4).is_fine();
    skipped_through(5).flagged_by(&["G5"]);
}

#[test]
fn a_gap_is_told_only_where_the_clocks_left_something_out() {
    let mut story = Story::new();
    story.make(1).wait(60);
    story.plan(Story::slot(1), &[(2, Story::slot(1))], vec![range(0, 1, 1, SkipReason::Gap)]);
    story.flagged_by(&["G5"]);
}

#[test]
fn an_item_expires_when_its_time_to_live_has_passed_and_not_before() {
    let skipped_after = |ms, reason| {
        let mut story = Story::new();
        story.enqueue_as(1, |item| item.ttl_ms = Some(10_000)).wait_ms(ms).skip(1, reason);
        story
    };
    skipped_after(10_000, SkipReason::Expired).flagged_by(&["G5"]);
    skipped_after(10_001, SkipReason::Expired).is_fine();
    skipped_after(10_001, SkipReason::Late).flagged_by(&["G5"]);
    let mut story = Story::new();
    story.enqueue(1, "key", Counts::Live).wait(10).skip(1, SkipReason::Expired);
    story.flagged_by(&["G5"]);
    let mut story = Story::with(skip_late);
    story.make(1).wait(91).skip(1, SkipReason::Expired);
    story.flagged_by(&["G5"]);
}
