//! Owns row access inside one transaction. Decides nothing; begins and ends no transaction.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ptr,
    time::Duration,
};

use rusqlite::{CachedStatement, Connection, Params, Row, params_from_iter, types::ToSqlOutput};
use tourbillon::{
    model::{Execution, ExecutionId, JobName, Rate, RequestId, Scope, SkipReason, State, Timestamp},
    store::{
        Cursor, ErrorKind, JobRecord, JobStats, ListExecutions, ListSkipped, Prune, Pruned, Receipt, Rows,
        SkippedEntry, SkippedSlots, SpecHash, StoreError,
    },
};
use uuid::Uuid;

use crate::{
    error::{Phase, translate},
    row::{self, Columns, count, id, instant, integer, null, optional, text},
    sql,
};

/// All rows that a schedule made are in this one, whatever their job; the items of a queue are in the one with its name.
const LANE_OF_SCHEDULES: &str = "";

/// The tables, seen from inside a transaction on `connection`, in the database called `name`.
pub(crate) struct SqliteRows<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) name: &'c str,
    /// Of the request.
    pub(crate) now: Timestamp,
    /// What this transaction has used: to find a statement in the connection's cache its whole text is hashed, some hundred times
    /// for the rows of a batch.
    prepared: RefCell<Vec<(&'static str, CachedStatement<'c>)>>,
}

impl<'c> SqliteRows<'c> {
    pub(crate) fn new(connection: &'c Connection, name: &'c str, now: Timestamp) -> Self {
        Self { connection, name, now, prepared: RefCell::default() }
    }

    pub(crate) fn fail(&self, error: rusqlite::Error) -> StoreError {
        translate(self.name, Phase::Statement, error)
    }

    fn corrupt(&self, message: impl std::fmt::Display) -> StoreError {
        StoreError::new(ErrorKind::Corrupt, format!("{}: {message}", self.name))
    }

    pub(crate) fn with<T>(
        &self,
        text: &'static str,
        work: impl FnOnce(&mut CachedStatement<'c>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut prepared = self.prepared.borrow_mut();
        let known = prepared.iter().position(|(one, _)| ptr::eq(*one, text)).map(|at| prepared.swap_remove(at).1);
        drop(prepared);
        let statement = known.map_or_else(|| self.connection.prepare_cached(text), Ok);
        let mut statement = statement.map_err(|error| self.fail(error))?;
        let done = work(&mut statement);
        self.prepared.borrow_mut().push((text, statement));
        done.map_err(|error| self.fail(error))
    }

    pub(crate) fn execute(&self, statement: &'static str, params: impl Params) -> Result<usize, StoreError> {
        self.with(statement, |statement| statement.execute(params))
    }

    pub(crate) fn all<T>(
        &self,
        statement: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.with(statement, |statement| statement.query_map(params, read)?.collect())
    }

    /// The first row, if any.
    pub(crate) fn first<T>(
        &self,
        statement: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.with(statement, |statement| statement.query(params)?.next()?.map(read).transpose())
    }

    /// The next priority after `visited`, upwards, that rows of any of these lanes have, and the lanes that have it.
    fn next_priority(&self, lanes: &str, visited: i64) -> Result<Option<(i64, Vec<String>)>, StoreError> {
        let found: Vec<(String, i64)> =
            self.all(sql::SELECT_LANES, (lanes, visited), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let lowest = found.iter().map(|(_, priority)| *priority).min();
        Ok(lowest.map(|lowest| {
            let lanes = found.into_iter().filter(|(_, priority)| *priority == lowest);
            (lowest, lanes.map(|(lane, _)| lane).collect())
        }))
    }

    fn insert_into(&self, statement: &'static str, row: &Execution) -> Result<(), StoreError> {
        let columns =
            row::fixed(row)?.into_iter().chain(row::changeable(row)?).chain([row::trace(row), row::progress(row)]);
        self.execute(statement, params_from_iter(columns)).map(drop)
    }

    /// A guard held by construction did not hold: what was read is not what is stored.
    pub(crate) fn expect_one(&self, changed: usize, row: &Execution) -> Result<(), StoreError> {
        if changed == 1 {
            return Ok(());
        }
        let (id, generation) = (row.id, row.generation);
        Err(self.corrupt(format_args!(
            "execution {id} generation {generation} changed under its own transaction: {changed} rows matched, not 1"
        )))
    }
}

impl Rows for SqliteRows<'_> {
    fn live(&mut self, id: ExecutionId) -> Result<Option<Execution>, StoreError> {
        self.live_row(id.0)
    }

    fn insert(&mut self, row: &Execution) -> Result<(), StoreError> {
        self.insert_into(sql::INSERT_EXECUTION, row)
    }

    fn update(&mut self, was: &Execution, row: &Execution) -> Result<(), StoreError> {
        debug_assert_eq!(row::fixed(was)?, row::fixed(row)?, "a transition changed what never changes");
        debug_assert_eq!(was.trace, row.trace, "a transition changed what never changes");
        let guard = [id(&was.id.0), integer(was.generation.0), count("fence", was.fence.0)?];
        let columns = row::changeable(row)?.into_iter().chain([row::progress(row)]).chain(guard);
        let changed = self.execute(sql::UPDATE_EXECUTION, params_from_iter(columns))?;
        self.expect_one(changed, was)
    }

    fn finish(&mut self, row: &Execution) -> Result<(), StoreError> {
        // No terminal transition moves the fence, so the row's own is the guard.
        let guard = [id(&row.id.0), integer(row.generation.0), count("fence", row.fence.0)?];
        let changed = self.execute(sql::DELETE_EXECUTION, params_from_iter(guard))?;
        self.expect_one(changed, row)?;
        self.insert_into(sql::INSERT_HISTORY, row)
    }

    fn finished(&mut self, id: ExecutionId) -> Result<Option<Execution>, StoreError> {
        self.first(sql::SELECT_FINISHED, [id.0.as_bytes()], row::read)
    }

    fn claimable(
        &mut self,
        jobs: &[JobName],
        now: Timestamp,
        limit: u32,
        rate: Option<&Rate>,
    ) -> Result<Vec<Execution>, StoreError> {
        let names = json_array(jobs.iter().map(JobName::as_str));
        let lanes = lanes_of(jobs);
        let turn_us = rate.map(|rate| count("turn_us", rate.turn_us)).transpose()?;
        let mut rows = Vec::new();
        let mut visited = i64::MIN;
        while rows.len() < limit as usize {
            let Some((priority, having)) = self.next_priority(&lanes, visited)? else { break };
            let room = limit as usize - rows.len();
            let before = rows.len();
            for lane in &having {
                let params = (&names, now.as_micros(), priority, room as i64, &turn_us, lane);
                let found = self.live_rows(sql::SELECT_CLAIMABLE, params)?;
                // Mostly these are all, and need not be moved.
                if rows.is_empty() { rows = found } else { rows.extend(found) }
            }
            if having.len() > 1 {
                rows[before..].sort_by_key(|row| (row.claimable_at, row.id));
                rows.truncate(before + room);
            }
            visited = priority;
        }
        Ok(rows)
    }

    fn due_jobs(&mut self, jobs: &[JobName], now: Timestamp) -> Result<Vec<JobName>, StoreError> {
        let names = json_array(jobs.iter().map(JobName::as_str));
        let lanes = lanes_of(jobs);
        let mut due = BTreeSet::new();
        let mut visited = i64::MIN;
        while let Some((priority, having)) = self.next_priority(&lanes, visited)? {
            for lane in &having {
                let most = if *lane == LANE_OF_SCHEDULES { -1 } else { 1 };
                let params = (&names, now.as_micros(), priority, lane, most);
                due.extend(self.all(sql::SELECT_DUE_JOBS, params, |row| Columns::new(row).job())?);
            }
            visited = priority;
        }
        Ok(due.into_iter().collect())
    }

    fn running_with_limit(&mut self, key: &str) -> Result<u32, StoreError> {
        Ok(self.first(sql::COUNT_RUNNING_WITH_LIMIT, [key], |row| row.get(0))?.unwrap_or(0))
    }

    fn rescuable(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Execution>, StoreError> {
        self.live_rows(sql::SELECT_RESCUABLE, (now.as_micros(), limit))
    }

    fn withdrawn(&mut self, now: Timestamp) -> Result<Vec<Execution>, StoreError> {
        self.live_rows(sql::SELECT_WITHDRAWN, [now.as_micros()])
    }

    fn swap_last_rescue(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let last = self.first(sql::SELECT_LAST_RESCUE, [], |row| Columns::new(row).instant())?;
        self.execute(sql::UPSERT_LAST_RESCUE, [now.as_micros()])?;
        Ok(last)
    }

    fn job(&mut self, job: &JobName) -> Result<Option<JobRecord>, StoreError> {
        self.first(sql::SELECT_JOB, [job.as_str()], |row| job_record(&mut Columns::new(row)))
    }

    fn put_job(&mut self, job: &JobName, record: &JobRecord) -> Result<(), StoreError> {
        let JobRecord { spec_hash, schedule_hash, edited_at, rules } = record;
        let rules = rules.as_ref().map(|rules| serde_json::to_string(rules).expect("rules are plain data"));
        let params = (job.as_str(), &*spec_hash.0, &*schedule_hash.0, edited_at.map(Timestamp::as_micros), rules);
        self.execute(sql::UPSERT_JOB, params).map(drop)
    }

    fn cursors(&mut self, job: &JobName) -> Result<Vec<Cursor>, StoreError> {
        self.all(sql::SELECT_CURSORS, [job.as_str()], |row| {
            let mut columns = Columns::new(row);
            let scope = columns.scope()?;
            cursor(scope, &mut columns)
        })
    }

    fn cursor(&mut self, job: &JobName, scope: &Scope) -> Result<Option<Cursor>, StoreError> {
        let key = [job.as_str(), scope.kind(), scope.id()];
        self.first(sql::SELECT_CURSOR, key, |row| cursor(scope.clone(), &mut Columns::new(row)))
    }

    fn put_cursor(&mut self, job: &JobName, cursor: &Cursor) -> Result<(), StoreError> {
        let Cursor { scope, at, high_water, newest_slot, schedule_hash, edited_at } = cursor;
        let newest_slot = newest_slot.map(Timestamp::as_micros);
        let (schedule_hash, edited_at) =
            (schedule_hash.as_ref().map(|hash| &*hash.0), edited_at.map(Timestamp::as_micros));
        let (at, high_water) = (at.as_micros(), high_water.as_micros());
        let params = (job.as_str(), scope.kind(), scope.id(), at, high_water, newest_slot, schedule_hash, edited_at);
        self.execute(sql::UPSERT_CURSOR, params).map(drop)
    }

    fn slot_exists(&mut self, job: &JobName, scope: &Scope, slot_at: Timestamp) -> Result<bool, StoreError> {
        let params = (job.as_str(), scope.kind(), scope.id(), slot_at.as_micros());
        Ok(self.first(sql::EXISTS_SLOT, params, |row| row.get(0))?.unwrap_or(false))
    }

    fn add_skipped(&mut self, entry: &SkippedEntry) -> Result<(), StoreError> {
        let SkippedEntry { job, scope, slots, recorded_at } = entry;
        let params = [
            text(job.as_str()),
            text(scope.kind()),
            text(scope.id()),
            instant(slots.after),
            instant(slots.through),
            slots.count.map_or(Ok(null()), |slots| count("count of skipped slots", slots))?,
            text(slots.reason.as_str()),
            instant(*recorded_at),
        ];
        self.execute(sql::INSERT_SKIPPED, params_from_iter(params)).map(drop)
    }

    fn receipt(&mut self, request: RequestId) -> Result<Option<Receipt>, StoreError> {
        let parse = |row: &Row<'_>| Columns::new(row).str().map(serde_json::from_str);
        let stored = self.first(sql::SELECT_RECEIPT, [request.0.as_bytes()], parse)?;
        stored.transpose().map_err(|error| {
            self.corrupt(format_args!("the receipt of request {request} cannot be read")).with_source(error)
        })
    }

    fn put_receipt(&mut self, request: RequestId, now: Timestamp, receipt: &Receipt) -> Result<(), StoreError> {
        let receipt = serde_json::to_string(receipt).expect("replies have no maps with keys that are not text");
        let params = [id(&request.0), instant(now), text(&receipt)];
        self.execute(sql::INSERT_RECEIPT, params_from_iter(params)).map(drop)
    }

    fn list(&mut self, filter: &ListExecutions) -> Result<Vec<Execution>, StoreError> {
        let Some((least, generation)) = page_start(filter) else { return Ok(Vec::new()) };
        let greatest = filter.id.map_or(Uuid::max(), |id| id.0);
        let states = json_array(filter.states.iter().map(|state| state.as_str()));
        let params = [
            optional(filter.job.as_ref(), |job| text(job.as_str())),
            text(&states),
            id(&least),
            id(&greatest),
            integer(generation),
            integer(filter.limit),
        ];
        self.all(sql::LIST_EXECUTIONS, params_from_iter(params), row::read)
    }

    fn list_skipped(&mut self, filter: &ListSkipped) -> Result<Vec<SkippedEntry>, StoreError> {
        let params: [ToSqlOutput<'_>; 3] =
            [optional(filter.job.as_ref(), |job| text(job.as_str())), integer(filter.offset), integer(filter.limit)];
        self.all(sql::LIST_SKIPPED, params_from_iter(params), |row| {
            let mut columns = Columns::new(row);
            Ok(SkippedEntry {
                job: columns.job()?,
                scope: columns.scope()?,
                slots: SkippedSlots {
                    after: columns.instant()?,
                    through: columns.instant()?,
                    count: columns.optional_count()?,
                    reason: columns.named(SkipReason::from_name)?,
                },
                recorded_at: columns.instant()?,
            })
        })
    }

    fn stats(&mut self) -> Result<BTreeMap<JobName, JobStats>, StoreError> {
        let counts = self.all(sql::READ_STATS, [], |row| {
            let mut columns = Columns::new(row);
            Ok((columns.job()?, columns.named(State::from_name)?, columns.count()?, columns.optional_instant()?))
        })?;
        let mut jobs: BTreeMap<JobName, JobStats> = BTreeMap::new();
        for (job, state, rows, oldest) in counts {
            let stats = jobs.entry(job).or_default();
            match state {
                State::Scheduled => stats.scheduled = rows,
                State::Retryable => stats.retryable = rows,
                // The table's check leaves only this one.
                _ => stats.running = rows,
            }
            stats.oldest_claimable_at = [stats.oldest_claimable_at, oldest].into_iter().flatten().min();
        }
        Ok(jobs)
    }

    fn prune(&mut self, prune: &Prune, now: Timestamp) -> Result<Pruned, StoreError> {
        let before = |ms: u64| (now - Duration::from_millis(ms)).as_micros();
        let (old_history, old_receipts) = (before(prune.history_ms), before(prune.receipts_ms));
        let old_edits = before(prune.edits_ms);
        Ok(Pruned {
            executions: self.execute(sql::PRUNE_HISTORY, (old_history, prune.limit))? as u64,
            skipped: self.execute(sql::PRUNE_SKIPPED, (old_history, prune.limit))? as u64,
            audit: self.execute(sql::PRUNE_AUDIT, (old_history, prune.limit))? as u64,
            receipts: self.execute(sql::PRUNE_RECEIPTS, (old_receipts, prune.limit))? as u64,
            turns: self.execute(sql::PRUNE_TURNS, (old_receipts, now.as_micros(), prune.limit))? as u64,
            edits: self.execute(sql::PRUNE_EDITS, (old_edits, prune.limit))? as u64,
            pauses: self.execute(sql::PRUNE_PAUSES, (old_edits, prune.limit))? as u64,
        })
    }
}

/// The least (id, generation) that belongs on the page; `None` when nothing does.
fn page_start(filter: &ListExecutions) -> Option<(Uuid, i64)> {
    let after = filter.after.map(|(id, generation)| (id.0, i64::from(generation.0) + 1));
    match (filter.id, after) {
        (None, None) => Some((Uuid::nil(), 0)),
        (None, Some(start)) => Some(start),
        (Some(only), None) => Some((only.0, 0)),
        (Some(only), Some((id, _))) if id > only.0 => None,
        (Some(only), Some((id, generation))) => Some((only.0, if id == only.0 { generation } else { 0 })),
    }
}

/// What is kept of a job, from the columns behind its name.
pub(crate) fn job_record(columns: &mut Columns<'_, '_>) -> rusqlite::Result<JobRecord> {
    let spec_hash = SpecHash(columns.str()?.into());
    let schedule_hash = SpecHash(columns.str()?.into());
    let edited_at = columns.optional_instant()?;
    let rules = columns.optional_str()?.map(serde_json::from_str).transpose();
    let rules = rules.map_err(|error| columns.refuse_with(error))?;
    Ok(JobRecord { spec_hash, schedule_hash, edited_at, rules })
}

/// A cursor, from the columns behind its scope.
fn cursor(scope: Scope, columns: &mut Columns<'_, '_>) -> rusqlite::Result<Cursor> {
    Ok(Cursor {
        scope,
        at: columns.instant()?,
        high_water: columns.instant()?,
        newest_slot: columns.optional_instant()?,
        schedule_hash: columns.optional_str()?.map(|hash| SpecHash(hash.into())),
        edited_at: columns.optional_instant()?,
    })
}

pub(crate) fn json_array<'a>(names: impl Iterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(names).to_string()
}

/// The lanes in which rows of these jobs may be, as a JSON array: see the index `execution_claim`.
fn lanes_of(jobs: &[JobName]) -> String {
    let lanes: BTreeSet<_> = jobs.iter().map(JobName::as_str).chain([LANE_OF_SCHEDULES]).collect();
    json_array(lanes.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqliteInline;
    use tourbillon::{
        model::{Audit, Fence, Generation, NewExecution, Policy, Reentry, Supersede},
        store::{DatabaseClock, ManualClock, QueueRows as _},
    };

    fn scheduled() -> Execution {
        let at = Timestamp::EPOCH;
        let policy = Policy {
            max_attempts: 3,
            lease_ms: 60_000,
            reentry: Reentry::Allow,
            supersede: Supersede::Never,
            limit: None,
            audit: Audit::Off,
        };
        let new = NewExecution {
            id: ExecutionId(Uuid::from_u128(7)),
            slot_at: None,
            due_at: at,
            expires_at: None,
            priority: 0,
            payload: None,
            unique_key: None,
            policy,
        };
        Execution::fresh(JobName::new("digest").unwrap(), Scope::global(), new, at)
    }

    #[test]
    fn a_row_that_is_not_stored_as_it_was_read_is_corrupt() {
        let clock = DatabaseClock::Manual(ManualClock::new(Timestamp::EPOCH));
        SqliteInline::in_memory(clock).unwrap().with_connection(|connection| {
            let mut rows = SqliteRows::new(connection, "jobs.db", Timestamp::EPOCH);
            let row = scheduled();
            rows.insert(&row).unwrap();
            rows.update(&row, &row).unwrap();
            let claimed_meanwhile = Execution { fence: Fence(1), ..row.clone() };
            for refused in [
                rows.update(&claimed_meanwhile, &row).unwrap_err(),
                rows.revise(&claimed_meanwhile, &row).unwrap_err(),
                rows.finish(&claimed_meanwhile).unwrap_err(),
            ] {
                assert_eq!(refused.kind(), ErrorKind::Corrupt);
                assert!(refused.message().ends_with("0 rows matched, not 1"), "{refused}");
            }
            assert_eq!(rows.live(row.id).unwrap(), Some(row));
        });
    }

    #[test]
    fn a_page_begins_behind_the_last_row_of_the_one_before() {
        let id = |n: u128| ExecutionId(Uuid::from_u128(n));
        let start = |only: Option<u128>, after: Option<(u128, u32)>| {
            let after = after.map(|(n, generation)| (id(n), Generation(generation)));
            page_start(&ListExecutions { id: only.map(id), after, ..ListExecutions::default() })
                .map(|(least, generation)| (least.as_u128(), generation))
        };
        assert_eq!(start(None, None), Some((0, 0)));
        assert_eq!(start(None, Some((7, 2))), Some((7, 3)));
        assert_eq!(start(Some(7), None), Some((7, 0)));
        assert_eq!(start(Some(7), Some((7, 2))), Some((7, 3)));
        assert_eq!(start(Some(7), Some((6, 2))), Some((7, 0)), "its first life is still to come");
        assert_eq!(start(Some(7), Some((8, 2))), None, "it was on the page before");
    }
}
