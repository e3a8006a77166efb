//! Owns the report: rounds in which ours and the ceiling take turns, medians, and how they are printed. Figures of
//! different runs are not compared: the machine is another one each time.

use serde::Serialize;

use crate::{
    measure::{self, Round},
    server::Server,
    system::{OURS, OURS_KEEPING, System},
    workload::Outcome,
};

/// What is measured, and how often.
pub(crate) struct Plan {
    pub(crate) rounds: u64,
    /// Of a drain.
    pub(crate) jobs: u64,
    /// Finished jobs that are there when a drain begins, beside none.
    pub(crate) finished: u64,
    /// Of a drain under a snapshot.
    pub(crate) snapshot_jobs: u64,
    /// Of a latency.
    pub(crate) samples: u64,
    pub(crate) is_json: bool,
    /// Only benches whose names begin like this.
    pub(crate) only: String,
}

/// One line of the report. A ratio is that of ours to the ceiling: more is better of rates, less of everything else.
#[derive(Serialize)]
struct Line {
    bench: String,
    ours: f64,
    ceiling: f64,
    ratio: f64,
    unit: &'static str,
    runs: Vec<(f64, f64)>,
}

/// Measurements by bench, unit and system.
#[derive(Default)]
pub(crate) struct Sheet(Vec<(String, &'static str, &'static str, f64)>);

impl Sheet {
    pub(crate) fn add(&mut self, bench: &str, unit: &'static str, system: &System, value: f64) {
        eprintln!("  {:<32} {:<18} {value:>12.1} {unit}", bench, system.name);
        self.0.push((bench.to_owned(), unit, system.name, value));
    }

    fn of(&self, bench: &str, system: &str) -> Vec<f64> {
        self.0.iter().filter(|(b, _, s, _)| b == bench && *s == system).map(|(.., value)| *value).collect()
    }

    /// Ours beside the ceiling that keeps as much.
    fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for (bench, unit, system, _) in &self.0 {
            let ours = [OURS, OURS_KEEPING].into_iter().find(|ours| ours.name == *system);
            let Some(ceiling) = ours.and_then(|ours| ours.beside) else { continue };
            let name = format!("{bench} / {ceiling}");
            if lines.iter().any(|line| line.bench == name) {
                continue;
            }
            let (ours, ceiling) = (self.of(bench, system), self.of(bench, ceiling));
            let runs = ours.iter().copied().zip(ceiling.iter().copied()).collect();
            let (ours, ceiling) = (median(ours), median(ceiling));
            lines.push(Line { bench: name, ours, ceiling, ratio: ours / ceiling, unit, runs });
        }
        lines
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Measures, and prints.
pub(crate) async fn report(plan: &Plan) -> Outcome<()> {
    let server = Server::start().await?;
    let mut sheet = Sheet::default();
    for number in 1..=plan.rounds {
        eprintln!("round {number} of {}", plan.rounds);
        measure::all(&mut Round { number, server: &server, plan, sheet: &mut sheet }).await?;
    }
    let lines = sheet.lines();
    if lines.is_empty() {
        return Err(format!("no bench begins with {:?}: {}", plan.only, measure::NAMES).into());
    }
    print(&lines, plan.is_json)
}

fn print(lines: &[Line], is_json: bool) -> Outcome<()> {
    if is_json {
        println!("{}", serde_json::to_string_pretty(lines)?);
        return Ok(());
    }
    println!("{:<52} {:>12} {:>12} {:>7}  unit", "bench / beside", "ours", "ceiling", "ratio");
    for line in lines {
        let Line { bench, ours, ceiling, ratio, unit, .. } = line;
        println!("{bench:<52} {ours:>12.1} {ceiling:>12.1} {ratio:>7.2}  {unit}");
    }
    Ok(())
}
