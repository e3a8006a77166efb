//! Owns what a scheduler is made of, by name, and schedulers that run a part of it: a replica for some of the work only, or
//! a simulation that looks for the fewest parts that still fail. Does not know why something is left out.

use std::fmt;

use super::Scheduler;
use crate::{
    model::{JobName, LockName, ServiceName},
    service::CheckedMode,
};

/// Something that a scheduler runs. Shown as `job rollup`, `service crl`, `queue push`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part<'a> {
    /// A planned job.
    Job(&'a JobName),
    /// A tick service.
    Service(&'a ServiceName),
    /// A queue and its worker.
    Queue(&'a JobName),
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(name) => write!(f, "job {name}"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::Queue(name) => write!(f, "queue {name}"),
        }
    }
}

impl Scheduler {
    /// What it runs: jobs, then services, then queues, each in the order of their names.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let services = self.services.keys().map(Part::Service);
        self.jobs.keys().map(Part::Job).chain(services).chain(self.queues.keys().map(Part::Queue))
    }

    /// The same without the parts that `keeps` says no to, and without leadership groups that only those had. What is
    /// left out stays in the store as it is, for replicas that run it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tourbillon::{driver::{Part, Scheduler}, job::{HandlerError, Job}, model::Timestamp, store::{ManualClock, MemoryStore}};
    /// # let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
    /// let every_minute = |name| Job::new(name).every(Duration::from_secs(60)).run(|_| async { Ok::<_, HandlerError>(()) });
    /// let scheduler = Scheduler::builder(store).job(every_minute("mails")).job(every_minute("reports")).build()?;
    /// let only_mails = scheduler.keeping(|part| matches!(part, Part::Job(name) if name.as_str() == "mails"));
    /// assert_eq!(only_mails.parts().map(|part| part.to_string()).collect::<Vec<_>>(), ["job mails"]);
    /// # Ok::<_, tourbillon::driver::BuildError>(())
    /// ```
    #[must_use]
    pub fn keeping(mut self, keeps: impl Fn(Part<'_>) -> bool) -> Self {
        self.jobs.retain(|name, _| keeps(Part::Job(name)));
        self.queues.retain(|name, _| keeps(Part::Queue(name)));
        let mut left = Vec::new();
        self.services.retain(|name, service| {
            let is_kept = keeps(Part::Service(name));
            if let (false, CheckedMode::Leader { group }) = (is_kept, &service.mode) {
                left.push(group.clone());
            }
            is_kept
        });
        let Self { services, groups, .. } = &mut self;
        let is_used = |group: &LockName| {
            services.values().any(|service| matches!(&service.mode, CheckedMode::Leader { group: of } if of == group))
        };
        groups.retain(|group, _| is_used(group) || !left.contains(group));
        self
    }
}
