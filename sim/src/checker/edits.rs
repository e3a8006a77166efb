//! Owns which answered requests edited a schedule that the database keeps, and to what. Judges nothing.

use tourbillon::{
    model::{JobName, Scope},
    store::{PutOutcome, RemoveOutcome, Reply, Request, ScheduleData, Verb},
};

/// An edit that was carried out.
pub(super) struct Edit<'h> {
    pub(super) job: &'h JobName,
    pub(super) scope: &'h Scope,
    /// From then on; `None`: it was removed.
    pub(super) schedule: Option<&'h ScheduleData>,
}

/// The edit that this request made, if it made one.
pub(super) fn stored_edit<'h>(request: &'h Request, reply: &Reply) -> Option<Edit<'h>> {
    match (&request.verb, reply) {
        (Verb::PutSchedule(put), Reply::SchedulePut(reply)) if matches!(reply.outcome, PutOutcome::Put(_)) => {
            Some(Edit { job: &put.job, scope: &put.scope, schedule: Some(&put.schedule) })
        }
        (Verb::RemoveSchedule(removal), Reply::ScheduleRemoved(reply))
            if matches!(reply.outcome, RemoveOutcome::Removed(_)) =>
        {
            Some(Edit { job: &removal.job, scope: &removal.scope, schedule: None })
        }
        _ => None,
    }
}
