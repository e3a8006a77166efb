//! How a cell is judged, and what becomes of a documented claim. Pure: readings and hits come in, verdicts go out.
//!
//! A cell is broken when any reading exceeds the bound that applied to it. It holds only when, besides, everything
//! that its class consists of really fired inside the window that matters. In between it is *not covered*: an
//! untested cell never looks like a passed one.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Claim, Documented, Facet, FaultClass, Hits, Promise, Reading, Row};

/// What one run showed of one row.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The seed of the run.
    pub seed: u64,
    /// Its readings of this row; none when the row had no work in it.
    pub readings: Vec<Reading>,
    /// How often faults hit the row.
    pub hits: Hits,
}

/// What a cell is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CellVerdict {
    /// Every reading was within its bound, and the fault fired where it matters. Green.
    Held,
    /// A reading exceeded its bound. Red.
    Broken,
    /// The fault did not fire where it matters, or nothing was read. Amber.
    NotCovered,
}

/// A reading and the seed of its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// The seed.
    pub seed: u64,
    /// What was read.
    pub reading: Reading,
}

/// A cell of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// Variant of the workload.
    pub variant: String,
    /// Id of the row.
    pub row: &'static str,
    /// The column.
    pub class: FaultClass,
    /// What is promised.
    pub promise: Promise,
    /// Runs in which the row had something to read.
    pub seeds: u64,
    /// How often each thing that the class consists of fired in the window; zeros included.
    pub hits: BTreeMap<Facet, u64>,
    /// The worst reading of the row's own measure: furthest above its bound, else the highest.
    pub worst: Option<Witness>,
    /// The worst reading of each of its other measures.
    pub others: BTreeMap<&'static str, Witness>,
    /// The worst reading that exceeded its bound, of the row's own measure if there is one.
    pub broken: Option<Witness>,
    /// Runs with a reading above its bound.
    pub broken_seeds: u64,
    /// The verdict.
    pub verdict: CellVerdict,
}

impl Judged {
    /// Whether everything that the class consists of fired in the window, and the row's own measure was read.
    pub fn is_covered(&self) -> bool {
        self.worst.is_some() && self.hits.values().all(|hits| *hits > 0)
    }
}

/// Judges one cell by all its runs, in the order of their seeds.
pub fn judge(variant: &str, row: &Row, class: FaultClass, promise: Promise, seen: &[Seen]) -> Judged {
    let facets = class.facets(row.has_effect, row.asks);
    let total = |facet: Facet| seen.iter().map(|run| fired(&run.hits, class, facet)).sum();
    let hits: BTreeMap<_, u64> = facets.iter().map(|facet| (*facet, total(*facet))).collect();
    let mut judged = Judged {
        variant: variant.to_owned(),
        row: row.id,
        class,
        promise,
        seeds: seen.iter().filter(|run| !run.readings.is_empty()).count() as u64,
        hits,
        worst: None,
        others: BTreeMap::new(),
        broken: None,
        broken_seeds: 0,
        verdict: CellVerdict::NotCovered,
    };
    for run in seen {
        for reading in &run.readings {
            let is_own = reading.measure == row.measure;
            if is_own {
                keep_worst(&mut judged.worst, run.seed, reading);
            } else {
                let mut kept = judged.others.remove(reading.measure);
                keep_worst(&mut kept, run.seed, reading);
                judged.others.extend(kept.map(|kept| (reading.measure, kept)));
            }
            if reading.is_broken() {
                let has_own = judged.broken.as_ref().is_some_and(|kept| kept.reading.measure == row.measure);
                match (is_own, has_own) {
                    (true, false) => {
                        judged.broken = Some(Witness { seed: run.seed, reading: reading.clone() });
                    }
                    (false, true) => {}
                    _ => keep_worst(&mut judged.broken, run.seed, reading),
                }
            }
        }
        judged.broken_seeds += u64::from(run.readings.iter().any(Reading::is_broken));
    }
    judged.verdict = match (&judged.broken, judged.is_covered()) {
        (Some(_), _) => CellVerdict::Broken,
        (None, true) => CellVerdict::Held,
        (None, false) => CellVerdict::NotCovered,
    };
    judged
}

fn fired(hits: &Hits, class: FaultClass, facet: Facet) -> u64 {
    match facet {
        // Anything but having been carried out.
        Facet::Any => hits.iter().filter(|((_, facet), _)| *facet != Facet::Done).map(|(_, count)| count).sum(),
        _ => hits.get(&(class.window(), facet)).copied().unwrap_or(0),
    }
}

/// The first of the worst stays, so that the smallest seed is the witness.
fn keep_worst(kept: &mut Option<Witness>, seed: u64, reading: &Reading) {
    let weight = |reading: &Reading| (reading.count.saturating_sub(reading.bound), reading.count);
    if kept.as_ref().is_none_or(|kept| weight(reading) > weight(&kept.reading)) {
        *kept = Some(Witness { seed, reading: reading.clone() });
    }
}

/// What became of a documented claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What is documented was seen, and nothing that contradicts it.
    Confirmed,
    /// The documented duplicates were seen, and more of them than their bound allows.
    Exceeded,
    /// A counterexample was found.
    Refuted,
    /// Nothing contradicts it, but too little was covered, or the documented duplicates never showed.
    NotShown,
}

/// A documented claim, held against all cells of its row.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Variant of the workload.
    pub variant: String,
    /// Id of the row.
    pub row: &'static str,
    /// Name of the row.
    pub name: String,
    /// The claim.
    pub documented: Documented,
    /// What became of it.
    pub outcome: Outcome,
    /// What shows it, each with the smallest fault: columns are tried in order.
    pub examples: Vec<Example>,
}

/// One run that shows something about a documented claim.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// What it shows.
    pub shows: Shows,
    /// The column.
    pub class: FaultClass,
    /// What was read.
    pub witness: Witness,
}

/// What an example shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// The duplicates that are documented.
    Documented,
    /// That the claim does not hold.
    Counterexample,
    /// Harm of another sort, which the documents do not mention.
    NotDocumented,
}

/// Holds a documented claim against the cells of its row, which are in the order of the columns. `None` for a row
/// without one.
pub fn find(variant: &str, row: &Row, cells: &[&Judged]) -> Option<Finding> {
    let documented = row.documented.clone()?;
    let first = |pick: &dyn Fn(&Judged) -> Option<Witness>, shows: Shows| {
        cells.iter().find_map(|cell| Some(Example { shows, class: cell.class, witness: pick(cell)? }))
    };
    let is_own = |witness: &Witness| witness.reading.measure == row.measure;
    let any = first(&|cell| cell.broken.clone(), Shows::Counterexample);
    let (outcome, examples) = match documented.claim {
        Claim::Safe if any.is_some() => (Outcome::Refuted, vec![any]),
        Claim::Safe => {
            let all_covered = cells.iter().all(|cell| cell.verdict != CellVerdict::NotCovered);
            (if all_covered { Outcome::Confirmed } else { Outcome::NotShown }, Vec::new())
        }
        Claim::Duplicates => {
            let repeated = |cell: &Judged| {
                cell.worst.clone().filter(|worst| worst.reading.count > 1 && !worst.reading.is_broken())
            };
            let shown = first(&repeated, Shows::Documented);
            let above = first(&|cell| cell.broken.clone().filter(&is_own), Shows::Counterexample);
            let other = |cell: &Judged| cell.others.values().find(|worst| worst.reading.is_broken()).cloned();
            let beyond = first(&other, Shows::NotDocumented);
            let outcome = match (&shown, &above) {
                (_, Some(_)) => Outcome::Exceeded,
                (Some(_), None) => Outcome::Confirmed,
                (None, None) => Outcome::NotShown,
            };
            (outcome, vec![shown, above, beyond])
        }
    };
    let examples = examples.into_iter().flatten().collect();
    Some(Finding { variant: variant.to_owned(), row: row.id, name: row.name.clone(), documented, outcome, examples })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Window, workload::tests::row},
        *,
    };

    const CLASS: FaultClass = FaultClass::Crash;

    fn reading(measure: &'static str, count: u64, bound: u64) -> Reading {
        Reading { row: "digest", measure, count, bound, evidence: format!("{count} of {measure}"), events: vec![1] }
    }

    fn seen(seed: u64, readings: Vec<Reading>, died: u64) -> Seen {
        Seen { seed, readings, hits: Hits::from([((Window::Held, Facet::Died), died)]) }
    }

    fn judged(row: &Row, runs: &[Seen]) -> Judged {
        judge("naive", row, CLASS, Promise::new("u + s", "so it is"), runs)
    }

    #[test]
    fn a_cell_holds_when_its_fault_fired_in_the_window_and_nothing_exceeded_its_bound() {
        let row = row("digest");
        let cell =
            judged(&row, &[seen(0, vec![reading("effects", 1, 1)], 0), seen(1, vec![reading("effects", 2, 2)], 3)]);
        assert_eq!((cell.verdict, cell.seeds, cell.hits[&Facet::Died]), (CellVerdict::Held, 2, 3));
        assert_eq!(cell.worst.map(|worst| (worst.seed, worst.reading.count)), Some((1, 2)));
    }

    #[test]
    fn a_cell_whose_fault_never_fired_in_its_window_is_not_covered() {
        let row = row("digest");
        assert_eq!(judged(&row, &[seen(0, vec![reading("effects", 1, 1)], 0)]).verdict, CellVerdict::NotCovered);
        // It fired, but outside the window that this class is about.
        let class = FaultClass::CrashEffectMark;
        let promise = Promise::new("u + s", "so it is");
        let run = seen(0, vec![reading("effects", 1, 1)], 7);
        assert_eq!(judge("naive", &row, class, promise, &[run]).verdict, CellVerdict::NotCovered);
    }

    #[test]
    fn a_cell_of_which_only_a_part_fired_is_not_covered() {
        let hits = Hits::from([((Window::Held, Facet::BothWays), 9), ((Window::Held, Facet::ToDatabase), 9)]);
        let run = Seen { seed: 0, readings: vec![reading("effects", 1, 1)], hits };
        let cell = judge("naive", &row("digest"), FaultClass::Partition, Promise::new("1", "so it is"), &[run]);
        assert_eq!((cell.verdict, cell.hits[&Facet::FromDatabase]), (CellVerdict::NotCovered, 0));
    }

    #[test]
    fn a_cell_whose_own_measure_was_not_read_is_not_covered() {
        assert_eq!(
            judged(&row("digest"), &[seen(0, vec![reading("lost", 0, 0)], 5)]).verdict,
            CellVerdict::NotCovered
        );
        let cell = judged(&row("digest"), &[seen(0, Vec::new(), 5)]);
        assert_eq!((cell.verdict, cell.seeds), (CellVerdict::NotCovered, 0));
        assert_eq!(judged(&row("digest"), &[]).verdict, CellVerdict::NotCovered);
    }

    #[test]
    fn a_reading_above_its_bound_breaks_the_cell_covered_or_not() {
        let runs = [seen(4, vec![reading("effects", 5, 5)], 0), seen(5, vec![reading("effects", 3, 2)], 0)];
        let cell = judged(&row("digest"), &runs);
        assert_eq!((cell.verdict, cell.broken_seeds), (CellVerdict::Broken, 1));
        // Further above its bound beats higher, and is the witness.
        assert_eq!(cell.worst.map(|worst| worst.seed), Some(5));
    }

    #[test]
    fn another_measure_breaks_a_cell_too_and_the_row_s_own_is_shown_first() {
        let runs = [seen(0, vec![reading("effects", 1, 1), reading("lost", 1, 0)], 1)];
        let cell = judged(&row("digest"), &runs);
        assert_eq!((cell.verdict, cell.broken.unwrap().reading.measure), (CellVerdict::Broken, "lost"));
        let runs = [seen(0, vec![reading("lost", 9, 0)], 1), seen(1, vec![reading("effects", 2, 1)], 1)];
        let cell = judged(&row("digest"), &runs);
        assert_eq!(cell.broken.map(|broken| (broken.seed, broken.reading.measure)), Some((1, "effects")));
        assert_eq!(cell.others["lost"].reading.count, 9);
    }

    #[test]
    fn the_smallest_seed_of_equals_is_the_witness() {
        let runs = [seen(3, vec![reading("effects", 2, 2)], 1), seen(8, vec![reading("effects", 2, 2)], 1)];
        assert_eq!(judged(&row("digest"), &runs).worst.map(|worst| worst.seed), Some(3));
    }

    fn documented(claim: Claim) -> Row {
        Row { documented: Some(Documented { text: "so they say", claim }), ..row("digest") }
    }

    fn outcome(row: &Row, runs: &[Seen]) -> (Outcome, Option<u64>) {
        let cell = judged(row, runs);
        let finding = find("naive", row, &[&cell]).expect("it is documented");
        (finding.outcome, finding.examples.last().map(|example| example.witness.seed))
    }

    #[test]
    fn a_claim_of_safety_is_refuted_by_one_example_and_confirmed_only_when_all_is_covered() {
        let row = documented(Claim::Safe);
        assert_eq!(outcome(&row, &[seen(0, vec![reading("effects", 1, 1)], 1)]), (Outcome::Confirmed, None));
        assert_eq!(outcome(&row, &[seen(0, vec![reading("effects", 1, 1)], 0)]), (Outcome::NotShown, None));
        assert_eq!(outcome(&row, &[seen(2, vec![reading("effects", 2, 1)], 1)]), (Outcome::Refuted, Some(2)));
    }

    #[test]
    fn a_claim_of_duplicates_is_confirmed_by_one_and_exceeded_by_too_many() {
        let row = documented(Claim::Duplicates);
        assert_eq!(outcome(&row, &[seen(0, vec![reading("effects", 1, 3)], 1)]), (Outcome::NotShown, None));
        assert_eq!(outcome(&row, &[seen(1, vec![reading("effects", 3, 3)], 1)]), (Outcome::Confirmed, Some(1)));
        let runs = [seen(1, vec![reading("effects", 3, 3)], 1), seen(2, vec![reading("effects", 4, 3)], 1)];
        assert_eq!(outcome(&row, &runs), (Outcome::Exceeded, Some(2)));
        // What another measure shows is not what is documented, and does not refute it.
        let runs = [seen(1, vec![reading("effects", 3, 3)], 1), seen(2, vec![reading("lost", 1, 0)], 1)];
        assert_eq!(outcome(&row, &runs), (Outcome::Confirmed, Some(2)));
        assert!(find("naive", &super::super::workload::tests::row("digest"), &[]).is_none());
    }
}
