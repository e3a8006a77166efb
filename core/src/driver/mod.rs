//! The driver: what one replica does. It decides nothing that the store or the planner decides; it asks, waits,
//! runs handlers, and stops them in time.
//!
//! ```text
//!            read_cursors, plan           claim, start            heartbeat            settle           rescue, prune
//!  planner ──────────┐          claimer ──────┐      heartbeater ─────┐      settler ────┐      keeper ──────┐
//!     │  "made slots" └──▶ store ◀────────────┘ ◀─────────────────────┘ ◀────────────────┘ ◀──────────────────┘
//!     └──────────────────────▶ wakes the claimer ──▶ runner (workers; rows may wait for one) ──▶ settler
//!            listener, on notices ──────▲
//!            poller, on read_due ───────┘
//! ```
//!
//! Each loop has its own task, so that none can starve another (B8, B22). Every store call has a deadline and
//! goes through `call`. Leases live in `lease`: the heartbeater renews them, the runner that
//! polls a handler looks at them before *every* poll (G8).

mod ahead;
mod boot;
mod call;
mod claimer;
mod forwarder;
mod health;
mod heartbeater;
mod job_operator;
mod keeper;
mod lease;
mod listener;
mod measure;
mod part;
mod planner;
mod poller;
mod queue;
mod rules;
mod runner;
mod schedule_operator;
mod scheduler;
mod service;
mod settings;
mod settler;
mod shutdown;
mod span;
mod stop;
mod worker;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

pub use boot::migrate;
pub use forwarder::{Forwarded, Forwarder, ForwarderBuilder, Parcel};
pub use job_operator::{JobOperator, OperatorError, Triggered};
pub use part::Part;
pub use queue::{QueueHandle, UnknownQueue};
pub use rules::{JobRules, QueueRules, ServiceRules};
pub use schedule_operator::ScheduleEdit;
pub use scheduler::{BuildError, Scheduler, SchedulerBuilder};
pub use service::{Services, UnknownService};
pub use settings::{Settings, SettingsError, WakeUps};
pub use shutdown::{Running, ShutdownTimeout};

use crate::{
    job::{CheckedJob, Work},
    model::{Incarnation, JobName, LockName, ServiceName},
    runtime::{Runtime, Task},
};

/// What all loops of one replica share.
struct Shared {
    runtime: Runtime,
    caller: call::Caller,
    incarnation: Incarnation,
    settings: Settings,
    jobs: BTreeMap<JobName, CheckedJob>,
    services: BTreeMap<ServiceName, service::Served>,
    groups: BTreeMap<LockName, service::leader::Group>,
    leases: lease::Leases,
    /// What it takes to run attempts of each job and queue.
    works: BTreeMap<JobName, Work>,
    /// Claims for the planned jobs.
    crew: Arc<queue::Crew>,
    queues: queue::Queues,
    /// Tells the poller that a crew begins to wait.
    waits: tokio::sync::Notify,
    stop: stop::Stop,
    runners: Runners,
    unreleased: Unreleased,
}

impl Shared {
    fn job(&self, name: &JobName) -> Option<&CheckedJob> {
        self.jobs.get(name)
    }

    /// All crews, that of the planned jobs first.
    fn crews(&self) -> impl Iterator<Item = &queue::Crew> {
        std::iter::once(&*self.crew).chain(self.queues.crews())
    }

    fn work(&self, name: &JobName) -> Option<&Work> {
        self.works.get(name)
    }
}

/// The tasks that run handlers, so that a shutdown can wait for them and name those that are left.
#[derive(Default)]
struct Runners(Mutex<Vec<Task>>);

impl Runners {
    fn add(&self, task: Task) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    fn take(&self) -> Vec<Task> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a shutdown interrupted: attempts whose rows could not be given back, and ticks, which have none.
#[derive(Default)]
struct Unreleased(Mutex<Vec<String>>);

impl Unreleased {
    fn add(&self, name: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
