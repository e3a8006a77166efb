//! Measures Tourbillon: `report` does it all. The other commands are one process of a measured system each, for
//! `report` and for a harness beside: see `adapter/adapter.json`.

mod ceiling;
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the tests use the rest of it; to depend on them would build the simulator"
)]
#[path = "../../tests/src/cluster.rs"]
mod cluster;
mod file;
mod ours;
mod report;
mod server;
mod workload;

use std::{error::Error, process::ExitCode, time::Duration};

const USAGE: &str = "\
usage: tourbillon-bench report [--rounds N] [--jobs N] [--only BENCH] [--json]
       tourbillon-bench [ceiling] setup | bulk N BATCH | single N CALLERS | worker | lat N GAP_MS   (of DATABASE_URL)
       tourbillon-bench replica JOBS QUEUES   (of DATABASE_URL)";

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[&str]) -> Result<(), Box<dyn Error + Send + Sync>> {
    let is_ceiling = words.first() == Some(&"ceiling");
    let words = if is_ceiling { &words[1..] } else { words };
    let number = |at: usize, default: u64| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(default);
    let gap = Duration::from_millis(number(2, 20));
    match (words.first().copied(), is_ceiling) {
        (Some("report"), false) => report::report(&plan(&words[1..])?).await,
        (Some("setup"), false) => ours::setup().await,
        (Some("setup"), true) => ceiling::setup().await,
        (Some("bulk"), false) => ours::bulk(number(1, 20_000), number(2, 1_000)).await,
        (Some("bulk"), true) => ceiling::bulk(number(1, 20_000), number(2, 1_000)).await,
        (Some("single"), false) => ours::single(number(1, 2_000), number(2, 1)).await,
        (Some("single"), true) => ceiling::single(number(1, 2_000), number(2, 1)).await,
        (Some("replica"), false) => ours::replica(number(1, 100), number(2, 20)).await,
        (Some("worker"), false) => ours::worker().await,
        (Some("worker"), true) => ceiling::worker().await,
        (Some("lat"), false) => ours::latency(number(1, 300), gap).await,
        (Some("lat"), true) => ceiling::latency(number(1, 300), gap).await,
        _ => Err(USAGE.into()),
    }
}

fn plan(words: &[&str]) -> Result<report::Plan, Box<dyn Error + Send + Sync>> {
    let mut plan = report::Plan { rounds: 3, jobs: 50_000, is_json: false, only: String::new() };
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word {
            "--rounds" => plan.rounds = value()?.parse()?,
            "--jobs" => plan.jobs = value()?.parse()?,
            "--only" => value()?.clone_into(&mut plan.only),
            "--json" => plan.is_json = true,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(plan)
}
