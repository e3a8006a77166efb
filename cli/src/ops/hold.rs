//! What stops a job, lets it go on, or runs it once: pause, resume, trigger, and the list of pauses.

use serde_json::json;
use tourbillon::{
    model::{JobName, Scope},
    store::{
        ListPauses, ListScopes, PauseFilter, PauseJob, PauseOutcome, ResumeJob, ResumeOutcome, TriggerJob,
        TriggerOutcome,
    },
};

use super::{
    Answer,
    args::{HoldArgs, PausesArgs, TriggerArgs},
    database::Database,
    json,
    text::{Table, age, dash},
};

/// `pause`.
pub(super) async fn pause(database: &Database, args: &HoldArgs) -> Result<Answer, String> {
    require_scope(database, &args.job, args.scope.as_ref()).await?;
    let (job, scope, actor) = (args.job.clone(), args.scope.clone(), args.actor.clone());
    let reply = database.ask(PauseJob { job, scope, actor }).await?;
    if reply.outcome == PauseOutcome::UnknownJob {
        return Err(unregistered(database, &args.job).await);
    }
    if args.at.json {
        json::print(&reply)?;
    } else {
        let what = subject(&args.job, args.scope.as_ref());
        match reply.outcome {
            PauseOutcome::Already(since) => println!("{what} is paused already, since {}", age(since, reply.now)),
            _ => println!("{what} is paused; `tourbillon resume` lets it go on"),
        }
    }
    Ok(Answer::Yes)
}

/// `resume`.
pub(super) async fn resume(database: &Database, args: &HoldArgs) -> Result<Answer, String> {
    let (job, scope, actor) = (args.job.clone(), args.scope.clone(), args.actor.clone());
    let reply = database.ask(ResumeJob { job, scope, actor }).await?;
    if reply.outcome == ResumeOutcome::UnknownJob {
        return Err(unregistered(database, &args.job).await);
    }
    if args.at.json {
        json::print(&reply)?;
    } else {
        let what = subject(&args.job, args.scope.as_ref());
        match reply.outcome {
            ResumeOutcome::Resumed(since) => {
                println!(
                    "{what} goes on; it was paused {}, and the slots since then are left out",
                    age(since, reply.now)
                );
            }
            _ => println!("{what} was not paused"),
        }
        let left = ListPauses { job: Some(args.job.clone()), which: PauseFilter::InForce, offset: 0, limit: 1_000 };
        for pause in database.ask(left).await?.pauses {
            println!("still paused: {}", subject(&pause.job, pause.scope.as_ref()));
        }
    }
    Ok(if reply.outcome == ResumeOutcome::NotPaused { Answer::No } else { Answer::Yes })
}

/// `trigger`.
pub(super) async fn trigger(database: &Database, args: &TriggerArgs) -> Result<Answer, String> {
    let Some(entry) = database.jobs().await?.into_iter().find(|entry| entry.job == args.job) else {
        return Err(unregistered(database, &args.job).await);
    };
    let scope = args.scope.clone().unwrap_or_else(Scope::global);
    require_scope(database, &args.job, Some(&scope)).await?;
    let Some(rules) = entry.rules else {
        return Err(format!("`{}` was registered without its rules: start a replica of this release once", args.job));
    };
    let id = args.id.unwrap_or_else(|| database.new_id());
    let policy = rules.policy(&args.job, &scope);
    let (job, priority, actor) = (args.job.clone(), rules.priority, args.actor.clone());
    // A command is in no trace.
    let wish = TriggerJob { job, scope, id, priority, payload: None, policy, actor, trace: None };
    let reply = database.ask(wish).await?;
    if args.at.json {
        json::print(&json!({"now": reply.now, "id": id, "outcome": reply.outcome}))?;
    } else {
        match reply.outcome {
            TriggerOutcome::Duplicate => println!("{id}  was made before: nothing was done"),
            _ => println!("{id}  is due now; `tourbillon executions {id}` shows what becomes of it"),
        }
    }
    Ok(if reply.outcome == TriggerOutcome::Triggered { Answer::Yes } else { Answer::No })
}

/// `pauses`.
pub(super) async fn pauses(database: &Database, args: &PausesArgs) -> Result<Answer, String> {
    let which = if args.all { PauseFilter::All } else { PauseFilter::InForce };
    let list = ListPauses { job: args.job.clone(), which, offset: args.offset, limit: args.limit };
    let page = database.ask(list).await?;
    if let (true, Some(job)) = (page.pauses.is_empty(), &args.job) {
        database.require_known(job).await?;
    }
    if args.at.json {
        json::print(&page)?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(&["JOB", "SCOPE", "SINCE", "BY", "LIFTED", "BY"]);
    for pause in &page.pauses {
        table.row([
            pause.job.to_string(),
            pause.scope.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string),
            pause.paused_at.to_string(),
            pause.paused_by.clone(),
            pause.resumed_at.map_or_else(dash, |at| at.to_string()),
            pause.resumed_by.clone().unwrap_or_else(dash),
        ]);
    }
    print!("{}", table.print("nothing is paused"));
    Ok(Answer::Yes)
}

fn subject(job: &JobName, scope: Option<&Scope>) -> String {
    scope.map_or_else(|| format!("`{job}`"), |scope| format!("`{job}` for {scope}"))
}

/// A scope that was never planned is more often a slip than a wish.
async fn require_scope(database: &Database, job: &JobName, scope: Option<&Scope>) -> Result<(), String> {
    let Some(scope) = scope else { return Ok(()) };
    let mut after = None;
    loop {
        let page = database.ask(ListScopes { job: job.clone(), after, limit: 1_000 }).await?.scopes;
        if page.iter().any(|entry| entry.cursor.scope == *scope) {
            return Ok(());
        }
        if page.len() < 1_000 {
            let known = format!("`tourbillon jobs {job}` lists those that were");
            return Err(match database.require_known(job).await {
                Ok(()) => format!("`{job}` was never planned for {scope}: {known}; choose one with --scope"),
                Err(unknown) => unknown,
            });
        }
        after = page.last().map(|entry| entry.cursor.scope.clone());
    }
}

async fn unregistered(database: &Database, job: &JobName) -> String {
    match database.require_known(job).await {
        Ok(()) => format!("`{job}` is a queue: only jobs with a schedule are paused, resumed and triggered"),
        Err(message) => message,
    }
}
