//! Owns the crash race: the server is killed and restarted in the middle, twice; nothing acknowledged may be lost.

use std::time::Duration;

use tourbillon::runtime::Runtime;

use crate::cluster::Cluster;

use super::{
    arena::Arena,
    check::{check, check_errors},
    enough::Enough,
    race::{LEAST, OUTAGE, conclude, drain, prepare, report, start},
};

/// How long the tasks run before the first crash, between the two, and after the second.
const STRETCH: Duration = Duration::from_millis(1_000);

/// Runs it on a server of its own.
///
/// Callers repeat each unanswered request under its id until it is answered, so the checker sees one consistent
/// history: every acknowledged end is in history at its instant, planned rows exist, fences have no gap.
pub(crate) async fn run(cluster: &Cluster) -> Result<(), String> {
    let runtime = Runtime::tokio();
    let arena = Arena::postgres(cluster.fresh_database(), 4).await;
    let mut calls = Vec::new();
    prepare(&arena, &mut calls).await;
    let began = runtime.monotonic();
    let enough = Enough::of(LEAST);
    let mut tasks = start(&arena, &enough);
    for _ in 0..2 {
        runtime.sleep(STRETCH).await;
        tokio::task::block_in_place(|| cluster.stop_immediate()).map_err(|error| error.reason)?;
        runtime.sleep(Duration::from_millis(100)).await;
        tokio::task::block_in_place(|| cluster.restart()).map_err(|error| error.reason)?;
    }
    let too_little = enough.end_after(STRETCH).await;
    while let Some(log) = tasks.join_next().await {
        calls.extend(log.map_err(|error| format!("a task died: {error}"))?);
    }
    let took = runtime.monotonic().since(began);
    let claims = check(&calls, &arena.listing().await).claims;
    drain(&arena, &mut calls).await;
    let mut findings: Vec<String> = too_little.into_iter().collect();
    findings.extend(arena.gate_findings().await);
    findings.extend(check_errors(&calls, &OUTAGE));
    let verdict = check(&calls, &arena.listing().await);
    if !calls.iter().any(|call| call.reply.is_err()) {
        findings.push("no call failed: the crash hit nothing".to_owned());
    }
    report(&arena, &verdict, claims, took);
    conclude(findings, verdict)
}
