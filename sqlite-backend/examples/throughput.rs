//! Prints how many jobs a second one process claims, starts and settles on a file, in batches of 100.
//!
//! ```text
//! cargo run --release -p tourbillon-sqlite --example throughput -- [jobs] [folder]
//! ```

use std::{error::Error, path::Path, time::Duration};

use tokio::task::JoinSet;
use tourbillon::{
    model::{
        Audit, Execution, ExecutionId, Incarnation, JobName, Json, LeaseRef, NewExecution, Outcome, Policy, Reentry,
        RequestId, Scope, Supersede, Timestamp, transition::Charge,
    },
    store::{
        Claim, Plan, PlanEntry, Register, Registration, Reply, Request, Settle, Settlement, SpecHash, Start, Store,
        Verb,
    },
};
use tourbillon_sqlite::{SqliteStore, Synchronous};
use uuid::Uuid;

const BATCH: u32 = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let jobs: usize = arguments.next().map_or(Ok(100_000), |jobs| jobs.parse())?;
    let folder = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    println!("{:<12} {:>8} {:>12} {:>12}", "synchronous", "runners", "plan/s", "jobs/s");
    for synchronous in [Synchronous::Full, Synchronous::Normal] {
        for runners in [1, 4] {
            let (planned, drained) = measure(&folder, synchronous, jobs, runners).await?;
            let rate = |time: Duration| jobs as f64 / time.as_secs_f64();
            println!("{synchronous:<12?} {runners:>8} {:>12.0} {:>12.0}", rate(planned), rate(drained));
        }
    }
    Ok(())
}

/// The time to make `jobs` rows, and the time to claim, start and settle them.
async fn measure(
    folder: &Path,
    synchronous: Synchronous,
    jobs: usize,
    runners: u128,
) -> Result<(Duration, Duration), Box<dyn Error>> {
    let path = folder.join(format!("tourbillon-throughput-{}.db", std::process::id()));
    let store = std::sync::Arc::new(SqliteStore::builder(&path).synchronous(synchronous).open()?);
    let began = now();
    make(&*store, jobs).await?;
    let planned = began.elapsed();

    let began = now();
    let mut tasks = JoinSet::new();
    for runner in 1..=runners {
        let store = std::sync::Arc::clone(&store);
        tasks.spawn(async move { drain(&*store, runner).await });
    }
    let mut settled = 0;
    while let Some(done) = tasks.join_next().await {
        settled += done??;
    }
    let drained = began.elapsed();
    assert_eq!(settled, jobs, "every job is settled once");
    std::sync::Arc::into_inner(store).expect("all runners have ended").close().await;
    std::fs::remove_file(path)?;
    Ok((planned, drained))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn job() -> JobName {
    JobName::new("throughput").expect("a valid name")
}

async fn make(store: &impl Store, jobs: usize) -> Result<(), Box<dyn Error>> {
    let hash = SpecHash("spec".into());
    let registration = Registration { job: job(), spec_hash: hash.clone(), schedule_hash: hash.clone(), rules: None };
    let mut ids = Ids::new(0);
    let register = Register { runner: Incarnation(ids.next()), jobs: vec![registration] };
    store.call(Request { id: RequestId(ids.next()), verb: register.into() }).await?;
    let mut left = jobs;
    let mut expect = None;
    let mut at = Timestamp::from_secs(1);
    while left > 0 {
        let rows = left.min(1_000);
        let mut slots = Vec::with_capacity(rows);
        for _ in 0..rows {
            at = at + Duration::from_secs(1);
            slots.push(execution(ExecutionId(ids.next()), at));
        }
        let (spec_hash, scope) = (hash.clone(), Scope::global());
        let entry = PlanEntry {
            job: job(),
            scope,
            spec_hash,
            schedule_hash: None,
            expect,
            to: at,
            delay_ms: 0,
            slots,
            skipped: Vec::new(),
        };
        store.call(Request { id: RequestId(ids.next()), verb: Plan { entries: vec![entry] }.into() }).await?;
        expect = Some(at);
        left -= rows;
    }
    Ok(())
}

fn execution(id: ExecutionId, slot_at: Timestamp) -> NewExecution {
    NewExecution {
        id,
        slot_at: Some(slot_at),
        due_at: slot_at,
        expires_at: None,
        priority: 0,
        payload: None,
        unique_key: None,
        policy: Policy {
            max_attempts: 3,
            lease_ms: 60_000,
            reentry: Reentry::Allow,
            supersede: Supersede::Never,
            limit: None,
            audit: Audit::Off,
        },
    }
}

/// Claims, starts and settles until nothing is left; how many it settled.
async fn drain(store: &impl Store, runner: u128) -> Result<usize, tourbillon::store::StoreError> {
    let mut ids = Ids::new(runner);
    let incarnation = Incarnation(ids.next());
    let mut ask = async |verb: Verb| store.call(Request { id: RequestId(ids.next()), verb }).await;
    let mut settled = 0;
    loop {
        let claim =
            Claim { runner: incarnation, jobs: vec![job()], limit: BATCH, charge: Charge::AtStart, rate: None };
        let Reply::Claimed(claimed) = ask(claim.into()).await? else { unreachable!("a claim is answered by rows") };
        if claimed.executions.is_empty() {
            return Ok(settled);
        }
        let leases: Vec<LeaseRef> = claimed.executions.iter().filter_map(Execution::lease_ref).collect();
        ask(Start { leases: leases.clone() }.into()).await?;
        let outcome = Outcome::Succeeded { result: Json::empty(), rows_affected: None };
        let settlements = leases.into_iter().map(|lease| Settlement::of(lease, outcome.clone())).collect();
        let Reply::Settled(reply) = ask(Settle { settlements }.into()).await? else {
            unreachable!("a settle is answered by outcomes")
        };
        settled += reply.outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    }
}

/// Ids in random order, as real ones are: their place in the index is part of the cost.
struct Ids(u128);

impl Ids {
    fn new(owner: u128) -> Self {
        Self(owner << 64)
    }

    fn next(&mut self) -> Uuid {
        self.0 += 1;
        // A bijection (odd factor), so that no two are equal.
        let mixed = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        Uuid::from_u128(mixed.swap_bytes().wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    }
}
