//! What the command line may say.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use tourbillon_sim::Lane;
use tourbillon_tests::engines::EngineKind;

use crate::ops::args::OpsCommand;

/// What the help ends with.
const EXAMPLES: &str = "\
Examples:
  tourbillon status --database postgres://app@db/app
  tourbillon jobs --database sqlite://jobs.db
  tourbillon executions --job digest --state dead
  tourbillon retry --job digest --state dead --as ada
  tourbillon sim run scenarios/planned-executions.toml

TOURBILLON_DATABASE_URL saves writing --database. Exit codes: 0 done, 1 the answer is no, 2 it could not be done.";

/// A high-availability scheduler and job queue: looks after its databases, and simulates it.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Ops(OpsCommand),
    /// Run the scheduler as several replicas in a simulated world with faults.
    #[command(subcommand)]
    Sim(SimCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// Run many seeds of a scenario and say whether every guarantee held.
    Run(RunArgs),
    /// Run one seed again and show what happened in it.
    Replay(ReplayArgs),
    /// Make the case of a failing seed smaller, and write it as a regression file.
    Shrink(ShrinkArgs),
    /// Run each seed twice, once here and once in another process, and compare the histories byte by byte.
    Twice(TwiceArgs),
    /// Compute the HA truth table: every workload under every class of faults.
    Table(TableArgs),
    /// Measure how far clocks, pauses and delays may go before the first guarantee breaks.
    Envelope(EnvelopeArgs),
    /// Run a short scenario once for every request in it and every fault that a request can meet.
    Exhaust(ExhaustArgs),
    /// Measure how long fail-overs take, how fast a backlog drains, and what a week of the operator comes to.
    Figures(FiguresArgs),
    /// Let planted bugs loose, one at a time, and say whether the right property is seen broken.
    Zoo(ZooArgs),
    /// Say which branches of the driver and of the checkers some seed has reached, and which none has.
    Coverage(CoverageArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// Scenario file, or a regression file.
    pub(crate) scenario: PathBuf,
    /// First seed. Default: the file's own, else 0.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// What answers inside the database host.
    #[arg(long, value_enum, default_value_t = Engine::Sqlite)]
    pub(crate) engine: Engine,
    /// What carries hosts and messages. Default: the file's own, else turmoil with `--tick`, else event.
    #[arg(long, value_enum)]
    lane: Option<LaneName>,
    /// Tick of the turmoil lane, for example 20ms. Default: the file's own, else drawn per seed, 1 ms to 100 ms.
    #[arg(long, value_parser = duration)]
    tick: Option<Duration>,
}

impl Common {
    /// The lane asked for, if any.
    pub(crate) fn lane(&self) -> Result<Option<Lane>, String> {
        match (self.lane, self.tick) {
            (Some(LaneName::Event), Some(_)) => Err("--tick: the event lane has no ticks".to_owned()),
            (Some(LaneName::Event), None) => Ok(Some(Lane::Event)),
            (Some(LaneName::Turmoil), tick) => Ok(Some(Lane::Turmoil { tick })),
            (None, Some(tick)) => Ok(Some(Lane::Turmoil { tick: Some(tick) })),
            (None, None) => Ok(None),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LaneName {
    /// All hosts on one runtime that jumps from event to event: for breadth.
    Event,
    /// Every host a turmoil host, bytes over its TCP, fixed ticks: for closeness to the wire.
    Turmoil,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How many seeds: S, S+1, … S+N−1. Default: 1 for a file with a seed of its own, else 50.
    #[arg(long)]
    pub(crate) seeds: Option<u64>,
    /// Only every n-th seed, for spreading a sweep over machines: `k/n`, k from 1.
    #[arg(long, value_parser = shard, default_value = "1/1")]
    pub(crate) shard: (u64, u64),
    /// Simulations at once. Default: one per core.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Print one JSON object on standard output instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the timeline of each failing seed into this folder, one page of HTML each.
    #[arg(long, default_value = "target/timelines")]
    pub(crate) html: PathBuf,
    /// Exit with 1 when the process ever took more memory than this, in MiB: what a seed takes, it gives back.
    #[arg(long)]
    pub(crate) max_rss_mib: Option<u64>,
    /// Do not shrink the plans of failing seeds.
    #[arg(long)]
    pub(crate) no_shrink: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Replay a run of the truth table under this class of faults, for example crash; SCENARIO is then a workload
    /// and its variant, as reports print it.
    #[arg(long)]
    pub(crate) fault: Option<String>,
    /// Write the history here as JSON lines; `-` is standard output.
    #[arg(long)]
    pub(crate) history: Option<PathBuf>,
    /// Write the timeline here: one page of HTML that needs nothing else.
    #[arg(long)]
    pub(crate) html: Option<PathBuf>,
    /// Print one JSON object on standard output instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShrinkArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Runs at most.
    #[arg(long, default_value_t = 500)]
    pub(crate) runs: u32,
    /// Real time at most, for example 90s or 10m.
    #[arg(long, value_parser = span, default_value = "5m")]
    pub(crate) wall: Duration,
    /// Write the regression file here, usually below scenarios/regressions. Default: standard output.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TableArgs {
    /// Only this workload. Default: all.
    #[arg(long)]
    pub(crate) workload: Option<String>,
    /// First seed.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Seeds per column and variant. Default: those of the committed tables.
    #[arg(long)]
    pub(crate) seeds: Option<u64>,
    /// What answers inside the database host; the tables do not depend on it. Default: sqlite, and memory for a
    /// workload that asks nothing of SQL.
    #[arg(long, value_enum)]
    pub(crate) engine: Option<Engine>,
    /// Simulations at once. Default: one per core.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Write each table here, as Markdown, as one page of HTML, and as JSON.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Exit with 1 when the tables in `--out`, or in scenarios/tables, are not these.
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    pub(crate) check: bool,
    /// Print an array of cells on standard output instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TwiceArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How many seeds.
    #[arg(long, default_value_t = 5)]
    pub(crate) seeds: u64,
    /// Print one JSON object on standard output instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ZooArgs {
    /// Only these, by id, such as A1. Default: all.
    #[arg(long, value_delimiter = ',')]
    pub(crate) mutant: Vec<String>,
    /// Only a few, that are caught soon: for every change.
    #[arg(long, conflicts_with = "mutant")]
    pub(crate) subset: bool,
    /// Only those of which the matrix in `--out` says nothing yet.
    #[arg(long, requires = "out", conflicts_with_all = ["mutant", "subset"])]
    pub(crate) missing: bool,
    /// Starts, a thousand seeds apart. Default: 20.
    #[arg(long)]
    pub(crate) starts: Option<u64>,
    /// Seeds of one start at most. Default: 500.
    #[arg(long)]
    pub(crate) seeds: Option<u64>,
    /// Disturb the order of things in replicas, as a scenario with `orders` does.
    #[arg(long)]
    pub(crate) orders: bool,
    /// Starts whose fault plans are shrunk. Default: 3.
    #[arg(long)]
    pub(crate) shrinks: Option<u64>,
    /// Starts that are hunted on the turmoil lane too, from the seed on that caught the bug. Default: 0.
    #[arg(long)]
    pub(crate) turmoils: Option<u64>,
    /// Simulations at once. Default: one per core.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// What answers inside the database host.
    #[arg(long, value_enum, default_value_t = Engine::Memory)]
    pub(crate) engine: Engine,
    /// Write matrix.md and matrix.json here, for example scenarios/zoo. What they say of other bugs stays.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Print an array on standard output instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CoverageArgs {
    /// Scenario or regression files. Default: all below scenarios, every fault at every request of exhaustive.toml, and
    /// every planted bug.
    pub(crate) scenarios: Vec<PathBuf>,
    /// Seeds of each scenario; files that begin with `seldom` get twenty times as many.
    #[arg(long, default_value_t = 6)]
    pub(crate) seeds: u64,
    /// Simulations at once. Default: one per core.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// What answers inside the database host.
    #[arg(long, value_enum, default_value_t = Engine::Memory)]
    pub(crate) engine: Engine,
    /// Write coverage.md and coverage.json here, for example scenarios/tables.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object on standard output instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FiguresArgs {
    /// Seeds of the fail-over figures; a twentieth of them, one at least, for the backlog.
    #[arg(long, default_value_t = 100)]
    pub(crate) seeds: u64,
    /// Items of the backlog.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) items: u64,
    /// Days of the operator; 0 leaves it out.
    #[arg(long, default_value_t = 7)]
    pub(crate) days: u64,
    /// What answers inside the database host. The figures do not depend on it.
    #[arg(long, value_enum, default_value_t = Engine::Memory)]
    pub(crate) engine: Engine,
    /// Print one JSON object on standard output instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EnvelopeArgs {
    /// Seeds per value. Default: those of the committed envelope.
    #[arg(long, default_value_t = 12)]
    pub(crate) seeds: u64,
    /// Measure planted bugs that trust a clock instead, by id, such as D2, or `all`: each must flip where theory says. The
    /// result goes below the table in `--out`.
    #[arg(long, value_delimiter = ',', conflicts_with = "check")]
    pub(crate) mutant: Vec<String>,
    /// What answers inside the database host; the envelope does not depend on it.
    #[arg(long, value_enum, default_value_t = Engine::Memory)]
    pub(crate) engine: Engine,
    /// Write the table as Markdown and the chart as SVG here.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Exit with 1 when the files in `--out`, or in scenarios/tables, are not these.
    #[arg(long, conflicts_with = "seeds")]
    pub(crate) check: bool,
    /// Print one JSON object on standard output instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExhaustArgs {
    /// Scenario file of the run in which each request is struck.
    #[arg(default_value = "scenarios/exhaustive.toml")]
    pub(crate) scenario: PathBuf,
    /// Its seed. Default: the file's own, else 0.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Two faults a run: every pair of faults at every pair of requests.
    #[arg(long)]
    pub(crate) pairs: bool,
    /// The second fault strikes one of so many requests after the first; implies `--pairs`. Default: any later one.
    #[arg(long, value_name = "REQUESTS")]
    pub(crate) within: Option<u32>,
    /// Only every n-th run, for spreading the work over machines: `k/n`, k from 1.
    #[arg(long, value_parser = shard, default_value = "1/1")]
    pub(crate) shard: (u64, u64),
    /// What answers inside the database host.
    #[arg(long, value_enum, default_value_t = Engine::Memory)]
    pub(crate) engine: Engine,
    /// Simulations at once. Default: one per core.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Print one JSON object on standard output instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Engine {
    /// The in-memory store: the executable specification.
    Memory,
    /// The SQLite store, in memory.
    Sqlite,
    /// The Postgres store on a real server: `TOURBILLON_PG_URL`, or a throw-away one started from the installed
    /// binaries.
    Postgres,
}

impl Engine {
    pub(crate) const fn kind(self) -> EngineKind {
        match self {
            Self::Memory => EngineKind::Memory,
            Self::Sqlite => EngineKind::Sqlite,
            Self::Postgres => EngineKind::Postgres,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a tick is written like 20ms".to_owned();
    let tick = tourbillon_sim::scenario::parse_duration(text).ok_or_else(wrong)?;
    let allowed = Duration::from_millis(1)..=Duration::from_secs(1);
    if allowed.contains(&tick) { Ok(tick) } else { Err("a tick is between 1ms and 1s".to_owned()) }
}

fn span(text: &str) -> Result<Duration, String> {
    tourbillon_sim::scenario::parse_duration(text).ok_or_else(|| "a duration is written like 90s or 10m".to_owned())
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let wrong = || "a shard is written k/n with 1 ≤ k ≤ n, for example 2/8".to_owned();
    let (k, n) = text.split_once('/').ok_or_else(wrong)?;
    let (k, n): (u64, u64) = (k.parse().map_err(|_| wrong())?, n.parse().map_err(|_| wrong())?);
    if (1..=n).contains(&k) { Ok((k, n)) } else { Err(wrong()) }
}
