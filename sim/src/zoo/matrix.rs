//! Owns the matrix: what became of each bug, its targets, and how it is written. Runs nothing.

use std::fmt::Write as _;

use serde::Serialize;
use tourbillon::mutant::Mutant;

use super::hunt::{Hunt, Limits};

/// Seeds to catch, the middle one of all starts, at most.
const MEDIAN_SEEDS: u64 = 20;
/// Faults that a shrunk plan should have left, at most.
const FEW_FAULTS: usize = 3;

/// One bug.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its id.
    pub mutant: &'static str,
    /// What it does wrong.
    pub about: &'static str,
    /// The property that must catch it; none when it is not hunted.
    pub property: Option<&'static str>,
    /// The scenario, below `scenarios/`; the test that holds it instead; or why it is impossible.
    pub place: String,
    /// In any seed.
    pub reached: bool,
    /// From every start, within the limit of seeds.
    pub caught: bool,
    /// Seeds to catch: the middle start.
    pub seeds_median: Option<u64>,
    /// Seeds to catch: the longest start.
    pub seeds_worst: Option<u64>,
    /// Faults and triggers of the shrunk plan, the middle one of those that were shrunk.
    pub faults_shrunk: Option<usize>,
    /// Other properties that it broke.
    pub others: Vec<String>,
    /// Starts whose catching seed broke nothing but the property.
    pub alone: u64,
    /// Starts that caught it, and starts.
    pub starts: (u64, u64),
    /// Real time.
    pub seconds: f64,
    /// The harness broke with this.
    pub broken: Option<String>,
}

impl Line {
    fn unhunted(mutant: Mutant, place: String) -> Self {
        Self {
            mutant: mutant.id(),
            about: mutant.about(),
            property: None,
            place,
            reached: false,
            caught: false,
            seeds_median: None,
            seeds_worst: None,
            faults_shrunk: None,
            others: Vec::new(),
            alone: 0,
            starts: (0, 0),
            seconds: 0.0,
            broken: None,
        }
    }

    pub(super) fn outside(mutant: Mutant, test: &str, why: &str) -> Self {
        Self::unhunted(mutant, format!("outside the simulation: `{test}` ({why})"))
    }

    pub(super) fn impossible(mutant: Mutant, why: &str) -> Self {
        Self::unhunted(mutant, format!("impossible here: {why}"))
    }

    pub(super) fn hunted(mutant: Mutant, by: &'static str, scenario: &str, hunt: &Hunt, limits: Limits) -> Self {
        let starts = &hunt.starts;
        let caught = starts.iter().filter(|start| start.caught.is_some()).count() as u64;
        let mut seeds: Vec<_> = starts.iter().map(|start| start.seeds).collect();
        seeds.sort_unstable();
        let mut faults: Vec<_> = starts.iter().filter_map(|start| start.shrunk).collect();
        faults.sort_unstable();
        let mut others: Vec<_> = starts.iter().flat_map(|start| start.others.iter().cloned()).collect();
        others.sort();
        others.dedup();
        Self {
            property: Some(by),
            reached: starts.iter().any(|start| start.reached > 0),
            caught: caught == limits.starts,
            seeds_median: seeds.get(seeds.len() / 2).copied(),
            seeds_worst: seeds.last().copied(),
            faults_shrunk: faults.get(faults.len() / 2).copied(),
            others,
            alone: starts.iter().filter(|start| start.is_alone).count() as u64,
            starts: (caught, limits.starts),
            seconds: (hunt.wall.as_secs_f64() * 10.0).round() / 10.0,
            broken: starts.iter().find_map(|start| start.broken.clone()),
            ..Self::unhunted(mutant, scenario.to_owned())
        }
    }

    /// Whether it was hunted and met its targets.
    pub fn is_held(&self) -> bool {
        self.property.is_none() || (self.caught && self.seeds_median.is_some_and(|seeds| seeds <= MEDIAN_SEEDS))
    }

    fn cells(&self) -> [String; 8] {
        let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        let reached = if self.reached { "yes" } else { "no" };
        let (caught, starts) = self.starts;
        let caught = if self.caught { "yes".to_owned() } else { format!("{caught} of {starts}") };
        let hunted = |cell: String| if self.property.is_some() { cell } else { String::new() };
        [
            self.property.unwrap_or("–").to_owned(),
            hunted(reached.to_owned()),
            hunted(caught),
            number(self.seeds_median),
            number(self.seeds_worst),
            self.faults_shrunk.map_or_else(String::new, |faults| faults.to_string()),
            hunted(format!("{:.1}", self.seconds)),
            self.others.join(" "),
        ]
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// One per bug, in the order of their ids.
    pub lines: Vec<Line>,
    /// Seeds that were run again without any bug.
    pub clean_seeds: usize,
    /// Those of them that broke something all the same.
    pub unmutated: Vec<String>,
    /// How it was hunted.
    pub limits: Limits,
}

impl Matrix {
    /// Whether every bug met its targets, and nothing else was broken.
    pub fn is_held(&self) -> bool {
        self.unmutated.is_empty() && self.lines.iter().all(Line::is_held)
    }

    /// What was missed, in words.
    pub fn summary(&self) -> String {
        let hunted: Vec<_> = self.lines.iter().filter(|line| line.property.is_some()).collect();
        let caught = hunted.iter().filter(|line| line.caught).count();
        let shrunk: Vec<_> = hunted.iter().filter_map(|line| line.faults_shrunk).collect();
        let few = shrunk.iter().filter(|faults| **faults <= FEW_FAULTS).count();
        let worst = hunted.iter().filter_map(|line| line.seeds_worst).max().unwrap_or(0);
        let mut text = format!(
            "{caught} of {} hunted bugs are caught by the right property from each of {} starts; the longest took {worst} \
             seeds. {few} of {} plans shrink to {FEW_FAULTS} faults or fewer. {} of {} seeds without a bug are clean.\n",
            hunted.len(),
            self.limits.starts,
            shrunk.len(),
            self.clean_seeds - self.unmutated.len(),
            self.clean_seeds,
        );
        for line in hunted.iter().filter(|line| !line.is_held()) {
            let (id, (caught, starts)) = (line.mutant, line.starts);
            let reached = if line.reached { "reached" } else { "never reached" };
            let _ = writeln!(text, "- {id}: {reached}, caught from {caught} of {starts} starts: {}", line.about);
        }
        for broken in &self.unmutated {
            let _ = writeln!(text, "- without a bug: {broken}");
        }
        text
    }

    /// Properties with the bugs that nothing else caught in some seed.
    fn alone(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut properties: Vec<_> = self.lines.iter().filter_map(|line| line.property).collect();
        properties.sort_by_key(|property| (property.len(), *property));
        properties.dedup();
        let of = |property| {
            let lines = self.lines.iter().filter(move |line| line.property == Some(property) && line.alone > 0);
            lines.map(|line| line.mutant).collect()
        };
        properties.into_iter().map(|property| (property, of(property))).collect()
    }
}

/// The page.
pub fn markdown(matrix: &Matrix) -> String {
    let mut text = String::from(
        "# The zoo\n\nWritten by `tourbillon sim zoo`; how to read it: [docs/ZOO.md](../../docs/ZOO.md).\n\n",
    );
    text += &matrix.summary();
    text += "\n| id | what it does wrong | property | reached | caught | seeds, median | worst | faults left | s | also broke |\n";
    text += "| --- | --- | --- | --- | --- | --: | --: | --: | --: | --- |\n";
    for line in matrix.lines.iter().filter(|line| line.property.is_some()) {
        let _ = writeln!(text, "| {} | {} | {} |", line.mutant, line.about, line.cells().join(" | "));
    }
    text += "\n## Not hunted\n\n| id | what would be wrong | what holds it |\n| --- | --- | --- |\n";
    for line in matrix.lines.iter().filter(|line| line.property.is_none()) {
        let _ = writeln!(text, "| {} | {} | {} |", line.mutant, line.about, line.place);
    }
    text += "\n## What each property alone catches\n\n| property | bugs that broke nothing else in a seed that caught them |\n| --- | --- |\n";
    for (property, bugs) in matrix.alone() {
        let bugs = if bugs.is_empty() { "none".to_owned() } else { bugs.join(", ") };
        let _ = writeln!(text, "| {property} | {bugs} |");
    }
    text
}
