//! The operator's rows for the truth table: what each promises under which class of faults, what the reference
//! documents, and the worlds that are run for them.

use std::time::Duration;

use super::{
    config::Config,
    hardened::{self, Mode},
    judge,
    loops::Loop,
    workload::{SETTLE_WITHIN, Variant, app, facts, receivers, tables},
};
use crate::{
    history::History,
    scenario::Phases,
    table::{Cell, Claim, Documented, FaultClass, Promise, Reading, Row, Trial, Workload},
    world::Lane,
};

/// Three replicas, as the reference is usually run.
const REPLICAS: u8 = 3;
/// A heal is a little longer than the bound that is demanded in it.
const HEAL: Duration = SETTLE_WITHIN.saturating_add(Duration::from_secs(60));
/// Together with the heals, three hours.
const SHORT: Duration = Duration::from_secs(98 * 60);
/// Together with the heals, a day and two hours.
const LONG: Duration = Duration::from_secs(1_478 * 60);
/// Every so many seeds the world is a long one, with the rare loops alone.
const LONG_EVERY: u64 = 4;

/// The operator for the truth table.
#[derive(Clone, Copy, Debug, Default)]
pub struct OperatorWorkload;

/// Loops that run four times a day or less often, and the hourly list beside them.
const RARE: [Loop; 4] = [Loop::NetworkScan, Loop::Digest, Loop::CloudDiscovery, Loop::CrlGeneration];

/// How long a world of this seed lasts, and which loops run in it.
pub fn world(seed: u64) -> (Phases, Config) {
    let phases = |chaos| Phases { chaos, partial_heal: HEAL, heal: HEAL };
    if seed % LONG_EVERY == LONG_EVERY - 1 {
        (phases(LONG), Config::only(RARE))
    } else {
        (phases(SHORT), Config::default())
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
        // Three worlds of three hours to one of a day, and rows are aimed at in turn.
        32
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
        let (mut phases, config) = world(cell.seed);
        if cell.class == FaultClass::None {
            // A partial heal takes replicas away.
            let chaos = phases.chaos + phases.partial_heal + phases.heal;
            phases = Phases { chaos, partial_heal: Duration::ZERO, heal: Duration::ZERO };
        }
        let facts = facts(variant, &config, cell.seed, REPLICAS);
        // The naive digest waits for a day first, and a tick of 26 hours without it has nothing else to show.
        let has_work = |which: &Loop| *which != Loop::Digest || phases.chaos >= LONG || variant == Variant::Hardened;
        Trial {
            application: Some(tables(cell.seed, facts.epoch)),
            facts,
            receivers: receivers(),
            phases,
            lane: Lane::Event,
            rows: config.loops().map(|(which, _)| which).filter(has_work).map(Loop::id).collect(),
            app: app(variant, config),
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
    let timing = (which.interval(), which.timeout());
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
        // Units report their stages themselves, in both variants.
        jobs: Vec::new(),
        has_effect: has_effect(which),
        every: timing.0,
        lease: timing.1 + Duration::from_secs(10),
        documented: (variant == Variant::Naive).then(|| documented(which)),
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
    match (which, hardened::mode(which)) {
        (Loop::RenewalCheck, _) => Promise::new("1", "a unique key decides in the inserting statement"),
        (Loop::JobProcessor, _) => Promise::new("1", "an attempt belongs to one claim, and asks the CA once"),
        (_, Mode::AtMostOnce) => Promise::new("≤ 1", "reserved before the call, and never called again"),
        (Loop::HealthCheck, _) => Promise::new("0", "a probe is counted under its slot"),
        (_, Mode::Claimed) if matches!(class, FaultClass::None | FaultClass::ReplicaClock) => {
            Promise::new("1", "every start ends in a durable mark")
        }
        (_, Mode::Claimed) => Promise::new("≤ u + s", "one effect per start; u starts had no durable mark"),
        (_, Mode::Guarded) => Promise::new("0", "the write carries its condition, by the database clock"),
    }
}
