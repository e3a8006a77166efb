//! Owns the store under test as a case sees it: short verbs, a clock to set, and a memory store as its shadow.
//!
//! Every request goes to both stores and every reply must be equal, so a case asserts what it is about and the
//! shadow asserts every other field of every row. On the memory store itself only the assertions count.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tourbillon::{
    model::{
        Audit, AuditEvent, ErrorCode, Execution, ExecutionId, Failure, Incarnation, JobName, Json, LeaseRef,
        NewExecution, OperatorName, Outcome, Policy, Reentry, RequestId, Retention, Retry, Scope, State, Supersede,
        Timestamp, TraceContext,
        transition::{Cancelled, Charge, Refusal},
    },
    store::{
        Cancel, Claim, Claimed, Due, Enqueue, EnqueueOutcome, Heartbeat, ListAudit, ListExecutions, ListItems,
        ListJobs, ListLocks, ListPauses, ListRecent, ListSchedules, ListScopes, ListSkipped, Listener, MAX_BATCH,
        ManualClock, MemoryStore, NewItem, Operation, PauseFilter, Plan, PlanEntry, PlanOutcome, ReadCursors,
        ReadDue, ReadQueueStats, ReadStats, Register, RegisterOutcome, RegisteredRules, Registration, Renewal, Reply,
        Request, Requeue, RequeueOutcome, Rescue, Rescued, ScheduleFilter, Settle, Settlement, SpecHash, Start,
        Store, StoreError, Verb,
    },
};
use uuid::Uuid;

use super::{Fixture, Schema};

/// Where every case's clock starts: 2027-01-15T08:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Lease of [`Subject::row`], in milliseconds.
pub(crate) const LEASE_MS: u64 = 60_000;

/// The spec and schedule hash under which [`Subject::add`] registers a job.
pub(crate) const SPEC: &str = "spec-1";

pub(crate) struct Subject {
    store: Arc<dyn Store>,
    shadow: MemoryStore,
    pub(crate) clock: ManualClock,
    /// Of [`Subject::row`] and [`Subject::item`].
    audit: Audit,
    serial: AtomicU64,
    jobs: Mutex<BTreeSet<JobName>>,
}

impl Subject {
    pub(super) async fn new(fixture: &dyn Fixture, schema: Schema, audit: Audit) -> Self {
        let clock = ManualClock::new(START);
        let (store, shadow) = match schema {
            Schema::Newest => (fixture.on_manual_clock(clock.clone()).await, MemoryStore::new(clock.clone())),
            Schema::None => (fixture.unmigrated(clock.clone()).await, MemoryStore::unmigrated(clock.clone())),
        };
        Self {
            store: store.unwrap_or_else(|error| panic!("the fixture failed to make a store: {error:?}")),
            shadow,
            clock,
            audit,
            serial: AtomicU64::new(0),
            jobs: Mutex::default(),
        }
    }

    // Time and identity.

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The instant `ms` milliseconds from now; negative is earlier.
    pub(crate) fn after(&self, ms: i64) -> Timestamp {
        self.now().offset_micros(ms * 1_000)
    }

    /// Moves the database clock by `ms` milliseconds, forwards or back.
    pub(crate) fn pass(&self, ms: i64) {
        self.clock.set(self.after(ms));
    }

    /// Moves the database clock on by microseconds.
    pub(crate) fn pass_micros(&self, micros: i64) {
        self.clock.set(self.now().offset_micros(micros));
    }

    /// A fresh id. Not in order, so that "ordered by id" is not "ordered by insertion".
    pub(crate) fn uuid(&self) -> Uuid {
        let serial = self.serial.fetch_add(1, Ordering::SeqCst) + 1;
        scrambled(serial)
    }

    pub(crate) fn id(&self) -> ExecutionId {
        ExecutionId(self.uuid())
    }

    // Calls.

    /// Sends one request to both stores and returns the reply on which they agree.
    pub(crate) async fn send(&self, request: Request) -> Result<Reply, StoreError> {
        self.note_jobs(&request.verb);
        let expected = self.shadow.apply(&request);
        let got = self.store.call(request.clone()).await;
        match (&got, &expected) {
            (Ok(got), Ok(expected)) => {
                assert_eq!(got, expected, "reply differs from the memory store's at {} for {request:?}", self.now());
            }
            (Err(got), Err(expected)) => {
                assert_eq!(got.kind(), expected.kind(), "error kind of {got:?} for {request:?}");
            }
            _ => panic!("{request:?}: the store says {got:?}, the memory store says {expected:?}"),
        }
        got
    }

    fn note_jobs(&self, verb: &Verb) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match verb {
            Verb::Register(verb) => jobs.extend(verb.jobs.iter().map(|job| job.job.clone())),
            Verb::Enqueue(verb) => drop(jobs.insert(verb.queue.clone())),
            Verb::Plan(verb) => jobs.extend(verb.entries.iter().map(|entry| entry.job.clone())),
            _ => {}
        }
    }

    /// A request with a fresh id.
    pub(crate) fn request(&self, verb: impl Into<Verb>) -> Request {
        Request { id: RequestId(self.uuid()), verb: verb.into() }
    }

    /// Sends under a fresh request id; the store must accept it.
    pub(crate) async fn call<V: Operation>(&self, verb: V) -> V::Reply {
        self.repeat::<V>(&self.request(verb)).await
    }

    /// Sends this very request, again if it was sent before; the store must accept it.
    pub(crate) async fn repeat<V: Operation>(&self, request: &Request) -> V::Reply {
        let reply = self.send(request.clone()).await;
        let reply = reply.unwrap_or_else(|error| panic!("{request:?} was refused: {error:?}"));
        V::reply(reply).expect("the reply is of the verb's own kind")
    }

    /// Sends something that the store must refuse.
    pub(crate) async fn refused(&self, verb: impl Into<Verb>) -> StoreError {
        let request = self.request(verb);
        match self.send(request.clone()).await {
            Err(error) => error,
            Ok(reply) => panic!("{request:?} should be refused and was answered {reply:?}"),
        }
    }

    /// A listener at the store, not at its shadow; `None` if the store gives no notices.
    pub(crate) async fn listen(&self) -> Option<Box<dyn Listener>> {
        self.store.listen().await.unwrap_or_else(|error| panic!("no listener: {error:?}"))
    }

    // Set-up.

    /// Registers a job with spec and schedule hash [`SPEC`].
    pub(crate) async fn register(&self, name: &JobName) -> RegisterOutcome {
        self.register_as(name, SPEC, SPEC).await
    }

    pub(crate) async fn register_as(&self, name: &JobName, spec: &str, schedule: &str) -> RegisterOutcome {
        let jobs = vec![Registration {
            job: name.clone(),
            spec_hash: hash(spec),
            schedule_hash: hash(schedule),
            rules: None,
        }];
        self.call(Register { runner: runner(), jobs }).await.outcomes[0]
    }

    /// A row without a slot, due now: lease 60 s, three attempts, re-entry allowed, no limit. What it tells the audit is the
    /// [fixture's](Fixture::audit) choice: a case that is about it says so itself, but for the topic `audit`, where rows tell all.
    pub(crate) fn row(&self) -> NewExecution {
        NewExecution {
            id: self.id(),
            slot_at: None,
            due_at: self.now(),
            expires_at: None,
            priority: 0,
            payload: None,
            unique_key: None,
            policy: policy(self.audit),
        }
    }

    /// A queue item, due now: lease 60 s, three attempts, re-entry allowed, no limit, no key.
    pub(crate) fn item(&self) -> NewItem {
        item_of(self.id(), self.audit)
    }

    /// [`Subject::item`], changed.
    pub(crate) fn item_with(&self, change: impl FnOnce(&mut NewItem)) -> NewItem {
        let mut item = self.item();
        change(&mut item);
        item
    }

    /// Enqueues without a bound.
    pub(crate) async fn enqueue(&self, queue: &JobName, items: Vec<NewItem>) -> Vec<EnqueueOutcome> {
        self.call(Enqueue { queue: queue.clone(), max_items: None, items }).await.outcomes
    }

    /// Enqueues one item, which must be stored, and returns its id.
    pub(crate) async fn enqueue_one(&self, queue: &JobName, change: impl FnOnce(&mut NewItem)) -> ExecutionId {
        let item = self.item_with(change);
        let id = item.id;
        assert_eq!(self.enqueue(queue, vec![item]).await, [EnqueueOutcome::Enqueued(id)]);
        id
    }

    /// [`Subject::row`], changed.
    pub(crate) fn row_with(&self, change: impl FnOnce(&mut NewExecution)) -> NewExecution {
        let mut row = self.row();
        change(&mut row);
        row
    }

    /// An entry that makes `slots` for the global scope and moves the cursor from `expect` to `to`.
    pub(crate) fn entry(
        &self,
        job: &JobName,
        expect: Option<Timestamp>,
        to: Timestamp,
        slots: Vec<NewExecution>,
    ) -> PlanEntry {
        PlanEntry {
            job: job.clone(),
            scope: Scope::global(),
            spec_hash: hash(SPEC),
            schedule_hash: None,
            expect,
            to,
            delay_ms: 0,
            slots,
            skipped: Vec::new(),
        }
    }

    pub(crate) async fn plan(&self, entry: PlanEntry) -> PlanOutcome {
        self.call(Plan { entries: vec![entry] }).await.outcomes.remove(0)
    }

    /// Stores rows, registering the job first if need be. Moves the global cursor by one microsecond, a day ago.
    pub(crate) async fn add(&self, job: &JobName, rows: Vec<NewExecution>) {
        let read = self.call(ReadCursors { jobs: vec![job.clone()] }).await.jobs.remove(0);
        if read.spec_hash.is_none() {
            self.register(job).await;
        }
        let at = read.cursors.iter().find(|cursor| cursor.scope == Scope::global()).map(|cursor| cursor.at);
        let to = at.map_or(self.after(-86_400_000), |at| at.offset_micros(1));
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        assert_eq!(self.plan(self.entry(job, at, to, rows)).await, PlanOutcome::Made(ids));
    }

    /// Stores one row and returns its id.
    pub(crate) async fn add_one(&self, job: &JobName, change: impl FnOnce(&mut NewExecution)) -> ExecutionId {
        let row = self.row_with(change);
        let id = row.id;
        self.add(job, vec![row]).await;
        id
    }

    /// Stores one row and claims it.
    pub(crate) async fn claimed(&self, job: &JobName, change: impl FnOnce(&mut NewExecution)) -> LeaseRef {
        let id = self.add_one(job, change).await;
        let (row, lease) = self.claim_one(job).await;
        assert_eq!(row.id, id, "the row just added is the one claimed");
        lease
    }

    /// Stores one row, claims and starts it.
    pub(crate) async fn running(&self, job: &JobName, change: impl FnOnce(&mut NewExecution)) -> LeaseRef {
        let lease = self.claimed(job, change).await;
        assert_eq!(self.start(lease).await, Ok(1));
        lease
    }

    /// Stores one row and settles its first attempt.
    pub(crate) async fn ended(&self, job: &JobName, outcome: Outcome) -> ExecutionId {
        let lease = self.running(job, |_| {}).await;
        assert_eq!(self.settle(lease, outcome).await.map(State::is_terminal), Ok(true));
        lease.id
    }

    // Verbs on one row.

    pub(crate) async fn claim(&self, job: &JobName) -> Claimed {
        self.call(claim_of(&[job], 10)).await
    }

    /// Claims, expects exactly one row, and returns it with its lease.
    pub(crate) async fn claim_one(&self, job: &JobName) -> (Execution, LeaseRef) {
        let mut rows = self.claim(job).await.executions;
        assert_eq!(rows.len(), 1, "exactly one row is claimed: {rows:?}");
        let row = rows.remove(0);
        let lease = row.lease_ref().expect("a claimed row is running");
        (row, lease)
    }

    /// True when a claim takes nothing and skips nothing.
    pub(crate) async fn nothing_to_claim(&self, job: &JobName) -> bool {
        let claimed = self.claim(job).await;
        claimed.executions.is_empty() && claimed.skipped.is_empty()
    }

    pub(crate) async fn start(&self, lease: LeaseRef) -> Result<u32, Refusal> {
        self.call(Start { leases: vec![lease] }).await.outcomes.remove(0)
    }

    pub(crate) async fn heartbeat(&self, lease: LeaseRef) -> Result<Renewal, Refusal> {
        self.call(Heartbeat::of(vec![lease])).await.outcomes.remove(0)
    }

    pub(crate) async fn settle(&self, lease: LeaseRef, outcome: Outcome) -> Result<State, Refusal> {
        self.call(Settle { settlements: vec![Settlement::of(lease, outcome)] }).await.outcomes.remove(0)
    }

    /// Settles as the driver of a queue with this rule does.
    pub(crate) async fn settle_retaining(
        &self,
        lease: LeaseRef,
        outcome: Outcome,
        retain: Retention,
    ) -> Result<State, Refusal> {
        self.call(Settle { settlements: vec![Settlement { lease, outcome, retain }] }).await.outcomes.remove(0)
    }

    pub(crate) async fn rescue(&self) -> Rescued {
        self.call(Rescue { limit: 100 }).await
    }

    pub(crate) async fn cancel(&self, id: ExecutionId) -> Cancelled {
        self.call(Cancel { ids: vec![id], actor: None }).await.outcomes[0]
    }

    pub(crate) async fn requeue(&self, id: ExecutionId) -> RequeueOutcome {
        self.call(Requeue { ids: vec![id], actor: None }).await.outcomes[0]
    }

    // Looking.

    /// The audit log, or that of one execution, page by page.
    pub(crate) async fn audit(&self, execution: Option<ExecutionId>) -> Vec<AuditEvent> {
        let mut events: Vec<AuditEvent> = Vec::new();
        loop {
            let after = events.last().map(|event| event.key);
            let page = self.call(ListAudit { job: None, execution, after, limit: MAX_BATCH }).await.events;
            let is_last = page.len() < MAX_BATCH as usize;
            events.extend(page);
            if is_last {
                return events;
            }
        }
    }

    /// How far the global scope of this job is planned.
    pub(crate) async fn cursor(&self, job: &JobName) -> Option<Timestamp> {
        self.cursor_of(job, &Scope::global()).await
    }

    pub(crate) async fn cursor_of(&self, job: &JobName, scope: &Scope) -> Option<Timestamp> {
        let read = self.call(ReadCursors { jobs: vec![job.clone()] }).await.jobs.remove(0);
        read.cursors.iter().find(|cursor| cursor.scope == *scope).map(|cursor| cursor.at)
    }

    /// All generations of one execution, oldest first.
    pub(crate) async fn generations(&self, id: ExecutionId) -> Vec<Execution> {
        self.call(ListExecutions { id: Some(id), limit: MAX_BATCH, ..ListExecutions::default() }).await.executions
    }

    /// The newest generation of one execution.
    pub(crate) async fn get(&self, id: ExecutionId) -> Execution {
        self.generations(id).await.pop().unwrap_or_else(|| panic!("no execution {id}"))
    }

    /// Sends every read there is, so that all that is stored is compared with the shadow.
    pub(crate) async fn compare_everything(&self) {
        let mut after = None;
        loop {
            let page = ListExecutions { after, limit: MAX_BATCH, ..ListExecutions::default() };
            let rows = self.call(page).await.executions;
            let Some(last) = rows.last().filter(|_| rows.len() == MAX_BATCH as usize) else { break };
            after = Some((last.id, last.generation));
        }
        self.call(ListSkipped { job: None, offset: 0, limit: MAX_BATCH }).await;
        self.audit(None).await;
        self.call(ReadStats {}).await;
        self.call(ListRecent::new(MAX_BATCH)).await;
        self.call(ListJobs { after: None, limit: MAX_BATCH }).await;
        self.call(ListPauses { job: None, which: PauseFilter::All, offset: 0, limit: MAX_BATCH }).await;
        let which = ScheduleFilter::All;
        self.call(ListSchedules { job: None, scope: None, which, after: None, limit: MAX_BATCH }).await;
        self.call(ListLocks { after: None, limit: MAX_BATCH }).await;
        let jobs: Vec<_> = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        for queue in &jobs {
            self.call(ReadQueueStats { queue: queue.clone() }).await;
            self.call(ListItems::new(queue.clone(), MAX_BATCH)).await;
            self.call(ListScopes { job: queue.clone(), after: None, limit: MAX_BATCH }).await;
        }
        for jobs in jobs.chunks(MAX_BATCH as usize) {
            self.call(ReadCursors { jobs: jobs.to_vec() }).await;
            self.call(ReadDue { jobs: jobs.to_vec() }).await;
        }
    }
}

/// A claim of these jobs that charges at start.
pub(crate) fn claim_of(jobs: &[&JobName], limit: u32) -> Claim {
    let jobs = jobs.iter().map(|job| (*job).clone()).collect();
    Claim { runner: runner(), jobs, limit, charge: Charge::AtStart, rate: None }
}

/// See [`Subject::row`].
fn policy(audit: Audit) -> Policy {
    Policy {
        max_attempts: 3,
        lease_ms: LEASE_MS,
        reentry: Reentry::Allow,
        supersede: Supersede::Never,
        limit: None,
        audit,
    }
}

/// [`Subject::item`] under this id, which tells the audit this much.
pub(crate) fn item_of(id: ExecutionId, audit: Audit) -> NewItem {
    NewItem {
        id,
        scope: Scope::global(),
        due: Due::AfterMs(0),
        ttl_ms: None,
        priority: 0,
        payload: None,
        unique: None,
        policy: policy(audit),
        trace: None,
    }
}

/// A place in a trace, another one for each number; every second has a state.
pub(crate) fn trace_of(n: u128) -> TraceContext {
    let state = n.is_multiple_of(2).then(|| format!("vendor={n:x}, other= a b"));
    // Ids of zero are none.
    let parent = format!("00-{:032x}-{:016x}-{:02x}", n.max(1), (n as u64).max(1), n % 2);
    TraceContext::new(&parent, state.as_deref()).expect("well-formed")
}

pub(crate) fn runner() -> Incarnation {
    Incarnation(Uuid::from_u128(0xace))
}

pub(crate) fn job(name: &str) -> JobName {
    JobName::new(name).expect("names in cases are valid")
}

pub(crate) fn operator(name: &str) -> OperatorName {
    OperatorName::new(name).expect("names in cases are valid")
}

pub(crate) fn scope(id: &str) -> Scope {
    Scope::new("tenant", id).expect("scopes in cases are valid")
}

/// Rules of a job, as a replica tells them.
pub(crate) fn rules() -> RegisteredRules {
    RegisteredRules {
        stored_schedules: true,
        delay_ms: 60_000,
        schedule: "0 8 * * * Europe/Zürich \"täglich\"".to_owned(),
        planner: Some(Json::from_stored(r#"{"schedule":"ü"}"#)),
        priority: -1,
        max_attempts: 3,
        lease_ms: LEASE_MS,
        reentry: Reentry::Forbid,
        supersede: Supersede::ByNewerSlot,
        max_overlap: Some(2),
        audit: Audit::All,
    }
}

pub(crate) fn hash(text: &str) -> SpecHash {
    SpecHash(text.into())
}

pub(crate) fn succeeded() -> Outcome {
    Outcome::Succeeded { result: Json::empty(), rows_affected: None }
}

pub(crate) fn failure(text: &str) -> Failure {
    Failure::new(ErrorCode::handler_error(), text)
}

/// A failure to be retried after this many milliseconds.
pub(crate) fn failed(retry_ms: u64) -> Outcome {
    Outcome::Failed { failure: failure("it broke"), retry: Retry::AfterMs(retry_ms) }
}

pub(crate) fn failed_for_good() -> Outcome {
    Outcome::Failed { failure: failure("it broke for good"), retry: Retry::Never }
}

/// Distinct for distinct serials, in no order.
pub(crate) fn scrambled(serial: u64) -> Uuid {
    let mixed = serial.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Uuid::from_u64_pair(mixed ^ (mixed >> 29), serial)
}
