//! Owns the rules: from rows and the database's time to findings. A schedule is walked slot by slot and never further than
//! [`MOST_COUNTED`], so that a judgement costs the same a year after the last success.

use std::time::Duration;

use super::{
    Bounds, Cause, Facts, Finding, Freshness, JobFacts, JobHealth, LockHealth, QueueHealth, Report, ScopeFacts,
    ScopeHealth, report::MOST_COUNTED,
};
use crate::{
    model::{JobName, Lock, Timestamp},
    plan::{Begin, CatchUp, Planner, Schedule},
    store::{JobStats, Success},
};

/// Judges rows.
///
/// **Stale.** A scope is judged from its newest slot that succeeded, or from a later edit of its schedule (the end of a pause
/// is one), or, where no success is known, from the oldest slot of which there is an execution. From there on each slot has
/// the time until the next one is due. When [`Bounds::missed_periods`] in a row had that time and none succeeded, the scope is
/// stale. Runs that an operator triggered are no slots and make nothing fresh.
///
/// **Late.** The oldest row of a job or queue that is due and not claimed has waited for longer than [`Bounds::max_lag`]. Rows
/// of a job that is paused, as a whole or in one of its scopes, may wait.
///
/// ```
/// use tourbillon::{health::{Bounds, Facts, judge}, model::Timestamp};
/// let nothing = Facts { now: Timestamp::EPOCH, jobs: Vec::new(), live: Default::default(), locks: Vec::new() };
/// assert!(judge(&nothing, &Bounds::default()).is_healthy());
/// ```
pub fn judge(facts: &Facts, bounds: &Bounds) -> Report {
    let jobs: Vec<_> = facts.jobs.iter().map(|job| job_health(job, facts, bounds)).collect();
    let is_job = |name: &JobName| jobs.iter().any(|job| job.job == *name);
    let queues: Vec<_> = facts
        .live
        .iter()
        .filter(|(name, _)| !is_job(name))
        .map(|(name, live)| {
            let (oldest_due_at, lag_ms) = lag(live, facts.now);
            QueueHealth { queue: name.clone(), live: live.clone(), oldest_due_at, lag_ms }
        })
        .collect();
    let mut findings: Vec<_> = jobs.iter().filter_map(stale).collect();
    let late = |name: &JobName, live: &JobStats, due_at: Option<Timestamp>, lag_ms: u64| {
        let is_late = u128::from(lag_ms) > bounds.max_lag.as_millis();
        let next_turn_at = live.turns.and_then(|turns| turns.next_at);
        due_at.filter(|_| is_late).map(|due_at| Finding::Late { name: name.clone(), due_at, lag_ms, next_turn_at })
    };
    let waits = jobs.iter().filter(|job| !is_held(job));
    findings.extend(waits.filter_map(|job| late(&job.job, &job.live, job.oldest_due_at, job.lag_ms)));
    findings
        .extend(queues.iter().filter_map(|queue| late(&queue.queue, &queue.live, queue.oldest_due_at, queue.lag_ms)));
    let locks = facts.locks.iter().map(|lock| lock_health(lock, facts.now)).collect();
    Report { now: facts.now, findings, jobs, queues, locks }
}

fn job_health(job: &JobFacts, facts: &Facts, bounds: &Bounds) -> JobHealth {
    let entry = &job.entry;
    let look = Look { job, planner: planner(job), now: facts.now, bounds };
    let scopes: Vec<_> = job.scopes.iter().map(|scope| look.scope(scope)).collect();
    let live = facts.live.get(&entry.job).cloned().unwrap_or_default();
    let (oldest_due_at, lag_ms) = lag(&live, facts.now);
    JobHealth {
        job: entry.job.clone(),
        schedule: entry.rules.as_ref().map(|rules| rules.schedule.clone()),
        stored_schedules: entry.rules.as_ref().is_some_and(|rules| rules.stored_schedules),
        paused_at: entry.paused_at,
        live,
        oldest_due_at,
        lag_ms,
        last_success: entry.last_success,
        next_due_at: scopes.iter().filter_map(|scope| scope.next_due_at).min(),
        unseen_scopes: entry.scopes.saturating_sub(scopes.len() as u64),
        scopes,
    }
}

/// The schedule as data. What this program cannot read, for example a kind of schedule that a newer one registered, is as if
/// it were not told.
fn planner(job: &JobFacts) -> Option<Planner> {
    let told = job.entry.rules.as_ref()?.planner.as_ref()?;
    serde_json::from_str(told.as_str()).ok()
}

struct Look<'a> {
    job: &'a JobFacts,
    planner: Option<Planner>,
    now: Timestamp,
    bounds: &'a Bounds,
}

impl Look<'_> {
    fn scope(&self, scope: &ScopeFacts) -> ScopeHealth {
        let cursor = &scope.entry.cursor;
        // The job's planner says nothing of a scope that has a schedule to itself.
        let own = scope.stored.clone().map(|schedule| self.own(schedule));
        let planner = own.as_ref().or_else(|| self.planner.as_ref().filter(|_| cursor.schedule_hash.is_none()));
        let is_paused = self.job.entry.paused_at.is_some() || scope.entry.paused_at.is_some();
        let freshness = match planner {
            _ if is_paused => Freshness::Paused,
            Some(planner) => self.freshness(planner, scope),
            None => Freshness::Unknown,
        };
        // Behind the cursor there may be slots that are due already: the first of them is what comes next.
        let next = |planner: &Planner| planner.next_due(Some(cursor.at), self.now);
        ScopeHealth {
            scope: cursor.scope.clone(),
            planned_at: cursor.at,
            last_success: scope.entry.last_success,
            next_due_at: planner.filter(|_| !is_paused).and_then(next),
            freshness,
        }
    }

    /// By when slots of a schedule in the database are due. What becomes of missed ones does not matter here.
    fn own(&self, schedule: Schedule) -> Planner {
        let delay_ms = self.job.entry.rules.as_ref().map_or(0, |rules| rules.delay_ms);
        let (delay, begin) = (Duration::from_millis(delay_ms), Begin::default());
        Planner { schedule, delay, catch_up: CatchUp::LatestOnly, max_lateness: None, begin }
    }

    fn freshness(&self, planner: &Planner, scope: &ScopeFacts) -> Freshness {
        let Some(since) = self.judged_from(scope) else { return Freshness::Unknown };
        let due_after = |slot: Timestamp| {
            let next = planner.schedule.next_after(slot)?;
            (planner.due_at(next) <= self.now).then_some(next)
        };
        let Some(mut slot) = due_after(since) else { return Freshness::Fresh };
        let (mut missed, mut stale_at) = (0, None);
        while let Some(next) = due_after(slot).filter(|_| missed < MOST_COUNTED) {
            (slot, missed) = (next, missed + 1);
            if missed >= self.bounds.missed_periods.clamp(1, MOST_COUNTED) {
                stale_at.get_or_insert(planner.due_at(next));
            }
        }
        let Some(stale_at) = stale_at else { return Freshness::Fresh };
        // A planner that is up makes a slot as soon as it is due, so one that had its period and is not made has none.
        let is_planned = due_after(scope.entry.cursor.at).and_then(due_after).is_none();
        let cause = if is_planned { Cause::NotSucceeding } else { Cause::NotPlanned };
        Freshness::Stale { stale_at, missed, cause }
    }

    /// No slot at or before this is held against the scope.
    fn judged_from(&self, scope: &ScopeFacts) -> Option<Timestamp> {
        let success = scope.entry.last_success.map(|Success { slot_at, .. }| slot_at);
        let edits = self.job.entry.edited_at.max(scope.entry.cursor.edited_at);
        success.max(edits).or_else(|| Some(scope.first_slot_at?.offset_micros(-1)))
    }
}

fn lag(live: &JobStats, now: Timestamp) -> (Option<Timestamp>, u64) {
    let due_at = live.oldest_claimable_at.filter(|at| *at <= now);
    (due_at, due_at.map_or(0, |at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)))
}

fn is_held(job: &JobHealth) -> bool {
    job.paused_at.is_some() || job.scopes.iter().any(|scope| scope.freshness == Freshness::Paused)
}

/// One finding for all scopes of a job, by the one that is stale for the longest.
fn stale(job: &JobHealth) -> Option<Finding> {
    let stale = job.scopes.iter().filter_map(|scope| match scope.freshness {
        Freshness::Stale { stale_at, missed, cause } => Some((stale_at, &scope.scope, missed, cause)),
        Freshness::Fresh | Freshness::Paused | Freshness::Unknown => None,
    });
    let (stale_at, worst, missed, cause) = stale.min_by_key(|(stale_at, scope, ..)| (*stale_at, *scope))?;
    let (job, scopes) = (job.job.clone(), job.stale_scopes() as u64);
    Some(Finding::Stale { job, cause, scopes, worst: worst.clone(), missed, stale_at })
}

fn lock_health(lock: &Lock, now: Timestamp) -> LockHealth {
    let is_held = lock.is_held(now);
    LockHealth {
        lock: lock.name.clone(),
        held_by: is_held.then_some(lock.holder),
        epoch: lock.epoch,
        acquired_at: lock.acquired_at,
        expires_at: is_held.then_some(lock.expires_at),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        model::{Audit, Epoch, Incarnation, Json, LockName, Reentry, Scope, Supersede, Token, Turns},
        plan::{Cadence, Cron},
        store::{Cursor, JobEntry, RegisteredRules, ScopeEntry, SpecHash},
    };

    const HOUR: i64 = 3_600;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn name(text: &str) -> JobName {
        JobName::new(text).unwrap()
    }

    fn hourly() -> Schedule {
        Cadence::new(Duration::from_secs(3_600)).unwrap().anchored_at(Timestamp::EPOCH).into()
    }

    fn told(schedule: Schedule, delay: Duration) -> RegisteredRules {
        let words = schedule.to_string();
        let planner =
            Planner { schedule, delay, catch_up: CatchUp::LatestOnly, max_lateness: None, begin: Begin::default() };
        RegisteredRules {
            stored_schedules: false,
            delay_ms: 0,
            schedule: words,
            planner: Some(Json::new(&serde_json::to_value(&planner).unwrap()).unwrap()),
            priority: 0,
            max_attempts: 3,
            lease_ms: 90_000,
            reentry: Reentry::Allow,
            supersede: Supersede::ByNewerSlot,
            max_overlap: Some(1),
            audit: Audit::default(),
        }
    }

    /// An hourly job with one scope that is planned up to now.
    fn job(now: i64, succeeded: Option<i64>) -> JobFacts {
        let last_success = succeeded.map(|slot| Success { slot_at: at(slot), finished_at: at(slot + 60) });
        let cursor = Cursor {
            scope: Scope::global(),
            at: at(now - now % HOUR),
            high_water: at(now),
            newest_slot: Some(at(now - now % HOUR)),
            schedule_hash: None,
            edited_at: None,
        };
        let entry = JobEntry {
            job: name("digest"),
            spec_hash: SpecHash("spec".into()),
            rules: Some(told(hourly(), Duration::ZERO)),
            edited_at: None,
            scopes: 1,
            paused_at: None,
            last_success,
        };
        let scope = ScopeEntry { cursor, paused_at: None, last_success };
        JobFacts { entry, scopes: vec![ScopeFacts { entry: scope, first_slot_at: None, stored: None }] }
    }

    fn facts(now: i64, job: JobFacts) -> Facts {
        Facts { now: at(now), jobs: vec![job], live: BTreeMap::new(), locks: Vec::new() }
    }

    fn freshness(now: i64, job: JobFacts) -> Freshness {
        judge(&facts(now, job), &Bounds::default()).jobs[0].scopes[0].freshness
    }

    fn stale(stale_at: i64, missed: u32, cause: Cause) -> Freshness {
        Freshness::Stale { stale_at: at(stale_at), missed, cause }
    }

    #[test]
    fn a_scope_is_stale_from_the_instant_at_which_the_last_slot_allowed_had_its_period() {
        // 1:00 succeeded; the periods of 2:00 and 3:00 are over at 4:00.
        for now in [HOUR, 2 * HOUR, 4 * HOUR - 1] {
            assert_eq!(freshness(now, job(now, Some(HOUR))), Freshness::Fresh, "at {now}");
        }
        assert_eq!(freshness(4 * HOUR, job(4 * HOUR, Some(HOUR))), stale(4 * HOUR, 2, Cause::NotSucceeding));
        assert_eq!(freshness(9 * HOUR, job(9 * HOUR, Some(HOUR))), stale(4 * HOUR, 7, Cause::NotSucceeding));
    }

    #[test]
    fn a_scope_is_judged_by_the_schedule_that_the_database_keeps_for_it() {
        let stored = |edited_at: i64, delay_ms| {
            let mut job = job(9 * HOUR, None);
            let rules = job.entry.rules.as_mut().unwrap();
            (rules.planner, rules.stored_schedules, rules.delay_ms) = (None, true, delay_ms);
            let scope = &mut job.scopes[0];
            scope.stored = Some(hourly());
            let cursor = &mut scope.entry.cursor;
            (cursor.at, cursor.edited_at) = (at(edited_at), Some(at(edited_at)));
            cursor.schedule_hash = Some(SpecHash("own".into()));
            job
        };
        // Put at half past five, and nobody planned it: 6:00 and 7:00 had their periods.
        let nobody = stored(5 * HOUR + HOUR / 2, 0);
        assert_eq!(freshness(8 * HOUR, nobody.clone()), stale(8 * HOUR, 2, Cause::NotPlanned));
        assert_eq!(freshness(8 * HOUR - 1, nobody), Freshness::Fresh);
        assert_eq!(freshness(8 * HOUR + 1, stored(5 * HOUR + HOUR / 2, 60_000)), Freshness::Fresh, "a minute more");
        let mut removed = stored(5 * HOUR, 0);
        (removed.scopes[0].stored, removed.scopes[0].entry.cursor.schedule_hash) = (None, None);
        assert_eq!(freshness(9 * HOUR, removed), Freshness::Unknown);
    }

    #[test]
    fn a_delay_is_waited_for() {
        let mut delayed = job(4 * HOUR, Some(HOUR));
        delayed.entry.rules = Some(told(hourly(), Duration::from_secs(60)));
        assert_eq!(freshness(4 * HOUR, delayed.clone()), Freshness::Fresh);
        assert!(matches!(freshness(4 * HOUR + 60, delayed), Freshness::Stale { .. }));
    }

    #[test]
    fn a_cursor_that_stands_still_is_told_from_runs_that_fail() {
        let mut facts = job(9 * HOUR, Some(HOUR));
        facts.scopes[0].entry.cursor.at = at(7 * HOUR);
        assert_eq!(freshness(9 * HOUR, facts.clone()), stale(4 * HOUR, 7, Cause::NotPlanned));
        facts.scopes[0].entry.cursor.at = at(8 * HOUR);
        let cause = stale(4 * HOUR, 7, Cause::NotSucceeding);
        assert_eq!(freshness(9 * HOUR, facts), cause, "a slot that is due since just now");
    }

    #[test]
    fn a_scope_that_never_succeeded_is_judged_from_its_oldest_slot_and_one_without_slots_is_not() {
        let mut facts = job(4 * HOUR, None);
        assert_eq!(freshness(4 * HOUR, facts.clone()), Freshness::Unknown);
        facts.scopes[0].first_slot_at = Some(at(3 * HOUR));
        assert_eq!(freshness(4 * HOUR, facts.clone()), Freshness::Fresh);
        facts.scopes[0].first_slot_at = Some(at(2 * HOUR));
        assert_eq!(freshness(4 * HOUR, facts), stale(4 * HOUR, 2, Cause::NotSucceeding));
    }

    #[test]
    fn an_edit_and_the_end_of_a_pause_give_it_time_again() {
        let mut edited = job(9 * HOUR, Some(HOUR));
        edited.entry.edited_at = Some(at(8 * HOUR - 1));
        assert_eq!(freshness(9 * HOUR, edited), Freshness::Fresh);
        let mut resumed = job(9 * HOUR, Some(HOUR));
        resumed.scopes[0].entry.cursor.edited_at = Some(at(6 * HOUR));
        assert_eq!(freshness(9 * HOUR, resumed), stale(9 * HOUR, 2, Cause::NotSucceeding));
    }

    #[test]
    fn what_is_paused_is_neither_stale_nor_late_and_has_no_next_slot() {
        for whole in [true, false] {
            let mut paused = job(9 * HOUR, Some(HOUR));
            let of = if whole { &mut paused.entry.paused_at } else { &mut paused.scopes[0].entry.paused_at };
            *of = Some(at(HOUR));
            let mut facts = facts(9 * HOUR, paused);
            let waits = JobStats { scheduled: 1, oldest_claimable_at: Some(at(HOUR)), ..JobStats::default() };
            facts.live.insert(name("digest"), waits);
            let report = judge(&facts, &Bounds::default());
            assert_eq!(report.findings, []);
            assert_eq!(report.lag(), Duration::from_secs(8 * 3_600), "it is told all the same");
            assert_eq!((report.jobs[0].scopes[0].freshness, report.jobs[0].next_due_at), (Freshness::Paused, None));
        }
    }

    #[test]
    fn a_schedule_that_is_not_told_or_not_read_is_unknown() {
        let now = 9 * HOUR;
        let mut silent = job(now, Some(HOUR));
        silent.entry.rules = None;
        let mut newer = job(now, Some(HOUR));
        newer.entry.rules.as_mut().unwrap().planner = Some(Json::from_stored(r#"{"schedule":{"moon":"full"}}"#));
        let mut own = job(now, Some(HOUR));
        own.scopes[0].entry.cursor.schedule_hash = Some(SpecHash("own".into()));
        for unknown in [silent, newer, own] {
            assert_eq!(freshness(now, unknown), Freshness::Unknown);
        }
    }

    #[test]
    fn next_slots_follow_the_cursor_and_cron_is_read_with_its_zone() {
        let now = 4 * HOUR + 10;
        let report = judge(&facts(now, job(now, Some(4 * HOUR))), &Bounds::default());
        assert_eq!(report.jobs[0].next_due_at, Some(at(5 * HOUR)));
        let mut nightly = job(now, Some(4 * HOUR));
        nightly.entry.rules = Some(told(Cron::new("0 8 * * *", "Europe/Berlin").unwrap().into(), Duration::ZERO));
        let report = judge(&facts(now, nightly), &Bounds::default());
        assert_eq!(report.jobs[0].next_due_at, Some(at(7 * HOUR)), "1970 had no summer time there");
    }

    #[test]
    fn years_of_silence_are_counted_up_to_a_bound() {
        let now = 100_000 * HOUR;
        assert_eq!(freshness(now, job(now, Some(HOUR))), stale(4 * HOUR, 1_000, Cause::NotSucceeding));
    }

    #[test]
    fn a_job_is_one_finding_by_its_worst_scope() {
        let mut many = job(9 * HOUR, Some(HOUR));
        let mut worse = many.scopes[0].clone();
        worse.entry.cursor.scope = Scope::new("tenant", "acme").unwrap();
        worse.entry.last_success = Some(Success { slot_at: at(0), finished_at: at(1) });
        many.scopes.push(worse);
        many.entry.scopes = 5;
        let report = judge(&facts(9 * HOUR, many), &Bounds::default());
        assert_eq!((report.findings.len(), report.jobs[0].unseen_scopes), (1, 3));
        let line = report.findings[0].to_string();
        assert!(line.starts_with("job `digest` has no success for tenant/acme in 8 slots"), "{line}");
        assert!(line.contains("and another scope is stale"), "{line}");
        let one = judge(&facts(9 * HOUR, job(9 * HOUR, Some(HOUR))), &Bounds::default());
        assert!(!one.is_healthy());
        let line = one.findings[0].to_string();
        assert!(line.contains("stale since") && !line.contains("other"), "{line}");
    }

    #[test]
    fn an_execution_of_a_job_is_late_beyond_the_bound_like_any_item() {
        let mut facts = facts(4 * HOUR, job(4 * HOUR, Some(4 * HOUR)));
        let waits = JobStats { scheduled: 1, oldest_claimable_at: Some(at(3 * HOUR)), ..JobStats::default() };
        facts.live.insert(name("digest"), waits);
        let late =
            Finding::Late { name: name("digest"), due_at: at(3 * HOUR), lag_ms: 3_600_000, next_turn_at: None };
        assert_eq!(judge(&facts, &Bounds::default()).findings, [late]);
    }

    #[test]
    fn a_queue_is_late_beyond_the_bound_and_not_at_it() {
        let live = JobStats { scheduled: 2, oldest_claimable_at: Some(at(1_000)), ..JobStats::default() };
        let late = |now: i64| {
            let mut facts = facts(now, job(now, Some(0)));
            facts.live.insert(name("mail"), live.clone());
            judge(&facts, &Bounds::default())
        };
        assert!(late(900).is_healthy(), "it is not due yet");
        assert!(late(1_300).is_healthy());
        let report = late(1_301);
        let finding = Finding::Late { name: name("mail"), due_at: at(1_000), lag_ms: 301_000, next_turn_at: None };
        assert_eq!(report.findings, [finding]);
        assert_eq!(report.oldest_due(), Some((at(1_000), &name("mail"))));
        assert_eq!(report.queues[0].live, live);
    }

    #[test]
    fn a_late_queue_whose_rate_is_used_up_says_so() {
        let late = |shut: u64, next_at: Option<i64>| {
            let turns = Turns { turn_us: 6_000_000, burst: 1, shut, next_at: next_at.map(at) };
            let mut facts = facts(2_000, job(2_000, Some(0)));
            let oldest_claimable_at = Some(at(1_000));
            let live = JobStats { scheduled: 2, oldest_claimable_at, turns: Some(turns), ..JobStats::default() };
            facts.live.insert(name("mail"), live);
            judge(&facts, &Bounds::default()).findings[0].to_string()
        };
        let said = late(1, Some(2_004));
        assert!(said.contains("its rate is used up") && said.contains(&at(2_004).to_string()), "{said}");
        assert!(late(0, None).contains("no replica that runs it has room"));
    }

    #[test]
    fn a_lock_names_its_holder_until_it_expires() {
        let holder = Incarnation(uuid::Uuid::from_u128(7));
        let lock = Lock {
            name: LockName::new("crl").unwrap(),
            epoch: Epoch(3),
            holder,
            token: Token(uuid::Uuid::nil()),
            ttl_ms: 10_000,
            acquired_at: at(0),
            renewed_at: at(0),
            expires_at: at(10),
            released_at: None,
        };
        let held = |now: i64| {
            let facts = Facts { now: at(now), jobs: Vec::new(), live: BTreeMap::new(), locks: vec![lock.clone()] };
            let report = judge(&facts, &Bounds::default());
            (report.locks[0].held_by, report.locks[0].expires_at, report.locks[0].epoch)
        };
        assert_eq!(held(10), (Some(holder), Some(at(10)), Epoch(3)));
        assert_eq!(held(11), (None, None, Epoch(3)));
    }
}
