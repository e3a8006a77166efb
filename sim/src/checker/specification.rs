//! The checkers against the executable specification: whatever random callers and a jumping database clock do to the
//! in-memory store, no checker objects. (That they object to wrong stores is shown beside each of them.)

use std::time::Duration;

use tourbillon::{
    model::{
        Audit, AuditEvent, ExecutionId, Incarnation, JobName, LeaseRef, Limit, LockName, LockRef, NewExecution,
        Outcome, Policy, Reentry, RequestId, Retention, Retry, Scope, Supersede, Token, transition::Charge,
    },
    plan::CatchUp,
    store::{
        AcquireLock, Cancel, Claim, Expected, Heartbeat, ListAudit, ListExecutions, ListSkipped, MAX_BATCH,
        ManualClock, MemoryStore, Migrate, PauseJob, Plan, PlanEntry, PutSchedule, ReadCursors, Register,
        RegisteredRules, Registration, ReleaseLock, RemoveSchedule, RenewLock, Reply, Request, Requeue, Rescue,
        ResumeJob, Revision, SCHEMA_VERSION, ScheduleData, Settle, Settlement, SpecHash, Start, TriggerJob, Verb,
    },
};
use uuid::Uuid;

use super::{
    check_all,
    story::{Story, failed, succeeded},
};
use crate::history::{Boot, FinalState, HostId, JobFacts, Phase, RunFacts, What};

struct Callers {
    story: Story,
    store: MemoryStore,
    clock: ManualClock,
    random: u64,
    facts: RunFacts,
    leases: Vec<LeaseRef>,
    ids: Vec<ExecutionId>,
    locks: Vec<LockRef>,
    requests: Vec<Request>,
    edits: u64,
}

/// A second job: at most one at a time, no re-entry, every slot, with lateness.
fn strict(facts: &mut RunFacts) {
    let mut job: JobFacts = facts.jobs[0].clone();
    job.job = JobName::new("strict").unwrap();
    job.reentry = Reentry::Forbid;
    job.overlap_max = Some(1);
    job.planner.delay = Duration::from_secs(7);
    job.planner.catch_up = CatchUp::EverySlot { window: Duration::from_secs(600), max_slots: 3 };
    job.planner.max_lateness = Some(Duration::from_secs(300));
    facts.jobs.push(job);
    facts.boot = Boot::Migrate;
    facts.jobs.iter_mut().for_each(|job| job.effects_per_start = 0);
}

/// Of a job that takes schedules from the database.
fn stored_schedules() -> RegisteredRules {
    RegisteredRules {
        schedule: String::new(),
        planner: None,
        stored_schedules: true,
        delay_ms: 0,
        priority: 0,
        max_attempts: 1,
        lease_ms: 1,
        reentry: Reentry::Allow,
        supersede: Supersede::Never,
        max_overlap: None,
        audit: Audit::Off,
    }
}

impl Callers {
    fn new(seed: u64) -> Self {
        let mut story = Story::with(strict);
        story.phase(Phase::Chaos);
        let What::Began { facts } = story.history.events[0].what.clone() else { unreachable!("a story begins") };
        let clock = ManualClock::new(Story::EPOCH);
        let store = MemoryStore::unmigrated(clock.clone());
        let (leases, ids, locks, requests) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut callers =
            Self { story, store, clock, random: seed, facts: *facts, leases, ids, locks, requests, edits: 0 };
        while callers.migrate() < SCHEMA_VERSION {}
        callers.register();
        callers
    }

    /// Splitmix64.
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.draw(u64::MAX), self.draw(u64::MAX))
    }

    fn send(&mut self, request: Request) -> Reply {
        let result = self.store.apply(&request);
        let reply = result.clone().expect("the request is well formed");
        let now = self.clock.now();
        self.requests.push(request.clone());
        self.story.record(HostId::Database, What::Applied { request: request.into(), now, result });
        reply
    }

    fn call(&mut self, verb: impl Into<Verb>) -> (RequestId, Reply) {
        let id = RequestId(self.uuid());
        (id, self.send(Request { id, verb: verb.into() }))
    }

    fn jobs(&self) -> Vec<JobName> {
        self.facts.jobs.iter().map(|job| job.job.clone()).collect()
    }

    /// The first job's schedule is "edited" now and then; its slots stay the same.
    fn spec(&self, job: &JobName) -> SpecHash {
        let edits = if *job == self.facts.jobs[0].job { self.edits } else { 0 };
        SpecHash(format!("spec {edits}").into())
    }

    fn migrate(&mut self) -> u32 {
        let (_, reply) = self.call(Migrate { known: SCHEMA_VERSION });
        let Reply::Migrated(reply) = reply else { panic!("{reply:?}") };
        reply.to
    }

    fn register(&mut self) {
        let registration = |job| Registration {
            spec_hash: self.spec(&job),
            schedule_hash: self.spec(&job),
            job,
            rules: Some(stored_schedules()),
        };
        let jobs = self.jobs().into_iter().map(registration).collect();
        self.call(Register { runner: Incarnation(Uuid::nil()), jobs });
    }

    fn plan(&mut self) {
        let (_, reply) = self.call(ReadCursors { jobs: self.jobs() });
        let Reply::CursorsRead(read) = reply else { panic!("{reply:?}") };
        let mut entries = Vec::new();
        for (facts, known) in self.facts.jobs.clone().iter().zip(read.jobs) {
            let expect = known.cursors.first().map(|cursor| cursor.at);
            if !known.pauses.is_empty() && self.draw(4) > 0 {
                continue;
            }
            let own = known.cursors.first().and_then(|cursor| cursor.edited_at);
            let edited_at = known.edited_at.max(own);
            let Some(step) = facts.planner.step(expect, edited_at, read.now) else { continue };
            let slots = step.slots.iter().map(|slot| NewExecution {
                id: ExecutionId(self.uuid()),
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
                    limit: facts.overlap_max.map(|max| Limit { key: facts.job.to_string(), max }),
                    audit: if facts.overlap_max.is_some() { Audit::Exceptions } else { Audit::All },
                },
            });
            entries.push(PlanEntry {
                slots: slots.collect(),
                job: facts.job.clone(),
                scope: Scope::global(),
                spec_hash: self.spec(&facts.job),
                schedule_hash: known.cursors.first().and_then(|cursor| cursor.schedule_hash.clone()),
                expect,
                to: step.to,
                delay_ms: u64::try_from(facts.planner.delay.as_millis()).unwrap(),
                skipped: step.skipped,
            });
        }
        self.ids.extend(entries.iter().flat_map(|entry| entry.slots.iter().map(|slot| slot.id)));
        self.call(Plan { entries });
    }

    fn claim(&mut self) {
        let charge = match self.draw(4) {
            0 => Charge::AtClaim,
            1 => Charge::AtClaimIfHarmless,
            _ => Charge::AtStart,
        };
        let limit = u32::try_from(1 + self.draw(3)).unwrap();
        let (id, reply) =
            self.call(Claim { runner: Incarnation(Uuid::nil()), jobs: self.jobs(), limit, charge, rate: None });
        let Reply::Claimed(claimed) = reply else { panic!("{reply:?}") };
        let lease =
            |row: &tourbillon::model::Execution| LeaseRef { id: row.id, token: Token(id.0), fence: row.fence };
        self.leases.extend(claimed.executions.iter().map(lease));
    }

    /// A recent lease, whether or not it still holds.
    fn lease(&mut self) -> Option<LeaseRef> {
        let back = usize::try_from(self.draw(4)).unwrap();
        self.leases.iter().rev().nth(back).copied()
    }

    fn id(&mut self) -> Option<ExecutionId> {
        let back = usize::try_from(self.draw(8)).unwrap();
        self.ids.iter().rev().nth(back).copied()
    }

    fn settle(&mut self) {
        let Some(lease) = self.lease() else { return };
        let outcome = match self.draw(8) {
            0 | 1 => succeeded(),
            2..5 => failed(Retry::AfterMs(self.draw(20_000))),
            5 => failed(Retry::Never),
            6 => Outcome::Released,
            _ => Outcome::Snoozed { for_ms: self.draw(20_000) },
        };
        let retain = [Retention::Everything, Retention::Failures, Retention::Nothing];
        let retain = retain[usize::try_from(self.draw(3)).unwrap()];
        self.call(Settle { settlements: vec![Settlement { lease, outcome, retain }] });
    }

    fn pass_time(&mut self) {
        let by_us = i64::try_from(self.draw(20_000_000)).unwrap();
        let by_us = match self.draw(60) {
            0 => by_us * 600,
            1 => -by_us * 200,
            2 => -by_us,
            _ => by_us,
        };
        self.clock.set(self.clock.now().offset_micros(by_us));
    }

    fn act(&mut self) {
        match self.draw(30) {
            0..5 => self.claim(),
            5..9 => _ = self.lease().map(|lease| self.call(Start { leases: vec![lease] })),
            9..11 => _ = self.lease().map(|lease| self.call(Heartbeat::of(vec![lease]))),
            11..15 => self.settle(),
            15..18 => _ = self.call(Rescue { limit: 10 }),
            18..20 => self.plan(),
            20 if self.draw(4) == 0 => _ = self.id().map(|id| self.call(Cancel { ids: vec![id], actor: None })),
            21 if self.draw(4) == 0 => _ = self.id().map(|id| self.call(Requeue { ids: vec![id], actor: None })),
            22 => {
                let back = usize::try_from(self.draw(6)).unwrap();
                let request = self.requests.iter().rev().nth(back).cloned();
                _ = request.map(|request| self.send(request));
            }
            23 if self.draw(30) == 0 => {
                self.edits += 1;
                self.register();
            }
            24 => self.acquire(),
            25 => _ = self.lock().map(|lock| self.call(RenewLock { lock })),
            27 if self.draw(4) == 0 => self.hold(),
            28 if self.draw(8) == 0 => self.trigger(),
            29 if self.draw(6) == 0 => self.store_schedule(),
            26 if self.draw(2) == 0 => _ = self.lock().map(|lock| self.call(ReleaseLock { lock })),
            _ => self.pass_time(),
        }
    }

    /// Pauses or resumes a job, or its scope; resuming is as frequent, so that slots are made.
    fn hold(&mut self) {
        let jobs = self.jobs();
        let job = jobs[usize::try_from(self.draw(jobs.len() as u64)).unwrap()].clone();
        let scope = (self.draw(2) == 0).then(Scope::global);
        if self.draw(3) == 0 {
            self.call(PauseJob { job, scope, actor: None });
        } else {
            self.call(ResumeJob { job, scope, actor: None });
        }
    }

    /// Puts or removes a schedule, which has the slots of the job's; now and then expecting what is not there.
    fn store_schedule(&mut self) {
        let which = usize::try_from(self.draw(self.facts.jobs.len() as u64)).unwrap();
        let facts = self.facts.jobs[which].clone();
        let (job, scope) = (facts.job.clone(), Scope::global());
        let expected = match self.draw(4) {
            0 => Expected::Nothing,
            1 => Expected::Revision(Revision(u32::try_from(1 + self.draw(3)).unwrap())),
            _ => Expected::Anything,
        };
        if self.draw(4) == 0 {
            self.call(RemoveSchedule { job, scope, expected, note: None, actor: None });
            return;
        }
        let hash = SpecHash(format!("own {}", self.draw(3)).into());
        let schedule = ScheduleData { hash, ..ScheduleData::of(&facts.planner.schedule).expect("a grid is data") };
        self.call(PutSchedule { job, scope, schedule, expected, note: None, actor: None });
    }

    fn trigger(&mut self) {
        let id = if self.draw(4) == 0 { self.id() } else { None };
        let id = id.unwrap_or_else(|| ExecutionId(self.uuid()));
        let facts = self.facts.jobs[0].clone();
        let policy = Policy {
            max_attempts: facts.max_attempts,
            lease_ms: facts.lease_ms,
            reentry: facts.reentry,
            supersede: Supersede::Never,
            limit: None,
            audit: Audit::All,
        };
        self.ids.push(id);
        let (job, scope) = (facts.job, Scope::global());
        self.call(TriggerJob { job, scope, id, priority: 0, payload: None, policy, actor: None, trace: None });
    }

    fn acquire(&mut self) {
        let name = LockName::new("operator").unwrap();
        let (holder, ttl_ms) = (Incarnation(self.uuid()), 1_000 + self.draw(60_000));
        let (id, reply) = self.call(AcquireLock { name: name.clone(), holder, ttl_ms });
        let Reply::LockTried(tried) = reply else { panic!("{reply:?}") };
        if let Ok(held) = tried.outcome {
            self.locks.push(LockRef { name, token: Token(id.0), epoch: held.epoch });
        }
    }

    /// One of the last holders'.
    fn lock(&mut self) -> Option<LockRef> {
        let back = usize::try_from(self.draw(3)).unwrap();
        self.locks.iter().rev().nth(back).cloned()
    }

    fn end(&mut self) {
        let (mut executions, mut skipped) = (Vec::new(), Vec::new());
        loop {
            let after = executions.last().map(|row: &tourbillon::model::Execution| (row.id, row.generation));
            let (_, reply) = self.call(ListExecutions { after, limit: MAX_BATCH, ..ListExecutions::default() });
            let Reply::ExecutionPage(page) = reply else { panic!("{reply:?}") };
            if page.executions.is_empty() {
                break;
            }
            executions.extend(page.executions);
        }
        loop {
            let offset = u32::try_from(skipped.len()).unwrap();
            let (_, reply) = self.call(ListSkipped { job: None, offset, limit: MAX_BATCH });
            let Reply::SkippedPage(page) = reply else { panic!("{reply:?}") };
            if page.entries.is_empty() {
                break;
            }
            skipped.extend(page.entries);
        }
        let mut audit: Vec<AuditEvent> = Vec::new();
        loop {
            let after = audit.last().map(|event| event.key);
            let (_, reply) = self.call(ListAudit { after, limit: MAX_BATCH, ..ListAudit::default() });
            let Reply::AuditPage(page) = reply else { panic!("{reply:?}") };
            if page.events.is_empty() {
                break;
            }
            audit.extend(page.events);
        }
        let state = FinalState { now: self.clock.now(), executions, skipped, audit };
        self.story.record(HostId::Database, What::Ended { state: Box::new(state) });
    }
}

#[test]
fn no_checker_objects_to_the_executable_specification() {
    let mut checks = vec![0; super::all().len()];
    for seed in 0..150 {
        let mut callers = Callers::new(seed);
        for _ in 0..600 {
            callers.act();
        }
        callers.end();
        for ((guarantee, findings), checks) in check_all(&callers.story.history).into_iter().zip(&mut checks) {
            let first = findings.violations.first();
            assert_eq!(first, None, "seed {seed}, {guarantee}");
            *checks += findings.checks;
        }
    }
    // Handlers, effects, calls, shutdowns and enqueues do not happen here: G4, G11, G13 have nothing to compare.
    let idle: Vec<_> =
        super::all().iter().zip(checks).filter(|(_, checks)| *checks == 0).map(|(c, _)| c.guarantee).collect();
    assert_eq!(idle, ["G4", "G11", "G13"]);
}
