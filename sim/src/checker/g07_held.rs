//! G7, how long a holder works: no tick under a lock goes on after its holder could not trust it any more, nor after it was
//! given back. Both are demanded whether or not anybody else took the lock meanwhile: that nobody did was luck.

use std::collections::BTreeMap;

use tourbillon::{
    model::{Epoch, Incarnation, LockName, RequestId},
    store::{Reply, Verb},
};

use super::{docket::Docket, topic::Topic, track::Track};
use crate::history::{Answer, HostId, RunFacts, What, micros};

/// A lock as one process has it.
type Held<'h> = (Incarnation, &'h LockName, Epoch);

#[derive(Default)]
struct Judge<'h> {
    /// First sending of each request for a lock: true time.
    sent: BTreeMap<RequestId, u64>,
    /// Requests that gave or renewed a lock.
    kept: BTreeMap<RequestId, (&'h LockName, Epoch)>,
    /// The sending of the last of them that was acknowledged: true time, event of the answer.
    trusted: BTreeMap<Held<'h>, (u64, usize)>,
    /// When it was given back: true time, event.
    given_back: BTreeMap<(&'h LockName, Epoch), (u64, usize)>,
    running: BTreeMap<(Incarnation, RequestId), Held<'h>>,
    /// When a host was last held up, or let go.
    held_up: BTreeMap<HostId, u64>,
}

/// Not asked where a fail-over loses commits: there an epoch comes twice. `slowest_ppm` is the slowest drift of each host.
pub(super) fn judge(docket: &mut Docket, track: &Track<'_>, facts: &RunFacts, slowest_ppm: &BTreeMap<HostId, i32>) {
    let mut judge = Judge::default();
    let tolerance_us = micros(facts.granularity).saturating_mul(2);
    for (index, event) in track.about(&[Topic::Lock, Topic::Other]) {
        match &event.what {
            What::Invoked { request, verb, .. } if matches!(&**verb, "acquire_lock" | "renew_lock") => {
                judge.sent.entry(*request).or_insert(event.at_us);
            }
            What::Applied { request, result: Ok(reply), .. } => match (&request.verb, reply) {
                (Verb::AcquireLock(verb), Reply::LockTried(tried)) => {
                    if let Ok(held) = &tried.outcome {
                        judge.kept.insert(request.id, (&verb.name, held.epoch));
                    }
                }
                (Verb::RenewLock(verb), Reply::LockRenewed(renewed)) if renewed.outcome.is_ok() => {
                    judge.kept.insert(request.id, (&verb.lock.name, verb.lock.epoch));
                }
                (Verb::ReleaseLock(verb), Reply::LockReleased(released)) if released.outcome.is_ok() => {
                    judge.given_back.insert((&verb.lock.name, verb.lock.epoch), (event.at_us, index));
                }
                _ => {}
            },
            What::Answered { incarnation, request, answer: Answer::Reply, .. } => {
                let known = judge.kept.get(request).copied().zip(judge.sent.get(request).copied());
                if let Some(((name, epoch), sent_us)) = known {
                    let trusted = judge.trusted.entry((*incarnation, name, epoch)).or_insert((sent_us, index));
                    *trusted = (*trusted).max((sent_us, index));
                }
            }
            What::TickStarted { incarnation, tick, under: Some((name, epoch)), .. } => {
                judge.running.insert((*incarnation, *tick), (*incarnation, name, *epoch));
            }
            What::TickEnded { incarnation, tick, .. } => {
                let Some(held) = judge.running.remove(&(*incarnation, *tick)) else { continue };
                // What it could not see while it was held up it sees right after.
                let up_us = judge.held_up.get(&event.host).copied().unwrap_or(0);
                let over_us = |until_us: u64| event.at_us.saturating_sub(until_us.max(up_us));
                let (_, name, epoch) = held;
                if let Some((back_us, back)) = judge.given_back.get(&(name, epoch)).copied() {
                    let over_us = over_us(back_us);
                    docket.demand(over_us <= tolerance_us, &[back, index], || {
                        format!(
                            "a tick under epoch {epoch} of lock {name} ran for {} ms after it was given back",
                            over_us / 1_000
                        )
                    });
                }
                let service = facts.services.iter().find(|service| service.lock.as_ref() == Some(name));
                if let (Some(service), Some((sent_us, told))) = (service, judge.trusted.get(&held).copied()) {
                    // What a slow monotonic clock makes of it in true time.
                    let ppm = slowest_ppm.get(&event.host).copied().unwrap_or(0).min(0);
                    let rate = (1_000_000 + i64::from(ppm)).unsigned_abs().max(1);
                    let for_us = micros(service.trusted).saturating_mul(1_000_000) / rate;
                    let unseen_us = track.stood_still_us(event.host, sent_us, event.at_us);
                    let over_us = over_us(sent_us.saturating_add(for_us).saturating_add(unseen_us));
                    docket.demand(over_us <= tolerance_us, &[told, index], || {
                        format!(
                            "a tick under epoch {epoch} of lock {name} ran for {} ms after the lock could be trusted",
                            over_us / 1_000
                        )
                    });
                }
            }
            What::Paused | What::Resumed | What::ClockSet { .. } => {
                judge.held_up.insert(event.host, event.at_us);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use crate::history::Answer;

    /// Zoo D1: nobody took it.
    #[test]
    fn a_tick_that_outlives_the_return_of_its_lock_is_seen() {
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).wait(1).release(1).wait(2).tick_ends(1);
        story.flagged_by(&["G7"]);
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).wait(1).tick_ends(1).release(1);
        story.is_fine();
    }

    /// Zoo D2. It is trusted for 27 s.
    #[test]
    fn a_tick_that_outlives_the_trust_in_its_lock_is_seen() {
        let slowly_renewed = |answered_after| {
            let mut story = Story::of_a_service();
            let request = story.acquire(1).tick_starts(1).wait(8).unheard().renew(1).last_request();
            story.wait(answered_after).answer(request, "renew_lock", Answer::Reply).wait(27).tick_ends(1);
            story
        };
        slowly_renewed(0).flagged_by(&["G14"]);
        slowly_renewed(2).flagged_by(&["G7", "G14"]);
    }

    #[test]
    fn a_refusal_gives_no_trust() {
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).wait(31).renew_refused(1).tick_ends(1);
        story.flagged_by(&["G7", "G14"]);
    }

    #[test]
    fn a_lock_that_another_has_is_not_given_back() {
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).wait(1).step_clock(60).by(1).acquire(2).by(0).release(1).wait(2).tick_ends(1);
        story.is_fine();
    }

    /// 27 s of a clock that is slow by 5 % are 28.4 s, and 200 ms are tolerated.
    #[test]
    fn a_slow_clock_trusts_a_lock_for_longer() {
        let ends_after = |ms| {
            let mut story = Story::of_a_service();
            story.drift(-50_000).acquire(1).tick_starts(1).wait_ms(ms).tick_ends(1);
            story
        };
        ends_after(28_600).flagged_by(&["G14"]);
        ends_after(28_700).flagged_by(&["G7", "G14"]);
    }
}
