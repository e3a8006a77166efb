//! G3: charged attempts stay within the budget, rescues included, and the store counts as many as the history;
//! due times and backoff are respected by the database clock.

use tourbillon::model::{Outcome, Retry, State};

use super::{
    Findings,
    docket::Docket,
    g03_backoff,
    shadow::{Shadow, Stage},
    track::{Act, Step, Track},
};

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G3");
    track.walk(|step, shadows| {
        let before = &shadows[step.row];
        let max = track.rows[step.row].policy.map_or(u32::MAX, |policy| policy.max_attempts);
        match step.act {
            Act::Claimed(execution, is_charged) => {
                not_early(&mut docket, track, step, before);
                docket.demand(before.attempt < max, &[before.last_event, step.event], || {
                    let token = execution.lease.as_ref().map(|lease| lease.token.to_string()).unwrap_or_default();
                    let name = track.name(step.row);
                    format!("{name} was claimed under token {token} at {} with all {max} attempts used", step.now)
                });
                // What an unstarted claim before it has cost is for G14 to say.
                if is_charged || before.stage != Stage::Held || before.is_started {
                    let charged = before.attempt + u32::from(is_charged);
                    count(&mut docket, track, step, before, charged, execution.attempt);
                } else {
                    sometimes!("the count of an unstarted claim is left to G14");
                }
            }
            Act::Started(_, Ok(attempt)) => {
                let charged = before.attempt + u32::from(!before.is_started);
                count(&mut docket, track, step, before, charged, *attempt);
                docket.demand(charged <= max, &[before.claim_event, step.event], || {
                    let (name, token) = (track.name(step.row), before.lease.token);
                    format!("{name}: token {token} started attempt {charged} of {max}")
                });
            }
            Act::Settled(settlement, Ok(state)) => {
                g03_backoff::judge(&mut docket, track, step, before);
                if let Outcome::Failed { retry, .. } = &settlement.outcome
                    && !before.is_cancel_requested
                {
                    let has_more = matches!(retry, Retry::AfterMs(_)) && before.attempt < max;
                    let expected = if has_more { State::Retryable } else { State::Dead };
                    docket.demand(*state == expected, &[before.claim_event, step.event], || {
                        let (name, attempt) = (track.name(step.row), before.attempt);
                        format!("{name} failed attempt {attempt} of {max} and is {state} instead of {expected}")
                    });
                }
            }
            Act::Rescued(_) if before.stage == Stage::Held && before.is_started => {
                let policy = track.rows[step.row].policy;
                let ends_early = policy.is_some_and(|policy| before.may_run_again(policy));
                docket.demand(!ends_early, &[before.claim_event, step.event], || {
                    let (name, attempt) = (track.name(step.row), before.attempt);
                    format!("{name} was ended by a rescue at {} after attempt {attempt} of {max}", step.now)
                });
            }
            _ => {}
        }
    });
    docket.close()
}

fn not_early(docket: &mut Docket, track: &Track<'_>, step: &Step<'_>, before: &Shadow) {
    if let Stage::Waiting(state) = before.stage {
        docket.demand(before.wait_until <= step.now, &[before.last_event, step.event], || {
            let (name, until, now) = (track.name(step.row), before.wait_until, step.now);
            format!("{name}, {state} until {until}, was claimed at {now}")
        });
    }
}

fn count(docket: &mut Docket, track: &Track<'_>, step: &Step<'_>, before: &Shadow, charged: u32, stored: u32) {
    docket.demand(charged == stored, &[before.last_event, step.event], || {
        let (name, now) = (track.name(step.row), step.now);
        format!("{name} counts {stored} attempts at {now}; {charged} were charged")
    });
}

#[cfg(test)]
mod tests {
    use tourbillon::{
        model::{Outcome, Retry, State, transition::Charge},
        store::{Counts, Reply},
    };

    use super::super::story::{Story, failed};

    #[test]
    fn give_backs_are_not_charged() {
        let mut story = Story::with(|facts| facts.jobs[0].max_attempts = 1);
        story.make(1).claim(1).start(1).settle(1, Outcome::Released);
        story.claim(1).start(1).settle(1, Outcome::Snoozed { for_ms: 1_000 }).wait(1);
        story.claim_with(1, Charge::AtClaim).fail(1, 0);
        story.is_fine();
    }

    #[test]
    fn a_repeated_start_is_charged_once() {
        let mut story = Story::new();
        story.make(1).claim(1).unheard().start(1).wait(1).repeat();
        story.forge(|_, reply| {
            if let Reply::Started(started) = reply {
                started.now = started.now.offset_micros(1_000_000);
            }
        });
        story.is_fine();
    }

    #[test]
    fn the_budget_counts_lost_attempts() {
        let mut story = Story::with(|facts| facts.jobs[0].max_attempts = 1);
        story.make(1).claim(1).start(1).wait(31).claim(1);
        story.flagged_by(&["G3"]);
        let mut story = Story::with(|facts| facts.jobs[0].max_attempts = 1);
        story.make(1).claim(1).start(1).wait(31).rescue(1, State::Dead);
        story.is_fine();
    }

    /// Zoo A16.
    #[test]
    fn the_store_counts_what_was_charged() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).fail(1, 0);
        story.row(1).attempt = 0;
        story.claim(1);
        story.flagged_by(&["G3"]);
        let mut story = Story::new();
        story.make(1).claim(1).start(1).forge(|_, reply| {
            if let Reply::Started(started) = reply {
                started.outcomes[0] = Ok(2);
            }
        });
        story.flagged_by(&["G3"]);
    }

    #[test]
    fn nothing_is_claimed_before_its_time() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).fail(1, 10_000).wait(10).claim(1);
        story.is_fine();
        for wait_ms in [0, 9_999] {
            let mut story = Story::new();
            story.make(1).claim(1).start(1).fail(1, 10_000).wait_ms(wait_ms).claim(1);
            story.flagged_by(&["G3"]);
            let mut story = Story::new();
            let snooze = Outcome::Snoozed { for_ms: 10_000 };
            story.make(1).claim(1).start(1).settle(1, snooze).wait_ms(wait_ms).claim(1);
            story.flagged_by(&["G3"]);
        }
        let mut story = Story::new();
        story.make(1).step_clock(-30).claim(1);
        story.flagged_by(&["G3"]);
    }

    #[test]
    fn a_retry_moves_with_a_clock_that_stepped_back() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).fail(1, 10_000).step_clock(-60).clamp(1).wait(10).claim(1);
        story.is_fine();
    }

    #[test]
    fn an_item_that_was_requeued_moves_with_a_clock_that_stepped_back_and_a_slot_does_not() {
        let requeued = |tell: fn(&mut Story)| {
            let mut story = Story::new();
            tell(&mut story);
            story.run(1).settle(1, failed(Retry::Never)).requeue(1, 2).step_clock(-60).clamp(1).claim(1);
            story
        };
        requeued(|story| _ = story.enqueue(1, "key", Counts::Live)).is_fine();
        requeued(|story| _ = story.make(1)).flagged_by(&["G3"]);
    }

    /// Zoo A7, A18.
    #[test]
    fn attempts_that_are_left_are_used() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).fail(1, 0).forge(|_, reply| {
            if let Reply::Settled(settled) = reply {
                settled.outcomes[0] = Ok(State::Dead);
            }
        });
        story.flagged_by(&["G3"]);
        let mut story = Story::new();
        story.make(1).claim(1).start(1).wait(31).rescue(1, State::Dead);
        story.flagged_by(&["G3"]);
    }

    #[test]
    fn a_claim_shows_as_many_attempts_as_were_charged() {
        let shows = |attempt| {
            let mut story = Story::new();
            story.make(1).claim(1).forge(|_, reply| {
                if let Reply::Claimed(claimed) = reply {
                    claimed.executions[0].attempt = attempt;
                }
            });
            story
        };
        shows(0).is_fine();
        shows(1).flagged_by(&["G3"]);
    }

    #[test]
    fn a_row_that_the_history_did_not_make_is_judged_by_what_its_claim_shows() {
        let lost = |max_attempts| {
            let mut story = Story::with(|facts| facts.jobs[0].max_attempts = max_attempts);
            story.make(1).history.events.truncate(1);
            story.claim(1).start(1).wait(31).claim(1);
            story
        };
        lost(2).is_fine();
        lost(1).flagged_by(&["G3"]);
        lost(1).says("(job job for global/global, slot 2008-01-10T21:20:00Z)");
    }
}
