//! Owns a claim: its parameters, and how the lines of its answer become rows. What cannot be read is set aside, and the
//! others run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{Row, SqlStr, postgres::PgRow};
use tourbillon::{
    model::{
        Audit, Execution, ExecutionId, Fence, Generation, Incarnation, JobName, Json, Lease, Limit, Policy, Reentry,
        Reported, RequestId, Scope, SkipReason, State, Supersede, Timestamp, Token, TraceContext, transition::Charge,
    },
    store::{Claim, Claimed, Reply, StoreError},
};

use crate::{
    error::Fault,
    line::{Line, Wrong},
    parameter::{Bound, at, int8, query},
    session::Session,
    store::{Inner, corrupt, decode},
    wire::{Id, Instant},
};

/// Column of the first field of a row; those before it are of the line with the time, and the position.
const ROW: usize = 7;

/// A row that cannot be read.
struct Unreadable {
    id: Id,
    reason: String,
}

impl Unreadable {
    fn found(id: Id, wrong: &Wrong) -> Self {
        let (execution, reason) = (ExecutionId::from(id), wrong.to_string());
        tracing::error!(%execution, %reason, "cannot be read; set aside in the table `unreadable`");
        Self { id, reason }
    }
}

/// # Errors
/// `Invalid` when a number does not fit the database's 64 bits.
fn claim(statement: &SqlStr, now: Option<Timestamp>, id: RequestId, verb: &Claim) -> Result<Bound, StoreError> {
    let jobs: Vec<_> = verb.jobs.iter().map(|job| job.as_str().to_owned()).collect();
    let bound = at(statement, now)
        .bind(Id::from(id))
        .bind(jobs)
        .bind(i64::from(verb.limit))
        .bind(Id::from(verb.runner))
        .bind(match verb.charge {
            Charge::AtStart => "none",
            Charge::AtClaimIfHarmless => "harmless",
            Charge::AtClaim => "all",
        });
    Ok(match &verb.rate {
        None => bound,
        Some(rate) => bound.bind(int8("turn_us", rate.turn_us)?).bind(i64::from(rate.burst)).bind(rate.key.clone()),
    })
}

/// Queues whose last claim met rows of which more can become than to be taken: see `claim_plain.sql`.
#[derive(Debug, Default)]
pub(crate) struct Mixed(Mutex<BTreeSet<JobName>>);

impl Mixed {
    fn queues(&self) -> MutexGuard<'_, BTreeSet<JobName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue of a claim that may find plain rows alone.
    fn queue(verb: &Claim) -> Option<&JobName> {
        match verb.jobs.as_slice() {
            [queue] if verb.rate.is_none() => Some(queue),
            _ => None,
        }
    }

    fn may_be_plain(&self, verb: &Claim) -> bool {
        Self::queue(verb).is_some_and(|queue| !self.queues().contains(queue))
    }

    /// What a claim of all kinds of rows found: the next may be for plain ones, if these were.
    fn found(&self, verb: &Claim, answer: &Answer) {
        let is_plain = answer.skipped.is_empty() && answer.rows.iter().all(is_plain);
        if let Some(queue) = Self::queue(verb)
            && is_plain
            && !answer.rows.is_empty()
        {
            self.queues().remove(queue);
        }
    }
}

/// Where the last claim of each queue ended that got all it asked for: see `claim_plain.sql`.
#[derive(Debug, Default)]
pub(crate) struct Floors(Mutex<BTreeMap<JobName, Floor>>);

#[derive(Clone, Debug)]
struct Floor {
    /// When the queue was last claimed from its first row on.
    anew_at: Timestamp,
    last: Last,
}

/// Priority, since when it could be claimed, id.
type Last = (i16, Timestamp, ExecutionId);

impl Floors {
    fn queues(&self) -> MutexGuard<'_, BTreeMap<JobName, Floor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, queue: &JobName) -> Option<Floor> {
        self.queues().get(queue).cloned()
    }

    /// What a claim of plain rows found; `None`: no next one may go on behind it.
    fn found(&self, queue: &JobName, floor: Option<Floor>) {
        match floor {
            Some(floor) => drop(self.queues().insert(queue.clone(), floor)),
            None => drop(self.queues().remove(queue)),
        }
    }
}

/// As `claim_plain.sql` has it, of a row that waited.
fn is_plain(row: &Execution) -> bool {
    let Policy { limit, supersede, audit, .. } = &row.policy;
    row.slot_at.is_none()
        && row.expires_at.is_none()
        && limit.is_none()
        && *supersede == Supersede::Never
        && *audit != Audit::All
}

impl Inner {
    /// A claim. Should setting aside fail, the lease ends, and the next claim finds the row again.
    pub(crate) async fn claim(&self, session: &mut Session<'_>, id: RequestId, verb: &Claim) -> Result<Reply, Fault> {
        let plain = if self.mixed.may_be_plain(verb) { self.claim_plain(session, id, verb).await? } else { None };
        let mut answer = match plain {
            Some(answer) => answer,
            None => self.claim_any(session, id, verb).await?,
        };
        if let Some(keys) = answer.gateless.take() {
            session.ask(query(&self.statements.make_gates).bind(keys)).await?;
            if answer.did_nothing() {
                answer = self.claim_any(session, id, verb).await?;
            }
        }
        if answer.is_repeated {
            let again = query(&self.statements.claim_again).bind(Id::from(id));
            answer = Answer::of(&session.lines(again).await?, id, false).map_err(malformed)?;
        }
        if !answer.unreadable.is_empty() {
            let (ids, reasons): (Vec<_>, Vec<_>) =
                answer.unreadable.into_iter().map(|row| (row.id, row.reason)).unzip();
            let aside = at(&self.statements.set_aside, self.clock.fixed());
            session.ask(aside.bind(Id::from(id)).bind(ids).bind(reasons)).await?;
        }
        let Answer { now, skipped, next_at, rows, .. } = answer;
        Ok(Reply::Claimed(Claimed { now, executions: rows, skipped, next_at }))
    }

    /// The claim of all kinds of rows.
    async fn claim_any(&self, session: &mut Session<'_>, id: RequestId, verb: &Claim) -> Result<Answer, Fault> {
        let statement = self.statements.claim(verb.limit, verb.rate.is_some());
        let bound = claim(statement, self.clock.fixed(), id, verb).map_err(Fault::Final)?;
        let answer = Answer::of(&session.lines(bound).await?, id, verb.rate.is_some()).map_err(malformed)?;
        self.mixed.found(verb, &answer);
        Ok(answer)
    }

    /// The quick ways; `None` when rows are due that they are not for, and nothing was done.
    async fn claim_plain(
        &self,
        session: &mut Session<'_>,
        id: RequestId,
        verb: &Claim,
    ) -> Result<Option<Answer>, Fault> {
        let Some(queue) = Mixed::queue(verb) else { return Ok(None) };
        if let Some(floor) = self.floors.of(queue) {
            let (priority, at, last) = floor.last;
            let bound = claim(self.statements.claim_onward(verb.limit), self.clock.fixed(), id, verb)
                .map_err(Fault::Final)?
                .bind(priority)
                .bind(Instant(floor.anew_at))
                .bind(Instant(at))
                .bind(Id::from(last));
            let onward = Onward { request: id, runner: verb.runner, queue, priority, limit: verb.limit };
            let answer = onward.answer(&session.lines(bound).await?).map_err(malformed)?;
            let last = answer.as_ref().and_then(|answer| answer.last);
            self.floors.found(queue, last.map(|last| Floor { last, ..floor }));
            if answer.is_some() {
                return Ok(answer);
            }
        }
        let statement = self.statements.claim_plain(verb.limit);
        let bound = claim(statement, self.clock.fixed(), id, verb).map_err(Fault::Final)?;
        let answer = Answer::of(&session.lines(bound).await?, id, false).map_err(malformed)?;
        if answer.is_mixed {
            self.mixed.queues().insert(queue.clone());
            return Ok(None);
        }
        // On a clock of somebody else's every claim takes what comes first at that instant.
        let may_go_on = self.clock.fixed().is_none();
        let last = answer.last.filter(|_| may_go_on);
        self.floors.found(queue, last.map(|last| Floor { anew_at: answer.now, last }));
        Ok(Some(answer))
    }
}

fn malformed(wrong: Wrong) -> Fault {
    Fault::Final(corrupt(format!("the answer to a claim cannot be read: {wrong}")))
}

/// What the lines of an answer say; the rows in the order of the claim.
struct Answer {
    now: Timestamp,
    is_repeated: bool,
    /// Nothing was done: see `claim_plain.sql`.
    is_mixed: bool,
    skipped: Vec<(ExecutionId, SkipReason)>,
    /// The last row, if the next claim may go on behind it.
    last: Option<Last>,
    /// Limit keys of rows that were passed over for want of a gate: see `prune_gates.sql`.
    gateless: Option<Vec<String>>,
    next_at: Option<Timestamp>,
    rows: Vec<Execution>,
    unreadable: Vec<Unreadable>,
}

impl Answer {
    /// Of nothing.
    fn at(now: Timestamp) -> Self {
        let (rows, unreadable) = (Vec::new(), Vec::new());
        let (is_repeated, is_mixed, skipped) = (false, false, Vec::new());
        Self { now, is_repeated, is_mixed, skipped, last: None, gateless: None, next_at: None, rows, unreadable }
    }

    /// At a rate the last column of each line says when the next key gets a turn.
    fn of(lines: &[PgRow], request: RequestId, has_rate: bool) -> Result<Self, Wrong> {
        let mut head = None;
        let (mut places, mut rows) = (Vec::with_capacity(lines.len()), Vec::with_capacity(lines.len()));
        let (mut unreadable, mut names) = (Vec::new(), Names::default());
        for line in lines {
            let mut columns = Line::from(line, 0);
            if let Some(now) = columns.optional_instant()? {
                let is_repeated: bool = columns.next()?;
                let skipped: Option<&str> = columns.next()?;
                let gateless: Option<&str> = columns.next()?;
                let last: Option<&str> = columns.next()?;
                let is_mixed = columns.next::<i64>()? == 1;
                let next_at = if has_rate { Line::from(line, line.len() - 1).optional_instant()? } else { None };
                let skipped = skipped.map_or_else(|| Ok(Vec::new()), decode)?;
                let (gateless, last) = (gateless.map(decode).transpose()?, last.map(decode).transpose()?);
                head = Some((now, is_repeated, is_mixed, skipped, gateless, last, next_at));
                continue;
            }
            let position: i64 = line.try_get_unchecked(ROW - 1)?;
            let mut columns = Line::from(line, ROW);
            let id: Id = columns.next()?;
            match read((id.into(), Token(request.0)), &mut columns, &mut names) {
                Ok(row) => {
                    places.push(position);
                    rows.push(row);
                }
                Err(wrong) => unreadable.push(Unreadable::found(id, &wrong)),
            }
        }
        let (now, is_repeated, is_mixed, skipped, gateless, last, next_at) = head.ok_or("no line has the time")?;
        let rows = in_order(places, rows);
        Ok(Self { now, is_repeated, is_mixed, skipped, gateless, last, next_at, rows, unreadable })
    }

    /// So that the same request may be carried out again.
    fn did_nothing(&self) -> bool {
        !self.is_repeated && self.skipped.is_empty() && self.rows.is_empty() && self.unreadable.is_empty()
    }
}

/// Rows in the order of their places.
fn in_order<P: Ord>(places: Vec<P>, rows: Vec<Execution>) -> Vec<Execution> {
    // As they come, mostly.
    if places.is_sorted() {
        return rows;
    }
    let mut rows: Vec<_> = places.into_iter().zip(rows).collect();
    rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// What a claim onward knows of the rows that it takes: they are plain items of one queue and priority, and taken by it.
struct Onward<'q> {
    request: RequestId,
    runner: Incarnation,
    queue: &'q JobName,
    priority: i16,
    limit: u32,
}

impl Onward<'_> {
    /// `None`: nothing was done.
    fn answer(&self, lines: &[PgRow]) -> Result<Option<Answer>, Wrong> {
        let (mut places, mut rows) = (Vec::with_capacity(lines.len()), Vec::with_capacity(lines.len()));
        let (mut unreadable, mut names) = (Vec::new(), Names::default());
        let mut taken = None;
        for line in lines {
            let mut columns = Line::from(line, 0);
            let (id, now, place) = (columns.next::<Id>()?, columns.instant()?, columns.instant()?);
            let last = (place, ExecutionId::from(id));
            taken = taken.max(Some((now, last)));
            match self.read((last.1, now), &mut columns, &mut names) {
                Ok(row) => {
                    places.push(last);
                    rows.push(row);
                }
                Err(wrong) => unreadable.push(Unreadable::found(id, &wrong)),
            }
        }
        let Some((now, (place, id))) = taken else { return Ok(None) };
        let rows = in_order(places, rows);
        let last = (lines.len() >= self.limit as usize).then_some((self.priority, place, id));
        Ok(Some(Answer { last, rows, unreadable, ..Answer::at(now) }))
    }

    fn read(
        &self,
        (id, now): (ExecutionId, Timestamp),
        columns: &mut Line<'_>,
        names: &mut Names,
    ) -> Result<Execution, Wrong> {
        let generation = Generation(columns.count()?);
        let scope = names.scope(columns.next()?, columns.next()?)?;
        let due_at = columns.instant()?;
        let payload = columns.next::<Option<&str>>()?.map(Json::from_stored);
        let unique_key = columns.next()?;
        let policy = Policy {
            max_attempts: columns.count()?,
            lease_ms: columns.count()?,
            reentry: columns.named(reentry)?,
            supersede: Supersede::Never,
            limit: None,
            audit: columns.named(Audit::from_name)?,
        };
        let may_run_again: bool = columns.next()?;
        let attempt = columns.count()?;
        let fence = Fence(columns.count()?);
        let is_charged: bool = columns.next()?;
        let expires_at = now + Duration::from_millis(policy.lease_ms);
        let lease = Lease {
            token: Token(self.request.0),
            runner: self.runner,
            claimed_at: now,
            started_at: is_charged.then_some(now),
            heartbeat_at: now,
            expires_at,
        };
        Ok(Execution {
            id,
            generation,
            job: self.queue.clone(),
            scope,
            slot_at: None,
            due_at,
            expires_at: None,
            priority: self.priority,
            payload,
            unique_key,
            policy,
            state: State::Running,
            claimable_at: may_run_again.then(|| expires_at.offset_micros(1)),
            attempt,
            fence,
            lease: Some(lease),
            cancel_requested_at: columns.optional_instant()?,
            finished_at: None,
            duration_ms: None,
            rows_affected: None,
            result: None,
            error: None,
            skip_reason: None,
            created_at: columns.instant()?,
            updated_at: now,
            trace: columns.next::<Option<&str>>()?.and_then(TraceContext::from_stored),
            progress: None,
        })
    }
}

/// The last names that were read: the rows of a claim mostly have the same.
#[derive(Default)]
struct Names {
    job: Option<JobName>,
    scope: Option<Scope>,
}

impl Names {
    fn job(&mut self, name: &str) -> Result<JobName, Wrong> {
        match &self.job {
            Some(last) if last.as_str() == name => Ok(last.clone()),
            _ => Ok(self.job.insert(JobName::new(name)?).clone()),
        }
    }

    fn scope(&mut self, kind: &str, id: &str) -> Result<Scope, Wrong> {
        match &self.scope {
            Some(last) if (last.kind(), last.id()) == (kind, id) => Ok(last.clone()),
            _ => Ok(self.scope.insert(Scope::new(kind, id)?).clone()),
        }
    }
}

/// The columns of `fragment/claimed_columns.sql`, behind the id. Whatever a claim clears is not among them.
fn read((id, token): (ExecutionId, Token), columns: &mut Line<'_>, names: &mut Names) -> Result<Execution, Wrong> {
    // Fields of a struct literal are evaluated as written, but these are not in their order.
    let generation = Generation(columns.count()?);
    let job = names.job(columns.next()?)?;
    let scope = names.scope(columns.next()?, columns.next()?)?;
    let slot_at = columns.optional_instant()?;
    let due_at = columns.instant()?;
    let expires_at = columns.optional_instant()?;
    let priority = columns.next()?;
    let payload = columns.next::<Option<&str>>()?.map(Json::from_stored);
    let unique_key = columns.next()?;
    let policy = read_policy(columns)?;
    let claimable_at = columns.optional_instant()?;
    let attempt = columns.count()?;
    let fence = Fence(columns.count()?);
    let lease = Lease {
        token,
        runner: Incarnation::from(columns.next::<Id>()?),
        claimed_at: columns.instant()?,
        started_at: columns.optional_instant()?,
        heartbeat_at: columns.instant()?,
        expires_at: columns.instant()?,
    };
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
        state: State::Running,
        claimable_at,
        attempt,
        fence,
        lease: Some(lease),
        cancel_requested_at: columns.optional_instant()?,
        finished_at: None,
        duration_ms: None,
        rows_affected: None,
        result: None,
        error: None,
        skip_reason: None,
        created_at: columns.instant()?,
        updated_at: columns.instant()?,
        trace: columns.next::<Option<&str>>()?.and_then(TraceContext::from_stored),
        progress: columns.next::<Option<&str>>()?.and_then(Reported::from_stored),
    })
}

fn reentry(name: &str) -> Option<Reentry> {
    match name {
        "allow" => Some(Reentry::Allow),
        "forbid" => Some(Reentry::Forbid),
        _ => None,
    }
}

fn read_policy(columns: &mut Line<'_>) -> Result<Policy, Wrong> {
    Ok(Policy {
        max_attempts: columns.count()?,
        lease_ms: columns.count()?,
        reentry: columns.named(reentry)?,
        supersede: columns.named(|name| match name {
            "never" => Some(Supersede::Never),
            "by_newer_slot" => Some(Supersede::ByNewerSlot),
            _ => None,
        })?,
        limit: match (columns.next()?, columns.next::<Option<i64>>()?) {
            (Some(key), Some(max)) => Some(Limit { key, max: u32::try_from(max)? }),
            (None, None) => None,
            _ => return Err("a limit key without a limit, or the reverse".into()),
        },
        audit: columns.named(Audit::from_name)?,
    })
}

#[cfg(test)]
mod tests {
    use tourbillon::model::NewExecution;
    use uuid::Uuid;

    use super::*;

    /// A plain row, changed.
    fn row(change: impl FnOnce(&mut NewExecution)) -> Execution {
        let (reentry, supersede) = (Reentry::Allow, Supersede::Never);
        let policy =
            Policy { max_attempts: 1, lease_ms: 1, reentry, supersede, limit: None, audit: Audit::Exceptions };
        let mut new = NewExecution {
            id: ExecutionId(Uuid::nil()),
            slot_at: None,
            due_at: Timestamp::EPOCH,
            expires_at: None,
            priority: 0,
            payload: None,
            unique_key: None,
            policy,
        };
        change(&mut new);
        Execution::fresh(JobName::new("q").expect("a plain name"), Scope::global(), new, Timestamp::EPOCH)
    }

    #[test]
    fn a_queue_goes_the_short_way_again_once_all_its_rows_are_plain() {
        let q = JobName::new("q").expect("a plain name");
        let runner = Incarnation(Uuid::nil());
        let verb = Claim { runner, jobs: vec![q.clone()], limit: 9, charge: Charge::AtStart, rate: None };
        let goes_short = |rows: &[Execution], skipped: &[(ExecutionId, SkipReason)]| {
            let mixed = Mixed::default();
            mixed.queues().insert(q.clone());
            let answer = Answer { rows: rows.to_vec(), skipped: skipped.to_vec(), ..Answer::at(Timestamp::EPOCH) };
            mixed.found(&verb, &answer);
            mixed.may_be_plain(&verb)
        };
        let plain = row(|_| {});
        assert!(goes_short(std::slice::from_ref(&plain), &[]));
        assert!(!goes_short(&[], &[]), "nothing was learnt");
        assert!(!goes_short(std::slice::from_ref(&plain), &[(plain.id, SkipReason::Late)]));
        let others = [
            row(|new| new.slot_at = Some(Timestamp::EPOCH)),
            row(|new| new.expires_at = Some(Timestamp::EPOCH)),
            row(|new| new.policy.limit = Some(Limit { key: "k".to_owned(), max: 1 })),
            row(|new| new.policy.supersede = Supersede::ByNewerSlot),
            row(|new| new.policy.audit = Audit::All),
        ];
        for other in others {
            assert!(!goes_short(&[plain.clone(), other.clone()], &[]), "{other:?}");
        }
    }
}
