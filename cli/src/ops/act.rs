//! What changes executions: retry, cancel, prune.

use std::time::Duration;

use serde_json::json;
use tourbillon::{
    model::{ExecutionId, State, transition::Cancelled},
    store::{Cancel, ListRecent, MAX_BATCH, Prune, Pruned, Requeue, RequeueOutcome},
};

use super::{
    Answer,
    args::{ActArgs, PruneArgs, states},
    database::Database,
    json,
    text::span,
};

/// Shortest age that may be pruned: the idempotency window of a replica with default settings.
const SHORTEST: Duration = Duration::from_secs(3_600);

/// Batches of one prune at most: what is deleted must not keep its operator for ever.
const MAX_ROUNDS: usize = 10_000;

/// `retry`.
pub(super) async fn retry(database: &Database, args: &ActArgs) -> Result<Answer, String> {
    let ids = chosen(database, args, State::is_terminal, "retry takes executions that have ended").await?;
    let mut outcomes = Vec::new();
    for batch in ids.chunks(MAX_BATCH as usize) {
        let requeue = Requeue { ids: batch.to_vec(), actor: args.actor.clone() };
        outcomes.extend(database.ask(requeue).await?.outcomes);
    }
    let told = ids.iter().zip(&outcomes).map(|(id, outcome)| match outcome {
        RequeueOutcome::Requeued(generation) => (*id, true, format!("lives again, generation {generation}")),
        RequeueOutcome::StillLive => (*id, false, "has not ended: nothing to retry".to_owned()),
        RequeueOutcome::Conflict => (*id, false, "a live item has its unique key: that one runs instead".to_owned()),
        RequeueOutcome::NotFound => {
            (*id, false, "there is no such execution: it was pruned, or never was".to_owned())
        }
    });
    tell(args, "retried", &told.collect::<Vec<_>>(), &outcomes)
}

/// `cancel`.
pub(super) async fn cancel(database: &Database, args: &ActArgs) -> Result<Answer, String> {
    let is_live = |state: State| !state.is_terminal();
    let ids = chosen(database, args, is_live, "cancel takes executions that have not ended").await?;
    let mut outcomes = Vec::new();
    for batch in ids.chunks(MAX_BATCH as usize) {
        let cancel = Cancel { ids: batch.to_vec(), actor: args.actor.clone() };
        outcomes.extend(database.ask(cancel).await?.outcomes);
    }
    let told = ids.iter().zip(&outcomes).map(|(id, outcome)| match outcome {
        Cancelled::Now => (*id, true, "cancelled".to_owned()),
        Cancelled::Requested => (*id, true, "its handler is asked to stop, with its next heartbeat".to_owned()),
        Cancelled::AlreadyTerminal => (*id, false, "has ended already".to_owned()),
        Cancelled::NotFound => (*id, false, "there is no such execution: it was pruned, or never was".to_owned()),
    });
    tell(args, "cancelled", &told.collect::<Vec<_>>(), &outcomes)
}

/// The ids that were given, or those of a job in the states that were given.
async fn chosen(
    database: &Database,
    args: &ActArgs,
    fits: impl Fn(State) -> bool,
    rule: &str,
) -> Result<Vec<ExecutionId>, String> {
    let mut ids = args.ids.clone();
    if let Some(job) = &args.job {
        let states = states(&args.states);
        if let Some(wrong) = states.iter().find(|state| !fits(**state)) {
            return Err(format!("--state {wrong}: {rule}"));
        }
        let list = ListRecent { job: Some(job.clone()), states, ..ListRecent::new(args.limit) };
        ids = database.ask(list).await?.executions.iter().map(|row| row.id).collect();
        if ids.is_empty() {
            database.require_known(job).await?;
        }
    }
    // A former life is the same execution.
    let mut seen = std::collections::BTreeSet::new();
    ids.retain(|id| seen.insert(*id));
    Ok(ids)
}

fn tell(
    args: &ActArgs,
    verb: &str,
    told: &[(ExecutionId, bool, String)],
    outcomes: &[impl serde::Serialize],
) -> Result<Answer, String> {
    let done = told.iter().filter(|(_, is_done, _)| *is_done).count();
    if args.at.json {
        let outcomes: Vec<_> =
            told.iter().zip(outcomes).map(|((id, _, _), outcome)| json!({"id": id, "outcome": outcome})).collect();
        json::print(&json!({verb: done, "outcomes": outcomes}))?;
    } else {
        for (id, _, what) in told {
            println!("{id}  {what}");
        }
        println!("{verb} {done} of {}", told.len());
    }
    Ok(if done == told.len() && done > 0 { Answer::Yes } else { Answer::No })
}

/// `prune`.
pub(super) async fn prune(database: &Database, args: &PruneArgs) -> Result<Answer, String> {
    if args.older_than < SHORTEST {
        let (asked, least) = (span(args.older_than), span(SHORTEST));
        return Err(format!(
            "--older-than {asked}: at least {least}, so that repeated requests are still recognised"
        ));
    }
    let ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let age_ms = ms(args.older_than);
    let edits_ms = args.edits_older_than.map_or(u64::MAX, ms);
    let verb = Prune { history_ms: age_ms, receipts_ms: age_ms, edits_ms, limit: MAX_BATCH };
    let mut total = Pruned::default();
    let mut is_whole = false;
    for _ in 0..MAX_ROUNDS {
        let pruned = database.ask(verb).await?;
        total.executions += pruned.executions;
        total.skipped += pruned.skipped;
        total.audit += pruned.audit;
        total.receipts += pruned.receipts;
        total.turns += pruned.turns;
        total.edits += pruned.edits;
        total.pauses += pruned.pauses;
        is_whole = pruned.most() < u64::from(MAX_BATCH);
        if is_whole {
            break;
        }
    }
    if args.at.json {
        json::print(&json!({"pruned": total, "is_whole": is_whole}))?;
    } else {
        let Pruned { executions, skipped, audit, receipts, turns, edits, pauses } = total;
        println!(
            "deleted {executions} executions, {skipped} missed slots, {audit} audit events, {receipts} receipts, \
             turns of {turns} limit keys, {edits} edits of schedules, {pauses} lifted pauses"
        );
        if !is_whole {
            println!("there is more: run it again");
        }
    }
    Ok(if is_whole { Answer::Yes } else { Answer::No })
}
