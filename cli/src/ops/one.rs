//! One execution: its lives, errors and audit events.

use serde_json::json;
use tourbillon::{
    model::ExecutionId,
    store::{ListAudit, ListExecutions, MAX_BATCH},
};

use super::{
    Answer,
    database::Database,
    json,
    list::rows,
    text::{Table, age, line, progress},
};

/// Most characters of an input, result or error that are shown to people; JSON has all.
const LONGEST: usize = 400;

/// `executions ID`.
pub(super) async fn show(database: &Database, id: ExecutionId, as_json: bool) -> Result<Answer, String> {
    let list = ListExecutions { id: Some(id), limit: MAX_BATCH, ..ListExecutions::default() };
    let page = database.ask(list).await?;
    let audit = ListAudit { execution: Some(id), limit: MAX_BATCH, ..ListAudit::default() };
    let events = database.ask(audit).await?.events;
    if page.executions.is_empty() && events.is_empty() {
        return Err(format!("there is no execution {id}: it never was, or it was pruned"));
    }
    if as_json {
        json::print(&json!({"now": page.now, "executions": page.executions, "audit": events}))?;
        return Ok(Answer::Yes);
    }
    print!("{}", rows(&page.executions, page.now).print("it was removed; what is left are its audit events"));
    if let Some(row) = page.executions.last() {
        println!("\nmade {}, due {}, generation {}", row.created_at, row.due_at, row.generation);
        let payload = row.payload.as_ref().map(|payload| ("payload", payload.as_str()));
        let result = row.result.as_ref().map(|result| ("result", result.as_str()));
        let error = row.error.as_ref().map(|failure| ("error", failure.text.as_str()));
        for (what, text) in [payload, result, error].into_iter().flatten() {
            println!("{what}: {}", line(text, LONGEST));
        }
        if let Some(trace) = &row.trace {
            println!("enqueued in trace {}, span {}", trace.trace_id(), trace.span_id());
        }
        if let Some(said) = &row.progress {
            println!("said {}: {}", age(said.at, page.now), progress(&said.progress));
        }
        if let Some(lease) = &row.lease {
            println!("last held by {} under fence {}, claimed {}", lease.runner, row.fence, lease.claimed_at);
        }
    }
    println!();
    let mut table = Table::new(&["AT", "ACTION", "BY", "ATTEMPT", "GENERATION"]);
    for event in &events {
        table.row([
            event.at.to_string(),
            event.action.to_string(),
            event.actor.name.clone(),
            event.details.attempts.to_string(),
            event.key.generation.to_string(),
        ]);
    }
    print!("{}", table.print("its job keeps no audit events, or they were pruned"));
    Ok(Answer::Yes)
}
