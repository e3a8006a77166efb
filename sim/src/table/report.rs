//! What both reports say: the words and numbers of a cell, the line that replays it, and the figures for programs.

use serde::Serialize;

use super::{CellVerdict, Example, Finding, Judged, Outcome, Reading, Row, Shows, Table};

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

/// The same as a JSON array with a line for each cell, so that a change shows as changed lines.
pub fn json_lines(table: &Table) -> String {
    let line = |cell: &JsonCell| serde_json::to_string(cell).expect("plain data");
    let lines: Vec<_> = json(table).iter().map(line).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
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

/// What became of a claim, in a few words.
pub const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Confirmed => "confirmed",
        Outcome::Exceeded => "confirmed, and more than that",
        Outcome::Refuted => "refuted",
        Outcome::NotShown => "not shown",
    }
}

/// What a finding rests on: examples in a sentence each, with the line that replays it.
pub fn stories(table: &Table, finding: &Finding) -> Vec<(String, Option<String>)> {
    let told = |example: &Example| {
        let Reading { measure, count, bound, evidence, .. } = &example.witness.reading;
        let shows = match example.shows {
            Shows::Documented => "seen",
            Shows::Counterexample => "counterexample",
            Shows::NotDocumented => "not documented",
        };
        let text = format!("{shows}, under {}: {measure}: {count}, bound {bound}: {evidence}", example.class.short());
        (text, Some(replay_line(table, &finding.variant, example.class, example.witness.seed)))
    };
    match (finding.examples.as_slice(), finding.outcome) {
        ([], Outcome::Confirmed) => vec![("nothing contradicts it in any column".to_owned(), None)],
        ([], _) => vec![("nothing contradicts it, but it is not covered in every column".to_owned(), None)],
        (examples, _) => examples.iter().map(told).collect(),
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

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::{
        super::{
            Claim, Documented, Facet, FaultClass, Promise, Reading, Seen, Window, find, judge, workload::tests::row,
        },
        *,
    };

    /// Two rows, three columns: one cell of each verdict, and a name that HTML must escape.
    pub(in crate::table) fn table() -> Table {
        let documented = Some(Documented { text: "idempotent", claim: Claim::Safe });
        let rows = vec![Row { documented, name: "a <b> & \"c\"".to_owned(), ..row("digest") }];
        let classes = vec![FaultClass::None, FaultClass::Crash, FaultClass::Hold];
        let figures = [(1, 1, 3), (2, 1, 1), (1, 1, 0)];
        let cell = |(class, (count, bound, fired)): (&FaultClass, (u64, u64, u64))| {
            let facet = class.facets(true, true)[0];
            let evidence = "slot 3 had it twice".to_owned();
            let reading = Reading { row: "digest", measure: "effects", count, bound, evidence, events: vec![4] };
            let hits = [((Window::Held, facet), fired)].into();
            let promise = Promise::new("u + s", "so it is");
            judge("naive", &rows[0], *class, promise, &[Seen { seed: 5, readings: vec![reading], hits }])
        };
        let cells: Vec<_> = classes.iter().zip(figures).map(cell).collect();
        let findings = find("naive", &rows[0], &cells.iter().collect::<Vec<_>>()).into_iter().collect();
        Table {
            workload: "operator",
            about: "fifteen loops",
            variants: vec!["naive", "hardened"],
            rows: BTreeMap::from([("naive".to_owned(), rows)]),
            classes,
            first_seed: 0,
            seeds: 1,
            cells,
            findings,
            broken: Vec::new(),
            runs: 3,
            sim_seconds: 7_200,
        }
    }

    #[test]
    fn programs_get_an_array_of_cells_with_the_promised_keys() {
        let cells = serde_json::to_value(json(&table())).unwrap();
        let cells = cells.as_array().expect("an array");
        let verdicts: Vec<_> = cells.iter().map(|cell| cell["verdict"].as_str().unwrap()).collect();
        assert_eq!(verdicts, ["held", "broken", "not_covered"]);
        let crash = &cells[1];
        assert_eq!(
            serde_json::json!({
                "variant": crash["variant"], "row": crash["row"], "fault": crash["fault"], "bound": crash["bound"],
                "worst": crash["worst"], "covered": crash["covered"], "seeds": crash["seeds"],
                "witness_seed": crash["witness_seed"],
            }),
            serde_json::json!({
                "variant": "operator/naive", "row": "digest", "fault": "crash", "bound": 1, "worst": 2,
                "covered": true, "seeds": 1, "witness_seed": 5,
            })
        );
        assert_eq!(cells[2]["covered"], false);
    }

    #[test]
    fn every_cell_says_how_to_replay_it() {
        let table = table();
        let row = &table.rows["naive"][0];
        let text = details(&table, row, &table.cells[1]);
        assert!(text.contains("`tourbillon sim replay operator/naive --fault crash --seed 5`"), "{text}");
        assert!(text.contains("Broken in 1 of 1 seeds, effects: slot 3 had it twice."), "{text}");
        assert!(details(&table, row, &table.cells[2]).contains("In the window: held 0."));
        assert_eq!(tally(table.cells.iter()), [1, 1, 1]);
        assert_eq!(Facet::Held.name(), "held");
    }
}
