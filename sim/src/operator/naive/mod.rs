//! The operator as the reference documents it: every loop on every replica, guarded against itself in its own process
//! only. No leader, no leases; `SKIP LOCKED` where the documents say so, marks that nobody guards where they say so,
//! and the time of a replica where an application would take it.

mod certificates;
mod messages;
mod scans;
mod upkeep;

use tourbillon::{
    job::BoxError,
    service::{FirstTick, HaMode, Service, Tick},
};

use super::{
    config::Timing,
    desk::Desk,
    loops::{First, Loop},
};
pub(super) use scans::findings;

use crate::world::Host;

/// The service of a loop.
pub(super) fn service(host: &Host, which: Loop, timing: Timing) -> Service {
    let desk = Desk::new(host, which);
    Service::new(which.id())
        .every(timing.every)
        .timeout(timing.timeout)
        .mode(HaMode::EveryReplica)
        .first(first(which))
        .run(move |_: Tick| {
            let desk = desk.clone();
            async move { pass(which, &desk).await }
        })
}

/// When a loop's service ticks first.
pub(super) fn first(which: Loop) -> FirstTick {
    match which.first() {
        First::AtBoot => FirstTick::Immediately,
        First::AfterInterval => FirstTick::AfterInterval,
    }
}

async fn pass(which: Loop, desk: &Desk) -> Result<u64, BoxError> {
    let done = match which {
        Loop::RenewalCheck => certificates::check_renewals(desk).await,
        Loop::JobProcessor => certificates::process_jobs(desk).await,
        Loop::JobRetry => certificates::retry_jobs(desk).await,
        Loop::JobTimeout => certificates::time_jobs_out(desk).await,
        Loop::AgentHealth => upkeep::watch_agents(desk).await,
        Loop::NotificationProcess => messages::send_notices(desk, false).await,
        Loop::NotificationRetry => messages::send_notices(desk, true).await,
        Loop::ShortLivedExpiry => certificates::expire(desk).await,
        Loop::NetworkScan => scans::scan_networks(desk).await,
        Loop::Digest => messages::send_digest(desk).await,
        Loop::HealthCheck => scans::check_endpoints(desk).await,
        Loop::CloudDiscovery => scans::discover_clouds(desk).await,
        Loop::CrlGeneration => upkeep::generate_crl(desk).await,
        Loop::AcmeGc => upkeep::collect_acme(desk).await,
        Loop::SessionGc => upkeep::collect_sessions(desk).await,
    };
    done.map_err(Into::into)
}

/// How many rows a pass dealt with.
type Passed = Result<u64, tourbillon::store::StoreError>;
