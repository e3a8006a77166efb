//! The workload of a scenario file: turns its jobs into real ones for each replica; its services are in `services`.

use std::{sync::Arc, time::Duration};

use tourbillon::{
    driver::{Scheduler, Settings},
    job::{Completion, Context, HandlerError, Job, Overlap, ScopedSchedule},
    model::{JobName, MAX_JSON_BYTES},
    plan::{Begin, Planner, Schedule},
    service::HaMode,
};

use super::{JobShape, Scenario, ScheduleShape, Work, editor, queues, services};
use crate::{
    chance,
    history::JobFacts,
    world::{App, Host, PLANNED_PANIC},
};

/// The application that every replica of the scenario runs.
pub fn app(scenario: &Scenario) -> App {
    let scenario = Arc::new(scenario.clone());
    Arc::new(move |host| scheduler(&scenario, host))
}

fn scheduler(scenario: &Scenario, host: &Host) -> Scheduler {
    let settings = Settings {
        poll_interval: scenario.poll_interval,
        plan_interval: scenario.plan_interval,
        rescue_interval: scenario.rescue_interval,
        prune_interval: scenario.prune_interval,
        call_timeout: scenario.call_timeout,
        max_concurrency: scenario.max_concurrency,
        ..Settings::default()
    };
    let mut builder = Scheduler::builder(host.store()).runtime(host.runtime()).settings(settings);
    let receiver = |index: usize| {
        if scenario.receivers == 0 { 0 } else { u8::try_from(index).unwrap_or(0) % scenario.receivers }
    };
    for (index, shape) in scenario.jobs.iter().enumerate() {
        let shape = &at_version(shape, host.version());
        builder = builder.job(job(shape, host.clone(), receiver(index)));
        if shape.stored {
            builder = builder.service(editor::service(shape, host));
        }
    }
    if scenario.services.iter().any(|service| service.mode == HaMode::Leader) {
        builder = builder.leadership(services::leadership(scenario));
    }
    for (index, shape) in (scenario.jobs.len()..).zip(&scenario.services) {
        builder = builder.service(services::service(shape, host.clone(), receiver(index)));
    }
    for (index, shape) in scenario.queues.iter().enumerate() {
        let receiver = u8::try_from(index).unwrap_or(0) % scenario.receivers.max(1);
        builder = queues::add(builder, shape, host, receiver);
    }
    builder.build().expect("a scenario is checked when it is read")
}

/// Every second deploy takes back what the one before it changed.
fn at_version(shape: &JobShape, version: u32) -> JobShape {
    let revised = shape.v2.clone().filter(|_| version % 2 == 1);
    JobShape { schedule: revised.unwrap_or_else(|| shape.schedule.clone()), ..shape.clone() }
}

/// The job of a shape, without what it does.
pub(crate) fn rules(shape: &JobShape) -> Job {
    let job = Job::new(&shape.name)
        .delay(shape.delay)
        .catch_up(shape.catch_up)
        .run_timeout(shape.run_timeout)
        .lease(shape.lease)
        .heartbeat(shape.heartbeat)
        .reentry(shape.reentry)
        .max_attempts(shape.max_attempts)
        .backoff(shape.backoff.clone())
        .overlap(shape.overlap_max.map_or(Overlap::Allow, Overlap::AtMost))
        .audit(shape.audit);
    let job = if shape.schedules.is_empty() {
        job.schedule(shape.schedule.clone()).scopes(shape.scopes.clone())
    } else if shape.stored {
        job.stored_schedules()
    } else {
        // What rules need: `job` asks for those of the moment.
        job.schedules_from(|| async { Ok(Vec::new()) })
    };
    match shape.max_lateness {
        Some(limit) => job.max_lateness(limit),
        None => job,
    }
}

fn job(shape: &JobShape, host: Host, receiver: u8) -> Job {
    let work = shape.work;
    let mut job = rules(shape);
    if !shape.schedules.is_empty() && !shape.stored {
        let (schedules, host) = (shape.schedules.clone(), host.clone());
        job = job.schedules_from(move || {
            let there = there(&schedules, host.true_time());
            async move { Ok(there.map(|own| ScopedSchedule::new(own.scope, own.schedule)).collect()) }
        });
    }
    job.run(move |ctx| {
        let host = host.clone();
        async move { perform(&host, &ctx, work, receiver).await }
    })
}

/// What a handler does, all drawn from (seed, execution, fence): a replay does the same.
pub(super) async fn perform(
    host: &Host,
    ctx: &Context,
    work: Work,
    receiver: u8,
) -> Result<Completion, HandlerError> {
    #[cfg(feature = "zoo")]
    crate::zoo::handler_begins();
    let (id, _) = ctx.id().0.as_u64_pair();
    let draw = |what: &str| chance::draw(host.seed(), what, id, ctx.fence().0);
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let takes = chance::between(draw("takes"), micros(work.takes_min), micros(work.takes_max));
    let half = Duration::from_micros(takes / 2);

    ctx.sleep(half).await;
    if chance::percent(draw("snoozes"), work.snoozes_percent) {
        return Err(HandlerError::snooze(Duration::from_secs(chance::between(draw("snooze"), 1, 10))));
    }
    for nth in 0..work.effects {
        let slot = ctx.slot_at().map_or_else(|| ctx.id().to_string(), |slot| slot.to_string());
        host.send(ctx, receiver, format!("{} {} {slot} #{nth}", ctx.job(), ctx.scope())).await?;
    }
    if chance::percent(draw("hangs"), work.hangs_percent) {
        std::future::pending::<()>().await;
    }
    if chance::percent(draw("fails"), work.fails_percent) {
        return Err(HandlerError::new("planned failure"));
    }
    assert!(!chance::percent(draw("panics"), work.panics_percent), "{PLANNED_PANIC}");
    ctx.sleep(half).await;
    if chance::percent(draw("oversize"), work.oversize_percent) {
        return Ok(Completion::new().result("x".repeat(MAX_JSON_BYTES).into()));
    }
    Ok(Completion::new().rows_affected(u64::from(work.effects)))
}

/// The schedules of scopes that are there at this true time since the start.
pub(super) fn there(schedules: &[ScheduleShape], at: Duration) -> impl Iterator<Item = ScheduleShape> + Send + use<> {
    let there: Vec<_> = schedules.iter().filter(|own| own.is_there(at)).cloned().collect();
    there.into_iter()
}

/// What checkers may assume of a job: of its schedules, those that are there in the end.
pub fn facts(shape: &JobShape) -> JobFacts {
    let schedules: Vec<_> = there(&shape.schedules, Duration::MAX).map(|own| (own.scope, own.schedule)).collect();
    let planner = |schedule: &Schedule| Planner {
        schedule: schedule.clone(),
        delay: shape.delay,
        catch_up: shape.catch_up,
        max_lateness: shape.max_lateness,
        begin: Begin::default(),
    };
    JobFacts {
        job: JobName::new(&shape.name).expect("a scenario is checked when it is read"),
        scopes: if shape.schedules.is_empty() {
            shape.scopes.clone()
        } else {
            schedules.iter().map(|(scope, _)| scope.clone()).collect()
        },
        schedules,
        planner: planner(&shape.schedule),
        revised: shape.v2.as_ref().map(planner),
        max_attempts: shape.max_attempts,
        lease_ms: u64::try_from(shape.lease.as_millis()).unwrap_or(u64::MAX),
        reentry: shape.reentry,
        run_timeout: shape.run_timeout,
        max_backoff: (1..=shape.max_attempts).map(|n| shape.backoff.delay(n, u64::MAX)).max().unwrap_or_default(),
        backoff: Some(shape.backoff.clone()),
        effects_per_start: shape.work.effects.min(1),
        may_idle: false,
        overlap_max: shape.overlap_max,
    }
}
