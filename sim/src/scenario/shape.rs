//! The shape of a scenario after reading and checking.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tourbillon::{
    model::{Audit, Reentry, Retention, Scope, Timestamp},
    plan::{Backoff, CatchUp, Schedule},
    queue::Delivery,
    service::{FirstTick, HaMode},
    store::Counts,
};

use crate::{
    fault::{FaultKind, FaultPlan},
    history::{Boot, QueueRate},
    operator::Variant,
    world::Lane,
};

/// What runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// Name; also the file's stem.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// Replicas, 1 to 16.
    pub replicas: u8,
    /// Outside receivers, 0 to 8; job k sends its effects to receiver k modulo their number.
    pub receivers: u8,
    /// Database clock at the start.
    pub epoch: Timestamp,
    /// How long each phase lasts.
    pub phases: Phases,
    /// Bound of liveness: after heal, what is due is terminal within this.
    pub settle_within: Duration,
    /// Driver settings that matter to a simulation; the others are the defaults.
    pub poll_interval: Duration,
    /// See [`tourbillon::driver::Settings`].
    pub plan_interval: Duration,
    /// See [`tourbillon::driver::Settings`].
    pub rescue_interval: Duration,
    /// See [`tourbillon::driver::Settings`].
    pub prune_interval: Duration,
    /// See [`tourbillon::driver::Settings`].
    pub call_timeout: Duration,
    /// See [`tourbillon::driver::Settings`].
    pub max_concurrency: u32,
    /// The jobs; none where the certificate operator runs.
    pub jobs: Vec<JobShape>,
    /// The certificate operator runs, instead of jobs and services.
    pub operator: Option<Variant>,
    /// The tick services. There is at least one job, service or queue, or the operator.
    pub services: Vec<ServiceShape>,
    /// Time to live of the lock of the one leadership group.
    pub leader_ttl: Duration,
    /// The queues.
    pub queues: Vec<QueueShape>,
    /// What replicas find and do when they start.
    pub boot: Boot,
    /// Which faults a seed may draw, and how many.
    pub faults: FaultMix,
    /// Faults that every seed has, on top of those drawn; what a regression file pins.
    pub pinned: FaultPlan,
    /// The one seed that a regression file is about.
    pub seed: Option<u64>,
    /// What disturbs the order of things in replicas; `None`: nothing.
    pub orders: Option<Orders>,
    /// What carries it when nothing else is said.
    pub lane: Lane,
    /// The scenario file that a regression file is based on, as seen from where this program runs.
    pub based_on: Option<String>,
}

/// How long each phase lasts, in true time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Phases {
    /// Faults come and go.
    pub chaos: Duration,
    /// A random working core is healed; zero leaves this phase out.
    pub partial_heal: Duration,
    /// Everything is healed.
    pub heal: Duration,
}

/// How the order of things in a replica is disturbed: nothing fails by it, and what could happen at once happens in
/// other orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// So many in a hundred tasks that are due are put behind the others, and so many requests and effects held back.
    pub percent: u8,
    /// For how long at most, in true time.
    pub most: Duration,
}

impl Orders {
    /// What is usual.
    pub const USUAL: Self = Self { percent: 20, most: Duration::from_millis(20) };
}

/// Which faults are drawn.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FaultMix {
    /// Allowed kinds; each seed switches a random part of them on (swarm).
    pub kinds: Vec<FaultKind>,
    /// Most faults in one plan.
    pub max_faults: u32,
    /// Most schedules in one plan.
    pub max_triggers: u32,
}

/// One job of a scenario.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobShape {
    /// Name.
    pub name: String,
    /// When its slots are; of a job whose scopes have their own, that of the first.
    pub schedule: Schedule,
    /// The same in software of an odd version; `None`: no deploy changes it.
    pub v2: Option<Schedule>,
    /// Slot t is due at t + delay.
    pub delay: Duration,
    /// Missed slots.
    pub catch_up: CatchUp,
    /// Lateness limit.
    pub max_lateness: Option<Duration>,
    /// Run timeout.
    pub run_timeout: Duration,
    /// Lease.
    pub lease: Duration,
    /// Heartbeat interval.
    pub heartbeat: Duration,
    /// Re-entry.
    pub reentry: Reentry,
    /// Charged attempts.
    pub max_attempts: u32,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// Overlap: at most this many per scope; `None`: no limit.
    pub overlap_max: Option<u32>,
    /// Which transitions leave an audit event.
    pub audit: Audit,
    /// Scopes; of a job whose scopes have their own, none.
    pub scopes: Vec<Scope>,
    /// Scopes with schedules to themselves, in the order of the file; empty for a job with a schedule of its own.
    pub schedules: Vec<ScheduleShape>,
    /// Those are in the database, where an editor on every replica puts them; else a function says them.
    pub stored: bool,
    /// What the handler does.
    pub work: Work,
}

/// A schedule that a scope has to itself, from when until when. Two of one scope, one after the other, are an edit.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScheduleShape {
    /// What it runs for.
    pub scope: Scope,
    /// When its slots are.
    pub schedule: Schedule,
    /// Added at this true time since the start.
    pub from: Duration,
    /// Removed at this one; `None`: never.
    pub until: Option<Duration>,
}

impl ScheduleShape {
    /// Whether it is there at this true time since the start.
    pub fn is_there(&self, at: Duration) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

/// One tick service of a scenario.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServiceShape {
    /// Name; also that of its lock.
    pub name: String,
    /// Interval.
    pub every: Duration,
    /// On how many replicas.
    pub mode: HaMode,
    /// When the first tick comes.
    pub first: FirstTick,
    /// Timeout.
    pub timeout: Duration,
    /// Time to live of the lock of one tick.
    pub ttl: Duration,
    /// What a tick does; nothing that needs a row.
    pub work: Work,
}

/// How the operator of a queue chooses what to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operates {
    /// Drawn from the seed.
    #[default]
    Drawn,
    /// Everything that an operator asks of a store, in turn.
    InTurn,
}

/// One queue of a scenario: every replica produces for it and works on it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct QueueShape {
    /// Name.
    pub name: String,
    /// How often each replica enqueues one to three items.
    pub produce_every: Duration,
    /// How often each replica has an operator at work: changes, deletions, requeues, cleanings; `None`: never.
    pub operate_every: Option<Duration>,
    /// So many in a hundred operations cancel an item, running ones included.
    pub cancel_percent: u8,
    /// What the operator does next.
    pub operates: Operates,
    /// Unique keys that items draw from; 0: none is a duplicate.
    pub keys: u8,
    /// Which others count.
    pub counts: Counts,
    /// How producers enqueue.
    pub enqueues: Enqueues,
    /// What is kept of items whose ends are recorded.
    pub retain: Retention,
    /// Period of the keys.
    pub period: Option<Duration>,
    /// Running items at most per limit key, on all replicas together.
    pub concurrency_per_key: Option<u32>,
    /// How often items begin, if that is limited.
    pub rate: Option<QueueRate>,
    /// Limit keys that items draw from.
    pub limit_keys: u8,
    /// Live items at most.
    pub capacity: Option<u64>,
    /// Time to live.
    pub ttl: Option<Duration>,
    /// Delay of some items.
    pub delay: Duration,
    /// At least or at most once.
    pub delivery: Delivery,
    /// Handlers at once per replica.
    pub workers: u32,
    /// Run timeout.
    pub run_timeout: Duration,
    /// Lease.
    pub lease: Duration,
    /// Charged attempts; `None`: what core says.
    pub max_attempts: Option<u32>,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// What the handler does.
    pub work: Work,
}

/// How the producers of a queue enqueue what a tick makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Enqueues {
    /// As one batch.
    InBatches,
    /// Each item by a caller of its own, all at once; the callers share requests.
    ByCallers,
}

/// What a scenario's handler does: waits, sends its effect, waits, returns. All drawn per attempt from the seed.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Work {
    /// Shortest run.
    pub takes_min: Duration,
    /// Longest run.
    pub takes_max: Duration,
    /// Effects per start, each with a key of its own: 0 or more.
    pub effects: u32,
    /// Part of attempts that fail after their effects, in percent.
    pub fails_percent: u8,
    /// Part of attempts that panic after their effects, in percent.
    pub panics_percent: u8,
    /// Part of attempts that ask for later before any effect, in percent.
    pub snoozes_percent: u8,
    /// Part of attempts that never end by themselves, in percent: they run into their run timeout.
    pub hangs_percent: u8,
    /// Part of successes with a result that is too large, in percent.
    pub oversize_percent: u8,
}
