//! `schedules`: what a database keeps of them, and edits. Knows no cursor.

use serde_json::json;
use tourbillon::{
    driver::JobOperator,
    model::{JobName, Scope},
    store::{
        Expected, PutOutcome, PutSchedule, RemoveOutcome, RemoveSchedule, ScheduleData, ScheduleFilter,
        StoredSchedule,
    },
};

use super::{
    Answer,
    database::{Database, refused},
    json,
    schedule_args::{EditArgs, ListArgs, SchedulesCommand, SetArgs},
    text::{Table, dash, line},
};

/// Most characters of a note in a table.
const SHOWN_NOTE: usize = 40;

/// `schedules`.
pub(super) async fn run(command: SchedulesCommand) -> Result<Answer, String> {
    match command {
        SchedulesCommand::List(args) => list(&Database::open(&args.at).await?, &args).await,
        SchedulesCommand::Set(args) => set(&Database::open(&args.edit.at).await?, &args).await,
        SchedulesCommand::Remove(args) => remove(&Database::open(&args.at).await?, &args).await,
    }
}

async fn list(database: &Database, args: &ListArgs) -> Result<Answer, String> {
    let which = if args.all { ScheduleFilter::All } else { ScheduleFilter::InForce };
    let operator = JobOperator::new(database.store(), database.runtime());
    let job = args.job.as_ref().map(JobName::as_str);
    let schedules = operator.schedules(job, which).await.map_err(|error| refused(&error))?;
    if let (true, Some(job)) = (schedules.is_empty(), &args.job) {
        database.require_known(job).await?;
    }
    if args.at.json {
        json::print(&json!({"schedules": schedules}))?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(&["JOB", "SCOPE", "REVISION", "SCHEDULE", "SINCE", "BY", "UNTIL", "NOTE"]);
    for stored in &schedules {
        table.row([
            stored.job.to_string(),
            stored.scope.to_string(),
            stored.revision.to_string(),
            words(stored),
            stored.edited_at.to_string(),
            stored.edited_by.clone(),
            stored.replaced_at.map_or_else(dash, |at| at.to_string()),
            stored.note.as_deref().map_or_else(dash, |note| line(note, SHOWN_NOTE)),
        ]);
    }
    print!("{}", table.print("the database keeps no schedule"));
    Ok(Answer::Yes)
}

fn words(stored: &StoredSchedule) -> String {
    match &stored.schedule {
        None => "removed".to_owned(),
        Some(data) => data.schedule().map_or_else(|_| line(data.json.as_str(), 60), |schedule| schedule.to_string()),
    }
}

async fn set(database: &Database, args: &SetArgs) -> Result<Answer, String> {
    let schedule = args.when.schedule()?;
    let edit = &args.edit;
    let put = PutSchedule {
        job: edit.job.clone(),
        scope: scope(edit),
        schedule: ScheduleData::of(&schedule).map_err(|error| error.to_string())?,
        expected: edit.expect.unwrap_or(Expected::Anything),
        note: edit.note.clone(),
        actor: edit.actor.clone(),
    };
    let reply = database.ask(put).await?;
    match reply.outcome {
        PutOutcome::UnknownJob => return Err(unregistered(database, &edit.job).await),
        PutOutcome::NotStored => {
            return Err(format!(
                "`{0}` has its schedule from its program: only jobs with `stored_schedules` take one from the \
                 database (`tourbillon jobs` shows which)",
                edit.job
            ));
        }
        _ => {}
    }
    if edit.at.json {
        json::print(&reply)?;
    } else {
        let what = subject(edit);
        match reply.outcome {
            PutOutcome::Put(revision) => {
                let next = schedule.next_after(reply.now).map_or_else(dash, |slot| slot.to_string());
                println!("{what} runs {schedule} from now on (revision {revision}); the next slot is {next}");
            }
            PutOutcome::Unchanged(revision) => println!("{what} runs {schedule} already (revision {revision})"),
            PutOutcome::Conflict(found) => println!("{}", conflict(edit, found.map(|found| found.to_string()))),
            PutOutcome::UnknownJob | PutOutcome::NotStored => {}
        }
    }
    Ok(if let PutOutcome::Conflict(_) = reply.outcome { Answer::No } else { Answer::Yes })
}

async fn remove(database: &Database, edit: &EditArgs) -> Result<Answer, String> {
    let removal = RemoveSchedule {
        job: edit.job.clone(),
        scope: scope(edit),
        expected: edit.expect.unwrap_or(Expected::Anything),
        note: edit.note.clone(),
        actor: edit.actor.clone(),
    };
    let reply = database.ask(removal).await?;
    if reply.outcome == RemoveOutcome::UnknownJob {
        return Err(unregistered(database, &edit.job).await);
    }
    if edit.at.json {
        json::print(&reply)?;
    } else {
        let what = subject(edit);
        match reply.outcome {
            RemoveOutcome::Removed(revision) => {
                println!("{what} makes no more slots (revision {revision}); what waits or runs goes on");
            }
            RemoveOutcome::Conflict(found) => println!("{}", conflict(edit, Some(found.to_string()))),
            _ => println!("{what} has no schedule in the database: nothing was removed"),
        }
    }
    Ok(if let RemoveOutcome::Removed(_) = reply.outcome { Answer::Yes } else { Answer::No })
}

fn scope(edit: &EditArgs) -> Scope {
    edit.scope.clone().unwrap_or_else(Scope::global)
}

fn subject(edit: &EditArgs) -> String {
    format!("`{}` for {}", edit.job, scope(edit))
}

fn conflict(edit: &EditArgs, found: Option<String>) -> String {
    let found = found.map_or_else(|| "no schedule is".to_owned(), |found| format!("revision {found} is"));
    format!(
        "nothing was changed: {found} in force for {}; `tourbillon schedules list --job {} --all` says who did that",
        subject(edit),
        edit.job
    )
}

async fn unregistered(database: &Database, job: &JobName) -> String {
    match database.require_known(job).await {
        Ok(()) => format!("`{job}` is a queue: only jobs have schedules"),
        Err(message) => message,
    }
}
