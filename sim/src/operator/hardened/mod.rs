//! The operator as it should be: each loop in the mode that fits what it does, every write guarded, every mark repeated
//! until it is answered, the database's clock for every decision.

mod certificates;
mod messages;
mod mode;
mod scans;
mod upkeep;

use std::time::Duration;

use tourbillon::{
    driver::{SchedulerBuilder, Settings},
    job::{BoxError, Completion, Context, HandlerError, Job},
    model::{LockName, Reentry, Scope, ServiceName},
    service::{FirstTick, HaMode, Leadership, Service, Tick},
};

pub(super) use mode::{Mode, mode, why};

use super::{
    config::Timing,
    desk::Desk,
    loops::Loop,
    naive,
    tables::{RECIPIENTS, SOURCES, TARGETS},
};
use crate::{history::ServiceFacts, world::Host};

/// Name of the one leadership group.
const GROUP: &str = "operator";
/// How long a replica that gives no sign of life keeps the lock of a tick, or leads.
pub(super) const TTL: Duration = Duration::from_secs(60);
/// How long a lease outlives the longest run: a job's lease must be longer than its run timeout.
const GRACE: Duration = Duration::from_secs(10);
/// Attempts of a claimed tick.
pub(super) const MAX_ATTEMPTS: u32 = 3;

/// Adds a loop in its mode.
pub(super) fn add(builder: SchedulerBuilder, host: &Host, which: Loop, timing: Timing) -> SchedulerBuilder {
    match mode(which) {
        Mode::TickLock => builder.service(service(host, which, timing).mode(HaMode::TickLock).ttl(TTL)),
        Mode::Leader => builder.service(service(host, which, timing).mode(HaMode::Leader).led_by(GROUP)),
        Mode::Claimed | Mode::AtMostOnce => builder.job(job(host, which, timing)),
    }
}

fn service(host: &Host, which: Loop, timing: Timing) -> Service {
    let desk = Desk::new(host, which);
    Service::new(which.id()).every(timing.every).timeout(timing.timeout).first(first(which)).run(move |tick: Tick| {
        let desk = desk.clone();
        async move { pass(which, &desk, &tick).await }
    })
}

/// A new leader publishes a list at once: if it waited for an interval, leaders that change more often would never
/// publish one.
fn first(which: Loop) -> FirstTick {
    match which {
        Loop::CrlGeneration => FirstTick::Immediately,
        _ => naive::first(which),
    }
}

/// The group of all loops that run on a leader.
pub(super) fn leadership() -> Leadership {
    Leadership::new(GROUP).ttl(TTL)
}

/// What checkers may assume of a loop's ticks; `None` for a loop that is claimed.
pub(super) fn service_facts(which: Loop, timing: Timing) -> Option<ServiceFacts> {
    let (mode, lock) = match mode(which) {
        Mode::TickLock => (HaMode::TickLock, which.id()),
        Mode::Leader => (HaMode::Leader, GROUP),
        Mode::Claimed | Mode::AtMostOnce => return None,
    };
    let trusted_percent = u32::from(100 - Settings::default().lease_margin_percent);
    Some(ServiceFacts {
        service: ServiceName::new(which.id()).expect("a short id"),
        mode,
        every: timing.every,
        lock: Some(LockName::new(lock).expect("a short name")),
        trusted: TTL * trusted_percent / 100,
    })
}

/// One durable execution per slot, and per recipient, network or cloud where there are several.
fn job(host: &Host, which: Loop, timing: Timing) -> Job {
    let desk = Desk::new(host, which);
    let rules = rules(which, timing);
    rules.run(move |ctx: Context| {
        let desk = desk.clone();
        async move { attempt(which, &desk, &ctx).await.map(|rows| Completion::new().rows_affected(rows)) }
    })
}

/// A claimed loop's rules, without what it does.
pub(super) fn rules(which: Loop, timing: Timing) -> Job {
    let rules = Job::new(which.id())
        .every(timing.every)
        .run_timeout(timing.timeout)
        .lease(lease(timing))
        .heartbeat(heartbeat(timing))
        .scopes(scopes(which));
    if mode(which) == Mode::AtMostOnce {
        rules.max_attempts(1).reentry(Reentry::Forbid)
    } else {
        rules.max_attempts(MAX_ATTEMPTS)
    }
}

/// How long a claimed tick is held by a replica that gives no sign of life.
pub(super) fn lease(timing: Timing) -> Duration {
    timing.timeout + GRACE
}

fn heartbeat(timing: Timing) -> Duration {
    (lease(timing) / 5).min(Duration::from_secs(30))
}

/// What a loop runs for.
pub(super) fn scopes(which: Loop) -> Vec<Scope> {
    let each = |kind: &str, n: u32| {
        (0..n).map(|id| Scope::new(kind, &id.to_string()).expect("a short kind and a number")).collect()
    };
    match which {
        Loop::Digest => each("recipient", RECIPIENTS),
        Loop::NetworkScan => each("network", TARGETS),
        Loop::CloudDiscovery => each("cloud", SOURCES),
        _ => vec![Scope::global()],
    }
}

async fn pass(which: Loop, desk: &Desk, tick: &Tick) -> Result<u64, BoxError> {
    let rows = match which {
        Loop::CrlGeneration => return upkeep::generate_crl(desk, tick).await,
        Loop::RenewalCheck => certificates::check_renewals(desk).await,
        Loop::JobRetry => certificates::retry_jobs(desk).await,
        Loop::JobTimeout => certificates::time_jobs_out(desk).await,
        Loop::AgentHealth => upkeep::watch_agents(desk).await,
        Loop::ShortLivedExpiry => certificates::expire(desk).await,
        Loop::AcmeGc => upkeep::collect_acme(desk).await,
        Loop::SessionGc => upkeep::collect_sessions(desk).await,
        other => unreachable!("{other} is claimed"),
    };
    Ok(rows?)
}

async fn attempt(which: Loop, desk: &Desk, ctx: &Context) -> Result<u64, HandlerError> {
    match which {
        Loop::JobProcessor => certificates::process_jobs(desk, ctx).await,
        Loop::NotificationProcess => messages::send_notices(desk, ctx, false).await,
        Loop::NotificationRetry => messages::send_notices(desk, ctx, true).await,
        Loop::NetworkScan => scans::scan_network(desk, ctx).await,
        Loop::Digest => messages::send_digest(desk, ctx).await,
        Loop::HealthCheck => scans::check_endpoints(desk, ctx).await,
        Loop::CloudDiscovery => scans::discover_cloud(desk, ctx).await,
        other => unreachable!("{other} is not claimed"),
    }
}
