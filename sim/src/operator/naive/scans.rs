//! Loops 9, 11 and 12 as documented: scans with a clean store and "probes × N", "duplicate scan" of clouds, health
//! checks "idempotent".

use super::Passed;
use crate::{
    operator::{
        desk::{Desk, is_done, odd},
        outside::Outside,
        tables::{Found, Reply, SOURCES, TARGETS, Verb},
    },
    world::Call,
};

/// Probes every network and stores what was found, each once.
pub(super) async fn scan_networks(desk: &Desk) -> Passed {
    scan(desk, TARGETS, Outside::Scanned, "network").await
}

/// Asks every cloud, at a price, and stores what was found, each once.
pub(super) async fn discover_clouds(desk: &Desk) -> Passed {
    scan(desk, SOURCES, Outside::Cloud, "cloud").await
}

async fn scan(desk: &Desk, targets: u32, outside: Outside, kind: &str) -> Passed {
    let mut stored = 0;
    for target in 0..targets {
        let unit = desk.unit(format!("{kind} {target}"));
        let answer = desk.call(&unit, outside, Call::new(format!("{kind} {target}"))).await;
        if !is_done(&answer) {
            continue;
        }
        unit.marking();
        match desk.ask(Verb::StoreFound { found: findings(kind, target) }).await {
            Ok(Reply::Count(rows)) => stored += u64::from(rows),
            Ok(other) => return Err(odd(&other)),
            Err(error) => desk.shrug("store what was found", &error),
        }
    }
    Ok(stored)
}

/// What there is to be found at a target: always the same.
pub(in crate::operator) fn findings(kind: &str, target: u32) -> Vec<Found> {
    let found = |n: u64| Found {
        fingerprint: u64::from(target) * 16 + n,
        agent: format!("{kind} {target}"),
        path: format!("/{n}"),
    };
    (0..3).map(found).collect()
}

/// Reads how often an endpoint has failed, probes it, and writes the new count.
pub(super) async fn check_endpoints(desk: &Desk) -> Passed {
    let checks = match desk.ask(Verb::ReadChecks {}).await? {
        Reply::Checks(checks) => checks,
        other => return Err(odd(&other)),
    };
    for (id, failures) in &checks {
        let unit = desk.unit(format!("endpoint {id}"));
        let answer = desk.call(&unit, Outside::Scanned, Call::new(format!("endpoint {id}"))).await;
        let ok = is_done(&answer);
        unit.marking();
        if let Err(error) = desk.ask(Verb::WriteCheck { id: *id, ok, failures: failures + u32::from(!ok) }).await {
            desk.shrug("record a probe", &error);
        }
    }
    Ok(checks.len() as u64)
}
