//! Owns the random race: many tasks on one store, then a drain, then the verdict.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tourbillon::{
    model::JobName,
    runtime::Runtime,
    store::{ErrorKind, Reply},
};

use super::{
    arena::Arena,
    audit,
    check::{Verdict, check, check_errors},
    enough::Enough,
    log::Call,
    work::Worker,
};

/// Tasks at once.
pub(crate) const TASKS: usize = 16;

/// Leases that have to be given out.
pub(crate) const LEAST: [usize; 1] = [200];

/// Longest that a quiet store may need to end everything: leases of 110 ms, retries and snoozes of 30 ms.
const DRAIN: Duration = Duration::from_secs(20);

/// Longest that a task repeats an unanswered call.
const PATIENCE: Duration = Duration::from_secs(60);

/// Seed of the tasks' draws. The interleaving itself is the machine's.
pub(crate) fn seed() -> u64 {
    std::env::var("TOURBILLON_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_120)
}

fn jobs() -> Vec<JobName> {
    ["alpha", "beta", "gamma"].iter().map(|name| JobName::new(name).expect("a plain name")).collect()
}

/// Registers the jobs and plans the first rows.
pub(crate) async fn prepare(arena: &Arena, calls: &mut Vec<Call>) {
    let runtime = Runtime::tokio();
    let until = runtime.monotonic() + Duration::from_secs(60);
    let mut first = Worker::new(usize::MAX, Arc::clone(&arena.handles[0]), jobs(), seed(), until);
    first.register().await;
    for _ in 0..4 {
        first.plan(40).await;
        runtime.sleep(Duration::from_millis(1)).await;
    }
    calls.append(&mut first.calls);
}

/// Starts the tasks; each ends soon after the race is told to.
pub(crate) fn start(arena: &Arena, enough: &Arc<Enough<1>>) -> JoinSet<Vec<Call>> {
    let give_up_at = Runtime::tokio().monotonic() + PATIENCE;
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let store = Arc::clone(&arena.handles[number % arena.handles.len()]);
        let mut worker = Worker::new(number, store, jobs(), seed(), give_up_at);
        let enough = Arc::clone(enough);
        tasks.spawn(async move {
            while !enough.is_over() {
                let before = worker.calls.len();
                worker.step().await;
                enough.meet(0, worker.calls[before..].iter().map(leases_given).sum());
            }
            worker.calls
        });
    }
    tasks
}

fn leases_given(call: &Call) -> usize {
    match &call.reply {
        Ok(Reply::Claimed(claimed)) => claimed.executions.len(),
        _ => 0,
    }
}

/// Ends every row that is left.
pub(crate) async fn drain(arena: &Arena, calls: &mut Vec<Call>) {
    let runtime = Runtime::tokio();
    let until = runtime.monotonic() + DRAIN;
    let mut last = Worker::new(TASKS, Arc::clone(&arena.handles[0]), jobs(), seed(), until);
    loop {
        last.drain().await;
        let live = arena.listing().await.iter().filter(|row| !row.state.is_terminal()).count();
        if live == 0 || runtime.monotonic() > until {
            break;
        }
        runtime.sleep(Duration::from_millis(10)).await;
    }
    calls.append(&mut last.calls);
}

/// The whole race on one store; `Err` holds the findings.
pub(crate) async fn run(arena: &Arena, lasting: Duration) -> Result<(), String> {
    let runtime = Runtime::tokio();
    let mut calls = Vec::new();
    prepare(arena, &mut calls).await;
    let began = runtime.monotonic();
    let enough = Enough::of(LEAST);
    let tasks = start(arena, &enough);
    let too_little = enough.end_after(lasting).await;
    let logs = tasks.join_all().await;
    let took = runtime.monotonic().since(began);
    calls.extend(logs.into_iter().flatten());
    let claims = check(&calls, &arena.listing().await).claims;
    let mut findings: Vec<String> = too_little.into_iter().collect();
    findings.extend(arena.gate_findings().await);
    drain(arena, &mut calls).await;
    findings.extend(arena.gate_findings().await);
    findings.extend(check_errors(&calls, &[]));
    let end = arena.listing().await;
    findings.extend(audit::check(&end, &arena.audit().await));
    let verdict = check(&calls, &end);
    report(arena, &verdict, claims, took);
    conclude(findings, verdict)
}

/// One line of sizes and speed.
pub(crate) fn report(arena: &Arena, verdict: &Verdict, claims: usize, took: Duration) {
    println!(
        "race {}: {TASKS} tasks on {} handles, {} calls ({} errors), {} leases, {} settles, {} limited spans; \
         {:.0} claims/s over {:.1} s",
        arena.name,
        arena.handles.len(),
        verdict.calls,
        verdict.errors,
        verdict.claims,
        verdict.settles,
        verdict.limited,
        claims as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
    );
}

/// Fails with the first findings of each kind.
pub(crate) fn conclude(mut findings: Vec<String>, verdict: Verdict) -> Result<(), String> {
    findings.extend(verdict.findings);
    if findings.is_empty() {
        return Ok(());
    }
    let shown = findings.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
    Err(format!(
        "{} findings (TOURBILLON_SEED={} draws the same verbs; the interleaving is the machine's):\n{shown}",
        findings.len(),
        seed()
    ))
}

/// Kinds of error that callers see while the server is down.
pub(crate) const OUTAGE: [ErrorKind; 2] = [ErrorKind::Unavailable, ErrorKind::Unknown];
