//! G5: nothing lost. After heal every due execution becomes terminal, with a reason, within the stated bound; every
//! row that was made still exists; what has failed keeps its right to its retries (A7). (Slots are counted in [`super::g05_slots`], and rows that a claim must skip in
//! [`super::g05_runs`].)

use std::collections::BTreeSet;

use tourbillon::model::{State, Timestamp};

use super::{
    Findings,
    docket::Docket,
    g05_future, g05_runs, g05_slots, g05_told, g05_window,
    shadow::{Shadow, Stage},
    topic::Topic,
    track::{Act, Track},
};
use crate::history::{HostId, Phase, RunFacts, What, micros};

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G5");
    let mut windows = partial_windows(track);
    windows.reverse();
    let last = track.walk(|step, shadows| {
        while windows.last().is_some_and(|window| window.deadline_event <= step.event) {
            if let Some(window) = windows.pop() {
                window.judge(&mut docket, track, shadows);
            }
        }
        if let Act::Skipped(reason) = step.act {
            let before = &shadows[step.row];
            docket.demand(before.attempt == 0, &[before.last_event, step.event], || {
                let (name, attempts, reason) = (track.name(step.row), before.attempt, reason.as_str());
                format!("{name} failed in attempt {attempts} and was skipped as {reason}: its retries are lost")
            });
        }
    });
    while let Some(window) = windows.pop() {
        window.judge(&mut docket, track, &last);
    }
    let mut is_healed = false;
    if let (Some(facts), Some((end, state))) = (track.facts, track.ended) {
        is_healed = healed_us(track) >= micros(facts.settle_within + facts.granularity);
        if is_healed {
            all_settled(&mut docket, track, &last, &Moment { event: end, now: state.now, facts });
            g05_future::rows(&mut docket, track, &last, (end, state.now));
        } else {
            sometimes!("nothing is demanded of a run that was not calm for long enough");
        }
    }
    all_kept(&mut docket, track, &last);
    g05_slots::judge(&mut docket, track, is_healed);
    g05_runs::judge(&mut docket, track);
    g05_told::judge(&mut docket, track);
    g05_window::judge(&mut docket, track);
    docket.close()
}

struct Moment<'h> {
    event: usize,
    now: Timestamp,
    facts: &'h RunFacts,
}

/// Nothing that has been due for longer than the bound is still waiting or running.
fn all_settled(docket: &mut Docket, track: &Track<'_>, shadows: &[Shadow], moment: &Moment<'_>) {
    let Moment { event, now, facts } = *moment;
    for (row, shadow) in shadows.iter().enumerate() {
        let is_live = matches!(shadow.stage, Stage::Waiting(_) | Stage::Held);
        let is_overdue = shadow.wait_until + facts.settle_within + facts.granularity < now;
        sometimes!("a row may wait or run at the end because it is not overdue", is_live && !is_overdue);
        docket.demand(!(is_live && is_overdue), &[shadow.last_event, event], || {
            let (name, stage, since) = (track.name(row), shadow.stage, shadow.wait_until);
            let (token, bound) = (shadow.lease.token, facts.settle_within);
            format!("{name} is still {stage:?} at {now}, due since {since}; bound {bound:?}, last token {token}")
        });
    }
}

/// True time from the heal, or from the last step of the database clock after it, to the end of the run.
fn healed_us(track: &Track<'_>) -> u64 {
    let mut calm_since = Some(0);
    for (_, event) in track.about(&[Topic::Other]) {
        match event.what {
            What::PhaseBegan { phase } => calm_since = (phase == Phase::Heal).then_some(event.at_us),
            What::ClockSet { .. } if event.host == HostId::Database => {
                calm_since = calm_since.map(|since| since.max(event.at_us));
            }
            _ => {}
        }
    }
    let end_us = track.history.events.last().map_or(0, |event| event.at_us);
    calm_since.map_or(0, |since| end_us.saturating_sub(since))
}

/// Every made row is in the final state, unless it was removed, or ended so long ago that pruning may have taken it; and whatever
/// ended says why.
fn all_kept(docket: &mut Docket, track: &Track<'_>, shadows: &[Shadow]) {
    let Some((end, state)) = track.ended else { return };
    let present: BTreeSet<_> = state.executions.iter().map(|row| row.id).collect();
    for (index, row) in track.rows.iter().enumerate() {
        let Some(made) = row.made else { continue };
        let shadow = &shadows[index];
        let is_prunable =
            shadow.is_terminal() && track.history_pruned_before.is_some_and(|before| shadow.written_at < before);
        let is_gone = !present.contains(&row.id);
        sometimes!("a row that is gone is excused by pruning", is_gone && is_prunable && !shadow.is_removed);
        sometimes!("a row that is gone is excused by its removal", is_gone && shadow.is_removed);
        docket.demand(!is_gone || is_prunable || shadow.is_removed, &[made, end], || {
            format!("{} was made and is gone; the history left it {:?}", track.name(index), shadow.stage)
        });
    }
    for row in &state.executions {
        let has_reason = match row.state {
            State::Dead | State::Cancelled => row.error.is_some(),
            State::Skipped => row.skip_reason.is_some(),
            _ => true,
        };
        docket.demand(has_reason, &[end], || format!("execution {} ended as {} with no reason", row.id, row.state));
    }
}

/// A partial heal that lasted long enough for a demand.
struct Window<'h> {
    /// First event after the bound.
    deadline_event: usize,
    /// Database clock then.
    now: Timestamp,
    facts: &'h RunFacts,
}

impl Window<'_> {
    fn judge(&self, docket: &mut Docket, track: &Track<'_>, shadows: &[Shadow]) {
        let moment = Moment { event: self.deadline_event, now: self.now, facts: self.facts };
        all_settled(docket, track, shadows, &moment);
    }
}

/// The partial heals after whose start the database clock ran undisturbed for as long as the bound. The database
/// clock at the deadline is the last one seen plus true time; granularity covers its drift over one event's gap.
fn partial_windows<'h>(track: &Track<'h>) -> Vec<Window<'h>> {
    let Some(facts) = track.facts else { return Vec::new() };
    let bound_us = micros(facts.settle_within + facts.granularity * 2);
    let mut windows = Vec::new();
    let mut since_us = None;
    let mut clock = (facts.epoch, 0);
    for (index, event) in track.history.events.iter().enumerate() {
        if let Some(since) = since_us
            && event.at_us >= since + bound_us
        {
            let passed_us = i64::try_from(since + bound_us - clock.1).unwrap_or(i64::MAX);
            windows.push(Window { deadline_event: index, now: clock.0.offset_micros(passed_us), facts });
            since_us = None;
        }
        match &event.what {
            What::PhaseBegan { phase } => since_us = (*phase == Phase::PartialHeal).then_some(event.at_us),
            What::ClockSet { .. } if event.host == HostId::Database => {
                since_us = since_us.map(|since| since.max(event.at_us));
            }
            What::Applied { now, .. } => clock = (*now, event.at_us),
            _ => {}
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use tourbillon::{
        model::{SkipReason, transition::Cancelled},
        store::{Counts, TriggerOutcome},
    };

    use super::super::story::Story;
    use crate::history::Phase;

    /// Slots until `minutes` have passed, each executed.
    fn through(story: &mut Story, numbers: std::ops::Range<u8>) {
        for n in numbers {
            story.wait(60).make(n).run(n).effect(n).succeed(n);
        }
    }

    #[test]
    fn what_is_due_ends_within_the_bound() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).succeed(1);
        through(&mut story, 2..10);
        story.wait(60).make(10).claim(10).end();
        story.is_fine();
    }

    #[test]
    fn a_row_that_waits_or_runs_for_ever_is_lost() {
        // Zoo A22, A13.
        let tell: [fn(&mut Story); 3] = [
            |story| _ = story.make(1),
            |story| _ = story.make(1).claim(1).start(1),
            |story| _ = story.make(1).claim(1).start(1).fail(1, 1_000),
        ];
        for tell in tell {
            let mut story = Story::new();
            tell(&mut story);
            through(&mut story, 2..10);
            story.end();
            story.flagged_by(&["G5"]);
        }
    }

    /// Zoo A7.
    #[test]
    fn what_has_failed_is_not_skipped() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).fail(1, 0).wait(60).make(2).skip(1, SkipReason::Superseded);
        story.flagged_by(&["G2", "G5"]);
        let mut story = Story::new();
        story.make(1).wait(60).make(2).skip(1, SkipReason::Superseded);
        story.is_fine();
    }

    #[test]
    fn nothing_is_demanded_before_the_heal() {
        let mut story = Story::new();
        story.phase(Phase::Chaos).make(1);
        through(&mut story, 2..10);
        story.phase(Phase::Heal).wait(60).end();
        story.is_fine();
    }

    #[test]
    fn a_step_of_the_database_clock_starts_the_bound_anew() {
        let mut story = Story::new();
        story.make(1).wait(200).step_clock(10_000).wait(200).end();
        story.is_fine();
    }

    #[test]
    fn a_partial_heal_must_do_with_what_works() {
        let mut story = Story::new();
        story.phase(Phase::Chaos).make(1).phase(Phase::PartialHeal).wait(290).claim(1).start(1);
        story.wait(12).cancel(1, Cancelled::NotFound).phase(Phase::Heal).succeed(1);
        story.flagged_by(&["G4", "G5"]);
        let mut story = Story::new();
        story.phase(Phase::Chaos).make(1).phase(Phase::PartialHeal).wait(290).run(1).effect(1).succeed(1);
        story.wait(12).phase(Phase::Heal);
        story.is_fine();
        let mut story = Story::new();
        story.phase(Phase::Chaos).make(1).phase(Phase::PartialHeal).wait(299).phase(Phase::Heal).wait(12);
        story.cancel(1, Cancelled::Now);
        story.is_fine();
    }

    #[test]
    fn a_made_row_does_not_vanish() {
        let mut story = Story::new();
        story.make(1);
        story.rows.clear();
        story.end();
        story.flagged_by(&["G5"]);
    }

    #[test]
    fn an_end_has_a_reason() {
        let mut story = Story::new();
        story.make(1).cancel(1, Cancelled::Now);
        story.row(1).error = None;
        story.end();
        story.flagged_by(&["G5"]);
    }

    /// The bound of a story is 300 s and a granularity of 100 ms.
    #[test]
    fn a_row_may_wait_until_the_bound_is_over_and_no_longer() {
        let waited = |ms| {
            let mut story = Story::new();
            story.make(1).wait_ms(ms).end();
            story
        };
        waited(300_100).is_fine();
        waited(300_101).flagged_by(&["G5"]);
    }

    #[test]
    fn a_heal_is_given_the_whole_bound() {
        let healed_for = |ms| {
            let mut story = Story::new();
            story.phase(Phase::Chaos).make(1).wait(50).phase(Phase::Heal).wait_ms(ms).end();
            story
        };
        healed_for(300_099).is_fine();
        healed_for(300_100).flagged_by(&["G5"]);
    }

    #[test]
    fn the_clock_of_a_replica_delays_no_bound() {
        let mut story = Story::new();
        story.make(1).wait(200).drift(0).wait(200).end();
        story.flagged_by(&["G5"]);
        let mut story = Story::new();
        story.phase(Phase::PartialHeal).make(1).wait(200).drift(0).wait(101).phase(Phase::Heal);
        story.flagged_by(&["G5"]);
        let mut story = Story::new();
        story.phase(Phase::PartialHeal).make(1).wait(200).step_clock(0).wait(101).phase(Phase::Heal);
        story.is_fine();
    }

    #[test]
    fn a_partial_heal_is_judged_by_the_database_clock_of_its_end() {
        let enqueued_after = |wait| {
            let mut story = Story::new();
            story.step_clock(10_000).phase(Phase::PartialHeal).wait(wait).enqueue(1, "key", Counts::Live);
            story.wait(301 - wait).phase(Phase::Heal).run(1).succeed(1);
            story
        };
        enqueued_after(0).flagged_by(&["G5"]);
        enqueued_after(150).is_fine();
    }

    #[test]
    fn the_bound_of_another_life_or_of_a_retry_begins_anew() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).succeed(1);
        through(&mut story, 2..6);
        story.requeue(1, 2);
        through(&mut story, 6..10);
        story.end();
        story.is_fine();
        let mut story = Story::new();
        story.make(1).run(1).effect(1).fail(1, 0);
        through(&mut story, 2..6);
        story.run(1).effect(1).fail(1, 0).claim(1);
        through(&mut story, 6..10);
        story.end();
        story.is_fine();
    }

    #[test]
    fn pruning_excuses_what_ended_before_its_bound() {
        let pruned = |history_ms| {
            let mut story = Story::new();
            story.make(1).run(1).effect(1).succeed(1).wait(100).prune(history_ms).rows.clear();
            story.end();
            story
        };
        pruned(99_999).is_fine();
        pruned(100_000).flagged_by(&["G5"]);
    }

    #[test]
    fn a_skipped_row_says_why() {
        let mut story = Story::new();
        story.make(1).wait(60).make(2).skip(1, SkipReason::Superseded).cancel(2, Cancelled::Now);
        story.row(1).skip_reason = None;
        story.end();
        story.flagged_by(&["G5"]);
    }

    #[test]
    fn a_trigger_that_was_refused_makes_nothing() {
        let triggered = |outcome| {
            let mut story = Story::new();
            story.trigger_as(1, outcome).rows.clear();
            story.end();
            story
        };
        triggered(TriggerOutcome::UnknownJob).is_fine();
        triggered(TriggerOutcome::Triggered).flagged_by(&["G5"]);
    }
}
