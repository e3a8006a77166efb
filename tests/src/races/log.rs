//! Owns the record of a race: every call that any task made, with what it was told. Judges nothing.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::{
        Execution, ExecutionId, Fence, Generation, JobName, LeaseRef, Outcome, RequestId, Scope, State, Timestamp,
        transition::{Cancelled, Refusal},
    },
    store::{Claimed, PlanOutcome, Reply, Request, RequeueOutcome, StoreError, Verb, keeps_receipt},
};

/// One call and its answer.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which task made it.
    pub worker: usize,
    /// What it asked.
    pub request: Request,
    /// What it was told.
    pub reply: Result<Reply, StoreError>,
}

/// Something that an accepted call did to one execution, at the database's time in its reply.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Timestamp,
    pub(crate) deed: Deed,
}

#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// The row as the claim returned it.
    Claimed(Box<Execution>),
    /// The attempt number of the reply, and whether this may be the second application of one start.
    Started(LeaseRef, u32, Application),
    /// The new expiry.
    Renewed(LeaseRef, Timestamp),
    Settled(LeaseRef, Outcome, State),
    /// By a rescue.
    Ended(State),
    /// By a claim.
    Skipped,
    /// A write refused as lease lost.
    Refused(LeaseRef, Write, Application),
}

/// Which write of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// An expired lease refuses it, even when nobody took the row.
    Start,
    Heartbeat,
    Settle,
}

/// Whether a reply tells of the moment at which its request was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Application {
    /// It does.
    Now,
    /// An earlier try of the same request had no answer and may have been the one.
    MaybeBefore,
}

impl Event {
    /// At one instant: what ends an attempt comes before the claim that it makes possible.
    pub(crate) fn order(&self) -> (Timestamp, Fence, u8) {
        let (fence, rank) = match &self.deed {
            Deed::Claimed(row) => (row.fence, 0),
            Deed::Started(lease, ..) => (lease.fence, 1),
            Deed::Renewed(lease, _) => (lease.fence, 2),
            Deed::Settled(lease, ..) => (lease.fence, 3),
            Deed::Refused(lease, ..) => (lease.fence, 4),
            Deed::Ended(_) | Deed::Skipped => (Fence(u64::MAX), 5),
        };
        (self.at, fence, rank)
    }
}

/// The accepted calls of a race by execution, each list in the order of the database's time.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) events: BTreeMap<ExecutionId, Vec<Event>>,
    pub(crate) planned: Vec<ExecutionId>,
    /// Cursors moved: job and scope, and from where.
    pub(crate) moved: Vec<(JobName, Scope, Option<Timestamp>)>,
    pub(crate) requeued: Vec<(ExecutionId, Generation)>,
    pub(crate) cancelled_now: BTreeMap<ExecutionId, usize>,
    /// A verb without a receipt had no answer: what it did may be in no reply.
    pub(crate) unanswered: BTreeMap<&'static str, usize>,
    /// Rows that claims may have taken of which no reply tells: those that a claim no longer held when it was answered at
    /// last, after tries that had no answer.
    pub(crate) unheard_rows: usize,
    /// Requests that were answered twice, and differently.
    pub(crate) contradictions: Vec<String>,
}

impl Ledger {
    pub(crate) fn of(calls: &[Call]) -> Self {
        let mut ledger = Self::default();
        let mut first: BTreeMap<RequestId, &Reply> = BTreeMap::new();
        let mut unknown: BTreeSet<RequestId> = BTreeSet::new();
        for call in calls {
            let id = call.request.id;
            let Ok(reply) = &call.reply else {
                unknown.insert(id);
                if !keeps_receipt(&call.request.verb) {
                    *ledger.unanswered.entry(call.request.verb.name()).or_default() += 1;
                }
                continue;
            };
            if keeps_receipt(&call.request.verb) && !is_empty_claim(reply) {
                match first.get(&id) {
                    None => first.insert(id, reply),
                    Some(told) if told.may_be_repeated_as(reply) => continue,
                    Some(told) => {
                        ledger
                            .contradictions
                            .push(format!("{:?} was answered {told:?}, then {reply:?}", call.request));
                        continue;
                    }
                };
            }
            let applied = if unknown.contains(&id) { Application::MaybeBefore } else { Application::Now };
            if let (Verb::Claim(claim), Reply::Claimed(claimed), Application::MaybeBefore) =
                (&call.request.verb, reply, applied)
            {
                let told = claimed.executions.len() + claimed.skipped.len();
                ledger.unheard_rows += (claim.limit as usize).saturating_sub(told);
            }
            ledger.enter(&call.request.verb, reply, applied);
        }
        for events in ledger.events.values_mut() {
            events.sort_by_key(Event::order);
        }
        ledger
    }

    fn enter(&mut self, verb: &Verb, reply: &Reply, applied: Application) {
        match (verb, reply) {
            (Verb::Claim(_), Reply::Claimed(claimed)) => self.enter_claim(claimed),
            (Verb::Plan(verb), Reply::Planned(planned)) => {
                for (entry, outcome) in verb.entries.iter().zip(&planned.outcomes) {
                    if let PlanOutcome::Made(ids) = outcome {
                        self.planned.extend(ids);
                        self.moved.push((entry.job.clone(), entry.scope.clone(), entry.expect));
                    }
                }
            }
            (Verb::Start(verb), Reply::Started(started)) => {
                for (lease, outcome) in verb.leases.iter().zip(&started.outcomes) {
                    let deed = match outcome {
                        Ok(attempt) => Deed::Started(*lease, *attempt, applied),
                        Err(_) => Deed::Refused(*lease, Write::Start, applied),
                    };
                    self.add(lease.id, started.now, deed);
                }
            }
            (Verb::Heartbeat(verb), Reply::Renewed(renewed)) => {
                for (lease, outcome) in verb.leases.iter().zip(&renewed.outcomes) {
                    let deed = match outcome {
                        Ok(renewal) => Deed::Renewed(*lease, renewal.expires_at),
                        Err(_) => Deed::Refused(*lease, Write::Heartbeat, applied),
                    };
                    self.add(lease.id, renewed.now, deed);
                }
            }
            (Verb::Settle(verb), Reply::Settled(settled)) => {
                for (one, outcome) in verb.settlements.iter().zip(&settled.outcomes) {
                    let deed = match outcome {
                        Ok(state) => Deed::Settled(one.lease, one.outcome.clone(), *state),
                        Err(Refusal::NotStarted) => continue,
                        Err(Refusal::LeaseLost) => Deed::Refused(one.lease, Write::Settle, applied),
                    };
                    self.add(one.lease.id, settled.now, deed);
                }
            }
            (Verb::Rescue(_), Reply::Rescued(rescued)) => {
                for (id, state) in &rescued.ended {
                    self.add(*id, rescued.now, Deed::Ended(*state));
                }
            }
            (Verb::Cancel(verb), Reply::CancelOutcomes(cancelled)) => {
                for (id, outcome) in verb.ids.iter().zip(&cancelled.outcomes) {
                    if *outcome == Cancelled::Now {
                        *self.cancelled_now.entry(*id).or_default() += 1;
                    }
                }
            }
            (Verb::Requeue(verb), Reply::Requeued(requeued)) => {
                for (id, outcome) in verb.ids.iter().zip(&requeued.outcomes) {
                    if let RequeueOutcome::Requeued(generation) = outcome {
                        self.requeued.push((*id, *generation));
                    }
                }
            }
            _ => {}
        }
    }

    fn enter_claim(&mut self, claimed: &Claimed) {
        for row in &claimed.executions {
            self.add(row.id, claimed.now, Deed::Claimed(Box::new(row.clone())));
        }
        for (id, _) in &claimed.skipped {
            self.add(*id, claimed.now, Deed::Skipped);
        }
    }

    fn add(&mut self, id: ExecutionId, at: Timestamp, deed: Deed) {
        self.events.entry(id).or_default().push(Event { at, deed });
    }
}

/// A claim that changed nothing leaves no receipt: repeating it may find something.
pub(crate) fn is_empty_claim(reply: &Reply) -> bool {
    matches!(reply, Reply::Claimed(claimed) if claimed.executions.is_empty() && claimed.skipped.is_empty())
}
