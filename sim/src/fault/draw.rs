//! Owns the plan of a seed: which faults, when, how hard. Every choice ends up in the plan, so that removing one
//! fault later reshuffles nothing.
//!
//! Swarm testing: a seed first switches a random part of the allowed kinds on. A mix of everything hides what only
//! a few kinds together can do, because the others keep undoing it.

use std::time::Duration;

use proptest::{
    strategy::{NewTree, Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sha2::{Digest, Sha256};
use tourbillon::store::SCHEMA_VERSION;

use super::{Bad, Fault, FaultKind, FaultPlan, PlanTree, Then, Trigger, TriggerPoint};
use crate::{
    history::{Boot, RunFacts},
    operator,
    scenario::{FaultMix, Scenario},
};

/// Two days: more than any sane replica is wrong by.
const WORST_OFFSET_MS: u64 = 2 * 86_400_000;

/// Within these first seconds replicas that are left alone have migrated.
const BOOT_S: u64 = 3;

/// Fault plans for a scenario, as a proptest strategy that shrinks well.
#[derive(Clone, Debug)]
pub struct PlanStrategy {
    mix: FaultMix,
    pinned: FaultPlan,
    chaos_s: u64,
    call_timeout_s: u64,
    leases_s: Vec<u64>,
    replicas: u64,
    boots: Boot,
}

/// The plans that seeds of this scenario have; the scenario's pinned faults are in each of them.
pub fn strategy(scenario: &Scenario) -> PlanStrategy {
    let ttls = scenario.services.iter().flat_map(|service| [service.ttl, scenario.leader_ttl]);
    let own = scenario.operator.into_iter().flat_map(|_| operator::leases());
    let waits = scenario.jobs.iter().map(|job| job.lease).chain(own).chain(ttls);
    let waits = waits.chain(scenario.queues.iter().map(|queue| queue.lease));
    PlanStrategy {
        mix: scenario.faults.clone(),
        pinned: scenario.pinned.clone(),
        chaos_s: scenario.phases.chaos.as_secs().max(1),
        call_timeout_s: seconds_up(scenario.call_timeout),
        leases_s: waits.map(seconds_up).collect(),
        replicas: u64::from(scenario.replicas.max(1)),
        boots: scenario.boot,
    }
}

/// The plan of a seed: always the same for the same scenario and seed, in every process.
pub fn draw(scenario: &Scenario, seed: u64) -> FaultPlan {
    draw_from(&strategy(scenario), seed)
}

/// The plan of a seed for what is not a scenario: every kind may be drawn, but for a suspended machine, which is beyond
/// the drift that the bounds of a truth table allow.
pub fn draw_any(facts: &RunFacts, chaos: Duration, leases: &[Duration], seed: u64) -> FaultPlan {
    let kinds = FaultKind::ALL.iter().copied().filter(|kind| *kind != FaultKind::FreezeMonotonic).collect();
    draw_mixed(&FaultMix { kinds, max_faults: 12, max_triggers: 4 }, facts, (chaos, leases), seed)
}

/// The plan of a seed for what is not a scenario: of these faults, in a chaos phase of this length, some of them about as
/// long as one of these leases.
pub fn draw_mixed(
    mix: &FaultMix,
    facts: &RunFacts,
    (chaos, leases): (Duration, &[Duration]),
    seed: u64,
) -> FaultPlan {
    let strategy = PlanStrategy {
        mix: mix.clone(),
        pinned: FaultPlan::default(),
        chaos_s: chaos.as_secs().max(1),
        call_timeout_s: seconds_up(facts.call_timeout),
        leases_s: leases.iter().copied().map(seconds_up).collect(),
        replicas: u64::from(facts.replicas.max(1)),
        boots: facts.boot,
    };
    draw_from(&strategy, seed)
}

fn draw_from(strategy: &PlanStrategy, seed: u64) -> FaultPlan {
    let hash = Sha256::new().chain_update(b"tourbillon plan ").chain_update(seed.to_le_bytes()).finalize();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &hash);
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    strategy.new_tree(&mut runner).expect("a plan is drawn without rejection").current()
}

impl Strategy for PlanStrategy {
    type Tree = PlanTree;
    type Value = FaultPlan;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        Ok(PlanTree::new(self.plan(&mut Dice(runner.rng())).and(&self.pinned)))
    }
}

fn seconds_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl PlanStrategy {
    fn plan(&self, dice: &mut Dice<'_>) -> FaultPlan {
        let on = swarm(&self.mix.kinds, dice);
        if on.is_empty() {
            return FaultPlan::default();
        }
        let faults = dice.within(0, u64::from(self.mix.max_faults));
        let mut faults: Vec<_> = (0..faults).map(|_| self.fault(*dice.pick(&on), dice)).collect();
        faults.sort_by_key(|fault| fault.at_s);
        let possible = possible_triggers(&on, TriggerPoint::DRAWN);
        let triggers = if possible.is_empty() { 0 } else { dice.within(0, u64::from(self.mix.max_triggers)) };
        let between_steps = possible_triggers(&on, &[TriggerPoint::AppliedMigrate]);
        let triggers = (0..triggers).map(|_| {
            let at_boot = self.boots == Boot::Migrate && !between_steps.is_empty() && dice.one_in(2);
            self.trigger(*dice.pick(if at_boot { &between_steps } else { &possible }), dice)
        });
        let triggers = triggers.collect();
        FaultPlan { faults, triggers }
    }

    fn fault(&self, kind: FaultKind, dice: &mut Dice<'_>) -> Fault {
        let replica = if kind.strikes_one_replica() { dice.below(self.replicas) } else { 0 };
        Fault {
            at_s: self.at_s(dice),
            lasts_s: self.lasts_s(kind, dice),
            replica: u8::try_from(replica).unwrap_or(0),
            bad: self.bad(kind, dice),
        }
    }

    /// Any time; where replicas migrate, half of all faults come while they do, which takes no longer.
    fn at_s(&self, dice: &mut Dice<'_>) -> u32 {
        let boots = self.boots == Boot::Migrate && dice.one_in(2);
        narrow(dice.below(if boots { BOOT_S } else { self.chaos_s }))
    }

    fn lasts_s(&self, kind: FaultKind, dice: &mut Dice<'_>) -> u32 {
        match kind {
            _ if !kind.lasts() => 0,
            FaultKind::Crash | FaultKind::PowerLoss | FaultKind::Shutdown | FaultKind::RestartAll => restart_s(dice),
            FaultKind::Deploy => narrow(dice.within(0, 90)),
            FaultKind::DatabaseRestart | FaultKind::FailOver => narrow(dice.within(0, 30)),
            _ => self.standstill_s(dice),
        }
    }

    /// Often a few seconds, which calls and heartbeats should outlast; else anything up to a bit above one and a
    /// half of some job's lease, so that leases just survive and just expire.
    fn standstill_s(&self, dice: &mut Dice<'_>) -> u32 {
        if dice.one_in(3) || self.leases_s.is_empty() {
            return narrow(dice.within(1, 10));
        }
        let lease = *dice.pick(&self.leases_s);
        narrow(dice.within(1, lease.saturating_mul(3) / 2 + 5))
    }

    fn bad(&self, kind: FaultKind, dice: &mut Dice<'_>) -> Bad {
        match kind {
            FaultKind::ClockOffset => Bad::ClockOffset { by_ms: wall_error_ms(dice) },
            FaultKind::ClockJump => Bad::ClockJump { by_ms: wall_error_ms(dice) },
            FaultKind::ClockDrift => Bad::ClockDrift { ppm: drift_ppm(dice) },
            FaultKind::DatabaseClockStep => Bad::DatabaseClockStep { by_ms: self.database_step_ms(dice) },
            FaultKind::Pause => Bad::Pause,
            FaultKind::FreezeMonotonic => Bad::FreezeMonotonic,
            FaultKind::Crash => Bad::Crash,
            FaultKind::PowerLoss => Bad::PowerLoss,
            FaultKind::Shutdown => Bad::Shutdown { grace_s: narrow(dice.within(0, 30)) },
            FaultKind::Partition => Bad::Partition,
            FaultKind::PartitionToDatabase => Bad::PartitionToDatabase,
            FaultKind::PartitionFromDatabase => Bad::PartitionFromDatabase,
            FaultKind::Hold => Bad::Hold,
            FaultKind::Refuse => Bad::Refuse { percent: percent(dice) },
            FaultKind::LoseReply => Bad::LoseReply { percent: percent(dice) },
            FaultKind::ApplyLate => Bad::ApplyLate { percent: percent(dice), delay_s: self.delay_s(dice) },
            FaultKind::DatabaseRestart => Bad::DatabaseRestart,
            FaultKind::LoseEffectReply => Bad::LoseEffectReply { percent: percent(dice) },
            FaultKind::RestartAll => Bad::RestartAll,
            FaultKind::Deploy => Bad::Deploy,
            FaultKind::SessionDrop => Bad::SessionDrop,
            FaultKind::Busy => Bad::Busy { times: narrow(dice.within(1, 20)) },
            FaultKind::Slow => Bad::Slow { percent: percent(dice), delay_ms: self.delay_ms(dice) },
            FaultKind::FailOver => Bad::FailOver { commits: lost_commits(dice), by_ms: standby_clock_ms(dice) },
            FaultKind::NoticesLost => Bad::NoticesLost { percent: percent(dice) },
            FaultKind::NoticesDoubled => Bad::NoticesDoubled { percent: percent(dice) },
            FaultKind::NoticesLate => {
                Bad::NoticesLate { percent: percent(dice), delay_ms: narrow(dice.within(10, 20_000)) }
            }
            FaultKind::PoolExhaustion => {
                Bad::PoolExhaustion { connections: u8::try_from(dice.within(0, 2)).unwrap_or(0) }
            }
        }
    }

    /// Just after the caller gave up, about when a lease expires, or anything to two minutes.
    fn delay_s(&self, dice: &mut Dice<'_>) -> u32 {
        let delay = match dice.below(3) {
            0 => self.call_timeout_s + dice.within(0, 5),
            1 if !self.leases_s.is_empty() => {
                let lease = *dice.pick(&self.leases_s);
                lease / 2 + dice.within(0, lease)
            }
            _ => dice.within(1, 120),
        };
        narrow(delay.clamp(1, 120))
    }

    /// Slow, about as slow as a caller waits, or slower.
    fn delay_ms(&self, dice: &mut Dice<'_>) -> u32 {
        let deadline = self.call_timeout_s * 1_000;
        narrow(match dice.below(3) {
            0 => dice.within(50, 2_000),
            1 => deadline.saturating_sub(500) + dice.within(0, 1_000),
            _ => deadline + dice.within(0, 5_000),
        })
    }

    /// Small steps are what time servers do; hours and days are what people do. Forward by about a lease makes every
    /// lease expire that its holder still trusts.
    fn database_step_ms(&self, dice: &mut Dice<'_>) -> i64 {
        let most = match dice.below(20) {
            0 => 86_400_000,
            1..=3 => 2 * 3_600_000,
            4..=9 => 60_000,
            10..=12 if !self.leases_s.is_empty() => {
                let lease_ms = *dice.pick(&self.leases_s) * 1_000;
                return i64::try_from(lease_ms / 2 + dice.within(0, lease_ms)).unwrap_or(i64::MAX);
            }
            _ => 1_000,
        };
        dice.signed(most)
    }

    fn trigger(&self, (after, then): (TriggerPoint, Then), dice: &mut Dice<'_>) -> Trigger {
        let nth = match dice.below(10) {
            // Each step is applied once.
            _ if after == TriggerPoint::AppliedMigrate => dice.within(1, u64::from(SCHEMA_VERSION)),
            0 => dice.within(41, 400),
            1..=3 => dice.within(1, 40),
            _ => dice.within(1, 12),
        };
        let lasts_s = match then {
            Then::PowerLoss | Then::Crash | Then::Shutdown => restart_s(dice),
            Then::Pause | Then::Partition => self.standstill_s(dice),
            Then::DatabaseRestart | Then::FailOver => narrow(dice.within(0, 30)),
            Then::LoseReply => 0,
            // Not drawn.
            Then::Refuse | Then::Busy | Then::SessionDrop => 0,
            Then::ApplyLate | Then::Slow => narrow(dice.within(1, 10)),
            Then::PartitionToDatabase | Then::PartitionFromDatabase | Then::Hold => self.standstill_s(dice),
            Then::DatabaseClockBack | Then::DatabaseClockForward => narrow(dice.within(1, 60)),
        };
        Trigger { after, of: None, nth: narrow(nth), then, lasts_s }
    }
}

/// The kinds that this seed has: sometimes none, so that undisturbed runs are in the mix, sometimes all, else each
/// with a chance of one half and at least one.
fn swarm(kinds: &[FaultKind], dice: &mut Dice<'_>) -> Vec<FaultKind> {
    if kinds.is_empty() {
        return Vec::new();
    }
    match dice.below(16) {
        0 => Vec::new(),
        1 | 2 => kinds.to_vec(),
        _ => {
            let mut on: Vec<_> = kinds.iter().copied().filter(|_| dice.one_in(2)).collect();
            if on.is_empty() {
                on.push(*dice.pick(kinds));
            }
            on
        }
    }
}

fn possible_triggers(on: &[FaultKind], points: &[TriggerPoint]) -> Vec<(TriggerPoint, Then)> {
    let pairs = points.iter().flat_map(|after| Then::DRAWN.iter().map(move |then| (*after, *then)));
    let as_trigger = |(after, then)| Trigger { after, of: None, nth: 1, then, lasts_s: 0 };
    pairs.filter(|pair| as_trigger(*pair).is_possible() && on.contains(&as_trigger(*pair).kind())).collect()
}

/// Seconds until a process is started again: often at once.
fn restart_s(dice: &mut Dice<'_>) -> u32 {
    let most = if dice.one_in(3) { 3 } else { 60 };
    narrow(dice.within(0, most))
}

fn wall_error_ms(dice: &mut Dice<'_>) -> i64 {
    let most = match dice.below(4) {
        0 => 1_000,
        1 => 60_000,
        2 => 2 * 3_600_000,
        _ => WORST_OFFSET_MS,
    };
    dice.signed(most)
}

/// Quartz drifts by tens of parts per million, a bad virtual machine by thousands.
fn drift_ppm(dice: &mut Dice<'_>) -> i32 {
    let most = match dice.below(10) {
        0 => 50_000,
        1..=3 => 5_000,
        _ => 200,
    };
    i32::try_from(dice.signed(most)).unwrap_or(0)
}

/// What an asynchronous standby lacks: often the last commit, sometimes a second of them.
fn lost_commits(dice: &mut Dice<'_>) -> u32 {
    let most = if dice.one_in(2) { 2 } else { 20 };
    narrow(dice.within(1, most))
}

/// Servers of one time service differ by milliseconds, others by seconds.
fn standby_clock_ms(dice: &mut Dice<'_>) -> i64 {
    match dice.below(4) {
        0 => dice.signed(5_000),
        1 => dice.signed(50),
        _ => 0,
    }
}

fn percent(dice: &mut Dice<'_>) -> u8 {
    if dice.one_in(4) { 100 } else { u8::try_from(dice.within(5, 100)).unwrap_or(100) }
}

/// Numbers from proptest's generator. Only its raw words are used: the way in which a library makes a range of
/// them may change with its version, and a seed that failed must keep its plan.
struct Dice<'a>(&'a mut TestRng);

impl Dice<'_> {
    fn word(&mut self) -> u64 {
        proptest::prelude::Rng::next_u64(self.0)
    }

    /// 0 to `bound` − 1; 0 when `bound` is 0.
    fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.word()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// Both ends included.
    fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Either sign, 1 to `most`.
    fn signed(&mut self, most: u64) -> i64 {
        let size = i64::try_from(self.within(1, most)).unwrap_or(i64::MAX);
        if self.one_in(2) { -size } else { size }
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// `from` is not empty.
    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        let index = self.below(u64::try_from(from.len()).unwrap_or(u64::MAX));
        &from[usize::try_from(index).unwrap_or(0)]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scenario::Scenario;

    fn scenario() -> Scenario {
        Scenario::parse(
            r#"
            settle_within = "4m"
            phases = { chaos = "20m", partial_heal = "5m", heal = "5m" }
            faults = { kinds = "all", max_faults = 12, max_triggers = 4 }
            [[job]]
            name = "short"
            every = "20s"
            run_timeout = "10s"
            lease = "20s"
            [[job]]
            name = "long"
            every = "5m"
            run_timeout = "50s"
            lease = "1m"
            "#,
            "drawn.toml",
        )
        .expect("valid")
    }

    /// A plan with exactly this many faults and no trigger.
    pub(in crate::fault) fn busy_plan(seed: u64, faults: usize) -> FaultPlan {
        let mut scenario = scenario();
        scenario.faults.max_faults = 60;
        scenario.faults.max_triggers = 0;
        let mut plan = (0..).map(|n| draw(&scenario, seed * 1_000 + n)).find(|plan| plan.len() >= faults).unwrap();
        plan.faults.truncate(faults);
        plan
    }

    /// Committed seeds must keep their plans. When this fails, every seed that anybody noted is void: raise the
    /// minor version and say so in the change log.
    #[test]
    fn the_plan_of_a_seed_never_changes() {
        let scenario = scenario();
        assert_eq!(draw(&scenario, 7), draw(&scenario, 7));
        let plans: Vec<_> = (0..100).map(|seed| draw(&scenario, seed)).collect();
        let digest = Sha256::digest(serde_json::to_vec(&plans).unwrap());
        let digest: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "417318be83a28c51");
    }

    #[test]
    fn every_kind_and_every_possible_trigger_is_drawn() {
        let scenario = scenario();
        let plans: Vec<_> = (0..2_000).map(|seed| draw(&scenario, seed)).collect();
        let kinds: BTreeSet<_> = plans.iter().flat_map(|plan| &plan.faults).map(|fault| fault.bad.kind()).collect();
        assert_eq!(kinds.len(), FaultKind::ALL.len());
        let triggers: BTreeSet<_> =
            plans.iter().flat_map(|plan| &plan.triggers).map(|trigger| (trigger.after, trigger.then)).collect();
        assert_eq!(triggers.len(), TriggerPoint::DRAWN.len() * Then::DRAWN.len() - 1);
        let undisturbed = plans.iter().filter(|plan| plan.is_empty()).count();
        assert!((50..400).contains(&undisturbed), "{undisturbed} plans of 2000 without faults");
    }

    #[test]
    fn what_is_drawn_is_within_its_range() {
        let scenario = scenario();
        for seed in 0..2_000 {
            let plan = draw(&scenario, seed);
            assert!(plan.faults.len() <= 12 && plan.triggers.len() <= 4);
            assert!(plan.triggers.iter().all(|trigger| (1..=400).contains(&trigger.nth) && trigger.is_possible()));
            for fault in plan.faults {
                let kind = fault.bad.kind();
                assert!(fault.at_s < 1_200 && fault.replica < 3, "{fault:?}");
                assert!((kind.shortest_s()..=95).contains(&fault.lasts_s), "{fault:?}");
                assert!(kind.lasts() || fault.lasts_s == 0, "{fault:?}");
                match fault.bad {
                    Bad::ClockOffset { by_ms } | Bad::ClockJump { by_ms } => {
                        assert!(by_ms != 0 && by_ms.unsigned_abs() <= WORST_OFFSET_MS);
                    }
                    Bad::DatabaseClockStep { by_ms } => assert!(by_ms != 0 && by_ms.abs() <= 86_400_000),
                    Bad::ClockDrift { ppm } => assert!(ppm != 0 && ppm.abs() <= 50_000),
                    Bad::ApplyLate { percent, delay_s } => {
                        assert!((5..=100).contains(&percent) && (1..=120).contains(&delay_s));
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn pinned_faults_are_in_every_plan_and_a_scenario_without_kinds_has_only_those() {
        let mut scenario = scenario();
        scenario.pinned.faults.push(Fault { at_s: 5, lasts_s: 1, replica: 0, bad: Bad::Pause });
        assert!((0..50).all(|seed| draw(&scenario, seed).faults.ends_with(&scenario.pinned.faults)));
        scenario.faults.kinds.clear();
        assert!((0..50).all(|seed| draw(&scenario, seed) == scenario.pinned));
    }
}
