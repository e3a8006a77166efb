//! What the verbs on jobs do, in terms of [`JobRows`](crate::store::JobRows).

use crate::{
    model::Timestamp,
    store::{Cursor, JobEntry, JobPage, ListJobs, ListScopes, Rows, ScopeEntry, ScopePage, StoreError},
};

pub(super) fn list(rows: &mut impl Rows, now: Timestamp, verb: &ListJobs) -> Result<JobPage, StoreError> {
    let mut jobs = Vec::new();
    for (job, record) in rows.jobs(verb.after.as_ref(), verb.limit)? {
        let cursors = rows.cursors(&job)?;
        let mut last_success = None;
        for cursor in &cursors {
            last_success = last_success.max(rows.last_success(&job, &cursor.scope)?);
        }
        let scopes = cursors.len() as u64;
        jobs.push(JobEntry { job, spec_hash: record.spec_hash, edited_at: record.edited_at, scopes, last_success });
    }
    Ok(JobPage { now, jobs })
}

pub(super) fn scopes(rows: &mut impl Rows, now: Timestamp, verb: &ListScopes) -> Result<ScopePage, StoreError> {
    let mut scopes = Vec::new();
    let behind = |cursor: &Cursor| verb.after.as_ref().is_none_or(|after| cursor.scope > *after);
    let cursors = rows.cursors(&verb.job)?.into_iter().filter(behind);
    for cursor in cursors.take(verb.limit as usize) {
        let last_success = rows.last_success(&verb.job, &cursor.scope)?;
        scopes.push(ScopeEntry { cursor, last_success });
    }
    Ok(ScopePage { now, scopes })
}
