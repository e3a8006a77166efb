//! Owns a settle: which statement it takes, its parameters, and how its short answer becomes outcomes.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde::Deserialize;
use tourbillon::{
    model::{
        ErrorCode, LeaseRef, Outcome, RequestId, Retention, Retry, State, Timestamp,
        transition::{CANCELLED_WAITING, Refusal},
    },
    store::{Reply, Settle, Settled, StoreError},
};

use crate::{
    bind::leases,
    error::Fault,
    parameter::{Bound, at, bounded, int8},
    session::Session,
    sql::Statements,
    store::{Inner, corrupt, decode},
    wire::Id,
};

/// How many settlements still take the long way, because the short one was not for the last that tried it: one at first, twice
/// as many after each further one in a row. Relaxed: a try too many, or too few, costs time alone.
#[derive(Debug, Default)]
pub(crate) struct Detour {
    left: AtomicU32,
    length: AtomicU32,
}

/// Of a store whose settlements are never plain, one in so many asks twice.
const LONGEST_DETOUR: u32 = 64;

impl Detour {
    /// Whether this settlement may try the short way.
    fn is_over(&self) -> bool {
        self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err()
    }

    fn tried(&self, was_plain: bool) {
        let length = if was_plain { 0 } else { (self.length.load(Relaxed) * 2).clamp(1, LONGEST_DETOUR) };
        self.length.store(length, Relaxed);
        self.left.store(length, Relaxed);
    }
}

impl Inner {
    pub(crate) async fn settle(
        &self,
        session: &mut Session<'_>,
        id: RequestId,
        verb: &Settle,
    ) -> Result<Reply, Fault> {
        let now = self.clock.fixed();
        if let Some(fate) = common_fate(verb)
            && self.detour.is_over()
        {
            let short = bind_plain(&self.statements, now, id.into(), verb, fate).map_err(Fault::Final)?;
            let text = session.ask(short).await?;
            self.detour.tried(text.is_some());
            if let Some(text) = text {
                return read(&text, verb).map_err(Fault::Final);
            }
        }
        let text = session.ask(bind(&self.statements, now, id.into(), verb).map_err(Fault::Final)?).await?;
        read(text.as_deref().unwrap_or("null"), verb).map_err(Fault::Final)
    }
}

/// What the statement answers: see its header.
#[derive(Deserialize)]
struct Answer {
    now: Timestamp,
    codes: String,
    found: Option<Vec<usize>>,
}

/// The reply to `verb`. A row that was not found has gone, with whatever ended it.
pub(crate) fn read(text: &str, verb: &Settle) -> Result<Reply, StoreError> {
    let Answer { now, codes, found } = decode(text)?;
    let told = codes.chars().map(outcome).collect::<Option<Vec<_>>>();
    let told = told.ok_or_else(|| corrupt(format!("settle: the server answered the outcomes {codes:?}")))?;
    let mut outcomes = vec![Err(Refusal::LeaseLost); verb.settlements.len()];
    let places = found.unwrap_or_else(|| (1..=outcomes.len()).collect());
    if places.len() != told.len() {
        let (told, places) = (told.len(), places.len());
        return Err(corrupt(format!("settle: the server answered {told} outcomes of {places} rows")));
    }
    for (place, outcome) in places.into_iter().zip(told) {
        let place = place.checked_sub(1).and_then(|index| outcomes.get_mut(index));
        *place.ok_or_else(|| corrupt("settle: the server answered about a row more".to_owned()))? = outcome;
    }
    Ok(Reply::Settled(Settled { now, outcomes }))
}

fn outcome(code: char) -> Option<Result<State, Refusal>> {
    Some(match code {
        's' => Ok(State::Succeeded),
        'r' => Ok(State::Retryable),
        'w' => Ok(State::Scheduled),
        'd' => Ok(State::Dead),
        'c' => Ok(State::Cancelled),
        'N' => Err(Refusal::NotStarted),
        'L' => Err(Refusal::LeaseLost),
        _ => return None,
    })
}

#[derive(Default)]
struct Outcomes {
    name: Vec<&'static str>,
    result: Vec<Option<String>>,
    rows_affected: Vec<Option<i64>>,
    code: Vec<Option<String>>,
    text: Vec<Option<String>>,
    delay_ms: Vec<Option<i64>>,
    retain: Vec<&'static str>,
}

/// What becomes of rows that all succeeded.
#[derive(Clone, Copy)]
enum Fate {
    Kept,
    Forgotten,
}

/// `None`: not all of them succeeded, or they have different fates.
fn common_fate(verb: &Settle) -> Option<Fate> {
    let all = &verb.settlements;
    if !all.iter().all(|one| matches!(one.outcome, Outcome::Succeeded { .. })) {
        return None;
    }
    match all.iter().filter(|one| one.retain == Retention::Everything).count() {
        0 => Some(Fate::Forgotten),
        kept => (kept == all.len()).then_some(Fate::Kept),
    }
}

/// The short statement: see `settle_plain.sql`.
fn bind_plain(
    sql: &Statements,
    now: Option<Timestamp>,
    id: Id,
    verb: &Settle,
    fate: Fate,
) -> Result<Bound, StoreError> {
    let of = |statement| leases(at(statement, now).bind(id), &held(verb));
    match fate {
        Fate::Forgotten => of(&sql.settle_forgetting),
        Fate::Kept => {
            let (mut results, mut rows) = (Vec::new(), Vec::new());
            for settlement in &verb.settlements {
                if let Outcome::Succeeded { result, rows_affected } = &settlement.outcome {
                    results.push(result.as_str().to_owned());
                    rows.push(rows_affected.map(|rows| int8("rows_affected", rows)).transpose()?);
                }
            }
            Ok(of(&sql.settle_keeping)?.bind(results).bind(rows))
        }
    }
}

fn held(verb: &Settle) -> Vec<LeaseRef> {
    verb.settlements.iter().map(|settlement| settlement.lease).collect()
}

/// The statement for rows of all kinds.
pub(crate) fn bind(sql: &Statements, now: Option<Timestamp>, id: Id, verb: &Settle) -> Result<Bound, StoreError> {
    let mut columns = Outcomes::default();
    for settlement in &verb.settlements {
        let (mut result, mut rows, mut failed, mut delay) = (None, None, None, None);
        columns.name.push(match &settlement.outcome {
            Outcome::Succeeded { result: json, rows_affected } => {
                result = Some(json.as_str().to_owned());
                rows = rows_affected.map(|rows| int8("rows_affected", rows)).transpose()?;
                "succeeded"
            }
            Outcome::Failed { failure, retry } => {
                failed = Some(failure);
                delay = match retry {
                    Retry::AfterMs(ms) => Some(bounded(*ms)),
                    Retry::Never => None,
                };
                "failed"
            }
            Outcome::Released => "released",
            Outcome::Snoozed { for_ms } => {
                delay = Some(bounded(*for_ms));
                "snoozed"
            }
            Outcome::Cancelled { failure } => {
                failed = Some(failure);
                "cancelled"
            }
        });
        columns.result.push(result);
        columns.rows_affected.push(rows);
        columns.code.push(failed.map(|failure| failure.code.as_str().to_owned()));
        columns.text.push(failed.map(|failure| failure.text.as_str().to_owned()));
        columns.delay_ms.push(delay);
        columns.retain.push(settlement.retain.as_str());
    }
    Ok(leases(at(&sql.settle_executions, now).bind(id), &held(verb))?
        .bind(columns.name)
        .bind(columns.result)
        .bind(columns.rows_affected)
        .bind(columns.code)
        .bind(columns.text)
        .bind(columns.delay_ms)
        .bind(ErrorCode::canceled().as_str().to_owned())
        .bind(CANCELLED_WAITING)
        .bind(columns.retain))
}

#[cfg(test)]
mod tests {
    use tourbillon::model::{ExecutionId, Fence, Token};
    use tourbillon::store::Settlement;
    use uuid::Uuid;

    use super::*;

    fn of_rows(rows: usize) -> Settle {
        let (id, token) = (ExecutionId(Uuid::nil()), Token(Uuid::nil()));
        let lease = LeaseRef { id, token, fence: Fence(1) };
        Settle { settlements: vec![Settlement::of(lease, Outcome::Released); rows] }
    }

    #[test]
    fn rows_that_were_not_found_are_lost() {
        let reply = read(r#"{"now":7,"codes":"sN","found":[1,3]}"#, &of_rows(3));
        let outcomes = vec![Ok(State::Succeeded), Err(Refusal::LeaseLost), Err(Refusal::NotStarted)];
        assert_eq!(reply, Ok(Reply::Settled(Settled { now: Timestamp::from_micros(7), outcomes })));
    }

    #[test]
    fn a_detour_doubles_and_ends_with_what_is_plain() {
        let detour = Detour::default();
        let mut lengths = Vec::new();
        for was_plain in [false, false, false, true, false] {
            lengths.push((0..).take_while(|_| !detour.is_over()).count());
            detour.tried(was_plain);
        }
        assert_eq!(lengths, [0, 1, 2, 4, 0]);
        for _ in 0..10 {
            detour.tried(false);
        }
        assert_eq!((0..).take_while(|_| !detour.is_over()).count(), LONGEST_DETOUR as usize);
    }

    #[test]
    fn an_answer_that_does_not_fit_is_corrupt() {
        for (codes, found) in [("s", "null"), ("sx", "null"), ("ss", "[1]"), ("ss", "[1,3]"), ("ss", "[0,1]")] {
            let text = format!(r#"{{"now":7,"codes":"{codes}","found":{found}}}"#);
            assert!(read(&text, &of_rows(2)).is_err(), "{text}");
        }
    }
}
