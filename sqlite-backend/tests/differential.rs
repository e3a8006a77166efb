//! Generated sequences of verbs: every reply and the whole listing are those of the in-memory store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::{Chance, hash, job};
use tourbillon::{
    model::{
        Audit, ErrorCode, ErrorText, Execution, ExecutionId, Failure, Fence, Incarnation, Json, LeaseRef, Limit,
        NewExecution, Outcome, Policy, Reentry, Retention, Retry, Scope, SkipReason, State, Supersede, Timestamp,
        transition::Charge,
    },
    store::{
        Cancel, Claim, DatabaseClock, Expected, Heartbeat, JobCursors, ListExecutions, ListPauses, ListSchedules,
        ListSkipped, ManualClock, MemoryStore, PauseFilter, PauseJob, Plan, PlanEntry, Prune, PutSchedule,
        ReadCursors, ReadStats, Register, RegisteredRules, Registration, RemoveSchedule, Reply, Request, Requeue,
        Rescue, ResumeJob, Revision, ScheduleData, ScheduleFilter, Settle, Settlement, SkippedSlots, Start, Verb,
    },
};
use tourbillon_sqlite::SqliteInline;

const JOBS: [&str; 4] = ["digest", "rollup", "Ünder", "a b"];
const SEEDS: u64 = 12;
const VERBS: u64 = 1_000;

struct Pair {
    clock: ManualClock,
    memory: MemoryStore,
    sqlite: SqliteInline,
    chance: Chance,
    ids: Vec<ExecutionId>,
    leases: Vec<LeaseRef>,
    past: Vec<Request>,
    /// How many edits and lifted pauses prunes took.
    forgotten: [u64; 2],
}

impl Pair {
    fn new(seed: u64) -> Self {
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        Self {
            memory: MemoryStore::new(clock.clone()),
            sqlite: SqliteInline::in_memory(DatabaseClock::Manual(clock.clone())).unwrap(),
            clock,
            chance: Chance::new(seed),
            ids: Vec::new(),
            leases: Vec::new(),
            past: Vec::new(),
            forgotten: [0, 0],
        }
    }

    fn call(&mut self, request: Request) -> Reply {
        let expected = self.memory.apply(&request);
        let reply = self.sqlite.apply(&request);
        assert_eq!(reply, expected, "{request:?}");
        self.past.push(request);
        reply.expect("generated requests are valid")
    }

    fn ask(&mut self, verb: impl Into<Verb>) -> Reply {
        let request = self.chance.request(verb);
        self.call(request)
    }

    fn step(&mut self) {
        match self.chance.below(100) {
            0..=5 => self.register(),
            6..=25 => self.plan(),
            26..=45 => self.claim(),
            46..=55 => {
                let leases = self.some_leases();
                self.ask(Start { leases });
            }
            56..=60 => {
                let leases = self.some_leases();
                self.ask(Heartbeat::of(leases));
            }
            61..=75 => self.settle(),
            76..=80 => {
                let limit = 1 + self.chance.below(4) as u32;
                self.ask(Rescue { limit });
            }
            81..=83 => {
                let ids = self.some_ids();
                self.ask(Cancel { ids, actor: None });
            }
            84..=86 => {
                let ids = self.some_ids();
                self.ask(Requeue { ids, actor: None });
            }
            87..=89 if !self.past.is_empty() => {
                let again = self.chance.pick(&self.past);
                self.call(again);
            }
            90 => {
                let (history_ms, receipts_ms) = (self.chance.below(600_000), self.chance.below(600_000));
                // Sooner: they are few.
                let edits_ms = self.chance.below(60_000);
                let prune = Prune { history_ms, receipts_ms, edits_ms, limit: 5 };
                let Reply::Pruned(pruned) = self.ask(prune) else { unreachable!() };
                self.forgotten[0] += pruned.edits;
                self.forgotten[1] += pruned.pauses;
            }
            91 => {
                let back = self.chance.below(120_000_000);
                self.clock.set(self.clock.now().offset_micros(-(back as i64)));
            }
            92..=94 => self.edit(),
            _ => self.clock.advance(Duration::from_micros(self.chance.next() % 20_000_000)),
        }
    }

    fn register(&mut self) {
        let registration = Registration {
            job: job(self.chance.pick(&JOBS)),
            spec_hash: hash(self.chance.pick(&["one", "two"])),
            schedule_hash: hash(if self.chance.one_in(8) { "hourly" } else { "daily" }),
            rules: Some(RegisteredRules {
                stored_schedules: true,
                delay_ms: 1_000,
                schedule: "every hour".to_owned(),
                planner: None,
                priority: 0,
                max_attempts: 3,
                lease_ms: 60_000,
                reentry: Reentry::Allow,
                supersede: Supersede::Never,
                max_overlap: None,
                audit: Audit::Off,
            }),
        };
        let runner = Incarnation(self.chance.uuid());
        self.ask(Register { runner, jobs: vec![registration] });
    }

    fn plan(&mut self) {
        let name = job(self.chance.pick(&JOBS));
        let Reply::CursorsRead(read) = self.ask(ReadCursors { jobs: vec![name.clone()] }) else { unreachable!() };
        let [JobCursors { spec_hash: Some(spec_hash), cursors, .. }] = &read.jobs[..] else { return };
        let scope = self.chance.pick(&[Scope::global(), Scope::new("tenant", "7").unwrap()]);
        let expect = cursors.iter().find(|cursor| cursor.scope == scope).map(|cursor| cursor.at);
        let to = read.now.offset_micros(-(self.chance.below(3_000_000) as i64));
        // On a grid, so that slots repeat after the clock stepped back.
        let slot = |back: u64| Timestamp::from_secs(to.as_micros() / 10_000_000 * 10 - 10 * back as i64);
        let slots: Vec<_> = (0..self.chance.below(4)).rev().map(|back| self.execution(slot(back))).collect();
        self.ids.extend(slots.iter().map(|new| new.id));
        let reason = self.chance.pick(&SkipReason::ALL);
        let count = self.chance.one_in(2).then_some(3);
        let skipped = SkippedSlots { after: slot(9), through: slot(5), count, reason };
        let skipped = if self.chance.one_in(3) { vec![skipped] } else { Vec::new() };
        let expect = if self.chance.one_in(10) { Some(to) } else { expect };
        let spec_hash = if self.chance.one_in(10) { hash("one") } else { spec_hash.clone() };
        self.ask(Plan {
            entries: vec![PlanEntry {
                job: name,
                scope,
                spec_hash,
                schedule_hash: None,
                expect,
                to,
                delay_ms: 1_000,
                slots,
                skipped,
            }],
        });
    }

    fn execution(&mut self, slot_at: Timestamp) -> NewExecution {
        let chance = &mut self.chance;
        let limit = chance.one_in(3).then(|| Limit { key: chance.pick(&["disk", "net"]).to_owned(), max: 2 });
        NewExecution {
            id: ExecutionId(chance.uuid()),
            slot_at: (!chance.one_in(5)).then_some(slot_at),
            due_at: slot_at.offset_micros(chance.below(2_000_000) as i64),
            expires_at: chance.one_in(4).then(|| slot_at.offset_micros(30_000_000)),
            priority: chance.pick(&[i16::MIN, -1, 0, 0, 0, i16::MAX]),
            payload: chance.one_in(2).then(|| Json::new(&serde_json::json!({"é": [1, null], "a": "\"'"})).unwrap()),
            unique_key: None,
            policy: Policy {
                max_attempts: 1 + chance.below(3) as u32,
                lease_ms: 1 + chance.below(60_000),
                reentry: chance.pick(&[Reentry::Allow, Reentry::Forbid]),
                supersede: chance.pick(&[Supersede::Never, Supersede::ByNewerSlot]),
                limit,
                audit: Audit::Off,
            },
        }
    }

    /// What operators say: a schedule of a scope's own, or a pause.
    fn edit(&mut self) {
        let name = job(self.chance.pick(&JOBS));
        let scope = self.chance.pick(&[Scope::global(), Scope::new("tenant", "7").unwrap()]);
        let first = Expected::Revision(Revision(1));
        let expected = self.chance.pick(&[Expected::Anything, Expected::Anything, Expected::Nothing, first]);
        match self.chance.below(6) {
            0..=2 => {
                let json = Json::new(&serde_json::json!({"jede": "Stunde", "n": self.chance.below(9)})).unwrap();
                let schedule = ScheduleData { json, hash: hash(self.chance.pick(&["one", "two"])) };
                self.ask(PutSchedule { job: name, scope, schedule, expected, note: None, actor: None })
            }
            3 => {
                let note = Some("für später".to_owned());
                self.ask(RemoveSchedule { job: name, scope, expected, note, actor: None })
            }
            4 => self.ask(PauseJob { job: name, scope: Some(scope), actor: None }),
            _ => self.ask(ResumeJob { job: name, scope: Some(scope), actor: None }),
        };
    }

    fn claim(&mut self) {
        let jobs = JOBS.into_iter().filter(|_| !self.chance.one_in(4)).map(job).collect();
        let runner = Incarnation(self.chance.uuid());
        let charge = self.chance.pick(&[Charge::AtStart, Charge::AtClaimIfHarmless, Charge::AtClaim]);
        let limit = 1 + self.chance.below(5) as u32;
        let Reply::Claimed(claimed) = self.ask(Claim { runner, jobs, limit, charge, rate: None }) else {
            unreachable!()
        };
        self.leases.extend(support::leases(&claimed.executions));
    }

    fn settle(&mut self) {
        let leases = self.some_leases();
        let settlements = leases.into_iter().map(|lease| {
            let retain = self.chance.pick(&[Retention::Everything, Retention::Failures, Retention::Nothing]);
            Settlement { retain, ..Settlement::of(lease, self.outcome()) }
        });
        let settlements = settlements.collect();
        self.ask(Settle { settlements });
    }

    fn outcome(&mut self) -> Outcome {
        let failure = Failure { code: ErrorCode::run_timeout(), text: ErrorText::new("zu spät: \u{1F9ED}") };
        match self.chance.below(6) {
            0 | 1 => Outcome::Succeeded { result: Json::empty(), rows_affected: self.chance.one_in(2).then_some(7) },
            2 => Outcome::Failed { failure, retry: Retry::AfterMs(self.chance.below(30_000)) },
            3 => Outcome::Failed { failure, retry: self.chance.pick(&[Retry::Never, Retry::AfterMs(u64::MAX)]) },
            4 => self.chance.pick(&[Outcome::Released, Outcome::Snoozed { for_ms: 1_500 }]),
            _ => Outcome::Cancelled { failure },
        }
    }

    /// A few of the newest leases, some of them forged.
    fn some_leases(&mut self) -> Vec<LeaseRef> {
        let newest = self.leases.len().saturating_sub(12);
        let mut leases: Vec<LeaseRef> =
            self.leases[newest..].iter().copied().filter(|_| self.chance.one_in(2)).collect();
        for lease in &mut leases {
            if self.chance.one_in(15) {
                lease.fence = Fence(lease.fence.0 + 1);
            }
        }
        leases.sort_by_key(|lease| lease.id);
        leases.dedup_by_key(|lease| lease.id);
        leases
    }

    fn some_ids(&mut self) -> Vec<ExecutionId> {
        let unknown = ExecutionId(self.chance.uuid());
        let picks = if self.ids.is_empty() { 0 } else { 3 };
        let mut ids: Vec<_> = (0..picks).map(|_| self.chance.pick(&self.ids)).collect();
        ids.push(unknown);
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn compare_everything(&mut self) -> Vec<Execution> {
        let mut all = Vec::new();
        let mut filter = ListExecutions { limit: 7, ..ListExecutions::default() };
        loop {
            let Reply::ExecutionPage(page) = self.ask(filter.clone()) else { unreachable!() };
            filter.after = page.executions.last().map(|row| (row.id, row.generation));
            all.extend(page.executions);
            if filter.after.is_none() {
                break;
            }
        }
        let (job, limit) = (Some(job(self.chance.pick(&JOBS))), 1_000);
        let id = (!self.ids.is_empty()).then(|| self.chance.pick(&self.ids));
        let after = (!all.is_empty()).then(|| self.chance.pick(&all)).map(|row| (row.id, row.generation));
        self.ask(ListExecutions {
            job: job.clone(),
            states: vec![State::Running, State::Dead],
            limit,
            ..filter.clone()
        });
        self.ask(ListExecutions { id, limit, ..ListExecutions::default() });
        self.ask(ListExecutions { id, after, limit, ..ListExecutions::default() });
        self.ask(ListSkipped { job, offset: 0, limit });
        self.ask(ListSkipped { job: None, offset: 1, limit: 5 });
        self.ask(ReadStats {});
        self.ask(ListPauses { job: None, which: PauseFilter::All, offset: 0, limit });
        self.ask(ListSchedules { job: None, scope: None, which: ScheduleFilter::All, after: None, limit });
        all
    }
}

#[test]
fn generated_sequences_have_the_replies_of_the_memory_store() {
    let mut seen = std::collections::BTreeSet::new();
    let mut forgotten = [0, 0];
    for seed in 0..SEEDS {
        let mut pair = Pair::new(seed);
        for step in 0..VERBS {
            pair.step();
            if step % 50 == 49 {
                seen.extend(pair.compare_everything().into_iter().map(|row| row.state));
            }
        }
        forgotten = [forgotten[0] + pair.forgotten[0], forgotten[1] + pair.forgotten[1]];
    }
    assert!(!forgotten.contains(&0), "prunes must take edits and pauses, they took {forgotten:?}");
    assert_eq!(seen.len(), State::ALL.len(), "the sequences must reach every state, they reach {seen:?}");
}

#[test]
fn refusals_are_those_of_the_memory_store() {
    let mut pair = Pair::new(1);
    let refused = pair.chance.request(Rescue { limit: 0 });
    assert_eq!(pair.sqlite.apply(&refused), pair.memory.apply(&refused));
    assert!(pair.sqlite.apply(&refused).is_err());
}
