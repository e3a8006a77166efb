//! What holds on Postgres only: plans, error mapping, migrations, schema names, pooler safety, and a quick
//! comparison with the in-memory store. Skipped, saying why, where there is no server; on CI that is a failure.

mod chaos;
mod claim_plan;
mod connection;
mod differential;
mod enqueue_plan;
mod errors;
mod explain;
mod gates;
mod held;
mod lasting_plans;
mod migration;
mod notices;
mod onward;
mod planted;
mod pooler;
mod race;
mod session_lock;
mod settle;
mod tls;
mod transaction;

use std::sync::atomic::{AtomicU64, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use sqlx::{Connection, PgConnection};
use tourbillon::{
    model::{
        Audit, Execution, ExecutionId, Incarnation, JobName, Json, LeaseRef, NewExecution, Outcome, Policy, Reentry,
        RequestId, Scope, Supersede, Timestamp, transition::Charge,
    },
    runtime::Runtime,
    store::{
        Claim, Due, NewItem, Plan, PlanEntry, PlanOutcome, Register, Registration, Reply, Request, Settle,
        Settlement, SpecHash, Store, StoreError, Verb,
    },
};
use tourbillon_pg::PgStore;
use tourbillon_tests::{
    cluster::{Cluster, NoPostgres},
    pooler::Pooler,
};
use uuid::Uuid;

type Run = fn(&'static Cluster) -> Result<(), Failed>;
type Case = (&'static str, Run);

const CASES: &[&[Case]] = &[
    chaos::CASES,
    claim_plan::CASES,
    connection::CASES,
    lasting_plans::CASES,
    differential::CASES,
    enqueue_plan::CASES,
    errors::CASES,
    gates::CASES,
    held::CASES,
    migration::CASES,
    notices::CASES,
    onward::CASES,
    planted::CASES,
    race::CASES,
    session_lock::CASES,
    settle::CASES,
    transaction::CASES,
];

fn main() {
    let arguments = Arguments::from_args();
    // Only listing? Then start nothing.
    let cluster = if arguments.list { Err(NoPostgres { reason: "listing".to_owned() }) } else { Cluster::shared() };
    let on_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    let trial = |cluster: Result<&'static Cluster, NoPostgres>, name: &str, case: Run| match cluster {
        Ok(cluster) => Trial::test(name, move || case(cluster)),
        Err(missing) if on_ci => Trial::test(name, move || Err(missing.reason.into())),
        Err(_) if arguments.list => Trial::test(name, || Ok(())),
        Err(missing) => Trial::test(name, || Ok(())).with_kind(missing.reason).with_ignored_flag(true),
    };
    let trials = CASES.iter().copied().flatten().map(|(name, case)| trial(cluster.clone(), name, *case));
    let behind = Pooler::available().and(cluster.clone());
    let pooled = pooler::CASES.iter().map(|(name, case)| trial(behind.clone(), name, *case));
    let encrypted = tls::CASES.iter().map(|(name, case)| {
        let name = format!("tls::{name}");
        if cfg!(feature = "tls") {
            return trial(cluster.clone(), &name, *case);
        }
        let kind = "built without TLS: `--features tourbillon-tests/tls`";
        Trial::test(name, || Ok(())).with_kind(kind).with_ignored_flag(true)
    });
    libtest_mimic::run(&arguments, trials.chain(pooled).chain(encrypted).collect()).exit();
}

/// Runs `work` on a runtime of its own.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(work)
}

/// A migrated store in a database of its own, on the server's clock.
async fn fresh_store(cluster: &Cluster) -> Result<PgStore, StoreError> {
    let store = PgStore::builder(&cluster.fresh_database()).max_connections(16).connect().await?;
    store.migrate().await?;
    Ok(store)
}

/// A second way into a store's database, past the store.
async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect_with(&url.parse()?).await
}

/// Waits until a call in this database waits for a lock; `app` may be in a transaction.
async fn until_one_waits(app: &mut PgConnection) -> Result<(), Failed> {
    until_wait(app, 1).await
}

/// The same of so many calls.
async fn until_wait(app: &mut PgConnection, calls: usize) -> Result<(), Failed> {
    notices::soon("calls wait for locks", async || {
        // Else a transaction goes on seeing what it saw first.
        sqlx::raw_sql("select pg_stat_clear_snapshot()").execute(&mut *app).await?;
        let waits = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        Ok((sqlx::query(waits).fetch_all(&mut *app).await?.len() >= calls).then_some(()))
    })
    .await
}

/// A request with an id of its own.
fn request(verb: impl Into<Verb>) -> Request {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Request { id: RequestId(Uuid::from_u64_pair(1, NEXT.fetch_add(1, Ordering::Relaxed))), verb: verb.into() }
}

/// Registers `job` and plans `count` rows that are due at once, all with this policy.
async fn plan_due(store: &PgStore, job: &str, count: u64, policy: &Policy) -> Result<Vec<ExecutionId>, Failed> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let job = JobName::new(job)?;
    let hash = SpecHash("1".into());
    let registration =
        Registration { job: job.clone(), spec_hash: hash.clone(), schedule_hash: hash.clone(), rules: None };
    let runner = Incarnation(Uuid::from_u128(7));
    store.call(request(Register { runner, jobs: vec![registration] })).await?;
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let ids: Vec<_> = (0..count).map(|i| ExecutionId(Uuid::from_u64_pair(n << 32 | i, n))).collect();
    let entry = PlanEntry {
        job,
        scope: Scope::new("batch", &n.to_string())?,
        spec_hash: hash,
        schedule_hash: None,
        expect: None,
        to: Timestamp::EPOCH,
        delay_ms: 0,
        slots: ids.iter().map(|id| slot(*id, policy)).collect(),
        skipped: Vec::new(),
    };
    match store.call(request(Plan { entries: vec![entry] })).await? {
        Reply::Planned(planned) if planned.outcomes == [PlanOutcome::Made(ids.clone())] => Ok(ids),
        other => Err(format!("planned: {other:?}").into()),
    }
}

/// An execution without a slot, due at once.
fn slot(id: ExecutionId, policy: &Policy) -> NewExecution {
    NewExecution {
        id,
        slot_at: None,
        due_at: Timestamp::EPOCH,
        expires_at: None,
        priority: 0,
        payload: None,
        unique_key: None,
        policy: policy.clone(),
    }
}

/// Claims up to `limit` rows of `job`.
async fn claim(store: &PgStore, job: &str, limit: u32) -> Result<Vec<LeaseRef>, Failed> {
    let jobs = vec![JobName::new(job)?];
    let runner = Incarnation(Uuid::from_u128(7));
    match store.call(request(Claim { runner, jobs, limit, charge: Charge::AtClaim, rate: None })).await? {
        Reply::Claimed(claimed) => Ok(claimed.executions.iter().filter_map(Execution::lease_ref).collect()),
        other => Err(format!("claimed: {other:?}").into()),
    }
}

/// Settles one row as succeeded.
fn success(lease: LeaseRef) -> Settle {
    let outcome = Outcome::Succeeded { result: Json::empty(), rows_affected: None };
    Settle { settlements: vec![Settlement::of(lease, outcome)] }
}

/// Three attempts, a minute's lease, no limit.
fn policy() -> Policy {
    Policy {
        max_attempts: 3,
        lease_ms: 60_000,
        reentry: Reentry::Allow,
        supersede: Supersede::Never,
        limit: None,
        audit: Audit::Off,
    }
}

/// An item of its own, due at once.
fn item(policy: Policy) -> NewItem {
    NewItem {
        id: ExecutionId(Runtime::tokio().uuid()),
        scope: Scope::global(),
        due: Due::AfterMs(0),
        ttl_ms: None,
        priority: 0,
        payload: None,
        unique: None,
        policy,
        trace: None,
    }
}
