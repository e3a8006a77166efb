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
        let paused_at = rows.pauses(&job)?.iter().find(|pause| pause.scope.is_none()).map(|pause| pause.paused_at);
        jobs.push(JobEntry {
            job,
            spec_hash: record.spec_hash,
            rules: record.rules,
            paused_at,
            edited_at: record.edited_at,
            scopes,
            last_success,
        });
    }
    Ok(JobPage { now, jobs })
}

pub(super) fn scopes(rows: &mut impl Rows, now: Timestamp, verb: &ListScopes) -> Result<ScopePage, StoreError> {
    let mut scopes = Vec::new();
    let behind = |cursor: &Cursor| verb.after.as_ref().is_none_or(|after| cursor.scope > *after);
    let pauses = rows.pauses(&verb.job)?;
    let cursors = rows.cursors(&verb.job)?.into_iter().filter(behind);
    for cursor in cursors.take(verb.limit as usize) {
        let last_success = rows.last_success(&verb.job, &cursor.scope)?;
        let pause = pauses.iter().find(|pause| pause.scope.as_ref() == Some(&cursor.scope));
        let paused_at = pause.map(|pause| pause.paused_at);
        scopes.push(ScopeEntry { cursor, paused_at, last_success });
    }
    Ok(ScopePage { now, scopes })
}
