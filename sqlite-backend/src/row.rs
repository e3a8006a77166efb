//! Owns the two translations between an [`Execution`] and a row of the tables `execution` and `history`.
//!
//! Both sides go by position, in the order of the table; a test in `sql` holds the statements to that order.

use std::fmt;

use rusqlite::{
    Row,
    types::{FromSql, ToSqlOutput, Type, Value, ValueRef},
};
use tourbillon::{
    model::{
        Audit, ErrorCode, Execution, ExecutionId, Failure, Fence, Generation, Incarnation, JobName, Json, Lease,
        Limit, LockName, Policy, Reentry, Reported, Scope, SkipReason, State, Supersede, Timestamp, Token,
        TraceContext,
    },
    store::{ErrorKind, StoreError},
};
use uuid::Uuid;

/// Columns that never change within a generation; they come first, but for the trace.
pub(crate) const FIXED: usize = 19;
/// Columns that a transition may change, but for the progress, which is the last of all.
pub(crate) const CHANGEABLE: usize = 19;
/// All columns.
#[cfg(test)]
pub(crate) const COLUMNS: usize = FIXED + CHANGEABLE + 2;

/// The columns that never change within a generation.
///
/// # Errors
/// `Invalid` for a number that a signed 64-bit column cannot hold.
pub(crate) fn fixed(row: &Execution) -> Result<[ToSqlOutput<'_>; FIXED], StoreError> {
    let policy = &row.policy;
    Ok([
        id(&row.id.0),
        integer(row.generation.0),
        text(row.job.as_str()),
        text(row.scope.kind()),
        text(row.scope.id()),
        optional(row.slot_at, instant),
        instant(row.due_at),
        optional(row.expires_at, instant),
        integer(row.priority),
        optional(row.payload.as_ref(), json),
        optional(row.unique_key.as_deref(), text),
        integer(policy.max_attempts),
        count("lease_ms", policy.lease_ms)?,
        text(reentry_name(policy.reentry)),
        text(supersede_name(policy.supersede)),
        optional(policy.limit.as_ref(), |limit| text(&limit.key)),
        optional(policy.limit.as_ref(), |limit| integer(limit.max)),
        text(policy.audit.as_str()),
        instant(row.created_at),
    ])
}

/// The columns that a transition may change.
///
/// # Errors
/// `Invalid` for a number that a signed 64-bit column cannot hold.
pub(crate) fn changeable(row: &Execution) -> Result<[ToSqlOutput<'_>; CHANGEABLE], StoreError> {
    let lease = row.lease.as_ref();
    let error = row.error.as_ref();
    Ok([
        text(row.state.as_str()),
        optional(row.claimable_at, instant),
        integer(row.attempt),
        count("fence", row.fence.0)?,
        optional(lease, |lease| id(&lease.token.0)),
        optional(lease, |lease| id(&lease.runner.0)),
        optional(lease, |lease| instant(lease.claimed_at)),
        optional(lease.and_then(|lease| lease.started_at), instant),
        optional(lease, |lease| instant(lease.heartbeat_at)),
        optional(lease, |lease| instant(lease.expires_at)),
        optional(row.cancel_requested_at, instant),
        optional(row.finished_at, instant),
        row.duration_ms.map_or(Ok(null()), |ms| count("duration_ms", ms))?,
        row.rows_affected.map_or(Ok(null()), |rows| count("rows_affected", rows))?,
        optional(row.result.as_ref(), json),
        optional(error, |error| text(error.code.as_str())),
        optional(error, |error| text(error.text.as_str())),
        optional(row.skip_reason, |reason| text(reason.as_str())),
        instant(row.updated_at),
    ])
}

/// The last column, which a transition may change, too.
pub(crate) fn progress(row: &Execution) -> ToSqlOutput<'static> {
    row.progress.as_ref().map_or(null(), |progress| ToSqlOutput::Owned(Value::Text(progress.stored())))
}

/// The last column but one, which never changes either.
pub(crate) fn trace(row: &Execution) -> ToSqlOutput<'_> {
    optional(row.trace.as_ref(), |trace| text(trace.as_str()))
}

/// Reads a row of all columns.
///
/// # Errors
/// A conversion failure for anything this program would not have written.
pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Execution> {
    let mut columns = Columns::new(row);
    let columns = &mut columns;
    // Fields of a struct literal are evaluated as written: this is the order of the table.
    let id = ExecutionId(columns.id()?);
    let generation = Generation(columns.next()?);
    let job = columns.job()?;
    let scope = columns.scope()?;
    let slot_at = columns.optional_instant()?;
    let due_at = columns.instant()?;
    let expires_at = columns.optional_instant()?;
    let priority = columns.next()?;
    let payload = columns.json()?;
    let unique_key = columns.next()?;
    let policy = read_policy(columns)?;
    let created_at = columns.instant()?;
    Ok(Execution {
        id,
        generation,
        job,
        scope,
        slot_at,
        due_at,
        expires_at,
        priority,
        payload,
        unique_key,
        policy,
        state: columns.named(State::from_name)?,
        claimable_at: columns.optional_instant()?,
        attempt: columns.next()?,
        fence: Fence(columns.count()?),
        lease: read_lease(columns)?,
        cancel_requested_at: columns.optional_instant()?,
        finished_at: columns.optional_instant()?,
        duration_ms: columns.optional_count()?,
        rows_affected: columns.optional_count()?,
        result: columns.json()?,
        error: read_failure(columns)?,
        skip_reason: columns.optional_named(SkipReason::from_name)?,
        created_at,
        updated_at: columns.instant()?,
        trace: columns.lenient(TraceContext::from_stored)?,
        progress: columns.lenient(Reported::from_stored)?,
    })
}

fn read_policy(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Policy> {
    Ok(Policy {
        max_attempts: columns.next()?,
        lease_ms: columns.count()?,
        reentry: columns.named(|name| {
            [Reentry::Allow, Reentry::Forbid].into_iter().find(|reentry| reentry_name(*reentry) == name)
        })?,
        supersede: columns.named(|name| {
            [Supersede::Never, Supersede::ByNewerSlot]
                .into_iter()
                .find(|supersede| supersede_name(*supersede) == name)
        })?,
        limit: match (columns.next()?, columns.next()?) {
            (Some(key), Some(max)) => Some(Limit { key, max }),
            (None, None) => None,
            _ => return Err(columns.refuse("a limit key without a limit, or the reverse")),
        },
        audit: columns.named(Audit::from_name)?,
    })
}

fn read_lease(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Option<Lease>> {
    let token = columns.optional_id()?;
    let runner = columns.optional_id()?;
    let claimed_at = columns.optional_instant()?;
    let started_at = columns.optional_instant()?;
    let heartbeat_at = columns.optional_instant()?;
    let expires_at = columns.optional_instant()?;
    match (token, runner, claimed_at, heartbeat_at, expires_at) {
        (Some(token), Some(runner), Some(claimed_at), Some(heartbeat_at), Some(expires_at)) => Ok(Some(Lease {
            token: Token(token),
            runner: Incarnation(runner),
            claimed_at,
            started_at,
            heartbeat_at,
            expires_at,
        })),
        (None, None, None, None, None) => Ok(None),
        _ => Err(columns.refuse("half a lease")),
    }
}

fn read_failure(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Option<Failure>> {
    let (code, text) = (columns.optional_str()?, columns.optional_str()?);
    match (code, text) {
        (Some(code), Some(text)) => Ok(Some(Failure::new(ErrorCode::custom(code), text))),
        (None, None) => Ok(None),
        _ => Err(columns.refuse("half an error")),
    }
}

/// Reads the columns of a row from left to right.
pub(crate) struct Columns<'row, 'statement> {
    row: &'row Row<'statement>,
    at: usize,
}

impl<'row, 'statement> Columns<'row, 'statement> {
    pub(crate) fn new(row: &'row Row<'statement>) -> Self {
        Self { row, at: 0 }
    }

    pub(crate) fn next<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let at = self.at;
        self.at += 1;
        self.row.get(at)
    }

    pub(crate) fn optional_str(&mut self) -> rusqlite::Result<Option<&'row str>> {
        let value = self.row.get_ref(self.at)?;
        self.at += 1;
        value.as_str_or_null().map_err(|error| self.refuse_with(error))
    }

    pub(crate) fn str(&mut self) -> rusqlite::Result<&'row str> {
        self.optional_str()?.ok_or_else(|| self.refuse("null where text belongs"))
    }

    pub(crate) fn instant(&mut self) -> rusqlite::Result<Timestamp> {
        self.next().map(Timestamp::from_micros)
    }

    pub(crate) fn optional_instant(&mut self) -> rusqlite::Result<Option<Timestamp>> {
        Ok(self.next::<Option<i64>>()?.map(Timestamp::from_micros))
    }

    pub(crate) fn optional_count(&mut self) -> rusqlite::Result<Option<u64>> {
        let stored: Option<i64> = self.next()?;
        stored.map(|count| u64::try_from(count).map_err(|error| self.refuse_with(error))).transpose()
    }

    pub(crate) fn count(&mut self) -> rusqlite::Result<u64> {
        self.optional_count()?.ok_or_else(|| self.refuse("null where a number belongs"))
    }

    pub(crate) fn named<T>(&mut self, find: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
        let name = self.str()?;
        find(name).ok_or_else(|| self.refuse(format!("unknown name {name:?}")))
    }

    fn optional_named<T>(&mut self, find: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<Option<T>> {
        let Some(name) = self.optional_str()? else { return Ok(None) };
        find(name).map(Some).ok_or_else(|| self.refuse(format!("unknown name {name:?}")))
    }

    pub(crate) fn job(&mut self) -> rusqlite::Result<JobName> {
        JobName::new(self.str()?).map_err(|error| self.refuse_with(error))
    }

    pub(crate) fn lock_name(&mut self) -> rusqlite::Result<LockName> {
        LockName::new(self.str()?).map_err(|error| self.refuse_with(error))
    }

    pub(crate) fn scope(&mut self) -> rusqlite::Result<Scope> {
        let (kind, id) = (self.str()?, self.str()?);
        Scope::new(kind, id).map_err(|error| self.refuse_with(error))
    }

    /// A scope; `None` where both columns are empty.
    pub(crate) fn scope_or_all(&mut self) -> rusqlite::Result<Option<Scope>> {
        let (kind, id) = (self.str()?, self.str()?);
        if (kind, id) == ("", "") {
            return Ok(None);
        }
        Scope::new(kind, id).map(Some).map_err(|error| self.refuse_with(error))
    }

    fn json(&mut self) -> rusqlite::Result<Option<Json>> {
        Ok(self.optional_str()?.map(Json::from_stored))
    }

    /// Whatever cannot be read is none: nothing is wrong with a row for it.
    fn lenient<T>(&mut self, read: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<Option<T>> {
        let value = self.row.get_ref(self.at)?;
        self.at += 1;
        Ok(value.as_str_or_null().ok().flatten().and_then(read))
    }

    fn optional_id(&mut self) -> rusqlite::Result<Option<Uuid>> {
        let value = self.row.get_ref(self.at)?;
        self.at += 1;
        let bytes = value.as_blob_or_null().map_err(|error| self.refuse_with(error))?;
        bytes.map(|bytes| Uuid::from_slice(bytes).map_err(|error| self.refuse_with(error))).transpose()
    }

    pub(crate) fn id(&mut self) -> rusqlite::Result<Uuid> {
        self.optional_id()?.ok_or_else(|| self.refuse("null where an id belongs"))
    }

    /// An error about the column that was read last.
    pub(crate) fn refuse(&self, what: impl fmt::Display) -> rusqlite::Error {
        self.refuse_with(std::io::Error::other(what.to_string()))
    }

    pub(crate) fn refuse_with(&self, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(self.at.saturating_sub(1), Type::Null, Box::new(error))
    }
}

const fn reentry_name(reentry: Reentry) -> &'static str {
    match reentry {
        Reentry::Allow => "allow",
        Reentry::Forbid => "forbid",
    }
}

const fn supersede_name(supersede: Supersede) -> &'static str {
    match supersede {
        Supersede::Never => "never",
        Supersede::ByNewerSlot => "by_newer_slot",
    }
}

/// A number that the model keeps unsigned and SQLite signed.
///
/// # Errors
/// `Invalid`, naming the field.
pub(crate) fn count(field: &str, value: u64) -> Result<ToSqlOutput<'static>, StoreError> {
    i64::try_from(value).map(integer).map_err(|_| {
        StoreError::new(ErrorKind::Invalid, format!("{field} is {value}: at most {} can be stored", i64::MAX))
    })
}

pub(crate) fn optional<'a, T>(value: Option<T>, one: impl FnOnce(T) -> ToSqlOutput<'a>) -> ToSqlOutput<'a> {
    value.map_or(null(), one)
}

pub(crate) fn instant(at: Timestamp) -> ToSqlOutput<'static> {
    integer(at.as_micros())
}

pub(crate) fn text(text: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
}

pub(crate) fn id(id: &Uuid) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Blob(id.as_bytes()))
}

pub(crate) fn integer(value: impl Into<i64>) -> ToSqlOutput<'static> {
    ToSqlOutput::Borrowed(ValueRef::Integer(value.into()))
}

pub(crate) const fn null() -> ToSqlOutput<'static> {
    ToSqlOutput::Borrowed(ValueRef::Null)
}

fn json(json: &Json) -> ToSqlOutput<'_> {
    text(json.as_str())
}
