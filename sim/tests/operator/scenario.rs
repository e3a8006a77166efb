//! The operator as a scenario.

use std::{path::Path, sync::Arc};

use tourbillon_sim::{
    EngineFactory, Overrides, fault::FaultPlan, operator::Variant, run_seed, scenario::Scenario, world::engine,
};

/// The file's hardened operator, without faults of its own: all guarantees and all bounds.
#[test]
fn hardened_scenario_holds_while_replicas_are_cut_off_and_healed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/certificate-operator.toml");
    let scenario = Scenario::load(&file).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenario.operator, Some(Variant::Hardened));
    let overrides = Overrides { plan: Some(FaultPlan::default()), ..Overrides::default() };
    let memory: EngineFactory = Arc::new(|| Ok(engine::memory()));
    let verdict = run_seed(&scenario, 1, &overrides, &memory).expect("the world holds");
    assert_eq!(verdict.violations, []);
    // Sends of rows under leases of their own are judged as well.
    assert!(verdict.checks["notification_process"] > 0 && verdict.checks["G8"] > 0);
}

#[test]
fn a_scenario_of_the_operator_has_no_jobs_of_its_own() {
    let text = "variant = \"hardened\"\n[[job]]\nname = \"rollup\"\nevery = \"5m\"";
    let error = Scenario::parse(text, "s.toml").expect_err("refused").to_string();
    assert!(error.starts_with("unknown key `job` in the scenario"), "{error}");
}
