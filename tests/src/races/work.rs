//! Owns what one task of a race does: draws verbs, keeps the leases it was given, some of them for too long.
//!
//! Judges nothing; every call goes into its log.

use std::{sync::Arc, time::Duration};

use tourbillon::{
    model::{
        Audit, ErrorCode, Execution, ExecutionId, Failure, Incarnation, JobName, Json, LeaseRef, Limit, NewExecution,
        Outcome, Policy, Reentry, RequestId, Retry, Scope, Supersede, Timestamp, transition::Charge,
    },
    runtime::{Monotonic, Runtime},
    store::{
        Cancel, Claim, Heartbeat, Operation, Plan, PlanEntry, Prune, ReadCursors, Register, Registration, Reply,
        Request, Requeue, Rescue, Settle, Settlement, SpecHash, Start, Store, keeps_receipt,
    },
};
use uuid::Uuid;

use super::log::{Call, is_empty_claim};

/// A repeatable stream of chance (splitmix64), one per task.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        let len = u64::try_from(items.len()).ok().filter(|len| *len > 0)?;
        items.get(usize::try_from(self.below(len)).ok()?).cloned()
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }
}

/// Pause before a call is repeated whose answer was "unavailable" or never came.
const PAUSE: Duration = Duration::from_millis(20);

/// Leases that a task remembers after it should have let go of them.
const POCKET: usize = 12;

/// Keeps what the checker reads in the end: what goes is what a store counts limits with, where nothing uses it.
pub(crate) const PRUNE: Prune = Prune { history_ms: u64::MAX, receipts_ms: u64::MAX, edits_ms: 0, limit: 100 };

/// One of the tasks.
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) runtime: Runtime,
    pub(crate) chance: Chance,
    pub(crate) jobs: Vec<JobName>,
    /// No call is repeated after this.
    pub(crate) give_up_at: Monotonic,
    pub(crate) calls: Vec<Call>,
    me: Incarnation,
    pocket: Vec<LeaseRef>,
    seen: Vec<ExecutionId>,
}

impl Worker {
    pub(crate) fn new(
        number: usize,
        store: Arc<dyn Store>,
        jobs: Vec<JobName>,
        seed: u64,
        give_up_at: Monotonic,
    ) -> Self {
        let mut chance = Chance(seed ^ (number as u64).wrapping_mul(0xd6e8_feb8_6659_fd93));
        let me = Incarnation(chance.uuid());
        let runtime = Runtime::tokio();
        Self {
            number,
            store,
            runtime,
            chance,
            jobs,
            give_up_at,
            calls: Vec::new(),
            me,
            pocket: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Sends a request until it is answered, and keeps every try.
    pub(crate) async fn send(&mut self, request: Request) -> Option<Reply> {
        loop {
            let reply = self.store.call(request.clone()).await;
            self.calls.push(Call { worker: self.number, request: request.clone(), reply: reply.clone() });
            match reply {
                Ok(reply) => return Some(reply),
                Err(error) if error.is_transient() && self.runtime.monotonic() < self.give_up_at => {
                    self.runtime.sleep(PAUSE).await;
                }
                Err(_) => return None,
            }
        }
    }

    pub(crate) async fn call<V: Operation>(&mut self, verb: V) -> Option<V::Reply> {
        let request = Request { id: RequestId(self.chance.uuid()), verb: verb.into() };
        let reply = self.send(request).await?;
        V::reply(reply)
    }

    /// Registers the jobs; the first of all calls.
    pub(crate) async fn register(&mut self) {
        let registration = |job: &JobName| Registration {
            job: job.clone(),
            spec_hash: SpecHash("spec".into()),
            schedule_hash: SpecHash("schedule".into()),
            rules: None,
        };
        let jobs = self.jobs.iter().map(registration).collect();
        self.call(Register { runner: self.me, jobs }).await;
    }

    /// One round of whatever chance draws.
    pub(crate) async fn step(&mut self) {
        match self.chance.below(100) {
            0..56 => self.claim_and_work().await,
            56..66 => self.touch_stale_leases().await,
            66..74 => self.settle_late().await,
            74..78 => drop(self.call(Rescue { limit: 50 }).await),
            78..80 => drop(self.call(PRUNE).await),
            80..84 => {
                let ids: Vec<_> = self.chance.pick(&self.seen).into_iter().collect();
                self.call(Cancel { ids, actor: None }).await;
            }
            84..88 => {
                let ids: Vec<_> = self.chance.pick(&self.seen).into_iter().collect();
                self.call(Requeue { ids, actor: None }).await;
            }
            88..95 => self.plan(6).await,
            _ => self.repeat_a_request().await,
        }
        if self.chance.below(4) == 0 {
            let pause = Duration::from_micros(self.chance.below(6_000));
            self.runtime.sleep(pause).await;
        }
    }

    /// Moves a cursor that all tasks share by compare-and-set, and makes rows of every kind.
    pub(crate) async fn plan(&mut self, rows: u64) {
        let Some(job) = self.chance.pick(&self.jobs) else { return };
        let Some(read) = self.call(ReadCursors { jobs: vec![job.clone()] }).await else { return };
        let expect = read.jobs.first().and_then(|job| job.cursors.first()).map(|cursor| cursor.at);
        let to = read.now;
        if expect.is_some_and(|at| at >= to) {
            return;
        }
        let slots: Vec<_> = (0..rows).map(|n| self.row(to, n)).collect();
        self.remember(slots.iter().map(|slot| slot.id));
        let entry = PlanEntry {
            job,
            scope: Scope::global(),
            spec_hash: SpecHash("spec".into()),
            schedule_hash: None,
            expect,
            to,
            delay_ms: 0,
            slots,
            skipped: Vec::new(),
        };
        self.call(Plan { entries: vec![entry] }).await;
    }

    fn row(&mut self, now: Timestamp, n: u64) -> NewExecution {
        let limit = match self.chance.below(12) {
            0 => Some(Limit { key: "solo".to_owned(), max: 1 }),
            1 | 2 => Some(Limit { key: "trio".to_owned(), max: 3 }),
            _ => None,
        };
        let due_at = now + Duration::from_millis(self.chance.below(3) * 10);
        NewExecution {
            id: ExecutionId(self.chance.uuid()),
            slot_at: (n == 0).then_some(now),
            due_at,
            expires_at: (self.chance.below(20) == 0).then(|| due_at + Duration::from_millis(5)),
            priority: if self.chance.below(8) == 0 { -1 } else { 0 },
            payload: None,
            unique_key: None,
            policy: Policy {
                max_attempts: u32::try_from(1 + self.chance.below(4)).unwrap_or(1),
                lease_ms: 30 + 40 * self.chance.below(3),
                reentry: if self.chance.below(3) == 0 { Reentry::Forbid } else { Reentry::Allow },
                supersede: if n == 0 && self.chance.below(2) == 0 {
                    Supersede::ByNewerSlot
                } else {
                    Supersede::Never
                },
                limit,
                audit: Audit::ALL[usize::try_from(2 - self.chance.below(6).min(2)).unwrap_or(2)],
            },
        }
    }

    fn remember(&mut self, ids: impl IntoIterator<Item = ExecutionId>) {
        for id in ids {
            if self.seen.len() < 200 {
                self.seen.push(id);
            } else {
                let n = self.chance.below(200);
                self.seen[usize::try_from(n).unwrap_or(0)] = id;
            }
        }
    }

    fn pocket(&mut self, lease: LeaseRef) {
        if self.pocket.len() == POCKET {
            self.pocket.remove(0);
        }
        self.pocket.push(lease);
    }

    async fn claim_and_work(&mut self) {
        let limit = u32::try_from(1 + self.chance.below(6)).unwrap_or(1);
        let charge = match self.chance.below(10) {
            0 => Charge::AtClaim,
            1..=3 => Charge::AtClaimIfHarmless,
            _ => Charge::AtStart,
        };
        // One alone, for the ways that stores have for queues.
        let one = self.chance.pick(&self.jobs).filter(|_| self.chance.below(3) == 0);
        let jobs = one.map_or_else(|| self.jobs.clone(), |job| vec![job]);
        let claim = Claim { runner: self.me, jobs, limit, charge, rate: None };
        let Some(claimed) = self.call(claim).await else { return };
        self.remember(claimed.executions.iter().map(|row| row.id));
        let leases: Vec<LeaseRef> = claimed.executions.iter().filter_map(Execution::lease_ref).collect();
        if leases.is_empty() || self.chance.below(12) == 0 {
            // Dies between claim and start: costs no attempt.
            leases.into_iter().for_each(|lease| self.pocket(lease));
            return;
        }
        if self.chance.below(12) == 0 {
            self.settle(leases, Some(Outcome::Released)).await;
            return;
        }
        let Some(started) = self.call(Start { leases: leases.clone() }).await else { return };
        let held: Vec<_> =
            leases.iter().zip(&started.outcomes).filter(|(_, told)| told.is_ok()).map(|(l, _)| *l).collect();
        if self.chance.below(10) == 0 {
            // Told twice, charged once.
            self.call(Start { leases: held.clone() }).await;
        }
        if self.chance.below(4) == 0 {
            self.call(Heartbeat::of(held.clone())).await;
        }
        let (silent, ending): (Vec<_>, Vec<_>) = held.into_iter().partition(|_| self.chance.below(7) == 0);
        silent.into_iter().for_each(|lease| self.pocket(lease));
        // What it settled it may try to touch again later.
        if let Some(lease) = ending.first().filter(|_| self.chance.below(3) == 0) {
            self.pocket(*lease);
        }
        self.settle(ending, None).await;
    }

    async fn settle(&mut self, leases: Vec<LeaseRef>, outcome: Option<Outcome>) {
        let settlements: Vec<_> = leases
            .into_iter()
            .map(|lease| Settlement::of(lease, outcome.clone().unwrap_or_else(|| self.outcome())))
            .collect();
        self.call(Settle { settlements }).await;
    }

    fn outcome(&mut self) -> Outcome {
        let failure = Failure::new(ErrorCode::handler_error(), "it broke");
        match self.chance.below(20) {
            0..9 => Outcome::Succeeded { result: Json::empty(), rows_affected: Some(1) },
            9..14 => Outcome::Failed { failure, retry: Retry::AfterMs(self.chance.below(30)) },
            14 => Outcome::Failed { failure, retry: Retry::Never },
            15 | 16 => Outcome::Snoozed { for_ms: self.chance.below(30) },
            17 => Outcome::Cancelled { failure },
            _ => Outcome::Released,
        }
    }

    async fn touch_stale_leases(&mut self) {
        let mut leases: Vec<LeaseRef> = self.pocket.clone();
        leases.sort_unstable();
        leases.dedup_by_key(|lease| lease.id);
        if self.chance.below(4) == 0 {
            self.call(Start { leases }).await;
        } else {
            self.call(Heartbeat::of(leases)).await;
        }
    }

    async fn settle_late(&mut self) {
        self.pocket.sort_unstable();
        let mut leases = std::mem::take(&mut self.pocket);
        leases.dedup_by_key(|lease| lease.id);
        self.pocket = leases.split_off(leases.len() / 2);
        self.settle(leases, None).await;
    }

    /// The same request once more must get the same answer; the checker compares them.
    async fn repeat_a_request(&mut self) {
        let with_receipt = |call: &&Call| {
            keeps_receipt(&call.request.verb) && call.reply.as_ref().is_ok_and(|reply| !is_empty_claim(reply))
        };
        let recent = self.calls.iter().rev().take(30).filter(with_receipt).map(|call| call.request.clone());
        let recent: Vec<Request> = recent.collect();
        if let Some(request) = self.chance.pick(&recent) {
            self.send(request).await;
        }
    }

    /// Works off what is due, obediently.
    pub(crate) async fn drain(&mut self) {
        let claim =
            Claim { runner: self.me, jobs: self.jobs.clone(), limit: 200, charge: Charge::AtStart, rate: None };
        if let Some(claimed) = self.call(claim).await {
            let leases: Vec<_> = claimed.executions.iter().filter_map(Execution::lease_ref).collect();
            self.call(Start { leases: leases.clone() }).await;
            let done = Outcome::Succeeded { result: Json::empty(), rows_affected: None };
            self.settle(leases, Some(done)).await;
        }
        self.call(Rescue { limit: 200 }).await;
    }
}
