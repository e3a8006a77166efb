//! G15: at most n unexpired leases per limit key, and per (job, scope) where the scenario says that at most n run,
//! by the database clock.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Findings,
    docket::Docket,
    shadow::{Shadow, Stage},
    track::{Act, Step, Track},
};

/// What counts together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group<'h> {
    Key(&'h str),
    Series(usize),
}

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G15");
    let mut held: BTreeMap<Group<'_>, BTreeSet<usize>> = BTreeMap::new();
    track.walk(|step, shadows| {
        let takes_lease = match step.act {
            Act::Claimed(..) => true,
            // A renewal makes an expired lease count again.
            Act::Started(_, Ok(_)) | Act::Renewed(_, Ok(_)) => !shadows[step.row].is_leased(step.now),
            _ => return,
        };
        if !takes_lease {
            return;
        }
        for (group, max) in groups(track, step.row).into_iter().flatten() {
            let rows = held.entry(group).or_default();
            rows.retain(|row| shadows[*row].stage == Stage::Held);
            rows.insert(step.row);
            compare(&mut docket, track, step, shadows, (group, max, rows));
        }
    });
    super::g15_rates::judge(track, &mut docket);
    docket.close()
}

fn groups<'h>(track: &Track<'h>, row: usize) -> [Option<(Group<'h>, u32)>; 2] {
    let limit = track.rows[row].policy.and_then(|policy| policy.limit.as_ref());
    let by_key = limit.map(|limit| (Group::Key(&limit.key), limit.max));
    let by_series = track.rows[row].series.and_then(|series| {
        let max = track.series[series].facts.and_then(|facts| facts.overlap_max)?;
        Some((Group::Series(series), max))
    });
    [by_key, by_series]
}

fn compare(
    docket: &mut Docket,
    track: &Track<'_>,
    step: &Step<'_>,
    shadows: &[Shadow],
    (group, max, rows): (Group<'_>, u32, &BTreeSet<usize>),
) {
    let now = step.now;
    let others = || rows.iter().copied().filter(|row| *row != step.row && shadows[*row].is_leased(now));
    let running = others().count() + 1;
    let events: Vec<_> = others().map(|row| shadows[row].claim_event).chain([step.event]).collect();
    docket.demand(running <= max as usize, &events, || {
        let what = match group {
            Group::Key(key) => format!("limit key {key:?}"),
            Group::Series(series) => track.series[series].to_string(),
        };
        let other = others().next().map_or_else(String::new, |row| {
            let (token, until) = (shadows[row].lease.token, shadows[row].expires_at);
            format!("; token {token} holds {} until {until}", track.name(row))
        });
        format!(
            "{} took a lease at {now}: {running} run under {what}, at most {max} may{other}",
            track.name(step.row)
        )
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tourbillon::plan::CatchUp;

    use super::super::story::Story;
    use crate::history::RunFacts;

    fn at_most_one(facts: &mut RunFacts) {
        facts.jobs[0].overlap_max = Some(1);
    }

    #[test]
    fn one_after_the_other_is_fine() {
        let mut story = Story::with(at_most_one);
        story.make(1).claim(1).start(1).fail(1, 0).wait(60).make(2).claim(2).wait(31).by(1).claim(1);
        story.is_fine();
    }

    /// Zoo A9.
    #[test]
    fn two_unexpired_leases_overlap() {
        let mut story = Story::with(at_most_one);
        story.make(1).claim(1).start(1).fail(1, 0).wait(60).make(2).claim(2).by(1).claim(1);
        story.flagged_by(&["G15"]);
        let mut story = Story::new();
        story.make(1).claim(1).start(1).fail(1, 0).wait(60).make(2).claim(2).by(1).claim(1);
        story.is_fine();
    }

    /// Three rows that could run, one after the other; each takes its lease while those before hold theirs.
    fn three_at_once(max: u32) -> Story {
        let mut story = Story::with(|facts| facts.jobs[0].overlap_max = Some(max));
        for n in 1..=3 {
            story.make(n).claim(n).start(n).fail(n, 0).wait(60);
        }
        story.claim(1).by(1).claim(2).by(2).claim(3);
        story
    }

    #[test]
    fn as_many_as_the_limit_says_run_at_once() {
        three_at_once(3).is_fine();
        three_at_once(2).flagged_by(&["G15"]);
    }

    #[test]
    fn what_has_ended_or_has_expired_makes_room() {
        let mut story = Story::with(at_most_one);
        story.make(1).claim(1).start(1).fail(1, 0).wait(60).make(2).claim(2).start(2).handler(2).effect(2).succeed(2);
        story.by(1).claim(1).start(1).wait(60).make(3).by(0).claim(3);
        story.is_fine();
    }

    /// Limits of jobs and scopes that share a key are one limit.
    #[test]
    fn rows_of_one_key_count_together_whatever_the_facts_know() {
        let mut story = Story::with(at_most_one);
        story.make(1).claim(1).start(1).fail(1, 0).wait(60).make(2).claim(2).by(1).claim(1);
        if let crate::history::What::Began { facts } = &mut story.history.events[0].what {
            facts.jobs[0].overlap_max = None;
        }
        story.flagged_by(&["G15"]);
    }

    #[test]
    fn the_scenario_limits_even_rows_that_carry_none() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).fail(1, 0).wait(60).make(2).claim(2).by(1).claim(1);
        if let crate::history::What::Began { facts } = &mut story.history.events[0].what {
            at_most_one(facts);
        }
        story.flagged_by(&["G15"]);
    }

    #[test]
    fn a_renewal_makes_an_expired_lease_count_again() {
        let mut story = Story::with(at_most_one);
        story.make(1).claim(1).start(1).wait(60).make(2).by(1).claim(2).by(0).heartbeat(1);
        story.flagged_by(&["G15"]);
    }

    #[test]
    fn who_else_holds_a_lease_is_told_and_proved() {
        let mut story = Story::with(|facts| {
            at_most_one(facts);
            facts.jobs[0].planner.catch_up = CatchUp::EverySlot { window: Duration::from_secs(600), max_slots: 9 };
        });
        // The lease of the first has expired.
        story.make(1).claim(1).wait(60).make(2).wait(60).make(3).claim(2);
        let holder = story.last_applied();
        story.claim(3);
        let taker = story.last_applied();
        story.says(&format!("holds execution {}", story.rows[&2].id));
        story.is_proved_by("run under limit key", &[holder, taker]);
    }
}
