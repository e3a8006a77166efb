//! The case of a failing scenario is made smaller, and comes out as a file that fails in the same way.

use std::{fs, path::Path, sync::Arc};

use tourbillon_sim::{Budget, EngineFactory, Overrides, explain, run_seed, scenario::Scenario, world::engine};

/// The promise is too bold: an execution whose replica died waits for its lease, 30 s, and for a rescue.
const TOO_BOLD: &str = r#"
settle_within = "3s"
phases = { chaos = "8m", partial_heal = "1m", heal = "1m" }
faults = { kinds = ["power_loss", "partition", "clock_offset", "lose_reply"], max_faults = 8 }
[[job]]
name = "rollup"
every = "20s"
run_timeout = "20s"
lease = "30s"
work = { takes = "10s" }
[[job]]
name = "upkeep"
every = "1m"
[[service]]
name = "sweep"
every = "30s"
[[queue]]
name = "push"
"#;

#[test]
fn a_failing_scenario_shrinks_to_a_regression_that_fails_alike() {
    let folder = std::env::temp_dir().join(format!("tourbillon-shrinking-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("too-bold.toml");
    fs::write(&path, TOO_BOLD).expect("written");
    let scenario = load(&path);
    let engine: EngineFactory = Arc::new(|| Ok(engine::memory()));
    let run = |scenario: &Scenario, seed| {
        run_seed(scenario, seed, &Overrides::default(), &engine).expect("the world itself works")
    };
    let verdict = (0..20).map(|seed| run(&scenario, seed)).find(|verdict| !verdict.violations.is_empty());
    let verdict = verdict.expect("three seconds are not enough");

    let explained = |budget| explain("too-bold.toml", &scenario, &verdict, ("memory", &engine), budget);
    let failure = explained(Budget { runs: 300, wall: std::time::Duration::from_secs(600) }).expect("explained");
    let small = &failure.smallest;
    assert!(small.plan.len() <= 1 && small.without.len() == 3, "{failure}");
    assert!(small.chaos < scenario.phases.chaos, "{failure}");

    let file = folder.join("regression.toml");
    fs::write(&file, &failure.regression).expect("written");
    let regression = load(&file);
    assert_eq!(regression.parts().len(), 1, "{failure}");
    let again = run(&regression, regression.seed.expect("it has one"));
    assert!(again.breaks(&failure.violation.guarantee), "{failure}");
    fs::remove_dir_all(&folder).expect("it was made here");

    let hasty = explained(Budget { runs: 1, ..Budget::default() }).expect("explained").to_string();
    assert!(hasty.contains("(out of its budget of 1 runs or 60s: an even smaller case may do)"), "{hasty}");
}

fn load(path: &Path) -> Scenario {
    Scenario::load(path).unwrap_or_else(|error| panic!("{error}"))
}
