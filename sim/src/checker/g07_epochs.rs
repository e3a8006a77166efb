//! G7: one holder per epoch, epochs grow, a lock is taken only when it is free, and the work of two epochs does not
//! overlap.
//!
//! The last is demanded while the clocks stay within the margin. When the database clock went forwards, or the holder's
//! monotonic clock stood still, so that a lock expired earlier in true time than its holder could trust it, overlap is
//! excused for that change of holder; a lock that was given back excuses nothing. A process that is paused does nothing
//! meanwhile.

use std::collections::BTreeMap;

use tourbillon::{
    model::{Epoch, Incarnation, LockName, LockRef, RequestId, Timestamp, Token},
    store::{Reply, Verb},
};

use super::{Findings, docket::Docket, g07_held, g07_refused, topic::Topic, track::Track};
use crate::history::{HostId, STANDSTILL_PPM, What};

/// A lock as it must be if every accepted write did what is promised.
struct Shadow {
    epoch: Epoch,
    token: Token,
    ttl_ms: u64,
    renewed_at: Timestamp,
    /// True time of the same.
    renewed_us: u64,
    expires_at: Timestamp,
    is_released: bool,
    /// Event of the last acquire.
    acquired: usize,
}

impl Shadow {
    fn is_held(&self, now: Timestamp) -> bool {
        !self.is_released && now <= self.expires_at
    }

    fn is_of(&self, lock: &LockRef) -> bool {
        self.token == lock.token && self.epoch == lock.epoch
    }
}

/// How an epoch began.
struct Grant {
    event: usize,
    holder: Incarnation,
    /// True time between the last renewal of the holder before and this, if that one did not give it back.
    since_renewal_us: Option<u64>,
}

/// One tick under a lock.
struct Tick<'h> {
    lock: &'h LockName,
    epoch: Epoch,
    host: HostId,
    incarnation: Incarnation,
    started: usize,
    /// When it ran, in true time, without pauses; the last span is open while it runs.
    spans: Vec<(u64, u64)>,
    is_running: bool,
}

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G7");
    let mut grants = BTreeMap::new();
    judge_locks(track, &mut docket, &mut grants);
    once_per_request(track, &mut docket);
    let (ticks, slowest_ppm) = collect(track);
    sometimes!("work of two epochs is not judged where a fail-over loses commits", track.loses_commits());
    // Where a fail-over loses commits an epoch may be given out twice: what is left to judge are the database's answers.
    let Some(facts) = track.facts.filter(|_| !track.loses_commits()) else { return docket.close() };
    g07_refused::judge(&mut docket, track);
    g07_held::judge(&mut docket, track, facts, &slowest_ppm);
    for tick in &ticks {
        let grant: Option<&Grant> = grants.get(&(tick.lock, tick.epoch));
        let is_own = grant.is_some_and(|grant| grant.event < tick.started && grant.holder == tick.incarnation);
        docket.demand(is_own, &[tick.started], || {
            let Tick { lock, epoch, incarnation, .. } = tick;
            format!("a tick of {incarnation} runs under epoch {epoch} of lock {lock}, which it was not granted")
        });
    }
    let mut by_lock: BTreeMap<&LockName, Vec<&Tick<'_>>> = BTreeMap::new();
    for tick in &ticks {
        by_lock.entry(tick.lock).or_default().push(tick);
    }
    for ticks in by_lock.values() {
        let first = ticks.first().map(|tick| tick.epoch);
        let mut are_of_one = true;
        // Those before that are not over when this one begins. The rest overlap none that is still to come.
        let mut running: Vec<&Tick<'_>> = Vec::new();
        for tick in ticks.iter().copied() {
            are_of_one &= Some(tick.epoch) == first;
            running.retain(|other| other.ends_us() > tick.begins_us());
            let others = running.iter().copied().filter(|other| other.epoch != tick.epoch);
            let longest = others.max_by_key(|other| overlap_us(other, tick));
            running.push(tick);
            let Some(other) = longest else {
                if !are_of_one {
                    docket.demand(true, &[], String::new);
                }
                continue;
            };
            // The tick that began later may be the one of the older epoch: its holder trusts the lock and knows no better.
            let (older, newer) = if other.epoch < tick.epoch { (other, tick) } else { (tick, other) };
            let overlap = overlap_us(older, newer);
            let tolerance = u64::try_from(facts.granularity.as_micros()).unwrap_or(u64::MAX) * 2;
            let ppm = slowest_ppm.get(&older.host).copied().unwrap_or(0);
            let is_tolerated = overlap <= tolerance;
            let excused = !is_tolerated && is_excused(track, &grants, (older, newer), ppm);
            sometimes!("work of two epochs is excused by clocks beyond the margin", excused);
            docket.demand(is_tolerated || excused, &[older.started, newer.started], || {
                format!(
                    "work under epochs {} ({}) and {} ({}) of lock {} overlaps by {} ms",
                    older.epoch,
                    older.host,
                    newer.epoch,
                    newer.host,
                    newer.lock,
                    overlap / 1_000
                )
            });
        }
    }
    docket.close()
}

/// Whether the clocks alone let the newer epoch begin while the older could still be trusted.
fn is_excused(
    track: &Track<'_>,
    grants: &BTreeMap<(&LockName, Epoch), Grant>,
    (older, newer): (&Tick<'_>, &Tick<'_>),
    slowest_ppm: i32,
) -> bool {
    let services = track.facts.into_iter().flat_map(|facts| &facts.services);
    let trusted = services.into_iter().find(|service| service.lock.as_ref() == Some(older.lock));
    let Some(trusted) = trusted.map(|service| service.trusted) else { return false };
    // What a slow monotonic clock makes of it in true time.
    let rate = (1_000_000 + i64::from(slowest_ppm.min(0))).unsigned_abs().max(1);
    let trusted_us = u64::try_from(trusted.as_micros() * 1_000_000 / u128::from(rate)).unwrap_or(u64::MAX);
    let later = grants.range((older.lock, Epoch(older.epoch.0 + 1))..=(newer.lock, newer.epoch)).next();
    later.is_some_and(|(_, grant)| {
        let at_us = track.history.events[grant.event].at_us;
        grant.since_renewal_us.is_some_and(|since_us| {
            let unseen_us = track.stood_still_us(older.host, at_us - since_us, at_us);
            sometimes!("a holder is excused because its clock stood still", since_us >= trusted_us && unseen_us > 0);
            since_us < trusted_us.saturating_add(unseen_us)
        })
    })
}

impl Tick<'_> {
    fn begins_us(&self) -> u64 {
        self.spans.first().map_or(0, |span| span.0)
    }

    fn ends_us(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.1)
    }
}

fn overlap_us(a: &Tick<'_>, b: &Tick<'_>) -> u64 {
    let pairs = a.spans.iter().flat_map(|a| b.spans.iter().map(move |b| (a, b)));
    pairs.map(|(a, b)| a.1.min(b.1).saturating_sub(a.0.max(b.0))).sum()
}

/// A repeated acquire answers from its receipt: nobody is told that a lock is taken which they have (B32).
fn once_per_request(track: &Track<'_>, docket: &mut Docket) {
    for &(first, again) in &track.broken_repeats {
        if let What::Applied { request, .. } = &track.history.events[again].what
            && matches!(request.verb, Verb::AcquireLock(_))
        {
            let id = request.id;
            docket
                .demand(false, &[first, again], || format!("repeated acquire {id} did not return its first outcome"));
        }
    }
}

fn judge_locks<'h>(track: &Track<'h>, docket: &mut Docket, grants: &mut BTreeMap<(&'h LockName, Epoch), Grant>) {
    let mut locks: BTreeMap<&LockName, Shadow> = BTreeMap::new();
    for (event, now, request, reply) in track.applied() {
        let at_us = track.history.events[event].at_us;
        match (&request.verb, reply) {
            (Verb::AcquireLock(verb), Reply::LockTried(tried)) => {
                let before = locks.get(&verb.name);
                let name = &verb.name;
                let is_held = before.is_some_and(|lock| lock.is_held(now));
                let last = before.map_or(event, |lock| lock.acquired);
                let Ok(held) = tried.outcome else {
                    docket.demand(is_held, &[last, event], || {
                        format!("lock {name} was refused at {now}, and nobody held it")
                    });
                    continue;
                };
                docket.demand(!is_held, &[last, event], || {
                    format!("lock {name} was taken at {now} while its holder had it")
                });
                docket.demand(before.is_none_or(|lock| held.epoch > lock.epoch), &[last, event], || {
                    format!("epoch {} of lock {name} is not above the one before", held.epoch)
                });
                let since_renewal_us =
                    before.filter(|lock| !lock.is_released).map(|lock| at_us.saturating_sub(lock.renewed_us));
                grants.insert((name, held.epoch), Grant { event, holder: verb.holder, since_renewal_us });
                locks.insert(
                    name,
                    Shadow {
                        epoch: held.epoch,
                        token: Token(request.id.0),
                        ttl_ms: verb.ttl_ms,
                        renewed_at: now,
                        renewed_us: at_us,
                        expires_at: after_ms(now, verb.ttl_ms),
                        is_released: false,
                        acquired: event,
                    },
                );
            }
            (Verb::RenewLock(verb), Reply::LockRenewed(renewed)) => {
                let lock = locks.get_mut(&verb.lock.name);
                let holds = lock.as_ref().is_some_and(|lock| lock.is_of(&verb.lock) && lock.is_held(now));
                docket.demand(renewed.outcome.is_ok() == holds, &[event], || {
                    let (LockRef { name, epoch, .. }, said) = (&verb.lock, &renewed.outcome);
                    format!("renewal of lock {name}, epoch {epoch}, at {now} was answered {said:?}")
                });
                if let (true, true, Some(lock)) = (holds, renewed.outcome.is_ok(), lock) {
                    lock.renewed_at = now;
                    lock.renewed_us = at_us;
                    lock.expires_at = after_ms(now, lock.ttl_ms);
                }
            }
            (Verb::ReleaseLock(verb), Reply::LockReleased(released)) => {
                let lock = locks.get_mut(&verb.lock.name);
                let holds = lock.as_ref().is_some_and(|lock| lock.is_of(&verb.lock));
                docket.demand(released.outcome.is_ok() == holds, &[event], || {
                    let (LockRef { name, epoch, .. }, said) = (&verb.lock, &released.outcome);
                    format!("release of lock {name}, epoch {epoch}, was answered {said:?}")
                });
                if let (true, Some(lock)) = (holds, lock) {
                    lock.is_released = true;
                }
            }
            (Verb::Rescue(_), Reply::Rescued(rescued)) => {
                for name in &rescued.clamped_locks {
                    let Some(lock) = locks.get_mut(name) else { continue };
                    let back = lock.renewed_at.since(now);
                    docket.demand(!back.is_zero() && !lock.is_released, &[event], || {
                        format!("lock {name} was moved to the present at {now}, and lies in no withdrawn future")
                    });
                    lock.expires_at = lock.expires_at - back;
                    lock.renewed_at = lock.renewed_at - back;
                }
            }
            _ => {}
        }
    }
}

fn after_ms(now: Timestamp, ms: u64) -> Timestamp {
    now + std::time::Duration::from_millis(ms)
}

/// All ticks under locks, in the order of their starts, and the slowest drift of each host.
fn collect<'h>(track: &Track<'h>) -> (Vec<Tick<'h>>, BTreeMap<HostId, i32>) {
    let mut ticks: Vec<Tick<'_>> = Vec::new();
    let mut running: BTreeMap<(Incarnation, RequestId), usize> = BTreeMap::new();
    let mut slowest: BTreeMap<HostId, i32> = BTreeMap::new();
    for (index, event) in track.about(&[Topic::Other]) {
        match &event.what {
            What::TickStarted { incarnation, tick, under: Some((lock, epoch)), .. } => {
                running.insert((*incarnation, *tick), ticks.len());
                ticks.push(Tick {
                    lock,
                    epoch: *epoch,
                    host: event.host,
                    incarnation: *incarnation,
                    started: index,
                    spans: vec![(event.at_us, u64::MAX)],
                    is_running: true,
                });
            }
            What::TickEnded { incarnation, tick, .. } => {
                if let Some(tick) = running.remove(&(*incarnation, *tick)) {
                    stop(&mut ticks[tick], event.at_us);
                }
            }
            // Nothing of the process runs after any of these.
            What::Crashed { incarnation, .. } | What::ShutdownEnded { incarnation, .. } => {
                running.retain(|(process, _), tick| {
                    if process == incarnation {
                        stop(&mut ticks[*tick], event.at_us);
                    }
                    process != incarnation
                });
            }
            What::Paused => {
                for tick in
                    running.values().filter(|tick| ticks[**tick].host == event.host).copied().collect::<Vec<_>>()
                {
                    stop(&mut ticks[tick], event.at_us);
                }
            }
            What::Resumed => {
                for tick in
                    running.values().filter(|tick| ticks[**tick].host == event.host).copied().collect::<Vec<_>>()
                {
                    ticks[tick].spans.push((event.at_us, u64::MAX));
                    ticks[tick].is_running = true;
                }
            }
            What::ClockSet { drift_ppm, .. } => {
                let slowest = slowest.entry(event.host).or_default();
                // A standstill is counted by its length.
                *slowest = (*slowest).min(if *drift_ppm == STANDSTILL_PPM { 0 } else { *drift_ppm });
            }
            _ => {}
        }
    }
    let end_us = track.history.events.last().map_or(0, |event| event.at_us);
    for tick in &mut ticks {
        stop(tick, end_us);
    }
    (ticks, slowest)
}

fn stop(tick: &mut Tick<'_>, at_us: u64) {
    if std::mem::replace(&mut tick.is_running, false)
        && let Some(span) = tick.spans.last_mut()
    {
        span.1 = at_us;
    }
}

#[cfg(test)]
mod tests {
    use tourbillon::{
        model::{HeldBy, Token},
        store::{Reply, Verb},
    };
    use uuid::Uuid;

    use super::super::story::{Story, incarnation};
    use crate::history::STANDSTILL_PPM;

    /// Replica 0 has the lock and ticks under it.
    fn ticking() -> Story {
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1);
        story
    }

    #[test]
    fn holders_that_follow_each_other_are_fine() {
        let mut story = ticking();
        story.wait(5).renew(1).wait(5).tick_ends(1).release(1).by(1).acquire(2).tick_starts(2).wait(5);
        story.by(0).acquire(3).by(1).renew(2).tick_ends(2).wait(31).by(0).acquire(4).by(1).renew(2);
        story.is_fine();
    }

    #[test]
    fn a_lock_that_is_held_is_not_taken() {
        let mut story = ticking();
        story.wait(5).by(1).acquire_anyway(2);
        story.flagged_by(&["G7"]);
    }

    #[test]
    fn an_epoch_is_never_used_twice() {
        let mut story = Story::of_a_service();
        story.acquire(1).release(1).by(1).acquire_as_epoch(2, 1);
        story.flagged_by(&["G7"]);
    }

    #[test]
    fn a_renewal_by_name_only_is_seen() {
        let mut story = Story::of_a_service();
        story.acquire(1).wait(31).by(1).acquire(2).by(0).renew_anyway(1);
        story.flagged_by(&["G7"]);
    }

    #[test]
    fn a_holder_is_not_refused() {
        let mut story = Story::of_a_service();
        story.acquire(1).wait(5).renew_refused(1);
        story.flagged_by(&["G7"]);
    }

    /// The holder asks for its lock, and nobody hears it.
    fn cut_off(story: &mut Story, seconds: u64) -> &mut Story {
        for _ in 0..seconds {
            story.wait(1).invoke("renew_lock", &[]);
        }
        story
    }

    #[test]
    fn work_does_not_go_on_beside_the_next_epoch() {
        let mut story = ticking();
        cut_off(&mut story, 31).by(1).acquire(2).tick_starts(2).wait(1).by(0).tick_ends(1);
        story.flagged_by(&["G7"]);
    }

    #[test]
    fn a_lock_is_not_given_back_under_its_work() {
        let mut story = ticking();
        story.wait(5).release(1).by(1).acquire(2).tick_starts(2).wait(1).by(0).tick_ends(1);
        story.flagged_by(&["G7"]);
    }

    #[test]
    fn a_paused_process_does_not_work() {
        let mut story = ticking();
        story.pause().wait(31).by(1).acquire(2).tick_starts(2).wait(5).by(0).resume().tick_ends(1);
        story.is_fine();
    }

    #[test]
    fn a_step_of_the_database_clock_beyond_the_margin_excuses() {
        let mut story = ticking();
        story.wait(5).step_clock(40).by(1).acquire(2).tick_starts(2).wait(5).by(0).tick_ends(1);
        story.is_fine();
    }

    #[test]
    fn the_tick_that_begins_last_may_be_of_the_older_epoch() {
        let late = |step_s, wait_s| {
            let mut story = Story::of_a_service();
            story.acquire(1).wait(5).step_clock(step_s).wait(wait_s).by(1).acquire(2).tick_starts(2);
            story.wait(1).by(0).tick_starts(1).wait(5).tick_ends(1);
            story
        };
        late(40, 0).is_fine();
        late(0, 31).flagged_by(&["G7"]);
    }

    /// The lock is trusted for 27 s of it, and the tick ends after 36 s.
    #[test]
    fn a_holder_whose_clock_stood_still_is_excused_for_as_long() {
        let resumed_after = |standstill| {
            let mut story = ticking();
            let after = 31 - standstill;
            story.drift(STANDSTILL_PPM).wait(standstill).drift(0);
            cut_off(&mut story, after).by(1).acquire(2).tick_starts(2).wait(5).by(0).tick_ends(1);
            story
        };
        resumed_after(9).is_fine();
        resumed_after(8).flagged_by(&["G7"]);
    }

    #[test]
    fn a_tick_shows_an_epoch_of_its_own_process() {
        let mut story = Story::of_a_service();
        story.acquire(1).by(1).tick_starts(1);
        story.flagged_by(&["G7"]);
    }

    #[test]
    fn a_renewal_without_the_token_is_seen() {
        let mut story = Story::of_a_service();
        story.acquire(1).wait(5).renew(1).forge(|verb, _| {
            if let Verb::RenewLock(renewal) = verb {
                renewal.lock.token = Token(Uuid::nil());
            }
        });
        story.flagged_by(&["G7"]);
    }

    /// The work of epoch 1 goes on, and that of epoch 2 beside it, for so long; then nothing more is known.
    fn beside(story: &mut Story, ms: u64) -> &mut Story {
        story.by(1).acquire(2).tick_starts(2).wait_ms(ms).tick_ends(2)
    }

    /// Nobody saw it end, so that only its overlap can be held against it. Twice the granularity is tolerated.
    #[test]
    fn work_that_nobody_saw_end_does_not_overlap_either() {
        let overlaps_for = |ms| {
            let mut story = ticking();
            beside(cut_off(&mut story, 31), ms);
            story
        };
        overlaps_for(200).is_fine();
        overlaps_for(201).flagged_by(&["G7"]);
    }

    #[test]
    fn a_lock_that_expires_before_its_holder_may_trust_it_no_longer_excuses() {
        let taken_after = |ppm, ms| {
            let mut story = Story::of_a_service();
            story.drift(ppm).acquire(1).tick_starts(1).wait_ms(ms).step_clock(40);
            beside(&mut story, 300);
            story
        };
        taken_after(0, 26_999).is_fine();
        taken_after(0, 27_000).flagged_by(&["G7"]);
        // 27 s of a clock that is slow by 5 % are 28.4 s.
        taken_after(-50_000, 28_400).is_fine();
        taken_after(-50_000, 28_500).flagged_by(&["G7"]);
    }

    #[test]
    fn a_standstill_before_the_last_renewal_excuses_nothing() {
        let mut story = ticking();
        story.drift(STANDSTILL_PPM).wait(9).drift(0).renew(1);
        beside(cut_off(&mut story, 31), 300);
        story.flagged_by(&["G7"]);
    }

    #[test]
    fn a_repeated_acquire_is_told_what_it_got_the_first_time() {
        let mut story = Story::of_a_service();
        story.acquire(1).repeat();
        story.is_fine();
        story.forge(|_, reply| {
            if let Reply::LockTried(tried) = reply
                && let Ok(held) = tried.outcome
            {
                let expires_at = held.expires_at;
                tried.outcome = Err(HeldBy { holder: incarnation(0), epoch: held.epoch, expires_at });
            }
        });
        story.flagged_by(&["G7"]);
    }

    #[test]
    fn a_lock_is_moved_to_the_present_from_a_withdrawn_future_and_from_nowhere_else() {
        let mut story = Story::of_a_service();
        story.acquire(1).step_clock(-3_600).clamp_lock(3_600).wait(31).by(1).acquire(2);
        story.is_fine();
        let mut story = Story::of_a_service();
        story.acquire(1).clamp_lock(0);
        story.flagged_by(&["G7"]);
        let mut story = Story::of_a_service();
        story.acquire(1).release(1).step_clock(-3_600).clamp_lock(3_600);
        story.flagged_by(&["G7"]);
    }

    #[test]
    fn a_crash_ends_the_work_of_its_process_and_of_no_other() {
        let mut story = ticking();
        story.crash().wait(31);
        beside(&mut story, 5_000);
        story.is_fine();
        let mut story = ticking();
        cut_off(&mut story, 31).by(2).crash();
        beside(&mut story, 5_000);
        story.flagged_by(&["G7"]);
        let mut story = ticking();
        story.by(2).crash().by(0).wait(5).tick_ends(1).release(1);
        beside(&mut story, 5_000);
        story.is_fine();
    }

    #[test]
    fn a_process_that_goes_on_works_again() {
        let mut story = ticking();
        story.pause().wait(31).by(1).acquire(2).tick_starts(2).by(0).resume().wait_ms(201).by(1).tick_ends(2);
        story.flagged_by(&["G7"]);
    }

    #[test]
    fn work_is_not_compared_where_a_fail_over_loses_an_epoch() {
        let mut story = ticking();
        story.lose(1).by(1).acquire_as_epoch(2, 1).tick_starts(2).wait(5).tick_ends(2);
        story.is_fine();
    }
}
