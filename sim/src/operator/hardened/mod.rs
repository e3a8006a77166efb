//! The operator as it should be: each loop in the mode that fits what it does, every write guarded, every mark repeated
//! until it is answered, the database's clock for every decision.

mod certificates;
mod messages;
mod mode;
mod scans;
mod upkeep;

use std::time::Duration;

use tourbillon::{
    driver::SchedulerBuilder,
    job::{BoxError, Completion, Context, HandlerError, Job},
    model::{Reentry, Scope},
    service::{HaMode, Service, Tick},
    store::StoreError,
};

pub(super) use mode::{Mode, mode, why};

use super::{
    config::Timing,
    desk::Desk,
    loops::Loop,
    naive,
    tables::{RECIPIENTS, SOURCES, TARGETS},
};
use crate::world::Host;

/// How long a lease outlives the longest run: a job's lease must be longer than its run timeout.
const GRACE: Duration = Duration::from_secs(10);
/// Attempts of a claimed tick.
pub(super) const MAX_ATTEMPTS: u32 = 3;

/// Adds a loop in its mode.
pub(super) fn add(builder: SchedulerBuilder, host: &Host, which: Loop, timing: Timing) -> SchedulerBuilder {
    match mode(which) {
        Mode::Guarded => builder.service(service(host, which, timing)),
        Mode::Claimed | Mode::AtMostOnce => builder.job(job(host, which, timing)),
    }
}

fn service(host: &Host, which: Loop, timing: Timing) -> Service {
    let desk = Desk::new(host, which);
    Service::new(which.id())
        .every(timing.every)
        .timeout(timing.timeout)
        .mode(HaMode::EveryReplica)
        .first(naive::first(which))
        .run(move |_: Tick| {
            let desk = desk.clone();
            async move { tick(which, &desk).await.map_err(BoxError::from) }
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

async fn tick(which: Loop, desk: &Desk) -> Result<u64, StoreError> {
    match which {
        Loop::RenewalCheck => certificates::check_renewals(desk).await,
        Loop::JobRetry => certificates::retry_jobs(desk).await,
        Loop::JobTimeout => certificates::time_jobs_out(desk).await,
        Loop::AgentHealth => upkeep::watch_agents(desk).await,
        Loop::ShortLivedExpiry => certificates::expire(desk).await,
        Loop::AcmeGc => upkeep::collect_acme(desk).await,
        Loop::SessionGc => upkeep::collect_sessions(desk).await,
        other => unreachable!("{other} is claimed"),
    }
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
        Loop::CrlGeneration => upkeep::generate_crl(desk, ctx).await,
        other => unreachable!("{other} is not claimed"),
    }
}
