//! One seed, one history: in the same process, in another process, and on every engine.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use libtest_mimic::Arguments;
use tourbillon::{
    driver::Scheduler,
    job::{Context, HandlerError, Job},
};
use tourbillon_sim::{
    Overrides, Verdict, checker,
    fault::FaultPlan,
    history::{Boot, RunFacts},
    run_seed,
    scenario::{Phases, Scenario},
    world::{self, App, Lane, RunSetup, engine},
};
use tourbillon_tests::{conformance::trial, engines::EngineKind};

/// Seeds compared across engines, each with faults.
const SEEDS: std::ops::Range<u64> = 100..120;

/// Argument with which this program prints one history instead of testing.
const CHILD: &str = "--history-of";

fn main() {
    if let Some(seed) = std::env::args().skip_while(|argument| argument != CHILD).nth(1) {
        return print_history(seed.parse().expect("a seed"));
    }
    let no_postgres = EngineKind::Postgres.factory().err().map(|error| error.to_string());
    let here = |name: &str, run: fn()| trial(name.to_owned(), None, run);
    let trials = vec![
        here("a_seed_has_one_history_in_one_process", same_in_one_process),
        here("a_seed_of_every_scenario_has_one_history", same_for_every_scenario),
        here("a_seed_has_one_history_in_two_processes", same_in_two_processes),
        here("a_seed_has_one_history_on_memory_and_sqlite", || same_on(EngineKind::Sqlite)),
        trial("a_seed_has_one_history_on_memory_and_postgres".to_owned(), no_postgres.as_deref(), || {
            same_on(EngineKind::Postgres);
        }),
        here("a_panic_in_any_task_of_a_host_fails_the_seed", panics_are_seen),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// The planned executions, shorter: a few minutes under faults are thousands of calls.
fn scenario() -> Scenario {
    let scenario = load("planned-executions");
    let minutes = |n: u64| Duration::from_secs(60 * n);
    Scenario { phases: Phases { chaos: minutes(4), partial_heal: minutes(1), heal: minutes(1) }, ..scenario }
}

fn load(name: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../scenarios/{name}.toml"));
    Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// Odd seeds on turmoil, even ones on the event lane.
fn run(seed: u64, engine: EngineKind) -> Verdict {
    let factory = engine.factory().expect("the engine was found before");
    let turmoil = Lane::Turmoil { tick: Some(Duration::from_millis(50)) };
    let lane = Some(if seed % 2 == 1 { turmoil } else { Lane::Event });
    run_seed(&scenario(), seed, &Overrides { lane, plan: None }, &factory).unwrap_or_else(|error| panic!("{error}"))
}

fn lines(verdict: &Verdict) -> String {
    let mut bytes = Vec::new();
    verdict.history.write_lines(&mut bytes).expect("memory does not fail");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// Says where two histories part.
fn assert_equal(what: &str, seed: u64, left: &str, right: &str) {
    for (number, (left, right)) in left.lines().zip(right.lines()).enumerate() {
        assert_eq!(left, right, "seed {seed}, {what}: event {} differs", number + 1);
    }
    assert_eq!(left.len(), right.len(), "seed {seed}, {what}: one history is longer");
}

fn print_history(seed: u64) {
    print!("{}", lines(&run(seed, EngineKind::Memory)));
}

fn same_in_one_process() {
    for seed in SEEDS.take(4) {
        let (first, second) = (run(seed, EngineKind::Memory), run(seed, EngineKind::Memory));
        assert_equal("run twice", seed, &lines(&first), &lines(&second));
        assert_eq!(first.hash, second.hash);
    }
}

/// As they are, with every way to work: what only ticks, terms and queues do must be decided by the seed as well.
fn same_for_every_scenario() {
    let engine = EngineKind::Memory.factory().expect("needs no server");
    for name in [
        "tick-services",
        "leader-handover",
        "store-and-forward",
        "quick-items",
        "boot-migrations",
        "rolling-deploy",
        "certificate-operator",
    ] {
        let scenario = load(name);
        let overrides = Overrides { lane: Some(Lane::Event), plan: None };
        for seed in SEEDS.take(3) {
            let run = || run_seed(&scenario, seed, &overrides, &engine).unwrap_or_else(|error| panic!("{error}"));
            let (first, second) = (run(), run());
            if first.hash != second.hash {
                assert_equal(name, seed, &lines(&first), &lines(&second));
            }
        }
    }
}

fn same_in_two_processes() {
    for seed in SEEDS.take(4) {
        let program = std::env::current_exe().expect("this program");
        let output = Command::new(program).args([CHILD, &seed.to_string()]).output().expect("a second process");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let there = String::from_utf8(output.stdout).expect("JSON is UTF-8");
        assert_equal("in two processes", seed, &lines(&run(seed, EngineKind::Memory)), &there);
    }
}

fn same_on(engine: EngineKind) {
    let mut faulty = 0;
    for seed in SEEDS {
        let (memory, other) = (run(seed, EngineKind::Memory), run(seed, engine));
        if memory.hash != other.hash {
            assert_equal(engine.name(), seed, &lines(&memory), &lines(&other));
        }
        faulty += u32::from(!memory.plan.is_empty());
    }
    assert!(faulty >= 15, "only {faulty} seeds had faults");
}

/// A task spawned by a handler is swallowed by the executor when it panics; the seed must fail all the same.
fn panics_are_seen() {
    for lane in [Lane::Event, Lane::Turmoil { tick: Some(Duration::from_millis(50)) }] {
        panics_are_seen_on(lane);
    }
}

fn panics_are_seen_on(lane: Lane) {
    let app: App = Arc::new(|host| {
        let job = Job::new("careless").every(Duration::from_secs(10)).run(|ctx: Context| async move {
            ctx.spawn("stray", async { panic!("a stray task panics") });
            ctx.sleep(Duration::from_secs(1)).await;
            Ok::<_, HandlerError>(())
        });
        let builder = Scheduler::builder(host.store()).runtime(host.runtime());
        builder.job(job).build().expect("a valid job")
    });
    let scenario = scenario();
    let setup = RunSetup {
        facts: RunFacts {
            scenario: "careless".to_owned(),
            seed: 1,
            epoch: scenario.epoch,
            replicas: 2,
            jobs: Vec::new(),
            call_timeout: scenario.call_timeout,
            poll_interval: scenario.poll_interval,
            rescue_interval: scenario.rescue_interval,
            granularity: Duration::ZERO,
            settle_within: scenario.settle_within,
            queues: Vec::new(),
            receivers: Vec::new(),
            services: Vec::new(),
            boot: Boot::Ready,
        },
        receivers: Vec::new(),
        phases: Phases { chaos: Duration::from_secs(60), partial_heal: Duration::ZERO, heal: Duration::ZERO },
        plan: FaultPlan::default(),
        lane,
        engine: engine::memory(),
        application: None,
        app,
    };
    let outcome = world::run(setup).expect("the world holds");
    let findings = checker::check_all(&outcome.history);
    let (_, panics) = findings.iter().find(|(guarantee, _)| *guarantee == "PANIC").expect("a checker of panics");
    assert!(panics.violations.iter().any(|v| v.message.contains("a stray task panics")), "{panics:?}");
}
