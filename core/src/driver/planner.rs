//! Asks the pure planner what is due and has the store make it. Every replica plans; the cursor's compare-and-set
//! lets one of them win each step.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{Shared, stop::Stage};
use crate::{
    job::CheckedJob,
    model::{ExecutionId, JobName, Scope, Timestamp},
    store::{
        JobCursors, MAX_BATCH, Plan, PlanEntry, PlanOutcome, ReadCursors, Register, RegisterOutcome, StoreError,
    },
};

/// Replicas that wake for the same slot are spread over this, so that they do not all ask in the same instant.
const SPREAD: Duration = Duration::from_millis(100);

/// Planning steps in one go at most; then the loop looks at the stop signal and the cursors again.
const MAX_ROUNDS: u32 = 100;

pub(super) async fn run(shared: Arc<Shared>) {
    if !register(&shared).await {
        return;
    }
    let mut superseded = BTreeSet::new();
    loop {
        let wait = match round(&shared, &mut superseded).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(%error, "planning failed; trying again");
                shared.settings.poll_interval
            }
        };
        let wait = wait.min(shared.settings.plan_interval) + shared.runtime.random_below(SPREAD);
        if shared.stop.pause(&shared.runtime, wait, Stage::Drain).await {
            return;
        }
    }
}

/// Makes the jobs known. Says whether to go on: false when a shutdown came first.
async fn register(shared: &Shared) -> bool {
    let jobs: Vec<_> = shared.jobs.values().map(|job| job.registration().clone()).collect();
    loop {
        match shared.caller.once(Register { runner: shared.incarnation, jobs: jobs.clone() }).await {
            Ok(answered) => {
                for (job, outcome) in jobs.iter().zip(answered.reply.outcomes) {
                    if outcome != RegisterOutcome::Unchanged {
                        tracing::info!(job = %job.job, ?outcome, "registered");
                    }
                }
                return true;
            }
            Err(error) => tracing::warn!(%error, "cannot register jobs; trying again"),
        }
        if shared.stop.pause(&shared.runtime, shared.settings.poll_interval, Stage::Drain).await {
            return false;
        }
    }
}

/// Plans everything that is due and returns how long nothing will be.
async fn round(shared: &Shared, superseded: &mut BTreeSet<JobName>) -> Result<Duration, StoreError> {
    for _ in 0..MAX_ROUNDS {
        let jobs: Vec<_> = shared.jobs.keys().filter(|job| !superseded.contains(*job)).cloned().collect();
        if jobs.is_empty() || shared.stop.has_reached(Stage::Drain) {
            break;
        }
        let read = shared.caller.once(ReadCursors { jobs }).await?.reply;
        let mut next_due = read.now + shared.settings.plan_interval;
        let mut entries = Vec::new();
        for cursors in &read.jobs {
            let Some(job) = shared.job(&cursors.job) else { continue };
            if cursors.spec_hash.as_ref() != Some(&job.registration().spec_hash) {
                retire(superseded, &cursors.job);
                continue;
            }
            let Some(scopes) = scopes(shared, job).await else { continue };
            for scope in scopes {
                next_due = next_due.min(steps(shared, job, cursors, scope, read.now, &mut entries));
            }
        }
        if entries.is_empty() {
            return Ok(next_due.since(read.now));
        }
        plan(shared, superseded, entries).await?;
    }
    Ok(Duration::ZERO)
}

fn retire(superseded: &mut BTreeSet<JobName>, job: &JobName) {
    tracing::warn!(%job, "another deployment registered other rules for this job; this process stops planning it");
    superseded.insert(job.clone());
}

/// The job's scopes, each once; `None` when its provider failed, which concerns no other job (P-13).
async fn scopes(shared: &Shared, job: &CheckedJob) -> Option<BTreeSet<Scope>> {
    match shared.runtime.timeout(shared.settings.scope_timeout, job.scopes.scopes()).await {
        Some(Ok(scopes)) => Some(scopes.into_iter().collect()),
        Some(Err(error)) => {
            tracing::warn!(job = %job.name, %error, "the scope provider failed; this job is not planned now");
            None
        }
        None => {
            let limit = shared.settings.scope_timeout;
            tracing::warn!(job = %job.name, ?limit, "the scope provider took too long; this job is not planned now");
            None
        }
    }
}

/// Adds the next step of one scope, if one is due, and returns when the one after is.
fn steps(
    shared: &Shared,
    job: &CheckedJob,
    cursors: &JobCursors,
    scope: Scope,
    now: Timestamp,
    entries: &mut Vec<PlanEntry>,
) -> Timestamp {
    let at = cursors.cursors.iter().find(|cursor| cursor.scope == scope).map(|cursor| cursor.at);
    let Some(step) = job.planner.step(at, cursors.edited_at, now) else {
        return job.planner.next_due(at, now).unwrap_or(now + shared.settings.plan_interval);
    };
    let execution = |slot: &Timestamp| job.execution(ExecutionId(shared.runtime.uuid()), &scope, *slot);
    let slots = step.slots.iter().map(execution).collect();
    entries.push(PlanEntry {
        job: job.name.clone(),
        spec_hash: job.registration().spec_hash.clone(),
        expect: at,
        to: step.to,
        delay_ms: u64::try_from(job.planner.delay.as_millis()).unwrap_or(u64::MAX),
        slots,
        skipped: step.skipped,
        scope,
    });
    now
}

/// Sends the entries, in batches that the store accepts.
async fn plan(
    shared: &Shared,
    superseded: &mut BTreeSet<JobName>,
    entries: Vec<PlanEntry>,
) -> Result<(), StoreError> {
    for batch in batches(entries) {
        let jobs: Vec<_> = batch.iter().map(|entry| entry.job.clone()).collect();
        let give_up_at = shared.runtime.monotonic() + shared.settings.call_timeout;
        let planned = shared.caller.until(Plan { entries: batch }, give_up_at).await?.reply;
        for (job, outcome) in jobs.iter().zip(planned.outcomes) {
            match outcome {
                PlanOutcome::Made(ids) if !ids.is_empty() => {
                    tracing::debug!(%job, slots = ids.len(), "planned");
                    shared.crew.wake.notify_one();
                }
                PlanOutcome::SpecSuperseded => retire(superseded, job),
                // Another replica was faster, or the clock stepped back: the next round sees the new cursor.
                PlanOutcome::Made(_) | PlanOutcome::CursorMoved(_) | PlanOutcome::NotDue => {}
            }
        }
    }
    Ok(())
}

fn batches(entries: Vec<PlanEntry>) -> Vec<Vec<PlanEntry>> {
    let mut batches: Vec<Vec<PlanEntry>> = Vec::new();
    let mut slots = 0;
    for entry in entries {
        let fits = slots + entry.slots.len() <= MAX_BATCH as usize;
        match batches.last_mut() {
            Some(batch) if fits && batch.len() < MAX_BATCH as usize => {
                slots += entry.slots.len();
                batch.push(entry);
            }
            _ => {
                slots = entry.slots.len();
                batches.push(vec![entry]);
            }
        }
    }
    batches
}
