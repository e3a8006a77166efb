//! G5, withdrawn futures: when the database clock has stepped back, nothing goes on waiting for what it showed before (C8). No
//! live row was written later than now, and no schedule is silent until a time that comes again.

use tourbillon::{model::Timestamp, plan::Schedule};

use super::{
    docket::Docket,
    shadow::{Shadow, Stage},
    track::{Series, Track},
};

/// Judges rows at `now`, when the database clock has been calm for as long as anything may take.
pub(super) fn rows(docket: &mut Docket, track: &Track<'_>, shadows: &[Shadow], (event, now): (usize, Timestamp)) {
    for (row, shadow) in shadows.iter().enumerate() {
        let is_live = matches!(shadow.stage, Stage::Waiting(_) | Stage::Held);
        docket.demand(!(is_live && shadow.written_at > now), &[shadow.last_event, event], || {
            let (name, stage, at) = (track.name(row), shadow.stage, shadow.written_at);
            format!("{name} is {stage:?} since {at}, and it is {now}: that time was withdrawn")
        });
    }
}

/// Judges a schedule whose cursor is at `cursor` when slots until `through` are due: it may lie one slot ahead.
pub(super) fn cursor(
    docket: &mut Docket,
    series: &Series<'_>,
    schedule: &Schedule,
    (cursor, through): (Timestamp, Timestamp),
    events: &[usize],
) {
    let ahead = schedule.next_after(through);
    docket.demand(ahead.is_none_or(|ahead| cursor <= ahead), events, || {
        format!("{series}: nothing is planned until {cursor}, and it is {through}: that time was withdrawn")
    });
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, failed};
    use crate::history::Phase;
    use tourbillon::{
        model::{Retry, State, transition::Cancelled},
        store::Due,
    };

    /// Zoo C8.
    #[test]
    fn what_waits_in_a_withdrawn_future_is_seen() {
        let failed_tomorrow = || {
            let mut story = Story::new();
            story.step_clock(86_400).make(1).run(1).settle(1, failed(Retry::AfterMs(1_000))).step_clock(-86_400);
            story
        };
        let mut story = failed_tomorrow();
        story.plan(Story::slot(0), &[], Vec::new()).phase(Phase::Heal).wait(400).end();
        story.flagged_by(&["G5"]);
        let mut story = failed_tomorrow();
        story.clamp(1).plan(Story::slot(0), &[], Vec::new()).wait(1).run(1).effect(1).succeed(1);
        story.phase(Phase::Heal).wait(20).end();
        story.is_fine();
    }

    #[test]
    fn a_schedule_that_is_silent_until_a_withdrawn_time_is_seen() {
        let mut story = Story::new();
        story.step_clock(86_400).make(1).run(1).effect(1).succeed(1).step_clock(-86_400);
        story.phase(Phase::Heal).wait(301).end();
        story.flagged_by(&["G5"]);
    }

    /// Twice as many seconds as rows have to settle, with a slot now and then.
    fn calm(story: &mut Story) {
        story.phase(Phase::Heal);
        for n in 11..21 {
            story.make(n).cancel(n, Cancelled::Now).wait(60);
        }
        story.end();
    }

    #[test]
    fn an_update_that_moves_nothing_is_written_in_its_time_too() {
        let updated_tomorrow = |clamped: bool| {
            let mut story = Story::new();
            let later = Story::EPOCH.offset_micros(5_000_000_000);
            story.enqueue_as(1, |item| item.due = Due::At(later));
            story.step_clock(86_400).put_off(1, 0).with_due(None).step_clock(-86_400);
            if clamped {
                story.clamp(1);
            }
            calm(&mut story);
            story
        };
        updated_tomorrow(true).is_fine();
        updated_tomorrow(false).flagged_by(&["G5"]);
    }

    #[test]
    fn a_time_that_an_operator_gave_is_moved_for_a_retry_alone() {
        let put_off_tomorrow = |retried: bool| {
            let mut story = Story::new();
            story.enqueue_within(9, &[1], None);
            if retried {
                story.run(1).effect(1).settle(1, failed(Retry::AfterMs(0)));
            }
            let tomorrow = Story::EPOCH.offset_micros(86_410_000_000);
            story.step_clock(86_400).put_off(1, 10_000).with_due(Some(Due::At(tomorrow)));
            story.step_clock(-86_400).clamp(1).wait(20).claim(1);
            story
        };
        put_off_tomorrow(true).is_fine();
        put_off_tomorrow(false).flagged_by(&["G3"]);
    }

    #[test]
    fn a_second_request_to_cancel_writes_nothing() {
        let asked_again_tomorrow = |rescued_after| {
            let mut story = Story::new();
            story.make(1).run(1).cancel(1, Cancelled::Requested).step_clock(86_400).cancel(1, Cancelled::Requested);
            story.step_clock(-86_400).clamp(1).wait(rescued_after).rescue(1, State::Cancelled);
            story
        };
        asked_again_tomorrow(31).is_fine();
        asked_again_tomorrow(29).flagged_by(&["G2"]);
    }
}
