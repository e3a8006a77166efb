//! Owns the verbs that meet in the scene: each side's own, in the order that side asks in.

use tourbillon::{
    model::{
        Audit, ErrorCode, ExecutionId, Failure, Incarnation, JobName, Json, LeaseRef, Limit, NewExecution, Policy,
        Progress, Rate, Reentry, Scope, Supersede, Timestamp, transition::Charge,
    },
    store::{
        Claim, Counts, DeleteItems, Due, Enqueue, Expected, Heartbeat, MAX_BATCH, NewItem, PlanEntry, PutSchedule,
        Register, Registration, RemoveSchedule, Revision, ScheduleData, SpecHash, TriggerJob, Unique, UpdateItem,
    },
};
use uuid::Uuid;

use super::{
    BEFORE, LEASE_MS, NOW, OF_ONE_KEY, PRIVATE, PRIVATE_JOB, ROWS, Side, WAITING_ITEM, WISHED, name, row_id, row_job,
};
use crate::conformance::trace_of;

pub(in crate::races) fn ordered<T>(side: Side, mut items: Vec<T>, id: impl Fn(&T) -> ExecutionId) -> Vec<T> {
    if side == Side::B {
        items.retain(|item| id(item) != row_id(PRIVATE));
        items.reverse();
    }
    items
}

pub(in crate::races) fn ids(side: Side) -> Vec<ExecutionId> {
    let all = ROWS.iter().map(|row| row_id(row.number)).chain([row_id(25), row_id(999)]);
    ordered(side, all.collect(), |id| *id)
}

pub(in crate::races) fn claim(limit: u32, side: Side) -> Claim {
    let jobs = ROWS.iter().map(|row| row_job(row.number)).chain([name("planned"), name("fresh")]).collect();
    Claim { runner: runner(side), jobs, limit, charge: Charge::AtStart, rate: None }
}

pub(in crate::races) fn claim_half(side: Side) -> Claim {
    let odd = u128::from(side == Side::B);
    let jobs = ROWS.iter().filter(|row| row.number % 2 == odd).map(|row| row_job(row.number)).collect();
    Claim { jobs, ..claim(MAX_BATCH, side) }
}

pub(in crate::races) fn claim_rated(side: Side) -> Claim {
    let [of_a, of_b] = OF_ONE_KEY;
    let queue = row_job(if side == Side::A { of_a } else { of_b });
    let rate = Rate { key: None, turn_us: 60_000_000, burst: 1 };
    Claim { jobs: vec![queue], rate: Some(rate), ..claim(MAX_BATCH, side) }
}

pub(in crate::races) fn runner(side: Side) -> Incarnation {
    Incarnation(Uuid::from_u128(if side == Side::A { 0xa } else { 0xb }))
}

pub(in crate::races) fn failure() -> Failure {
    Failure::new(ErrorCode::handler_error(), "it broke")
}

pub(in crate::races) fn hash(text: &str) -> SpecHash {
    SpecHash(text.into())
}

/// Both sides move the same two cursors, one of which does not exist yet, and make rows with ids of their own.
pub(in crate::races) fn plan_entries(side: Side) -> Vec<PlanEntry> {
    let entry = |job: &str, expect: Option<Timestamp>, slots: Vec<NewExecution>| PlanEntry {
        job: name(job),
        scope: Scope::global(),
        spec_hash: hash("spec"),
        schedule_hash: None,
        expect,
        to: NOW,
        delay_ms: 0,
        slots,
        skipped: Vec::new(),
    };
    let base = if side == Side::A { 100 } else { 200 };
    let slot = |n: u128, limit| NewExecution { slot_at: Some(NOW), ..new_row(base + n, limit, Reentry::Allow) };
    let mut entries = vec![
        entry("fresh", None, vec![slot(1, Some(("omega", 1)))]),
        entry("planned", Some(BEFORE), vec![slot(2, Some(("alpha", 1))), slot(3, None)]),
    ];
    match side {
        Side::A => entries.insert(0, entry(PRIVATE_JOB, Some(BEFORE), Vec::new())),
        Side::B => entries.reverse(),
    }
    entries
}

/// Both sides make items with the same keys, under ids of their own.
pub(in crate::races) fn enqueue(side: Side, max_items: Option<u64>, counts: Counts) -> Enqueue {
    let keys = ["nine", "twelve", "thirteen", "sixteen", "seventeen", "new", "another"];
    let base = if side == Side::A { 300 } else { 400 };
    let mut items: Vec<NewItem> =
        (base..).zip(keys).map(|(number, key)| new_item(number, Some(("alpha", 1)), key, counts)).collect();
    if side == Side::B {
        items.reverse();
    }
    Enqueue { queue: name("fresh"), max_items, items }
}

/// The same item on both sides, and its id is that of [`trigger`], too.
pub(in crate::races) fn enqueue_one() -> Enqueue {
    let item = new_item(WISHED, None, "", Counts::Live);
    let policy = Policy { audit: Audit::Exceptions, ..item.policy };
    Enqueue { queue: name("fresh"), max_items: None, items: vec![NewItem { unique: None, policy, ..item }] }
}

pub(in crate::races) fn update_item(side: Side) -> UpdateItem {
    let priority = if side == Side::A { 1 } else { 2 };
    let (queue, id) = (row_job(WAITING_ITEM), row_id(WAITING_ITEM));
    UpdateItem { queue, id, payload: None, priority: Some(priority), due: Some(Due::AfterMs(0)) }
}

pub(in crate::races) fn delete_item(number: u128) -> DeleteItems {
    DeleteItems { queue: row_job(number), ids: vec![row_id(number)], actor: None }
}

pub(in crate::races) fn new_item(number: u128, limit: Option<(&str, u32)>, key: &str, counts: Counts) -> NewItem {
    let row = new_row(number, limit, Reentry::Allow);
    NewItem {
        id: row.id,
        scope: Scope::global(),
        due: Due::At(row.due_at),
        ttl_ms: None,
        priority: 0,
        payload: None,
        unique: Some(Unique { key: key.to_owned(), period_ms: None, counts }),
        policy: row.policy,
        trace: Some(trace_of(number)),
    }
}

pub(in crate::races) fn put_schedule(job: JobName, own: &str) -> PutSchedule {
    let schedule = ScheduleData { json: Json::empty(), hash: hash(own) };
    let (scope, expected) = (Scope::global(), Expected::Anything);
    PutSchedule { job, scope, schedule, expected, note: None, actor: None }
}

pub(in crate::races) fn remove_schedule() -> RemoveSchedule {
    let (job, scope, expected) = (name("stopped"), Scope::global(), Expected::Revision(Revision::FIRST));
    RemoveSchedule { job, scope, expected, note: None, actor: None }
}

pub(in crate::races) fn heartbeat(leases: Vec<LeaseRef>, side: Side) -> Heartbeat {
    let said = Progress::new(if side == Side::A { "a" } else { "b" });
    Heartbeat { progress: leases.iter().map(|lease| (lease.id, said.clone())).collect(), leases }
}

/// The same execution on both sides.
pub(in crate::races) fn trigger(side: Side) -> TriggerJob {
    let row = new_row(WISHED, Some(("alpha", 1)), Reentry::Allow);
    let priority = if side == Side::A { 1 } else { 2 };
    let (job, scope, policy) = (name("planned"), Scope::global(), row.policy);
    let trace = Some(trace_of(if side == Side::A { 1 } else { 2 }));
    TriggerJob { job, scope, id: row.id, priority, payload: None, policy, actor: None, trace }
}

pub(in crate::races) fn register(side: Side) -> Register {
    let edit = if side == Side::A { "schedule-a" } else { "schedule-b" };
    let registration =
        |job: &str| Registration { job: name(job), spec_hash: hash(edit), schedule_hash: hash(edit), rules: None };
    let mut jobs = vec![registration("brand"), registration("fresh"), registration("planned")];
    match side {
        Side::A => jobs.insert(0, registration(PRIVATE_JOB)),
        Side::B => jobs.reverse(),
    }
    Register { runner: runner(side), jobs }
}

pub(in crate::races) fn new_row(number: u128, limit: Option<(&str, u32)>, reentry: Reentry) -> NewExecution {
    NewExecution {
        id: row_id(number),
        slot_at: None,
        due_at: BEFORE,
        expires_at: None,
        priority: 0,
        payload: None,
        unique_key: None,
        policy: Policy {
            max_attempts: 3,
            lease_ms: LEASE_MS,
            reentry,
            supersede: Supersede::Never,
            limit: limit.map(|(key, max)| Limit { key: key.to_owned(), max }),
            audit: Audit::All,
        },
    }
}
