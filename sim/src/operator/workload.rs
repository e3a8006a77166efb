//! The operator as a workload: what every replica runs, what is around it, what checkers may assume.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tourbillon::{
    driver::{Scheduler, Settings},
    model::{JobName, Reentry, Timestamp},
    plan::{Backoff, Begin, Cadence, CatchUp, Planner, Schedule},
};

use super::{
    config::{Config, Timing},
    hardened::{self, Mode},
    loops::Loop,
    naive,
    outside::Outside,
    tables::Operator,
};
use crate::{
    history::{Boot, JobFacts, RunFacts},
    world::{
        App, Host, ReceiverSpec,
        application::{self, ApplicationFactory},
    },
};

/// Which operator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// As the reference documents it.
    Naive,
    /// Each loop in the mode that it should have.
    Hardened,
}

impl Variant {
    /// The name used in scenarios and commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Hardened => "hardened",
        }
    }

    /// The variant of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Naive, Self::Hardened].into_iter().find(|variant| variant.name() == name)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How often replicas of the operator poll at least; the default of a second would be most of a simulation. What is
/// planned is claimed when it is due all the same.
const POLL: Duration = Duration::from_secs(30);
/// How often the naive operator's replicas look after jobs, of which they have none.
const SELDOM: Duration = Duration::from_secs(3600);

/// How soon after a heal whatever is due has ended or been given its next wait. The worst row is a network scan:
///
/// 120 s a claim that is applied late + 1,810 s its lease + 60 s calls and repeated marks + 15 s rescue + 30 s plan +
/// 90 s polls and calls, and 5 % for the slowest clock: 2,232 s.
pub const SETTLE_WITHIN: Duration = Duration::from_secs(40 * 60);

/// The driver settings of its replicas.
pub fn settings(variant: Variant) -> Settings {
    let defaults = Settings::default();
    match variant {
        Variant::Naive => {
            Settings { poll_interval: SELDOM, plan_interval: SELDOM, rescue_interval: SELDOM, ..defaults }
        }
        Variant::Hardened => Settings { poll_interval: POLL, ..defaults },
    }
}

/// Of every loop, how long a silent replica keeps a tick; for faults that aim at the ends of leases.
pub(crate) fn leases() -> impl Iterator<Item = Duration> {
    let config = Config::default();
    config.loops().map(|(which, timing)| held(which, timing)).collect::<Vec<_>>().into_iter()
}

/// How long a silent replica of the hardened operator keeps a tick of this loop.
pub(super) fn held(which: Loop, timing: Timing) -> Duration {
    if is_claimed(which) { hardened::lease(timing) } else { hardened::TTL }
}

/// What every replica runs.
pub fn app(variant: Variant, config: Config) -> App {
    Arc::new(move |host: &Host| {
        let mut builder = Scheduler::builder(host.store()).runtime(host.runtime()).settings(settings(variant));
        let leads = |which| variant == Variant::Hardened && hardened::mode(which) == Mode::Leader;
        if config.loops().any(|(which, _)| leads(which)) {
            builder = builder.leadership(hardened::leadership());
        }
        for (which, timing) in config.loops() {
            builder = match variant {
                Variant::Naive => builder.service(naive::service(host, which, timing)),
                Variant::Hardened => hardened::add(builder, host, which, timing),
            };
        }
        builder.build().expect("the loops' rules hold for every configuration that is accepted")
    })
}

/// The operator's tables at the start of a run.
pub fn tables(seed: u64, epoch: Timestamp) -> ApplicationFactory {
    application::tables(move || Operator::new(seed, epoch))
}

/// Who is on the other end, by number.
pub fn receivers() -> Vec<ReceiverSpec> {
    Outside::ALL.iter().map(|outside| outside.spec()).collect()
}

/// What checkers may assume of a run.
pub fn facts(variant: Variant, config: &Config, seed: u64, replicas: u8) -> RunFacts {
    let settings = settings(variant);
    let claimed = config.loops().filter(|(which, _)| variant == Variant::Hardened && is_claimed(*which));
    RunFacts {
        scenario: format!("certificate-operator ({variant})"),
        seed,
        epoch: "2026-01-05T00:00:00Z".parse().expect("an instant"),
        replicas,
        jobs: claimed.map(|(which, timing)| job_facts(which, timing)).collect(),
        call_timeout: settings.call_timeout,
        poll_interval: settings.poll_interval,
        rescue_interval: settings.rescue_interval,
        probe_interval: settings.probe_interval,
        // Filled in by the world.
        granularity: Duration::ZERO,
        settle_within: SETTLE_WITHIN,
        queues: Vec::new(),
        receivers: Vec::new(),
        services: match variant {
            Variant::Naive => Vec::new(),
            Variant::Hardened => {
                config.loops().filter_map(|(which, timing)| hardened::service_facts(which, timing)).collect()
            }
        },
        boot: Boot::Ready,
    }
}

fn is_claimed(which: Loop) -> bool {
    matches!(hardened::mode(which), Mode::Claimed | Mode::AtMostOnce)
}

fn job_facts(which: Loop, timing: Timing) -> JobFacts {
    let once = hardened::mode(which) == Mode::AtMostOnce;
    JobFacts {
        revised: None,
        job: JobName::new(which.id()).expect("a short id"),
        scopes: hardened::scopes(which),
        schedules: Vec::new(),
        planner: Planner {
            schedule: Schedule::Cadence(Cadence::new(timing.every).expect("above the floor")),
            delay: Duration::ZERO,
            catch_up: CatchUp::LatestOnly,
            max_lateness: None,
            begin: Begin::default(),
        },
        max_attempts: if once { 1 } else { hardened::MAX_ATTEMPTS },
        lease_ms: u64::try_from(hardened::lease(timing).as_millis()).unwrap_or(u64::MAX),
        reentry: if once { Reentry::Forbid } else { Reentry::Allow },
        run_timeout: timing.timeout,
        // The default backoff: 10 s, 20 s, and jitter.
        max_backoff: Duration::from_secs(60),
        backoff: Some(Backoff::exponential(Duration::from_secs(10))),
        effects_per_start: 1,
        may_idle: takes_rows(which),
        overlap_max: Some(1),
    }
}

/// Whether a tick takes rows that have claims of their own: one without rows has no effect.
const fn takes_rows(which: Loop) -> bool {
    matches!(which, Loop::JobProcessor | Loop::NotificationProcess | Loop::NotificationRetry)
}
