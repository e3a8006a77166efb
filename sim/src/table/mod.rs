//! The HA truth table, computed: rows are loops or jobs, columns are classes of faults, a cell is the bound that is
//! promised, the worst that was seen over seeds, and the seed that shows it.
//!
//! A *workload* says what runs and what its rows promise, and reads what happened from the history. The table aims
//! faults at each row, runs the workload, counts how often a fault really fired inside the window that matters, and
//! judges. It knows no row by name, and a workload judges nothing.

mod aim;
mod class;
mod compute;
mod cover;
mod html;
mod judge;
mod markdown;
mod modes;
mod report;
mod workload;

pub use aim::plan;
pub use class::{Facet, FaultClass, Window};
pub use compute::{Broken, CellRun, Span, Table, compute, run_cell, runs_of};
pub use cover::{Hits, hits};
pub use html::html;
pub use judge::{CellVerdict, Example, Finding, Judged, Outcome, Seen, Shows, Witness, find, judge};
pub use markdown::markdown;
pub use modes::Modes;
pub use report::{JsonCell, json, json_lines, outcome, replay_line, stories, tally};
pub use workload::{Cell, Claim, Documented, Promise, Reading, Row, Trial, Workload};

use crate::operator::OperatorWorkload;

/// All workloads that a table is computed of, in the order of the report.
pub fn workloads() -> Vec<Box<dyn Workload>> {
    vec![Box::new(Modes), Box::new(OperatorWorkload)]
}

/// A workload and its variant by the name that reports print: `modes`, or `operator/naive`.
pub fn by_name(name: &str) -> Option<(Box<dyn Workload>, &'static str)> {
    let (workload, variant) = name.split_once('/').map_or((name, None), |(name, variant)| (name, Some(variant)));
    let workload = workloads().into_iter().find(|known| known.name() == workload)?;
    let variants = workload.variants();
    let variant = match variant {
        Some(wanted) => variants.iter().find(|known| **known == wanted),
        None if variants.len() == 1 => variants.first(),
        None => None,
    };
    variant.copied().map(|variant| (workload, variant))
}
