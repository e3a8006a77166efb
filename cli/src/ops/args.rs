//! What the operator's commands take.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use tourbillon::model::{ExecutionId, JobName, OperatorName, Scope, State};

use super::schedule_args::SchedulesCommand;

#[derive(Debug, Subcommand)]
pub(crate) enum OpsCommand {
    /// Say in a few lines how a database fares; exit with 1 when a job is stale or something is late.
    Status(StatusArgs),
    /// List registered jobs with their last success; with a name, its scopes.
    Jobs(JobsArgs),
    /// List executions, those that changed last first; with an id, one of them with its audit events.
    Executions(ExecutionsArgs),
    /// List queues with what waits in them; with a name, its figures and items.
    Queue(QueueArgs),
    /// List locks and leaders: who holds them, under which epoch, until when.
    Locks(PageArgs),
    /// List slots that were not made, with the reason.
    Missed(MissedArgs),
    /// Give finished executions another life, due at once.
    Retry(ActArgs),
    /// Cancel waiting executions, and ask running ones to stop.
    Cancel(ActArgs),
    /// Stop a job, or one of its scopes, on all replicas until it is resumed. What runs goes on.
    Pause(HoldArgs),
    /// Let a paused job go on from now. The slots of the pause are not made up for.
    Resume(HoldArgs),
    /// Run a job once, now, beside its schedule; also while it is paused.
    Trigger(TriggerArgs),
    /// List pauses, newest first: who made them, who lifted them.
    Pauses(PausesArgs),
    /// Schedules that the database keeps: list them, set one, remove one.
    #[command(subcommand)]
    Schedules(SchedulesCommand),
    /// Delete finished executions, missed slots, audit events and receipts that are older than a bound.
    Prune(PruneArgs),
    /// Bring the schema up to date. Safe beside running replicas and other migrations.
    Migrate(MigrateArgs),
    /// Show a dashboard in the browser, with health and metrics for programs, until it is stopped. Read-only unless allowed.
    Serve(ServeArgs),
}

/// Which database, and how to print.
#[derive(Clone, Debug, Args)]
pub(crate) struct At {
    /// The database: `postgres://user@host:port/database` or `sqlite://path/to/file.db`.
    #[arg(long, short, value_name = "URL", env = "TOURBILLON_DATABASE_URL", hide_env_values = true)]
    pub(crate) database: Option<String>,
    /// The schema of a Postgres database. Default: tourbillon.
    #[arg(long, value_name = "NAME", env = "TOURBILLON_SCHEMA")]
    pub(crate) schema: Option<String>,
    /// Print JSON instead of tables: one object, instants in RFC 3339, durations in milliseconds.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) at: At,
    /// Late is what has been due for longer than this, for example 90s.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub(crate) max_lag: Duration,
    /// Stale is a job that had no success in so many slots in a row, each with its whole period.
    #[arg(long, value_name = "SLOTS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) stale_after: u32,
}

#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    /// List the scopes of this job.
    #[arg(value_parser = job)]
    pub(crate) job: Option<JobName>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

impl std::ops::Deref for JobsArgs {
    type Target = PageArgs;
    fn deref(&self) -> &PageArgs {
        &self.page
    }
}

/// A page of a listing in the order of names.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    #[command(flatten)]
    pub(crate) at: At,
    /// Most rows, 1 to 1000.
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Continue behind this row, as the page before named it.
    #[arg(long, value_name = "ROW")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExecutionsArgs {
    /// Show this execution: all its lives, its errors, and its audit events.
    pub(crate) id: Option<ExecutionId>,
    /// Only this job or queue.
    #[arg(long, short, value_parser = job)]
    pub(crate) job: Option<JobName>,
    /// Only this scope, written kind/id.
    #[arg(long, value_parser = scope)]
    pub(crate) scope: Option<Scope>,
    /// Only these states; may be given several times.
    #[arg(long = "state", short, value_enum)]
    pub(crate) states: Vec<StateName>,
    #[command(flatten)]
    page: RecentPageArgs,
}

impl std::ops::Deref for ExecutionsArgs {
    type Target = RecentPageArgs;
    fn deref(&self) -> &RecentPageArgs {
        &self.page
    }
}

/// A page of a listing in the order of change.
#[derive(Debug, Args)]
pub(crate) struct RecentPageArgs {
    #[command(flatten)]
    pub(crate) at: At,
    /// Most rows, 1 to 1000.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Continue behind this row, as the page before named it.
    #[arg(long, value_name = "ROW")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    /// Show this queue.
    #[arg(value_parser = job)]
    pub(crate) queue: Option<JobName>,
    /// Only items in these states; may be given several times.
    #[arg(long = "state", short, value_enum, requires = "queue")]
    pub(crate) states: Vec<StateName>,
    #[command(flatten)]
    pub(crate) at: At,
    /// Most items, 1 to 1000.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// How many items to pass over.
    #[arg(long, default_value_t = 0, requires = "queue")]
    pub(crate) offset: u32,
}

#[derive(Debug, Args)]
pub(crate) struct MissedArgs {
    /// Only this job.
    #[arg(long, short, value_parser = job)]
    pub(crate) job: Option<JobName>,
    #[command(flatten)]
    pub(crate) at: At,
    /// Most entries, 1 to 1000.
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// How many entries to pass over.
    #[arg(long, default_value_t = 0)]
    pub(crate) offset: u32,
}

/// Executions by id, or all of a job in some state.
#[derive(Debug, Args)]
pub(crate) struct ActArgs {
    /// The executions.
    #[arg(required_unless_present = "job", conflicts_with = "job")]
    pub(crate) ids: Vec<ExecutionId>,
    /// Instead of ids: all executions of this job or queue that `--state` names, those that changed last first.
    #[arg(long, short, value_parser = job, requires = "states")]
    pub(crate) job: Option<JobName>,
    /// The states that `--job` means; may be given several times.
    #[arg(long = "state", short, value_enum, requires = "job")]
    pub(crate) states: Vec<StateName>,
    /// Most executions that `--job` means, 1 to 1000.
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Your name in audit events. Default: operator.
    #[arg(long = "as", value_name = "NAME", value_parser = operator, env = "TOURBILLON_OPERATOR")]
    pub(crate) actor: Option<OperatorName>,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// The job.
    #[arg(value_parser = job)]
    pub(crate) job: JobName,
    /// Only this scope, written kind/id. Default: all of them, also those to come.
    #[arg(long, value_parser = scope)]
    pub(crate) scope: Option<Scope>,
    /// Your name, which is kept with the pause. Default: operator.
    #[arg(long = "as", value_name = "NAME", value_parser = operator, env = "TOURBILLON_OPERATOR")]
    pub(crate) actor: Option<OperatorName>,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct TriggerArgs {
    /// The job.
    #[arg(value_parser = job)]
    pub(crate) job: JobName,
    /// For this scope, written kind/id. Default: global/global.
    #[arg(long, value_parser = scope)]
    pub(crate) scope: Option<Scope>,
    /// The id of the execution. Give the same one to repeat a command of which you do not know whether it was carried
    /// out. Default: a new one.
    #[arg(long)]
    pub(crate) id: Option<ExecutionId>,
    /// Your name in audit events. Default: operator.
    #[arg(long = "as", value_name = "NAME", value_parser = operator, env = "TOURBILLON_OPERATOR")]
    pub(crate) actor: Option<OperatorName>,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct PausesArgs {
    /// Only of this job.
    #[arg(long, short, value_parser = job)]
    pub(crate) job: Option<JobName>,
    /// Lifted ones, too.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) at: At,
    /// Most entries, 1 to 1000.
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// How many entries to pass over.
    #[arg(long, default_value_t = 0)]
    pub(crate) offset: u32,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Delete what is older than this, for example 30d. At least 1h, so that repeated requests are still recognised.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) older_than: Duration,
    /// Also delete edits of schedules that were replaced, and pauses that were lifted, longer ago than this, for example 365d.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) edits_older_than: Option<Duration>,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen. Other machines reach what is not a loopback address, and nobody is asked for a password.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9480")]
    pub(crate) listen: SocketAddr,
    /// Answer requests for this host name, too; may be given several times. A loopback address answers to its own names only,
    /// so that no page in your browser can read along under another.
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
    /// Let whoever reaches it pause, resume, trigger, retry and cancel.
    #[arg(long)]
    pub(crate) allow_actions: bool,
    /// Your name in audit events. Default: dashboard.
    #[arg(long = "as", value_name = "NAME", value_parser = operator, env = "TOURBILLON_OPERATOR", requires = "allow_actions")]
    pub(crate) actor: Option<OperatorName>,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Change nothing; exit with 1 when the schema is not up to date.
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// A state, as it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum StateName {
    /// Waits for its due time, or for a replica with room.
    Scheduled,
    /// A replica holds it.
    Running,
    /// Failed, and waits for another attempt.
    Retryable,
    /// Ended well.
    Succeeded,
    /// Failed for good.
    Dead,
    /// Ended by an operator.
    Cancelled,
    /// Never started, with a recorded reason.
    Skipped,
}

impl StateName {
    pub(crate) const fn state(self) -> State {
        match self {
            Self::Scheduled => State::Scheduled,
            Self::Running => State::Running,
            Self::Retryable => State::Retryable,
            Self::Succeeded => State::Succeeded,
            Self::Dead => State::Dead,
            Self::Cancelled => State::Cancelled,
            Self::Skipped => State::Skipped,
        }
    }
}

pub(crate) fn states(names: &[StateName]) -> Vec<State> {
    names.iter().map(|name| name.state()).collect()
}

pub(super) fn job(text: &str) -> Result<JobName, String> {
    JobName::new(text).map_err(|error| error.to_string())
}

pub(super) fn operator(text: &str) -> Result<OperatorName, String> {
    OperatorName::new(text).map_err(|error| error.to_string())
}

pub(super) fn scope(text: &str) -> Result<Scope, String> {
    let (kind, id) = text.split_once('/').ok_or("a scope is written kind/id, for example tenant/acme")?;
    Scope::new(kind, id).map_err(|error| error.to_string())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    tourbillon_sim::scenario::parse_duration(text)
        .ok_or_else(|| "a duration is a number and a unit (d, h, m, s, ms), for example 90s or 1h30m".to_owned())
}
