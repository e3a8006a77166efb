//! Measures Tourbillon. One process of a measured system per call: see `adapter/adapter.json`.

mod ours;
mod workload;

use std::{process::ExitCode, time::Duration};

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(default);
    let done = match words.first().map(String::as_str) {
        Some("setup") => ours::setup().await,
        Some("bulk") => ours::bulk(number(1, 20_000), number(2, 1_000)).await,
        Some("single") => ours::single(number(1, 2_000), number(2, 1)).await,
        Some("worker") => ours::worker().await,
        Some("lat") => ours::latency(number(1, 300), Duration::from_millis(number(2, 20))).await,
        _ => Err("usage: tourbillon-bench setup | bulk N BATCH | single N CALLERS | worker | lat N GAP_MS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
