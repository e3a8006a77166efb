//! What the driver makes of each way in which a handler can end: one job a way, run without faults in the simulated
//! world, judged by the rows that are left.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tourbillon::{
    driver::Scheduler,
    job::{BoxError, Completion, Context, HandlerError, Job, StopReason},
    model::{Execution, MAX_JSON_BYTES, RequestId, Scope, State},
    plan::Backoff,
    store::{Cancel, ask},
};
use tourbillon_sim::{
    fault::FaultPlan,
    history::{Boot, RunFacts, What},
    scenario::Phases,
    world::{self, Host, Lane, RunSetup, engine},
};

const HOUR: Duration = Duration::from_secs(3600);

/// One slot is made at the start; attempts follow each other within seconds.
fn job(name: &str) -> Job {
    let backoff = Backoff::constant(Duration::from_secs(5)).without_jitter();
    Job::new(name).every(HOUR).run_timeout(Duration::from_secs(20)).lease(Duration::from_secs(30)).backoff(backoff)
}

fn app(host: &Host) -> Scheduler {
    let canceller = host.clone();
    let jobs = [
        job("succeeds").run(|_| async { Ok::<_, HandlerError>(Completion::new().rows_affected(3)) }),
        job("fails").run(|_| async { Err::<(), _>(HandlerError::new("no route").code("unreachable")) }),
        job("recovers").run(|ctx: Context| async move {
            if ctx.attempt() == 1 { Err(HandlerError::new("not yet")) } else { Ok(()) }
        }),
        job("gives_up").run(|_| async { Err::<(), _>(HandlerError::new("closed").never_retry()) }),
        job("panics").max_attempts(2).run(|ctx: Context| async move {
            assert!(ctx.attempt() == 0, "planned panic of the test");
            Ok::<_, HandlerError>(())
        }),
        job("hangs").max_attempts(1).run(|ctx: Context| async move {
            ctx.sleep(HOUR).await;
            Ok::<_, HandlerError>(())
        }),
        job("boasts")
            .max_attempts(1)
            .run(|_| async { Ok::<_, HandlerError>(Completion::new().result("x".repeat(MAX_JSON_BYTES).into())) }),
        job("snoozes").run(|ctx: Context| async move {
            let waited = ctx.fence().0 > 3;
            if waited { Ok(()) } else { Err(HandlerError::snooze(Duration::from_secs(5))) }
        }),
        job("is_cancelled").run(move |ctx: Context| {
            let host = canceller.clone();
            async move {
                let id = RequestId(host.runtime().uuid());
                ask(&host.store(), id, Cancel { ids: vec![ctx.id()], actor: None }).await?;
                assert_eq!(ctx.stopping().await, StopReason::Cancelled);
                Ok::<_, HandlerError>(())
            }
        }),
        job("has_no_scopes")
            .scopes_from(|| async { Err::<Vec<Scope>, BoxError>("the tenants are unknown".into()) })
            .run(|_| async { Ok::<_, HandlerError>(()) }),
    ];
    let builder = Scheduler::builder(host.store()).runtime(host.runtime());
    jobs.into_iter().fold(builder, tourbillon::driver::SchedulerBuilder::job).build().expect("valid jobs")
}

fn rows() -> BTreeMap<String, Execution> {
    let setup = RunSetup {
        facts: RunFacts {
            scenario: "outcomes".to_owned(),
            seed: 1,
            epoch: "2026-01-05T00:10:00Z".parse().expect("an instant"),
            replicas: 2,
            jobs: Vec::new(),
            call_timeout: Duration::from_secs(5),
            poll_interval: Duration::from_secs(1),
            rescue_interval: Duration::from_secs(15),
            probe_interval: Duration::from_secs(30),
            granularity: Duration::ZERO,
            settle_within: Duration::from_secs(60),
            queues: Vec::new(),
            receivers: Vec::new(),
            services: Vec::new(),
            boot: Boot::Ready,
        },
        receivers: Vec::new(),
        phases: Phases { chaos: Duration::from_secs(120), partial_heal: Duration::ZERO, heal: Duration::ZERO },
        plan: FaultPlan::default(),
        orders: None,
        lane: Lane::Event,
        engine: engine::memory(),
        application: None,
        app: Arc::new(app),
    };
    let outcome = world::run(setup).expect("the world holds");
    let end = outcome.history.events.into_iter().find_map(|event| match event.what {
        What::Ended { state } => Some(state.executions),
        _ => None,
    });
    end.expect("a final state").into_iter().map(|row| (row.job.to_string(), row)).collect()
}

/// P-8, P-9, P-13: every way to end has its state, its code and its number of attempts; a scope provider that fails
/// stops nobody else.
// P-8, P-9, P-13
#[test]
fn every_way_to_end_is_recorded_with_its_code() {
    let rows = rows();
    let seen = |name: &str| {
        let row = rows.get(name).unwrap_or_else(|| panic!("no row of `{name}`: {:?}", rows.keys()));
        let code = row.error.as_ref().map_or("", |failure| failure.code.as_str());
        (row.state, row.attempt, code.to_owned())
    };
    for (name, state, attempts, code) in [
        ("succeeds", State::Succeeded, 1, ""),
        ("fails", State::Dead, 3, "unreachable"),
        ("recovers", State::Succeeded, 2, ""),
        ("gives_up", State::Dead, 1, "handler_error"),
        ("panics", State::Dead, 2, "handler_panic"),
        ("hangs", State::Dead, 1, "run_timeout"),
        ("boasts", State::Dead, 1, "result_too_large"),
        ("snoozes", State::Succeeded, 1, ""),
        ("is_cancelled", State::Cancelled, 1, "canceled"),
    ] {
        assert_eq!(seen(name), (state, attempts, code.to_owned()), "{name}");
    }
    assert!(!rows.contains_key("has_no_scopes"));
    assert_eq!(rows["succeeds"].rows_affected, Some(3));
    assert_eq!(rows["succeeds"].result.as_ref().map(tourbillon::model::Json::as_str), Some("{}"));
    assert_eq!(rows["snoozes"].fence.0, 4, "three snoozes, not charged, and a success");
}
