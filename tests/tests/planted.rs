//! Bugs planted in the store of a simulated database: each is found, by the checker of the guarantee that it breaks.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use tourbillon::{
    model::{Epoch, HeldBy, Incarnation, Timestamp},
    store::{ErrorKind, Reply, Request, StoreError, Verb},
};
use tourbillon_sim::{
    EngineFactory, Overrides, run_seed,
    scenario::Scenario,
    world::engine::{self, Engine},
};
use uuid::Uuid;

/// What the store does instead of what it should.
type Bug = fn(&mut dyn Engine, Timestamp, &Request) -> Result<Reply, StoreError>;

struct Planted {
    engine: Box<dyn Engine + Send>,
    bug: Bug,
}

impl Engine for Planted {
    fn apply(&mut self, now: Timestamp, request: &Request) -> Result<Reply, StoreError> {
        (self.bug)(self.engine.as_mut(), now, request)
    }
}

/// Guarantees that a seed of the scenario shows broken.
fn broken(scenario: &str, seed: u64, bug: Bug) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let scenario = Scenario::load(&folder.join(scenario)).unwrap_or_else(|error| panic!("{error}"));
    let factory: EngineFactory = Arc::new(move || Ok(Box::new(Planted { engine: engine::memory(), bug })));
    let verdict =
        run_seed(&scenario, seed, &Overrides::default(), &factory).unwrap_or_else(|error| panic!("{error}"));
    verdict.violations.into_iter().map(|violation| violation.guarantee).collect()
}

#[track_caller]
fn found(guarantee: &str, scenario: &str, bug: Bug) {
    let found: Vec<_> =
        (0..3).map(|seed| broken(scenario, seed, bug)).take_while(|broken| !broken.contains(guarantee)).collect();
    assert!(found.len() < 3, "{guarantee} was not found broken, but {found:?}");
}

#[test]
fn a_store_without_a_bug_is_cleared() {
    for scenario in ["boot-migrations.toml", "leader-handover.toml"] {
        assert_eq!(broken(scenario, 0, |engine, now, request| engine.apply(now, request)), BTreeSet::new());
    }
}

/// A step is there before its entry in the ledger: who asks next is told the old version, and applies it again.
#[test]
fn a_step_that_is_applied_again_is_found() {
    found("G12", "boot-migrations.toml", |engine, now, request| {
        let reply = engine.apply(now, request)?;
        match reply {
            Reply::Migrated(mut told) if told.from == 2 => {
                told.from = 1;
                Ok(Reply::Migrated(told))
            }
            reply => Ok(reply),
        }
    });
}

/// The first step is applied with the second one, and nobody is told of it.
#[test]
fn a_step_that_is_left_out_is_found() {
    found("G12", "boot-migrations.toml", |engine, now, request| {
        let first = engine.apply(now, request)?;
        match (&first, &request.verb) {
            (Reply::Migrated(told), Verb::Migrate(_)) if told.from == 0 => engine.apply(now, request),
            _ => Ok(first),
        }
    });
}

/// A program is told that its schema is too new as soon as another one has completed it.
#[test]
fn a_migrate_that_is_refused_for_nothing_is_found() {
    found("G12", "boot-migrations.toml", |engine, now, request| {
        let reply = engine.apply(now, request)?;
        match &reply {
            Reply::Migrated(told) if told.from == told.to => {
                Err(StoreError::new(ErrorKind::Invalid, "newer than this program"))
            }
            _ => Ok(reply),
        }
    });
}

/// Expiry is judged by a clock that is ahead.
#[test]
fn a_lock_that_is_taken_from_its_holder_is_found() {
    found("G7", "leader-handover.toml", |engine, now, request| {
        let ahead = if matches!(request.verb, Verb::AcquireLock(_)) { 3_600 } else { 0 };
        engine.apply(now + std::time::Duration::from_secs(ahead), request)
    });
}

/// Each new holder begins at one.
#[test]
fn an_epoch_that_does_not_grow_is_found() {
    found("G7", "leader-handover.toml", |engine, now, request| {
        let mut reply = engine.apply(now, request)?;
        if let Reply::LockTried(tried) = &mut reply
            && let Ok(held) = &mut tried.outcome
        {
            held.epoch = Epoch(1);
        }
        Ok(reply)
    });
}

/// A lock whose third holder is gone is never free again.
#[test]
fn a_lock_that_nobody_gets_any_more_is_found() {
    found("G14", "leader-handover.toml", |engine, now, request| {
        let mut reply = engine.apply(now, request)?;
        if let Reply::LockTried(tried) = &mut reply
            && tried.outcome.as_ref().is_ok_and(|held| held.epoch > Epoch(2))
        {
            let holder = Incarnation(Uuid::nil());
            tried.outcome = Err(HeldBy { holder, epoch: Epoch(2), expires_at: now });
        }
        Ok(reply)
    });
}

/// Each claim has all turns that there are: a replica that does not ask for them.
#[test]
fn claims_that_take_no_turns_are_found() {
    found("G15", "rates.toml", |engine, now, request| {
        let mut request = request.clone();
        if let Verb::Claim(claim) = &mut request.verb {
            claim.rate = None;
        }
        engine.apply(now, &request)
    });
}
