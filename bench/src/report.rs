//! Owns the report: which benches there are, rounds in which ours and the ceiling take turns, medians, and how they are
//! printed. Figures of different runs are not compared: the machine is another one each time.

use std::{error::Error, time::Duration};

use serde::Serialize;

use tourbillon_sqlite::Synchronous;

use crate::{
    file,
    server::{Database, Race, Server, Worker, finish},
    workload::pause,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What is measured, and how often.
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) jobs: u64,
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

/// A measured queue.
struct System {
    name: &'static str,
    /// The ceiling that it is measured beside; none of a ceiling.
    beside: Option<&'static str>,
    /// First words of every command of it.
    prefix: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    gate: &'static str,
    remaining: &'static str,
}

/// Of ours, successes are forgotten; the ceiling deletes what is finished.
const OURS: System = System {
    name: "ours, deleting",
    beside: Some(DELETING.name),
    prefix: &[],
    environment: &[("RETAIN", "failures")],
    gate: "tourbillon.execution",
    remaining: "select count(*) from tourbillon.execution",
};

/// With the defaults.
const OURS_KEEPING: System = System { name: "ours, keeping", beside: Some(KEEPING.name), environment: &[], ..OURS };

/// With producers whose callers share requests.
const OURS_COALESCING: System = System { environment: &[("COALESCE", "1")], ..OURS };

const DELETING: System = System {
    name: "ceiling, deleting",
    beside: None,
    prefix: &["ceiling"],
    environment: &[],
    gate: "jobs",
    remaining: "select count(*) from jobs where state < 2",
};

const KEEPING: System = System { name: "ceiling, keeping", environment: &[("KEEP", "1")], ..DELETING };

impl System {
    fn words<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        self.prefix.iter().copied().chain(rest.iter().copied()).collect()
    }

    fn finish(&self, rest: &[&str], database: &Database) -> Outcome<String> {
        finish(&self.words(rest), self.environment, &database.url)
    }

    async fn database(&self, server: &Server) -> Outcome<Database> {
        let database = server.database().await?;
        self.finish(&["setup"], &database)?;
        Ok(database)
    }
}

/// Measurements by bench, unit and system.
#[derive(Default)]
struct Sheet(Vec<(String, &'static str, &'static str, f64)>);

impl Sheet {
    fn add(&mut self, bench: &str, unit: &'static str, system: &System, value: f64) {
        eprintln!("  {:<24} {:<18} {value:>12.1} {unit}", bench, system.name);
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
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        for system in [&OURS, &DELETING, &OURS_KEEPING, &KEEPING] {
            for processes in [1, 4] {
                drain(&server, system, processes, plan, &mut sheet).await?;
            }
        }
        for system in [&OURS, &DELETING] {
            single(&server, system, "enqueue, 16 callers", plan, &mut sheet).await?;
            latency(&server, system, plan, &mut sheet).await?;
        }
        for system in [&OURS_COALESCING, &DELETING] {
            single(&server, system, "enqueue, 16 callers, coalescing", plan, &mut sheet).await?;
        }
        idle(&server, plan, &mut sheet).await?;
        sqlite(plan, &mut sheet).await?;
    }
    print(&sheet.lines(), plan.is_json)
}

async fn drain(server: &Server, system: &System, processes: u32, plan: &Plan, sheet: &mut Sheet) -> Outcome<()> {
    let name = format!("drain, {processes} process{}", if processes == 1 { "" } else { "es" });
    if !name.starts_with(&plan.only) && !"bulk enqueue".starts_with(&plan.only) {
        return Ok(());
    }
    let mut database = system.database(server).await?;
    let filled = system.finish(&["bulk", &plan.jobs.to_string(), "1000"], &database)?;
    sheet.add("bulk enqueue", "rows/s", system, field(&filled, "RATE "));
    let words = system.words(&["worker"]);
    let race = Race {
        words: &words,
        environment: system.environment,
        gate: system.gate,
        remaining: system.remaining,
        processes,
        jobs: plan.jobs,
    };
    let done = database.race(&race).await?;
    sheet.add(&name, "jobs/s", system, done.jobs_per_s);
    sheet.add(&format!("{name}: server"), "us CPU/job", system, done.server_us);
    sheet.add(&format!("{name}: client"), "us CPU/job", system, done.client_us);
    sheet.add(&format!("{name}: WAL"), "B/job", system, done.wal_bytes);
    Ok(())
}

async fn single(server: &Server, system: &System, name: &str, plan: &Plan, sheet: &mut Sheet) -> Outcome<()> {
    if !name.starts_with(&plan.only) {
        return Ok(());
    }
    let database = system.database(server).await?;
    let filled = system.finish(&["single", "8000", "16"], &database)?;
    sheet.add(name, "rows/s", system, field(&filled, "RATE "));
    Ok(())
}

async fn latency(server: &Server, system: &System, plan: &Plan, sheet: &mut Sheet) -> Outcome<()> {
    if !"latency".starts_with(&plan.only) {
        return Ok(());
    }
    let database = system.database(server).await?;
    let told = system.finish(&["lat", "300", "20"], &database)?;
    sheet.add("latency p50", "us", system, field(&told, "p50="));
    sheet.add("latency p99", "us", system, field(&told, "p99="));
    Ok(())
}

/// One process with nothing to do: a worker of the one queue, and a replica with many jobs and queues.
async fn idle(server: &Server, plan: &Plan, sheet: &mut Sheet) -> Outcome<()> {
    const MANY: &str = "idle, 100 jobs and 20 queues";
    if !"idle".starts_with(&plan.only) {
        return Ok(());
    }
    for (name, system, words) in [
        ("idle", &OURS, OURS.words(&["worker"])),
        ("idle", &DELETING, DELETING.words(&["worker"])),
        (MANY, &OURS, OURS.words(&["replica", "100", "20"])),
        // It knows one queue.
        (MANY, &DELETING, DELETING.words(&["worker"])),
    ] {
        let mut database = system.database(server).await?;
        let _process = Worker::spawn(&words, system.environment, &database.url)?;
        sheet.add(name, "statements/s", system, statements(&mut database).await?);
    }
    Ok(())
}

/// Statements a second of a process that was just started.
async fn statements(database: &mut Database) -> Outcome<f64> {
    // Probes, readings of cursors and rescues come every 15 to 30 s.
    const SECONDS: u64 = 60;
    pause(Duration::from_secs(3)).await;
    let before = database.cost().await?.statements;
    pause(Duration::from_secs(SECONDS)).await;
    let after = database.cost().await?.statements;
    // Those with which the costs were asked are three.
    Ok((after - before - 3) as f64 / SECONDS as f64)
}

/// On a file, with and without a flush for each commit.
async fn sqlite(plan: &Plan, sheet: &mut Sheet) -> Outcome<()> {
    for (synchronous, name) in [(Synchronous::Full, "SQLite FULL"), (Synchronous::Normal, "SQLite NORMAL")] {
        if !name.starts_with(&plan.only) {
            continue;
        }
        for system in [&OURS, &DELETING] {
            let rates = if system.beside.is_some() {
                file::ours(plan.jobs, synchronous).await?
            } else {
                tokio::task::block_in_place(|| file::ceiling(plan.jobs, synchronous))?
            };
            sheet.add(&format!("{name}, bulk enqueue"), "rows/s", system, rates.enqueued);
            sheet.add(&format!("{name}, drain"), "jobs/s", system, rates.drained);
        }
    }
    Ok(())
}

/// The number that follows `label`; not a number when there is none.
fn field(text: &str, label: &str) -> f64 {
    let number = text.split(label).nth(1).and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}

fn print(lines: &[Line], is_json: bool) -> Outcome<()> {
    if is_json {
        println!("{}", serde_json::to_string_pretty(lines)?);
        return Ok(());
    }
    println!("{:<48} {:>12} {:>12} {:>7}  unit", "bench / beside", "ours", "ceiling", "ratio");
    for line in lines {
        let Line { bench, ours, ceiling, ratio, unit, .. } = line;
        println!("{bench:<48} {ours:>12.1} {ceiling:>12.1} {ratio:>7.2}  {unit}");
    }
    Ok(())
}
