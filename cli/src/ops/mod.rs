//! The operator's commands: each asks a real database through the store's own verbs, and prints what it was told.
//! Knows no SQL and no rule of a job.
//!
//! Exit codes: 0 done, 1 the answer is no (nothing was found, refused, or over the bound that was asked for), 2 the
//! command could not be carried out.

mod act;
pub(crate) mod args;
mod database;
mod hold;
mod json;
mod list;
mod one;
mod schedule_args;
mod schedules;
mod schema;
mod serve;
mod status;
mod text;

use self::{args::OpsCommand, database::Database};

/// What a command that was carried out has to say: how to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// Done.
    Yes,
    /// Carried out, and the answer is no.
    No,
}

/// Runs one command.
///
/// # Errors
/// A message for people, with the mend.
pub(crate) fn run(command: OpsCommand) -> Result<Answer, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no asynchronous runtime: {error}"))?;
    runtime.block_on(async {
        match command {
            OpsCommand::Status(args) => status::run(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Jobs(args) => list::jobs(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Executions(args) => {
                let database = Database::open(&args.at).await?;
                match args.id {
                    Some(id) => one::show(&database, id, args.at.json).await,
                    None => list::executions(&database, &args).await,
                }
            }
            OpsCommand::Queue(args) => list::queue(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Locks(args) => list::locks(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Missed(args) => list::missed(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Retry(args) => act::retry(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Cancel(args) => act::cancel(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Pause(args) => hold::pause(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Resume(args) => hold::resume(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Trigger(args) => hold::trigger(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Pauses(args) => hold::pauses(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Schedules(command) => schedules::run(command).await,
            OpsCommand::Prune(args) => act::prune(&Database::open(&args.at).await?, &args).await,
            OpsCommand::Migrate(args) => schema::migrate(&args).await,
            OpsCommand::Serve(args) => serve::run(&args).await,
        }
    })
}
