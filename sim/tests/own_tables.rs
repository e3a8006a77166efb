//! Tables of one's own in the simulated database: what a handler writes there in the transaction that ends its attempt
//! happens exactly once per success, whatever goes wrong.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tourbillon::{
    driver::{Scheduler, Settings},
    job::{Context, HandlerError, Job},
    model::{JobName, Json, Outcome, Reentry, Scope, State, Timestamp},
    plan::{Backoff, Begin, Cadence, CatchUp, Planner, Schedule},
    store::{ErrorKind, Request, Settle, Settlement, StoreError},
};
use tourbillon_sim::{
    checker,
    fault::{Bad, Fault, FaultPlan, Then, Trigger, TriggerPoint},
    history::{Boot, History, JobFacts, RunFacts, What},
    scenario::Phases,
    world::{
        self, Host, Lane, RunSetup,
        application::{Tables, tables},
        engine,
    },
};

const MINUTE: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(30);
const RUN_TIMEOUT: Duration = Duration::from_secs(20);

/// An account that every slot pays into.
#[derive(Clone, Default, Serialize)]
struct Account {
    paid: u64,
}

#[derive(Serialize, Deserialize)]
struct Pay {
    amount: u64,
}

impl Tables for Account {
    type Verb = Pay;
    type Reply = u64;
    type Change = u64;

    fn apply(&mut self, _: Timestamp, pay: Pay, changes: &mut Vec<u64>) -> Result<u64, StoreError> {
        self.paid += pay.amount;
        changes.push(self.paid);
        Ok(self.paid)
    }
}

/// Pays and ends the attempt in one transaction; asks again under the same ids while the outcome is unknown.
async fn pay(host: &Host, ctx: &Context) -> Result<(), HandlerError> {
    ctx.sleep(Duration::from_secs(2)).await;
    let account = host.tables::<Account>();
    let outcome = Outcome::Succeeded { result: Json::empty(), rows_affected: None };
    let settle = Settle { settlements: vec![Settlement::of(ctx.lease(), outcome)] };
    let with = Request { id: account.request_id(), verb: settle.into() };
    let id = account.request_id();
    loop {
        match account.ask_with(id, &Pay { amount: 1 }, with.clone()).await {
            Err(error) if error.is_transient() => ctx.sleep(Duration::from_secs(1)).await,
            Err(error) if error.kind() == ErrorKind::LeaseLost => return Err(HandlerError::new(error)),
            other => return other.map(|_| ()).map_err(HandlerError::new),
        }
    }
}

fn app(host: &Host) -> Scheduler {
    let outside = host.clone();
    let job = Job::new("pay").every(MINUTE).run_timeout(RUN_TIMEOUT).lease(LEASE).run(move |ctx: Context| {
        let outside = outside.clone();
        async move { pay(&outside, &ctx).await }
    });
    Scheduler::builder(host.store()).runtime(host.runtime()).job(job).build().expect("the rules of the job hold")
}

fn run(seed: u64, plan: FaultPlan) -> History {
    let setup = RunSetup {
        facts: facts(seed),
        receivers: Vec::new(),
        phases: Phases { chaos: 10 * MINUTE, partial_heal: 4 * MINUTE, heal: 4 * MINUTE },
        plan,
        orders: None,
        lane: Lane::Event,
        engine: engine::memory(),
        application: Some(tables(Account::default)),
        app: Arc::new(app),
    };
    world::run(setup).expect("the world itself works").history
}

/// (what was paid, how many executions succeeded)
fn outcome(history: &History) -> (u64, u64) {
    let paid = history.events.iter().find_map(|event| match &event.what {
        What::ApplicationEnded { state } => state["paid"].as_u64(),
        _ => None,
    });
    let succeeded = history.events.iter().find_map(|event| match &event.what {
        What::Ended { state } => Some(state.executions.iter().filter(|row| row.state == State::Succeeded).count()),
        _ => None,
    });
    (paid.expect("the account at the end"), succeeded.expect("the end") as u64)
}

#[test]
fn a_write_in_the_transaction_of_the_settle_happens_once_per_success() {
    let faults =
        |bad| FaultPlan { faults: vec![Fault { at_s: 60, lasts_s: 420, replica: 0, bad }], triggers: Vec::new() };
    let trigger = |after, then| {
        let triggers = (1..5).map(|nth| Trigger { after, of: None, nth: nth * 2, then, lasts_s: 20 }).collect();
        FaultPlan { faults: Vec::new(), triggers }
    };
    let plans = [
        FaultPlan::default(),
        faults(Bad::LoseReply { percent: 40 }),
        faults(Bad::ApplyLate { percent: 40, delay_s: 8 }),
        faults(Bad::Refuse { percent: 40 }),
        trigger(TriggerPoint::AppliedSettle, Then::LoseReply),
        trigger(TriggerPoint::AppliedSettle, Then::PowerLoss),
        trigger(TriggerPoint::AppliedStart, Then::PowerLoss),
        trigger(TriggerPoint::AppliedSettle, Then::DatabaseRestart),
    ];
    for (seed, plan) in plans.into_iter().enumerate() {
        let history = run(seed as u64, plan);
        for (guarantee, findings) in checker::check_all(&history) {
            assert_eq!(findings.violations, [], "plan {seed}, {guarantee}");
        }
        let (paid, succeeded) = outcome(&history);
        assert_eq!(paid, succeeded, "plan {seed}");
        assert!(succeeded >= 14, "plan {seed}: only {succeeded} of 18 slots");
    }
}

/// What the checkers may assume: the rules of the job and of the driver once more.
fn facts(seed: u64) -> RunFacts {
    let settings = Settings::default();
    RunFacts {
        scenario: "pay".to_owned(),
        seed,
        epoch: "2026-01-05T00:00:00Z".parse().expect("an instant"),
        replicas: 2,
        jobs: vec![JobFacts {
            job: JobName::new("pay").expect("a name"),
            scopes: vec![Scope::global()],
            planner: Planner {
                schedule: Schedule::Cadence(Cadence::new(MINUTE).expect("above a microsecond")),
                delay: Duration::ZERO,
                catch_up: CatchUp::LatestOnly,
                max_lateness: None,
                begin: Begin::default(),
            },
            schedules: Vec::new(),
            revised: None,
            max_attempts: 3,
            lease_ms: 30_000,
            reentry: Reentry::Allow,
            run_timeout: RUN_TIMEOUT,
            max_backoff: MINUTE,
            backoff: Some(Backoff::exponential(Duration::from_secs(10))),
            effects_per_start: 0,
            may_idle: false,
            overlap_max: Some(1),
        }],
        call_timeout: settings.call_timeout,
        poll_interval: settings.poll_interval,
        rescue_interval: settings.rescue_interval,
        probe_interval: settings.probe_interval,
        // Filled in by the world.
        granularity: Duration::ZERO,
        // Two leases, one run, one rescue, one plan, one call, and some room.
        settle_within: 3 * MINUTE,
        queues: Vec::new(),
        receivers: Vec::new(),
        services: Vec::new(),
        boot: Boot::Ready,
    }
}
