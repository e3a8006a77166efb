//! Building and starting a scheduler.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Runners, Running, Settings, SettingsError, Shared, Unreleased,
    call::Caller,
    claimer, heartbeater, keeper,
    lease::Leases,
    listener, measure, planner, poller,
    queue::{self, Crew, Queues, Registered},
    service,
    settler::settler,
    stop::Stop,
};
use crate::{
    job::{CheckedJob, Job, SpecError},
    model::{Incarnation, JobName, LockName, ServiceName},
    queue::{Queue, QueueError},
    runtime::Runtime,
    service::{CheckedLeadership, CheckedService, Leadership, Service, ServiceError},
    store::Store,
};

/// A scheduler whose jobs and settings have been checked, not yet running.
pub struct Scheduler {
    store: Arc<dyn Store>,
    runtime: Runtime,
    pub(super) settings: Settings,
    pub(super) jobs: BTreeMap<JobName, CheckedJob>,
    pub(super) services: BTreeMap<ServiceName, CheckedService>,
    pub(super) queues: BTreeMap<JobName, Registered>,
    pub(super) groups: BTreeMap<LockName, CheckedLeadership>,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("jobs", &self.jobs.keys())
            .field("services", &self.services.keys())
            .finish_non_exhaustive()
    }
}

/// Collects jobs, services and settings. See [`Scheduler::builder`].
pub struct SchedulerBuilder {
    store: Arc<dyn Store>,
    runtime: Runtime,
    settings: Settings,
    jobs: Vec<Job>,
    services: Vec<Service>,
    queues: Vec<Result<Registered, QueueError>>,
    groups: Vec<Leadership>,
}

impl fmt::Debug for SchedulerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerBuilder")
            .field("jobs", &self.jobs)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}

/// Why a scheduler was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A job breaks a rule.
    #[error(transparent)]
    Job(#[from] SpecError),
    /// A service breaks a rule.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A queue breaks a rule.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A setting is outside its range.
    #[error(transparent)]
    Setting(#[from] SettingsError),
}

impl Scheduler {
    /// Starts collecting. The store must have been [migrated](super::migrate).
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use tourbillon::{driver::Scheduler, job::{HandlerError, Job}, model::Timestamp, store::{ManualClock, MemoryStore}};
    /// # let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
    /// let scheduler = Scheduler::builder(store)
    ///     .job(Job::new("hello").every(Duration::from_secs(60)).run(|_| async { Ok::<_, HandlerError>(()) }))
    ///     .build()?;
    /// # Ok::<_, tourbillon::driver::BuildError>(())
    /// ```
    pub fn builder(store: impl Store) -> SchedulerBuilder {
        SchedulerBuilder {
            store: Arc::new(store),
            runtime: Runtime::tokio(),
            settings: Settings::default(),
            jobs: Vec::new(),
            services: Vec::new(),
            queues: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Starts every loop. Must be called inside a tokio runtime unless another [`Runtime`] was injected. Dropping
    /// the result stops everything at once, as a crash would; prefer [`Running::shutdown`].
    pub fn start(self) -> Running {
        let Self { store, runtime, settings, jobs, services, groups, queues: registered } = self;
        let Settings { max_concurrency, poll_interval, claim_batch, .. } = settings;
        let crew =
            Arc::new(Crew::of_jobs(jobs.keys().cloned().collect(), max_concurrency, poll_interval, claim_batch));
        let mut works: BTreeMap<_, _> = jobs.iter().map(|(name, job)| (name.clone(), job.work())).collect();
        let (mut crews, mut queues) = (vec![Arc::clone(&crew)], Queues::default());
        for (name, Registered { checked, rules, .. }) in registered {
            let crew = Arc::new(Crew::of_queue(&checked, poll_interval));
            works.insert(name.clone(), checked.work);
            crews.push(Arc::clone(&crew));
            queues.add(name, crew, rules);
        }
        let shared = Arc::new(Shared {
            caller: Caller::new(store, runtime.clone(), settings.call_timeout),
            incarnation: Incarnation(runtime.uuid()),
            leases: Leases::default(),
            works,
            crew,
            queues,
            waits: tokio::sync::Notify::new(),
            stop: Stop::new(),
            runners: Runners::default(),
            unreleased: Unreleased::default(),
            groups: groups.into_iter().map(|(name, rules)| (name, service::leader::Group::new(rules))).collect(),
            services: service::served(services, runtime.monotonic()),
            runtime,
            settings,
            jobs,
        });
        measure::describe();
        tracing::info!(incarnation = %shared.incarnation, jobs = shared.jobs.len(), services = shared.services.len(), "scheduler starts");
        let share = || Arc::clone(&shared);
        let (settler, settling) = settler(share());
        let runtime = &shared.runtime;
        let mut loops = vec![
            runtime.spawn("planner", planner::run(share())),
            runtime.spawn("rescuer", keeper::rescue(share())),
            runtime.spawn("pruner", keeper::prune(share())),
        ];
        if poller::is_wanted(&shared) {
            loops.push(runtime.spawn("poller", poller::run(share())));
        }
        // Without jobs there is nothing to claim for them.
        let crews = crews.into_iter().enumerate().filter(|(_, crew)| !crew.jobs.is_empty());
        loops.extend(crews.map(|(n, crew)| {
            let name = if n == 0 { "claimer".to_owned() } else { format!("claimer of queue {}", crew.jobs[0]) };
            runtime.spawn(&name, claimer::run(share(), settler.clone(), crew))
        }));
        drop(settler);
        if listener::is_wanted(&shared) {
            loops.push(runtime.spawn("listener", listener::run(share())));
        }
        loops.extend(
            shared
                .services
                .keys()
                .map(|name| runtime.spawn(&format!("loop of service {name}"), service::run(share(), name.clone()))),
        );
        for name in shared.groups.keys() {
            // Among the runners: at a shutdown a term ends after its ticks.
            let task = runtime.spawn(&format!("leadership {name}"), service::leader::run(share(), name.clone()));
            shared.runners.add(task);
        }
        let tail = vec![runtime.spawn("settler", settling), runtime.spawn("heartbeater", heartbeater::run(share()))];
        Running::new(shared, loops, tail)
    }
}

impl SchedulerBuilder {
    /// Adds a job.
    #[must_use]
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// Adds a queue and its worker.
    #[must_use]
    pub fn queue<T: Serialize + DeserializeOwned + Send + 'static>(mut self, queue: Queue<T>) -> Self {
        self.queues.push(queue::registered(queue));
        self
    }

    /// Adds a service.
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// Adds a leadership group. The group `leader`, for services that name none, need not be added.
    #[must_use]
    pub fn leadership(mut self, group: Leadership) -> Self {
        self.groups.push(group);
        self
    }

    /// Replaces the settings.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Replaces the runtime; for simulations and tests.
    #[must_use]
    pub fn runtime(self, runtime: Runtime) -> Self {
        Self { runtime, ..self }
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`BuildError`] names the job, service or setting, the rule, and the mend.
    pub fn build(self) -> Result<Scheduler, BuildError> {
        self.settings.check()?;
        let mut jobs = BTreeMap::new();
        for job in self.jobs {
            let job = job.check()?;
            let name = job.name.clone();
            if jobs.insert(name.clone(), job).is_some() {
                return Err(SpecError::Duplicate(name).into());
            }
        }
        let mut services = BTreeMap::new();
        for service in self.services {
            let service = service.check()?;
            let name = service.name.clone();
            if services.insert(name.clone(), service).is_some() {
                return Err(ServiceError::Duplicate(name).into());
            }
        }
        let mut queues = BTreeMap::new();
        for queue in self.queues {
            let queue = queue?;
            let name = queue.checked.name.clone();
            if jobs.contains_key(&name) || queues.insert(name.clone(), queue).is_some() {
                return Err(QueueError::Duplicate(name).into());
            }
        }
        let groups = service::locks::check(&services, self.groups)?;
        let (store, runtime, settings) = (self.store, self.runtime, self.settings);
        Ok(Scheduler { store, runtime, settings, jobs, services, groups, queues })
    }
}
