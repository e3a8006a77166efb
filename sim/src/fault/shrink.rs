//! Owns the search for the smallest plan that still fails. Knows neither what a run is nor what failing means.

use proptest::strategy::ValueTree;

use super::{FaultPlan, PlanTree};

/// What shrinking came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shrunk {
    /// The smallest plan found that fails; the given one when nothing smaller does.
    pub plan: FaultPlan,
    /// How often `still_fails` was asked.
    pub runs: u32,
    /// The budget ended before the search did: a smaller plan may exist.
    pub exhausted: bool,
}

/// Looks for a smaller plan that still fails.
///
/// `start` is taken to fail and is not run again. `still_fails` must demand the *same* property that `start` broke,
/// or the search slips to another bug. No plan is run twice. `go_on` is asked before each run, with the number of
/// runs so far; it holds the budget (runs, wall time) and ends the search by saying false.
pub fn shrink(
    start: &FaultPlan,
    mut still_fails: impl FnMut(&FaultPlan) -> bool,
    mut go_on: impl FnMut(u32) -> bool,
) -> Shrunk {
    let mut tree = PlanTree::new(start.clone());
    let mut smallest = Shrunk { plan: start.clone(), runs: 0, exhausted: false };
    // A tree shows a plan again after it took a step back. Hundreds at most, so a list is quick enough.
    let mut known = vec![(start.clone(), true)];
    let mut more = tree.simplify();
    while more {
        let plan = tree.current();
        let fails = match known.iter().find(|(seen, _)| *seen == plan) {
            Some((_, fails)) => *fails,
            None => {
                if !go_on(smallest.runs) {
                    smallest.exhausted = true;
                    break;
                }
                smallest.runs += 1;
                let fails = still_fails(&plan);
                known.push((plan.clone(), fails));
                fails
            }
        };
        if fails {
            smallest.plan = plan;
            more = tree.simplify();
        } else {
            more = tree.complicate() || tree.simplify();
        }
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Bad, Fault, FaultKind, Then, Trigger, TriggerPoint, draw::tests::busy_plan};

    fn forever(_: u32) -> bool {
        true
    }

    /// Blueprint, section 8: one relevant fault of twenty, with its numbers, in fewer than 100 runs.
    #[test]
    fn twenty_faults_shrink_to_the_one_that_matters() {
        let mut most = 0;
        for seed in 0..200 {
            let plan = busy_plan(seed, 20);
            let culprit = plan.faults[seed as usize % 20].clone();
            let same = |fault: &Fault| {
                fault.bad.kind() == culprit.bad.kind()
                    && fault.at_s / 60 == culprit.at_s / 60
                    && fault.lasts_s >= culprit.lasts_s.min(10)
            };
            let shrunk = shrink(&plan, |plan| plan.faults.iter().any(same), forever);
            assert_eq!(shrunk.plan.len(), 1, "seed {seed}: {:?}", shrunk.plan);
            let left = &shrunk.plan.faults[0];
            assert_eq!((left.at_s, left.replica), (culprit.at_s / 60 * 60, 0), "seed {seed}");
            assert!(!shrunk.exhausted);
            most = most.max(shrunk.runs);
        }
        assert!(most < 100, "{most} runs");
    }

    #[test]
    fn a_fault_and_a_trigger_that_matter_together_both_stay() {
        for seed in 0..50 {
            let mut plan = busy_plan(seed, 18);
            plan.faults.push(Fault { at_s: 7, lasts_s: 40, replica: 1, bad: Bad::Pause });
            plan.triggers.push(Trigger {
                after: TriggerPoint::AppliedSettle,
                of: None,
                nth: 31,
                then: Then::Crash,
                lasts_s: 5,
            });
            let fails = |plan: &FaultPlan| {
                plan.faults.iter().any(|fault| fault.bad == Bad::Pause && fault.lasts_s >= 20)
                    && plan.triggers.iter().any(|trigger| trigger.nth >= 3)
            };
            let shrunk = shrink(&plan, fails, forever);
            assert_eq!((shrunk.plan.faults.len(), shrunk.plan.triggers.len()), (1, 1));
            assert_eq!((shrunk.plan.faults[0].lasts_s, shrunk.plan.triggers[0].nth), (20, 3));
            assert!(shrunk.runs < 150, "{} runs", shrunk.runs);
        }
    }

    #[test]
    fn a_failure_without_faults_shrinks_to_no_faults_in_one_run() {
        let shrunk = shrink(&busy_plan(1, 20), |_| true, forever);
        assert_eq!(shrunk, Shrunk { plan: FaultPlan::default(), runs: 1, exhausted: false });
    }

    #[test]
    fn a_plan_of_which_nothing_can_go_is_kept() {
        let plan = busy_plan(3, 6);
        let shrunk = shrink(&plan, |candidate| *candidate == plan, forever);
        assert_eq!(shrunk.plan, plan);
    }

    #[test]
    fn the_budget_ends_the_search_with_the_best_so_far() {
        let plan = busy_plan(5, 20);
        let kind = plan.faults[11].bad.kind();
        let has = |plan: &FaultPlan| plan.faults.iter().any(|fault| fault.bad.kind() == kind);
        let shrunk = shrink(&plan, has, |runs| runs < 5);
        assert!(shrunk.exhausted && shrunk.runs == 5 && has(&shrunk.plan), "{shrunk:?}");
        assert!(FaultKind::ALL.contains(&kind));
    }
}
