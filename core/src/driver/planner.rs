//! Asks the pure planner what is due and has the store make it. Every replica plans; the cursor's compare-and-set
//! lets one of them win each step.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use super::{Shared, runner::guard, stop::Stage};
use crate::{
    job::{CheckedJob, Target},
    model::{ExecutionId, JobName, Scope, Timestamp},
    store::{
        JobCursors, MAX_BATCH, Plan, PlanEntry, PlanOutcome, ReadCursors, Register, RegisterOutcome, SpecHash,
        StoreError, StoredSchedule,
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
        while shared.leases.len() > 0 && planted!(B8) {
            shared.runtime.sleep(SPREAD).await;
        }
        let wait = match round(&shared, &mut superseded).await {
            Ok(wait) => wait,
            Err(error) => {
                sometimes!("a planning round fails");
                tracing::warn!(%error, "planning failed; trying again");
                shared.settings.poll_interval
            }
        };
        let wait = wait.min(shared.settings.plan_interval) + shared.runtime.random_below(SPREAD);
        let wait = if planted!(B14) { sleep_by_wall(&shared, wait).await } else { wait };
        if shared.stop.pause(&shared.runtime, wait, Stage::Drain).await {
            return;
        }
    }
}

/// Planted bugs only. Returns what is left to wait.
async fn sleep_by_wall(shared: &Shared, wait: Duration) -> Duration {
    let wake_at = shared.runtime.wall() + wait;
    while shared.runtime.wall() < wake_at && !shared.stop.has_reached(Stage::Drain) {
        shared.runtime.sleep(SPREAD).await;
    }
    Duration::ZERO
}

/// Makes the jobs known. Says whether to go on: false when a shutdown came first.
async fn register(shared: &Shared) -> bool {
    let jobs: Vec<_> = shared.jobs.values().map(|job| job.registration().clone()).collect();
    loop {
        match shared.caller.once(Register { runner: shared.incarnation, jobs: jobs.clone() }).await {
            Ok(answered) => {
                for (job, outcome) in jobs.iter().zip(answered.reply.outcomes) {
                    if outcome != RegisterOutcome::Unchanged {
                        sometimes!("an edited schedule is registered", outcome == RegisterOutcome::ScheduleChanged);
                        tracing::info!(job = %job.job, ?outcome, "registered");
                    }
                }
                return true;
            }
            Err(error) => {
                sometimes!("a registration fails");
                tracing::warn!(%error, "cannot register jobs; trying again");
            }
        }
        if shared.stop.pause(&shared.runtime, shared.settings.poll_interval, Stage::Drain).await {
            sometimes!("a shutdown comes before the jobs are registered");
            return false;
        }
    }
}

/// Plans everything that is due and returns how long nothing will be.
async fn round(shared: &Shared, superseded: &mut BTreeSet<JobName>) -> Result<Duration, StoreError> {
    // Each scope is edited once a round: replicas whose providers disagree must not keep editing back and forth.
    let mut edited = BTreeSet::new();
    for _ in 0..MAX_ROUNDS {
        let jobs: Vec<_> = shared.jobs.keys().filter(|job| !superseded.contains(*job)).cloned().collect();
        if jobs.is_empty() {
            sometimes!("a replica has nothing left to plan");
            return Ok(shared.settings.plan_interval);
        }
        if shared.stop.has_reached(Stage::Drain) {
            sometimes!("a drain begins in a planning round");
            break;
        }
        let read = shared.caller.once(ReadCursors { jobs }).await?.reply;
        // A fail-over took the registration back. Nobody else's is in its place, so nobody plans until it is there again.
        let unknown = read.jobs.iter().filter(|cursors| cursors.spec_hash.is_none());
        let jobs: Vec<_> =
            unknown.filter_map(|cursors| Some(shared.job(&cursors.job)?.registration().clone())).collect();
        if !jobs.is_empty() {
            sometimes!("a registration that a fail-over took back is made again");
            tracing::warn!(jobs = jobs.len(), "the database lost the registration of jobs; registering them again");
            shared.caller.once(Register { runner: shared.incarnation, jobs }).await?;
            continue;
        }
        let mut next_due = read.now + shared.settings.plan_interval;
        let mut entries = Vec::new();
        for cursors in &read.jobs {
            let Some(job) = shared.job(&cursors.job) else { continue };
            if cursors.spec_hash.as_ref() != Some(&job.registration().spec_hash) && !planted!(C7) {
                retire(superseded, &cursors.job);
                continue;
            }
            let Some(targets) = targets(shared, job, &cursors.schedules).await else { continue };
            let edits = edits(job, cursors, &targets, read.now);
            sometimes!("the schedule of one scope comes, changes or goes", !edits.is_empty());
            entries.extend(edits.into_iter().filter(|edit| edited.insert((edit.job.clone(), edit.scope.clone()))));
            for (scope, target) in &*targets {
                if cursors.pauses.iter().any(|pause| pause.holds(&job.name, scope)) {
                    sometimes!("a pause keeps a scope from being planned");
                    continue;
                }
                let at = JobPlan { shared, job, cursors, now: read.now };
                // A schedule that panics, a user's hook for example, concerns no other scope.
                match guard(|| at.step(scope, target)) {
                    Ok(Next::Entry(entry)) => entries.push(entry),
                    Ok(Next::DueAt(due_at)) => next_due = next_due.min(due_at),
                    Err(panic) => {
                        sometimes!("a schedule panics");
                        tracing::error!(job = %job.name, %scope, panic, "a schedule panicked; this scope is not planned now");
                    }
                }
            }
        }
        if entries.is_empty() {
            return Ok(next_due.since(read.now));
        }
        plan(shared, entries).await?;
    }
    Ok(Duration::ZERO)
}

fn retire(superseded: &mut BTreeSet<JobName>, job: &JobName) {
    sometimes!("a deployment with older rules stops planning a job");
    tracing::warn!(%job, "another deployment registered other rules for this job; this process stops planning it");
    superseded.insert(job.clone());
}

/// What the job runs for; `None` when its provider failed, which concerns no other job (P-13).
async fn targets<'j>(
    shared: &Shared,
    job: &'j CheckedJob,
    stored: &[StoredSchedule],
) -> Option<Cow<'j, BTreeMap<Scope, Target>>> {
    let mut asked = pin!(async { job.targets(stored).await });
    let guarded = poll_fn(|context| match guard(|| asked.as_mut().poll(context)) {
        Ok(polled) => polled.map(|answer| answer.map_err(|error| error.to_string())),
        Err(panic) => Poll::Ready(Err(format!("it panicked: {panic}"))),
    });
    match shared.runtime.timeout(shared.settings.scope_timeout, guarded).await {
        Some(Ok(targets)) => Some(targets),
        Some(Err(error)) => {
            sometimes!("a scope provider fails");
            tracing::warn!(job = %job.name, error, "the scope provider failed; this job is not planned now");
            None
        }
        None => {
            sometimes!("a scope provider takes too long");
            let limit = shared.settings.scope_timeout;
            tracing::warn!(job = %job.name, ?limit, "the scope provider took too long; this job is not planned now");
            None
        }
    }
}

/// One entry for each scope whose schedule came, changed or went since its cursor was last moved.
fn edits(
    job: &CheckedJob,
    cursors: &JobCursors,
    targets: &BTreeMap<Scope, Target>,
    now: Timestamp,
) -> Vec<PlanEntry> {
    let cursor = |scope: &Scope| cursors.cursors.iter().find(|cursor| cursor.scope == *scope);
    let edit = |scope: &Scope, schedule_hash: Option<&SpecHash>| PlanEntry {
        schedule_hash: schedule_hash.cloned(),
        ..entry(job, scope, cursor(scope).map(|cursor| cursor.at), now)
    };
    let known = |scope: &Scope| cursor(scope).and_then(|cursor| cursor.schedule_hash.as_ref());
    let changed = targets.iter().filter(|(scope, target)| known(scope) != target.schedule_hash.as_ref());
    let mut edits: Vec<_> = changed.map(|(scope, target)| edit(scope, target.schedule_hash.as_ref())).collect();
    if job.has_own_schedules() {
        let gone = cursors.cursors.iter().filter(|cursor| cursor.schedule_hash.is_some());
        edits.extend(
            gone.filter(|cursor| !targets.contains_key(&cursor.scope)).map(|cursor| edit(&cursor.scope, None)),
        );
    }
    edits
}

/// One job as it was read.
struct JobPlan<'a> {
    shared: &'a Shared,
    job: &'a CheckedJob,
    cursors: &'a JobCursors,
    now: Timestamp,
}

/// What comes next in one scope.
enum Next {
    Entry(PlanEntry),
    DueAt(Timestamp),
}

impl JobPlan<'_> {
    /// The next step of one scope, if one is due, or when one is.
    fn step(&self, scope: &Scope, target: &Target) -> Next {
        let later = self.now + self.shared.settings.plan_interval;
        let cursor = self.cursors.cursors.iter().find(|cursor| cursor.scope == *scope);
        if cursor.and_then(|cursor| cursor.schedule_hash.as_ref()) != target.schedule_hash.as_ref() {
            // Being edited, above.
            return Next::DueAt(later);
        }
        let at = cursor.map(|cursor| cursor.at);
        // An edit in a withdrawn future counts only when there is no other.
        let edits = [self.cursors.edited_at, cursor.and_then(|cursor| cursor.edited_at)];
        let edited_at = edits.into_iter().flatten().filter(|edit| *edit <= self.now).max().or(self.cursors.edited_at);
        let Some(step) = target.planner.step(at, edited_at, self.now) else {
            return Next::DueAt(target.planner.next_due(at, self.now).unwrap_or(later));
        };
        let id = || ExecutionId(self.shared.runtime.uuid());
        let slots = step.slots.iter().map(|slot| self.job.execution(&target.planner, id(), scope, *slot)).collect();
        Next::Entry(PlanEntry {
            schedule_hash: target.schedule_hash.clone(),
            slots,
            skipped: step.skipped,
            ..entry(self.job, scope, at, step.to)
        })
    }
}

/// A move of one cursor, without slots.
fn entry(job: &CheckedJob, scope: &Scope, expect: Option<Timestamp>, to: Timestamp) -> PlanEntry {
    PlanEntry {
        job: job.name.clone(),
        scope: scope.clone(),
        spec_hash: job.registration().spec_hash.clone(),
        schedule_hash: None,
        expect,
        to,
        delay_ms: job.delay_ms(),
        slots: Vec::new(),
        skipped: Vec::new(),
    }
}

/// Sends the entries, in batches that the store accepts.
async fn plan(shared: &Shared, entries: Vec<PlanEntry>) -> Result<(), StoreError> {
    for batch in batches(entries) {
        let scopes: Vec<_> = batch.iter().map(|entry| (entry.job.clone(), entry.scope.clone())).collect();
        let give_up_at = shared.runtime.monotonic() + shared.settings.call_timeout;
        let planned = shared.caller.until(Plan { entries: batch }, give_up_at).await?.reply;
        for ((job, scope), outcome) in scopes.iter().zip(planned.outcomes) {
            sometimes!("another replica moved a cursor first", matches!(outcome, PlanOutcome::CursorMoved(_)));
            sometimes!("a plan is not due by the clock that decides", outcome == PlanOutcome::NotDue);
            sometimes!("a plan is refused because a pause came first", outcome == PlanOutcome::Paused);
            sometimes!("a plan is refused to superseded rules", outcome == PlanOutcome::SpecSuperseded);
            match outcome {
                PlanOutcome::Made(ids) if !ids.is_empty() => {
                    tracing::debug!(%job, slots = ids.len(), "planned");
                    shared.crew.wake.notify_one();
                }
                PlanOutcome::ScheduleChanged => tracing::info!(%job, %scope, "another schedule from now on"),
                // Another replica was faster, the clock stepped back, an operator paused it, or the registration is
                // another's, or lost: the next round sees which.
                PlanOutcome::Made(_)
                | PlanOutcome::CursorMoved(_)
                | PlanOutcome::NotDue
                | PlanOutcome::Paused
                | PlanOutcome::SpecSuperseded => {}
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
