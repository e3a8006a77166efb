//! A job of one's own in the simulated world: the example of the README, as a test.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tourbillon::{
    driver::{Scheduler, Settings},
    job::{Context, HandlerError, Job},
    model::{JobName, Reentry, Scope},
    plan::{Backoff, Cadence, CatchUp, Planner, Schedule},
};
use tourbillon_sim::{
    checker::{self, Violation},
    fault::{Bad, Fault, FaultPlan, Then, Trigger, TriggerPoint},
    history::{Boot, History, JobFacts, RunFacts, What},
    scenario::Phases,
    world::{self, App, Host, Lane, ReceiverSpec, RunSetup, engine},
};

const MINUTE: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(30);
const RUN_TIMEOUT: Duration = Duration::from_secs(20);

/// What each replica runs, as in production but for where the store, the runtime and the outside come from.
fn digest(host: &Host) -> Scheduler {
    let outside = host.clone();
    let job = Job::new("digest").every(MINUTE).run_timeout(RUN_TIMEOUT).lease(LEASE).run(move |ctx: Context| {
        let outside = outside.clone();
        async move {
            ctx.sleep(Duration::from_secs(2)).await;
            let slot = ctx.slot_at().map(|at| at.to_string()).unwrap_or_default();
            outside.send(&ctx, 0, format!("digest of {slot}")).await?;
            Ok::<_, HandlerError>(())
        }
    });
    Scheduler::builder(host.store()).runtime(host.runtime()).job(job).build().expect("the rules of the job hold")
}

#[test]
fn a_digest_is_sent_at_most_twice_when_its_replica_dies_after_sending() {
    for seed in 0..4 {
        // The power goes between the first effect and its mark, then between the second and its mark, and so on.
        let nth = u32::try_from(seed).expect("a small seed") + 1;
        let after = TriggerPoint::EffectReceived;
        let trigger = Trigger { after, of: None, nth, then: Then::PowerLoss, lasts_s: 20 };
        let outcome = world::run(RunSetup {
            facts: facts(seed),
            receivers: vec![ReceiverSpec::default()],
            phases: Phases { chaos: 10 * MINUTE, partial_heal: 4 * MINUTE, heal: 4 * MINUTE },
            plan: FaultPlan { faults: Vec::new(), triggers: vec![trigger] },
            lane: Lane::Event,
            engine: engine::memory(),
            application: None,
            app: Arc::new(digest),
        })
        .expect("the world itself works");
        for (guarantee, findings) in checker::check_all(&outcome.history) {
            assert_eq!(findings.violations, [], "seed {seed}, {guarantee}");
        }
        let mut sent = BTreeMap::<_, u32>::new();
        for event in &outcome.history.events {
            if let What::EffectReceived { effect, .. } = &event.what {
                *sent.entry(&effect.key).or_default() += 1;
            }
        }
        assert!(sent.values().all(|times| *times <= 2), "seed {seed}: {sent:?}");
        assert!(sent.values().any(|times| *times == 2), "seed {seed}: the power loss was not noticed: {sent:?}");
    }
}

/// Every replica's machine is suspended at once; each goes on with its handler as if no time had passed.
#[test]
fn a_timer_stands_still_with_its_machine() {
    let suspended = Duration::from_secs(20);
    let mut spanning = 0;
    for seed in 0..8 {
        let freeze = |replica| Fault { at_s: 62, lasts_s: 20, replica, bad: Bad::FreezeMonotonic };
        let plan = FaultPlan { faults: (0..3).map(freeze).collect(), triggers: Vec::new() };
        let history = run(seed, plan, Arc::new(digest));
        assert_eq!(broken(&history), [], "seed {seed}");
        let began = Duration::from_secs(62);
        // That of the slot of 00:01:00.
        let at = |wanted: fn(&What) -> bool| {
            let times = history.events.iter().filter(|event| wanted(&event.what));
            let mut times = times.map(|event| Duration::from_micros(event.at_us));
            times.find(|at| *at >= MINUTE).expect("a digest is sent every minute")
        };
        let started = at(|what| matches!(what, What::HandlerStarted { .. }));
        let sent = at(|what| matches!(what, What::EffectSent { .. }));
        if started < began && sent > began {
            spanning += 1;
            let took = sent - started;
            let expected = Duration::from_secs(2) + suspended;
            assert!(took >= expected && took < expected + Duration::from_millis(10), "seed {seed}: {took:?}");
        }
    }
    assert!(spanning > 0, "no handler was under way");
}

#[test]
fn a_task_past_the_spawner_fails_the_seed_with_advice() {
    #[expect(clippy::disallowed_methods, reason = "the mistake that is to be found")]
    fn careless(host: &Host) -> Scheduler {
        let job = Job::new("digest").every(MINUTE).run_timeout(RUN_TIMEOUT).lease(LEASE).run(|_: Context| async {
            tokio::spawn(async {});
            Ok::<_, HandlerError>(())
        });
        Scheduler::builder(host.store()).runtime(host.runtime()).job(job).build().expect("the rules of the job hold")
    }
    let broken = broken(&run(0, FaultPlan::default(), Arc::new(careless)));
    assert!(broken.iter().any(|violation| violation.message.contains("not with `tokio::spawn`")), "{broken:?}");
}

fn run(seed: u64, plan: FaultPlan, app: App) -> History {
    let setup = RunSetup {
        facts: facts(seed),
        receivers: vec![ReceiverSpec::default()],
        phases: Phases { chaos: 10 * MINUTE, partial_heal: 4 * MINUTE, heal: 4 * MINUTE },
        plan,
        lane: Lane::Event,
        engine: engine::memory(),
        application: None,
        app,
    };
    world::run(setup).expect("the world itself works").history
}

fn broken(history: &History) -> Vec<Violation> {
    checker::check_all(history).into_iter().flat_map(|(_, findings)| findings.violations).collect()
}

/// What the checkers may assume: the rules of the job and of the driver once more.
fn facts(seed: u64) -> RunFacts {
    let settings = Settings::default();
    RunFacts {
        scenario: "digest".to_owned(),
        seed,
        epoch: "2026-01-05T00:00:00Z".parse().expect("an instant"),
        replicas: 3,
        jobs: vec![JobFacts {
            job: JobName::new("digest").expect("a name"),
            scopes: vec![Scope::global()],
            planner: Planner {
                schedule: Schedule::Cadence(Cadence::new(MINUTE).expect("above a microsecond")),
                delay: Duration::ZERO,
                catch_up: CatchUp::LatestOnly,
                max_lateness: None,
            },
            schedules: Vec::new(),
            revised: None,
            max_attempts: 3,
            lease_ms: 30_000,
            reentry: Reentry::Allow,
            run_timeout: RUN_TIMEOUT,
            max_backoff: MINUTE,
            backoff: Some(Backoff::exponential(Duration::from_secs(10))),
            effects_per_start: 1,
            may_idle: false,
            overlap_max: Some(1),
        }],
        call_timeout: settings.call_timeout,
        poll_interval: settings.poll_interval,
        rescue_interval: settings.rescue_interval,
        // Filled in by the world.
        granularity: Duration::ZERO,
        // Two leases, one run, one rescue, one plan, one call, and some room.
        settle_within: 3 * MINUTE,
        services: Vec::new(),
        boot: Boot::Ready,
        queues: Vec::new(),
    }
}
