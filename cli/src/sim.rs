//! `tourbillon sim`: run, replay, twice.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    process::Command,
};

use serde_json::json;
use tourbillon_sim::{
    Budget, EngineFactory, Lane, Overrides, Seeds, Verdict as SeedVerdict, explain,
    history::{History, first_difference},
    replay_line, run_seed,
    scenario::Scenario,
    stopwatch, sweep,
    timeline::Timeline,
};

use crate::{
    args::{Common, ReplayArgs, RunArgs, TwiceArgs},
    memory, output, timeline,
};

/// Seeds of a sweep when nothing is said.
const DEFAULT_SEEDS: u64 = 50;

pub(crate) enum Verdict {
    Held,
    Violated,
}

impl Verdict {
    fn of(violations: u64) -> Self {
        if violations == 0 { Self::Held } else { Self::Violated }
    }
}

pub(crate) struct Prepared {
    pub(crate) scenario: Scenario,
    pub(crate) path: String,
    pub(crate) engine: EngineFactory,
    pub(crate) engine_name: &'static str,
    pub(crate) overrides: Overrides,
    pub(crate) first_seed: u64,
}

pub(crate) fn prepare(common: &Common) -> Result<Prepared, String> {
    let scenario = Scenario::load(&common.scenario).map_err(|error| error.to_string())?;
    let kind = common.engine.kind();
    let engine = kind.factory().map_err(|error| error.to_string())?;
    Ok(Prepared {
        path: common.scenario.display().to_string(),
        engine,
        engine_name: kind.name(),
        overrides: Overrides { lane: common.lane()?, plan: None },
        first_seed: common.seed.or(scenario.seed).unwrap_or(0),
        scenario,
    })
}

/// `sim run`.
pub(crate) fn sweep_seeds(args: &RunArgs) -> Result<Verdict, String> {
    let prepared = prepare(&args.common)?;
    let own = if prepared.scenario.seed.is_some() && args.common.seed.is_none() { 1 } else { DEFAULT_SEEDS };
    let (shard, shards) = args.shard;
    let mut seeds = Seeds { shard: shard - 1, shards, ..Seeds::new(prepared.first_seed, args.seeds.unwrap_or(own)) };
    seeds.threads = args.threads.unwrap_or(seeds.threads);
    let bar = output::progress(seeds.total(), args.json);
    let named = (prepared.engine_name, &prepared.engine);
    let report = sweep(&prepared.scenario, seeds, &prepared.overrides, named, &|done, violations| {
        bar.set_position(done);
        bar.set_message(format!("{violations} violations"));
    })?;
    bar.finish_and_clear();
    let peak_mib = memory::peak_mib();
    let is_small = args.max_rss_mib.map_or(Ok(true), |most_mib| memory::is_within(peak_mib, most_mib))?;
    if args.json {
        let mut report = serde_json::to_value(&report).map_err(|error| error.to_string())?;
        report["peak_rss_mib"] = json!(peak_mib);
        println!("{report}");
    } else {
        print!("{}", output::summary(&report));
        println!("{}", output::memory(peak_mib, args.max_rss_mib));
    }
    // What failed goes to standard error, so that `--json` stays one object.
    for failure in &report.failures {
        let verdict = run_seed(&prepared.scenario, failure.seed, &prepared.overrides, &prepared.engine)?;
        let picture = Timeline::of(&verdict.history, &verdict.violations);
        let budget = if args.no_shrink { Budget { runs: 0, ..Budget::default() } } else { Budget::default() };
        let failure = explain(&prepared.path, &prepared.scenario, &verdict, named, budget)?;
        let page = args.html.join(timeline::file_name(&prepared.scenario.name, failure.seed));
        eprintln!("\n{failure}\n{}", picture.text(0));
        timeline::write(&picture.replayed_by(&failure.replay), &page)?;
        eprintln!("  timeline: {}", page.display());
    }
    Ok(if is_small { Verdict::of(report.violations) } else { Verdict::Violated })
}

/// `sim replay` of a scenario.
pub(crate) fn replay(args: &ReplayArgs) -> Result<Verdict, String> {
    let prepared = prepare(&args.common)?;
    let elapsed = stopwatch();
    let verdict = run_seed(&prepared.scenario, prepared.first_seed, &prepared.overrides, &prepared.engine)?;
    let to_stdout = args.history.as_deref() == Some(Path::new("-"));
    if let Some(path) = &args.history {
        write_history(&verdict.history, path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let line = replay_line(&prepared.path, &verdict, prepared.engine_name);
    let picture = Timeline::of(&verdict.history, &verdict.violations).replayed_by(line);
    if let Some(path) = &args.html {
        timeline::write(&picture, path)?;
    }
    if args.json {
        // The keys of a sweep of one seed, and the plan.
        let failure = json!({"seed": verdict.seed, "tick_ms": verdict.tick_ms(), "violations": verdict.violations});
        let failures = if verdict.violations.is_empty() { json!([]) } else { json!([failure]) };
        let report = json!({
            "scenario": prepared.scenario.name, "engine": prepared.engine_name, "lane": verdict.lane.name(),
            "seeds": 1, "first_seed": verdict.seed, "tick_ms": verdict.tick_ms(),
            "violations": verdict.violations.len(), "failures": failures,
            "history_hash": verdict.hash.to_string(), "checks": verdict.checks, "faults": verdict.fired,
            "events": verdict.history.events.len(), "sim_seconds": verdict.simulated.as_secs_f64(),
            "wall_seconds": elapsed().as_secs_f64(), "plan": verdict.plan,
        });
        println!("{report}");
    } else if !to_stdout {
        print!("{}{}", output::replay(&verdict), picture.text(0));
    }
    Ok(Verdict::of(verdict.violations.len() as u64))
}

pub(crate) fn write_history(history: &History, path: &Path) -> io::Result<()> {
    if path == Path::new("-") {
        let mut out = BufWriter::new(io::stdout().lock());
        history.write_lines(&mut out)?;
        return out.flush();
    }
    let mut out = BufWriter::new(File::create(path)?);
    history.write_lines(&mut out)?;
    out.flush()
}

/// Runs each seed here and in a process of its own, and compares the bytes.
/// `sim twice`.
pub(crate) fn twice(args: &TwiceArgs) -> Result<Verdict, String> {
    let prepared = prepare(&args.common)?;
    let elapsed = stopwatch();
    let mut differing = Vec::new();
    let mut hashes = Vec::new();
    let mut simulated = 0.0;
    let bar = output::progress(args.seeds, args.json);
    for seed in prepared.first_seed..prepared.first_seed.saturating_add(args.seeds) {
        let here = run_seed(&prepared.scenario, seed, &prepared.overrides, &prepared.engine)?;
        let there = elsewhere(&args.common, here.lane, seed)?;
        hashes.push(here.hash.to_string());
        simulated += here.simulated.as_secs_f64();
        if let Some(difference) = difference(&here, &there)? {
            differing.push((seed, difference));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if args.json {
        let seeds: Vec<_> = differing.iter().map(|(seed, text)| json!({"seed": seed, "difference": text})).collect();
        let report = json!({
            "scenario": prepared.scenario.name, "engine": prepared.engine_name,
            "lane": prepared.overrides.lane_of(&prepared.scenario).name(),
            "seeds": args.seeds, "first_seed": prepared.first_seed,
            "violations": differing.len(), "differing": seeds, "history_hash": hashes,
            "sim_seconds": simulated, "wall_seconds": elapsed().as_secs_f64(),
        });
        println!("{report}");
    } else {
        for (seed, difference) in &differing {
            println!("seed {seed} differs between two processes:\n{difference}");
        }
        println!("{} of {} seeds byte-equal in two processes", args.seeds - differing.len() as u64, args.seeds);
    }
    Ok(Verdict::of(differing.len() as u64))
}

fn elsewhere(common: &Common, lane: Lane, seed: u64) -> Result<Vec<u8>, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut command = Command::new(program);
    command.args(["sim", "replay"]).arg(&common.scenario).args(["--seed", &seed.to_string(), "--history", "-"]);
    command.args(["--engine", common.engine.kind().name()]);
    command.args(lane.arguments().split(' '));
    let output = command.output().map_err(|error| format!("cannot start a second process: {error}"))?;
    // 1 means that a guarantee was violated, which is not the question here.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(format!("the second process failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(output.stdout)
}

/// Where the two histories part, side by side: here on the left; `None` when they are byte-equal.
fn difference(here: &SeedVerdict, there: &[u8]) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    here.history.write_lines(&mut bytes).map_err(|error| error.to_string())?;
    if bytes == there {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(there);
    let there =
        History::read_lines(&text).map_err(|error| format!("the second process wrote no history: {error}"))?;
    let told = first_difference(&here.history, &there).map(|difference| difference.to_string());
    Ok(Some(told.unwrap_or_else(|| "the same events, spelt differently".to_owned())))
}
