//! What a built scheduler will do, for whoever wants to show or check it: rules as they hold, defaults filled in. Reads;
//! starts nothing and changes nothing.

use std::{fmt, time::Duration};

use super::{Scheduler, Settings};
use crate::{
    job::{CheckedJob, Overlap},
    model::{JobName, LockName, Reentry, Scope, ServiceName},
    plan::{Backoff, Planner},
    service::{CheckedMode, CheckedService, HaMode},
};

impl Scheduler {
    /// Its settings.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tourbillon::{driver::Scheduler, job::{HandlerError, Job}, model::Timestamp, store::{ManualClock, MemoryStore}};
    /// # let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
    /// let scheduler = Scheduler::builder(store)
    ///     .job(Job::new("hello").every(Duration::from_secs(60)).run(|_| async { Ok::<_, HandlerError>(()) }))
    ///     .build()?;
    /// let hello = scheduler.jobs().next().expect("it has one job");
    /// assert_eq!((hello.name().as_str(), hello.lease()), ("hello", Duration::from_secs(90)));
    /// # Ok::<_, tourbillon::driver::BuildError>(())
    /// ```
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its planned jobs, in the order of their names.
    pub fn jobs(&self) -> impl Iterator<Item = JobRules<'_>> {
        self.jobs.values().map(JobRules)
    }

    /// Its tick services, in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = ServiceRules<'_>> {
        self.services.values().map(|service| ServiceRules { service, scheduler: self })
    }

    /// Its queues, in the order of their names.
    pub fn queues(&self) -> impl Iterator<Item = QueueRules<'_>> {
        self.queues.values().map(|registered| QueueRules {
            name: &registered.checked.name,
            run_timeout: registered.checked.work.run_timeout,
            lease: registered.lease,
        })
    }
}

/// The rules of a planned job.
#[derive(Clone, Copy)]
pub struct JobRules<'a>(&'a CheckedJob);

impl fmt::Debug for JobRules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'a> JobRules<'a> {
    /// Its name.
    pub fn name(&self) -> &'a JobName {
        &self.0.name
    }

    /// Longest run of one attempt.
    pub fn run_timeout(&self) -> Duration {
        self.0.run_timeout
    }

    /// How long a claim holds without a heartbeat.
    pub fn lease(&self) -> Duration {
        self.0.lease
    }

    /// Whether an attempt that lost its lease is followed by another.
    pub fn reentry(&self) -> Reentry {
        self.0.reentry
    }

    /// Charged attempts at most; 1 or more.
    pub fn max_attempts(&self) -> u32 {
        self.0.max_attempts
    }

    /// Waits between failed attempts, where the handler says none of its own.
    pub fn backoff(&self) -> &'a Backoff {
        &self.0.backoff
    }

    /// How many may run at once per scope, on all replicas together; `None`: no limit.
    pub fn overlap_max(&self) -> Option<u32> {
        match self.0.overlap {
            Overlap::Forbid => Some(1),
            Overlap::AtMost(max) => Some(max),
            Overlap::Allow => None,
        }
    }

    /// The schedule, delay, catch-up and lateness of every scope; `None` when scopes have schedules to themselves.
    pub fn planner(&self) -> Option<Planner> {
        self.0.fixed_planner()
    }

    /// Its scopes; `None` when a function says at every planning step which there are.
    pub fn scopes(&self) -> Option<&'a [Scope]> {
        self.0.fixed_scopes()
    }
}

/// The rules of a tick service.
#[derive(Clone, Copy)]
pub struct ServiceRules<'a> {
    service: &'a CheckedService,
    scheduler: &'a Scheduler,
}

impl fmt::Debug for ServiceRules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceRules").field("name", self.name()).finish_non_exhaustive()
    }
}

impl<'a> ServiceRules<'a> {
    /// Its name.
    pub fn name(&self) -> &'a ServiceName {
        &self.service.name
    }

    /// From tick to tick.
    pub fn every(&self) -> Duration {
        self.service.every
    }

    /// Longest tick.
    pub fn timeout(&self) -> Duration {
        self.service.timeout
    }

    /// On how many replicas it ticks.
    pub fn mode(&self) -> HaMode {
        self.service.mode.kind()
    }

    /// The lock that its ticks run under, and that lock's time to live; `None` where every replica ticks.
    pub fn lock(&self) -> Option<(&'a LockName, Duration)> {
        match &self.service.mode {
            CheckedMode::EveryReplica => None,
            CheckedMode::TickLock { lock, ttl, .. } => Some((lock, *ttl)),
            CheckedMode::Leader { group } => {
                let ttl = self.scheduler.groups.get(group).map_or(Duration::ZERO, |group| group.ttl);
                Some((group, ttl))
            }
        }
    }

    /// How long a holder trusts that lock, counted from the sending of the last renewal that succeeded, by its own
    /// monotonic clock; zero where there is none.
    pub fn trusted(&self) -> Duration {
        self.lock().map_or(Duration::ZERO, |(_, ttl)| self.scheduler.settings.trusted(ttl))
    }
}

/// The rules of a queue that matter to whoever waits for its worker.
#[derive(Clone, Copy, Debug)]
pub struct QueueRules<'a> {
    name: &'a JobName,
    run_timeout: Duration,
    lease: Duration,
}

impl<'a> QueueRules<'a> {
    /// Its name.
    pub fn name(&self) -> &'a JobName {
        self.name
    }

    /// Longest run of one attempt.
    pub fn run_timeout(&self) -> Duration {
        self.run_timeout
    }

    /// How long a claim of an item holds without a heartbeat.
    pub fn lease(&self) -> Duration {
        self.lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        job::{BoxError, Context, HandlerError, Job},
        model::Timestamp,
        queue::Queue,
        service::{Leadership, Service, Tick},
        store::{ManualClock, MemoryStore},
    };

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_scheduler_tells_its_rules_with_the_defaults_filled_in() {
        let job = |name: &str| Job::new(name).every(MINUTE).run(|_: Context| async { Ok::<_, HandlerError>(()) });
        let tick = |name: &str| Service::new(name).every(MINUTE).run(|_: Tick| async { Ok::<_, BoxError>(()) });
        let scheduler = Scheduler::builder(MemoryStore::new(ManualClock::new(Timestamp::EPOCH)))
            .job(job("b").scopes_from(|| async { Ok(vec![Scope::global()]) }))
            .job(job("a").max_attempts(5))
            .service(tick("leads").mode(HaMode::Leader))
            .service(tick("locks").mode(HaMode::TickLock))
            .service(tick("ticks"))
            .leadership(Leadership::new("leader").ttl(Duration::from_secs(10)))
            .queue(Queue::<u32>::new("items").run(|_, _: Context| async { Ok::<_, HandlerError>(()) }))
            .build()
            .expect("the rules hold");
        let jobs: Vec<_> = scheduler.jobs().map(|job| (job.name().as_str(), job.max_attempts())).collect();
        assert_eq!(jobs, [("a", 5), ("b", 3)]);
        let scopes: Vec<_> = scheduler.jobs().map(|job| job.scopes().map(<[Scope]>::len)).collect();
        assert_eq!(scopes, [Some(1), None], "those of a function are known to it only");
        assert!(scheduler.jobs().all(|job| job.planner().is_some() && job.overlap_max() == Some(1)));
        let trusted: Vec<_> = scheduler.services().map(|service| service.trusted()).collect();
        assert_eq!(trusted, [9_000, 27_000, 0].map(Duration::from_millis));
        let queue = scheduler.queues().next().expect("it has one");
        assert_eq!((queue.name().as_str(), queue.lease()), ("items", queue.run_timeout() + MINUTE / 2));
    }
}
