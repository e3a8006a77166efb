//! `tourbillon sim figures`.

use std::fmt::Write as _;

use serde_json::json;
use tourbillon_sim::{
    figures::{self, Drain, HandOver, Spread, Week},
    stopwatch,
};

use crate::{args::FiguresArgs, sim::Verdict};

/// `sim figures`.
pub(crate) fn run(args: &FiguresArgs) -> Result<Verdict, String> {
    let engine = args.engine.kind().factory().map_err(|error| error.to_string())?;
    let hand_over = figures::hand_over(args.seeds, &engine)?;
    let drain = figures::drain(args.items, args.seeds.div_ceil(20), &engine)?;
    let elapsed = stopwatch();
    let week = if args.days == 0 { None } else { Some(figures::week(args.days, 0, &engine)?) };
    let wall_s = elapsed().as_secs_f64();
    if args.json {
        let week = week.as_ref().map(|week| json!({"wall_seconds": wall_s, "figures": week}));
        println!("{}", json!({"seeds": args.seeds, "hand_over": hand_over, "backlog": drain, "week": week}));
    } else {
        print!("{}", of_fail_over(args.seeds, &hand_over, &drain));
        print!("{}", week.as_ref().map_or_else(String::new, |week| of_week(week, wall_s)));
    }
    let is_whole = hand_over.violated.is_empty()
        && drain.violated.is_empty()
        && week.is_none_or(|week| week.violations.is_empty());
    Ok(if is_whole { Verdict::Held } else { Verdict::Violated })
}

fn of_fail_over(seeds: u64, hand_over: &HandOver, drain: &Drain) -> String {
    let mut text = format!("{seeds} seeds, simulated time{:>24}{:>10}{:>10}{:>10}\n", "samples", "p50", "p99", "max");
    let mut line = |what: &str, spread: &Spread| {
        let Spread { samples, p50_ms, p99_ms, max_ms } = *spread;
        let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1_000.0);
        let (p50, p99, max) = (seconds(p50_ms), seconds(p99_ms), seconds(max_ms));
        let _ = writeln!(text, "{what:<40}{samples:>7}{p50:>10}{p99:>10}{max:>10}");
    };
    line("power loss to next leader (ttl 30 s)", &hand_over.take_over);
    line("power loss to next claim (lease 30 s)", &hand_over.first_claim);
    line(&format!("heal to {} items done, {} workers", drain.items, drain.workers), &drain.drained);
    for (what, seeds) in [("hand-over", &hand_over.violated), ("backlog", &drain.violated)] {
        if !seeds.is_empty() {
            let _ = writeln!(text, "{what}: guarantees broke with seeds {seeds:?}");
        }
    }
    text
}

fn of_week(week: &Week, wall_s: f64) -> String {
    let hours = week.simulated.as_secs_f64() / 3_600.0;
    let faults: u64 = week.faults.values().sum();
    let speed = week.simulated.as_secs_f64() / wall_s.max(0.001);
    let mut text = format!(
        "\nthe hardened operator, three replicas: {hours:.1} simulated hours in {wall_s:.1} s ({speed:.0} × real time), \
         {} events, {faults} faults of {} kinds\n{:<22}{:>9}{:>9}  effects beyond the first of a unit, by cause\n",
        week.events,
        week.faults.len(),
        "loop",
        "effects",
        "units"
    );
    for of in &week.loops {
        let name = |cause| serde_json::to_value(cause).ok().and_then(|name| Some(name.as_str()?.replace('_', " ")));
        let causes = of.duplicates.iter().map(|(cause, n)| format!("{} {n}", name(cause).unwrap_or_default()));
        let causes = causes.collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "{:<22}{:>9}{:>9}  {causes}", of.row, of.effects, of.units);
    }
    match week.violations.first() {
        None => text += "every guarantee and every bound held\n",
        Some(first) => {
            let _ = writeln!(text, "{} violations, the first: {first}", week.violations.len());
        }
    }
    text
}
