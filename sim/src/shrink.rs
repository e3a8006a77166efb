//! Owns the search for the smallest case that still fails: less time, fewer faults, fewer replicas, fewer jobs. Knows
//! neither what a run is nor what failing means.

use std::time::Duration;

use crate::{
    fault::{self, FaultPlan},
    scenario::Case,
};

/// What shrinking came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShrunkCase {
    /// The smallest case found that fails; the given one when nothing smaller does.
    pub case: Case,
    /// How often `still_fails` was asked.
    pub runs: u32,
    /// The budget ended before the search did: a smaller case may exist.
    pub exhausted: bool,
}

/// Steps that beginnings of faults are moved to, coarsest first: people read minutes more easily than seconds.
const GRID_S: [u32; 4] = [60, 30, 10, 5];
/// How long they last goes to the finest.
const FINEST_S: u32 = 5;

const MINUTE: Duration = Duration::from_secs(60);

/// How small a case may become.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// What may be left out, one after the other and never all.
    pub parts: Vec<String>,
    /// When the failure was complete, in true time; no time after it matters.
    pub proved_at: Duration,
    /// The shortest chaos phase.
    pub least_chaos: Duration,
}

/// Looks for a smaller case that still fails.
///
/// `start` is taken to fail and is not run again. `still_fails` must demand the *same* property that `start` broke, or
/// the search slips to another bug. `go_on` is asked before each run, with the number of runs so far; it holds the
/// budget (runs, wall time) and ends the search by saying false.
pub fn shrink_case(
    start: &Case,
    room: &Room,
    still_fails: impl FnMut(&Case) -> bool,
    go_on: impl FnMut(u32) -> bool,
) -> ShrunkCase {
    let smallest = ShrunkCase { case: start.clone(), runs: 0, exhausted: false };
    let mut search = Search { smallest, room, still_fails, go_on };
    // Time first: every run after that is as much shorter.
    search.time();
    search.plan();
    let planned = search.smallest.case.clone();
    search.replicas();
    search.parts();
    search.shorter();
    if search.smallest.case != planned {
        search.plan();
    }
    search.grid();
    search.smallest
}

struct Search<'r, F, G> {
    smallest: ShrunkCase,
    room: &'r Room,
    still_fails: F,
    go_on: G,
}

impl<F: FnMut(&Case) -> bool, G: FnMut(u32) -> bool> Search<'_, F, G> {
    /// Runs a candidate and keeps it if it fails.
    fn attempt(&mut self, candidate: Case) -> bool {
        if candidate == self.smallest.case {
            return false;
        }
        if self.smallest.exhausted || !(self.go_on)(self.smallest.runs) {
            self.smallest.exhausted = true;
            return false;
        }
        self.smallest.runs += 1;
        let fails = (self.still_fails)(&candidate);
        if fails {
            self.smallest.case = candidate;
        }
        fails
    }

    fn time(&mut self) {
        let minutes = self.room.proved_at.as_secs().div_ceil(60);
        let chaos = Duration::from_secs(minutes * 60).max(MINUTE).max(self.room.least_chaos);
        if chaos < self.smallest.case.chaos {
            self.attempt(Case { chaos, ..self.smallest.case.clone() }.trimmed());
        }
    }

    fn plan(&mut self) {
        let Self { smallest, still_fails, go_on, .. } = self;
        let base = smallest.case.clone();
        let before = smallest.runs;
        let fails = |plan: &FaultPlan| still_fails(&Case { plan: plan.clone(), ..base.clone() });
        let shrunk = fault::shrink(&base.plan, fails, |runs| go_on(before + runs));
        smallest.runs += shrunk.runs;
        smallest.exhausted |= shrunk.exhausted;
        smallest.case.plan = shrunk.plan;
    }

    /// The fewest, from one on.
    fn replicas(&mut self) {
        for replicas in 1..self.smallest.case.replicas {
            if self.attempt(Case { replicas, ..self.smallest.case.clone() }.trimmed()) {
                return;
            }
        }
    }

    fn parts(&mut self) {
        for part in &self.room.parts {
            let mut without = self.smallest.case.without.clone();
            without.push(part.clone());
            if without.len() < self.room.parts.len() {
                self.attempt(Case { without, ..self.smallest.case.clone() });
            }
        }
    }

    /// Halves the time for as long as that fails, in whole minutes.
    fn shorter(&mut self) {
        loop {
            let minutes = self.smallest.case.chaos.as_secs() / 120;
            let chaos = Duration::from_secs(60 * minutes).max(MINUTE).max(self.room.least_chaos);
            let candidate = Case { chaos, ..self.smallest.case.clone() }.trimmed();
            // With fewer faults it is another case, and shrinking those was tried.
            if candidate.plan.len() < self.smallest.case.plan.len() || !self.attempt(candidate) {
                return;
            }
        }
    }

    /// The coarsest grid on which all times of faults can lie.
    fn grid(&mut self) {
        for step in GRID_S {
            let mut case = self.smallest.case.clone();
            for fault in &mut case.plan.faults {
                fault.at_s = fault.at_s / step * step;
                fault.lasts_s = rounded(fault.lasts_s);
            }
            for trigger in &mut case.plan.triggers {
                trigger.lasts_s = rounded(trigger.lasts_s);
            }
            if case == self.smallest.case || self.attempt(case) {
                return;
            }
        }
    }
}

/// Up, unless it is next to nothing.
fn rounded(lasts_s: u32) -> u32 {
    if lasts_s < FINEST_S { lasts_s } else { lasts_s.div_ceil(FINEST_S) * FINEST_S }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::{Bad, Fault},
        world::Lane,
    };

    fn pause(at_s: u32, lasts_s: u32, replica: u8) -> Fault {
        Fault { at_s, lasts_s, replica, bad: Bad::Pause }
    }

    fn case() -> Case {
        let faults = vec![pause(17, 43, 2), pause(251, 37, 1), pause(900, 5, 0)];
        Case {
            seed: 1,
            lane: Lane::Event,
            replicas: 5,
            chaos: 20 * MINUTE,
            without: Vec::new(),
            plan: FaultPlan { faults, triggers: Vec::new() },
        }
    }

    fn room(parts: &[String], proved_at_s: u64) -> Room {
        Room { parts: parts.to_vec(), proved_at: Duration::from_secs(proved_at_s), least_chaos: Duration::ZERO }
    }

    #[test]
    fn time_is_not_cut_below_what_the_case_needs() {
        let least = Room { least_chaos: 7 * MINUTE, ..room(&[], 60) };
        assert_eq!(shrink_case(&case(), &least, |_| true, |_| true).case.chaos, 7 * MINUTE);
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn time_faults_replicas_and_jobs_shrink_together() {
        let parts = names(&["rollup", "digest", "upkeep"]);
        let needs = |case: &Case| {
            let long = case.plan.faults.iter().any(|fault| fault.lasts_s >= 33 && fault.at_s >= 60);
            long && case.replicas >= 2 && !case.without.contains(&parts[1]) && case.chaos >= 3 * MINUTE
        };
        let shrunk = shrink_case(&case(), &room(&parts, 290), needs, |_| true);
        assert!(needs(&shrunk.case) && !shrunk.exhausted);
        assert_eq!(shrunk.case.without, names(&["rollup", "upkeep"]));
        assert_eq!((shrunk.case.replicas, shrunk.case.chaos), (2, 5 * MINUTE));
        // On the coarsest grid that still fails.
        assert_eq!(shrunk.case.plan.faults, [pause(60, 35, 0)]);
        assert!(shrunk.runs < 60, "{}", shrunk.runs);
    }

    #[test]
    fn what_never_needed_a_fault_shrinks_to_a_minute_and_one_replica() {
        let shrunk = shrink_case(&case(), &room(&[], 120), |_| true, |_| true);
        let smallest = Case { replicas: 1, chaos: MINUTE, plan: FaultPlan::default(), ..case() };
        assert_eq!(shrunk.case, smallest);
    }

    #[test]
    fn the_budget_ends_the_search_with_the_best_so_far() {
        let shrunk = shrink_case(&case(), &room(&[], 120), |case| !case.plan.is_empty(), |runs| runs < 2);
        assert!(shrunk.exhausted && shrunk.runs == 2, "{shrunk:?}");
        assert!(!shrunk.case.plan.is_empty() && shrunk.case.chaos == 2 * MINUTE);
    }

    #[test]
    fn the_last_part_stays() {
        let parts = names(&["a", "b"]);
        let shrunk = shrink_case(&case(), &room(&parts, 60), |_| true, |_| true);
        assert_eq!(shrunk.case.without, names(&["a"]));
    }
}
