//! G3, the waits: a runner that failed with attempts left asked for a wait that its job's backoff allows after that
//! attempt. That no claim comes before the wait is over, steps of the database clock included, is `g03_attempts`'.
//!
//! Works the range out by itself from the curve: `Backoff::delay` is what is being judged.

use std::{ops::RangeInclusive, time::Duration};

use tourbillon::{
    model::{Outcome, Retry, State},
    plan::{Backoff, Curve},
};

use super::{
    docket::Docket,
    shadow::Shadow,
    track::{Act, Step, Track},
};

/// Judges a settle; nothing else has a wait that a backoff decides.
pub(super) fn judge(docket: &mut Docket, track: &Track<'_>, step: &Step<'_>, before: &Shadow) {
    let Act::Settled(settlement, Ok(State::Retryable)) = step.act else { return };
    let Outcome::Failed { retry: Retry::AfterMs(asked), .. } = settlement.outcome else { return };
    let Some(backoff) = track.backoff(step.row) else { return };
    let allowed = range_ms(backoff, before.attempt);
    docket.demand(allowed.contains(&asked), &[before.claim_event, step.event], || {
        let (name, attempt, now) = (track.name(step.row), before.attempt, step.now);
        format!("{name} failed attempt {attempt} at {now} and is to wait {asked} ms; its backoff says {allowed:?} ms")
    });
}

/// The waits after failed attempt `attempt`, from 1, in milliseconds; both ends are widened to whole ones.
fn range_ms(backoff: &Backoff, attempt: u32) -> RangeInclusive<u64> {
    let cap = backoff.cap().as_nanos();
    let exact = curve_ns(backoff.curve(), attempt.max(1)).min(cap);
    let spread = exact * u128::from(backoff.jitter_percent()) / 100;
    let ms = |ns: u128| u64::try_from(ns).unwrap_or(u64::MAX);
    ms((exact - spread) / 1_000_000)..=ms((exact + spread).min(cap).div_ceil(1_000_000))
}

fn curve_ns(curve: &Curve, attempt: u32) -> u128 {
    let times = |base: &Duration, factor: u128| base.as_nanos().saturating_mul(factor);
    match curve {
        Curve::Exponential(base) => times(base, 1u128.checked_shl(attempt - 1).unwrap_or(u128::MAX)),
        Curve::Linear(base) => times(base, attempt.into()),
        Curve::Constant(wait) => wait.as_nanos(),
        Curve::Table(waits) => {
            let nth = waits.get(attempt as usize - 1).or(waits.last());
            nth.map_or(0, Duration::as_nanos)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tourbillon::{model::Outcome, plan::Backoff};

    use super::{super::story::Story, range_ms};

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// The job waits about 4 s, then about 8 s.
    fn story() -> Story {
        Story::with(|facts| {
            let backoff = Backoff::exponential(seconds(4)).with_jitter_percent(25);
            (facts.jobs[0].backoff, facts.jobs[0].max_attempts) = (Some(backoff), 3);
        })
    }

    #[test]
    fn a_range_is_the_curve_with_jitter_and_cap() {
        let exponential = Backoff::exponential(seconds(2)).capped_at(seconds(15));
        assert_eq!(range_ms(&exponential, 1), 1_800..=2_200);
        assert_eq!(range_ms(&exponential, 3), 7_200..=8_800);
        assert_eq!(range_ms(&exponential, 4), 13_500..=15_000);
        assert_eq!(range_ms(&exponential, u32::MAX), 13_500..=15_000);
        assert_eq!(range_ms(&Backoff::linear(seconds(5)).without_jitter(), 3), 15_000..=15_000);
        assert_eq!(range_ms(&Backoff::constant(seconds(10)), 9), 9_000..=11_000);
        assert_eq!(range_ms(&Backoff::table([seconds(2), seconds(10)]), 1), 2_000..=2_000);
        assert_eq!(range_ms(&Backoff::table([seconds(2), seconds(10)]), 7), 10_000..=10_000);
        assert_eq!(range_ms(&Backoff::constant(Duration::from_micros(1_500)).without_jitter(), 1), 1..=2);
    }

    /// It is worked out twice, and both agree.
    #[test]
    fn what_a_backoff_draws_is_within_its_range() {
        let backoffs = [
            Backoff::exponential(Duration::from_millis(1_234)).capped_at(seconds(600)),
            Backoff::linear(Duration::from_micros(7_777_777)).with_jitter_percent(33),
            Backoff::constant(Duration::ZERO),
            Backoff::table([seconds(1), seconds(60), seconds(5)]).with_jitter_percent(100),
        ];
        for backoff in &backoffs {
            for attempt in [1, 2, 3, 4, 20, 70, 200] {
                for random in [0, u64::MAX / 3, u64::MAX] {
                    let drawn = backoff.delay(attempt, random).as_nanos().div_ceil(1_000_000);
                    let range = range_ms(backoff, attempt);
                    assert!(
                        range.contains(&u64::try_from(drawn).unwrap()),
                        "{backoff:?}, {attempt}: {drawn}, {range:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn waits_grow_as_the_backoff_says() {
        let mut story = story();
        story.make(1).claim(1).start(1).fail(1, 3_000).wait(3).claim(1).start(1).fail(1, 10_000);
        story.wait(10).claim(1).start(1).fail(1, 0);
        story.is_fine();
    }

    #[test]
    fn a_wait_that_the_backoff_does_not_say_is_found() {
        for ms in [0, 2_999, 5_001, 8_000] {
            let mut story = story();
            story.make(1).claim(1).start(1).fail(1, ms);
            story.flagged_by(&["G3"]);
        }
    }

    /// Counted by attempts that were charged, not by claims, and not by lives.
    #[test]
    fn the_wait_is_that_of_the_attempt_that_failed() {
        let mut story = story();
        story.make(1).claim(1).start(1).settle(1, Outcome::Released).claim(1).start(1).fail(1, 4_000);
        story.is_fine();
        let mut story = self::story();
        story.make(1).claim(1).start(1).wait(31).claim(1).start(1).fail(1, 4_000);
        story.flagged_by(&["G3"]);
    }

    #[test]
    fn items_wait_as_their_queue_says() {
        let backoff = Backoff::constant(seconds(4)).without_jitter();
        let story = || {
            let mut story = Story::with(|facts| {
                let queue = super::super::story_queue::queue();
                let backoff = backoff.clone();
                facts.queues.push(crate::history::QueueFacts {
                    queue,
                    backoff,
                    workers: 1,
                    has_limit: false,
                    rate: None,
                });
            });
            story.enqueue_within(9, &[1], None).claim(1).start(1);
            story
        };
        story().fail(1, 4_000).is_fine();
        story().fail(1, 3_999).flagged_by(&["G3"]);
    }

    #[test]
    fn a_step_of_the_database_clock_excuses_no_short_wait() {
        let mut story = story();
        story.make(1).claim(1).start(1).fail(1, 4_000).step_clock(3_600).claim(1);
        story.is_fine();
        let mut story = self::story();
        story.make(1).claim(1).start(1).fail(1, 4_000).step_clock(-60).clamp(1).wait(4).claim(1);
        story.is_fine();
        let mut story = self::story();
        story.make(1).claim(1).start(1).fail(1, 4_000).step_clock(-60).clamp(1).wait(3).claim(1);
        story.flagged_by(&["G3"]);
    }
}
