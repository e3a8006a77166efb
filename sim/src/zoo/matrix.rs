//! Owns the matrix: what became of each bug, its targets, and how it is written and added to. Runs nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::{Deserialize, Serialize};
use tourbillon::mutant::Mutant;

use super::hunt::{Hunt, Limits, STRIDE};

/// Seeds to catch, the middle one of all starts, at most.
const MEDIAN_SEEDS: u64 = 20;
/// Seeds to catch, the longest start, at most.
const WORST_SEEDS: u64 = 500;
/// Faults that a shrunk plan should have left, at most.
const FEW_FAULTS: usize = 3;

/// One bug.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its id.
    pub mutant: String,
    /// What it does wrong.
    pub about: String,
    /// The property that must catch it; none when it is not hunted.
    pub property: Option<String>,
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
    /// Starts that the turmoil lane caught too, and starts that were hunted there.
    pub turmoil: (u64, u64),
    /// Other properties that it broke.
    pub others: Vec<String>,
    /// Starts whose catching seed broke nothing but the property.
    pub alone: u64,
    /// Starts that caught it, and starts.
    pub starts: (u64, u64),
    /// Seeds run from each start, the n-th beginning with seed n · [`STRIDE`]; empty when it is not hunted.
    pub runs: Vec<u64>,
    /// Seeds of one start at most.
    pub limit: u64,
    /// What the same seeds broke without the bug: nothing, or it is no proof.
    pub unmutated: Vec<String>,
    /// Real time of the hunt.
    pub seconds: f64,
    /// The harness broke with this.
    pub broken: Option<String>,
}

impl Line {
    fn unhunted(mutant: Mutant, place: String) -> Self {
        Self {
            mutant: mutant.id().to_owned(),
            about: mutant.about().to_owned(),
            property: None,
            place,
            reached: false,
            caught: false,
            seeds_median: None,
            seeds_worst: None,
            faults_shrunk: None,
            turmoil: (0, 0),
            others: Vec::new(),
            alone: 0,
            starts: (0, 0),
            runs: Vec::new(),
            limit: 0,
            unmutated: Vec::new(),
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

    pub(super) fn hunted(
        mutant: Mutant,
        by: &str,
        scenario: &str,
        hunt: &Hunt,
        limits: Limits,
        unmutated: Vec<String>,
    ) -> Self {
        let starts = &hunt.starts;
        let caught = starts.iter().filter(|start| start.caught.is_some()).count() as u64;
        let mut seeds: Vec<_> = starts.iter().map(|start| start.seeds).collect();
        seeds.sort_unstable();
        let mut faults: Vec<_> = starts.iter().filter_map(|start| start.shrunk).collect();
        faults.sort_unstable();
        let turmoil: Vec<_> = starts.iter().filter_map(|start| start.turmoil).collect();
        let others: BTreeSet<_> = starts.iter().flat_map(|start| start.others.iter().cloned()).collect();
        Self {
            property: Some(by.to_owned()),
            reached: starts.iter().any(|start| start.reached > 0),
            caught: caught == limits.starts,
            seeds_median: seeds.get(seeds.len() / 2).copied(),
            seeds_worst: seeds.last().copied(),
            faults_shrunk: faults.get(faults.len() / 2).copied(),
            turmoil: (turmoil.iter().filter(|is_caught| **is_caught).count() as u64, turmoil.len() as u64),
            others: others.into_iter().collect(),
            alone: starts.iter().filter(|start| start.is_alone).count() as u64,
            starts: (caught, limits.starts),
            runs: starts.iter().map(|start| start.seeds).collect(),
            limit: limits.seeds,
            unmutated,
            seconds: (hunt.wall.as_secs_f64() * 10.0).round() / 10.0,
            broken: starts.iter().find_map(|start| start.broken.clone()),
            ..Self::unhunted(mutant, scenario.to_owned())
        }
    }

    /// Whether it met its targets, if it is hunted, and the same seeds without it broke nothing.
    pub fn is_held(&self) -> bool {
        let is_soon = self.seeds_median.is_some_and(|seeds| seeds <= MEDIAN_SEEDS)
            && self.seeds_worst.is_some_and(|seeds| seeds <= WORST_SEEDS);
        self.property.is_none() || (self.caught && is_soon && self.unmutated.is_empty() && self.broken.is_none())
    }

    fn cells(&self) -> [String; 10] {
        let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        let ratio = |(some, all): (u64, u64)| if some == all { "yes".to_owned() } else { format!("{some} of {all}") };
        [
            self.property.clone().unwrap_or_default(),
            format!("`{}`", self.place),
            if self.reached { "yes" } else { "no" }.to_owned(),
            ratio(self.starts),
            number(self.seeds_median),
            number(self.seeds_worst),
            self.faults_shrunk.map_or_else(String::new, |faults| faults.to_string()),
            if self.turmoil.1 == 0 { String::new() } else { ratio(self.turmoil) },
            format!("{:.0}", self.seconds.ceil()),
            self.others.join(" "),
        ]
    }
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    /// At most one per bug, in the order of their ids.
    lines: Vec<Line>,
}

impl Matrix {
    /// One with these lines; those of bugs that are known no more are left out.
    pub fn of(lines: Vec<Line>) -> Self {
        let mut matrix = Self::default();
        lines.into_iter().for_each(|line| matrix.put(line));
        matrix
    }

    /// Adds a line, instead of the one of the same bug if there is one.
    pub fn put(&mut self, line: Line) {
        let place = |line: &Line| Mutant::ALL.iter().position(|mutant| mutant.id() == line.mutant);
        self.lines.retain(|other| other.mutant != line.mutant);
        self.lines.push(line);
        self.lines.retain(|line| place(line).is_some());
        self.lines.sort_by_key(place);
    }

    /// What became of each bug, in the order of their ids.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Whether every bug met its targets, and the seeds without bugs broke nothing.
    pub fn is_held(&self) -> bool {
        self.lines.iter().all(Line::is_held)
    }

    fn hunted(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.property.is_some())
    }

    /// What was missed, in words.
    pub fn summary(&self) -> String {
        let hunted = self.hunted().count();
        let caught = self.hunted().filter(|line| line.caught).count();
        let median = self.hunted().filter_map(|line| line.seeds_median).max().unwrap_or(0);
        let worst = self.hunted().filter_map(|line| line.seeds_worst).max().unwrap_or(0);
        let starts = self.hunted().map(|line| line.starts.1).min().unwrap_or(0);
        let mut text = format!(
            "{caught} of {hunted} hunted bugs are caught by the right property from each of {starts} starts: the middle \
             start of a bug takes at most {median} seeds, the longest of all {worst}.\n"
        );
        let shrunk: Vec<_> = self.hunted().filter_map(|line| line.faults_shrunk).collect();
        let few = shrunk.iter().filter(|faults| **faults <= FEW_FAULTS).count();
        let _ = writeln!(text, "{few} of {} plans shrink to {FEW_FAULTS} faults or fewer.", shrunk.len());
        let (run, broken) = self.without_bugs();
        let _ = writeln!(text, "Without a bug, {} of the same {run} seeds break nothing.", run - broken.len() as u64);
        let (both, tried) = self.hunted().fold((0, 0), |(both, tried), line| {
            (both + u64::from(line.turmoil.0 == line.turmoil.1 && line.turmoil.1 > 0), tried + line.turmoil.1.min(1))
        });
        if tried > 0 {
            let _ = writeln!(text, "The turmoil lane catches {both} of {tried} from the same seeds on.");
        }
        let missed: Vec<_> = self.hunted().filter(|line| !line.is_held()).collect();
        if !missed.is_empty() {
            text.push('\n');
        }
        for line in missed {
            let (id, (caught, starts), limit) = (&line.mutant, line.starts, line.limit);
            let reached = if line.reached { "reached" } else { "never reached" };
            let _ =
                write!(text, "- {id}: {reached}, caught from {caught} of {starts} starts of {limit} seeds at most");
            let _ = writeln!(
                text,
                ": {}{}",
                line.about,
                line.broken.as_ref().map_or(String::new(), |it| format!("; {it}"))
            );
        }
        for broken in broken {
            let _ = writeln!(text, "- without a bug: {broken}");
        }
        text
    }

    /// How many seeds were run without a bug, and what they broke.
    fn without_bugs(&self) -> (u64, BTreeSet<String>) {
        let mut seeds: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        let mut broken = BTreeSet::new();
        for line in self.hunted() {
            let run = line.runs.iter().zip(0..).flat_map(|(count, n)| n * STRIDE..n * STRIDE + count);
            seeds.entry(&line.place).or_default().extend(run);
            broken.extend(line.unmutated.iter().map(|broken| format!("{}, {broken}", line.place)));
        }
        (seeds.values().map(|seeds| seeds.len() as u64).sum(), broken)
    }

    /// Properties with the bugs that nothing else caught in some seed.
    fn alone(&self) -> BTreeMap<(usize, &str), Vec<&str>> {
        let mut properties: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for line in self.hunted() {
            let property = line.property.as_deref().unwrap_or_default();
            let bugs = properties.entry((property.len(), property)).or_default();
            if line.alone > 0 {
                bugs.push(&*line.mutant);
            }
        }
        properties
    }

    /// The page.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "# The zoo\n\nWritten by `tourbillon sim zoo`; how to read it: [docs/ZOO.md](../../docs/ZOO.md).\n\n",
        );
        text += &self.summary();
        text += "\n| id | what it does wrong | property | scenario | reached | caught | seeds, median | worst | faults left \
                 | turmoil | s | also broke |\n";
        text += "| --- | --- | --- | --- | --- | --- | --: | --: | --: | --- | --: | --- |\n";
        for line in self.hunted() {
            let _ = writeln!(text, "| {} | {} | {} |", line.mutant, line.about, line.cells().join(" | "));
        }
        text += "\n## Not hunted\n\n| id | what would be wrong | what holds it |\n| --- | --- | --- |\n";
        for line in self.lines.iter().filter(|line| line.property.is_none()) {
            let _ = writeln!(text, "| {} | {} | {} |", line.mutant, line.about, line.place);
        }
        text += "\n## What each property alone catches\n\n| property | bugs that broke nothing else in a seed that caught them |\n| --- | --- |\n";
        for ((_, property), bugs) in self.alone() {
            let bugs = if bugs.is_empty() { "none".to_owned() } else { bugs.join(", ") };
            let _ = writeln!(text, "| {property} | {bugs} |");
        }
        text
    }
}
