//! Sorts a history by execution: which rows there are, and what happened to each, in true order. One pass, nothing
//! cloned. Says nothing about right and wrong.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
};

use tourbillon::{
    model::{
        Execution, ExecutionId, Generation, Incarnation, JobName, LeaseRef, Policy, RequestId, Scope, SkipReason,
        State, Timestamp,
        transition::{Cancelled, Refusal},
    },
    plan::{Backoff, Planner, Schedule},
    store::{
        DeleteOutcome, Due, EnqueueOutcome, NewItem, PlanEntry, PlanOutcome, Renewal, Reply, Request, RequeueOutcome,
        Settlement, SpecHash, TriggerJob, TriggerOutcome, UpdateOutcome, Verb,
    },
};

use super::{
    shadow::{Shadow, after_ms},
    topic::{Topic, Topics},
};
use crate::history::{Effect, Event, FinalState, History, HostId, JobFacts, RunFacts, STANDSTILL_PPM, What};

/// A history, sorted.
pub(super) struct Track<'h> {
    pub(super) history: &'h History,
    pub(super) facts: Option<&'h RunFacts>,
    /// The last event, if the run got that far.
    pub(super) ended: Option<(usize, &'h FinalState)>,
    /// Every execution that the history names.
    pub(super) rows: Vec<Row<'h>>,
    /// Every (job, scope) that the facts or a plan name.
    pub(super) series: Vec<Series<'h>>,
    /// What happened to rows, in true order.
    pub(super) steps: Vec<Step<'h>>,
    /// (first, again): repetitions of a request id that did not return the first outcome.
    pub(super) broken_repeats: Vec<(usize, usize)>,
    /// Leases under which an attempt was charged by a commit that a fail-over lost.
    pub(super) lost_charges: BTreeSet<LeaseRef>,
    /// Events of commits that a fail-over lost: what they did is not so.
    lost: BTreeSet<usize>,
    /// When monotonic clocks stood still, in true time; the last span of a host may be open.
    standstills: BTreeMap<HostId, Vec<(u64, u64)>>,
    /// Finished rows and ledger entries older than this may have been pruned.
    pub(super) history_pruned_before: Option<Timestamp>,
    index: BTreeMap<ExecutionId, usize>,
    series_index: BTreeMap<(&'h JobName, &'h Scope), usize>,
    versions: BTreeMap<Incarnation, u32>,
    /// Which version of the software registered a spec.
    specs: BTreeMap<(&'h JobName, &'h SpecHash), u32>,
    receipts: BTreeMap<RequestId, usize>,
    receipts_pruned_before: Option<Timestamp>,
    /// What was carried out and answered, repetitions left out. Gathered once: a dozen checkers walk through it.
    answered: Vec<Carried<'h>>,
    topics: Topics,
}

/// A request that was carried out: its event, the database clock then, itself, and the reply.
type Carried<'h> = (usize, Timestamp, &'h Request, &'h Reply);

/// One execution: what never changes about it.
pub(super) struct Row<'h> {
    pub(super) id: ExecutionId,
    /// Index into [`Track::series`].
    pub(super) series: Option<usize>,
    pub(super) slot_at: Option<Timestamp>,
    pub(super) due_at: Timestamp,
    /// Counted from the enqueue, so that a withdrawn instant withdraws it too.
    pub(super) is_due_relative: bool,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) policy: Option<&'h Policy>,
    /// Event that made it.
    pub(super) made: Option<usize>,
}

impl Row<'_> {
    /// When a lease taken or renewed at `now` ends.
    pub(super) fn lease_end(&self, now: Timestamp) -> Timestamp {
        after_ms(now, self.policy.map_or(0, |policy| policy.lease_ms))
    }
}

/// One (job, scope).
pub(super) struct Series<'h> {
    pub(super) job: &'h JobName,
    pub(super) scope: &'h Scope,
    pub(super) facts: Option<&'h JobFacts>,
}

impl fmt::Display for Series<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} for {}", self.job, self.scope)
    }
}

/// Something that happened to one row.
#[derive(Clone, Copy)]
pub(super) struct Step<'h> {
    /// Index of the event.
    pub(super) event: usize,
    /// Index of the row.
    pub(super) row: usize,
    /// Database clock of the event, or of the last applied one before it.
    pub(super) now: Timestamp,
    pub(super) act: Act<'h>,
}

/// Who removed an item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Remover {
    Operator,
    Cleaner,
}

/// What happened.
#[derive(Clone, Copy)]
pub(super) enum Act<'h> {
    Made,
    /// The row as the claim answered it, and whether the claim charged its attempt.
    Claimed(&'h Execution, bool),
    /// A repetition of the claim that took this lease, and whether its answer names the row.
    ClaimRepeated(LeaseRef, bool),
    Skipped(SkipReason),
    Started(&'h LeaseRef, &'h Result<u32, Refusal>),
    Renewed(&'h LeaseRef, &'h Result<Renewal, Refusal>),
    Settled(&'h Settlement, &'h Result<State, Refusal>),
    Rescued(State),
    Clamped,
    Cancelled(Cancelled),
    Requeued(Generation),
    /// An operator changed the item, and maybe its time.
    Updated(Option<Due>),
    Removed(Remover),
    HandlerStarted(Incarnation, &'h LeaseRef, Generation),
    EffectReceived(&'h Effect, bool),
}

/// The leases under which this request charged an attempt.
pub(super) fn charged(request: &Request, reply: &Reply) -> Vec<LeaseRef> {
    match (&request.verb, reply) {
        (Verb::Start(start), Reply::Started(started)) => {
            let is_ok = start.leases.iter().zip(&started.outcomes).filter(|(_, outcome)| outcome.is_ok());
            is_ok.map(|(lease, _)| *lease).collect()
        }
        (Verb::Claim(claim), Reply::Claimed(claimed)) => {
            let charged = claimed.executions.iter().filter(|row| claim.charge.has_charged(row));
            charged.filter_map(Execution::lease_ref).collect()
        }
        _ => Vec::new(),
    }
}

fn lost<'h>(seldom: impl Iterator<Item = &'h Event>) -> BTreeSet<usize> {
    let lost = seldom.filter_map(|event| if let What::FailedOver { lost } = &event.what { Some(lost) } else { None });
    lost.flatten().copied().collect()
}

fn standstills<'h>(seldom: impl Iterator<Item = &'h Event>) -> BTreeMap<HostId, Vec<(u64, u64)>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in seldom {
        let What::ClockSet { drift_ppm, .. } = event.what else { continue };
        let last = all.get_mut(&event.host).and_then(|spans: &mut Vec<(u64, u64)>| spans.last_mut());
        let open = last.filter(|span| span.1 == u64::MAX);
        match (open, drift_ppm == STANDSTILL_PPM) {
            (None, true) => all.entry(event.host).or_default().push((event.at_us, u64::MAX)),
            (Some(span), false) => span.1 = event.at_us,
            _ => {}
        }
    }
    all
}

impl<'h> Track<'h> {
    pub(super) fn of(history: &'h History) -> Self {
        let topics = Topics::of(&history.events);
        let seldom = || topics.about(&[Topic::Other]).map(|event| &history.events[event]);
        let mut track = Self {
            history,
            facts: None,
            ended: None,
            rows: Vec::new(),
            series: Vec::new(),
            steps: Vec::new(),
            broken_repeats: Vec::new(),
            lost_charges: BTreeSet::new(),
            lost: lost(seldom()),
            standstills: standstills(seldom()),
            history_pruned_before: None,
            index: BTreeMap::new(),
            series_index: BTreeMap::new(),
            versions: BTreeMap::new(),
            specs: BTreeMap::new(),
            receipts: BTreeMap::new(),
            receipts_pruned_before: None,
            answered: Vec::new(),
            topics,
        };
        let mut clock = Timestamp::EPOCH;
        for (event, what) in history.events.iter().map(|event| &event.what).enumerate() {
            match what {
                What::Began { facts } => {
                    track.facts = Some(facts);
                    clock = facts.epoch;
                    for job in &facts.jobs {
                        for scope in &job.scopes {
                            track.series_of(&job.job, scope);
                        }
                    }
                }
                What::Deployed { incarnation, version } => {
                    track.versions.insert(*incarnation, *version);
                }
                What::Applied { request, now, result } => {
                    clock = *now;
                    let Ok(reply) = result else { continue };
                    let carried = (event, *now, &**request, reply);
                    if track.lost.contains(&event) {
                        track.answered.push(carried);
                        track.lost_charges.extend(charged(request, reply));
                    } else if track.is_repeat(event, request, reply) {
                        track.claim_repeated(event, *now, request, reply);
                    } else {
                        track.answered.push(carried);
                        track.applied_event(carried);
                    }
                }
                What::HandlerStarted { incarnation, lease, generation, .. } => {
                    track.push(event, clock, lease.id, Act::HandlerStarted(*incarnation, lease, *generation));
                }
                What::EffectReceived { effect, accepted } => {
                    track.push(event, clock, effect.execution, Act::EffectReceived(effect, *accepted));
                }
                What::Ended { state } => track.ended = Some((event, state)),
                _ => {}
            }
        }
        track
    }

    /// Shows every step with all rows as they are *before* it, and returns the rows as they are at the end.
    pub(super) fn walk(&self, mut see: impl FnMut(&Step<'h>, &[Shadow])) -> Vec<Shadow> {
        let mut shadows = vec![Shadow::ABSENT; self.rows.len()];
        for step in &self.steps {
            see(step, &shadows);
            shadows[step.row].apply(step, &self.rows[step.row]);
        }
        shadows
    }

    /// The requests that changed or read something: neither failed ones, nor answers from a receipt, nor commits that
    /// were lost.
    pub(super) fn applied(&self) -> impl Iterator<Item = Carried<'h>> + '_ {
        self.answered().filter(|(event, ..)| !self.lost.contains(event))
    }

    /// The same and the commits that a fail-over lost later: what replicas were told at the time.
    pub(super) fn answered(&self) -> impl Iterator<Item = Carried<'h>> + '_ {
        self.answered.iter().copied()
    }

    /// The events about any of these topics, in true order.
    pub(super) fn about<'t>(&'t self, topics: &[Topic]) -> impl Iterator<Item = (usize, &'h Event)> + use<'t, 'h> {
        self.topics.about(topics).map(|event| (event, &self.history.events[event]))
    }

    /// The index of a (job, scope) that was planned or is in the facts.
    pub(super) fn series_at(&self, job: &JobName, scope: &Scope) -> Option<usize> {
        self.series_index.get(&(job, scope)).copied()
    }

    /// When slots of a job are by the spec that was registered under this hash: the facts know two.
    pub(super) fn planner_of<'f>(&self, facts: &'f JobFacts, spec: &SpecHash) -> &'f Planner {
        self.revision_of(facts, spec).unwrap_or(&facts.planner)
    }

    /// The schedule of a scope, likewise; `None` when it has none.
    pub(super) fn schedule_of<'f>(
        &self,
        facts: &'f JobFacts,
        scope: &Scope,
        spec: &SpecHash,
    ) -> Option<&'f Schedule> {
        self.revision_of(facts, spec).map_or_else(|| facts.schedule(scope), |revised| Some(&revised.schedule))
    }

    fn revision_of<'f>(&self, facts: &'f JobFacts, spec: &SpecHash) -> Option<&'f Planner> {
        let version = self.specs.get(&(&facts.job, spec)).copied().unwrap_or(0);
        facts.revised.as_ref().filter(|_| version % 2 == 1)
    }

    /// For how long the host's monotonic clock stood still between two instants of true time.
    pub(super) fn stood_still_us(&self, host: HostId, from_us: u64, to_us: u64) -> u64 {
        let spans = self.standstills.get(&host).into_iter().flatten();
        spans.map(|(began_us, ended_us)| (*ended_us).min(to_us).saturating_sub((*began_us).max(from_us))).sum()
    }

    /// Whether a fail-over lost commits, so that fences may repeat.
    pub(super) fn loses_commits(&self) -> bool {
        !self.lost.is_empty()
    }

    pub(super) fn row_at(&self, id: ExecutionId) -> Option<usize> {
        self.index.get(&id).copied()
    }

    /// How many commits of the application, asked for by `runner` and applied between two events, a fail-over lost. Any
    /// of them may have been the taking of work that its handlers must take again: which, the application knows.
    pub(super) fn lost_work(&self, runner: Incarnation, between: std::ops::Range<usize>) -> u64 {
        let lost = self.lost.range(between).filter(|event| {
            let what = &self.history.events[**event].what;
            matches!(what, What::ApplicationApplied { request, changes, .. }
                if request.incarnation == runner && !changes.is_empty())
        });
        lost.count() as u64
    }

    pub(super) fn job_facts(&self, row: usize) -> Option<&'h JobFacts> {
        self.rows[row].series.and_then(|series| self.series[series].facts)
    }

    /// The waits between attempts of an execution, if they are known.
    pub(super) fn backoff(&self, row: usize) -> Option<&'h Backoff> {
        let series = &self.series[self.rows[row].series?];
        match series.facts {
            Some(facts) => facts.backoff.as_ref(),
            None => self.facts?.queues.iter().find(|known| known.queue == *series.job).map(|known| &known.backoff),
        }
    }

    /// The execution for messages.
    pub(super) fn name(&self, row: usize) -> String {
        let row = &self.rows[row];
        let series = row.series.map_or_else(|| "an unknown job".to_owned(), |series| self.series[series].to_string());
        let slot = row.slot_at.map_or_else(String::new, |slot| format!(", slot {slot}"));
        format!("execution {} ({series}{slot})", row.id)
    }

    fn applied_event(&mut self, (event, now, request, reply): Carried<'h>) {
        match (&request.verb, reply) {
            (Verb::Register(register), Reply::Registered(_)) => {
                let version = self.versions.get(&register.runner).copied().unwrap_or(0);
                let specs = register.jobs.iter().map(|job| ((&job.job, &job.spec_hash), version));
                self.specs.extend(specs);
            }
            (Verb::Plan(plan), Reply::Planned(planned)) => {
                for (entry, outcome) in plan.entries.iter().zip(&planned.outcomes) {
                    self.planned(event, now, entry, outcome);
                }
            }
            (Verb::Enqueue(enqueue), Reply::Enqueued(enqueued)) => {
                for (item, outcome) in enqueue.items.iter().zip(&enqueued.outcomes) {
                    if let EnqueueOutcome::Enqueued(_) = outcome {
                        self.enqueued(event, now, &enqueue.queue, item);
                    }
                }
            }
            (Verb::TriggerJob(trigger), Reply::JobTriggered(triggered))
                if triggered.outcome == TriggerOutcome::Triggered =>
            {
                self.triggered(event, now, trigger);
            }
            (Verb::Claim(claim), Reply::Claimed(claimed)) => {
                for execution in &claimed.executions {
                    let row = self.intern(execution.id);
                    self.describe(row, execution);
                    let is_charged = claim.charge.has_charged(execution);
                    self.steps.push(Step { event, row, now, act: Act::Claimed(execution, is_charged) });
                }
                for (id, reason) in &claimed.skipped {
                    self.push(event, now, *id, Act::Skipped(*reason));
                }
            }
            (Verb::Start(start), Reply::Started(started)) => {
                for (lease, outcome) in start.leases.iter().zip(&started.outcomes) {
                    self.push(event, now, lease.id, Act::Started(lease, outcome));
                }
            }
            (Verb::Heartbeat(heartbeat), Reply::Renewed(renewed)) => {
                for (lease, outcome) in heartbeat.leases.iter().zip(&renewed.outcomes) {
                    self.push(event, now, lease.id, Act::Renewed(lease, outcome));
                }
            }
            (Verb::Settle(settle), Reply::Settled(settled)) => {
                for (settlement, outcome) in settle.settlements.iter().zip(&settled.outcomes) {
                    self.push(event, now, settlement.lease.id, Act::Settled(settlement, outcome));
                }
            }
            (Verb::Rescue(_), Reply::Rescued(rescued)) => {
                // In the order of the verb: first the clock's step is undone, then expiry is judged.
                for id in &rescued.clamped {
                    self.push(event, now, *id, Act::Clamped);
                }
                for (id, state) in &rescued.ended {
                    self.push(event, now, *id, Act::Rescued(*state));
                }
            }
            (Verb::Cancel(cancel), Reply::CancelOutcomes(cancelled)) => {
                for (id, outcome) in cancel.ids.iter().zip(&cancelled.outcomes) {
                    self.push(event, now, *id, Act::Cancelled(*outcome));
                }
            }
            (Verb::Requeue(requeue), Reply::Requeued(requeued)) => {
                for (id, outcome) in requeue.ids.iter().zip(&requeued.outcomes) {
                    if let RequeueOutcome::Requeued(generation) = outcome {
                        self.push(event, now, *id, Act::Requeued(*generation));
                    }
                }
            }
            (Verb::UpdateItem(update), Reply::ItemUpdated(updated)) if updated.outcome == UpdateOutcome::Updated => {
                self.push(event, now, update.id, Act::Updated(update.due));
            }
            (Verb::DeleteItems(delete), Reply::ItemsDeleted(deleted)) => {
                for (id, outcome) in delete.ids.iter().zip(&deleted.outcomes) {
                    if *outcome == DeleteOutcome::Deleted {
                        self.push(event, now, *id, Act::Removed(Remover::Operator));
                    }
                }
            }
            (Verb::CleanItems(_), Reply::ItemsCleaned(cleaned)) => {
                for id in &cleaned.removed {
                    self.push(event, now, *id, Act::Removed(Remover::Cleaner));
                }
            }
            (Verb::Prune(prune), Reply::Pruned(_)) => {
                let before = |ms: u64| Some(now.offset_micros(-i64::try_from(ms * 1_000).unwrap_or(i64::MAX)));
                self.history_pruned_before = self.history_pruned_before.max(before(prune.history_ms));
                self.receipts_pruned_before = self.receipts_pruned_before.max(before(prune.receipts_ms));
            }
            _ => {}
        }
    }

    /// True for an answer from a receipt, which changed nothing. A repetition with another answer was carried out
    /// anew; it is remembered as broken unless the receipt may have been pruned.
    fn is_repeat(&mut self, event: usize, request: &'h Request, reply: &'h Reply) -> bool {
        let has_receipt = match reply {
            // A claim that found nothing leaves no trace: repeating it may find something.
            Reply::Claimed(claimed) => !(claimed.executions.is_empty() && claimed.skipped.is_empty()),
            Reply::LockTried(tried) => tried.outcome.is_ok(),
            Reply::Planned(_)
            | Reply::Enqueued(_)
            | Reply::Settled(_)
            | Reply::CancelOutcomes(_)
            | Reply::Requeued(_)
            | Reply::ItemUpdated(_)
            | Reply::ItemsDeleted(_)
            | Reply::JobPaused(_)
            | Reply::JobResumed(_)
            | Reply::JobTriggered(_)
            | Reply::SchedulePut(_)
            | Reply::ScheduleRemoved(_) => true,
            _ => false,
        };
        match self.receipts.entry(request.id) {
            Entry::Vacant(entry) if has_receipt => {
                entry.insert(event);
                false
            }
            Entry::Vacant(_) => false,
            Entry::Occupied(entry) => {
                let first = *entry.get();
                let What::Applied { now, result: Ok(first_reply), .. } = &self.history.events[first].what else {
                    return false;
                };
                let is_equal = first_reply.may_be_repeated_as(reply);
                if !is_equal && self.receipts_pruned_before.is_none_or(|before| *now >= before) {
                    self.broken_repeats.push((first, event));
                }
                is_equal
            }
        }
    }

    /// What each row that the first transmission took learns of its repetition.
    fn claim_repeated(&mut self, event: usize, now: Timestamp, request: &Request, again: &Reply) {
        let first = self.receipts.get(&request.id).map(|first| &self.history.events[*first].what);
        let (Some(What::Applied { result: Ok(Reply::Claimed(first)), .. }), Reply::Claimed(again)) = (first, again)
        else {
            return;
        };
        for lease in first.executions.iter().filter_map(Execution::lease_ref) {
            let is_told = again.executions.iter().any(|row| row.lease_ref() == Some(lease));
            self.push(event, now, lease.id, Act::ClaimRepeated(lease, is_told));
        }
    }

    fn planned(&mut self, event: usize, now: Timestamp, entry: &'h PlanEntry, outcome: &'h PlanOutcome) {
        let series = self.series_of(&entry.job, &entry.scope);
        let PlanOutcome::Made(made) = outcome else { return };
        for new in entry.slots.iter().filter(|new| made.contains(&new.id)) {
            let row = self.intern(new.id);
            // Of an id made twice the first making counts; that it was made twice is for G6 to say.
            if self.rows[row].made.is_none() {
                self.rows[row] = Row {
                    id: new.id,
                    series: Some(series),
                    slot_at: new.slot_at,
                    due_at: new.due_at,
                    is_due_relative: false,
                    expires_at: new.expires_at,
                    policy: Some(&new.policy),
                    made: Some(event),
                };
                self.steps.push(Step { event, row, now, act: Act::Made });
            }
        }
    }

    fn enqueued(&mut self, event: usize, now: Timestamp, queue: &'h JobName, item: &'h NewItem) {
        let series = self.series_of(queue, &item.scope);
        let row = self.intern(item.id);
        if self.rows[row].made.is_none() {
            self.rows[row] = Row {
                id: item.id,
                series: Some(series),
                slot_at: None,
                due_at: match item.due {
                    Due::AfterMs(ms) => after_ms(now, ms),
                    Due::At(at) => at,
                },
                is_due_relative: matches!(item.due, Due::AfterMs(_)),
                expires_at: item.ttl_ms.map(|ms| after_ms(now, ms)),
                policy: Some(&item.policy),
                made: Some(event),
            };
            self.steps.push(Step { event, row, now, act: Act::Made });
        }
    }

    fn triggered(&mut self, event: usize, now: Timestamp, trigger: &'h TriggerJob) {
        let series = self.series_of(&trigger.job, &trigger.scope);
        let row = self.intern(trigger.id);
        if self.rows[row].made.is_none() {
            self.rows[row] = Row {
                id: trigger.id,
                series: Some(series),
                slot_at: None,
                due_at: now,
                is_due_relative: true,
                expires_at: None,
                policy: Some(&trigger.policy),
                made: Some(event),
            };
            self.steps.push(Step { event, row, now, act: Act::Made });
        }
    }

    /// Learns about a row that no plan made from the claim that shows it.
    fn describe(&mut self, row: usize, execution: &'h Execution) {
        if self.rows[row].policy.is_some() {
            return;
        }
        let series = self.series_of(&execution.job, &execution.scope);
        self.rows[row] = Row {
            id: execution.id,
            series: Some(series),
            slot_at: execution.slot_at,
            due_at: execution.due_at,
            is_due_relative: false,
            expires_at: execution.expires_at,
            policy: Some(&execution.policy),
            made: None,
        };
    }

    fn push(&mut self, event: usize, now: Timestamp, id: ExecutionId, act: Act<'h>) {
        let row = self.intern(id);
        self.steps.push(Step { event, row, now, act });
    }

    fn intern(&mut self, id: ExecutionId) -> usize {
        let next = self.rows.len();
        let row = *self.index.entry(id).or_insert(next);
        if row == next {
            let due_at = Timestamp::EPOCH;
            self.rows.push(Row {
                id,
                series: None,
                slot_at: None,
                due_at,
                is_due_relative: false,
                expires_at: None,
                policy: None,
                made: None,
            });
        }
        row
    }

    fn series_of(&mut self, job: &'h JobName, scope: &'h Scope) -> usize {
        let next = self.series.len();
        let series = *self.series_index.entry((job, scope)).or_insert(next);
        if series == next {
            let facts = self.facts.and_then(|facts| facts.jobs.iter().find(|facts| facts.job == *job));
            self.series.push(Series { job, scope, facts });
        }
        series
    }
}
