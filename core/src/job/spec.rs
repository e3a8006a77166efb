//! A job's rules and their validation. Every rule has an error of its own that names the job and the mend (P-2).

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    AttemptRule, Attempts, Completion, Context, Delivery, HandlerError, MAX_LEASE, ScheduleProvider, ScopeProvider,
    checked::{CheckedJob, Targets},
    handler::HandlerFn,
};
use crate::{
    model::{Audit, JobName, NameError, Reentry, Scope, Timestamp},
    plan::{Backoff, Begin, Cadence, CatchUp, Cron, CronError, Schedule},
};

/// Attempts of a job that says nothing of them.
const USUAL_ATTEMPTS: u32 = 3;

/// How many executions of one (job, scope) may run at once, on all replicas together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overlap {
    /// One: a slot waits for the one before it. The default.
    Forbid,
    /// At most this many.
    AtMost(u32),
    /// No limit.
    Allow,
}

/// A periodic job. Built by chaining; checked when the scheduler is built.
///
/// | rule | default |
/// | --- | --- |
/// | schedule | none: set [`Job::every`], [`Job::cron`] or [`Job::schedule`] |
/// | delay | zero |
/// | catch-up | latest slot only |
/// | lateness limit | none |
/// | begins with | its newest slot, at once |
/// | run timeout | 60 s |
/// | lease | run timeout + 30 s |
/// | heartbeat | a fifth of the lease, at most 30 s |
/// | re-entry | allowed |
/// | attempts | 3, the first counts |
/// | delivery | at least once |
/// | backoff | 10 s, doubled each time, ±10 % |
/// | scopes | `global/global` |
/// | overlap | forbidden |
/// | audit | exceptions |
///
/// ```
/// use std::time::Duration;
/// use tourbillon::job::{Context, HandlerError, Job};
///
/// async fn check_renewals(ctx: Context) -> Result<(), HandlerError> {
///     println!("slot {:?}, attempt {}", ctx.slot_at(), ctx.attempt());
///     Ok(())
/// }
///
/// let job = Job::new("renewal_check").every(Duration::from_secs(3600)).max_attempts(3).run(check_renewals);
/// ```
#[derive(Clone)]
pub struct Job {
    name: String,
    when: When,
    anchor: Option<Timestamp>,
    delay: Duration,
    catch_up: CatchUp,
    max_lateness: Option<Duration>,
    begin: Begin,
    attempts: Attempts,
    reentry: Reentry,
    overlap: Overlap,
    priority: i16,
    audit: Audit,
    scopes: Scopes,
    handler: Option<HandlerFn>,
}

#[derive(Clone, Debug)]
enum When {
    Never,
    Every(Duration),
    At(Schedule),
}

#[derive(Clone)]
enum Scopes {
    Fixed(Vec<Scope>),
    Asked(Arc<dyn ScopeProvider>),
    Own(Arc<dyn ScheduleProvider>),
    Stored,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("name", &self.name).field("when", &self.when).finish_non_exhaustive()
    }
}

impl Job {
    /// A job of this name, not yet scheduled.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            when: When::Never,
            anchor: None,
            delay: Duration::ZERO,
            catch_up: CatchUp::LatestOnly,
            max_lateness: None,
            begin: Begin::default(),
            attempts: Attempts::default(),
            reentry: Reentry::Allow,
            overlap: Overlap::Forbid,
            priority: 0,
            audit: Audit::default(),
            scopes: Scopes::Fixed(vec![Scope::global()]),
            handler: None,
        }
    }

    /// A slot at every multiple of `cadence` since the anchor, in UTC. The last of `every`, [`Job::cron`] and
    /// [`Job::schedule`] holds.
    #[must_use]
    pub fn every(self, cadence: Duration) -> Self {
        Self { when: When::Every(cadence), ..self }
    }

    /// A slot at every wall time of a cron pattern in a time zone; [`Cron`] says how both are written, and what happens
    /// when the clocks change.
    ///
    /// # Errors
    /// [`CronError`] names the field or the zone, and the mend.
    ///
    /// ```
    /// # use tourbillon::{job::{Context, HandlerError, Job}, plan::{Cron, CronError, Fold}};
    /// # async fn send_digest(_: Context) -> Result<(), HandlerError> { Ok(()) }
    /// let digest = Job::new("digest").cron("0 8 * * *", "Europe/Berlin")?.run(send_digest);
    /// // The same, in the repeated hour of autumn the second time:
    /// let digest = Job::new("digest").schedule(Cron::new("30 2 * * *", "Europe/Berlin")?.fold(Fold::Last));
    /// # Ok::<(), CronError>(())
    /// ```
    pub fn cron(self, pattern: &str, zone: &str) -> Result<Self, CronError> {
        Ok(self.schedule(Cron::new(pattern, zone)?))
    }

    /// Slots as a [`Schedule`] has them: a [`Cadence`] or a [`Cron`].
    #[must_use]
    pub fn schedule(self, schedule: impl Into<Schedule>) -> Self {
        Self { when: When::At(schedule.into()), ..self }
    }

    /// Moves the grid of [`Job::every`] so that this instant is a slot (P-3). Default: Monday 1970-01-05T00:00:00Z.
    #[must_use]
    pub fn anchored_at(self, anchor: Timestamp) -> Self {
        Self { anchor: Some(anchor), ..self }
    }

    /// A slot at t is due at t + `delay`.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// What becomes of slots that passed while nobody planned.
    #[must_use]
    pub fn catch_up(self, catch_up: CatchUp) -> Self {
        Self { catch_up, ..self }
    }

    /// A slot that could not be started within this after it was due is skipped, with a record.
    #[must_use]
    pub fn max_lateness(self, limit: Duration) -> Self {
        Self { max_lateness: Some(limit), ..self }
    }

    /// A job, or a scope of it, that was never planned begins with the first slot after it was first seen, and not with the
    /// newest one at once: a daily report that is deployed at noon waits for the next morning.
    #[must_use]
    pub fn begin_with_next_slot(self) -> Self {
        Self { begin: Begin::NextSlot, ..self }
    }

    /// An attempt that runs longer fails with `run_timeout`.
    #[must_use]
    pub fn run_timeout(self, limit: Duration) -> Self {
        Self { attempts: Attempts { run_timeout: limit, ..self.attempts }, ..self }
    }

    /// How long a dead runner keeps its executions from others, counted from its last sign of life.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { attempts: Attempts { lease: Some(lease), ..self.attempts }, ..self }
    }

    /// How often a running attempt renews its lease.
    #[must_use]
    pub fn heartbeat(self, interval: Duration) -> Self {
        Self { attempts: Attempts { heartbeat: Some(interval), ..self.attempts }, ..self }
    }

    /// Whether an attempt whose lease expired may be followed by another one.
    #[must_use]
    pub fn reentry(self, reentry: Reentry) -> Self {
        Self { reentry, ..self }
    }

    /// Charged attempts; the first counts.
    #[must_use]
    pub fn max_attempts(self, attempts: u32) -> Self {
        Self { attempts: Attempts { max: Some(attempts), ..self.attempts }, ..self }
    }

    /// How often a slot may take effect. [`Delivery::AtMostOnce`] implies one attempt and no re-entry: what was cut
    /// short, also by a shutdown, is dead.
    #[must_use]
    pub fn delivery(self, delivery: Delivery) -> Self {
        Self { attempts: Attempts { delivery, ..self.attempts }, ..self }
    }

    /// Waits between attempts.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { attempts: Attempts { backoff, ..self.attempts }, ..self }
    }

    /// How many may run at once per scope.
    #[must_use]
    pub fn overlap(self, overlap: Overlap) -> Self {
        Self { overlap, ..self }
    }

    /// Lower runs first when there is more due than can be run; 0 is usual.
    #[must_use]
    pub fn priority(self, priority: i16) -> Self {
        Self { priority, ..self }
    }

    /// Which transitions of its executions leave an audit event.
    #[must_use]
    pub fn audit(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// Runs once per slot for each of these.
    #[must_use]
    pub fn scopes(self, scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self { scopes: Scopes::Fixed(scopes.into_iter().collect()), ..self }
    }

    /// Asks for the scopes at every planning step.
    #[must_use]
    pub fn scopes_from(self, provider: impl ScopeProvider) -> Self {
        Self { scopes: Scopes::Asked(Arc::new(provider)), ..self }
    }

    /// Asks at every planning step for scopes that each have a schedule to themselves: instead of [`Job::scopes`], and
    /// instead of a schedule of the job. All other rules are the job's.
    ///
    /// ```
    /// # use tourbillon::{job::{BoxError, Context, HandlerError, Job, ScopedSchedule}, model::Scope, plan::Cron};
    /// # async fn remind(_: Context) -> Result<(), HandlerError> { Ok(()) }
    /// let reminders = Job::new("reminder")
    ///     .schedules_from(|| async {
    ///         // From a table, usually.
    ///         let (scope, cron) = (Scope::new("trigger", "42")?, Cron::new("0 8 * * *", "Europe/Berlin")?);
    ///         Ok::<_, BoxError>(vec![ScopedSchedule::new(scope, cron)])
    ///     })
    ///     .run(remind);
    /// ```
    #[must_use]
    pub fn schedules_from(self, provider: impl ScheduleProvider) -> Self {
        Self { scopes: Scopes::Own(Arc::new(provider)), ..self }
    }

    /// The schedules are those that the database keeps, one for each scope: instead of [`Job::scopes`], and instead of a
    /// schedule of the job. Anybody with a handle on the database adds, edits and removes them while replicas run, with
    /// [`JobOperator::put_schedule`](crate::driver::JobOperator::put_schedule) or `tourbillon schedules`. Until somebody
    /// does, the job does not run. All other rules are the job's.
    ///
    /// ```
    /// # use tourbillon::job::{Context, HandlerError, Job};
    /// # async fn export(_: Context) -> Result<(), HandlerError> { Ok(()) }
    /// let exports = Job::new("export").stored_schedules().run(export);
    /// ```
    #[must_use]
    pub fn stored_schedules(self) -> Self {
        Self { scopes: Scopes::Stored, ..self }
    }

    /// What to do. The closure is called once per attempt.
    #[must_use]
    pub fn run<F, Fut, T, E>(self, handler: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Completion>,
        E: Into<HandlerError>,
    {
        let handler: HandlerFn = Arc::new(move |context| {
            let run = handler(context);
            Box::pin(async move { run.await.map(Into::into).map_err(Into::into) })
        });
        Self { handler: Some(handler), ..self }
    }

    /// Checks the rules.
    pub(crate) fn check(self) -> Result<CheckedJob, SpecError> {
        let name = JobName::new(&self.name).map_err(|error| SpecError::Name(self.name.clone(), error))?;
        let fail = |rule: Rule| Err(SpecError::Rule(name.clone(), rule));
        let targets = match targets(self.scopes, self.when, self.anchor) {
            Ok(targets) => targets,
            Err(rule) => return fail(rule),
        };
        let checked = match self.attempts.check(USUAL_ATTEMPTS) {
            Ok(checked) => checked,
            Err(rule) => return fail(Rule::Attempts(rule)),
        };
        if self.delay > MAX_LEASE {
            return fail(Rule::DelayTooLong(self.delay));
        }
        if self.max_lateness.is_some_and(|limit| limit.is_zero()) {
            return fail(Rule::NoLateness);
        }
        if let CatchUp::EverySlot { max_slots: 0, .. } = self.catch_up {
            return fail(Rule::NoSlotCap);
        }
        if self.overlap == Overlap::AtMost(0) {
            return fail(Rule::NoRoom);
        }
        let Some(handler) = self.handler else { return fail(Rule::NoHandler) };
        Ok(CheckedJob {
            targets,
            delay: self.delay,
            catch_up: self.catch_up,
            max_lateness: self.max_lateness,
            begin: self.begin,
            run_timeout: self.attempts.run_timeout,
            lease: checked.lease,
            heartbeat: checked.heartbeat,
            reentry: self.attempts.reentry(self.reentry),
            max_attempts: checked.max,
            delivery: self.attempts.delivery,
            backoff: self.attempts.backoff,
            overlap: self.overlap,
            priority: self.priority,
            audit: self.audit,
            handler,
            registration: OnceLock::new(),
            fixed_targets: OnceLock::new(),
            name,
        })
    }
}

fn targets(scopes: Scopes, when: When, anchor: Option<Timestamp>) -> Result<Targets, Rule> {
    let provider: Arc<dyn ScopeProvider> = match scopes {
        Scopes::Own(_) if !matches!(when, When::Never) => return Err(Rule::ScheduleOfJobBesideThose),
        Scopes::Stored if !matches!(when, When::Never) => return Err(Rule::ScheduleBesideStored),
        Scopes::Stored => return Ok(Targets::Stored),
        Scopes::Own(provider) => return Ok(Targets::Own(provider)),
        Scopes::Fixed(scopes) if scopes.is_empty() => return Err(Rule::NoScope),
        Scopes::Fixed(scopes) => return Ok(Targets::Fixed(scopes, schedule(when, anchor)?)),
        Scopes::Asked(provider) => provider,
    };
    Ok(Targets::Scopes(provider, schedule(when, anchor)?))
}

fn schedule(when: When, anchor: Option<Timestamp>) -> Result<Schedule, Rule> {
    match (when, anchor) {
        (When::Never, _) => Err(Rule::NoSchedule),
        (When::Every(every), anchor) => {
            let cadence = Cadence::new(every).ok_or(Rule::CadenceTooShort)?;
            Ok(anchor.map_or(cadence, |anchor| cadence.anchored_at(anchor)).into())
        }
        (When::At(_), Some(_)) => Err(Rule::AnchorWithoutGrid),
        (When::At(schedule), None) => Ok(schedule),
    }
}

/// Why a job was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The name cannot be used.
    #[error("job `{0}`: {1}")]
    Name(String, NameError),
    /// Two jobs of one name.
    #[error("job `{0}`: defined twice: give each job a name of its own")]
    Duplicate(JobName),
    /// A rule of the job does not hold.
    #[error("job `{0}`: {1}")]
    Rule(JobName, Rule),
}

/// The rules of a job, as they are broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Neither a cadence nor another schedule.
    #[error("no schedule: call `every`, `cron` or `schedule`")]
    NoSchedule,
    /// Both schedules of scopes and one of the job.
    #[error(
        "a schedule of the job beside those of its scopes: take out `schedules_from`, or `every`, `cron` or `schedule`"
    )]
    ScheduleOfJobBesideThose,
    /// Schedules from the database, and one of the job.
    #[error(
        "a schedule of the job beside those of the database: take out `stored_schedules`, or `every`, `cron` or `schedule`"
    )]
    ScheduleBesideStored,
    /// An anchor, and no grid of `every` to move.
    #[error("an anchor without a grid: `anchored_at` moves the grid of `every`; leave it out, or call `every`")]
    AnchorWithoutGrid,
    /// Below one microsecond.
    #[error("the cadence is below 1 µs: give `every` a longer duration")]
    CadenceTooShort,
    /// One that concerns its attempts.
    #[error(transparent)]
    Attempts(#[from] AttemptRule),
    /// Above [`MAX_LEASE`].
    #[error("the delay is {0:?}, at most {MAX_LEASE:?} is allowed: nothing would run for so long")]
    DelayTooLong(Duration),
    /// Zero.
    #[error("the lateness limit is zero: every slot would be late; leave it out for no limit")]
    NoLateness,
    /// Every-slot catch-up with a cap of zero.
    #[error("every-slot catch-up without a cap: set `max_slots` to 1 or more")]
    NoSlotCap,
    /// Overlap limit of zero.
    #[error("the overlap limit is 0: nothing could run; use `Overlap::Forbid` for one at a time")]
    NoRoom,
    /// An empty list of scopes.
    #[error("no scope: give `scopes` at least one, or leave it out for `global/global`")]
    NoScope,
    /// No handler set.
    #[error("no handler: call `run`")]
    NoHandler,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Fold;

    fn valid() -> Job {
        Job::new("a").every(Duration::from_secs(60)).run(|_| async { Ok::<_, HandlerError>(()) })
    }

    fn refused(job: Job) -> String {
        job.check().expect_err("refused").to_string()
    }

    #[test]
    fn defaults_are_valid() {
        let job = valid().check().expect("valid");
        assert_eq!((job.lease, job.heartbeat), (Duration::from_secs(90), Duration::from_secs(18)));
    }

    /// P-2: every rule its own error.
    // P-2
    #[test]
    fn each_broken_rule_has_its_own_error() {
        let s = Duration::from_secs;
        let no_handler = Job { handler: None, ..valid() };
        let no_schedule = Job { when: When::Never, ..valid() };
        for (job, expected) in [
            (Job { name: " ".into(), ..valid() }, "job ` `: blank name: give it at least one visible character"),
            (no_schedule, "job `a`: no schedule: call `every`, `cron` or `schedule`"),
            (
                valid().cron("@daily", "UTC").expect("valid").anchored_at(Timestamp::EPOCH),
                "job `a`: an anchor without a grid: `anchored_at` moves the grid of `every`; leave it out, or call `every`",
            ),
            (valid().every(s(0)), "job `a`: the cadence is below 1 µs: give `every` a longer duration"),
            (
                valid().run_timeout(s(0)),
                "job `a`: the run timeout is zero: give `run_timeout` how long an attempt may run",
            ),
            (
                valid().run_timeout(s(9)).lease(s(9)),
                "job `a`: the lease (9s) is not longer than the run timeout (9s): raise `lease` or lower `run_timeout`",
            ),
            (
                valid().heartbeat(s(0)),
                "job `a`: the heartbeat interval is zero: give `heartbeat` a duration below the lease",
            ),
            (
                valid().heartbeat(s(90)),
                "job `a`: the heartbeat interval (90s) is not shorter than the lease (90s): a third of it or less is usual",
            ),
            (valid().max_attempts(0), "job `a`: max attempts is 0: the first attempt counts, so 1 means no retry"),
            (
                valid().delivery(Delivery::AtMostOnce).max_attempts(2),
                "job `a`: several attempts at most once: leave `max_attempts` out, or choose `Delivery::AtLeastOnce`",
            ),
            (
                valid().max_lateness(s(0)),
                "job `a`: the lateness limit is zero: every slot would be late; leave it out for no limit",
            ),
            (
                valid().catch_up(CatchUp::EverySlot { window: s(60), max_slots: 0 }),
                "job `a`: every-slot catch-up without a cap: set `max_slots` to 1 or more",
            ),
            (
                valid().overlap(Overlap::AtMost(0)),
                "job `a`: the overlap limit is 0: nothing could run; use `Overlap::Forbid` for one at a time",
            ),
            (
                valid().backoff(Backoff::table([])),
                "job `a`: the backoff table is empty: list at least one wait, or use max_attempts(1) for no retry",
            ),
            (
                valid().scopes([]),
                "job `a`: no scope: give `scopes` at least one, or leave it out for `global/global`",
            ),
            (
                valid().schedules_from(|| async { Ok(Vec::new()) }),
                "job `a`: a schedule of the job beside those of its scopes: take out `schedules_from`, or `every`, `cron` or `schedule`",
            ),
            (
                valid().stored_schedules(),
                "job `a`: a schedule of the job beside those of the database: take out `stored_schedules`, or `every`, `cron` or `schedule`",
            ),
            (no_handler, "job `a`: no handler: call `run`"),
        ] {
            assert_eq!(refused(job), expected);
        }
    }

    // P-1
    #[test]
    fn hashes_tell_an_edit_of_the_schedule_from_an_edit_of_the_rest() {
        let hashes = |job: Job| {
            let registration = job.check().expect("valid").registration().clone();
            (registration.schedule_hash, registration.spec_hash)
        };
        let (schedule, spec) = hashes(valid());
        assert_eq!((schedule.clone(), spec.clone()), hashes(valid()));
        let (same_schedule, other_spec) = hashes(valid().max_attempts(9));
        assert!(same_schedule == schedule && other_spec != spec);
        let daily = |pattern| valid().schedule(Cron::new(pattern, "Europe/Berlin").expect("valid"));
        let last = valid().schedule(Cron::new("0 2 * * *", "Europe/Berlin").expect("valid").fold(Fold::Last));
        let edits =
            [valid().delay(Duration::from_secs(1)), valid().anchored_at(Timestamp::EPOCH), daily("0 2 * * *"), last];
        let mut known = vec![schedule];
        for edit in edits {
            let (hash, _) = hashes(edit);
            assert!(!known.contains(&hash), "{known:?}");
            known.push(hash);
        }
        assert_eq!(
            hashes(daily("@daily")).0,
            hashes(daily(" 0  0 * * * ")).0,
            "the same schedule, written differently"
        );
    }
}
