//! Owns how a verb becomes statements: which files, in which order, with which parameters.

use tourbillon::{
    model::{
        Actor, ErrorCode, LeaseRef, LockRef, OperatorName, Timestamp,
        transition::{CANCELLED_UNACKNOWLEDGED, CANCELLED_WAITING, LEASE_EXPIRED},
    },
    store::{
        AcquireLock, Heartbeat, ListAudit, ListExecutions, Plan, Register, RegisteredRules, Request, Rescue,
        StoreError, Verb,
    },
};

use crate::{
    item, job,
    parameter::{Bound, age, at, bounded, int8, query, reentry, supersede},
    pause, schedule,
    sql::Statements,
    wire::{Id, Instant},
};

/// The statements of a request, to be run in one transaction if there are several; the last one answers.
///
/// # Errors
/// `Invalid` when a number does not fit the database's 64 bits.
pub(crate) fn statements(
    sql: &Statements,
    now: Option<Timestamp>,
    request: &Request,
) -> Result<Vec<Bound>, StoreError> {
    let id = Id::from(request.id);
    Ok(match &request.verb {
        Verb::ReadClock(_) => vec![at(&sql.read_clock, now)],
        Verb::Register(verb) => register(sql, now, verb),
        Verb::ReadCursors(verb) => vec![at(&sql.read_cursors, now).bind(names(&verb.jobs))],
        Verb::ReadDue(verb) => vec![at(&sql.read_due, now).bind(names(&verb.jobs))],
        Verb::Plan(verb) => vec![plan(sql, now, id, verb)?],
        // Its locks, which say what time it is, come first: see `queue`; or a whole transaction of its own: `migrate`;
        // or an answer of many lines: `claim`; or a short way first: `settle`.
        Verb::Enqueue(_) | Verb::Migrate(_) | Verb::Claim(_) | Verb::Settle(_) => Vec::new(),
        Verb::Start(verb) => vec![leases(at(&sql.start_executions, now), &verb.leases)?],
        Verb::Heartbeat(verb) => {
            vec![leases(at(&sql.heartbeat_executions, now), &verb.leases)?.bind(said(verb))]
        }
        Verb::Rescue(verb) => vec![rescue(sql, now, *verb)],
        Verb::Cancel(verb) => {
            let ids: Vec<Id> = verb.ids.iter().map(|id| Id::from(*id)).collect();
            let cancel = at(&sql.cancel_executions, now).bind(id).bind(ids.clone());
            let (code, text) = (ErrorCode::canceled().as_str().to_owned(), CANCELLED_WAITING);
            vec![query(&sql.lock_executions).bind(ids), cancel.bind(code).bind(text).bind(operator(&verb.actor))]
        }
        Verb::Requeue(verb) => {
            let ids: Vec<Id> = verb.ids.iter().map(|id| Id::from(*id)).collect();
            vec![
                query(&sql.lock_requeue),
                at(&sql.requeue_executions, now).bind(id).bind(ids).bind(operator(&verb.actor)),
            ]
        }
        Verb::ListExecutions(verb) => vec![list_executions(sql, now, verb)],
        Verb::ListSkipped(verb) => vec![
            query(&sql.list_skipped)
                .bind(verb.job.as_ref().map(|job| job.as_str().to_owned()))
                .bind(i64::from(verb.offset))
                .bind(i64::from(verb.limit)),
        ],
        Verb::ListAudit(verb) => vec![list_audit(sql, verb)?],
        Verb::ReadStats(_) => vec![at(&sql.read_stats, now)],
        Verb::Prune(verb) => vec![
            at(&sql.prune_history, now)
                .bind(age(verb.history_ms))
                .bind(age(verb.receipts_ms))
                .bind(i64::from(verb.limit))
                .bind(age(verb.edits_ms)),
        ],
        Verb::AcquireLock(verb) => vec![acquire(sql, now, id, verb)?],
        Verb::RenewLock(verb) => vec![held(at(&sql.renew_lock, now), &verb.lock)?],
        Verb::ReleaseLock(verb) => vec![held(at(&sql.release_lock, now), &verb.lock)?],
        Verb::ListJobs(verb) => vec![job::list(sql, now, verb)],
        Verb::ListScopes(verb) => vec![job::scopes(sql, now, verb)],
        Verb::ListRecent(verb) => vec![job::recent(sql, now, verb)],
        Verb::PauseJob(verb) => pause::pause(sql, now, request.id, verb),
        Verb::ResumeJob(verb) => pause::resume(sql, now, request.id, verb),
        Verb::TriggerJob(verb) => pause::trigger(sql, now, request.id, verb)?,
        Verb::PutSchedule(verb) => schedule::put(sql, now, request.id, verb),
        Verb::RemoveSchedule(verb) => schedule::remove(sql, now, request.id, verb),
        Verb::ListSchedules(verb) => vec![schedule::list(sql, now, verb)],
        Verb::ListPauses(verb) => vec![pause::list(sql, now, verb)],
        Verb::ListItems(verb) => vec![item::list(sql, now, verb)],
        Verb::ReadQueueStats(verb) => vec![at(&sql.read_queue_stats, now).bind(verb.queue.as_str().to_owned())],
        Verb::UpdateItem(verb) => item::update(sql, now, request.id, verb),
        Verb::DeleteItems(verb) => item::delete(sql, now, request.id, verb),
        Verb::CleanItems(verb) => item::clean(sql, now, verb),
        Verb::ListLocks(verb) => vec![
            at(&sql.list_locks, now)
                .bind(verb.after.as_ref().map(|name| name.as_str().to_owned()))
                .bind(i64::from(verb.limit)),
        ],
    })
}

/// What comes between [`clamp`] and [`rescue`].
pub(crate) fn clamp_locks(sql: &Statements, now: Timestamp) -> Bound {
    at(&sql.clamp_locks, Some(now))
}

/// What comes before [`clamp`], in a transaction of its own.
pub(crate) fn clamp_gates(sql: &Statements, now: Option<Timestamp>) -> Bound {
    at(&sql.clamp_gates, now)
}

/// What comes before an [`acquire`] that could not tell who has the lock.
pub(crate) fn hold_lock(sql: &Statements, verb: &AcquireLock) -> Bound {
    query(&sql.hold_lock).bind(verb.name.as_str().to_owned())
}

/// The acquire itself.
pub(crate) fn acquire(
    sql: &Statements,
    now: Option<Timestamp>,
    id: Id,
    verb: &AcquireLock,
) -> Result<Bound, StoreError> {
    Ok(at(&sql.acquire_lock, now)
        .bind(id)
        .bind(verb.name.as_str().to_owned())
        .bind(Id::from(verb.holder))
        .bind(int8("ttl_ms", verb.ttl_ms)?))
}

fn held(query: Bound, lock: &LockRef) -> Result<Bound, StoreError> {
    Ok(query.bind(lock.name.as_str().to_owned()).bind(Id::from(lock.token)).bind(int8("epoch", lock.epoch.0)?))
}

/// The statement that comes before [`rescue`] when the clock stepped back.
pub(crate) fn clamp(sql: &Statements, now: Option<Timestamp>) -> Bound {
    at(&sql.clamp_executions, now)
}

/// The rescue itself.
pub(crate) fn rescue(sql: &Statements, now: Option<Timestamp>, verb: Rescue) -> Bound {
    at(&sql.rescue_executions, now)
        .bind(i64::from(verb.limit))
        .bind(ErrorCode::canceled().as_str().to_owned())
        .bind(CANCELLED_UNACKNOWLEDGED)
        .bind(ErrorCode::stale_timeout().as_str().to_owned())
        .bind(LEASE_EXPIRED)
}

fn names(jobs: &[tourbillon::model::JobName]) -> Vec<String> {
    jobs.iter().map(|job| job.as_str().to_owned()).collect()
}

pub(crate) fn leases(query: Bound, leases: &[LeaseRef]) -> Result<Bound, StoreError> {
    let ids: Vec<_> = leases.iter().map(|lease| Id::from(lease.id)).collect();
    let tokens: Vec<_> = leases.iter().map(|lease| Id::from(lease.token)).collect();
    let fences = leases.iter().map(|lease| int8("fence", lease.fence.0)).collect::<Result<Vec<_>, _>>()?;
    Ok(query.bind(ids).bind(tokens).bind(fences))
}

/// Null where no row says anything: then nothing is unrolled.
fn said(verb: &Heartbeat) -> Option<Vec<Option<String>>> {
    let json = |progress| serde_json::to_string(progress).expect("a text and a number");
    let of = |lease: &LeaseRef| verb.progress_of(lease.id).map(json);
    (!verb.progress.is_empty()).then(|| verb.leases.iter().map(of).collect())
}

fn register(sql: &Statements, now: Option<Timestamp>, verb: &Register) -> Vec<Bound> {
    let jobs: Vec<_> = verb.jobs.iter().map(|job| job.job.as_str().to_owned()).collect();
    let specs: Vec<_> = verb.jobs.iter().map(|job| job.spec_hash.to_string()).collect();
    let schedules: Vec<_> = verb.jobs.iter().map(|job| job.schedule_hash.to_string()).collect();
    let register = at(&sql.register_jobs, now).bind(Id::from(verb.runner)).bind(jobs.clone());
    let rules = |rules: &RegisteredRules| serde_json::to_string(rules).expect("rules are plain data");
    let rules: Vec<_> = verb.jobs.iter().map(|job| job.rules.as_ref().map(rules)).collect();
    vec![query(&sql.lock_jobs).bind(jobs), register.bind(specs).bind(schedules).bind(rules)]
}

fn list_executions(sql: &Statements, now: Option<Timestamp>, verb: &ListExecutions) -> Bound {
    let states: Vec<_> = verb.states.iter().map(|state| state.as_str()).collect();
    at(&sql.list_executions, now)
        .bind(verb.job.as_ref().map(|job| job.as_str().to_owned()))
        .bind(verb.id.map(Id::from))
        .bind(states)
        .bind(verb.after.map(|(id, _)| Id::from(id)))
        .bind(verb.after.map(|(_, generation)| i64::from(generation.0)))
        .bind(i64::from(verb.limit))
}

fn list_audit(sql: &Statements, verb: &ListAudit) -> Result<Bound, StoreError> {
    let after = verb.after;
    let fence = after.map(|key| int8("fence", key.fence.0)).transpose()?;
    Ok(query(&sql.list_audit)
        .bind(verb.job.as_ref().map(|job| job.as_str().to_owned()))
        .bind(verb.execution.map(Id::from))
        .bind(after.map(|key| Id::from(key.execution)))
        .bind(after.map(|key| i64::from(key.generation.0)))
        .bind(fence)
        .bind(after.map(|key| i16::from(key.step)))
        .bind(i64::from(verb.limit)))
}

/// The name in an operator's audit events.
fn operator(actor: &Option<OperatorName>) -> String {
    Actor::operator(actor.as_ref()).name
}

fn plan(sql: &Statements, now: Option<Timestamp>, id: Id, verb: &Plan) -> Result<Bound, StoreError> {
    let entries = &verb.entries;
    let text = |of: fn(&tourbillon::store::PlanEntry) -> &str| -> Vec<String> {
        entries.iter().map(|entry| of(entry).to_owned()).collect()
    };
    let query = at(&sql.plan_slots, now)
        .bind(id)
        .bind(text(|entry| entry.job.as_str()))
        .bind(text(|entry| entry.scope.kind()))
        .bind(text(|entry| entry.scope.id()))
        .bind(text(|entry| &entry.spec_hash.0))
        .bind(entries.iter().map(|entry| entry.schedule_hash.as_ref().map(ToString::to_string)).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.expect.map(Instant)).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| Instant(entry.to)).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| bounded(entry.delay_ms)).collect::<Vec<_>>());
    let audits = entries.iter().flat_map(|entry| &entry.slots).map(|slot| slot.policy.audit.as_str());
    Ok(ledger(slots(query, verb)?, verb)?.bind(audits.collect::<Vec<_>>()))
}

fn slots(query: Bound, verb: &Plan) -> Result<Bound, StoreError> {
    let numbered: Vec<_> =
        (1i64..).zip(&verb.entries).flat_map(|(n, entry)| entry.slots.iter().map(move |slot| (n, slot))).collect();
    let slots = || numbered.iter().map(|(_, slot)| slot);
    let leases = slots().map(|slot| int8("lease_ms", slot.policy.lease_ms)).collect::<Result<Vec<_>, _>>()?;
    let limits = || slots().map(|slot| slot.policy.limit.as_ref());
    Ok(query
        .bind(numbered.iter().map(|(n, _)| *n).collect::<Vec<_>>())
        .bind(slots().map(|slot| Id::from(slot.id)).collect::<Vec<_>>())
        .bind(slots().map(|slot| slot.slot_at.map(Instant)).collect::<Vec<_>>())
        .bind(slots().map(|slot| Instant(slot.due_at)).collect::<Vec<_>>())
        .bind(slots().map(|slot| slot.expires_at.map(Instant)).collect::<Vec<_>>())
        .bind(slots().map(|slot| slot.priority).collect::<Vec<_>>())
        .bind(slots().map(|slot| slot.payload.as_ref().map(|json| json.as_str().to_owned())).collect::<Vec<_>>())
        .bind(slots().map(|slot| slot.unique_key.clone()).collect::<Vec<_>>())
        .bind(slots().map(|slot| i64::from(slot.policy.max_attempts)).collect::<Vec<_>>())
        .bind(leases)
        .bind(slots().map(|slot| reentry(slot.policy.reentry)).collect::<Vec<_>>())
        .bind(slots().map(|slot| supersede(slot.policy.supersede)).collect::<Vec<_>>())
        .bind(limits().map(|limit| limit.map(|limit| limit.key.clone())).collect::<Vec<_>>())
        .bind(limits().map(|limit| limit.map(|limit| i64::from(limit.max))).collect::<Vec<_>>()))
}

fn ledger(query: Bound, verb: &Plan) -> Result<Bound, StoreError> {
    let numbered: Vec<_> = (1i64..)
        .zip(&verb.entries)
        .flat_map(|(n, entry)| entry.skipped.iter().map(move |slots| (n, slots)))
        .collect();
    let counts = numbered.iter().map(|(_, slots)| slots.count.map(|count| int8("count", count)).transpose());
    let counts = counts.collect::<Result<Vec<_>, _>>()?;
    Ok(query
        .bind(numbered.iter().map(|(n, _)| *n).collect::<Vec<_>>())
        .bind(numbered.iter().map(|(_, slots)| Instant(slots.after)).collect::<Vec<_>>())
        .bind(numbered.iter().map(|(_, slots)| Instant(slots.through)).collect::<Vec<_>>())
        .bind(counts)
        .bind(numbered.iter().map(|(_, slots)| slots.reason.as_str()).collect::<Vec<_>>()))
}
