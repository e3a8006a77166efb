//! The in-memory store: the shortest correct one. Differential oracle of the conformance suite, and the fastest
//! engine of the simulation. Keeps nothing across a restart.

mod job;
mod pause;
mod queue;
mod rate;
mod schedule;
mod schema;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    AuditRows, Bell, BoxFuture, Cursor, ErrorKind, JobRecord, JobStats, ListAudit, ListExecutions, ListSkipped,
    Listener, LockRows, ManualClock, Prune, Pruned, Receipt, Reply, Request, Revision, Rows, SCHEMA_VERSION,
    SchemaRows, SkippedEntry, Store, StoreError, StoredSchedule, Verb, apply,
};
use crate::model::{
    AuditEvent, AuditKey, Execution, ExecutionId, Gate, Generation, JobName, Lock, LockName, Pause, Rate, RequestId,
    Scope, State, Timestamp, micros,
};
use std::time::Duration;

/// A store in memory, on a clock that its owner sets. Clones share the data, and notices.
///
/// ```
/// # use tourbillon::{model::Timestamp, store::{ManualClock, MemoryStore}};
/// let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore {
    clock: ManualClock,
    tables: Arc<Mutex<Tables>>,
    bell: Bell,
}

impl MemoryStore {
    /// An empty store with the newest schema.
    pub fn new(clock: ManualClock) -> Self {
        let store = Self::unmigrated(clock);
        store.tables().schema_version = SCHEMA_VERSION;
        store
    }

    /// An empty store without a schema: it refuses everything but `migrate`, as a database does, until every step was
    /// applied.
    pub fn unmigrated(clock: ManualClock) -> Self {
        Self { clock, tables: Arc::default(), bell: Bell::default() }
    }

    /// Carries out one request without a future; for single-threaded owners such as a simulated database host.
    ///
    /// # Errors
    /// As [`Store::call`], but never `Unavailable` or `Unknown`.
    pub fn apply(&self, request: &Request) -> Result<Reply, StoreError> {
        let mut tables = self.tables();
        if !matches!(request.verb, Verb::Migrate(_)) {
            apply::require_complete(&tables.database(), tables.schema_version)?;
        }
        apply::apply(&mut *tables, self.clock.now(), request)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // A panic inside leaves half a transaction; it is our bug, and tests want to see it, not a poisoned lock.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>> {
        Box::pin(async move {
            let reply = self.apply(&request)?;
            self.bell.ring_after(&request.verb, &reply);
            Ok(reply)
        })
    }

    fn listen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Listener>>, StoreError>> {
        Box::pin(async { Ok(Some(Box::new(self.bell.listen()) as Box<dyn Listener>)) })
    }
}

type ClaimKey = (i16, Timestamp, ExecutionId);

#[derive(Debug, Default)]
struct Tables {
    schema_version: u32,
    live: BTreeMap<ExecutionId, Execution>,
    claimable: BTreeMap<ClaimKey, JobName>,
    running_by_limit: BTreeMap<String, u32>,
    gates: BTreeMap<String, Gate>,
    /// What the databases have a unique index for.
    live_keys: BTreeMap<String, ExecutionId>,
    history: BTreeMap<(ExecutionId, Generation), Execution>,
    jobs: BTreeMap<JobName, JobRecord>,
    cursors: BTreeMap<(JobName, Scope), Cursor>,
    skipped: Vec<SkippedEntry>,
    audit: BTreeMap<AuditKey, AuditEvent>,
    receipts: BTreeMap<RequestId, (Timestamp, Receipt)>,
    last_rescue: Option<Timestamp>,
    locks: BTreeMap<LockName, Lock>,
    pauses: BTreeMap<RequestId, Pause>,
    schedules: BTreeMap<(JobName, Scope, Revision), StoredSchedule>,
}

impl Tables {
    fn index(&mut self, row: &Execution) {
        if let Some(key) = claim_key(row) {
            self.claimable.insert(key, row.job.clone());
        }
        if let Some(key) = &row.unique_key {
            let other = self.live_keys.insert(key.clone(), row.id);
            debug_assert!(other.is_none(), "unique key {key:?} of {} is held by {other:?}", row.id);
        }
        if let Some(key) = running_limit_key(row) {
            *self.running_by_limit.entry(key.to_owned()).or_default() += 1;
        }
    }

    fn unindex(&mut self, row: &Execution) {
        if let Some(key) = claim_key(row) {
            self.claimable.remove(&key);
        }
        if let Some(key) = &row.unique_key {
            self.live_keys.remove(key);
        }
        if let Some(key) = running_limit_key(row)
            && let Some(running) = self.running_by_limit.get_mut(key)
        {
            *running -= 1;
        }
    }

    fn is_blocked(&self, row: &Execution) -> bool {
        row.state != State::Running
            && row
                .policy
                .limit
                .as_ref()
                .is_some_and(|limit| self.running_by_limit.get(&limit.key).copied().unwrap_or(0) >= limit.max)
    }

    /// By a pause. Only what a schedule made.
    fn is_held(&self, row: &Execution) -> bool {
        row.slot_at.is_some() && self.pauses.values().any(|pause| pause.holds(&row.job, &row.scope))
    }
}

fn claim_key(row: &Execution) -> Option<ClaimKey> {
    row.claimable_at.map(|at| (row.priority, at, row.id))
}

fn running_limit_key(row: &Execution) -> Option<&str> {
    match &row.policy.limit {
        Some(limit) if row.state == State::Running => Some(&limit.key),
        _ => None,
    }
}

fn page<T>(items: impl Iterator<Item = T>, limit: u32) -> Vec<T> {
    items.take(limit as usize).collect()
}

impl AuditRows for Tables {
    fn add_audit(&mut self, event: &AuditEvent) -> Result<(), StoreError> {
        if self.audit.insert(event.key, event.clone()).is_some() {
            let message = format!("audit event {:?} exists already", event.key);
            return Err(StoreError::new(ErrorKind::Corrupt, message));
        }
        Ok(())
    }

    fn list_audit(&mut self, filter: &ListAudit) -> Result<Vec<AuditEvent>, StoreError> {
        let from = filter.after.map_or(Bound::Unbounded, Bound::Excluded);
        let events = self.audit.range((from, Bound::Unbounded)).map(|(_, event)| event);
        let wanted = events.filter(|event| {
            filter.job.as_ref().is_none_or(|job| event.job == *job)
                && filter.execution.is_none_or(|id| event.key.execution == id)
        });
        Ok(page(wanted.cloned(), filter.limit))
    }
}

impl Rows for Tables {
    fn live(&mut self, id: ExecutionId) -> Result<Option<Execution>, StoreError> {
        Ok(self.live.get(&id).cloned())
    }

    fn insert(&mut self, row: &Execution) -> Result<(), StoreError> {
        self.index(row);
        self.live.insert(row.id, row.clone());
        Ok(())
    }

    fn update(&mut self, was: &Execution, row: &Execution) -> Result<(), StoreError> {
        self.unindex(was);
        self.insert(row)
    }

    fn finish(&mut self, row: &Execution) -> Result<(), StoreError> {
        if let Some(was) = self.live.remove(&row.id) {
            self.unindex(&was);
        }
        self.history.insert((row.id, row.generation), row.clone());
        Ok(())
    }

    fn finished(&mut self, id: ExecutionId) -> Result<Option<Execution>, StoreError> {
        let mut generations = self.history.range((id, Generation(0))..=(id, Generation(u32::MAX)));
        Ok(generations.next_back().map(|(_, row)| row.clone()))
    }

    fn claimable(
        &mut self,
        jobs: &[JobName],
        now: Timestamp,
        limit: u32,
        rate: Option<&Rate>,
    ) -> Result<Vec<Execution>, StoreError> {
        let due = self.claimable.iter().filter(|((_, at, _), job)| *at <= now && jobs.contains(job));
        let rows = due.filter_map(|((_, _, id), _)| self.live.get(id));
        let rows =
            rows.filter(|row| !self.is_blocked(row) && !self.is_held(row) && !self.has_no_turn(row, rate, now));
        Ok(page(rows.cloned(), limit))
    }

    fn due_jobs(&mut self, jobs: &[JobName], now: Timestamp) -> Result<Vec<JobName>, StoreError> {
        let due = self.claimable.iter().filter(|((_, at, _), job)| *at <= now && jobs.contains(job));
        let names: BTreeSet<_> = due.map(|(_, job)| job.clone()).collect();
        Ok(names.into_iter().collect())
    }

    fn running_with_limit(&mut self, key: &str) -> Result<u32, StoreError> {
        Ok(self.running_by_limit.get(key).copied().unwrap_or(0))
    }

    fn rescuable(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Execution>, StoreError> {
        let mut rows: Vec<_> =
            self.live.values().filter(|row| crate::model::transition::is_rescuable(row, now)).cloned().collect();
        rows.sort_by_key(|row| (row.lease.as_ref().map(|lease| lease.expires_at), row.id));
        rows.truncate(limit as usize);
        Ok(rows)
    }

    fn withdrawn(&mut self, now: Timestamp) -> Result<Vec<Execution>, StoreError> {
        Ok(self.live.values().filter(|row| row.updated_at > now).cloned().collect())
    }

    fn swap_last_rescue(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.last_rescue.replace(now))
    }

    fn job(&mut self, job: &JobName) -> Result<Option<JobRecord>, StoreError> {
        Ok(self.jobs.get(job).cloned())
    }

    fn put_job(&mut self, job: &JobName, record: &JobRecord) -> Result<(), StoreError> {
        self.jobs.insert(job.clone(), record.clone());
        Ok(())
    }

    fn cursors(&mut self, job: &JobName) -> Result<Vec<Cursor>, StoreError> {
        let of_job = self.cursors.iter().filter(|((name, _), _)| name == job);
        Ok(of_job.map(|(_, cursor)| cursor.clone()).collect())
    }

    fn cursor(&mut self, job: &JobName, scope: &Scope) -> Result<Option<Cursor>, StoreError> {
        Ok(self.cursors.get(&(job.clone(), scope.clone())).cloned())
    }

    fn put_cursor(&mut self, job: &JobName, cursor: &Cursor) -> Result<(), StoreError> {
        self.cursors.insert((job.clone(), cursor.scope.clone()), cursor.clone());
        Ok(())
    }

    fn slot_exists(&mut self, job: &JobName, scope: &Scope, slot_at: Timestamp) -> Result<bool, StoreError> {
        let mut all = self.live.values().chain(self.history.values());
        Ok(all.any(|row| row.slot_at == Some(slot_at) && row.job == *job && row.scope == *scope))
    }

    fn add_skipped(&mut self, entry: &SkippedEntry) -> Result<(), StoreError> {
        self.skipped.push(entry.clone());
        Ok(())
    }

    fn receipt(&mut self, request: RequestId) -> Result<Option<Receipt>, StoreError> {
        Ok(self.receipts.get(&request).map(|(_, receipt)| receipt.clone()))
    }

    fn put_receipt(&mut self, request: RequestId, now: Timestamp, receipt: &Receipt) -> Result<(), StoreError> {
        self.receipts.insert(request, (now, receipt.clone()));
        Ok(())
    }

    fn list(&mut self, filter: &ListExecutions) -> Result<Vec<Execution>, StoreError> {
        let mut rows: Vec<_> =
            self.live.values().chain(self.history.values()).filter(|row| wanted(row, filter)).collect();
        rows.sort_by_key(|row| (row.id, row.generation));
        Ok(page(rows.into_iter().cloned(), filter.limit))
    }

    fn list_skipped(&mut self, filter: &ListSkipped) -> Result<Vec<SkippedEntry>, StoreError> {
        let wanted = |entry: &&SkippedEntry| filter.job.as_ref().is_none_or(|job| entry.job == *job);
        let mut entries: Vec<_> = self.skipped.iter().filter(wanted).collect();
        entries.sort_by(|a, b| skipped_order(a).cmp(&skipped_order(b)));
        Ok(page(entries.into_iter().skip(filter.offset as usize).cloned(), filter.limit))
    }

    fn stats(&mut self) -> Result<BTreeMap<JobName, JobStats>, StoreError> {
        let mut jobs: BTreeMap<JobName, JobStats> = BTreeMap::new();
        for row in self.live.values() {
            let stats = jobs.entry(row.job.clone()).or_default();
            match row.state {
                State::Scheduled => stats.scheduled += 1,
                State::Retryable => stats.retryable += 1,
                _ => stats.running += 1,
            }
            let oldest = [stats.oldest_claimable_at, row.claimable_at];
            stats.oldest_claimable_at = oldest.into_iter().flatten().min();
        }
        Ok(jobs)
    }

    fn prune(&mut self, prune: &Prune, now: Timestamp) -> Result<Pruned, StoreError> {
        let before = |ms: u64| now.offset_micros(-micros(Duration::from_millis(ms)));
        let (old_history, old_receipts) = (before(prune.history_ms), before(prune.receipts_ms));
        let old_edits = before(prune.edits_ms);

        let most = prune.limit as usize;

        let ended = self.history.values().filter_map(|row| Some((row.finished_at?, (row.id, row.generation))));
        let rows = oldest(ended, old_history, most);
        for key in &rows {
            self.history.remove(key);
        }

        let ledger = self.skipped.iter().enumerate().map(|(index, entry)| (entry.recorded_at, index));
        let old = oldest(ledger, old_history, most);
        let mut index = 0;
        self.skipped.retain(|_| {
            index += 1;
            !old.contains(&(index - 1))
        });

        let events = oldest(self.audit.values().map(|event| (event.at, event.key)), old_history, most);
        for key in &events {
            self.audit.remove(key);
        }

        let receipts = oldest(self.receipts.iter().map(|(id, (at, _))| (*at, *id)), old_receipts, most);
        for id in &receipts {
            self.receipts.remove(id);
        }

        let gates = self.gates.values().filter(|gate| gate.is_rested(now, old_receipts));
        let rested = oldest(gates.map(|gate| (gate.charged_at, gate.key.clone())), old_receipts, most);
        for key in &rested {
            self.gates.remove(key);
        }

        let replaced = self.schedules.iter().filter_map(|(key, stored)| Some((stored.replaced_at?, key.clone())));
        let edits = oldest(replaced, old_edits, most);
        for key in &edits {
            self.schedules.remove(key);
        }

        let lifted = self.pauses.values().filter_map(|pause| Some((pause.resumed_at?, pause.id)));
        let pauses = oldest(lifted, old_edits, most);
        for id in &pauses {
            self.pauses.remove(id);
        }
        Ok(Pruned {
            executions: rows.len() as u64,
            skipped: old.len() as u64,
            audit: events.len() as u64,
            receipts: receipts.len() as u64,
            turns: rested.len() as u64,
            edits: edits.len() as u64,
            pauses: pauses.len() as u64,
        })
    }
}

impl LockRows for Tables {
    fn lock(&mut self, name: &LockName) -> Result<Option<Lock>, StoreError> {
        Ok(self.locks.get(name).cloned())
    }

    fn put_lock(&mut self, lock: &Lock) -> Result<(), StoreError> {
        self.locks.insert(lock.name.clone(), lock.clone());
        Ok(())
    }

    fn withdrawn_locks(&mut self, now: Timestamp) -> Result<Vec<Lock>, StoreError> {
        let withdrawn = |lock: &&Lock| lock.released_at.is_none() && lock.renewed_at > now;
        Ok(self.locks.values().filter(withdrawn).cloned().collect())
    }

    fn locks(&mut self, after: Option<&LockName>, limit: u32) -> Result<Vec<Lock>, StoreError> {
        let rest = self.locks.values().filter(|lock| after.is_none_or(|after| lock.name > *after));
        Ok(page(rest.cloned(), limit))
    }
}

/// Of what has an instant, what is from before another: the oldest, at most so many.
fn oldest<T: Ord>(all: impl Iterator<Item = (Timestamp, T)>, before: Timestamp, most: usize) -> Vec<T> {
    let mut old: Vec<_> = all.filter(|(at, _)| *at < before).collect();
    old.sort_unstable();
    old.truncate(most);
    old.into_iter().map(|(_, what)| what).collect()
}

fn wanted(row: &Execution, filter: &ListExecutions) -> bool {
    filter.job.as_ref().is_none_or(|job| row.job == *job)
        && filter.id.is_none_or(|id| row.id == id)
        && (filter.states.is_empty() || filter.states.contains(&row.state))
        && filter.after.is_none_or(|after| (row.id, row.generation) > after)
}

fn skipped_order(entry: &SkippedEntry) -> impl Ord + '_ {
    (&entry.job, &entry.scope, entry.slots.after, entry.slots.through, entry.slots.reason.as_str(), entry.recorded_at)
}
