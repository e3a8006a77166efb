//! One seed, one history: in the same process, in another process, and on every engine. And canaries: jobs that do what no
//! seed decides are found.

use std::{
    path::Path,
    process::{self, Command},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use libtest_mimic::Arguments;
use tourbillon::{
    driver::Scheduler,
    job::{Context, HandlerError, Job},
};
use tourbillon_sim::{
    Overrides, Verdict, checker,
    fault::FaultPlan,
    history::{Boot, History, RunFacts, What, first_difference},
    run_seed,
    scenario::{Phases, Scenario},
    world::{self, App, Lane, RunSetup, engine},
};
use tourbillon_tests::{conformance::trial, engines::EngineKind};

/// Seeds compared across engines, each with faults.
const SEEDS: std::ops::Range<u64> = 100..120;

/// Argument with which this program prints one history instead of testing.
const CHILD: &str = "--history-of";

/// Argument with which it prints the history of a job that tells who it is.
const CANARY: &str = "--canary";

fn main() {
    if let Some(seed) = std::env::args().skip_while(|argument| argument != CHILD).nth(1) {
        return print_history(seed.parse().expect("a seed"));
    }
    if std::env::args().any(|argument| argument == CANARY) {
        return print!("{}", lines(&restless(process_id)));
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
        here("a_counter_of_the_process_is_found_in_one_process", counter_is_found),
        here("an_identity_of_the_process_is_found_in_two", identity_is_found),
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

fn lines(history: &History) -> String {
    let mut bytes = Vec::new();
    history.write_lines(&mut bytes).expect("memory does not fail");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// Says where two histories part.
#[track_caller]
fn assert_equal(what: &str, seed: u64, left: &History, right: &History) {
    if let Some(difference) = first_difference(left, right) {
        panic!("seed {seed}, {what}: {difference}");
    }
    assert_eq!(lines(left), lines(right), "seed {seed}, {what}: the same events are spelt differently");
}

fn print_history(seed: u64) {
    print!("{}", lines(&run(seed, EngineKind::Memory).history));
}

fn same_in_one_process() {
    for seed in SEEDS.take(4) {
        let (first, second) = (run(seed, EngineKind::Memory), run(seed, EngineKind::Memory));
        assert_equal("run twice", seed, &first.history, &second.history);
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
        "forgetful-items",
        "rates",
        "schedules",
        "wake-ups",
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
                assert_equal(name, seed, &first.history, &second.history);
            }
        }
    }
}

fn same_in_two_processes() {
    for seed in SEEDS.take(4) {
        let there = elsewhere(&[CHILD, &seed.to_string()]);
        let here = run(seed, EngineKind::Memory).history;
        assert_equal("in two processes", seed, &here, &History::read_lines(&there).expect("a history"));
        assert_eq!(lines(&here), there, "seed {seed}: the two processes spell it differently");
    }
}

/// What this program prints when it is started like this.
fn elsewhere(arguments: &[&str]) -> String {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).args(arguments).output().expect("a second process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("JSON is UTF-8")
}

/// A run whose job notes something at each of its attempts.
fn restless(seen: fn() -> u64) -> History {
    let app: App = Arc::new(move |host| {
        let notes = host.clone();
        let job = Job::new("restless").every(Duration::from_secs(10)).run(move |ctx: Context| {
            let notes = notes.clone();
            async move {
                notes.note(&seen());
                ctx.sleep(Duration::from_secs(1)).await;
                Ok::<_, HandlerError>(())
            }
        });
        let builder = Scheduler::builder(host.store()).runtime(host.runtime());
        builder.job(job).build().expect("a valid job")
    });
    small_world("restless", Lane::Event, app)
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

fn process_id() -> u64 {
    process::id().into()
}

#[track_caller]
fn assert_found(left: &History, right: &History) {
    let difference = first_difference(left, right).expect("the two runs differ");
    let at = difference.event - difference.from;
    for side in [&difference.left, &difference.right] {
        assert!(matches!(side[at].what, What::Noted { .. }), "something else differs first:\n{difference}");
    }
    assert_eq!(difference.to_string().matches("\"note\":").count(), 2, "not both are shown:\n{difference}");
}

/// A counter goes on from run to run of one process; in another process it begins anew, and nothing shows.
fn counter_is_found() {
    assert_found(&restless(next_number), &restless(next_number));
    assert_eq!(first_difference(&restless(|| 7), &restless(|| 7)), None, "what is always the same is no canary");
}

/// Who a process is, or where its memory lies, is the same from run to run of one process.
fn identity_is_found() {
    assert_equal("in one process", 1, &restless(process_id), &restless(process_id));
    let there = History::read_lines(&elsewhere(&[CANARY])).expect("a history");
    assert_found(&restless(process_id), &there);
}

fn same_on(engine: EngineKind) {
    let mut faulty = 0;
    for seed in SEEDS {
        let (memory, other) = (run(seed, EngineKind::Memory), run(seed, engine));
        if memory.hash != other.hash {
            assert_equal(engine.name(), seed, &memory.history, &other.history);
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
    let findings = checker::check_all(&small_world("careless", lane, app));
    let (_, panics) = findings.iter().find(|(guarantee, _)| *guarantee == "PANIC").expect("a checker of panics");
    assert!(panics.violations.iter().any(|v| v.message.contains("a stray task panics")), "{panics:?}");
}

/// A minute without faults.
fn small_world(name: &str, lane: Lane, app: App) -> History {
    let scenario = scenario();
    let setup = RunSetup {
        facts: RunFacts {
            scenario: name.to_owned(),
            seed: 1,
            epoch: scenario.epoch,
            replicas: 2,
            jobs: Vec::new(),
            call_timeout: scenario.call_timeout,
            poll_interval: scenario.poll_interval,
            rescue_interval: scenario.rescue_interval,
            probe_interval: Duration::from_secs(30),
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
        orders: None,
    };
    world::run(setup).expect("the world holds").history
}
