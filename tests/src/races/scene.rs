//! Owns the state in which permutations start; the verbs that meet in it are in `verbs`.
//!
//! One scene with a row of every kind, and every verb asks for all the rows that it can concern, so that any two of
//! them share rows, gates, cursors and jobs. Knows no database.

mod verbs;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tourbillon::{
    model::{
        Audit, Execution, ExecutionId, JobName, Json, LeaseRef, NewExecution, Outcome, Reentry, RequestId, Retention,
        Retry, Scope, State, Supersede, Timestamp, Token, transition::Charge,
    },
    store::{
        Cancel, Claim, CleanItems, Counts, Due, Enqueue, ListExecutions, MAX_BATCH, ManualClock, MemoryStore,
        Operation, PauseJob, Plan, PlanEntry, Register, RegisteredRules, Registration, ReleaseLock, Reply, Request,
        Requeue, Rescue, ResumeJob, Settle, Settlement, Start, Verb,
    },
};
use uuid::Uuid;

use super::scene_locks;
use crate::conformance::rules;
use verbs::{
    claim, claim_half, claim_rated, delete_item, enqueue, enqueue_one, failure, hash, heartbeat, ids, new_item,
    new_row, ordered, plan_entries, put_schedule, register, remove_schedule, trigger, update_item,
};

pub(super) use verbs::runner;

/// When the rows are planned; the first claims are of this instant, too.
const BEFORE: Timestamp = Timestamp::from_secs(1_800_000_000);

/// When the verbs meet: leases of [`BEFORE`] have expired.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_060);

/// Behind the expired ones in the claim's order.
const WAITING_SINCE: Timestamp = Timestamp::from_secs(1_800_000_050);

const LEASE_MS: u64 = 30_000;

/// A verb with a way to use it. All of them write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Claim,
    ClaimTwo,
    /// A claims the even rows, B the odd ones: they meet at the gates only.
    ClaimHalf,
    /// Of one queue, whose item concerns no limit, no expiry and no audit: stores may have a shorter way for that.
    ClaimPlain,
    /// At a rate, of another queue on each side: they meet at the turns of one key, of which there is one.
    ClaimRated,
    Start,
    Heartbeat,
    SettleOk,
    SettleFail,
    SettleRelease,
    SettleSnooze,
    SettleCancelled,
    /// Successes that history keeps, and that concern no limit and no audit: stores may have a shorter way for that.
    SettlePlain,
    /// The same of an item of which nothing is kept.
    SettleForgotten,
    Rescue,
    Cancel,
    Requeue,
    Plan,
    /// Of a cursor that exists: no insert of a cursor fails and makes it run again.
    PlanOne,
    /// Gives the same scopes schedules of their own.
    EditScope,
    Register,
    /// Registers jobs that exist, with another schedule.
    Edit,
    /// Items with keys of live, finished and no executions.
    Enqueue,
    /// One item of the same id on both sides, of which nothing is told: stores may have a shorter way for that.
    EnqueueOne,
    /// Items as of [`Kind::Enqueue`], where finished ones count, into a queue with too little room.
    EnqueueCounted,
    /// Of an item that waits.
    UpdateItem,
    DeleteWaiting,
    /// Of an item that has ended.
    DeleteDead,
    CleanItems,
    /// Of the job that [`Kind::PlanOne`] plans.
    Pause,
    /// Of its one scope.
    PauseScope,
    /// Of a job that is paused.
    Resume,
    /// Of the scope that [`Kind::PauseScope`] pauses, another on each side.
    PutSchedule,
    /// Of a scope of a job that is paused.
    RemoveSchedule,
    /// One execution, wished for by both sides.
    Trigger,
    /// One lock, which no other verb looks at.
    Lock(scene_locks::Deed, scene_locks::Lock),
}

impl Kind {
    /// Those that meet at executions.
    pub(crate) const ALL: [Self; 35] = [
        Self::Claim,
        Self::ClaimTwo,
        Self::ClaimHalf,
        Self::ClaimPlain,
        Self::ClaimRated,
        Self::Start,
        Self::Heartbeat,
        Self::SettleOk,
        Self::SettleFail,
        Self::SettleRelease,
        Self::SettleSnooze,
        Self::SettleCancelled,
        Self::SettlePlain,
        Self::SettleForgotten,
        Self::Rescue,
        Self::Cancel,
        Self::Requeue,
        Self::Plan,
        Self::PlanOne,
        Self::EditScope,
        Self::Register,
        Self::Edit,
        Self::Enqueue,
        Self::EnqueueOne,
        Self::EnqueueCounted,
        Self::UpdateItem,
        Self::DeleteWaiting,
        Self::DeleteDead,
        Self::CleanItems,
        Self::Pause,
        Self::PauseScope,
        Self::Resume,
        Self::PutSchedule,
        Self::RemoveSchedule,
        Self::Trigger,
    ];

    /// Those that meet at locks.
    pub(crate) fn locks() -> [Self; 10] {
        scene_locks::ALL.map(|(deed, lock)| Self::Lock(deed, lock))
    }
}

/// Which of the two calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// Starts first, and also asks for the private row or job.
    A,
    /// Its batches are in opposite order.
    B,
}

/// The rows of [`Kind::SettlePlain`]; the second one is an item.
const PLAIN: [u128; 3] = [PRIVATE, RUNNING_ITEM, 10];
const RUNNING_ITEM: u128 = 9;

/// Two rows of [`ROWS`] that wait and have a limit key in common.
const OF_ONE_KEY: [u128; 2] = [8, 22];

/// The items of [`ROWS`] that operators change and remove.
const WAITING_ITEM: u128 = 13;
const DEAD_ITEM: u128 = 17;

/// The row that [`Kind::EnqueueOne`] and [`Kind::Trigger`] make, on whichever side comes first.
const WISHED: u128 = 500;

/// Lowest id: only A asks for it, so holding it stops A alone, with a snapshot that grows old.
pub(crate) const PRIVATE: u128 = 1;

/// Lowest name: the same for jobs.
pub(crate) const PRIVATE_JOB: &str = "a_private";

/// How a row is made to look.
struct Kept {
    number: u128,
    becomes: Becomes,
    limit: Option<(&'static str, u32)>,
    reentry: Reentry,
    /// Of a queue item; a row without one is a planned slot.
    key: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Becomes {
    Waiting,
    /// Due too long ago.
    Late,
    /// Its slot has a successor.
    Superseded,
    /// Failed once, due again.
    Retryable,
    /// Its lease has expired.
    Expired {
        started: bool,
        cancelled: bool,
    },
    /// Due too long ago, and claimed once, and never started: a claim ends it, which frees its gate.
    ExpiredLate,
    Running {
        started: bool,
        cancelled: bool,
    },
    Succeeded,
    Dead,
}

const fn kept(number: u128, becomes: Becomes, limit: Option<(&'static str, u32)>) -> Kept {
    Kept { number, becomes, limit, reentry: Reentry::Allow, key: None }
}

const fn keyed(number: u128, becomes: Becomes, limit: Option<(&'static str, u32)>, key: &'static str) -> Kept {
    Kept { key: Some(key), ..kept(number, becomes, limit) }
}

const ROWS: [Kept; 24] = [
    kept(PRIVATE, Becomes::Running { started: true, cancelled: false }, None),
    kept(2, Becomes::Waiting, Some(("alpha", 1))),
    kept(3, Becomes::Expired { started: true, cancelled: false }, Some(("gamma", 1))),
    kept(4, Becomes::Waiting, Some(("beta", 2))),
    kept(5, Becomes::Running { started: true, cancelled: false }, Some(("alpha", 1))),
    Kept {
        number: 6,
        becomes: Becomes::Expired { started: true, cancelled: false },
        limit: Some(("delta", 1)),
        reentry: Reentry::Forbid,
        key: None,
    },
    kept(7, Becomes::Running { started: false, cancelled: false }, Some(("beta", 2))),
    kept(8, Becomes::Waiting, Some(("epsilon", 2))),
    keyed(9, Becomes::Running { started: true, cancelled: false }, None, "nine"),
    kept(10, Becomes::Running { started: true, cancelled: true }, None),
    kept(11, Becomes::Expired { started: false, cancelled: true }, None),
    keyed(12, Becomes::Retryable, None, "twelve"),
    keyed(13, Becomes::Waiting, None, "thirteen"),
    kept(14, Becomes::Waiting, Some(("delta", 1))),
    kept(15, Becomes::Expired { started: false, cancelled: false }, None),
    keyed(16, Becomes::Succeeded, None, "sixteen"),
    keyed(17, Becomes::Dead, Some(("gamma", 1)), "seventeen"),
    kept(18, Becomes::Late, None),
    kept(19, Becomes::Superseded, None),
    kept(20, Becomes::Waiting, Some(("gamma", 1))),
    kept(21, Becomes::ExpiredLate, Some(("beta", 2))),
    kept(22, Becomes::Waiting, Some(("epsilon", 2))),
    kept(23, Becomes::Waiting, Some(("epsilon", 2))),
    kept(24, Becomes::Running { started: true, cancelled: false }, Some(("aleph", 1))),
];

/// The scene: the requests that make it, and the leases that are out.
#[derive(Clone)]
pub(crate) struct Scene {
    /// Each with the instant of the database clock at which it is sent.
    pub(crate) setup: Vec<(Timestamp, Request)>,
    pub(crate) leases: BTreeMap<ExecutionId, LeaseRef>,
    /// What the last holders of locks were told.
    locks: scene_locks::Held,
    pub(crate) start: Vec<Execution>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let mut maker = Maker { clock: ManualClock::new(BEFORE), setup: Vec::new(), next: 1_000 };
        let (leases, locks) = maker.make();
        let mut scene = Self { setup: maker.setup, leases, locks, start: Vec::new() };
        scene.start = listing(&scene.memory());
        scene
    }

    /// A memory store in the starting state, its clock at [`NOW`].
    pub(crate) fn memory(&self) -> MemoryStore {
        let clock = ManualClock::new(BEFORE);
        let store = MemoryStore::new(clock.clone());
        for (at, request) in &self.setup {
            clock.set(*at);
            store.apply(request).expect("the scene is made of requests that are accepted");
        }
        clock.set(NOW);
        store
    }

    /// Names of all jobs that any request mentions.
    pub(crate) fn jobs() -> Vec<JobName> {
        let rows = ROWS.iter().map(|row| row_job(row.number));
        rows.chain([PRIVATE_JOB, "brand", "fresh", "planned", "stopped"].map(name)).collect()
    }

    /// The verb that this side sends.
    pub(crate) fn verb(&self, kind: Kind, side: Side) -> Verb {
        match kind {
            Kind::Claim => claim(MAX_BATCH, side).into(),
            Kind::ClaimTwo => claim(2, side).into(),
            Kind::ClaimHalf => claim_half(side).into(),
            Kind::ClaimPlain => Claim { jobs: vec![row_job(WAITING_ITEM)], ..claim(MAX_BATCH, side) }.into(),
            Kind::ClaimRated => claim_rated(side).into(),
            Kind::Start => Start { leases: self.held(side) }.into(),
            Kind::Heartbeat => heartbeat(self.held(side), side).into(),
            Kind::SettleOk => self.settle(side, &succeeded()),
            Kind::SettleFail => self.settle(side, &Outcome::Failed { failure: failure(), retry: Retry::AfterMs(0) }),
            Kind::SettleRelease => self.settle(side, &Outcome::Released),
            Kind::SettleSnooze => self.settle(side, &Outcome::Snoozed { for_ms: 5_000 }),
            Kind::SettleCancelled => self.settle(side, &Outcome::Cancelled { failure: failure() }),
            Kind::SettlePlain => self.succeed(side, &PLAIN, Retention::Everything),
            Kind::SettleForgotten => self.succeed(side, &[RUNNING_ITEM], Retention::Failures),
            Kind::Rescue => Rescue { limit: MAX_BATCH }.into(),
            Kind::Cancel => Cancel { ids: ids(side), actor: None }.into(),
            Kind::Requeue => Requeue { ids: ids(side), actor: None }.into(),
            Kind::Plan => Plan { entries: plan_entries(side) }.into(),
            Kind::PlanOne => {
                let mut entries = plan_entries(side);
                entries.retain(|entry| entry.expect.is_some());
                Plan { entries }.into()
            }
            Kind::EditScope => {
                let own = if side == Side::A { "own-a" } else { "own-b" };
                let mut entries = plan_entries(side);
                entries.iter_mut().for_each(|entry| entry.schedule_hash = Some(hash(own)));
                Plan { entries }.into()
            }
            Kind::Register => register(side).into(),
            Kind::Edit => {
                let mut verb = register(side);
                verb.jobs.retain(|job| job.job.as_str() != "brand");
                verb.into()
            }
            Kind::Enqueue => enqueue(side, None, Counts::Live).into(),
            Kind::EnqueueOne => enqueue_one().into(),
            Kind::EnqueueCounted => enqueue(side, Some(3), Counts::Succeeded).into(),
            Kind::UpdateItem => update_item(side).into(),
            Kind::DeleteWaiting => delete_item(WAITING_ITEM).into(),
            Kind::DeleteDead => delete_item(DEAD_ITEM).into(),
            Kind::CleanItems => {
                CleanItems { queue: row_job(DEAD_ITEM), states: vec![State::Dead], finished_ms: 0, limit: 10 }.into()
            }
            Kind::Pause => PauseJob { job: name("planned"), scope: None, actor: None }.into(),
            Kind::PauseScope => PauseJob { job: name("planned"), scope: Some(Scope::global()), actor: None }.into(),
            Kind::Resume => ResumeJob { job: name("stopped"), scope: None, actor: None }.into(),
            Kind::PutSchedule => {
                put_schedule(name("planned"), if side == Side::A { "own-a" } else { "own-b" }).into()
            }
            Kind::RemoveSchedule => remove_schedule().into(),
            Kind::Trigger => trigger(side).into(),
            Kind::Lock(deed, lock) => scene_locks::verb((deed, lock), side, &self.locks),
        }
    }

    /// Rows that the verb may lock in the starting state.
    pub(crate) fn touches(&self, kind: Kind, side: Side) -> BTreeSet<ExecutionId> {
        let rows = self.start.iter();
        let live = |row: &&Execution| !row.state.is_terminal();
        let ids: BTreeSet<ExecutionId> = match kind {
            Kind::Claim | Kind::ClaimTwo | Kind::ClaimHalf => {
                rows.filter(|row| row.claimable_at.is_some_and(|at| at <= NOW)).map(|row| row.id).collect()
            }
            Kind::Rescue => rows
                .filter(|row| row.state == State::Running && row.claimable_at.is_none())
                .map(|row| row.id)
                .collect(),
            Kind::Cancel => rows.filter(live).map(|row| row.id).collect(),
            Kind::ClaimPlain | Kind::UpdateItem | Kind::DeleteWaiting => BTreeSet::from([row_id(WAITING_ITEM)]),
            Kind::ClaimRated => OF_ONE_KEY.map(row_id).into(),
            Kind::SettlePlain => PLAIN.map(row_id).into(),
            Kind::SettleForgotten => BTreeSet::from([row_id(RUNNING_ITEM)]),
            Kind::Enqueue
            | Kind::EnqueueOne
            | Kind::EnqueueCounted
            | Kind::DeleteDead
            | Kind::CleanItems
            | Kind::Requeue
            | Kind::Plan
            | Kind::PlanOne
            | Kind::EditScope
            | Kind::Register
            | Kind::Edit
            | Kind::Pause
            | Kind::PauseScope
            | Kind::Resume
            | Kind::PutSchedule
            | Kind::RemoveSchedule
            | Kind::Trigger
            | Kind::Lock(..) => BTreeSet::new(),
            Kind::Start
            | Kind::Heartbeat
            | Kind::SettleOk
            | Kind::SettleFail
            | Kind::SettleRelease
            | Kind::SettleSnooze
            | Kind::SettleCancelled => self.leases.keys().copied().collect(),
        };
        ids.into_iter().filter(|id| side == Side::A || id.0.as_u128() != PRIVATE).collect()
    }

    fn held(&self, side: Side) -> Vec<LeaseRef> {
        ordered(side, self.leases.values().copied().collect(), |lease| lease.id)
    }

    fn succeed(&self, side: Side, rows: &[u128], retain: Retention) -> Verb {
        let mut held = self.held(side);
        held.retain(|lease| rows.contains(&lease.id.0.as_u128()));
        let settlement = |lease| Settlement { lease, outcome: succeeded(), retain };
        Settle { settlements: held.into_iter().map(settlement).collect() }.into()
    }

    fn settle(&self, side: Side, outcome: &Outcome) -> Verb {
        let settlement = |lease| Settlement::of(lease, outcome.clone());
        Settle { settlements: self.held(side).into_iter().map(settlement).collect() }.into()
    }
}

fn succeeded() -> Outcome {
    Outcome::Succeeded { result: Json::empty(), rows_affected: Some(7) }
}

/// The job of row `number`; every row has its own, so that a claim can be asked to leave out single rows.
pub(crate) fn row_job(number: u128) -> JobName {
    name(&format!("row_{number:02}"))
}

fn name(name: &str) -> JobName {
    JobName::new(name).expect("names in the scene are plain")
}

fn row_id(number: u128) -> ExecutionId {
    ExecutionId(Uuid::from_u128(number))
}

/// Everything that the store lists.
fn listing(store: &MemoryStore) -> Vec<Execution> {
    let verb = ListExecutions { limit: MAX_BATCH, ..ListExecutions::default() };
    match store.apply(&Request { id: RequestId(Uuid::nil()), verb: verb.into() }) {
        Ok(Reply::ExecutionPage(page)) => page.executions,
        other => panic!("a list is answered with a page, not {other:?}"),
    }
}

/// Makes the scene on a memory store, noting each request.
struct Maker {
    clock: ManualClock,
    setup: Vec<(Timestamp, Request)>,
    next: u128,
}

impl Maker {
    fn make(&mut self) -> (BTreeMap<ExecutionId, LeaseRef>, scene_locks::Held) {
        let store = MemoryStore::new(self.clock.clone());
        let locks = self.keep_locks(&store);
        let registration = |job: JobName| Registration {
            job,
            spec_hash: hash("spec"),
            schedule_hash: hash("schedule"),
            rules: Some(RegisteredRules { stored_schedules: true, ..rules() }),
        };
        let jobs = Scene::jobs().into_iter().filter(|job| job.as_str() != "brand").map(registration).collect();
        self.send(&store, Register { runner: runner(Side::A), jobs });
        let entries = ROWS.iter().filter(|row| row.key.is_none()).map(planned_row).collect();
        self.send(&store, Plan { entries });
        for (row, key) in ROWS.iter().filter_map(|row| Some((row, row.key?))) {
            let mut item = new_item(row.number, row.limit, key, Counts::Live);
            if row.becomes == Becomes::Waiting {
                item.due = Due::At(WAITING_SINCE);
            }
            // See [`Kind::ClaimPlain`].
            if row.becomes == Becomes::Waiting || PLAIN.contains(&row.number) {
                item.policy.audit = Audit::Exceptions;
            }
            self.send(&store, Enqueue { queue: row_job(row.number), max_items: None, items: vec![item] });
        }
        // Makes the gate of the queue that has a bound.
        self.send(&store, Enqueue { queue: name("fresh"), max_items: Some(3), items: Vec::new() });
        let cursors = [PRIVATE_JOB, "planned", "row_19", "stopped"].map(|job| PlanEntry {
            job: name(job),
            scope: Scope::global(),
            spec_hash: hash("spec"),
            schedule_hash: None,
            expect: (job == "row_19").then_some(BEFORE - Duration::from_secs(9)),
            to: BEFORE,
            delay_ms: 0,
            slots: if job == "row_19" { vec![successor()] } else { Vec::new() },
            skipped: Vec::new(),
        });
        self.send(&store, Plan { entries: cursors.to_vec() });
        self.send(&store, put_schedule(name("stopped"), "own"));
        self.send(&store, PauseJob { job: name("stopped"), scope: None, actor: None });
        let done = Outcome::Succeeded { result: Json::empty(), rows_affected: None };
        self.finish(&store, Becomes::Succeeded, &done);
        self.finish(&store, Becomes::Dead, &Outcome::Failed { failure: failure(), retry: Retry::Never });
        self.finish(&store, Becomes::Retryable, &Outcome::Failed { failure: failure(), retry: Retry::AfterMs(1) });
        let mut leases = self.take(&store, |becomes| match becomes {
            Becomes::Expired { started, cancelled } => Some((started, cancelled)),
            Becomes::ExpiredLate => Some((false, false)),
            _ => None,
        });
        self.clock.set(NOW);
        leases.extend(self.take(&store, |becomes| match becomes {
            Becomes::Running { started, cancelled } => Some((started, cancelled)),
            _ => None,
        }));
        (leases, locks)
    }

    fn keep_locks(&mut self, store: &MemoryStore) -> scene_locks::Held {
        let mut held = scene_locks::Held::new();
        for (lock, ttl_ms) in scene_locks::KEPT {
            let tried = self.send(store, lock.acquire(Side::A, ttl_ms));
            let told = lock.told(Token(Uuid::from_u128(self.next)), &tried);
            if lock == scene_locks::Lock::Released {
                self.send(store, ReleaseLock { lock: told.clone() });
            }
            held.insert(lock, told);
        }
        held
    }

    fn send<V: Operation>(&mut self, store: &MemoryStore, verb: V) -> V::Reply {
        self.next += 1;
        let request = Request { id: RequestId(Uuid::from_u128(self.next)), verb: verb.into() };
        let reply = store.apply(&request).expect("the scene is made of requests that are accepted");
        self.setup.push((self.clock.now(), request));
        V::reply(reply).expect("a verb is answered by its reply")
    }

    /// Claims the chosen rows, starts some and asks for the cancellation of some.
    fn take(
        &mut self,
        store: &MemoryStore,
        chosen: impl Fn(Becomes) -> Option<(bool, bool)>,
    ) -> BTreeMap<ExecutionId, LeaseRef> {
        let rows: Vec<_> = ROWS.iter().filter_map(|row| Some((row.number, chosen(row.becomes)?))).collect();
        let jobs = rows.iter().map(|(number, _)| row_job(*number)).collect();
        let verb = Claim { runner: runner(Side::A), jobs, limit: MAX_BATCH, charge: Charge::AtStart, rate: None };
        let claimed = self.send(store, verb).executions;
        assert_eq!(claimed.len(), rows.len(), "all chosen rows are claimable");
        let leases: BTreeMap<_, _> = claimed.iter().filter_map(|row| Some((row.id, row.lease_ref()?))).collect();
        let started = rows.iter().filter(|(_, (started, _))| *started);
        let started = started.filter_map(|(number, _)| leases.get(&row_id(*number)).copied()).collect();
        self.send(store, Start { leases: started });
        let cancelled = rows.iter().filter(|(_, (_, cancelled))| *cancelled).map(|(number, _)| row_id(*number));
        self.send(store, Cancel { ids: cancelled.collect(), actor: None });
        leases
    }

    fn finish(&mut self, store: &MemoryStore, wanted: Becomes, outcome: &Outcome) {
        let leases = self.take(store, |becomes| (becomes == wanted).then_some((true, false)));
        let settlement = |lease: &LeaseRef| Settlement::of(*lease, outcome.clone());
        self.send(store, Settle { settlements: leases.values().map(settlement).collect() });
    }
}

/// The newer slot that makes row 19 pointless. Not due yet: no claim takes two rows of one job.
fn successor() -> NewExecution {
    let due_at = NOW + Duration::from_secs(3_600);
    NewExecution { slot_at: Some(BEFORE), due_at, ..new_row(25, None, Reentry::Allow) }
}

fn planned_row(row: &Kept) -> PlanEntry {
    let mut slot = new_row(row.number, row.limit, row.reentry);
    let mut to = BEFORE;
    if row.reentry == Reentry::Forbid {
        // The last that a rescue takes: a rescue that passes it over took the others, as one with a lower limit does.
        slot.policy.lease_ms = LEASE_MS + 1_000;
    }
    match row.becomes {
        Becomes::Late | Becomes::ExpiredLate => slot.expires_at = Some(BEFORE + Duration::from_secs(10)),
        Becomes::Superseded => {
            to = BEFORE - Duration::from_secs(9);
            slot.slot_at = Some(to);
            slot.policy.supersede = Supersede::ByNewerSlot;
        }
        Becomes::Waiting => slot.due_at = WAITING_SINCE,
        _ => {}
    }
    if PLAIN.contains(&row.number) {
        slot.policy.audit = Audit::Exceptions;
    }
    PlanEntry {
        job: row_job(row.number),
        scope: Scope::global(),
        spec_hash: hash("spec"),
        schedule_hash: None,
        expect: None,
        to,
        delay_ms: 0,
        slots: vec![slot],
        skipped: Vec::new(),
    }
}
