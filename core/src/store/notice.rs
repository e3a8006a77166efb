//! Notices: hints that rows have just become due, so that nobody has to wait for the next poll. Owns who is told of what,
//! and how one listens; promises nothing, since a notice may be lost, doubled or late.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    BoxFuture, Due, EnqueueOutcome, PlanOutcome, Reply, RequeueOutcome, ResumeOutcome, StoreError, TriggerOutcome,
    UpdateOutcome, Verb,
};
use crate::model::{JobName, Outcome, Timestamp};

/// Most jobs that a notice names; one of more is of any.
const MAX_JOBS: usize = 100;

/// A hint: executions of these jobs may have become due. It says nothing about which, how many, or whether they still are.
///
/// ```
/// use tourbillon::{model::JobName, store::Notice};
/// let (mail, push) = (JobName::new("mail")?, JobName::new("push")?);
/// let mut notice = Notice::of(mail.clone());
/// assert!(notice.concerns(&[mail]) && !notice.concerns(&[push.clone()]));
/// notice.add(Notice::Any);
/// assert!(notice.concerns(&[push]));
/// # Ok::<_, tourbillon::model::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Of these, at least one.
    Jobs(BTreeSet<JobName>),
    /// Of any: it was not known of which, or they were too many to name.
    Any,
}

impl Notice {
    /// A notice of one job.
    pub fn of(job: JobName) -> Self {
        Self::Jobs(BTreeSet::from([job]))
    }

    /// What to tell listeners once `verb` was answered by `reply`: `None` unless at least one row is due now by it.
    ///
    /// Left to the poll, too rare or too near to whoever did it to be worth the telling: retries and snoozes that wait
    /// for nothing, waits that a rescue shortens, and room under a limit.
    pub fn after(verb: &Verb, reply: &Reply) -> Option<Self> {
        let is_due = |due: Due, now: Timestamp| match due {
            Due::AfterMs(wait_ms) => wait_ms == 0,
            Due::At(at) => at <= now,
        };
        match (verb, reply) {
            (Verb::Enqueue(verb), Reply::Enqueued(reply)) => {
                let mut items = verb.items.iter().zip(&reply.outcomes);
                let due = items.any(|(item, outcome)| {
                    matches!(outcome, EnqueueOutcome::Enqueued(_)) && is_due(item.due, reply.now)
                });
                due.then(|| Self::of(verb.queue.clone()))
            }
            // A slot is planned when it is due.
            (Verb::Plan(verb), Reply::Planned(reply)) => {
                let entries = verb.entries.iter().zip(&reply.outcomes);
                let made = |outcome: &PlanOutcome| matches!(outcome, PlanOutcome::Made(ids) if !ids.is_empty());
                Self::among(entries.filter(|(_, outcome)| made(outcome)).map(|(entry, _)| entry.job.clone()))
            }
            (Verb::UpdateItem(verb), Reply::ItemUpdated(reply)) => {
                let due = verb.due.is_some_and(|due| is_due(due, reply.now));
                (due && reply.outcome == UpdateOutcome::Updated).then(|| Self::of(verb.queue.clone()))
            }
            (Verb::Requeue(_), Reply::Requeued(reply)) => {
                let any = reply.outcomes.iter().any(|outcome| matches!(outcome, RequeueOutcome::Requeued(_)));
                any.then_some(Self::Any)
            }
            (Verb::TriggerJob(verb), Reply::JobTriggered(reply)) => {
                (reply.outcome == TriggerOutcome::Triggered).then(|| Self::of(verb.job.clone()))
            }
            // What the pause held may run at once.
            (Verb::ResumeJob(verb), Reply::JobResumed(reply)) => {
                matches!(reply.outcome, ResumeOutcome::Resumed(_)).then(|| Self::of(verb.job.clone()))
            }
            // What somebody gives back, another may run at once.
            (Verb::Settle(verb), Reply::Settled(reply)) => {
                let mut ends = verb.settlements.iter().zip(&reply.outcomes);
                let any = ends.any(|(end, outcome)| end.outcome == Outcome::Released && outcome.is_ok());
                any.then_some(Self::Any)
            }
            _ => None,
        }
    }

    /// A notice of these jobs; `None` if there are none.
    pub fn among(jobs: impl IntoIterator<Item = JobName>) -> Option<Self> {
        let jobs: BTreeSet<_> = jobs.into_iter().collect();
        match jobs.len() {
            0 => None,
            1..=MAX_JOBS => Some(Self::Jobs(jobs)),
            _ => Some(Self::Any),
        }
    }

    /// Makes one notice of two.
    pub fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Any, _) => {}
            (Self::Jobs(jobs), Self::Jobs(more)) if jobs.len() + more.len() <= MAX_JOBS => jobs.extend(more),
            // Too many to name, or so in the worst case.
            (Self::Jobs(jobs), Self::Jobs(more)) => {
                let all = std::mem::take(jobs).into_iter().chain(more);
                *self = Self::among(all).unwrap_or(Self::Any);
            }
            (Self::Jobs(_), Self::Any) => *self = Self::Any,
        }
    }

    /// Whether it may be about one of `jobs`.
    pub fn concerns(&self, jobs: &[JobName]) -> bool {
        match self {
            Self::Jobs(named) => jobs.iter().any(|job| named.contains(job)),
            Self::Any => !jobs.is_empty(),
        }
    }
}

/// Hears notices of one store, from the moment it was made. Made by [`Store::listen`](super::Store::listen).
///
/// Whoever listens also polls: a listener may miss any notice without a word, all of them if its connection is half
/// open. [`Listener::probe`] finds that out.
pub trait Listener: Send {
    /// The next notice; several that came meanwhile may be one. Dropping the future loses none.
    ///
    /// # Errors
    /// The listener is gone: make another one. What was told in between is lost.
    fn next(&mut self) -> BoxFuture<'_, Result<Notice, StoreError>>;

    /// Whether it still hears: a round trip along the way that notices come. Notices that come meanwhile are kept. Has no
    /// deadline of its own: who asks sets one, and takes silence for an error. Dropped halfway, the listener is of no
    /// use any more.
    ///
    /// # Errors
    /// It does not: make another one.
    fn probe(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Enqueue, Enqueued};

    fn job(name: impl Into<String>) -> JobName {
        JobName::new(&name.into()).unwrap()
    }

    #[test]
    fn a_notice_of_too_many_jobs_is_of_any() {
        let many = |from: usize| (from..from + MAX_JOBS).map(|n| job(format!("job-{n}")));
        let mut notice = Notice::among(many(0)).unwrap();
        notice.add(Notice::among(many(0)).unwrap());
        assert!(matches!(&notice, Notice::Jobs(jobs) if jobs.len() == MAX_JOBS), "the same names are not more names");
        notice.add(Notice::of(job("one more")));
        assert_eq!(notice, Notice::Any);
        notice.add(Notice::of(job("and another")));
        assert_eq!((notice, Notice::among([])), (Notice::Any, None));
    }

    #[test]
    fn nobody_is_told_of_an_enqueue_that_stored_nothing() {
        let verb: Verb = Enqueue { queue: job("q"), max_items: None, items: Vec::new() }.into();
        let reply = Reply::Enqueued(Enqueued { now: Timestamp::EPOCH, outcomes: Vec::new() });
        assert_eq!(Notice::after(&verb, &reply), None);
    }
}
