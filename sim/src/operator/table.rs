//! The operator's rows for the truth table: what each promises under which class of faults, what the reference
//! documents, and the worlds that are run for them.

use std::time::Duration;

use super::{
    config::{Config, Timing},
    hardened::{self, Mode},
    judge,
    loops::Loop,
    tables::{CHECKS, RECIPIENTS, SOURCES, TARGETS},
    workload::{self, SETTLE_WITHIN, Variant, app, facts, receivers, tables},
};
use crate::{
    history::History,
    scenario::Phases,
    table::{Cell, Claim, Documented, FaultClass, Promise, Reading, Row, Trial, Workload},
    world::Lane,
};

/// Three replicas, as the reference is usually run.
const REPLICAS: u8 = 3;
/// A little longer than the bound that is demanded in it. There is no partial heal: what it shows does not depend on the
/// column, and the scenario of the operator has one.
const HEAL: Duration = SETTLE_WITHIN.saturating_add(Duration::from_secs(60));
/// Two ticks of the hourly loops, and a little.
const SHORT: Duration = Duration::from_secs(130 * 60);
/// A day, and long enough for a replica that was restarted in its first hour.
const LONG: Duration = Duration::from_secs(1_500 * 60);
/// Every so many seeds the world is a long one, with the rare loops alone.
const LONG_EVERY: u64 = 4;

/// The operator for the truth table.
#[derive(Clone, Copy, Debug, Default)]
pub struct OperatorWorkload;

/// Loops that run four times a day or less often, and the hourly list beside them.
const RARE: [Loop; 4] = [Loop::NetworkScan, Loop::Digest, Loop::CloudDiscovery, Loop::CrlGeneration];

/// How long a world of this seed lasts, which loops run in it, and how many smaller seeds have a world of its kind.
pub fn world(seed: u64) -> (Phases, Config, u64) {
    let phases = |chaos| Phases { chaos, partial_heal: Duration::ZERO, heal: HEAL };
    let long = seed / LONG_EVERY;
    if seed % LONG_EVERY == LONG_EVERY - 1 {
        (phases(LONG), Config::only(RARE), long)
    } else {
        (phases(SHORT), Config::default(), seed - long)
    }
}

impl Workload for OperatorWorkload {
    fn name(&self) -> &'static str {
        "operator"
    }

    fn about(&self) -> &'static str {
        "a certificate operator with fifteen loops, as documented and as it should be"
    }

    fn variants(&self) -> &'static [&'static str] {
        &["naive", "hardened"]
    }

    fn must_hold(&self, variant: &str) -> bool {
        named(variant) == Variant::Hardened
    }

    fn seeds(&self) -> u64 {
        // Three short worlds to a long one, and rows are aimed at in turn.
        16
    }

    fn wants_sql(&self) -> bool {
        // Its tables are no SQL, and the naive variant asks nothing of the store.
        false
    }

    fn rows(&self, variant: &str) -> Vec<Row> {
        let variant = named(variant);
        Loop::ALL.into_iter().map(|which| row(variant, which)).collect()
    }

    fn promise(&self, variant: &str, row: &Row, class: FaultClass) -> Promise {
        match (named(variant), Loop::from_id(row.id)) {
            (Variant::Naive, Some(which)) => documented_promise(which),
            (Variant::Hardened, Some(which)) => promise(which, class),
            (_, None) => Promise::new("–", "no loop of the operator"),
        }
    }

    fn trial(&self, cell: &Cell<'_>) -> Trial {
        let variant = named(cell.variant);
        let (phases, config, turn) = world(cell.seed);
        let facts = facts(variant, &config, cell.seed, REPLICAS);
        // The naive digest waits for a day first.
        let has_work = |which: &Loop| *which != Loop::Digest || phases.chaos >= LONG || variant == Variant::Hardened;
        Trial {
            application: Some(tables(cell.seed, facts.epoch)),
            facts,
            receivers: receivers(),
            phases,
            lane: Lane::Event,
            rows: config.loops().map(|(which, _)| which).filter(has_work).map(Loop::id).collect(),
            app: app(variant, config),
            turn,
        }
    }

    fn read(&self, cell: &Cell<'_>, history: &History) -> Vec<Reading> {
        let mut readings = judge::read(named(cell.variant), history);
        if named(cell.variant) == Variant::Hardened && cell.class == FaultClass::None {
            // Without a fault there is no start without its mark: u + s is 1.
            for reading in &mut readings {
                reading.bound = reading.bound.min(1);
            }
        }
        readings
    }
}

fn named(variant: &str) -> Variant {
    Variant::from_name(variant).unwrap_or(Variant::Naive)
}

fn row(variant: Variant, which: Loop) -> Row {
    let (mode, why) = match variant {
        Variant::Naive => ("every replica", "as documented: a guard per process, no leader election"),
        Variant::Hardened => (hardened::mode(which).name(), hardened::why(which)),
    };
    Row {
        id: which.id(),
        name: format!("{} {}", which.number(), which.id().replace('_', " ")),
        mode,
        why,
        measure: judge::measure(which),
        // Units report their stages themselves, in both variants. Of the hardened digest the execution is the ledger,
        // and its settle the mark.
        jobs: if which == Loop::Digest && variant == Variant::Hardened { vec![which.id()] } else { Vec::new() },
        has_effect: has_effect(which),
        // Nobody writes down that a naive digest was sent.
        asks: which != Loop::Digest || variant == Variant::Hardened,
        every: unit_every(which),
        lease: workload::held(which, Timing { every: which.interval(), timeout: which.timeout() }),
        documented: (variant == Variant::Naive).then(|| documented(which)),
    }
}

/// How often there is a unit of it, about.
fn unit_every(which: Loop) -> Duration {
    match which {
        // As often as certificates come due, and as sending fails.
        Loop::JobProcessor | Loop::NotificationRetry => Duration::from_secs(10 * 60),
        Loop::NetworkScan => which.interval() / TARGETS,
        Loop::Digest => which.interval() / RECIPIENTS,
        Loop::CloudDiscovery => which.interval() / SOURCES,
        Loop::HealthCheck => which.interval() / CHECKS,
        _ => which.interval(),
    }
}

/// Whether its units do something outside. (Of the renewal check only alerts do, and only in the naive operator.)
const fn has_effect(which: Loop) -> bool {
    matches!(
        which,
        Loop::JobProcessor
            | Loop::NotificationProcess
            | Loop::NotificationRetry
            | Loop::NetworkScan
            | Loop::Digest
            | Loop::HealthCheck
            | Loop::CloudDiscovery
            | Loop::CrlGeneration
    )
}

/// What the reference documents.
const fn documented(which: Loop) -> Documented {
    let (text, claim) = match which {
        Loop::RenewalCheck | Loop::AgentHealth | Loop::ShortLivedExpiry | Loop::HealthCheck => {
            ("idempotent", Claim::Safe)
        }
        Loop::AcmeGc | Loop::SessionGc => ("idempotent", Claim::Safe),
        Loop::JobProcessor => ("safe by SKIP LOCKED", Claim::Safe),
        Loop::JobRetry => ("safe by claim", Claim::Safe),
        Loop::JobTimeout => ("one guarded update", Claim::Safe),
        Loop::NotificationProcess | Loop::NotificationRetry => ("duplicates ≤ N", Claim::Duplicates),
        Loop::NetworkScan => ("store clean, probes × N", Claim::Duplicates),
        Loop::Digest => ("duplicates", Claim::Duplicates),
        Loop::CloudDiscovery => ("duplicate scan", Claim::Duplicates),
        Loop::CrlGeneration => ("duplicate signing, last writer wins", Claim::Duplicates),
    };
    Documented { text, claim }
}

fn documented_promise(which: Loop) -> Promise {
    let Documented { text, claim } = documented(which);
    let bound = match (claim, which) {
        (Claim::Duplicates, _) => "≤ N",
        (Claim::Safe, Loop::RenewalCheck | Loop::JobProcessor) => "1",
        (Claim::Safe, _) => "0",
    };
    Promise::new(bound, text)
}

fn promise(which: Loop, class: FaultClass) -> Promise {
    let loses = matches!(class, FaultClass::Failover | FaultClass::Swarm);
    match (which, hardened::mode(which)) {
        (Loop::RenewalCheck, _) => Promise::new("1", "a unique key decides in the inserting statement"),
        (Loop::JobProcessor, _) if loses => Promise::new(
            "1 + lost commits",
            "an attempt belongs to one claim; once more for each claim that was lost",
        ),
        (Loop::JobProcessor, _) => Promise::new("1", "an attempt belongs to one claim, and asks the CA once"),
        (_, Mode::AtMostOnce) if loses => Promise::new(
            "≤ 1 + lost commits",
            "reserved before the call; once more for each reservation that was lost",
        ),
        (_, Mode::AtMostOnce) => Promise::new("≤ 1", "reserved before the call, and never called again"),
        (Loop::HealthCheck, _) => Promise::new("0", "a probe is counted under its slot"),
        (Loop::CrlGeneration, _) if matches!(class, FaultClass::None) => {
            Promise::new("1", "only the leader signs, once an interval")
        }
        (Loop::CrlGeneration, _) => {
            Promise::new("1 + take-overs", "a new leader signs at once, as a new process does")
        }
        (_, Mode::Claimed) if matches!(class, FaultClass::None | FaultClass::ReplicaClock) => {
            Promise::new("1", "every start ends in a durable mark")
        }
        (_, Mode::Claimed) => Promise::new("≤ u + s", "one effect per start; u starts had no durable mark"),
        (_, Mode::TickLock | Mode::Leader) => {
            Promise::new("0", "the write carries its condition, by the database clock")
        }
    }
}
