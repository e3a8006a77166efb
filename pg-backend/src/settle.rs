//! Owns a settle: its parameters, and how its short answer becomes outcomes.

use serde::Deserialize;
use tourbillon::{
    model::{
        ErrorCode, LeaseRef, Outcome, Retry, State, Timestamp,
        transition::{CANCELLED_WAITING, Refusal},
    },
    store::{Reply, Settle, Settled, StoreError},
};

use crate::{
    bind::leases,
    parameter::{Bound, at, bounded, int8},
    sql::Statements,
    store::{corrupt, decode},
    wire::Id,
};

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

/// The statement.
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
    let held: Vec<LeaseRef> = verb.settlements.iter().map(|settlement| settlement.lease).collect();
    Ok(leases(at(&sql.settle_executions, now).bind(id), &held)?
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
    fn an_answer_that_does_not_fit_is_corrupt() {
        for (codes, found) in [("s", "null"), ("sx", "null"), ("ss", "[1]"), ("ss", "[1,3]"), ("ss", "[0,1]")] {
            let text = format!(r#"{{"now":7,"codes":"{codes}","found":{found}}}"#);
            assert!(read(&text, &of_rows(2)).is_err(), "{text}");
        }
    }
}
