//! The executable specification: what each verb does, in terms of [`Rows`].
//!
//! Runs inside one serialisable transaction of whichever database implements `Rows`. It decides only what spans
//! rows; what may happen to a single row is decided in [`crate::model::transition`].

mod claim;
mod item;
mod job;
mod lock;
mod pause;
mod queue;
mod rate;
mod schedule;
mod schema;

pub use schema::{next_step, require_complete};

use super::{
    AuditPage, CancelOutcomes, CancelRequest, ClockRead, Cursor, CursorsRead, DueRead, ErrorKind, ExecutionPage,
    ItemPage, JobCursors, JobRecord, LockPage, LockReleased, LockRenewed, PausePage, Plan, PlanEntry, PlanOutcome,
    Planned, Receipt, RecentPage, Register, RegisterOutcome, Registered, Registration, Renewal, Renewed, Reply,
    Request, RequeueOutcome, Requeued, Rescue, Rescued, Rows, SchedulePage, Settled, Settlement, SkippedEntry,
    SkippedPage, SpecHash, Started, StoreError, Verb, check, keeps_receipt,
};
use crate::model::{
    self, Execution, ExecutionId, JobName, LeaseRef, NewExecution, OperatorName, Outcome, Retention, Scope,
    SkipReason, SkippedSlots, State, Timestamp, Token,
    audit::{self, By},
    micros,
    transition::{self, Cancelled, Refusal},
};
use std::time::Duration;

/// Carries out `request` at `now`, or returns the first reply to it. The caller has made sure, once for a connection,
/// that the schema [allows it](require_complete), unless the request is a `migrate`.
///
/// # Errors
/// `Invalid` for a malformed request, else what `rows` returns; the caller rolls back.
pub fn apply(rows: &mut impl Rows, now: Timestamp, request: &Request) -> Result<Reply, StoreError> {
    check(&request.verb)?;
    if keeps_receipt(&request.verb)
        && let Some(first) = rows.receipt(request.id)?
        && !is_forgotten(&request.verb)
    {
        return match first {
            Receipt::Reply(reply) => Ok(reply),
            Receipt::Claimed(kept) => claim::again(rows, Token(request.id.0), kept).map(Reply::Claimed),
        };
    }
    let reply = match &request.verb {
        Verb::Migrate(verb) => Reply::Migrated(schema::migrate(rows, now, *verb)?),
        Verb::ReadClock(_) => Reply::ClockRead(ClockRead { now }),
        Verb::Register(verb) => Reply::Registered(register(rows, now, verb)?),
        Verb::ReadCursors(verb) => {
            let jobs = verb.jobs.iter().map(|job| {
                let record = rows.job(job)?;
                Ok(JobCursors {
                    job: job.clone(),
                    spec_hash: record.as_ref().map(|record| record.spec_hash.clone()),
                    edited_at: record.and_then(|record| record.edited_at),
                    pauses: rows.pauses(job)?,
                    schedules: rows.schedules(job)?,
                    cursors: rows.cursors(job)?,
                })
            });
            Reply::CursorsRead(CursorsRead { now, jobs: jobs.collect::<Result<_, StoreError>>()? })
        }
        Verb::Plan(verb) => Reply::Planned(plan(rows, now, verb)?),
        Verb::Enqueue(verb) => Reply::Enqueued(queue::enqueue(rows, now, verb)?),
        Verb::Claim(verb) => Reply::Claimed(claim::claim(rows, now, Token(request.id.0), verb)?),
        Verb::Start(verb) => {
            let outcomes = each(&verb.leases, |lease| {
                change_held(rows, now, lease, KEPT, By::Holder, |row| {
                    transition::start(row, lease, now).map(|()| row.attempt)
                })
            })?;
            Reply::Started(Started { now, outcomes })
        }
        Verb::Heartbeat(verb) => {
            let outcomes = each(&verb.leases, |lease| {
                change_held(rows, now, lease, KEPT, By::Holder, |row| {
                    transition::heartbeat(row, lease, verb.progress_of(lease.id), now).map(|()| renewal(row))
                })
            })?;
            Reply::Renewed(Renewed { now, outcomes })
        }
        Verb::Settle(verb) => {
            let outcomes = each(&verb.settlements, |one| settle(rows, now, one))?;
            Reply::Settled(Settled { now, outcomes })
        }
        Verb::Rescue(verb) => Reply::Rescued(rescue(rows, now, verb)?),
        Verb::Cancel(verb) => {
            let outcomes = each(&verb.ids, |id| cancel(rows, now, *id, verb.actor.as_ref()))?;
            Reply::CancelOutcomes(CancelOutcomes { outcomes })
        }
        Verb::Requeue(verb) => {
            let outcomes = each(&verb.ids, |id| requeue(rows, now, *id, verb.actor.as_ref()))?;
            Reply::Requeued(Requeued { outcomes })
        }
        Verb::ReadDue(verb) => Reply::DueRead(DueRead { now, jobs: rows.due_jobs(&verb.jobs, now)? }),
        Verb::ListExecutions(filter) => Reply::ExecutionPage(ExecutionPage { now, executions: rows.list(filter)? }),
        Verb::ListSkipped(filter) => Reply::SkippedPage(SkippedPage { entries: rows.list_skipped(filter)? }),
        Verb::ListAudit(filter) => Reply::AuditPage(AuditPage { events: rows.list_audit(filter)? }),
        Verb::ReadStats(_) => Reply::Stats(rate::stats(rows, now)?),
        Verb::Prune(verb) => Reply::Pruned(rows.prune(verb, now)?),
        Verb::AcquireLock(verb) => Reply::LockTried(lock::acquire(rows, now, Token(request.id.0), verb)?),
        Verb::RenewLock(verb) => {
            let outcome = lock::change(rows, &verb.lock, |row| model::lock::renew(row, &verb.lock, now))?;
            Reply::LockRenewed(LockRenewed { now, outcome })
        }
        Verb::ReleaseLock(verb) => {
            let outcome = lock::change(rows, &verb.lock, |row| model::lock::release(row, &verb.lock, now))?;
            Reply::LockReleased(LockReleased { now, outcome })
        }
        Verb::ListJobs(verb) => Reply::JobPage(job::list(rows, now, verb)?),
        Verb::ListScopes(verb) => Reply::ScopePage(job::scopes(rows, now, verb)?),
        Verb::ListRecent(verb) => Reply::RecentPage(RecentPage { now, executions: rows.recent(verb)? }),
        Verb::PauseJob(verb) => Reply::JobPaused(pause::pause(rows, now, request.id, verb)?),
        Verb::ResumeJob(verb) => Reply::JobResumed(pause::resume(rows, now, verb)?),
        Verb::TriggerJob(verb) => Reply::JobTriggered(pause::trigger(rows, now, verb)?),
        Verb::PutSchedule(verb) => Reply::SchedulePut(schedule::put(rows, now, verb)?),
        Verb::RemoveSchedule(verb) => Reply::ScheduleRemoved(schedule::remove(rows, now, verb)?),
        Verb::ListSchedules(verb) => Reply::SchedulePage(SchedulePage { now, schedules: rows.list_schedules(verb)? }),
        Verb::ListPauses(verb) => Reply::PausePage(PausePage { now, pauses: rows.list_pauses(verb)? }),
        Verb::ListItems(verb) => Reply::ItemPage(ItemPage { now, items: rows.list_items(verb, now)? }),
        Verb::ReadQueueStats(verb) => Reply::QueueStats(rate::queue_stats(rows, now, &verb.queue)?.into()),
        Verb::UpdateItem(verb) => Reply::ItemUpdated(item::update(rows, now, verb)?),
        Verb::DeleteItems(verb) => Reply::ItemsDeleted(item::delete(rows, now, verb)?),
        Verb::CleanItems(verb) => Reply::ItemsCleaned(item::clean(rows, now, verb)?),
        Verb::ListLocks(verb) => {
            Reply::LockPage(LockPage { now, locks: rows.locks(verb.after.as_ref(), verb.limit)? })
        }
    };
    if keeps_receipt(&request.verb) && !changed_nothing(&reply) {
        rows.put_receipt(request.id, now, &Receipt::of(&reply))?;
    }
    Ok(reply)
}

/// Planted bugs only: verbs whose repetition is carried out anew.
fn is_forgotten(verb: &Verb) -> bool {
    match verb {
        Verb::Settle(_) => planted!(C2),
        Verb::Enqueue(_) => planted!(C3),
        Verb::AcquireLock(_) => planted!(B32),
        _ => false,
    }
}

/// A claim that changed nothing, or a lock that was not free, leaves no receipt: idle polling must not write.
fn changed_nothing(reply: &Reply) -> bool {
    match reply {
        Reply::Claimed(claimed) => claimed.executions.is_empty() && claimed.skipped.is_empty(),
        Reply::LockTried(tried) => tried.outcome.is_err(),
        _ => false,
    }
}

fn each<T, R>(items: &[T], mut one: impl FnMut(&T) -> Result<R, StoreError>) -> Result<Vec<R>, StoreError> {
    items.iter().map(&mut one).collect()
}

/// Of a row whose change does not end it.
const KEPT: Retention = Retention::Everything;

fn settle(rows: &mut impl Rows, now: Timestamp, one: &Settlement) -> Result<Result<State, Refusal>, StoreError> {
    let Settlement { lease, outcome, retain } = one;
    let is_forgotten = matches!(outcome, Outcome::Succeeded { .. }) && !retain.keeps(State::Succeeded);
    if is_forgotten && (rows.forget_success(lease)? || (planted!(D19) && forget_anybodys(rows, lease)?)) {
        return Ok(Ok(State::Succeeded));
    }
    change_held(rows, now, lease, *retain, By::Settler(outcome), |row| {
        transition::settle(row, lease, outcome, now).map(|()| row.state)
    })
}

/// Planted bugs only: removes a row whoever holds it.
fn forget_anybodys(rows: &mut impl Rows, lease: &LeaseRef) -> Result<bool, StoreError> {
    let row = rows.live(lease.id)?;
    row.map_or(Ok(false), |row| rows.forget(&row).map(|()| true))
}

/// Loads the row that `lease` names, lets `change` try, and stores what came of it, unless nothing of that is kept.
fn change_held<T>(
    rows: &mut impl Rows,
    now: Timestamp,
    lease: &LeaseRef,
    retain: Retention,
    by: By<'_>,
    change: impl FnOnce(&mut Execution) -> Result<T, Refusal>,
) -> Result<Result<T, Refusal>, StoreError> {
    let Some(was) = rows.live(lease.id)? else {
        if matches!(by, By::Settler(_)) && planted!(A15) {
            return resurrect(rows, lease, change);
        }
        return Ok(Err(Refusal::LeaseLost));
    };
    let mut row = was.clone();
    let outcome = change(&mut row);
    if outcome.is_ok() && retain.forgets(&row) {
        rows.forget(&was)?;
        tell(rows, now, Some(&was), &row, by)?;
    } else if outcome.is_ok() {
        store(rows, now, &was, &row, by)?;
    }
    Ok(outcome)
}

/// Planted bugs only: changes a row that has ended.
fn resurrect<T>(
    rows: &mut impl Rows,
    lease: &LeaseRef,
    change: impl FnOnce(&mut Execution) -> Result<T, Refusal>,
) -> Result<Result<T, Refusal>, StoreError> {
    let Some(mut row) = rows.finished(lease.id)? else { return Ok(Err(Refusal::LeaseLost)) };
    (row.fence, row.state) = (lease.fence, crate::model::State::Running);
    if let Some(held) = &mut row.lease {
        held.token = lease.token;
    }
    match change(&mut row) {
        Ok(told) if !row.state.is_terminal() => rows.insert(&row).map(|()| Ok(told)),
        other => Ok(other),
    }
}

/// Writes a changed row, with the audit event of the change (G9). Nothing else writes one.
fn store(
    rows: &mut impl Rows,
    now: Timestamp,
    was: &Execution,
    row: &Execution,
    by: By<'_>,
) -> Result<(), StoreError> {
    if row.state.is_terminal() {
        rows.finish(row)?;
    } else {
        rows.update(was, row)?;
    }
    tell(rows, now, Some(was), row, by)
}

/// Writes the first row of a generation, with its audit event; `was` is the generation before.
fn make(
    rows: &mut impl Rows,
    now: Timestamp,
    was: Option<&Execution>,
    row: &Execution,
    by: By<'_>,
) -> Result<(), StoreError> {
    rows.insert(row)?;
    tell(rows, now, was, row, by)
}

fn tell(
    rows: &mut impl Rows,
    now: Timestamp,
    was: Option<&Execution>,
    row: &Execution,
    by: By<'_>,
) -> Result<(), StoreError> {
    let is_untold = matches!(by, By::Rescuer) && planted!(D4);
    audit::event(was, row, by, now).filter(|_| !is_untold).map_or(Ok(()), |event| rows.add_audit(&event))
}

fn renewal(row: &Execution) -> Renewal {
    Renewal {
        expires_at: row.lease.as_ref().map_or(Timestamp::EPOCH, |lease| lease.expires_at),
        cancel: match row.cancel_requested_at {
            None => CancelRequest::None,
            Some(_) => CancelRequest::Requested,
        },
    }
}

fn register(rows: &mut impl Rows, now: Timestamp, verb: &Register) -> Result<Registered, StoreError> {
    let outcomes = each(&verb.jobs, |registration| register_one(rows, now, registration))?;
    Ok(Registered { outcomes })
}

fn register_one(
    rows: &mut impl Rows,
    now: Timestamp,
    registration: &Registration,
) -> Result<RegisterOutcome, StoreError> {
    let Registration { job, spec_hash, schedule_hash, rules } = registration;
    let mut record = JobRecord {
        spec_hash: spec_hash.clone(),
        schedule_hash: schedule_hash.clone(),
        edited_at: None,
        rules: rules.clone(),
    };
    let outcome = match rows.job(job)? {
        None => RegisterOutcome::New,
        Some(old) if old.schedule_hash != *schedule_hash && planted!(B11) => RegisterOutcome::ScheduleChanged,
        Some(old) if old.schedule_hash != *schedule_hash => {
            record.edited_at = Some(now);
            for cursor in rows.cursors(job)? {
                let moved = edit_cursor(rows, now, job, cursor, SkipReason::ScheduleChanged)?;
                rows.put_cursor(job, &moved)?;
            }
            RegisterOutcome::ScheduleChanged
        }
        Some(old) => {
            record.edited_at = old.edited_at;
            if old.spec_hash == *spec_hash { RegisterOutcome::Unchanged } else { RegisterOutcome::PolicyChanged }
        }
    };
    if outcome != RegisterOutcome::Unchanged {
        rows.put_job(job, &record)?;
    }
    Ok(outcome)
}

/// An edited schedule starts now: what the old one had not planned yet is recorded, not made.
fn edit_cursor(
    rows: &mut impl Rows,
    now: Timestamp,
    job: &JobName,
    cursor: Cursor,
    reason: SkipReason,
) -> Result<Cursor, StoreError> {
    if cursor.at < now {
        rows.add_skipped(&SkippedEntry {
            job: job.clone(),
            scope: cursor.scope.clone(),
            slots: SkippedSlots { after: cursor.at, through: now, count: None, reason },
            recorded_at: now,
        })?;
    }
    Ok(Cursor {
        at: now,
        high_water: cursor.high_water.max(now),
        newest_slot: cursor.newest_slot.filter(|slot| *slot <= now),
        ..cursor
    })
}

/// The same for one scope, whose own schedule came, changed or went. The cursor of a new one begins now.
fn edit_scope(
    rows: &mut impl Rows,
    now: Timestamp,
    (job, scope): (&JobName, &Scope),
    schedule_hash: Option<&SpecHash>,
) -> Result<(), StoreError> {
    let new = || Cursor {
        scope: scope.clone(),
        at: now,
        high_water: now,
        newest_slot: None,
        schedule_hash: None,
        edited_at: None,
    };
    let cursor = rows.cursor(job, scope)?.unwrap_or_else(new);
    let moved = edit_cursor(rows, now, job, cursor, SkipReason::ScheduleChanged)?;
    rows.put_cursor(job, &Cursor { schedule_hash: schedule_hash.cloned(), edited_at: Some(now), ..moved })
}

/// Decides all entries before it writes any, so that a refused request leaves nothing behind on any store.
fn plan(rows: &mut impl Rows, now: Timestamp, verb: &Plan) -> Result<Planned, StoreError> {
    let decisions = verb.entries.iter().map(|entry| decide(rows, now, entry)).collect::<Result<Vec<_>, _>>()?;
    for slot in decisions.iter().filter_map(|decision| decision.as_ref().ok()).flat_map(|moved| &moved.made) {
        if rows.live(slot.id)?.is_some() || rows.finished(slot.id)?.is_some() {
            let message = format!("plan: execution id {} is taken: draw a new one for every slot", slot.id);
            return Err(StoreError::new(ErrorKind::Conflict, message));
        }
    }
    let outcomes = verb.entries.iter().zip(decisions).map(|(entry, decision)| match decision {
        Ok(moved) => carry_out(rows, now, entry, &moved),
        Err(PlanOutcome::ScheduleChanged) => {
            edit_scope(rows, now, (&entry.job, &entry.scope), entry.schedule_hash.as_ref())
                .map(|()| PlanOutcome::ScheduleChanged)
        }
        Err(refused) => Ok(refused),
    });
    Ok(Planned { now, outcomes: outcomes.collect::<Result<_, _>>()? })
}

/// What an entry that may move its cursor does.
struct Move<'p> {
    cursor: Option<Cursor>,
    made: Vec<&'p NewExecution>,
}

/// Reads only: what the entry does, or why it makes nothing.
fn decide<'p>(
    rows: &mut impl Rows,
    now: Timestamp,
    entry: &'p PlanEntry,
) -> Result<Result<Move<'p>, PlanOutcome>, StoreError> {
    let PlanEntry { job, scope, expect, to, .. } = entry;
    let counts = |record: &JobRecord| record.spec_hash == entry.spec_hash || planted!(C7);
    let Some(record) = rows.job(job)?.filter(counts) else {
        return Ok(Err(PlanOutcome::SpecSuperseded));
    };
    let cursor = rows.cursor(job, scope)?;
    let at = cursor.as_ref().map(|cursor| cursor.at);
    if at != *expect && !planted!(A25) && !planted!(B7) {
        return Ok(Err(PlanOutcome::CursorMoved(at)));
    }
    if cursor.as_ref().and_then(|cursor| cursor.schedule_hash.as_ref()) != entry.schedule_hash.as_ref() {
        return Ok(Err(PlanOutcome::ScheduleChanged));
    }
    let scope_edited_at = cursor.as_ref().and_then(|cursor| cursor.edited_at);
    let due = |slot: Timestamp| slot.offset_micros(micros(Duration::from_millis(entry.delay_ms))) <= now;
    // Going back is allowed only from a future that the database clock has withdrawn.
    let forward = expect.is_none_or(|expect| *to > expect || !due(expect));
    // … and never past an edit: the edited schedule has no slots before it. (An edit that lies in the future was
    // made in a withdrawn one.)
    let edited = [record.edited_at, scope_edited_at].into_iter().flatten().any(|edit| *to < edit && edit <= now);
    if !due(*to) || !forward || edited {
        return Ok(Err(PlanOutcome::NotDue));
    }
    if pause::is_paused(rows, job, scope)? {
        return Ok(Err(PlanOutcome::Paused));
    }
    let high_water = cursor.as_ref().map(|cursor| cursor.high_water);
    let mut made: Vec<&NewExecution> = Vec::new();
    for slot in &entry.slots {
        let seen = match (slot.slot_at, high_water) {
            (Some(slot_at), Some(high)) if slot_at <= high && !planted!(A25) => {
                made.iter().any(|other| other.slot_at == Some(slot_at)) || rows.slot_exists(job, scope, slot_at)?
            }
            _ => false,
        };
        if !seen {
            made.push(slot);
        }
    }
    Ok(Ok(Move { cursor, made }))
}

fn carry_out(
    rows: &mut impl Rows,
    now: Timestamp,
    entry: &PlanEntry,
    moved: &Move<'_>,
) -> Result<PlanOutcome, StoreError> {
    let PlanEntry { job, scope, to, .. } = entry;
    for slot in &moved.made {
        let row = Execution::fresh(job.clone(), scope.clone(), (*slot).clone(), now);
        make(rows, now, None, &row, By::Maker)?;
    }
    for slots in &entry.skipped {
        let entry = SkippedEntry { job: job.clone(), scope: scope.clone(), slots: slots.clone(), recorded_at: now };
        rows.add_skipped(&entry)?;
    }
    let high_water = moved.cursor.as_ref().map_or(*to, |cursor| cursor.high_water.max(*to));
    let newest_before = moved.cursor.as_ref().and_then(|cursor| cursor.newest_slot).filter(|slot| slot <= to);
    let newest_slot = entry.slots.iter().filter_map(|slot| slot.slot_at).chain(newest_before).max();
    let edited_at = moved.cursor.as_ref().and_then(|cursor| cursor.edited_at);
    let schedule_hash = entry.schedule_hash.clone();
    rows.put_cursor(
        job,
        &Cursor { scope: scope.clone(), at: *to, high_water, newest_slot, schedule_hash, edited_at },
    )?;
    Ok(PlanOutcome::Made(moved.made.iter().map(|slot| slot.id).collect()))
}

fn rescue(rows: &mut impl Rows, now: Timestamp, verb: &Rescue) -> Result<Rescued, StoreError> {
    let (mut clamped, mut clamped_locks) = (Vec::new(), Vec::new());
    if rows.swap_last_rescue(now)?.is_some_and(|last| now < last) {
        for was in rows.withdrawn(now)? {
            let mut row = was.clone();
            if transition::clamp_to_present(&mut row, now) {
                store(rows, now, &was, &row, By::Rescuer)?;
                clamped.push(row.id);
            }
        }
        clamped_locks = lock::clamp(rows, now)?;
        rate::clamp(rows, now)?;
    }
    let mut ended = Vec::new();
    for was in rows.rescuable(now, verb.limit)? {
        let mut row = was.clone();
        transition::rescue(&mut row, now);
        store(rows, now, &was, &row, By::Rescuer)?;
        ended.push((row.id, row.state));
    }
    Ok(Rescued { now, ended, clamped, clamped_locks })
}

fn cancel(
    rows: &mut impl Rows,
    now: Timestamp,
    id: ExecutionId,
    actor: Option<&OperatorName>,
) -> Result<Cancelled, StoreError> {
    let Some(was) = rows.live(id)? else {
        return Ok(match rows.finished(id)? {
            Some(_) => Cancelled::AlreadyTerminal,
            None => Cancelled::NotFound,
        });
    };
    let mut row = was.clone();
    let outcome = transition::cancel(&mut row, now);
    store(rows, now, &was, &row, By::Operator(actor))?;
    Ok(outcome)
}

fn requeue(
    rows: &mut impl Rows,
    now: Timestamp,
    id: ExecutionId,
    actor: Option<&OperatorName>,
) -> Result<RequeueOutcome, StoreError> {
    if rows.live(id)?.is_some() {
        return Ok(RequeueOutcome::StillLive);
    }
    let Some(finished) = rows.finished(id)? else {
        return Ok(RequeueOutcome::NotFound);
    };
    if let Some(key) = &finished.unique_key
        && rows.live_with_key(key)?.is_some()
    {
        return Ok(RequeueOutcome::Conflict);
    }
    let row = transition::requeue(&finished, now, now);
    make(rows, now, Some(&finished), &row, By::Operator(actor))?;
    Ok(RequeueOutcome::Requeued(row.generation))
}
