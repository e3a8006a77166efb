//! Tables and progress for people.

use std::{
    fmt::Write,
    io::{IsTerminal, stderr},
};

use indicatif::{ProgressBar, ProgressStyle};
use tourbillon_sim::{
    SweepReport, Verdict, checker,
    operator::{judge, loops::Loop},
};

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn progress(total: u64, json: bool) -> ProgressBar {
    if json || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:40} {pos}/{len}  {elapsed}/{duration}  {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}

pub(crate) fn summary(report: &SweepReport) -> String {
    let mut text = String::new();
    let last = report.first_seed + report.seeds.saturating_sub(1);
    let _ = writeln!(
        text,
        "{}: seeds {}–{last} on {} ({} lane), history {}",
        report.scenario, report.first_seed, report.engine, report.lane, report.history_hash
    );
    let _ = writeln!(
        text,
        "{:.1} simulated hours in {:.1} s: {:.0} × real time; {} events\n",
        report.sim_seconds / 3600.0,
        report.wall_seconds,
        report.sim_seconds / report.wall_seconds.max(0.001),
        report.events,
    );
    let _ = writeln!(text, "{:<9} {:>12} {:>10}  what must hold", "guarantee", "checks", "violations");
    let broken = |guarantee: &str| {
        let violations = report.failures.iter().flat_map(|seed| &seed.violations);
        violations.filter(|violation| violation.guarantee == guarantee).count()
    };
    for checker in checker::all() {
        let checks = report.checks.get(checker.guarantee).copied().unwrap_or(0);
        let broken = broken(checker.guarantee);
        let _ = writeln!(text, "{:<9} {checks:>12} {broken:>10}  {}", checker.guarantee, checker.about);
    }
    let loops: Vec<_> = Loop::ALL.into_iter().filter(|which| report.checks.contains_key(which.id())).collect();
    if !loops.is_empty() {
        let _ = writeln!(text, "\n{:<20} {:>8} {:>10}  what is bounded", "loop", "readings", "violations");
    }
    for which in loops {
        let (readings, broken) = (report.checks[which.id()], broken(which.id()));
        let _ = writeln!(text, "{:<20} {readings:>8} {broken:>10}  {}", which.id(), judge::measure(which));
    }
    let _ = writeln!(text, "\n{:<24} {:>8}  what went wrong", "fault", "fired");
    for (kind, fired) in &report.faults {
        let _ = writeln!(text, "{kind:<24} {fired:>8}  {}", kind.about());
    }
    let verdict = match (report.violations, report.failures.len()) {
        (0, _) => "every guarantee held".to_owned(),
        (violations, seeds) => format!("{violations} violations in {seeds} seeds"),
    };
    let _ = writeln!(text, "\n{verdict}");
    text
}

/// How much memory the process took at most, and whether that is too much.
pub(crate) fn memory(peak_mib: Option<u64>, most_mib: Option<u64>) -> String {
    match (peak_mib, most_mib) {
        (None, _) => "peak memory: not known on this system".to_owned(),
        (Some(peak), Some(most)) if peak > most => {
            format!("peak memory {peak} MiB: more than the {most} MiB allowed")
        }
        (Some(peak), Some(most)) => format!("peak memory {peak} MiB, of {most} MiB allowed"),
        (Some(peak), None) => format!("peak memory {peak} MiB"),
    }
}

pub(crate) fn replay(verdict: &Verdict) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "seed {}, {}: {} events over {:.0} simulated seconds, history {}",
        verdict.seed,
        verdict.lane,
        verdict.history.events.len(),
        verdict.simulated.as_secs_f64(),
        verdict.hash
    );
    let _ = writeln!(text, "\nfaults of this seed:\n{}", verdict.plan.to_toml());
    if verdict.violations.is_empty() {
        let _ = writeln!(text, "every guarantee held");
    }
    for violation in &verdict.violations {
        let _ = writeln!(text, "{violation}");
        for index in &violation.events {
            if let Some(event) = verdict.history.events.get(*index) {
                let seconds = event.at_us as f64 / 1e6;
                let line = serde_json::to_string(&event.what).unwrap_or_default();
                let _ = writeln!(text, "  {seconds:>12.3} s  {:<10}  {line}", event.host.to_string());
            }
        }
    }
    text
}
