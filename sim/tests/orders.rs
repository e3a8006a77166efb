//! Disturbed orders: another order of things, the same faults, the same history every time, and nothing broken by it.

use std::{path::Path, sync::Arc};

use tourbillon_sim::{
    EngineFactory, Overrides, Verdict, run_seed,
    scenario::{Orders, Scenario},
    world::engine,
};

fn run(orders: Option<Orders>) -> Verdict {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/many-seeds.toml");
    let scenario = Scenario::load(&file).unwrap_or_else(|error| panic!("{error}"));
    let memory: EngineFactory = Arc::new(|| Ok(engine::memory()));
    run_seed(&Scenario { orders, ..scenario }, 3, &Overrides::default(), &memory)
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_disturbed_seed_has_one_history_and_the_faults_that_it_has_anyway() {
    let (once, again, calm) = (run(Some(Orders::USUAL)), run(Some(Orders::USUAL)), run(None));
    assert_eq!(once.hash, again.hash);
    assert_ne!(once.hash, calm.hash, "nothing was disturbed");
    assert_eq!(once.plan, calm.plan);
    assert_eq!(once.violations, []);
}

#[test]
fn a_scenario_says_how_much() {
    let text = "settle_within = \"4m\"\nphases = { chaos = \"20m\" }\norders = { percent = 5 }\n\
                [[job]]\nname = \"rollup\"\nevery = \"5m\"\n";
    let read = |text: &str| Scenario::parse(text, "s.toml").map(|scenario| scenario.orders);
    assert_eq!(read(text).expect("valid"), Some(Orders { percent: 5, ..Orders::USUAL }));
    let refused = read(&text.replace("percent = 5", "percent = 100")).expect_err("nothing would run").to_string();
    assert!(refused.contains("90"), "{refused}");
}
