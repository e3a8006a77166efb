//! Cells of the truth tables, held at a few seeds, so that they change only on purpose. The committed tables in
//! `scenarios/tables` are of more seeds; CI computes those with `sim table --check`.
//!
//! When this fails, read what changed, and why; then write it anew, and the tables with it:
//!
//! ```sh
//! INSTA_UPDATE=always cargo test -p tourbillon-tests --test truth_table
//! cargo run --release -p tourbillon-cli -- sim table --out scenarios/tables
//! ```

use std::fmt::Write as _;

use tourbillon_sim::table::{self, JsonCell, Span, Table, Workload};
use tourbillon_tests::engines::EngineKind;

/// As few as meet most cells.
fn seeds(workload: &dyn Workload) -> u64 {
    if workload.variants().len() == 1 { 2 } else { 1 }
}

fn computed(workload: &dyn Workload) -> Table {
    let engine = EngineKind::Memory.factory().expect("needs no server");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let span = Span { first_seed: 0, seeds: seeds(workload), threads };
    table::compute(workload, span, &engine, &|_| {}).unwrap_or_else(|error| panic!("{error}"))
}

/// One line per row and column: what was seen, what was allowed, what shows it.
fn digest(table: &Table) -> String {
    let mut text = String::new();
    for JsonCell { variant, row, fault, bound, worst, covered, witness_seed, .. } in table::json(table) {
        let _ = match (worst, bound, witness_seed) {
            (Some(worst), Some(bound), Some(seed)) => {
                let sign = if worst > bound { ">" } else { "≤" };
                let covered = if covered { "" } else { ", not covered" };
                writeln!(text, "{variant} {row} {fault}: {worst} {sign} {bound}{covered}, seed {seed}")
            }
            _ => writeln!(text, "{variant} {row} {fault}: nothing read"),
        };
    }
    text
}

/// Cells that must hold and do not, each with the line that replays it.
fn broken_promises(workload: &dyn Workload, table: &Table) -> Vec<String> {
    let promised = table.cells.iter().filter(|cell| workload.must_hold(&cell.variant));
    let broken = promised.filter_map(|cell| {
        let broken = cell.broken.as_ref()?;
        let line = table::replay_line(table, &cell.variant, cell.class, broken.seed);
        Some(format!("{}: {}\n  {line}", cell.row, broken.reading.evidence))
    });
    broken.collect()
}

#[test]
fn cells_of_the_truth_tables_change_only_on_purpose() {
    for workload in table::workloads() {
        let table = computed(workload.as_ref());
        let broken = broken_promises(workload.as_ref(), &table);
        assert!(broken.is_empty(), "what is promised does not hold:\n{}", broken.join("\n"));
        assert!(table.broken.is_empty(), "guarantees broke in the runs of {}: {:?}", table.workload, table.broken);
        insta::assert_snapshot!(format!("truth_table_{}", table.workload), digest(&table));
    }
}
