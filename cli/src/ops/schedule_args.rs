//! What `schedules` takes.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use tourbillon::{
    model::{JobName, OperatorName, Scope, Timestamp},
    plan::{Cadence, Cron, Fold, Gap, Schedule},
    store::{Expected, Revision},
};

use super::args::{At, duration, job, operator, scope};

#[derive(Debug, Subcommand)]
pub(crate) enum SchedulesCommand {
    /// List schedules in force, ordered by job and scope; with --all every edit that is still known.
    List(ListArgs),
    /// Give a scope of a job a schedule, in place of the one that it has. Nothing from before now is made.
    Set(SetArgs),
    /// Take a scope's schedule away. What waits or runs goes on.
    Remove(EditArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this job.
    #[arg(long, short, value_parser = job)]
    pub(crate) job: Option<JobName>,
    /// Every edit, removals included: who made it, when and why.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    pub(crate) edit: EditArgs,
    #[command(flatten)]
    pub(crate) when: WhenArgs,
}

/// A schedule: one of a grid and a pattern.
#[derive(Debug, Args)]
pub(crate) struct WhenArgs {
    /// At every multiple of this since the anchor, for example 15m.
    #[arg(long, value_name = "DURATION", value_parser = duration, required_unless_present = "cron", conflicts_with = "cron")]
    every: Option<Duration>,
    /// An instant on the grid of --every, for example 2026-01-01T06:00:00Z. Default: Monday, midnight UTC.
    #[arg(long, value_name = "INSTANT", requires = "every")]
    anchor: Option<Timestamp>,
    /// At the wall times of a pattern: minute, hour, day of the month, month, day of the week.
    #[arg(long, value_name = "PATTERN", requires = "zone")]
    cron: Option<String>,
    /// The time zone of the wall times, for example Europe/Berlin, or UTC.
    #[arg(long, value_name = "NAME", requires = "cron")]
    zone: Option<String>,
    /// What becomes of wall times that a change of the clocks leaves out. Default: by the pattern.
    #[arg(long, requires = "cron")]
    gap: Option<GapName>,
    /// What becomes of wall times that it repeats. Default: by the pattern.
    #[arg(long, requires = "cron")]
    fold: Option<FoldName>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GapName {
    /// They have no slot.
    Skip,
    /// They have one together, when the gap ends.
    RunAtEnd,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FoldName {
    /// The first time.
    First,
    /// The last time.
    Last,
    /// Both times.
    Both,
}

impl WhenArgs {
    /// # Errors
    /// What is wrong with it, and the mend.
    pub(super) fn schedule(&self) -> Result<Schedule, String> {
        if let (Some(pattern), Some(zone)) = (&self.cron, &self.zone) {
            let mut cron = Cron::new(pattern, zone).map_err(|error| error.to_string())?;
            cron = match self.gap {
                None => cron,
                Some(GapName::Skip) => cron.gap(Gap::Skip),
                Some(GapName::RunAtEnd) => cron.gap(Gap::RunAtEnd),
            };
            return Ok(match self.fold {
                None => cron,
                Some(FoldName::First) => cron.fold(Fold::First),
                Some(FoldName::Last) => cron.fold(Fold::Last),
                Some(FoldName::Both) => cron.fold(Fold::Both),
            }
            .into());
        }
        let cadence = self.every.and_then(Cadence::new);
        let cadence = cadence.ok_or("--every is below a microsecond: give it a longer duration")?;
        Ok(self.anchor.map_or(cadence, |anchor| cadence.anchored_at(anchor)).into())
    }
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// The job, which its program must run by schedules of the database.
    #[arg(value_parser = job)]
    pub(crate) job: JobName,
    /// The scope, written kind/id. Default: global/global.
    #[arg(long, value_parser = scope)]
    pub(crate) scope: Option<Scope>,
    /// Only if this revision is in force, or `none`: so that what somebody else changed meanwhile stays.
    #[arg(long, value_name = "REVISION", value_parser = expected)]
    pub(crate) expect: Option<Expected>,
    /// Why; kept with the edit.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Your name, which is kept with the edit. Default: operator.
    #[arg(long = "as", value_name = "NAME", value_parser = operator, env = "TOURBILLON_OPERATOR")]
    pub(crate) actor: Option<OperatorName>,
    #[command(flatten)]
    pub(crate) at: At,
}

fn expected(text: &str) -> Result<Expected, String> {
    if text == "none" {
        return Ok(Expected::Nothing);
    }
    let number = text.parse().ok().filter(|number| *number > 0);
    let number = number.ok_or("a revision is a number from 1, as `tourbillon schedules list` shows it, or `none`")?;
    Ok(Expected::Revision(Revision(number)))
}
