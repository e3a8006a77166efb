//! Keeps the house: ends what nobody can claim any more, deletes what is old.

use std::{sync::Arc, time::Duration};

use super::{Shared, runner, stop::Stage};
use crate::{
    job::AttemptReport,
    model::{ExecutionId, State},
    store::{ListExecutions, MAX_BATCH, Prune, Rescue, StoreError},
};

/// Rows handled by one rescue or prune call.
const BATCH: u32 = 500;

/// Calls in one go at most; the rest waits for the next interval.
const MAX_ROUNDS: u32 = 20;

pub(super) async fn rescue(shared: Arc<Shared>) {
    let interval = shared.settings.rescue_interval;
    // The first wait is jittered against a thundering herd.
    let mut wait = shared.runtime.random_below(interval);
    while !shared.stop.pause(&shared.runtime, wait, Stage::Drain).await {
        if let Err(error) = rescue_all(&shared).await {
            sometimes!("a rescue fails");
            tracing::warn!(%error, "rescue failed; trying again at the next interval");
        }
        wait = interval;
    }
}

pub(super) async fn prune(shared: Arc<Shared>) {
    let interval = shared.settings.prune_interval;
    let mut wait = shared.runtime.random_below(interval);
    while !shared.stop.pause(&shared.runtime, wait, Stage::Drain).await {
        if let Err(error) = prune_all(&shared).await {
            sometimes!("a pruning fails");
            tracing::warn!(%error, "pruning failed; trying again at the next interval");
        }
        wait = interval;
    }
}

async fn rescue_all(shared: &Shared) -> Result<(), StoreError> {
    for _ in 0..MAX_ROUNDS {
        let rescued = shared.caller.once(Rescue { limit: BATCH }).await?.reply;
        for (execution, state) in &rescued.ended {
            sometimes!("a rescue ends a row");
            tracing::warn!(%execution, %state, "its lease expired and it may not run again");
        }
        if !rescued.clamped.is_empty() {
            sometimes!("a rescue shortens a wait that a step of the database clock made too long");
            let rows = rescued.clamped.len();
            tracing::warn!(
                rows,
                "the database clock stepped back; waits were shortened to what they were meant to last"
            );
        }
        tell(shared, &rescued.ended).await?;
        if rescued.ended.len() < BATCH as usize {
            break;
        }
    }
    Ok(())
}

/// Tells a queue's callbacks of the items that were rescued: whoever ran them is gone and cannot. At most once: a rescuer
/// that dies here tells nobody.
async fn tell(shared: &Shared, ended: &[(ExecutionId, State)]) -> Result<(), StoreError> {
    if shared.queues.is_empty() {
        return Ok(());
    }
    for (id, _) in ended.iter().filter(|(_, state)| *state == State::Dead) {
        let generations = ListExecutions { id: Some(*id), limit: MAX_BATCH, ..ListExecutions::default() };
        let Some(row) = shared.caller.once(generations).await?.reply.executions.pop() else { continue };
        let Some(crew) = shared.queues.crew(&row.job) else { continue };
        sometimes!("a rescuer tells of an item whose worker is gone");
        let took = Duration::from_millis(row.duration_ms.unwrap_or(0));
        let (queue, attempt, state, error) = (row.job, row.attempt, row.state, row.error);
        runner::report(shared, crew, &AttemptReport { queue, id: *id, attempt, state, error, took });
    }
    Ok(())
}

async fn prune_all(shared: &Shared) -> Result<(), StoreError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let verb = Prune {
        history_ms: ms(shared.settings.keep_history),
        receipts_ms: ms(shared.settings.idempotency_window),
        edits_ms: ms(shared.settings.keep_edits),
        limit: BATCH,
    };
    for _ in 0..MAX_ROUNDS {
        let pruned = shared.caller.once(verb).await?.reply;
        sometimes!("something old is pruned", pruned.most() > 0);
        if pruned.most() < u64::from(BATCH) {
            break;
        }
    }
    Ok(())
}
