//! Generated sequences: whatever the verbs and their order, every reply is the memory store's, and at the end so is
//! everything stored.
//!
//! `TOURBILLON_CASES` is how many, `TOURBILLON_SEED` which ones; the same seed makes the same sequences.

use std::sync::Arc;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tourbillon::{
    model::{
        Audit, Epoch, Execution, ExecutionId, Fence, Incarnation, Json, LeaseRef, Limit, LockName, LockRef,
        NewExecution, Outcome, Policy, Progress, Rate, Reentry, RequestId, Retention, Retry, Scope, SkipReason,
        SkippedSlots, State, Supersede, Timestamp, Token, TraceContext,
    },
    store::{
        AcquireLock, Cancel, Claim, CleanItems, Counts, DeleteItems, Direction, Due, DueFilter, Enqueue, Expected,
        Heartbeat, ItemOrder, ListAudit, ListExecutions, ListItems, ListJobs, ListLocks, ListPauses, ListRecent,
        ListSchedules, ListScopes, ListSkipped, Lives, MAX_BATCH, ManualClock, MemoryStore, NewItem, PauseFilter,
        PauseJob, Plan, PlanEntry, Prune, PutSchedule, ReadClock, ReadCursors, ReadDue, ReadQueueStats, ReadStats,
        Register, Registration, ReleaseLock, RemoveSchedule, RenewLock, Reply, Request, Requeue, Rescue, ResumeJob,
        Revision, ScheduleFilter, Settle, Settlement, Start, Store, TriggerJob, Unique, UpdateItem, Verb,
    },
};
use uuid::Uuid;

use super::{
    Fixture,
    step::{Ending, Forged, ItemShape, Pick, Shape, Step, sequence},
    subject::{START, failure, hash, job, rules, runner, scope, scrambled, trace_of},
};

const JOBS: [&str; 4] = ["digest", "rollup", "Über", "unknown"];

/// Distance of slots, so that sequences meet the same slot again after a backward step.
const GRID_MS: i64 = 10_000;

/// Shrinking stops here at the latest: on a database each try is a new schema.
const MAX_SHRINKS: u32 = 400;

/// Runs the sequences; on a difference, panics with the shortest one found and the line that replays it.
pub(super) fn run(fixture: &dyn Fixture, trial: &str) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a whole number"));
    let cases = number("TOURBILLON_CASES").map_or(fixture.sequences(), |cases| cases as u32);
    let seed = number("TOURBILLON_SEED").unwrap_or(0);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, max_shrink_iters: MAX_SHRINKS, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&sequence(), |steps| super::block_on(play(fixture, &steps)));
    match outcome {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("gave up: {reason}"),
        Err(TestError::Fail(reason, steps)) => {
            let steps: Vec<_> = steps.iter().map(|step| format!("  {step:?}\n")).collect();
            panic!(
                "{reason}\nafter\n{}replay: TOURBILLON_SEED={seed} TOURBILLON_CASES={cases} \
                 cargo test -p tourbillon-tests --test conformance -- --exact {trial}",
                steps.concat()
            );
        }
    }
}

async fn play(fixture: &dyn Fixture, steps: &[Step]) -> Result<(), TestCaseError> {
    let clock = ManualClock::new(START);
    let store = fixture.on_manual_clock(clock.clone()).await;
    let store = store.map_err(|error| TestCaseError::fail(format!("no store: {error:?}")))?;
    let mut pair = Pair {
        store,
        memory: MemoryStore::new(clock.clone()),
        clock,
        serial: 0,
        rows: Vec::new(),
        leases: Vec::new(),
        locks: Vec::new(),
        requests: Vec::new(),
    };
    for job in 0..2 {
        pair.ask(register(job, 0, 0)).await?;
    }
    for step in steps {
        pair.step(step).await?;
    }
    pair.compare_everything().await
}

/// The store under test and its oracle, with what has happened so far.
struct Pair {
    store: Arc<dyn Store>,
    memory: MemoryStore,
    clock: ManualClock,
    serial: u64,
    rows: Vec<ExecutionId>,
    leases: Vec<LeaseRef>,
    locks: Vec<LockRef>,
    requests: Vec<Request>,
}

impl Pair {
    async fn call(&mut self, request: Request) -> Result<Reply, TestCaseError> {
        let expected = self.memory.apply(&request);
        let got = self.store.call(request.clone()).await;
        let same = match (&got, &expected) {
            (Ok(got), Ok(expected)) => got == expected,
            (Err(got), Err(expected)) => got.kind() == expected.kind(),
            _ => false,
        };
        if !same {
            let now = self.clock.now();
            let said = format!("at {now} {request:?}\nstore:  {got:?}\nmemory: {expected:?}");
            return Err(TestCaseError::fail(said));
        }
        got.map_err(|error| TestCaseError::fail(format!("both stores refuse {request:?}: {error:?}")))
    }

    async fn ask(&mut self, verb: impl Into<Verb>) -> Result<Reply, TestCaseError> {
        let request = Request { id: RequestId(self.uuid()), verb: verb.into() };
        self.requests.push(request.clone());
        self.call(request).await
    }

    fn uuid(&mut self) -> Uuid {
        self.serial += 1;
        scrambled(self.serial)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let reply = match step {
            Step::PassMs(ms) => {
                self.clock.set(self.now().offset_micros(ms * 1_000));
                self.ask(ReadClock {}).await?
            }
            Step::PassMicros(micros) => {
                self.clock.set(self.now().offset_micros(*micros));
                return Ok(());
            }
            Step::Register { job, spec, schedule } => self.ask(register(*job, *spec, *schedule)).await?,
            Step::Plan { .. } => return self.plan(step).await,
            Step::Enqueue { job, max_items, items } => {
                let items = items.iter().map(|shape| self.item(shape)).collect();
                let items = distinct(items, |item: &NewItem| item.id);
                self.ask(Enqueue { queue: job_of(*job), max_items: *max_items, items }).await?
            }
            Step::Claim { jobs, limit, charge, rate } => {
                let claimed = if rate.is_some() { &jobs[..1] } else { jobs };
                let jobs = claimed.iter().map(|n| job_of(*n)).collect();
                let runner = Incarnation(self.uuid());
                let rate = rate.map(|(is_common, turn_ms, burst)| Rate {
                    key: is_common.then(|| "limit 0".to_owned()),
                    turn_us: turn_ms * 1_000,
                    burst,
                });
                self.ask(Claim { runner, jobs, limit: *limit, charge: *charge, rate }).await?
            }
            Step::Start(picks) => {
                let leases = self.leases(picks);
                self.ask(Start { leases }).await?
            }
            Step::Heartbeat(picks) => {
                let leases = self.leases(picks);
                // Every other row says something, and one says it of which no lease is shown.
                let said = leases.iter().filter(|lease| lease.fence.0 % 2 == 1).map(|lease| lease.id);
                let other = self.rows.last().copied().filter(|id| leases.iter().all(|lease| lease.id != *id));
                let progress = said.chain(other).map(|id| (id, Progress::new("half").done(0.5))).collect();
                self.ask(Heartbeat { leases, progress }).await?
            }
            Step::Settle(endings) => {
                let settlements = self.settlements(endings);
                self.ask(Settle { settlements }).await?
            }
            Step::Rescue { limit } => self.ask(Rescue { limit: *limit }).await?,
            Step::Cancel(backs) => {
                let ids = self.ids(backs);
                self.ask(Cancel { ids, actor: None }).await?
            }
            Step::Requeue(backs) => {
                let ids = self.ids(backs);
                self.ask(Requeue { ids, actor: None }).await?
            }
            Step::Repeat { back } => {
                let Some(request) = from_the_end(&self.requests, *back).cloned() else { return Ok(()) };
                self.call(request).await?
            }
            Step::Prune { history_ms, receipts_ms, limit } => {
                let (history_ms, receipts_ms, limit) = (*history_ms, *receipts_ms, *limit);
                self.ask(Prune { history_ms, receipts_ms, edits_ms: history_ms, limit }).await?
            }
            Step::Pause { .. }
            | Step::Resume { .. }
            | Step::Trigger { .. }
            | Step::PutSchedule { .. }
            | Step::RemoveSchedule { .. } => return self.control(step).await,
            Step::Acquire { lock, ttl_ms } => return self.acquire(*lock, *ttl_ms).await,
            Step::Renew(pick) => {
                let Some(lock) = self.lock(*pick) else { return Ok(()) };
                self.ask(RenewLock { lock }).await?
            }
            Step::ReleaseLock(pick) => {
                let Some(lock) = self.lock(*pick) else { return Ok(()) };
                self.ask(ReleaseLock { lock }).await?
            }
            Step::UpdateItem { .. } | Step::DeleteItems { .. } | Step::CleanItems { .. } | Step::ListItems { .. } => {
                return self.operate(step).await;
            }
            Step::List { job, states, back, limit } => {
                let listed = self.list(*job, *states, *back, *limit);
                self.ask(listed).await?
            }
        };
        if let Reply::Claimed(claimed) = reply {
            self.leases.extend(claimed.executions.iter().filter_map(Execution::lease_ref));
        }
        Ok(())
    }

    /// What operators do with jobs.
    async fn control(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Pause { job, scope } => {
                self.ask(PauseJob { job: job_of(*job), scope: scope.map(scope_of), actor: None }).await
            }
            Step::Resume { job, scope } => {
                self.ask(ResumeJob { job: job_of(*job), scope: scope.map(scope_of), actor: None }).await
            }
            Step::PutSchedule { job, scope, schedule, expected } => {
                let (job, scope, expected) = (job_of(*job), scope_of(*scope), expected_of(*expected));
                let schedule = super::stored_schedules::data(&format!("own {schedule}"));
                self.ask(PutSchedule { job, scope, schedule, expected, note: None, actor: None }).await
            }
            Step::RemoveSchedule { job, scope, expected } => {
                let (job, scope, expected) = (job_of(*job), scope_of(*scope), expected_of(*expected));
                self.ask(RemoveSchedule { job, scope, expected, note: Some("gone".to_owned()), actor: None }).await
            }
            Step::Trigger { job, id_of, shape } => {
                let old = id_of.and_then(|back| from_the_end(&self.rows, back).copied());
                let row = self.row(shape, self.now());
                let (id, priority, policy) = (old.unwrap_or(row.id), row.priority, row.policy);
                let (job, scope) = (job_of(*job), Scope::global());
                let trace = traced(row.id);
                self.ask(TriggerJob { job, scope, id, priority, payload: None, policy, actor: None, trace }).await
            }
            _ => return Ok(()),
        }
        .map(drop)
    }

    /// What operators do with items.
    async fn operate(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::UpdateItem { job, back, payload, priority, delay_ms, run_ms } => {
                let Some(id) = from_the_end(&self.rows, *back).copied() else { return Ok(()) };
                let payload = payload.and_then(|n| Json::new(&serde_json::json!({ "n": n })).ok());
                let run_at = run_ms.map(|ms| Due::At(self.now().offset_micros(ms * 1_000)));
                let due = delay_ms.map(Due::AfterMs).or(run_at);
                self.ask(UpdateItem { queue: job_of(*job), id, payload, priority: *priority, due }).await
            }
            Step::DeleteItems { job, backs } => {
                let ids = self.ids(backs);
                self.ask(DeleteItems { queue: job_of(*job), ids, actor: None }).await
            }
            Step::CleanItems { job, states, finished_ms, limit } => {
                let states = chosen(*states << 3);
                let (finished_ms, limit) = (*finished_ms, *limit);
                self.ask(CleanItems { queue: job_of(*job), states, finished_ms, limit }).await
            }
            Step::ListItems { job, states, due_now, order, descending, newest, offset, limit } => {
                let list = ListItems {
                    states: chosen(*states),
                    due: if *due_now { DueFilter::DueNow } else { DueFilter::Any },
                    order: ItemOrder::ALL[usize::from(*order)],
                    direction: if *descending { Direction::Descending } else { Direction::Ascending },
                    lives: if *newest { Lives::Newest } else { Lives::All },
                    offset: *offset,
                    ..ListItems::new(job_of(*job), *limit)
                };
                self.ask(list).await
            }
            _ => return Ok(()),
        }
        .map(drop)
    }

    /// Plans as a planner would: from the cursor it reads, on a grid.
    async fn plan(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let Step::Plan { job, scope, stale_cursor, stale_spec, schedule, ahead, rows, skipped } = step else {
            return Ok(());
        };
        let (job, scope) = (job_of(*job), scope_of(*scope));
        let Reply::CursorsRead(read) = self.ask(ReadCursors { jobs: vec![job.clone()] }).await? else {
            return Ok(());
        };
        let read = &read.jobs[0];
        let known = read.cursors.iter().find(|cursor| cursor.scope == scope);
        let cursor = known.map(|cursor| cursor.at);
        let schedule_hash = match schedule {
            0..10 => known.and_then(|cursor| cursor.schedule_hash.clone()),
            10 => None,
            own => Some(hash(&format!("own {own}"))),
        };
        let grid = |at: Timestamp| at.as_micros().div_euclid(GRID_MS * 1_000);
        let at = |n: i64| Timestamp::from_micros(n * GRID_MS * 1_000);
        let to = grid(self.now()) + i64::from(*ahead);
        let slots = rows.iter().map(|shape| self.row(shape, at(to - i64::from(shape.back)))).collect();
        let reasons = SkipReason::ALL.into_iter().take(usize::from(*skipped));
        let gap = |reason| SkippedSlots { after: at(to - 5), through: at(to - 4), count: Some(1), reason };
        let entry = PlanEntry {
            job,
            scope,
            spec_hash: read.spec_hash.clone().filter(|_| !stale_spec).unwrap_or_else(|| hash("stale")),
            schedule_hash,
            expect: if *stale_cursor { Some(at(to)) } else { cursor },
            to: at(to),
            delay_ms: 0,
            slots,
            skipped: reasons.map(gap).collect(),
        };
        self.ask(Plan { entries: vec![entry] }).await.map(drop)
    }

    fn row(&mut self, shape: &Shape, slot_at: Timestamp) -> NewExecution {
        let id = ExecutionId(self.uuid());
        self.rows.push(id);
        let limit = shape.limit.map(|(key, max)| Limit { key: format!("limit {key}"), max });
        NewExecution {
            id,
            slot_at: Some(slot_at),
            due_at: slot_at.offset_micros(shape.due_ms * 1_000),
            expires_at: shape.expires_ms.map(|ms| slot_at.offset_micros(ms * 1_000)),
            priority: shape.priority,
            payload: None,
            unique_key: None,
            policy: Policy {
                max_attempts: shape.max_attempts,
                lease_ms: shape.lease_ms,
                reentry: if shape.reentry { Reentry::Allow } else { Reentry::Forbid },
                supersede: if shape.newest_only { Supersede::ByNewerSlot } else { Supersede::Never },
                limit,
                audit: Audit::ALL[usize::from(shape.audit)],
            },
        }
    }

    fn item(&mut self, item: &ItemShape) -> NewItem {
        let old = item.id_of.and_then(|back| from_the_end(&self.rows, back).copied());
        let row = self.row(&item.shape, self.now());
        let counts = [Counts::Live, Counts::Succeeded, Counts::Finished][usize::from(item.counts)];
        let unique = |key| Unique { key: format!("key {key}"), period_ms: item.period_ms, counts };
        NewItem {
            id: old.unwrap_or(row.id),
            scope: Scope::global(),
            due: item.delay_ms.map_or(Due::At(row.due_at), Due::AfterMs),
            ttl_ms: item.ttl_ms,
            priority: row.priority,
            payload: None,
            unique: item.key.map(unique),
            policy: row.policy,
            trace: traced(row.id),
        }
    }

    fn lease(&self, pick: Pick) -> Option<LeaseRef> {
        let mut lease = *from_the_end(&self.leases, pick.back)?;
        match pick.forged {
            Forged::Nothing => {}
            Forged::Token => lease.token = Token(scrambled(u64::MAX)),
            Forged::Fence => lease.fence = Fence(lease.fence.0 + 1),
        }
        Some(lease)
    }

    async fn acquire(&mut self, lock: u8, ttl_ms: u64) -> Result<(), TestCaseError> {
        let name = LockName::new(&format!("lock {lock}")).expect("a plain name");
        let id = RequestId(self.uuid());
        let request = Request { id, verb: AcquireLock { name: name.clone(), holder: runner(), ttl_ms }.into() };
        self.requests.push(request.clone());
        if let Reply::LockTried(tried) = self.call(request).await?
            && let Ok(held) = tried.outcome
        {
            self.locks.push(LockRef { name, token: Token(id.0), epoch: held.epoch });
        }
        Ok(())
    }

    fn lock(&self, pick: Pick) -> Option<LockRef> {
        let mut lock = from_the_end(&self.locks, pick.back)?.clone();
        match pick.forged {
            Forged::Nothing => {}
            Forged::Token => lock.token = Token(scrambled(u64::MAX)),
            Forged::Fence => lock.epoch = Epoch(lock.epoch.0 + 1),
        }
        Some(lock)
    }

    fn leases(&self, picks: &[Pick]) -> Vec<LeaseRef> {
        distinct(picks.iter().filter_map(|pick| self.lease(*pick)).collect(), |lease| lease.id)
    }

    fn settlements(&self, endings: &[(Pick, Ending, Retention)]) -> Vec<Settlement> {
        let one = |(pick, ending, retain): &(Pick, Ending, Retention)| {
            Some(Settlement { retain: *retain, ..Settlement::of(self.lease(*pick)?, outcome_of(*ending)) })
        };
        distinct(endings.iter().filter_map(one).collect(), |settlement| settlement.lease.id)
    }

    fn ids(&self, backs: &[u8]) -> Vec<ExecutionId> {
        let one = |back: &u8| match back {
            0 => Some(ExecutionId(scrambled(u64::MAX))),
            back => from_the_end(&self.rows, *back).copied(),
        };
        distinct(backs.iter().filter_map(one).collect(), |id| *id)
    }

    fn list(&self, job: u8, states: u8, back: u8, limit: u32) -> ListExecutions {
        ListExecutions {
            job: (job < 3).then(|| job_of(job)),
            id: None,
            states: chosen(states),
            after: from_the_end(&self.rows, back).map(|id| (*id, tourbillon::model::Generation::FIRST)),
            limit,
        }
    }

    async fn compare_everything(&mut self) -> Result<(), TestCaseError> {
        self.ask(ListExecutions { limit: MAX_BATCH, ..ListExecutions::default() }).await?;
        self.ask(ListSkipped { job: None, offset: 0, limit: MAX_BATCH }).await?;
        self.ask(ListAudit { limit: MAX_BATCH, ..ListAudit::default() }).await?;
        self.ask(ReadStats {}).await?;
        self.ask(ListRecent::new(MAX_BATCH)).await?;
        self.ask(ListRecent::new(3)).await?;
        self.ask(ListJobs { after: None, limit: MAX_BATCH }).await?;
        self.ask(ListPauses { job: None, which: PauseFilter::All, offset: 0, limit: MAX_BATCH }).await?;
        let which = ScheduleFilter::All;
        self.ask(ListSchedules { job: None, scope: None, which, after: None, limit: MAX_BATCH }).await?;
        for queue in JOBS.map(job) {
            self.ask(ListScopes { job: queue.clone(), after: None, limit: MAX_BATCH }).await?;
            self.ask(ReadQueueStats { queue: queue.clone() }).await?;
            self.ask(ListItems::new(queue, MAX_BATCH)).await?;
        }
        self.ask(ListLocks { after: None, limit: MAX_BATCH }).await?;
        self.ask(ReadDue { jobs: JOBS.map(job).to_vec() }).await?;
        self.ask(ReadCursors { jobs: JOBS.map(job).to_vec() }).await.map(drop)
    }
}

fn expected_of(revision: Option<u32>) -> Expected {
    match revision {
        None => Expected::Anything,
        Some(0) => Expected::Nothing,
        Some(revision) => Expected::Revision(Revision(revision)),
    }
}

fn register(job: u8, spec: u8, schedule: u8) -> Register {
    let spec_hash = hash(&format!("spec {spec} {schedule}"));
    let schedule_hash = hash(&format!("schedule {schedule}"));
    Register {
        runner: runner(),
        jobs: vec![Registration { job: job_of(job), spec_hash, schedule_hash, rules: (spec > 0).then(rules) }],
    }
}

fn job_of(n: u8) -> tourbillon::model::JobName {
    job(JOBS[usize::from(n) % JOBS.len()])
}

/// The states whose bits are set.
fn chosen(states: u8) -> Vec<State> {
    (0u8..).zip(State::ALL).filter(|(bit, _)| states & (1 << bit) != 0).map(|(_, state)| state).collect()
}

fn scope_of(n: u8) -> Scope {
    if n == 0 { Scope::global() } else { scope("ä") }
}

fn outcome_of(ending: Ending) -> Outcome {
    match ending {
        Ending::Succeeded => Outcome::Succeeded { result: Json::empty(), rows_affected: Some(3) },
        Ending::RetryMs(ms) => Outcome::Failed { failure: failure("fehlgeschlagen: ü"), retry: Retry::AfterMs(ms) },
        Ending::NoRetry => Outcome::Failed { failure: failure("no"), retry: Retry::Never },
        Ending::Released => Outcome::Released,
        Ending::SnoozedMs(for_ms) => Outcome::Snoozed { for_ms },
        Ending::Cancelled => Outcome::Cancelled { failure: failure("stopped") },
    }
}

/// Every other row has one, another one each.
fn traced(id: ExecutionId) -> Option<TraceContext> {
    let n = id.0.as_u128();
    (n & 4 == 0).then(|| trace_of(n))
}

/// The item `back` places before the last, going round.
fn from_the_end<T>(items: &[T], back: u8) -> Option<&T> {
    items.iter().rev().nth(usize::from(back).checked_rem(items.len())?)
}

/// The items in order, each key once: a batch with one row twice is refused, which is a case of its own.
fn distinct<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = std::collections::BTreeSet::new();
    items.into_iter().filter(|item| seen.insert(key(item))).collect()
}
