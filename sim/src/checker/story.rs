//! Hand-written histories: a forgiving narrator that records whatever it is told, right or wrong, in the words of
//! the history. It starts with one job on a grid of one minute, leases of 30 s and 3 attempts. What it says of executions,
//! queues and locks is in `story_life`, `story_queue` and `story_locks`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tourbillon::{
    model::{
        Audit, AuditEvent, ErrorCode, Execution, ExecutionId, Failure, Incarnation, JobName, Json, LeaseRef, Limit,
        NewExecution, Outcome, Policy, Reentry, RequestId, Retry, Scope, SkipReason, SkippedSlots, Supersede,
        Timestamp,
    },
    plan::{Begin, Cadence, CatchUp, Planner, Schedule},
    store::{
        ErrorKind, Expected, JobPaused, JobResumed, PauseJob, PauseOutcome, Plan, PlanEntry, PlanOutcome, Planned,
        Prune, Pruned, PutOutcome, PutSchedule, Register, RegisterOutcome, Registered, Registration, RemoveOutcome,
        RemoveSchedule, Reply, Request, ResumeJob, ResumeOutcome, Revision, ScheduleData, SchedulePut,
        ScheduleRemoved, SkippedEntry, SpecHash, Verb,
    },
};
use uuid::Uuid;

use super::{Violation, check_all, story_locks::Told};
use crate::history::{
    Answer, Boot, CrashKind, Event, FinalState, History, HostId, JobFacts, Phase, RunFacts, ShutdownOutcome, What,
};

pub(super) struct Story {
    pub(super) history: History,
    pub(super) rows: BTreeMap<u8, Execution>,
    pub(super) ledger: Vec<SkippedEntry>,
    pub(super) cursor: Option<Timestamp>,
    pub(super) spec: &'static str,
    /// The schedule that the scope has to itself.
    pub(super) own: Option<&'static str>,
    pub(super) replica: u8,
    true_us: u64,
    clock_offset_us: i64,
    pub(super) requests: u128,
    is_heard: bool,
    /// What executions made from here on tell.
    pub(super) audit: Audit,
    /// What the database holds of it at the end.
    pub(super) log: Vec<AuditEvent>,
    pub(super) told: Told,
}

pub(super) fn job() -> JobName {
    JobName::new("job").unwrap()
}

pub(super) fn incarnation(replica: u8) -> Incarnation {
    Incarnation(Uuid::from_u128(0x1000 + u128::from(replica)))
}

pub(super) fn execution(n: u8) -> ExecutionId {
    ExecutionId(Uuid::from_u128(n.into()))
}

pub(super) fn succeeded() -> Outcome {
    Outcome::Succeeded { result: Json::empty(), rows_affected: None }
}

pub(super) fn failed(retry: Retry) -> Outcome {
    Outcome::Failed { failure: Failure::new(ErrorCode::handler_error(), "no"), retry }
}

impl Story {
    pub(super) const EPOCH: Timestamp = Timestamp::from_secs(1_200_000_000);

    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other facts.
    pub(super) fn with(change: impl FnOnce(&mut RunFacts)) -> Self {
        let schedule = Schedule::Cadence(Cadence::new(Duration::from_secs(60)).unwrap());
        let (delay, catch_up, begin) = (Duration::ZERO, CatchUp::LatestOnly, Begin::default());
        let planner = Planner { schedule, delay, catch_up, max_lateness: None, begin };
        let job = JobFacts {
            job: job(),
            scopes: vec![Scope::global()],
            planner,
            schedules: Vec::new(),
            revised: None,
            max_attempts: 3,
            lease_ms: 30_000,
            reentry: Reentry::Allow,
            run_timeout: Duration::from_secs(20),
            max_backoff: Duration::from_secs(10),
            backoff: None,
            effects_per_start: 1,
            may_idle: false,
            overlap_max: None,
        };
        let mut facts = RunFacts {
            scenario: "story".to_owned(),
            seed: 0,
            epoch: Self::EPOCH,
            replicas: 2,
            jobs: vec![job],
            call_timeout: Duration::from_secs(5),
            poll_interval: Duration::from_secs(1),
            rescue_interval: Duration::from_secs(5),
            probe_interval: Duration::from_secs(30),
            granularity: Duration::from_millis(100),
            settle_within: Duration::from_secs(300),
            services: Vec::new(),
            boot: Boot::Ready,
            queues: Vec::new(),
            receivers: Vec::new(),
        };
        change(&mut facts);
        let mut story = Self {
            history: History::default(),
            rows: BTreeMap::new(),
            ledger: Vec::new(),
            cursor: None,
            spec: "spec",
            own: None,
            replica: 0,
            true_us: 0,
            clock_offset_us: 0,
            requests: 0x10_0000,
            is_heard: true,
            audit: Audit::Off,
            log: Vec::new(),
            told: Told::default(),
        };
        story.record(HostId::World, What::Began { facts: Box::new(facts) });
        story
    }

    pub(super) fn record(&mut self, host: HostId, what: What) -> &mut Self {
        self.history.events.push(Event { at_us: self.true_us, host, what });
        self
    }

    pub(super) fn facts(&self) -> &RunFacts {
        match &self.history.events[0].what {
            What::Began { facts } => facts,
            _ => unreachable!("a story begins with its facts"),
        }
    }

    /// The database clock.
    pub(super) fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.true_us).unwrap() + self.clock_offset_us;
        Self::EPOCH.offset_micros(passed)
    }

    /// The grid slot `minutes` after the epoch.
    pub(super) fn slot(minutes: i64) -> Timestamp {
        Self::EPOCH.offset_micros(minutes * 60_000_000)
    }

    // Time, places, phases.

    pub(super) fn wait(&mut self, seconds: u64) -> &mut Self {
        self.wait_ms(seconds * 1_000)
    }

    pub(super) fn wait_ms(&mut self, ms: u64) -> &mut Self {
        self.true_us += ms * 1_000;
        self
    }

    pub(super) fn step_clock(&mut self, seconds: i64) -> &mut Self {
        self.clock_offset_us += seconds * 1_000_000;
        let offset_us = self.clock_offset_us;
        self.record(HostId::Database, What::ClockSet { offset_us, drift_ppm: 0 })
    }

    /// Who acts from here on.
    pub(super) fn by(&mut self, replica: u8) -> &mut Self {
        self.replica = replica;
        self
    }

    /// The next reply is lost.
    pub(super) fn unheard(&mut self) -> &mut Self {
        self.is_heard = false;
        self
    }

    /// From now on something is in somebody's way: replica 1 is cut off.
    pub(super) fn in_the_way(&mut self) -> &mut Self {
        let (kind, detail) = ("partition".to_owned(), String::new());
        self.record(HostId::Replica(1), What::FaultBegan { kind, detail })
    }

    pub(super) fn phase(&mut self, phase: Phase) -> &mut Self {
        self.record(HostId::World, What::PhaseBegan { phase })
    }

    pub(super) fn here(&mut self, what: What) -> &mut Self {
        self.record(HostId::Replica(self.replica), what)
    }

    pub(super) fn drift(&mut self, drift_ppm: i32) -> &mut Self {
        self.here(What::ClockSet { offset_us: 0, drift_ppm })
    }

    /// From here on its software is of this version.
    pub(super) fn deploy(&mut self, version: u32) -> &mut Self {
        let incarnation = incarnation(self.replica);
        self.here(What::Deployed { incarnation, version })
    }

    pub(super) fn crash(&mut self) -> &mut Self {
        let incarnation = incarnation(self.replica);
        self.here(What::Crashed { incarnation, kind: CrashKind::PowerLoss })
    }

    pub(super) fn shut_down(&mut self, outcome: ShutdownOutcome) -> &mut Self {
        let incarnation = incarnation(self.replica);
        self.here(What::ShutdownEnded { incarnation, outcome })
    }

    // Requests.

    pub(super) fn replica(&self) -> u8 {
        self.replica
    }

    /// Of the last request that was sent.
    pub(super) fn last_request(&self) -> RequestId {
        RequestId(Uuid::from_u128(self.requests))
    }

    pub(super) fn invoke(&mut self, verb: &str, leases: &[LeaseRef]) -> RequestId {
        self.requests += 1;
        let request = RequestId(Uuid::from_u128(self.requests));
        let incarnation = incarnation(self.replica);
        self.here(What::Invoked { incarnation, request, verb: verb.to_owned().into(), leases: leases.to_vec() });
        request
    }

    pub(super) fn answer(&mut self, request: RequestId, verb: &str, answer: Answer) -> &mut Self {
        let incarnation = incarnation(self.replica);
        self.here(What::Answered { incarnation, request, verb: verb.to_owned().into(), answer })
    }

    pub(super) fn exchange(&mut self, leases: &[LeaseRef], verb: impl Into<Verb>, reply: Reply) -> &mut Self {
        let verb = verb.into();
        let name = verb.name();
        let id = self.invoke(name, leases);
        let (now, request) = (self.now(), Request { id, verb });
        self.record(HostId::Database, What::Applied { request: request.into(), now, result: Ok(reply) });
        let answer = match self.is_heard {
            true => Answer::Reply,
            false => Answer::Error(ErrorKind::Unknown, "reply lost".to_owned()),
        };
        self.is_heard = true;
        self.answer(id, name, answer)
    }

    /// Changes the last applied request after the fact.
    pub(super) fn forge(&mut self, change: impl FnOnce(&mut Verb, &mut Reply)) -> &mut Self {
        let applied = self.history.events.iter_mut().rev().find_map(|event| match &mut event.what {
            What::Applied { request, result: Ok(reply), .. } => Some((&mut Arc::make_mut(request).verb, reply)),
            _ => None,
        });
        let (verb, reply) = applied.expect("a request was applied");
        change(verb, reply);
        self
    }

    /// The last applied request reaches the database again and is answered the same.
    pub(super) fn repeat(&mut self) -> &mut Self {
        let last = self.history.events.iter().rev().find(|event| matches!(event.what, What::Applied { .. }));
        let what = match last.map(|event| event.what.clone()) {
            Some(What::Applied { request, result, .. }) => What::Applied { request, now: self.now(), result },
            _ => unreachable!("a request was applied"),
        };
        self.record(HostId::Database, what)
    }

    /// A fail-over loses the newest commits: so many applied requests.
    pub(super) fn lose(&mut self, commits: usize) -> &mut Self {
        let events = self.history.events.iter().enumerate().rev();
        let applied = events.filter(|(_, event)| matches!(event.what, What::Applied { .. })).map(|(index, _)| index);
        let mut lost: Vec<_> = applied.take(commits).collect();
        lost.reverse();
        self.record(HostId::Database, What::FailedOver { lost })
    }

    // Planning.

    /// Registers the job under `spec`.
    pub(super) fn register(&mut self, spec: &'static str, outcome: RegisterOutcome) -> &mut Self {
        self.spec = spec;
        if outcome == RegisterOutcome::ScheduleChanged {
            if let Some(after) = self.cursor {
                let through = self.now();
                self.skip_slots(SkippedSlots { after, through, count: None, reason: SkipReason::ScheduleChanged });
            }
            self.cursor = Some(self.now());
        }
        let hash = SpecHash(spec.into());
        let registration = Registration { job: job(), spec_hash: hash.clone(), schedule_hash: hash, rules: None };
        let verb = Register { runner: incarnation(self.replica), jobs: vec![registration] };
        self.exchange(&[], verb, Reply::Registered(Registered { outcomes: vec![outcome] }))
    }

    /// Pauses the job, or a scope of it: one that was never planned begins with that.
    pub(super) fn pause_job(&mut self, scope: Option<Scope>) -> &mut Self {
        if scope.is_some() {
            self.cursor = self.cursor.or(Some(self.now()));
        }
        self.pause_job_as(scope, PauseOutcome::Paused)
    }

    pub(super) fn pause_job_as(&mut self, scope: Option<Scope>, outcome: PauseOutcome) -> &mut Self {
        let reply = JobPaused { now: self.now(), outcome };
        self.exchange(&[], PauseJob { job: job(), scope, actor: None }, Reply::JobPaused(reply))
    }

    /// Lifts the pause: what it left out is recorded.
    pub(super) fn resume_job(&mut self, scope: Option<Scope>) -> &mut Self {
        let now = self.now();
        if let Some(after) = self.cursor.replace(now) {
            self.skip_slots(SkippedSlots { after, through: now, count: None, reason: SkipReason::Paused });
        }
        self.resume_job_as(scope, ResumeOutcome::Resumed(now))
    }

    pub(super) fn resume_job_as(&mut self, scope: Option<Scope>, outcome: ResumeOutcome) -> &mut Self {
        let reply = JobResumed { now: self.now(), outcome };
        self.exchange(&[], ResumeJob { job: job(), scope, actor: None }, Reply::JobResumed(reply))
    }

    fn skip_slots(&mut self, slots: SkippedSlots) {
        let recorded_at = self.now();
        self.ledger.push(SkippedEntry { job: job(), scope: Scope::global(), slots, recorded_at });
    }

    /// Makes execution `n` of the newest slot.
    pub(super) fn make(&mut self, n: u8) -> &mut Self {
        let slot = self.facts().jobs[0].planner.schedule.latest(self.now()).expect("a grid has a slot");
        self.make_at(n, slot)
    }

    /// Makes execution `n` of `slot`.
    pub(super) fn make_at(&mut self, n: u8, slot: Timestamp) -> &mut Self {
        self.plan(slot, &[(n, slot)], Vec::new())
    }

    pub(super) fn plan(&mut self, to: Timestamp, slots: &[(u8, Timestamp)], skipped: Vec<SkippedSlots>) -> &mut Self {
        let facts = self.facts().jobs[0].clone();
        let limit = facts.overlap_max.map(|max| Limit { key: "job".to_owned(), max });
        let new = |(n, slot): &(u8, Timestamp)| NewExecution {
            id: execution(*n),
            slot_at: Some(*slot),
            due_at: facts.planner.due_at(*slot),
            expires_at: facts.planner.expires_at(*slot),
            priority: 0,
            payload: None,
            unique_key: None,
            policy: Policy {
                max_attempts: facts.max_attempts,
                lease_ms: facts.lease_ms,
                reentry: facts.reentry,
                supersede: match facts.planner.catch_up {
                    CatchUp::LatestOnly => Supersede::ByNewerSlot,
                    CatchUp::EverySlot { .. } => Supersede::Never,
                },
                limit: limit.clone(),
                audit: self.audit,
            },
        };
        let news: Vec<_> = slots.iter().map(new).collect();
        let now = self.now();
        for ((n, _), new) in slots.iter().zip(&news) {
            self.rows.insert(*n, Execution::fresh(job(), Scope::global(), new.clone(), now));
        }
        for slots in &skipped {
            self.skip_slots(slots.clone());
        }
        let ids = news.iter().map(|new| new.id).collect();
        let entry = PlanEntry { slots: news, skipped, ..self.entry(to) };
        self.cursor = Some(to);
        self.planned(entry, PlanOutcome::Made(ids))
    }

    /// The scope gets a schedule to itself, or another one, or has none any more.
    pub(super) fn edit_scope(&mut self, own: Option<&'static str>) -> &mut Self {
        self.drop_unplanned();
        self.own = own;
        let entry = self.entry(self.now());
        self.cursor = Some(self.now());
        self.planned(entry, PlanOutcome::ScheduleChanged)
    }

    /// The same in the database, by an operator; what planners believe to be the schedule is [`Story::own`].
    pub(super) fn store_schedule(&mut self, own: Option<&'static str>) -> &mut Self {
        self.drop_unplanned();
        let now = self.now();
        (self.own, self.cursor) = (own, Some(now));
        let (job, scope, expected) = (job(), Scope::global(), Expected::Anything);
        let Some(own) = own else {
            let removal = RemoveSchedule { job, scope, expected, note: None, actor: None };
            let outcome = RemoveOutcome::Removed(Revision(2));
            return self.exchange(&[], removal, Reply::ScheduleRemoved(ScheduleRemoved { now, outcome }));
        };
        let schedule = ScheduleData { json: Json::empty(), hash: SpecHash(own.into()) };
        let put = PutSchedule { job, scope, schedule, expected, note: None, actor: None };
        let outcome = PutOutcome::Put(Revision::FIRST);
        self.exchange(&[], put, Reply::SchedulePut(SchedulePut { now, outcome }))
    }

    /// What an edit now finds unplanned is recorded.
    fn drop_unplanned(&mut self) {
        let now = self.now();
        if let Some(after) = self.cursor.filter(|after| *after < now) {
            let reason = SkipReason::ScheduleChanged;
            self.skip_slots(SkippedSlots { after, through: now, count: None, reason });
        }
    }

    fn entry(&self, to: Timestamp) -> PlanEntry {
        PlanEntry {
            job: job(),
            scope: Scope::global(),
            spec_hash: SpecHash(self.spec.into()),
            schedule_hash: self.own.map(|own| SpecHash(own.into())),
            expect: self.cursor,
            to,
            delay_ms: u64::try_from(self.facts().jobs[0].planner.delay.as_millis()).unwrap(),
            slots: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn planned(&mut self, entry: PlanEntry, outcome: PlanOutcome) -> &mut Self {
        let planned = Planned { now: self.now(), outcomes: vec![outcome] };
        self.exchange(&[], Plan { entries: vec![entry] }, Reply::Planned(planned))
    }

    /// Finished rows and entries of the ledger that are older than this are gone, and so may be receipts.
    pub(super) fn prune(&mut self, history_ms: u64) -> &mut Self {
        let pruned = Pruned::default();
        let prune = Prune { history_ms, receipts_ms: history_ms, edits_ms: u64::MAX, limit: 10 };
        self.exchange(&[], prune, Reply::Pruned(pruned))
    }

    // The end.

    /// The run ends; the database holds what the story left.
    pub(super) fn end(&mut self) -> &mut Self {
        let mut executions: Vec<_> = self.rows.values().cloned().collect();
        executions.sort_by_key(|row| (row.id, row.generation));
        let (skipped, audit) = (self.ledger.clone(), self.log.clone());
        let state = FinalState { now: self.now(), executions, skipped, audit };
        self.record(HostId::Database, What::Ended { state: Box::new(state) })
    }

    /// Which checkers object to the story as told so far.
    #[track_caller]
    pub(super) fn flagged_by(&self, expected: &[&str]) {
        let findings = check_all(&self.history);
        let flagged = findings.iter().filter(|(_, findings)| !findings.violations.is_empty());
        let names: Vec<_> = flagged.clone().map(|(name, _)| *name).collect();
        let all: Vec<_> = flagged.flat_map(|(_, findings)| &findings.violations).collect();
        assert_eq!(names, expected, "{all:#?}");
        for violation in all {
            assert!(violation.events.is_sorted() && !violation.events.is_empty(), "{violation:?}");
            assert!(violation.events.iter().all(|event| *event < self.history.events.len()), "{violation:?}");
        }
    }

    /// All that is objected to.
    pub(super) fn violations(&self) -> Vec<Violation> {
        check_all(&self.history).into_iter().flat_map(|(_, findings)| findings.violations).collect()
    }

    /// Somebody objects in these words.
    #[track_caller]
    pub(super) fn says(&self, words: &str) {
        let all = self.violations();
        assert!(all.iter().any(|violation| violation.message.contains(words)), "nobody says {words:?}: {all:#?}");
    }

    /// Somebody objects in these words, and these events prove it.
    #[track_caller]
    pub(super) fn is_proved_by(&self, words: &str, events: &[usize]) {
        let all = self.violations();
        let proofs: Vec<_> = all.iter().filter(|one| one.message.contains(words)).map(|one| &*one.events).collect();
        assert_eq!(proofs, [events], "{words:?}: {all:#?}");
    }

    /// How many comparisons the checkers of a guarantee made.
    pub(super) fn compared(&self, guarantee: &str) -> u64 {
        let findings = check_all(&self.history);
        findings.iter().filter(|(name, _)| *name == guarantee).map(|(_, findings)| findings.checks).sum()
    }

    /// The event of the last request that was applied.
    pub(super) fn last_applied(&self) -> usize {
        let applied = self.history.events.iter().rposition(|event| matches!(event.what, What::Applied { .. }));
        applied.expect("a request was applied")
    }

    /// Nobody objects.
    #[track_caller]
    pub(super) fn is_fine(&self) {
        self.flagged_by(&[]);
    }
}
