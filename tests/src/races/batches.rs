//! Owns the race of large batches in opposite orders over many gates: locks are taken in one order whatever the
//! request's, so there is never a deadlock.

use std::{collections::BTreeSet, sync::Arc};

use tourbillon::{
    model::{
        Audit, ErrorCode, Execution, ExecutionId, Failure, Incarnation, JobName, LeaseRef, Limit, NewExecution,
        Outcome, Policy, Rate, Reentry, RequestId, Retry, Scope, Supersede, transition::Charge,
    },
    store::{
        Cancel, Claim, Heartbeat, Plan, PlanEntry, ReadClock, Register, Registration, Reply, Request, Requeue,
        Rescue, Settle, Settlement, SpecHash, Start, Store, Verb,
    },
};

use super::{arena::Arena, race::seed, work::Chance};

/// Rows of each batch.
const ROWS: u32 = 60;

/// Limit keys, in an order that is not that of the ids.
const KEYS: u32 = 7;

/// How often the batches meet.
const ROUNDS: usize = 25;

/// Runs it on the arena's handles.
pub(crate) async fn run(arena: &Arena) -> Result<(), String> {
    let mut chance = Chance(seed());
    let job = JobName::new("batches").expect("a plain name");
    prepare(arena, &mut chance, &job).await?;
    let mut calls = 0;
    for _ in 0..ROUNDS {
        let claim = Claim {
            runner: Incarnation(chance.uuid()),
            jobs: vec![job.clone()],
            limit: ROWS,
            charge: Charge::AtStart,
            rate: None,
        };
        let Reply::Claimed(claimed) = send(arena, 0, &mut chance, claim).await? else {
            return Err("no claim".into());
        };
        let leases: Vec<LeaseRef> = claimed.executions.iter().filter_map(Execution::lease_ref).collect();
        let mut reversed = leases.clone();
        reversed.reverse();
        let ids: Vec<ExecutionId> = reversed.iter().map(|lease| lease.id).collect();
        let fail = |lease: &LeaseRef| Settlement::of(*lease, failed());
        let release = |lease: &LeaseRef| Settlement::of(*lease, Outcome::Released);
        send(arena, 1, &mut chance, Start { leases: leases.clone() }).await?;
        let batches: Vec<Verb> = vec![
            Heartbeat::of(leases.clone()).into(),
            Settle { settlements: reversed.iter().step_by(2).map(fail).collect() }.into(),
            Heartbeat::of(reversed.clone()).into(),
            Settle { settlements: leases.iter().map(release).collect() }.into(),
            Cancel { ids: ids.iter().step_by(9).copied().collect(), actor: None }.into(),
            Requeue { ids: ids.clone(), actor: None }.into(),
            Claim {
                runner: Incarnation(chance.uuid()),
                jobs: vec![job.clone()],
                limit: 9,
                charge: Charge::AtStart,
                rate: Some(Rate { key: None, turn_us: 100, burst: 2 }),
            }
            .into(),
            Settle { settlements: reversed.iter().map(fail).collect() }.into(),
            Rescue { limit: ROWS }.into(),
        ];
        calls += batches.len() + 2;
        let mut under_way = tokio::task::JoinSet::new();
        for (n, verb) in batches.into_iter().enumerate() {
            let store = Arc::clone(&arena.handles[n % arena.handles.len()]);
            let request = Request { id: RequestId(chance.uuid()), verb };
            under_way.spawn(async move { store.call(request).await });
        }
        for reply in under_way.join_all().await {
            reply.map_err(|error| format!("a batch failed: {error:?}"))?;
        }
        // Back to waiting, for the next round.
        let rows = arena.listing().await;
        let ids: BTreeSet<ExecutionId> = rows.iter().map(|row| row.id).collect();
        let held = rows.iter().filter_map(Execution::lease_ref);
        let settlements = held.map(|lease| Settlement::of(lease, Outcome::Released)).collect();
        send(arena, 0, &mut chance, Settle { settlements }).await?;
        send(arena, 0, &mut chance, Requeue { ids: ids.into_iter().collect(), actor: None }).await?;
    }
    println!("batches {}: {calls} batches of up to {ROWS} rows and {KEYS} gates, no deadlock", arena.name);
    let findings = arena.gate_findings().await;
    if findings.is_empty() { Ok(()) } else { Err(format!("{findings:?}")) }
}

async fn prepare(arena: &Arena, chance: &mut Chance, job: &JobName) -> Result<(), String> {
    let registration = Registration {
        job: job.clone(),
        spec_hash: SpecHash("spec".into()),
        schedule_hash: SpecHash("s".into()),
        rules: None,
    };
    let register = Register { runner: Incarnation(chance.uuid()), jobs: vec![registration] };
    send(arena, 0, chance, register).await?;
    let Reply::ClockRead(clock) = send(arena, 0, chance, ReadClock {}).await? else { return Err("no clock".into()) };
    let slot = |n: u32| NewExecution {
        id: ExecutionId(chance.uuid()),
        slot_at: None,
        due_at: clock.now,
        expires_at: None,
        priority: 0,
        payload: None,
        unique_key: None,
        policy: Policy {
            max_attempts: 1_000,
            lease_ms: 60_000,
            reentry: Reentry::Allow,
            supersede: Supersede::Never,
            limit: Some(Limit { key: format!("key {}", n * 5 % KEYS), max: ROWS }),
            audit: Audit::Off,
        },
    };
    let slots = (0..ROWS).map(slot).collect();
    let entry = PlanEntry {
        job: job.clone(),
        scope: Scope::global(),
        spec_hash: SpecHash("spec".into()),
        schedule_hash: None,
        expect: None,
        to: clock.now,
        delay_ms: 0,
        slots,
        skipped: Vec::new(),
    };
    send(arena, 0, chance, Plan { entries: vec![entry] }).await.map(drop)
}

fn failed() -> Outcome {
    Outcome::Failed { failure: Failure::new(ErrorCode::handler_error(), "it broke"), retry: Retry::AfterMs(0) }
}

async fn send(arena: &Arena, n: usize, chance: &mut Chance, verb: impl Into<Verb>) -> Result<Reply, String> {
    let request = Request { id: RequestId(chance.uuid()), verb: verb.into() };
    arena.handles[n].call(request).await.map_err(|error| format!("{error:?}"))
}
