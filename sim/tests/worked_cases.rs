//! Three innocent-looking jobs, each with the bug that its simulation finds, and mended. `docs/guide/testing-your-jobs.md`
//! tells them as stories.

use std::time::Duration;

use tourbillon_sim::prelude::*;

#[path = "worked/charge.rs"]
mod charge;
#[path = "worked/digest.rs"]
mod digest;
#[path = "worked/publish.rs"]
mod publish;

const MINUTE: Duration = Duration::from_secs(60);

fn broken(simulation: Simulation) -> Counterexample {
    let error = simulation.try_check().expect_err("the bug is found");
    error.counterexample().cloned().unwrap_or_else(|| panic!("{error}"))
}

fn kinds(plan: &FaultPlan) -> Vec<FaultKind> {
    let faults = plan.faults.iter().map(|fault| fault.bad.kind());
    faults.chain(plan.triggers.iter().map(Trigger::kind)).collect()
}

#[test]
fn a_digest_that_remembers_in_its_process_is_found_without_any_fault() {
    let found = broken(digest::simulation(digest::forgetful));
    assert_eq!(found.violation.guarantee, "effects on smtp: at most 1 per key, and one more per unmarked attempt");
    assert_eq!((kinds(&found.smallest.plan), found.smallest.replicas), (vec![], 2), "{found}");
}

#[test]
fn a_digest_that_takes_its_window_from_its_slot_holds() {
    digest::simulation(digest::mended).check();
}

#[test]
fn a_charge_keyed_by_its_attempt_is_found_by_one_fault() {
    let faults = Faults::swarm().without([FaultKind::FailOver]);
    let found = broken(charge::simulation(charge::by_attempt).faults(faults));
    assert_eq!(found.violation.guarantee, "effects on payments: at most 1 per key");
    assert_eq!(found.smallest.plan.len(), 1, "{found}");
}

#[test]
fn a_charge_keyed_by_its_execution_is_found_by_a_fail_over_only() {
    let but_fail_overs = Faults::swarm().without([FaultKind::FailOver]);
    charge::simulation(charge::by_execution).faults(but_fail_overs).check();
    // One seed in some dozens loses just that commit.
    let found = broken(charge::simulation(charge::by_execution).seeds(0..200));
    assert_eq!(kinds(&found.smallest.plan), [FaultKind::FailOver], "{found}");
}

#[test]
fn a_charge_keyed_by_its_invoice_holds() {
    charge::simulation(charge::by_invoice).check();
}

#[test]
fn a_list_of_an_old_leader_is_found_where_nobody_looks_at_epochs() {
    // A suspended machine knows of no time that passed: no lease can tell its leader that another leads.
    let found = broken(publish::simulation("registry".into()).faults(Faults::only([FaultKind::FreezeMonotonic])));
    assert_eq!(found.violation.guarantee, "no list replaces one of a later leader");
    assert!(found.smallest.plan.len() <= 2, "{found}");
}

#[test]
fn a_registry_that_refuses_old_epochs_holds() {
    let registry = || Receiver::new("registry").refuses_old_fences();
    publish::simulation(registry()).check();
    publish::simulation(registry()).faults(Faults::only([FaultKind::FreezeMonotonic])).check();
}

/// The test that a failure printed, as it was pasted; it compiles, and holds now that the bug is mended.
mod pasted {
    use super::{Simulation, charge};

    fn simulation() -> Simulation {
        charge::simulation(charge::by_invoice)
    }

    include!("worked/pasted.txt");
}

#[test]
fn the_printed_test_fails_for_as_long_as_the_bug_is_there() {
    let pasted = include_str!("worked/pasted.txt");
    let case = pasted.split("r#\"").nth(1).and_then(|rest| rest.split("\"#").next()).expect("it has a case");
    let found = broken(charge::simulation(charge::by_attempt).replay(case));
    assert_eq!(found.violation.guarantee, "effects on payments: at most 1 per key");
    assert_eq!(found.regression_test(), pasted);
}
