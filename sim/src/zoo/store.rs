//! Owns the planted bugs that need no place in core: a store that errs before or after the real one answered.

use std::time::Duration;

use tourbillon::{
    model::{ErrorCode, Execution, Outcome, RequestId, State, Timestamp, Token},
    model::{ExecutionId, LockRef},
    mutant::{Mutant, is_planted},
    store::{
        Claim, ErrorKind, ListExecutions, ListLocks, MAX_BATCH, Migrated, ReleaseLock, Reply, Request, Rescued,
        StoreError, Verb,
    },
};
use uuid::Uuid;

use std::sync::Arc;

use super::walls;
use crate::world::engine::{Engine, EngineFactory};

/// Engines behind which a bug may be loose.
pub(crate) fn caged(factory: &EngineFactory) -> EngineFactory {
    let factory = Arc::clone(factory);
    Arc::new(move || Ok(Box::new(Caged::new(factory()?))))
}

struct Caged {
    engine: Box<dyn Engine + Send>,
    /// When the last planning was carried out.
    planned_at: Timestamp,
    /// When the schema was changed last.
    migrated_at: Timestamp,
    /// An entry of the ledger of migrations was lost.
    has_lost_entry: bool,
    /// What ran at the last rescue.
    ran: Vec<Execution>,
    /// When the last claim was carried out.
    claimed_at: Timestamp,
}

impl Engine for Caged {
    fn apply(&mut self, now: Timestamp, request: &Request) -> Result<Reply, StoreError> {
        match &request.verb {
            Verb::Claim(verb) => self.claim(now, request, verb),
            Verb::Plan(_) => {
                self.planned_at = now;
                self.engine.apply(now, request)
            }
            Verb::Heartbeat(verb) => {
                let near = verb.leases.first().map_or(0, |lease| up_to(lease.token.0, 5));
                let ahead_us = walls::ahead_us(request.id, -seconds_us(near));
                let is_off = ahead_us != 0 && is_planted(Mutant::A12);
                self.engine.apply(if is_off { now.offset_micros(ahead_us) } else { now }, request)
            }
            Verb::AcquireLock(verb) => {
                let ahead = up_to(verb.holder.0, 20);
                let ahead_us = walls::ahead_us(request.id, seconds_us(ahead));
                let is_off = ahead_us != 0 && is_planted(Mutant::B12);
                self.engine.apply(if is_off { now.offset_micros(ahead_us) } else { now }, request)
            }
            Verb::Settle(verb) => {
                let has_panicked = verb.settlements.iter().any(|one| {
                    matches!(&one.outcome, Outcome::Failed { failure, .. } if failure.code == ErrorCode::handler_panic())
                });
                if has_panicked && is_planted(Mutant::A5) {
                    return Err(StoreError::new(ErrorKind::Invalid, "invalid byte sequence for encoding UTF8"));
                }
                let mut reply = self.engine.apply(now, request)?;
                if let Reply::Settled(settled) = &mut reply
                    && let [first, others @ ..] = &mut settled.outcomes[..]
                    && others.iter().any(|other| other != first)
                    && is_planted(Mutant::D12)
                {
                    others.fill(*first);
                }
                Ok(reply)
            }
            Verb::Rescue(_) => self.rescue(now, request),
            Verb::Migrate(_) => self.migrate(now, request),
            _ => self.engine.apply(now, request),
        }
    }
}

/// A number below `limit` that follows from the id.
fn up_to(id: Uuid, limit: u64) -> u64 {
    id.as_u64_pair().1 % limit
}

fn seconds_us(seconds: u64) -> i64 {
    i64::try_from(seconds * 1_000_000).unwrap_or(i64::MAX)
}

impl Caged {
    fn new(engine: Box<dyn Engine + Send>) -> Self {
        let never = Timestamp::EPOCH;
        Self {
            engine,
            planned_at: never,
            migrated_at: never,
            has_lost_entry: false,
            ran: Vec::new(),
            claimed_at: never,
        }
    }

    fn claim(&mut self, now: Timestamp, request: &Request, verb: &Claim) -> Result<Reply, StoreError> {
        let began_at = self.planned_at;
        let is_late = !verb.jobs.is_empty() && began_at < now && now < began_at + Duration::from_secs(60);
        let at = if is_late && is_planted(Mutant::A2) { began_at } else { now };
        let mut reply = self.engine.apply(at, request)?;
        if let Reply::Claimed(claimed) = &mut reply {
            let before = std::mem::replace(&mut self.claimed_at, now);
            for row in claimed.executions.iter_mut().filter(|_| before < now && is_planted(Mutant::D17)) {
                row.updated_at = before;
            }
        }
        Ok(reply)
    }

    /// Tells of rows by what was read at the rescue before.
    fn rescue(&mut self, now: Timestamp, request: &Request) -> Result<Reply, StoreError> {
        let reply = self.engine.apply(now, request)?;
        let running = ListExecutions { states: vec![State::Running], limit: MAX_BATCH, ..ListExecutions::default() };
        let Reply::ExecutionPage(page) = self.engine.apply(now, &ask(running))? else { return Ok(reply) };
        let live: Vec<ExecutionId> = page.executions.iter().map(|row| row.id).collect();
        let before = std::mem::replace(&mut self.ran, page.executions);
        let Reply::Rescued(mut told) = reply else { return Ok(reply) };
        for row in before {
            let has_expired = row.lease.as_ref().is_some_and(|lease| lease.expires_at < now);
            let is_told = told.ended.iter().any(|(id, _)| *id == row.id);
            if has_expired && !is_told && !live.contains(&row.id) && is_planted(Mutant::B18) {
                told.ended.push((row.id, State::Dead));
            }
        }
        Ok(Reply::Rescued(Rescued { ..told }))
    }

    fn migrate(&mut self, now: Timestamp, request: &Request) -> Result<Reply, StoreError> {
        let reply = self.engine.apply(now, request)?;
        let Reply::Migrated(told) = reply else { return Ok(reply) };
        let is_busy = self.migrated_at <= now && now < self.migrated_at + Duration::from_secs(1);
        // Somebody else was as fast.
        if told.from == told.to && is_busy && is_planted(Mutant::B29) {
            return Err(StoreError::new(ErrorKind::Conflict, "relation \"execution\" already exists"));
        }
        if told.from < told.to {
            self.migrated_at = now;
        }
        if told.from == 2 && !self.has_lost_entry && is_planted(Mutant::A26) {
            self.has_lost_entry = true;
            return Ok(Reply::Migrated(Migrated { from: 1, ..told }));
        }
        Ok(Reply::Migrated(told))
    }
}

fn ask(verb: impl Into<Verb>) -> Request {
    Request { id: RequestId(Uuid::nil()), verb: verb.into() }
}

/// The server stops: where sessions hold locks, nobody holds any after it.
pub(crate) fn server_stops(engine: &mut dyn Engine, now: Timestamp) {
    if !is_planted(Mutant::B28) {
        return;
    }
    let Ok(Reply::LockPage(page)) = engine.apply(now, &ask(ListLocks { after: None, limit: MAX_BATCH })) else {
        return;
    };
    for lock in page.locks.into_iter().filter(|lock| lock.released_at.is_none()) {
        let held = LockRef { name: lock.name, token: Token(lock.token.0), epoch: lock.epoch };
        // A lock that cannot be given back stays: the bug is smaller then.
        let _ = engine.apply(now, &ask(ReleaseLock { lock: held }));
    }
}
