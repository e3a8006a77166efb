//! What the table must be told: which rows there are, what they promise, how to run them, and how to read what
//! happened. All of it data; the table judges.

use std::time::Duration;

use serde::Serialize;

use super::FaultClass;
use crate::{
    history::{History, RunFacts},
    scenario::Phases,
    world::{App, Lane, ReceiverSpec, application::ApplicationFactory},
};

/// Something to compute a table of.
pub trait Workload: Send + Sync {
    /// The name used in commands and reports, for example `operator`.
    fn name(&self) -> &'static str;

    /// One line for people.
    fn about(&self) -> &'static str;

    /// Names of its variants, in the order of the report, for example `naive`, `hardened`.
    fn variants(&self) -> &'static [&'static str];

    /// Whether every cell of the variant must hold. Not so for one that is there to be refuted.
    fn must_hold(&self, variant: &str) -> bool;

    /// Seeds per column and variant of the committed table: as few as cover every cell.
    fn seeds(&self) -> u64;

    /// Whether its rows rest on the SQL of the library, so that it is run on an engine with SQL unless one is chosen.
    /// The table is the same on every engine; others are quicker.
    fn wants_sql(&self) -> bool;

    /// The rows of a variant, in the order of the table. Ids are equal in all variants that have the row.
    fn rows(&self, variant: &str) -> Vec<Row>;

    /// What a row promises under a class. Every row answers for every class.
    fn promise(&self, variant: &str, row: &Row, class: FaultClass) -> Promise;

    /// The world of one run. Long worlds for rare rows may be drawn from the seed.
    fn trial(&self, cell: &Cell<'_>) -> Trial;

    /// What one run showed: for each row that had work in it, one or more readings. A row without a reading had
    /// nothing to read.
    fn read(&self, cell: &Cell<'_>, history: &History) -> Vec<Reading>;
}

/// One run of a workload: a variant under a class of faults with a seed.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    /// Which variant.
    pub variant: &'a str,
    /// What goes wrong.
    pub class: FaultClass,
    /// Decides everything else.
    pub seed: u64,
}

/// The world of one run, except for what goes wrong in it and what answers in its database.
pub struct Trial {
    /// What checkers may assume.
    pub facts: RunFacts,
    /// Outside receivers, by number.
    pub receivers: Vec<ReceiverSpec>,
    /// Tables of the workload's own, in the same database.
    pub application: Option<ApplicationFactory>,
    /// How long each phase lasts. Readings are of the whole run.
    pub phases: Phases,
    /// What carries hosts and messages.
    pub lane: Lane,
    /// What every replica runs.
    pub app: App,
    /// Ids of the rows that have work in this world; faults are aimed at them in turn. Empty: all.
    pub rows: Vec<&'static str>,
    /// How many smaller seeds have a world of this kind: the seed itself, unless kinds are drawn from it. Rows and
    /// ways to aim at them are gone through in its order.
    pub turn: u64,
}

/// A row: a loop, a job, a mode.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Short, stable, used in commands: `digest`.
    pub id: &'static str,
    /// For people: `10 digest`.
    pub name: String,
    /// How it stays right on several replicas: `claimed`, `tick lock`, `leader`, `every replica` …
    pub mode: &'static str,
    /// Why this mode, or when to pin to one replica instead; one line.
    pub why: &'static str,
    /// What the count counts, for example "effects per (recipient, period)".
    pub measure: &'static str,
    /// Jobs whose executions are this row's units of work: stages are read from the store's verbs. Empty when the
    /// workload reports [`Unit`](crate::world::Unit)s of this row's id.
    pub jobs: Vec<&'static str>,
    /// Whether a unit has an effect at an outside receiver. If not, the window between effect and mark is that in
    /// which its write is under way.
    pub has_effect: bool,
    /// Whether a unit asks the database for anything. If not, there is no reply to lose.
    pub asks: bool,
    /// How often there is a unit of work, over all replicas, about; for aiming. Rather too seldom than too often: what is
    /// aimed at a unit that never comes misses.
    pub every: Duration,
    /// How long a unit is held by a replica that does not give a sign of life: what a pause must exceed.
    pub lease: Duration,
    /// What the reference documents about this loop, if the variant is meant to reproduce it.
    pub documented: Option<Documented>,
}

/// A documented claim about a loop.
#[derive(Clone, Debug, Serialize)]
pub struct Documented {
    /// In a few words: "idempotent", "duplicates ≤ N".
    pub text: &'static str,
    /// What it amounts to.
    pub claim: Claim,
}

/// What a documented claim amounts to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// No duplicates, whatever happens: refuted by any reading above its bound.
    Safe,
    /// Duplicates, up to the bound of the readings: confirmed once a count above one was seen, refuted by a reading
    /// above its bound.
    Duplicates,
}

/// What a row promises under a class of faults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// As in the table: `1`, `≤ u + s`, `≤ N`.
    pub bound: String,
    /// One line of why.
    pub why: String,
}

impl Promise {
    /// A promise.
    pub fn new(bound: impl Into<String>, why: impl Into<String>) -> Self {
        Self { bound: bound.into(), why: why.into() }
    }
}

/// One measurement of one row in one run: the worst unit of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// Id of the row.
    pub row: &'static str,
    /// What was measured. The row's own measure is the one that the table shows; others ("lost", "illegal edges")
    /// only show when they are broken.
    pub measure: &'static str,
    /// The worst count: effects on one key, rows lost, overlaps.
    pub count: u64,
    /// The bound that applied to that very unit in that very run, for example its u + s.
    pub bound: u64,
    /// One sentence that says what happened to that unit, with instants; for whoever doubts.
    pub evidence: String,
    /// Events that show it, ascending.
    pub events: Vec<usize>,
}

impl Reading {
    /// Whether the bound was exceeded.
    pub const fn is_broken(&self) -> bool {
        self.count > self.bound
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A row that reports its units, with an effect and a lease of 20 s.
    pub(in crate::table) fn row(id: &'static str) -> Row {
        Row {
            id,
            name: id.to_owned(),
            mode: "claimed",
            why: "because",
            measure: "effects",
            jobs: Vec::new(),
            has_effect: true,
            asks: true,
            every: Duration::from_secs(30),
            lease: Duration::from_secs(20),
            documented: None,
        }
    }
}
