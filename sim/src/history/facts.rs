//! What a run is about, as its history begins with it: the bounds and rules that checkers may assume.

use std::{
    hash::{Hash, Hasher},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tourbillon::{
    driver::Settings,
    model::{JobName, LockName, Reentry, Scope, ServiceName, Timestamp},
    plan::{Backoff, Planner, Schedule},
    service::HaMode,
};

/// What a checker may assume of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunFacts {
    /// Scenario name.
    pub scenario: String,
    /// Seed.
    pub seed: u64,
    /// Database clock at true time zero.
    pub epoch: Timestamp,
    /// Number of replicas.
    pub replicas: u8,
    /// The jobs.
    pub jobs: Vec<JobFacts>,
    /// Deadline of one store call by the replica's monotonic clock.
    pub call_timeout: Duration,
    /// How often each replica looks for due work at least.
    pub poll_interval: Duration,
    /// How often each replica rescues.
    pub rescue_interval: Duration,
    /// How often each replica makes sure that it hears notices; left out of a log when it is the driver's default.
    #[serde(default = "usual_probe", skip_serializing_if = "is_usual_probe")]
    pub probe_interval: Duration,
    /// Tolerance of the lane: how late a timer or message may be through the lane's granularity alone.
    pub granularity: Duration,
    /// The tick services.
    pub services: Vec<ServiceFacts>,
    /// The queues.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<QueueFacts>,
    /// The outside receivers by number, in a simulation of a user's own: there, what effects there may be is for its
    /// expectations to say. Empty in scenarios: every receiver refuses old fences, and an item's handler sends one effect
    /// per start and key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<ReceiverFacts>,
    /// Liveness bound: after heal (partial or full), an execution that is due is terminal within this.
    pub settle_within: Duration,
    /// What replicas find and do when they start.
    #[serde(default, skip_serializing_if = "Boot::is_default")]
    pub boot: Boot,
}

/// By their JSON: schedules and policies are compared by what they do, and a run has its facts once.
impl Hash for RunFacts {
    fn hash<H: Hasher>(&self, state: &mut H) {
        serde_json::to_vec(self).expect("facts are data, and memory does not fail").hash(state);
    }
}

impl RunFacts {
    /// Whether this receiver refuses fences below the highest it has seen.
    pub fn fences(&self, receiver: u8) -> bool {
        self.receivers.get(usize::from(receiver)).is_none_or(|facts| facts.fences)
    }
}

/// What every scenario leaves as it is.
pub(crate) fn usual_probe() -> Duration {
    Settings::default().probe_interval
}

fn is_usual_probe(probe_interval: &Duration) -> bool {
    *probe_interval == usual_probe()
}

/// What a checker may assume of an outside receiver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReceiverFacts {
    /// Its name.
    pub receiver: String,
    /// Whether it refuses fences below the highest it has seen.
    pub fences: bool,
}

/// What replicas find and do when they start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boot {
    /// The newest schema; they start their work at once.
    #[default]
    Ready,
    /// No schema in the beginning; each brings it up to date before it starts its work, at every boot.
    Migrate,
}

impl Boot {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a checker may assume of a queue; the rest is in its items.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct QueueFacts {
    /// Name.
    pub queue: JobName,
    /// Waits after failed attempts.
    pub backoff: Backoff,
    /// Handlers that each replica runs at once.
    pub workers: u32,
    /// Whether items wait for each other, beyond the workers' room: only so many run at once, per key or in all.
    pub has_limit: bool,
    /// How often its items may be claimed, if that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<QueueRate>,
}

/// How often items of a queue may be claimed, on all replicas together.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct QueueRate {
    /// So many in a period: 1 or more.
    pub items: u32,
    /// The period.
    pub period: Duration,
    /// So many at once after a rest: 1 to `items`.
    pub burst: u32,
    /// Of each limit key by itself, and not of all items.
    pub per_key: bool,
}

/// What a checker may assume of a tick service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServiceFacts {
    /// Name.
    pub service: ServiceName,
    /// On how many replicas it ticks.
    pub mode: HaMode,
    /// How often.
    pub every: Duration,
    /// The lock that its ticks run under.
    pub lock: Option<LockName>,
    /// How long a holder may trust the lock after it sent the last renewal, by its own monotonic clock.
    pub trusted: Duration,
}

/// What a checker may assume of a job.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobFacts {
    /// Name.
    pub job: JobName,
    /// Scopes that its provider returns.
    pub scopes: Vec<Scope>,
    /// Slot times, delay, catch-up, lateness.
    pub planner: Planner,
    /// The same in software of an odd version; `None`: as in every other. See [`What::Deployed`](super::What::Deployed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revised: Option<Planner>,
    /// Of scopes that have one to themselves, as it is after the last edit, instead of the planner's.
    pub schedules: Vec<(Scope, Schedule)>,
    /// Charged attempts allowed.
    pub max_attempts: u32,
    /// Lease in milliseconds.
    pub lease_ms: u64,
    /// Re-entry after a lost lease.
    pub reentry: Reentry,
    /// Run timeout.
    pub run_timeout: Duration,
    /// Longest wait between attempts.
    pub max_backoff: Duration,
    /// Waits after failed attempts; `None` when they are not known, or when handlers say waits of their own.
    pub backoff: Option<Backoff>,
    /// Most effects that one start of the handler sends per key; 0 for a job without effects.
    pub effects_per_start: u32,
    /// A run may find nothing to do: success does not imply an effect.
    pub may_idle: bool,
    /// At most this many running at once per (job, scope); `None`: no limit.
    pub overlap_max: Option<u32>,
}

impl JobFacts {
    /// When the slots of a scope are, after the last edit; `None` when it has none any more.
    pub fn schedule(&self, scope: &Scope) -> Option<&Schedule> {
        if self.schedules.is_empty() {
            return Some(&self.planner.schedule);
        }
        self.schedules.iter().find(|(known, _)| known == scope).map(|(_, schedule)| schedule)
    }
}
