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
mod measure;
mod ours;
mod report;
mod server;
mod system;
mod workload;

use std::{process::ExitCode, time::Duration};

use crate::workload::Outcome;

const USAGE: &str = "\
usage: tourbillon-bench report [--only BENCH] [--rounds N] [--jobs N] [--finished N] [--snapshot-jobs N] [--samples N] [--json]
       tourbillon-bench [ceiling] setup | bulk N BATCH | single N CALLERS | within N CALLERS | worker | lat N GAP_MS
       tourbillon-bench replica JOBS QUEUES | hold

report       everything, or the benches whose names begin with BENCH: bulk, drain, growth, snapshot, enqueue, transaction,
             latency, near latency, idle, fail-over, SQLite
  --rounds N         ours and the ceiling take turns so often (3)
  --jobs N           of a drain (50000)
  --finished N       jobs of the history beside which a drain is measured again (1000000)
  --snapshot-jobs N  of a drain under a snapshot (300000; with fewer there is no effect)
  --samples N        of a latency, 20 ms apart (1000)
The other commands are one process each, of the database in DATABASE_URL.";

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::var_os(server::ENDS_WITH_INPUT).is_some() {
        std::thread::spawn(|| {
            // Whether it ended or failed, whoever started this process is gone.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(0);
        });
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[&str]) -> Outcome<()> {
    let is_ceiling = words.first() == Some(&"ceiling");
    let words = if is_ceiling { &words[1..] } else { words };
    let number = |at: usize, default: u64| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(default);
    let gap = Duration::from_millis(number(2, 20));
    match (words.first().copied(), is_ceiling) {
        (Some("report"), false) => report::report(&plan(&words[1..])?).await,
        (Some("setup"), false) => ours::setup().await,
        (Some("setup"), true) => ceiling::setup().await,
        (Some("bulk"), false) => told(ours::bulk(number(1, 20_000), number(2, 1_000)).await),
        (Some("bulk"), true) => told(ceiling::bulk(number(1, 20_000), number(2, 1_000)).await),
        (Some("single"), false) => told(ours::single(number(1, 2_000), number(2, 1)).await),
        (Some("single"), true) => told(ceiling::single(number(1, 2_000), number(2, 1)).await),
        (Some("within"), false) => told(ours::within(number(1, 2_000), number(2, 1)).await),
        (Some("within"), true) => told(ceiling::within(number(1, 2_000), number(2, 1)).await),
        (Some("hold"), false) => ours::hold().await,
        (Some("replica"), false) => ours::replica(number(1, 100), number(2, 20)).await,
        (Some("worker"), false) => ours::worker().await,
        (Some("worker"), true) => ceiling::worker().await,
        (Some("lat"), false) => ours::latency(number(1, 300), gap).await,
        (Some("lat"), true) => ceiling::latency(number(1, 300), gap).await,
        _ => Err(USAGE.into()),
    }
}

/// Prints `RATE <per second>`.
fn told(rate: Outcome<f64>) -> Outcome<()> {
    println!("RATE {:.0}", rate?);
    Ok(())
}

fn plan(words: &[&str]) -> Outcome<report::Plan> {
    let mut plan = report::Plan {
        rounds: 3,
        jobs: 50_000,
        finished: 1_000_000,
        snapshot_jobs: 300_000,
        samples: 1_000,
        is_json: false,
        only: String::new(),
    };
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let mut number = || {
            let text = value()?;
            text.parse().map_err(|_| format!("{word} needs a number, not {text:?}"))
        };
        match word {
            "--rounds" => plan.rounds = number()?,
            "--jobs" => plan.jobs = number()?,
            "--finished" => plan.finished = number()?,
            "--snapshot-jobs" => plan.snapshot_jobs = number()?,
            "--samples" => plan.samples = number()?,
            "--only" => value()?.clone_into(&mut plan.only),
            "--json" => plan.is_json = true,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(plan)
}
