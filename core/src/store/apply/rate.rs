//! Owns what claims do with the turns of limit keys (G15), in terms of [`RateRows`](crate::store::RateRows).

use crate::{
    model::{Execution, JobName, Rate, Timestamp, rate},
    store::{Claim, QueueStats, Rows, Stats, StoreError},
};

/// Whether nothing at all may be claimed now: the key that the rows have in common has no turn.
pub(super) fn is_shut(rows: &mut impl Rows, verb: &Claim, now: Timestamp) -> Result<bool, StoreError> {
    match verb.rate.as_ref().and_then(|rate| Some((rate, rate.key.as_deref()?))) {
        Some((rate, key)) => Ok(!rate.is_open(rows.gate(key)?.as_ref(), now)),
        None => Ok(false),
    }
}

/// Whether the row's key has a turn for it.
pub(super) fn has_turn(
    rows: &mut impl Rows,
    rate: Option<&Rate>,
    row: &Execution,
    now: Timestamp,
) -> Result<bool, StoreError> {
    match (rate, &row.policy.limit) {
        (Some(rate), Some(limit)) => Ok(rate.is_open(rows.gate(&limit.key)?.as_ref(), now)),
        _ => Ok(true),
    }
}

/// Takes a turn for a row that is claimed.
pub(super) fn charge(
    rows: &mut impl Rows,
    rate: Option<&Rate>,
    row: &Execution,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (Some(rate), Some(limit)) = (rate, &row.policy.limit) else { return Ok(()) };
    let was = rows.gate(&limit.key)?;
    rows.put_gate(&rate.charge(was.as_ref(), &limit.key, &row.job, now))
}

/// When the first key of the queue that has no turn now gets one.
pub(super) fn next_at(
    rows: &mut impl Rows,
    rate: Option<&Rate>,
    jobs: &[JobName],
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let (Some(rate), [queue]) = (rate, jobs) else { return Ok(None) };
    let shut = rows.shut_gates(queue, now)?;
    Ok(shut.iter().map(|gate| rate.opens_at(gate)).filter(|at| *at > now).min())
}

/// Figures of all jobs, with how the turns of each stand.
pub(super) fn stats(rows: &mut impl Rows, now: Timestamp) -> Result<Stats, StoreError> {
    let mut jobs = rows.stats()?;
    for (job, stats) in &mut jobs {
        stats.turns = rows.turns(job, now)?;
    }
    Ok(Stats { now, jobs })
}

/// Figures of one queue, with how its turns stand.
pub(super) fn queue_stats(rows: &mut impl Rows, now: Timestamp, queue: &JobName) -> Result<QueueStats, StoreError> {
    let turns = rows.turns(queue, now)?;
    Ok(QueueStats { turns, ..rows.queue_stats(queue, now)? })
}

/// Moves gates that were charged in a withdrawn future to the present.
pub(super) fn clamp(rows: &mut impl Rows, now: Timestamp) -> Result<(), StoreError> {
    for mut gate in rows.withdrawn_gates(now)? {
        rate::clamp_to_present(&mut gate, now);
        rows.put_gate(&gate)?;
    }
    Ok(())
}
