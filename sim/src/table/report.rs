//! What both reports say: the words and numbers of a cell, the line that replays it, and the figures for programs.

use serde::Serialize;

use super::{CellVerdict, Finding, Judged, Outcome, Row, Table};

/// One cell for programs, as `sim table --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct JsonCell {
    /// `<workload>/<variant>`, or the workload's name when it has one variant only.
    pub variant: String,
    /// Id of the row.
    pub row: &'static str,
    /// Name of the class of faults.
    pub fault: &'static str,
    /// The bound that applied to the worst; null when nothing was read.
    pub bound: Option<u64>,
    /// The worst count of the row's measure.
    pub worst: Option<u64>,
    /// Whether the fault fired inside the window that matters.
    pub covered: bool,
    /// Runs in which the row had something to read.
    pub seeds: u64,
    /// The seed that shows the worst.
    pub witness_seed: Option<u64>,
    /// `held`, `broken` or `not_covered`.
    pub verdict: CellVerdict,
    /// The promise in words.
    pub promise: String,
    /// How often the class fired inside the window, all that it consists of together.
    pub hits: u64,
}

/// All cells of a table, by variant, row, column.
pub fn json(table: &Table) -> Vec<JsonCell> {
    let cell = |judged: &Judged| {
        let shown = judged.broken.as_ref().or(judged.worst.as_ref());
        JsonCell {
            variant: variant_of(table, &judged.variant),
            row: judged.row,
            fault: judged.class.name(),
            bound: shown.map(|witness| witness.reading.bound),
            worst: shown.map(|witness| witness.reading.count),
            covered: judged.is_covered(),
            seeds: judged.seeds,
            witness_seed: shown.map(|witness| witness.seed),
            verdict: judged.verdict,
            promise: judged.promise.bound.clone(),
            hits: judged.hits.values().sum(),
        }
    };
    table.cells.iter().map(cell).collect()
}

/// How a variant is called in commands and reports.
pub(super) fn variant_of(table: &Table, variant: &str) -> String {
    if table.variants.len() == 1 { table.workload.to_owned() } else { format!("{}/{variant}", table.workload) }
}

/// The line that replays a run of a cell.
pub fn replay_line(table: &Table, variant: &str, class: super::FaultClass, seed: u64) -> String {
    let name = variant_of(table, variant);
    format!("tourbillon sim replay {name} --fault {class} --seed {seed}")
}

/// What stands in a cell.
pub(super) fn figure(cell: &Judged) -> String {
    match (cell.verdict, &cell.worst, &cell.broken) {
        (CellVerdict::Broken, _, Some(broken)) => {
            format!("{} > {}", broken.reading.count, broken.reading.bound)
        }
        (_, Some(worst), _) => format!("{} ≤ {}", worst.reading.count, worst.reading.bound),
        (_, None, _) => "–".to_owned(),
    }
}

/// Everything that is known of a cell, in one line.
pub(super) fn details(table: &Table, row: &Row, cell: &Judged) -> String {
    let mut text = format!("promised: {} ({}). ", cell.promise.bound, cell.promise.why);
    if let Some(worst) = &cell.worst {
        let (count, bound) = (worst.reading.count, worst.reading.bound);
        text += &format!("Worst {}: {count}, bound {bound}: {}. ", row.measure, worst.reading.evidence);
    }
    for (measure, worst) in &cell.others {
        text += &format!("Worst {measure}: {}, bound {}. ", worst.reading.count, worst.reading.bound);
    }
    if let Some(broken) = &cell.broken {
        let reading = &broken.reading;
        text += &format!(
            "Broken in {} of {} seeds, {}: {}. ",
            cell.broken_seeds, cell.seeds, reading.measure, reading.evidence
        );
    }
    let hits = cell.hits.iter().map(|(facet, hits)| format!("{} {hits}", facet.name()));
    text += &format!("Seeds: {}. In the window: {}. ", cell.seeds, hits.collect::<Vec<_>>().join(", "));
    match cell.broken.as_ref().or(cell.worst.as_ref()) {
        Some(witness) => text += &format!("`{}`", replay_line(table, &cell.variant, cell.class, witness.seed)),
        None => text += "Nothing was read.",
    }
    text
}

/// A verdict in one word.
pub(super) const fn word(verdict: CellVerdict) -> &'static str {
    match verdict {
        CellVerdict::Held => "held",
        CellVerdict::Broken => "broken",
        CellVerdict::NotCovered => "not covered",
    }
}

pub(super) const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Confirmed => "confirmed",
        Outcome::Refuted => "refuted",
        Outcome::NotShown => "not shown",
    }
}

/// What a finding rests on: the example in a sentence, and the line that replays it.
pub(super) fn story(table: &Table, finding: &Finding) -> (String, Option<String>) {
    match (&finding.example, finding.class) {
        (Some(example), Some(class)) => {
            let reading = &example.reading;
            let (measure, count, bound) = (reading.measure, reading.count, reading.bound);
            let text =
                format!("under {}: {measure} {count}, documented {bound}: {}", class.short(), reading.evidence);
            (text, Some(replay_line(table, &finding.variant, class, example.seed)))
        }
        _ if finding.outcome == Outcome::Confirmed => ("nothing contradicts it in any column".to_owned(), None),
        _ => ("nothing contradicts it, but it is not covered in every column".to_owned(), None),
    }
}

/// How many cells have each verdict: held, broken, not covered.
pub fn tally<'t>(cells: impl Iterator<Item = &'t Judged>) -> [u64; 3] {
    let mut tally = [0; 3];
    for cell in cells {
        tally[match cell.verdict {
            CellVerdict::Held => 0,
            CellVerdict::Broken => 1,
            CellVerdict::NotCovered => 2,
        }] += 1;
    }
    tally
}
