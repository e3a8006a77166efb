//! G15 for queues with a rate: how often items begin to be held, on all replicas together, by the database clock. Read from the
//! claims themselves and from what the scenario promises, whatever the claims say of their rate.
//!
//! A step back of that clock begins a new count: instants on both sides of it cannot be compared.

use std::collections::{BTreeMap, VecDeque};

use tourbillon::{
    model::{Execution, JobName, Timestamp},
    store::{Reply, Verb},
};

use super::{docket::Docket, track::Track};
use crate::history::{QueueRate, micros};

/// Claims that count together, as (event, instant): no more of the last ones than any window of a period may hold.
type Begun = VecDeque<(usize, Timestamp)>;

pub(super) fn judge(track: &Track<'_>, docket: &mut Docket) {
    let Some(facts) = track.facts else { return };
    let rates: BTreeMap<&JobName, QueueRate> =
        facts.queues.iter().filter_map(|queue| Some((&queue.queue, queue.rate?))).collect();
    if rates.is_empty() {
        return;
    }
    let mut begun: BTreeMap<(&JobName, Option<&str>), Begun> = BTreeMap::new();
    let mut clock = Timestamp::EPOCH;
    for (event, now, request, reply) in track.applied() {
        if now < clock {
            begun.clear();
        }
        clock = now;
        let (Verb::Claim(_), Reply::Claimed(claimed)) = (&request.verb, reply) else { continue };
        for row in &claimed.executions {
            if let Some(rate) = rates.get(&row.job)
                && let Some(key) = key(row, *rate)
            {
                compare(docket, (row, *rate), begun.entry((&row.job, key)).or_default(), (event, now));
            }
        }
    }
}

/// What the row counts with: all of its queue, or those of its key; nothing if it has none.
fn key(row: &Execution, rate: QueueRate) -> Option<Option<&str>> {
    match (rate.per_key, &row.policy.limit) {
        (false, _) => Some(None),
        (true, Some(limit)) => Some(Some(&limit.key)),
        (true, None) => None,
    }
}

/// The n-th claim after another one comes n + 1 - burst turns after it, at least.
fn compare(
    docket: &mut Docket,
    (row, rate): (&Execution, QueueRate),
    begun: &mut Begun,
    (event, now): (usize, Timestamp),
) {
    let turn_us = micros(rate.period).div_ceil(u64::from(rate.items));
    begun.push_back((event, now));
    let most = rate.items as usize + rate.burst as usize;
    if begun.len() > most {
        begun.pop_front();
    }
    for (n, (first, then)) in begun.iter().rev().enumerate().skip(rate.burst as usize) {
        let turns = (n + 1 - rate.burst as usize) as u64;
        let passed_us = micros(now.since(*then));
        docket.demand(passed_us >= turns * turn_us, &[*first, event], || {
            format!(
                "{} of queue {} was claimed at {now}, as the {n}. after {then}: {passed_us} us, at least {} us are promised \
                 ({} in {:?}, {} at once)",
                row.id,
                row.job,
                turns * turn_us,
                rate.items,
                rate.period,
                rate.burst
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tourbillon::{
        model::{Limit, Outcome},
        plan::Backoff,
        store::Counts,
    };

    use super::super::{story::Story, story_queue::queue};
    use crate::history::{QueueFacts, QueueRate};

    /// Four in two seconds: a turn each half second.
    fn story(burst: u32, per_key: bool) -> Story {
        at_rate(QueueRate { items: 4, period: Duration::from_secs(2), burst, per_key })
    }

    fn at_rate(rate: QueueRate) -> Story {
        Story::with(|facts| {
            let rate = Some(rate);
            let backoff = Backoff::constant(Duration::from_secs(1));
            facts.queues.push(QueueFacts { queue: queue(), backoff, workers: 99, has_limit: true, rate });
        })
    }

    impl Story {
        fn put_all(&mut self, items: std::ops::RangeInclusive<u8>, key: &str) -> &mut Self {
            for n in items {
                self.enqueue(n, &format!("unique {n}"), Counts::Live);
                self.row(n).policy.limit = Some(Limit { key: key.to_owned(), max: u32::MAX });
            }
            self
        }
    }

    #[test]
    fn a_turn_each_is_fine_and_two_at_once_are_not() {
        let mut even = story(1, false);
        even.put_all(1..=3, "q").claim(1).wait_ms(500).claim(2).wait_ms(500).by(1).claim(3).is_fine();
        let mut early = story(1, false);
        early.put_all(1..=2, "q").claim(1).wait_ms(499).by(1).claim(2).flagged_by(&["G15"]);
    }

    #[test]
    fn a_burst_is_fine_and_one_more_is_not() {
        let mut all = story(3, false);
        all.put_all(1..=4, "q").claim(1).claim(2).claim(3).wait_ms(500).claim(4).is_fine();
        let mut more = story(3, false);
        more.put_all(1..=4, "q").claim(1).claim(2).by(1).claim(3).claim(4).flagged_by(&["G15"]);
    }

    /// Each two are far enough from each other, and all of them are too many.
    #[test]
    fn a_rate_that_is_kept_by_each_replica_for_itself_is_found() {
        let mut doubled = story(2, false);
        doubled.put_all(1..=6, "q");
        for n in [1, 3, 5] {
            doubled.by(0).claim(n).by(1).claim(n + 1).wait_ms(500);
        }
        doubled.flagged_by(&["G15"]);
    }

    /// All shorter rows of claims are far enough apart.
    #[test]
    fn as_many_claims_as_a_period_may_hold_are_compared() {
        let begun = |last_ms| {
            let mut story = story(2, false);
            story.put_all(1..=6, "q").claim(1).claim(2);
            for (n, after_ms) in [(3, 500), (4, 500), (5, 500), (6, last_ms)] {
                story.wait_ms(after_ms).claim(n);
            }
            story
        };
        begun(500).is_fine();
        begun(499).flagged_by(&["G15"]);
        let mut thrice = at_rate(QueueRate { items: 1, period: Duration::from_secs(1), burst: 2, per_key: false });
        thrice.put_all(1..=3, "q").claim(1).claim(2).claim(3).flagged_by(&["G15"]);
    }

    #[test]
    fn keys_have_turns_of_their_own_where_the_queue_says_so() {
        let two = |per_key| {
            let mut story = story(1, per_key);
            story.put_all(1..=1, "a").put_all(2..=2, "b").claim(1).claim(2);
            story
        };
        two(true).is_fine();
        two(false).flagged_by(&["G15"]);
    }

    #[test]
    fn what_a_claim_takes_again_counts_again() {
        let again = |ms| {
            let mut story = story(1, false);
            story.put_all(1..=1, "q").claim(1).settle(1, Outcome::Released).wait_ms(ms).claim(1);
            story
        };
        again(500).is_fine();
        again(499).flagged_by(&["G15"]);
    }

    #[test]
    fn a_clock_that_steps_back_and_a_commit_that_is_lost_begin_anew() {
        let mut back = story(1, false);
        back.put_all(1..=2, "q").wait(60).claim(1).step_clock(-10).claim(2).is_fine();
        let mut lost = story(1, false);
        lost.put_all(1..=2, "q").claim(1).lose(1).claim(2).is_fine();
    }
}
