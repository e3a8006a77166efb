//! What checkers may assume of a simulation, read from the scheduler that its application builds: nobody writes the
//! rules of a job down twice.

use std::time::Duration;

use tourbillon::{
    driver::{JobRules, Part, Scheduler, ServiceRules, Settings},
    model::Timestamp,
    plan::Planner,
};

use super::Simulation;
use crate::{
    history::{Boot, JobFacts, RunFacts, ServiceFacts},
    world::probe,
};

/// Latest that a request of a replica is applied after it was given up, of the faults that are drawn.
const APPLIED_LATE: Duration = Duration::from_secs(120);

/// For rows that waited for each other while nothing worked.
const BACKLOG: Duration = Duration::from_secs(60);

/// A Monday, so that every cadence that divides a week has a slot there.
const EPOCH: Timestamp = Timestamp::from_secs(1_767_571_200);

/// What is known of a simulation before any seed is run.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Of seed 0.
    pub(super) facts: RunFacts,
    /// Leases of jobs and queues, and times to live of locks: what faults are drawn to be about as long as.
    pub(super) leases: Vec<Duration>,
    /// Jobs and queues whose effects and slots may be named.
    pub(super) jobs: Vec<String>,
    /// What a smaller case may do without, as a case names it.
    pub(super) parts: Vec<String>,
}

impl Known {
    /// Of a run that leaves these parts out.
    pub(super) fn facts_without(&self, without: &[String]) -> RunFacts {
        let has = |part: Part<'_>| !without.contains(&part.to_string());
        let mut facts = self.facts.clone();
        facts.jobs.retain(|job| has(Part::Job(&job.job)));
        facts.services.retain(|service| has(Part::Service(&service.service)));
        facts.queues.retain(|queue| has(Part::Queue(&queue.queue)));
        facts
    }
}

/// Builds the scheduler as version 0 and as version 1, as a deploy would bring it, and reads its rules.
///
/// # Panics
/// If the application does.
pub(super) fn learn(simulation: &Simulation) -> Result<Known, String> {
    let app = simulation.app.as_ref().ok_or("no application: say what each replica runs with `.app(…)`")?;
    let Settings { call_timeout, poll_interval, rescue_interval, probe_interval, .. } = Settings::default();
    let nothing = RunFacts {
        scenario: simulation.name.clone(),
        seed: 0,
        epoch: simulation.epoch.unwrap_or(EPOCH),
        replicas: simulation.replicas,
        jobs: Vec::new(),
        call_timeout,
        poll_interval,
        rescue_interval,
        probe_interval,
        // Filled in by the world.
        granularity: Duration::ZERO,
        services: Vec::new(),
        queues: Vec::new(),
        receivers: simulation.receivers.iter().map(super::Receiver::facts).collect(),
        settle_within: Duration::ZERO,
        boot: Boot::Ready,
    };
    let mut known = probe(app, &nothing, 0, |scheduler| read(scheduler, &nothing));
    let next = probe(app, &nothing, 1, |scheduler| read(scheduler, &nothing));
    for job in &mut known.facts.jobs {
        let revised = next.facts.jobs.iter().find(|revised| revised.job == job.job);
        job.revised = revised.map(|revised| revised.planner.clone()).filter(|planner| *planner != job.planner);
    }
    if let Some(bound) = simulation.settle_within {
        known.facts.settle_within = bound;
    }
    Ok(known)
}

fn read(scheduler: &Scheduler, nothing: &RunFacts) -> Known {
    let settings = scheduler.settings();
    let jobs = scheduler.jobs().map(|job| (job.name(), job.lease(), job.run_timeout()));
    let queues = scheduler.queues().map(|queue| (queue.name(), queue.lease(), queue.run_timeout()));
    let attempts: Vec<_> = jobs.chain(queues).collect();
    let locks = scheduler.services().filter_map(|service| service.lock().map(|(_, ttl)| ttl));
    let leases: Vec<_> = attempts.iter().map(|(_, lease, _)| *lease).chain(locks).collect();
    let ticks = scheduler.services().map(|service| service.timeout());
    let runs = attempts.iter().map(|(_, _, run)| *run).chain(ticks);
    let longest = |durations: &mut dyn Iterator<Item = Duration>| durations.max().unwrap_or_default();
    // Two leases, since slots may wait for each other.
    let settle_within = APPLIED_LATE
        + 2 * longest(&mut leases.iter().copied())
        + longest(&mut runs.into_iter())
        + settings.rescue_interval
        + settings.plan_interval
        + settings.poll_interval
        + settings.call_timeout
        + BACKLOG;
    let intervals: Vec<_> = scheduler.services().map(|service| service.every()).collect();
    let facts = RunFacts {
        jobs: scheduler.jobs().filter_map(job_facts).collect(),
        services: scheduler.services().map(service_facts).collect(),
        call_timeout: settings.call_timeout,
        poll_interval: settings.poll_interval,
        rescue_interval: settings.rescue_interval,
        probe_interval: settings.probe_interval,
        settle_within: with_room_for_ticks(settle_within, &intervals),
        ..nothing.clone()
    };
    let parts = scheduler.parts().map(|part| part.to_string()).collect();
    Known { facts, leases, jobs: attempts.iter().map(|(name, ..)| name.to_string()).collect(), parts }
}

/// Services that tick within the bound must tick within the bound: an interval that passes, and one more after a tick
/// that failed.
fn with_room_for_ticks(bound: Duration, intervals: &[Duration]) -> Duration {
    let mut room = bound;
    loop {
        let longest = intervals.iter().filter(|every| **every <= room).max().copied().unwrap_or_default();
        if bound + 2 * longest <= room {
            return room;
        }
        room = bound + 2 * longest;
    }
}

/// `None` for a job whose scopes have schedules to themselves: which, only its function knows, or the database, at each moment. Its
/// executions are judged all the same, by the policy that each of them carries.
fn job_facts(job: JobRules<'_>) -> Option<JobFacts> {
    let planner: Planner = job.planner()?;
    let backoff = job.backoff();
    Some(JobFacts {
        job: job.name().clone(),
        // Scopes that a function says may come and go: those that are planned are judged, none must be.
        scopes: job.scopes().unwrap_or_default().to_vec(),
        planner,
        revised: None,
        schedules: Vec::new(),
        max_attempts: job.max_attempts(),
        lease_ms: u64::try_from(job.lease().as_millis()).unwrap_or(u64::MAX),
        reentry: job.reentry(),
        run_timeout: job.run_timeout(),
        max_backoff: (1..=job.max_attempts()).map(|n| backoff.delay(n, u64::MAX)).max().unwrap_or_default(),
        // A handler may say waits of its own.
        backoff: None,
        // How many effects there may be, and whether there must be one, is what expectations are for.
        effects_per_start: u32::MAX,
        may_idle: true,
        overlap_max: job.overlap_max(),
    })
}

fn service_facts(service: ServiceRules<'_>) -> ServiceFacts {
    ServiceFacts {
        service: service.name().clone(),
        mode: service.mode(),
        every: service.every(),
        lock: service.lock().map(|(lock, _)| lock.clone()),
        trusted: service.trusted(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_has_room_for_every_interval_within_it() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(with_room_for_ticks(minutes(5), &[]), minutes(5));
        assert_eq!(with_room_for_ticks(minutes(5), &[minutes(1)]), minutes(7));
        // The second is within the bound only because of the first.
        assert_eq!(with_room_for_ticks(minutes(5), &[minutes(4), minutes(10), minutes(60)]), minutes(25));
    }
}
