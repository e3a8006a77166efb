//! `tourbillon sim table`, and the replay of one run of a table.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use tourbillon_sim::{
    EngineFactory, stopwatch,
    table::{self, Cell, CellVerdict, FaultClass, Reading, Span, Table, Workload},
    timeline::Timeline,
};

use crate::{
    args::{Engine, ReplayArgs, TableArgs},
    output,
    sim::{Verdict, write_history},
    timeline,
};

/// Where the committed tables lie, seen from the root of the repository.
const COMMITTED: &str = "scenarios/tables";

/// `sim table`.
pub(crate) fn run(args: &TableArgs) -> Result<Verdict, String> {
    let workloads = chosen(args.workload.as_deref())?;
    let elapsed = stopwatch();
    let mut tables = Vec::new();
    for workload in &workloads {
        let default = if workload.wants_sql() { Engine::Sqlite } else { Engine::Memory };
        let engine = args.engine.unwrap_or(default).kind().factory().map_err(|error| error.to_string())?;
        tables.push(compute(workload.as_ref(), args, &engine)?);
    }
    if args.json {
        let cells: Vec<_> = tables.iter().flat_map(table::json).collect();
        println!("{}", serde_json::to_string(&cells).map_err(|error| error.to_string())?);
    } else {
        for table in &tables {
            print!("{}", summary(table));
        }
        let runs: u64 = tables.iter().map(|table| table.runs).sum();
        let hours: u64 = tables.iter().map(|table| table.sim_seconds / 3600).sum();
        println!("{runs} simulations, {hours} simulated hours, {:.1} s", elapsed().as_secs_f64());
    }
    let mut failed = tables.iter().zip(&workloads).any(|(table, workload)| is_broken(table, workload.as_ref()));
    match &args.out {
        _ if args.check => failed |= differs(&tables, args.out.as_deref().unwrap_or(Path::new(COMMITTED))),
        Some(folder) => write(&tables, folder)?,
        None => {}
    }
    Ok(if failed { Verdict::Violated } else { Verdict::Held })
}

fn chosen(name: Option<&str>) -> Result<Vec<Box<dyn Workload>>, String> {
    let all = table::workloads();
    let names: Vec<_> = all.iter().map(|workload| workload.name()).collect();
    let Some(name) = name else { return Ok(all) };
    let chosen: Vec<_> = all.into_iter().filter(|workload| workload.name() == name).collect();
    if chosen.is_empty() {
        return Err(format!("unknown workload `{name}`: there are {}", names.join(", ")));
    }
    Ok(chosen)
}

fn compute(workload: &dyn Workload, args: &TableArgs, engine: &EngineFactory) -> Result<Table, String> {
    let seeds = args.seeds.unwrap_or_else(|| workload.seeds());
    let bar = output::progress(table::runs_of(workload, seeds), args.json);
    bar.set_message(workload.name());
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let span = Span { first_seed: args.seed, seeds, threads };
    let table = table::compute(workload, span, engine, &|done| bar.set_position(done))?;
    bar.finish_and_clear();
    Ok(table)
}

fn summary(table: &Table) -> String {
    let mut text = String::new();
    for variant in &table.variants {
        let _ = writeln!(text, "{} / {variant}: {}", table.workload, table.about);
        let rows = table.rows.get(*variant).map_or(&[][..], Vec::as_slice);
        let width = rows.iter().map(|row| row.id.len()).max().unwrap_or(3);
        let _ = write!(text, "{:<width$}", "row");
        for class in &table.classes {
            let _ = write!(text, " {:>8}", abbreviated(class.name()));
        }
        text.push('\n');
        for row in rows {
            let _ = write!(text, "{:<width$}", row.id);
            for cell in table.cells_of(variant, row.id) {
                let shown = cell.broken.as_ref().or(cell.worst.as_ref()).map(|witness| &witness.reading);
                let figure = shown.map_or_else(String::new, |r| format!("{}/{}", r.count, r.bound));
                let mark = match cell.verdict {
                    CellVerdict::Held => "✓",
                    CellVerdict::Broken => "✗",
                    CellVerdict::NotCovered => "◦",
                };
                let _ = write!(text, " {:>8}", format!("{mark} {figure}"));
            }
            text.push('\n');
        }
        let [held, broken, open] = table::tally(table.cells.iter().filter(|cell| cell.variant == *variant));
        let _ = writeln!(text, "✓ {held} held, ✗ {broken} broken, ◦ {open} not covered (worst/bound)\n");
    }
    for finding in &table.findings {
        let outcome = table::outcome(finding.outcome);
        let _ = writeln!(text, "{}: documented \"{}\": {outcome}", finding.name, finding.documented.text);
        for (story, replay) in table::stories(table, finding) {
            let _ = writeln!(text, "  {story}");
            if let Some(line) = replay {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    for broken in &table.broken {
        let line = table::replay_line(table, &broken.variant, broken.class, broken.seed);
        let _ = writeln!(text, "{}\n  {line}", broken.violation);
    }
    text
}

/// The head of a column, short enough.
fn abbreviated(name: &str) -> String {
    let parts: Vec<_> =
        name.split('_').map(|part| &part[..part.len().min(if name.contains('_') { 3 } else { 8 })]).collect();
    parts.join("_").chars().take(8).collect()
}

fn is_broken(table: &Table, workload: &dyn Workload) -> bool {
    let breaks = |variant: &str| {
        workload.must_hold(variant)
            && table.cells.iter().any(|cell| cell.variant == variant && cell.verdict == CellVerdict::Broken)
    };
    !table.broken.is_empty() || table.variants.iter().any(|variant| breaks(variant))
}

/// The files of a table, as (path, content).
fn files(table: &Table, folder: &Path) -> [(PathBuf, String); 3] {
    let path = |extension: &str| folder.join(format!("{}.{extension}", table.workload));
    [
        (path("md"), table::markdown(table)),
        (path("html"), table::html(table)),
        (path("json"), table::json_lines(table)),
    ]
}

fn write(tables: &[Table], folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    for (path, text) in tables.iter().flat_map(|table| files(table, folder)) {
        fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

fn differs(tables: &[Table], folder: &Path) -> bool {
    let mut any = false;
    for (path, text) in tables.iter().flat_map(|table| files(table, folder)) {
        if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            eprintln!(
                "{} differs: run `tourbillon sim table --out {}` and read what changed",
                path.display(),
                folder.display()
            );
            any = true;
        }
    }
    any
}

/// `sim replay <workload>/<variant> --fault <class> --seed <n>`.
pub(crate) fn replay(args: &ReplayArgs, fault: &str) -> Result<Verdict, String> {
    let name = args.common.scenario.display().to_string();
    let (workload, variant) = table::by_name(&name).ok_or_else(|| {
        let names = table::workloads().iter().map(|workload| names_of(workload.as_ref())).collect::<Vec<_>>();
        format!("unknown workload `{name}`: with --fault, say one of {}", names.join(", "))
    })?;
    let class = FaultClass::from_name(fault).ok_or_else(|| {
        let names: Vec<_> = FaultClass::ALL.iter().map(|class| class.name()).collect();
        format!("unknown class of faults `{fault}`: there are {}", names.join(", "))
    })?;
    let engine = args.common.engine.kind().factory().map_err(|error| error.to_string())?;
    let cell = Cell { variant, class, seed: args.common.seed.unwrap_or(0) };
    let run = table::run_cell(workload.as_ref(), &cell, &engine)?;
    if let Some(path) = &args.history {
        write_history(&run.history, path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let rows = workload.rows(variant);
    let line = format!("tourbillon sim replay {name} --fault {class} --seed {}", cell.seed);
    let picture = Timeline::of(&run.history, &run.broken()).replayed_by(line);
    if let Some(path) = &args.html {
        timeline::write(&picture, path)?;
    }
    if args.json {
        let hits: serde_json::Map<_, _> =
            rows.iter().zip(&run.hits).map(|(row, hits)| (row.id.to_owned(), json!(named(hits)))).collect();
        let report = json!({
            "workload": workload.name(), "variant": variant, "fault": class, "seed": cell.seed,
            "plan": run.plan, "readings": run.readings, "hits": hits, "violations": run.violations,
            "events": run.history.events.len(), "history_hash": run.history.hash().to_string(),
            "sim_seconds": run.simulated.as_secs_f64(),
        });
        println!("{report}");
    } else if args.history.as_deref() != Some(Path::new("-")) {
        println!(
            "{name}, {class}, seed {}: {} events over {:.0} simulated seconds, history {}\n\nfaults of this run:\n{}",
            cell.seed,
            run.history.events.len(),
            run.simulated.as_secs_f64(),
            run.history.hash(),
            run.plan.to_toml()
        );
        for (row, hits) in rows.iter().zip(&run.hits) {
            let of_class: Vec<_> = named(hits).into_iter().map(|(name, count)| format!("{name} {count}")).collect();
            println!("{}: {}", row.name, of_class.join(", "));
            for reading in run.readings.iter().filter(|reading| reading.row == row.id) {
                print!("{}", shown(reading, &run));
            }
        }
        for violation in &run.violations {
            println!("{violation}");
        }
        print!("{}", picture.text(0));
    }
    let is_broken = !run.violations.is_empty() || run.readings.iter().any(Reading::is_broken);
    Ok(if is_broken { Verdict::Violated } else { Verdict::Held })
}

fn names_of(workload: &dyn Workload) -> String {
    let variants = workload.variants();
    let name = workload.name();
    if variants.len() == 1 {
        return name.to_owned();
    }
    variants.iter().map(|variant| format!("{name}/{variant}")).collect::<Vec<_>>().join(", ")
}

fn named(hits: &table::Hits) -> Vec<(String, u64)> {
    hits.iter().map(|((window, facet), count)| (format!("{} ({})", facet.name(), window.name()), *count)).collect()
}

fn shown(reading: &Reading, run: &table::CellRun) -> String {
    let mark = if reading.is_broken() { "✗" } else { "✓" };
    let Reading { measure, count, bound, evidence, .. } = reading;
    let mut text = format!("  {mark} {measure}: {count}, bound {bound}: {evidence}\n");
    if reading.is_broken() {
        for event in reading.events.iter().filter_map(|index| run.history.events.get(*index)) {
            let line = serde_json::to_string(&event.what).unwrap_or_default();
            let _ =
                writeln!(text, "    {:>12.3} s  {:<10}  {line}", event.at_us as f64 / 1e6, event.host.to_string());
        }
    }
    text
}
