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
    use tourbillon::model::Retry;

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
}
