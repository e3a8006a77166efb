//! The store: what a scheduler needs from a database, and the semantics that every store must have.
//!
//! Two ways to write one. A database with serialisable transactions and cheap statements implements [`Rows`]
//! and gets every verb from [`apply()`](apply::apply), the executable specification (the in-memory and SQLite stores do).
//! A database that earns more by stating a verb as one statement implements [`Store`] itself (Postgres does) and
//! is held to the specification by the conformance suite.

pub mod apply;
mod audit_rows;
mod bell;
mod error;
mod job_rows;
mod lock_rows;
mod memory;
mod notice;
mod pause_rows;
mod queue_rows;
mod rate_rows;
mod receipt;
mod rows;
mod schedule_rows;
mod schema_rows;
mod verb;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicI64, Ordering},
};

pub use audit_rows::AuditRows;
pub use bell::Bell;
pub use error::{ErrorKind, StoreError};
pub use job_rows::JobRows;
pub use lock_rows::LockRows;
pub use memory::MemoryStore;
pub use notice::{Listener, Notice};
pub use pause_rows::PauseRows;
pub use queue_rows::QueueRows;
pub use rate_rows::RateRows;
pub use receipt::{ClaimReceipt, Receipt};
pub use rows::{JobRecord, Rows};
pub use schedule_rows::ScheduleRows;
pub use schema_rows::SchemaRows;
pub use verb::*;

pub use crate::model::SkippedSlots;

use crate::model::{MAX_TTL_MS, Outcome, RequestId, Timestamp, transition};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A database as the scheduler sees it.
///
/// # Errors
/// By [`ErrorKind`]. An implementation returns `Unknown` whenever the request may have been applied, and never
/// `Unavailable` then.
pub trait Store: Send + Sync + 'static {
    /// Carries out one request as one transaction. Repeating a request id returns its first outcome.
    ///
    /// Dropping the future leaves the outcome unknown, and must not leave the store unusable.
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>>;

    /// Begins to listen for notices of what becomes due; `None`, the default, for a store that gives none: those who
    /// wait for work poll. Once it returns, the listener hears.
    ///
    /// A notice is a hint. One may be lost, doubled or late, so nothing may depend on it but how soon work is found. Rows
    /// that become due by the passing of time have none.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown` when there is no listener now; anything else when the set-up is wrong.
    fn listen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Listener>>, StoreError>> {
        Box::pin(async { Ok(None) })
    }
}

/// Calls a verb once and returns its own reply type. `id` must be new; keep it to ask again after `Unknown`.
///
/// ```
/// # use tourbillon::{model::{RequestId, Timestamp}, runtime::Runtime, store::{ListExecutions, ManualClock, MemoryStore, StoreError, ask}};
/// # async fn list() -> Result<(), StoreError> {
/// # let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
/// let id = RequestId(Runtime::tokio().uuid());
/// let page = ask(&store, id, ListExecutions { limit: 100, ..ListExecutions::default() }).await?;
/// println!("{} executions", page.executions.len());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Store::call`]; `Corrupt` when the store answers another verb.
pub async fn ask<V: Operation>(store: &impl Store, id: RequestId, verb: V) -> Result<V::Reply, StoreError> {
    let verb = verb.into();
    let name = verb.name();
    let reply = store.call(Request { id, verb }).await?;
    V::reply(reply).ok_or_else(|| {
        StoreError::new(ErrorKind::Corrupt, format!("{name}: the store answered another verb than it was asked"))
    })
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>> {
        (**self).call(request)
    }

    fn listen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Listener>>, StoreError>> {
        (**self).listen()
    }
}

/// Where a store takes the time from.
///
/// `Database` in production: the server's clock, read inside the statement that uses it. `Manual` for tests and
/// the simulation, where the database host sets the instant right before each request is applied; the request
/// itself never carries it (G10).
#[derive(Clone, Debug, Default)]
pub enum DatabaseClock {
    /// The database's own clock.
    #[default]
    Database,
    /// A clock that is set from outside.
    Manual(ManualClock),
}

impl DatabaseClock {
    /// The set instant, or `None` for the database's own.
    pub fn fixed(&self) -> Option<Timestamp> {
        match self {
            Self::Database => None,
            Self::Manual(clock) => Some(clock.now()),
        }
    }
}

/// A clock that stands until it is set. Clones share the instant.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock standing at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.as_micros())))
    }

    /// The instant it stands at.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    /// Sets it, forwards or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    /// Moves it forwards.
    pub fn advance(&self, by: std::time::Duration) {
        self.0.fetch_add(crate::model::micros(by), Ordering::SeqCst);
    }
}

/// Checks what a type cannot: batch sizes and repeated rows. Every store calls it first.
///
/// # Errors
/// `Invalid`, naming the field and the bound.
pub fn check(verb: &Verb) -> Result<(), StoreError> {
    let batch = |what: &str, len: usize| {
        if len > MAX_BATCH as usize {
            let message = format!("{}: {len} {what} in one request, at most {MAX_BATCH} are allowed", verb.name());
            return Err(StoreError::new(ErrorKind::Invalid, message));
        }
        Ok(())
    };
    let limit = |limit: u32| {
        if limit == 0 || limit > MAX_BATCH {
            let message = format!("{}: limit is {limit}, allowed are 1 to {MAX_BATCH}", verb.name());
            return Err(StoreError::new(ErrorKind::Invalid, message));
        }
        Ok(())
    };
    fn distinct<T: Ord>(name: &str, what: &str, items: impl Iterator<Item = T>) -> Result<(), StoreError> {
        let mut seen = std::collections::BTreeSet::new();
        for item in items {
            if !seen.insert(item) {
                let message = format!("{name}: the same {what} twice in one request");
                return Err(StoreError::new(ErrorKind::Invalid, message));
            }
        }
        Ok(())
    }
    check_numbers(verb)?;
    let name = verb.name();
    match verb {
        Verb::Migrate(v) => {
            if v.known == 0 || v.known > SCHEMA_VERSION {
                let message = format!("{name}: known is {}, allowed are 1 to {SCHEMA_VERSION}", v.known);
                return Err(StoreError::new(ErrorKind::Invalid, message));
            }
            Ok(())
        }
        Verb::ReadClock(_) | Verb::ReadStats(_) => Ok(()),
        Verb::Register(v) => {
            batch("jobs", v.jobs.len())?;
            distinct(name, "job", v.jobs.iter().map(|job| &job.job))
        }
        Verb::ReadCursors(v) => batch("jobs", v.jobs.len()),
        Verb::ReadDue(v) => batch("jobs", v.jobs.len()),
        Verb::Plan(v) => {
            batch("entries", v.entries.len())?;
            batch("slots", v.entries.iter().map(|entry| entry.slots.len()).sum())?;
            distinct(name, "job and scope", v.entries.iter().map(|entry| (&entry.job, &entry.scope)))?;
            let slots = || v.entries.iter().flat_map(|entry| &entry.slots);
            if let Some(slot) = slots().find(|slot| slot.unique_key.is_some()) {
                let message = format!("plan: execution {} has a unique key: only an enqueue may give one", slot.id);
                return Err(StoreError::new(ErrorKind::Invalid, message));
            }
            distinct(name, "execution id", slots().map(|slot| slot.id))
        }
        Verb::Enqueue(v) => {
            batch("items", v.items.len())?;
            distinct(name, "execution id", v.items.iter().map(|item| item.id))?;
            v.items.iter().try_for_each(check_item)
        }
        Verb::Claim(v) => {
            batch("jobs", v.jobs.len())?;
            if let Some(wrong) = v.rate.as_ref().and_then(|rate| rate.broken(v.jobs.len())) {
                return Err(StoreError::new(ErrorKind::Invalid, format!("{name}: {wrong}")));
            }
            limit(v.limit)
        }
        Verb::Heartbeat(v) => {
            batch("rows", v.leases.len())?;
            batch("notes of progress", v.progress.len())?;
            if v.progress.iter().any(|(_, progress)| !progress.is_sound()) {
                let message = format!("{name}: a note of progress that `Progress::new` would not have made");
                return Err(StoreError::new(ErrorKind::Invalid, message));
            }
            distinct(name, "execution", v.progress.iter().map(|(id, _)| *id))?;
            distinct(name, "execution", v.leases.iter().map(|lease| lease.id))
        }
        Verb::Start(Start { leases }) => {
            batch("rows", leases.len())?;
            distinct(name, "execution", leases.iter().map(|lease| lease.id))
        }
        Verb::Settle(v) => {
            batch("rows", v.settlements.len())?;
            distinct(name, "execution", v.settlements.iter().map(|settlement| settlement.lease.id))
        }
        Verb::Rescue(v) => limit(v.limit),
        Verb::Cancel(Cancel { ids, .. }) | Verb::Requeue(Requeue { ids, .. }) => {
            batch("rows", ids.len())?;
            distinct(name, "execution", ids.iter())
        }
        Verb::ListExecutions(v) => limit(v.limit),
        Verb::ListSkipped(v) => limit(v.limit),
        Verb::ListAudit(v) => limit(v.limit),
        Verb::Prune(v) => limit(v.limit),
        Verb::AcquireLock(v) => {
            if v.ttl_ms == 0 || v.ttl_ms > MAX_TTL_MS {
                let message = format!("{name}: ttl_ms is {}, allowed are 1 to {MAX_TTL_MS}", v.ttl_ms);
                return Err(StoreError::new(ErrorKind::Invalid, message));
            }
            Ok(())
        }
        Verb::RenewLock(_) | Verb::ReleaseLock(_) | Verb::PauseJob(_) | Verb::ResumeJob(_) => Ok(()),
        Verb::TriggerJob(_) => Ok(()),
        Verb::PutSchedule(v) => v.note.as_ref().map_or(Ok(()), |note| check_note(name, note)),
        Verb::RemoveSchedule(v) => v.note.as_ref().map_or(Ok(()), |note| check_note(name, note)),
        Verb::ListSchedules(v) => limit(v.limit),
        Verb::ListLocks(v) => limit(v.limit),
        Verb::ListJobs(v) => limit(v.limit),
        Verb::ListPauses(v) => limit(v.limit),
        Verb::ListScopes(v) => limit(v.limit),
        Verb::ListRecent(v) => limit(v.limit),
        Verb::ListItems(v) => limit(v.limit),
        Verb::ReadQueueStats(_) | Verb::UpdateItem(_) => Ok(()),
        Verb::DeleteItems(v) => {
            batch("items", v.ids.len())?;
            distinct(name, "item", v.ids.iter())
        }
        Verb::CleanItems(v) => {
            if let Some(live) = v.states.iter().find(|state| !state.is_terminal()) {
                let message = format!("{name}: items that are {live} have not ended: delete them by their ids");
                return Err(StoreError::new(ErrorKind::Invalid, message));
            }
            limit(v.limit)
        }
    }
}

/// What a note must be.
fn check_note(verb: &str, note: &str) -> Result<(), StoreError> {
    let wrong = if note.len() > MAX_NOTE_BYTES {
        format!("has {} bytes, at most {MAX_NOTE_BYTES} are kept: shorten it", note.len())
    } else if note.contains('\0') {
        "holds a NUL character, which Postgres cannot keep".to_owned()
    } else {
        return Ok(());
    };
    Err(StoreError::new(ErrorKind::Invalid, format!("{verb}: its note {wrong}")))
}

/// What a unique key and a time to live must be.
fn check_item(item: &NewItem) -> Result<(), StoreError> {
    let refuse = |what: String| {
        let message = format!("enqueue: item {}: {what}", item.id);
        Err(StoreError::new(ErrorKind::Invalid, message))
    };
    if let Some(unique) = &item.unique {
        if unique.key.is_empty() || unique.key.len() > MAX_KEY_BYTES {
            let len = unique.key.len();
            return refuse(format!("its unique key has {len} bytes, allowed are 1 to {MAX_KEY_BYTES}: hash it"));
        }
        if unique.key.contains('\0') {
            return refuse("its unique key holds a NUL character, which Postgres cannot keep".to_owned());
        }
        if let Some(ms) = unique.period_ms
            && !(1..=transition::MAX_WAIT_MS).contains(&ms)
        {
            return refuse(format!("its unique period is {ms} ms, allowed are 1 to {}", transition::MAX_WAIT_MS));
        }
    }
    match (item.due, item.ttl_ms) {
        (_, Some(0)) => {
            refuse("its time to live is 0: it would expire at once; leave it out for no limit".to_owned())
        }
        (Due::AfterMs(delay), Some(ttl)) if ttl <= delay => {
            refuse(format!("its time to live ({ttl} ms) is not longer than its delay ({delay} ms)"))
        }
        _ => Ok(()),
    }
}

/// Most that a count may be: what a signed 64-bit column holds.
pub const MAX_COUNT: u64 = i64::MAX.unsigned_abs();

/// Every count fits a column. (Waits need no bound here: every store cuts them to
/// [`MAX_WAIT_MS`](crate::model::transition::MAX_WAIT_MS).)
fn check_numbers(verb: &Verb) -> Result<(), StoreError> {
    let at_most = |what: &str, value: u64| {
        if value > MAX_COUNT {
            let message = format!("{}: {what} is {value}, at most {MAX_COUNT} is allowed", verb.name());
            return Err(StoreError::new(ErrorKind::Invalid, message));
        }
        Ok(())
    };
    match verb {
        Verb::Plan(plan) => plan.entries.iter().try_for_each(|entry| {
            entry.slots.iter().try_for_each(|slot| at_most("lease_ms", slot.policy.lease_ms))?;
            entry.skipped.iter().try_for_each(|slots| at_most("count", slots.count.unwrap_or(0)))
        }),
        Verb::TriggerJob(trigger) => at_most("lease_ms", trigger.policy.lease_ms),
        Verb::Enqueue(enqueue) => {
            at_most("max_items", enqueue.max_items.unwrap_or(0))?;
            enqueue.items.iter().try_for_each(|item| at_most("lease_ms", item.policy.lease_ms))
        }
        Verb::Settle(settle) => settle.settlements.iter().try_for_each(|one| match &one.outcome {
            Outcome::Succeeded { rows_affected, .. } => at_most("rows_affected", rows_affected.unwrap_or(0)),
            _ => Ok(()),
        }),
        _ => Ok(()),
    }
}

/// True for verbs whose first reply is kept under the request id. The others are either reads or idempotent by
/// their own guard (migrate, start, heartbeat, register, rescue, prune, cleaning, renewing and releasing a lock: repeating them does what was wanted).
pub const fn keeps_receipt(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Plan(_)
            | Verb::Claim(_)
            | Verb::Settle(_)
            | Verb::Cancel(_)
            | Verb::Requeue(_)
            | Verb::AcquireLock(_)
            | Verb::Enqueue(_)
            | Verb::UpdateItem(_)
            | Verb::DeleteItems(_)
            | Verb::PauseJob(_)
            | Verb::ResumeJob(_)
            | Verb::TriggerJob(_)
            | Verb::PutSchedule(_)
            | Verb::RemoveSchedule(_)
    )
}
