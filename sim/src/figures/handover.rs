//! How long it takes until another replica leads, and until what a dead one held is claimed again.

use std::collections::BTreeMap;

use serde::Serialize;
use tourbillon::{
    model::{ExecutionId, Incarnation},
    store::{Reply, Verb},
};

use super::Spread;
use crate::{
    EngineFactory, Overrides, chance,
    fault::{Bad, Fault, FaultPlan},
    history::{CrashKind, History, What},
    run_seed,
    scenario::Scenario,
};

/// Three replicas of which every three minutes one loses its power for a minute; times to live and leases of 30 s.
const WORLD: &str = r#"
about = "a leader and a job, on replicas that lose their power"
replicas = 3
receivers = 1
settle_within = "4m"
phases = { chaos = "1h", partial_heal = "5m", heal = "5m" }
[leadership]
ttl = "30s"
[[service]]
name = "lead"
every = "5s"
mode = "leader"
timeout = "4s"
work = { takes = ["100ms", "1s"] }
[[job]]
name = "work"
every = "5s"
run_timeout = "20s"
lease = "30s"
work = { takes = ["1s", "4s"] }
"#;

/// Losses of power in a run.
const LOSSES: u64 = 18;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct HandOver {
    /// From the loss of the leader's power to the moment at which another replica leads.
    pub take_over: Spread,
    /// From the loss of a replica's power to the next claim of what it held.
    pub first_claim: Spread,
    /// Runs in which a guarantee was broken.
    pub violated: Vec<u64>,
}

/// Measures over seeds 0, 1, … on one thread.
///
/// # Errors
/// When no engine could be made, or the world itself broke.
pub fn hand_over(seeds: u64, engine: &EngineFactory) -> Result<HandOver, String> {
    let scenario = Scenario::parse(WORLD, "hand-over.toml").map_err(|error| error.to_string())?;
    let (mut leads, mut claims, mut violated) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 0..seeds {
        let overrides = Overrides { plan: Some(losses(seed)), ..Overrides::default() };
        let verdict = run_seed(&scenario, seed, &overrides, engine)?;
        measure(&verdict.history, &mut leads, &mut claims);
        violated.extend((!verdict.violations.is_empty()).then_some(seed));
    }
    Ok(HandOver { take_over: Spread::of(leads), first_claim: Spread::of(claims), violated })
}

fn losses(seed: u64) -> FaultPlan {
    let loss = |n: u64| Fault {
        at_s: u32::try_from(120 + n * 180 + chance::between(chance::draw(seed, "loss", n, 0), 0, 90)).unwrap_or(0),
        lasts_s: 60,
        replica: u8::try_from(chance::draw(seed, "loses", n, 0) % 3).unwrap_or(0),
        bad: Bad::PowerLoss,
    };
    FaultPlan { faults: (0..LOSSES).map(loss).collect(), triggers: Vec::new() }
}

fn measure(history: &History, leads: &mut Vec<u64>, claims: &mut Vec<u64>) {
    let mut leader: Option<Incarnation> = None;
    let mut leaderless_us: Option<u64> = None;
    let mut held: BTreeMap<ExecutionId, Incarnation> = BTreeMap::new();
    let mut orphaned: BTreeMap<ExecutionId, u64> = BTreeMap::new();
    for event in &history.events {
        match &event.what {
            What::LeaderGained { incarnation, .. } => {
                leads.extend(leaderless_us.take().map(|since_us| event.at_us - since_us));
                leader = Some(*incarnation);
            }
            What::Crashed { incarnation, kind: CrashKind::PowerLoss } => {
                if leader == Some(*incarnation) {
                    leaderless_us.get_or_insert(event.at_us);
                }
                let its = held.iter().filter(|(_, holder)| *holder == incarnation).map(|(id, _)| (*id, event.at_us));
                orphaned.extend(its);
                held.retain(|_, holder| holder != incarnation);
            }
            What::Applied { result: Ok(Reply::Claimed(claimed)), .. } => {
                for row in &claimed.executions {
                    claims.extend(orphaned.remove(&row.id).map(|since_us| event.at_us - since_us));
                    held.extend(row.lease.as_ref().map(|lease| (row.id, lease.runner)));
                }
            }
            What::Applied { request, result: Ok(Reply::Settled(_)), .. } => {
                let Verb::Settle(settle) = &request.verb else { continue };
                for settlement in &settle.settlements {
                    held.remove(&settlement.lease.id);
                    // It was on its way when its replica died.
                    orphaned.remove(&settlement.lease.id);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::world::engine;

    #[test]
    fn a_replica_that_lost_its_power_is_replaced_soon_after_its_lease() {
        let memory: EngineFactory = Arc::new(|| Ok(engine::memory()));
        let measured = hand_over(1, &memory).expect("the world holds");
        assert_eq!(measured.violated, [] as [u64; 0]);
        for spread in [measured.take_over, measured.first_claim] {
            assert!(spread.samples > 0 && spread.p50_ms > 1_000 && spread.max_ms < 60_000, "{measured:?}");
        }
    }
}
