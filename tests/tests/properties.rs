//! The guarantees as properties: proptest draws the faults, the simulation runs each way to work, the checkers judge.
//! Two tables say what runs and what must hold; a new scenario or a new guarantee is one line.
//!
//! `TOURBILLON_SEEDS` says how many seeds each scenario gets on each engine, `TOURBILLON_SEED` where they begin; a
//! failure prints the property, the seed, the shrunk plan, and one line that replays it.

use std::{
    collections::BTreeSet,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
};

use tourbillon_sim::{
    Budget, EngineFactory, Lane, Overrides, Seeds, SweepReport, Verdict,
    checker::{self, Findings, same_decisions},
    explain,
    fault::{self, Bad, Fault, FaultPlan},
    run_seed,
    scenario::Scenario,
    sweep,
};
use tourbillon_tests::engines::EngineKind;

/// A way to work, as a scenario.
struct Mode {
    /// Its file in `scenarios/`, without the ending.
    scenario: &'static str,
    /// Seeds on each engine when nothing is said: few enough for every `cargo test`.
    seeds: u64,
    /// What it must exercise, every time. What it exercises besides is judged as well.
    shows: &'static [&'static str],
}

/// What work with planned rows exercises.
const EXECUTIONS: &[&str] = &["G1", "G2", "G3", "G4", "G5", "G6", "G8", "G9", "G10", "G13", "G14", "G15", "PANIC"];

/// What replicas exercise that begin with an empty database.
const BOOTS: &[&str] = &["G1", "G2", "G3", "G4", "G5", "G6", "G8", "G9", "G10", "G12", "G13", "G14", "G15", "PANIC"];

/// What enqueued rows exercise. They have no slots.
const ITEMS: &[&str] = &["G1", "G2", "G3", "G4", "G5", "G8", "G9", "G10", "G11", "G13", "G14", "G15", "PANIC"];

/// As items, without keys, bounds and limits.
const QUICK_ITEMS: &[&str] = &["G1", "G2", "G3", "G4", "G5", "G8", "G9", "G10", "G13", "G14", "PANIC"];

/// As items, without bounds and limits.
const FORGETFUL_ITEMS: &[&str] = &["G1", "G2", "G3", "G4", "G5", "G8", "G9", "G10", "G11", "G13", "G14", "PANIC"];

/// As items, without keys and bounds; by rates, too.
const RATED_ITEMS: &[&str] = &["G1", "G2", "G3", "G4", "G5", "G8", "G9", "G10", "G13", "G14", "G15", "PANIC"];

/// What enqueued rows without unique keys exercise.
const WAKE_UPS: &[&str] = &["G1", "G2", "G3", "G4", "G5", "G6", "G8", "G10", "G13", "G14", "PANIC"];

/// What work without rows exercises.
const SERVICES: &[&str] = &["G7", "G10", "G13", "G14", "PANIC"];

/// What the operator exercises, beside the bounds of its loops.
const OPERATOR: &[&str] = &["G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G10", "G13", "G14", "G15", "PANIC"];

const MODES: &[Mode] = &[
    // Enough to meet every kind of fault.
    Mode { scenario: "planned-executions", seeds: 24, shows: EXECUTIONS },
    // Seven hours each, with the real figures.
    Mode { scenario: "reference-jobs", seeds: 2, shows: EXECUTIONS },
    Mode { scenario: "store-and-forward", seeds: 8, shows: ITEMS },
    Mode { scenario: "quick-items", seeds: 1, shows: QUICK_ITEMS },
    Mode { scenario: "forgetful-items", seeds: 2, shows: FORGETFUL_ITEMS },
    Mode { scenario: "rates", seeds: 2, shows: RATED_ITEMS },
    Mode { scenario: "schedules", seeds: 4, shows: EXECUTIONS },
    Mode { scenario: "wake-ups", seeds: 4, shows: WAKE_UPS },
    // One migration each.
    Mode { scenario: "boot-migrations", seeds: 12, shows: BOOTS },
    Mode { scenario: "rolling-deploy", seeds: 4, shows: EXECUTIONS },
    Mode { scenario: "tick-services", seeds: 8, shows: SERVICES },
    Mode { scenario: "leader-handover", seeds: 8, shows: SERVICES },
    // Three hours each, with tables and receivers of its own.
    Mode { scenario: "certificate-operator", seeds: 2, shows: OPERATOR },
];

macro_rules! properties {
    ($($(#[$about:meta])* $name:ident: $($guarantee:literal)+;)*) => {
        const PROPERTIES: &[(&str, &[&str])] = &[$((stringify!($name), &[$($guarantee),+])),*];
        $($(#[$about])* #[test] fn $name() { hold(stringify!($name), &[$($guarantee),+]); })*
    };
}

properties! {
    /// No execution is claimed while another lease on it is live.
    no_duplicate_claims: "G1";
    /// One end per generation, attempts and waits within the budget, E ≤ u + s ≤ max attempts + give-backs, and no
    /// work under a lost lease.
    bounded_duplicates: "G2" "G3" "G4" "G8";
    /// After heal everything due has ended within the stated bound, every slot is made or recorded, and work goes on.
    nothing_is_lost: "G5" "G14";
    /// No slot is made twice, early, off the grid, or from before an edit.
    one_slot_one_execution: "G6";
    /// A lock has one holder per epoch, epochs grow, and the work of two does not overlap.
    one_holder_per_epoch: "G7";
    /// The audit log tells every transition that its job wants told, once, and nothing else.
    audit_equals_transitions: "G9";
    /// Every stored instant is the database's own.
    the_database_clock_decides: "G10";
    /// At most one live item has a key, and one that was called a duplicate was one.
    unique_keys_are_unique: "G11";
    /// Replicas that boot at once apply each step of the schema once, in order, before anything else.
    migrations_apply_once: "G12";
    /// A shutdown that says ok has stopped everything and given back what it interrupted.
    a_shutdown_drains: "G13";
    /// At most n rows with one limit key run at once.
    limits_hold: "G15";
    /// Whatever goes wrong outside, no task of ours panics.
    nothing_panics: "PANIC";
}

/// The engines that need no server. A seed has one history on all of them (`determinism.rs`), so each gets its own.
const ENGINES: [EngineKind; 2] = [EngineKind::Memory, EngineKind::Sqlite];

/// For breadth; that both lanes tell the same story is `lanes.rs`.
const EVENT: Overrides = Overrides { lane: Some(Lane::Event), plan: None };

const FIRST_SEED: u64 = 1_000;

/// All seeds of one mode on one engine, judged by all checkers.
struct Sweep {
    mode: &'static Mode,
    engine: EngineKind,
    report: SweepReport,
}

impl Mode {
    fn path(&self) -> String {
        format!("scenarios/{}.toml", self.scenario)
    }

    fn read(&self) -> Scenario {
        load(&root().join(self.path()))
    }

    fn sweep(&'static self, index: u64, engine: EngineKind) -> Sweep {
        let count = number("TOURBILLON_SEEDS").unwrap_or(self.seeds);
        let first = number("TOURBILLON_SEED").unwrap_or(FIRST_SEED + count * index);
        let seeds = Seeds { stop_after: u64::MAX, ..Seeds::new(first, count) };
        let report = sweep(&self.read(), seeds, &EVENT, (engine.name(), &factory(engine)), &|_, _| {});
        Sweep { mode: self, engine, report: report.unwrap_or_else(|error| panic!("{}: {error}", self.scenario)) }
    }
}

impl Sweep {
    /// The first seed that breaks one of these, with the smallest plan that does.
    fn demand(&self, property: &str, guarantees: &[&str]) {
        let is_ours = |guarantee: &String| guarantees.contains(&guarantee.as_str());
        let mut failures = self.report.failures.iter();
        let failing = failures.find(|seed| seed.violations.iter().any(|v| is_ours(&v.guarantee)));
        let Some(failing) = failing else { return };
        let (scenario, engine) = (self.mode.read(), factory(self.engine));
        let mut verdict = run(&scenario, failing.seed, None, &engine);
        verdict.violations.retain(|violation| is_ours(&violation.guarantee));
        let named = (self.engine.name(), &engine);
        let failure = explain(&self.mode.path(), &scenario, &verdict, named, Budget::default());
        panic!("{property} does not hold\n{}", failure.expect("it was violated"));
    }
}

/// All modes on all engines, run once for all properties.
fn sweeps() -> &'static [Sweep] {
    static SWEEPS: OnceLock<Vec<Sweep>> = OnceLock::new();
    let all =
        || MODES.iter().flat_map(|mode| (0..).zip(ENGINES).map(move |(index, engine)| mode.sweep(index, engine)));
    SWEEPS.get_or_init(|| all().collect())
}

/// Demands that none of these guarantees is broken anywhere, and that each was exercised wherever it should be.
fn hold(property: &str, guarantees: &[&str]) {
    for sweep in sweeps() {
        sweep.demand(property, guarantees);
        for guarantee in guarantees.iter().filter(|guarantee| sweep.mode.shows.contains(guarantee)) {
            let checks = sweep.report.checks.get(*guarantee).copied().unwrap_or(0);
            let (first, scenario, engine) = (sweep.report.first_seed, sweep.mode.scenario, sweep.engine.name());
            let last = first + sweep.report.seeds;
            assert!(checks > 0, "{scenario} on {engine} did not exercise {guarantee} in seeds {first}..{last}");
        }
    }
}

/// What a scenario promises of itself, beyond the guarantees: the bounds of the operator's loops.
#[test]
fn the_operator_keeps_its_bounds() {
    let of_checkers: BTreeSet<_> = checker::all().iter().map(|checker| checker.guarantee).collect();
    for sweep in sweeps().iter().filter(|sweep| sweep.mode.scenario == "certificate-operator") {
        let own = sweep.report.checks.iter().filter(|(name, _)| !of_checkers.contains(name.as_str()));
        let (names, checks): (Vec<_>, Vec<_>) = own.map(|(name, checks)| (name.as_str(), *checks)).unzip();
        assert_eq!(names.len(), 15, "fifteen loops: {names:?}");
        assert!(checks.iter().all(|checks| *checks > 0), "some loop was not exercised: {names:?}, {checks:?}");
        sweep.demand("the_operator_keeps_its_bounds", &names);
    }
}

/// No checker is idle, and none is left out: for each there is a property, and a mode that must exercise it.
#[test]
fn every_checker_has_a_property_and_a_mode() {
    let held: BTreeSet<_> = PROPERTIES.iter().flat_map(|(_, guarantees)| *guarantees).copied().collect();
    let shown: BTreeSet<_> = MODES.iter().flat_map(|mode| mode.shows).copied().collect();
    let checked: BTreeSet<_> = checker::all().iter().map(|checker| checker.guarantee).collect();
    assert_eq!(held, checked, "give each guarantee a line in `properties!`");
    assert_eq!(shown, checked, "give each guarantee a scenario of `MODES` that shows it");
}

/// G10: replicas' wall clocks decide nothing. Moving them by up to days changes no byte of what the database was
/// told and answered.
#[test]
fn skew_changes_nothing() {
    let engine = factory(EngineKind::Memory);
    let mut moved = 0;
    for mode in MODES {
        let scenario = mode.read();
        let first = number("TOURBILLON_SEED").unwrap_or(4_000);
        for seed in first..first + number("TOURBILLON_SEEDS").unwrap_or(mode.seeds.div_ceil(2)) {
            let mut with = fault::draw(&scenario, seed);
            with.faults.extend(skews(seed, scenario.replicas));
            // The same acts at the same times, so that nothing else differs: not even who of two comes first at one
            // and the same instant.
            let mut without = with.clone();
            moved += without
                .faults
                .iter_mut()
                .filter_map(|fault| wall_skew(&mut fault.bad))
                .map(|by_ms| *by_ms = 0)
                .count();
            let straight = run(&scenario, seed, Some(without), &engine);
            let skewed = run(&scenario, seed, Some(with), &engine);
            let Findings { checks, violations } = same_decisions(&straight.history, &skewed.history);
            assert!(checks > 0, "{}, seed {seed}: nothing was compared", mode.scenario);
            if let Some(violation) = violations.first() {
                panic!("{}, seed {seed}, {}: {violation}", mode.scenario, straight.lane);
            }
        }
    }
    assert!(moved > 0);
}

fn wall_skew(bad: &mut Bad) -> Option<&mut i64> {
    if let Bad::ClockOffset { by_ms } | Bad::ClockJump { by_ms } = bad { Some(by_ms) } else { None }
}

/// A jump of every replica's wall clock, each by another amount up to two days, at times that differ too.
fn skews(seed: u64, replicas: u8) -> Vec<Fault> {
    use tourbillon_sim::chance;
    let draw = |what, replica: u8, high| chance::between(chance::draw(seed, what, replica.into(), 0), 1, high);
    (0..replicas)
        .map(|replica| {
            let ms = i64::try_from(draw("skew", replica, 2 * 86_400_000)).expect("two days fit");
            let by_ms = if replica % 2 == 0 { ms } else { -ms };
            let at_s = u32::try_from(draw("skew at", replica, 240)).expect("four minutes fit");
            Fault { at_s, lasts_s: 0, replica, bad: Bad::ClockJump { by_ms } }
        })
        .collect()
}

/// Every regression file holds on both embedded engines, on the lane that it says.
#[test]
fn regressions_stay_mended() {
    let folder = root().join("scenarios/regressions");
    let mut files: Vec<_> =
        folder.read_dir().expect("the folder of regressions").flatten().map(|f| f.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let broken_on = &|engine: EngineKind| -> Vec<String> {
        let mut broken = Vec::new();
        for path in &files {
            let scenario = load(path);
            let verdict = run_seed(&scenario, scenario.seed.unwrap_or(0), &Overrides::default(), &factory(engine));
            for violation in verdict.unwrap_or_else(|error| panic!("{error}")).violations {
                broken.push(format!("{} on {}: {violation}", path.display(), engine.name()));
            }
        }
        broken
    };
    let broken: BTreeSet<String> = thread::scope(|scope| {
        let all = ENGINES.map(|engine| scope.spawn(move || broken_on(engine)));
        all.into_iter().flat_map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    assert!(broken.is_empty(), "{} violations:\n{}", broken.len(), Vec::from_iter(broken).join("\n"));
}

fn run(scenario: &Scenario, seed: u64, plan: Option<FaultPlan>, engine: &EngineFactory) -> Verdict {
    run_seed(scenario, seed, &Overrides { plan, ..EVENT }, engine).unwrap_or_else(|error| panic!("{error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn load(path: &Path) -> Scenario {
    Scenario::load(path).unwrap_or_else(|error| panic!("{error}"))
}

fn factory(engine: EngineKind) -> EngineFactory {
    engine.factory().expect("needs no server")
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`: give a whole number")))
}
