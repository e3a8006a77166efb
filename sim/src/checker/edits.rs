//! Owns which answered requests edited a schedule that the database keeps. Judges nothing.

use tourbillon::{
    model::{JobName, Scope},
    store::{PutOutcome, RemoveOutcome, Reply, Request, SpecHash, Verb},
};

/// An edit that was carried out.
pub(super) struct Edit<'h> {
    pub(super) job: &'h JobName,
    pub(super) scope: &'h Scope,
    /// Of the schedule from then on; `None`: it was removed.
    pub(super) hash: Option<&'h SpecHash>,
}

/// The edit that this request made, if it made one.
pub(super) fn stored_edit<'h>(request: &'h Request, reply: &Reply) -> Option<Edit<'h>> {
    match (&request.verb, reply) {
        (Verb::PutSchedule(put), Reply::SchedulePut(reply)) if matches!(reply.outcome, PutOutcome::Put(_)) => {
            Some(Edit { job: &put.job, scope: &put.scope, hash: Some(&put.schedule.hash) })
        }
        (Verb::RemoveSchedule(removal), Reply::ScheduleRemoved(reply))
            if matches!(reply.outcome, RemoveOutcome::Removed(_)) =>
        {
            Some(Edit { job: &removal.job, scope: &removal.scope, hash: None })
        }
        _ => None,
    }
}
