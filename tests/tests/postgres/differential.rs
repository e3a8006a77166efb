//! Owns the quick comparison: random requests, one after the other, on a manual clock; every reply must be equal to
//! the in-memory store's.

use std::time::Duration;

use libtest_mimic::Failed;
use tourbillon::{
    model::{
        Audit, ErrorCode, Execution, ExecutionId, Failure, Incarnation, JobName, Json, LeaseRef, Limit, NewExecution,
        Outcome, Policy, Reentry, RequestId, Retention, Retry, Scope, SkipReason, SkippedSlots, State, Supersede,
        Timestamp, TraceContext, transition::Charge,
    },
    store::{
        Cancel, Claim, Counts, DatabaseClock, Due, Enqueue, Heartbeat, ListExecutions, ListSkipped, ManualClock,
        MemoryStore, NewItem, Plan, PlanEntry, Prune, ReadClock, ReadCursors, ReadStats, Register, Registration,
        Reply, Request, Requeue, Rescue, Settle, Settlement, SpecHash, Start, Store, StoreError, Unique, Verb,
    },
};
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;
use uuid::Uuid;

use crate::Case;

pub(crate) const CASES: &[Case] = &[("replies_equal_the_memory_store", replies_equal_the_memory_store)];

const SEEDS: u64 = 12;
const STEPS: u32 = 400;

/// Another one for each row.
fn trace(id: ExecutionId) -> Option<TraceContext> {
    TraceContext::from_stored(&format!("00-{}-00f067aa0ba902b7-01 v=\"1", id.0.simple()))
}

/// Splitmix64: enough to pick cases, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        (!items.is_empty()).then(|| items[self.below(items.len() as u64) as usize].clone())
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.roll(), self.roll())
    }
}

struct World {
    dice: Dice,
    clock: ManualClock,
    leases: Vec<LeaseRef>,
    ids: Vec<ExecutionId>,
    past: Vec<Request>,
    replies: String,
}

/// Each must turn up in some reply, else the comparison says nothing about it.
const EXPECTED_IN_REPLIES: &[&str] = &[
    r#""made":[""#,
    r#""cursor_moved":null"#,
    r#""cursor_moved":1"#,
    "spec_superseded",
    "not_due",
    r#""skipped":[["#,
    r#""superseded"]"#,
    r#""late"]"#,
    r#""clamped":[""#,
    r#""ended":[["#,
    r#""dead"]"#,
    r#"{"Ok":"succeeded"}"#,
    r#"{"Ok":"retryable"}"#,
    r#"{"Ok":"dead"}"#,
    r#"{"Ok":"cancelled"}"#,
    r#"{"Ok":"scheduled"}"#,
    r#"{"Ok":2}"#,
    "not_started",
    "lease_lost",
    r#""cancel":"requested""#,
    r#""requeued":{"outcomes":[{"requeued":"#,
    "still_live",
    "not_found",
    "already_terminal",
    r#"["now""#,
    r#""requested""#,
    "schedule_changed",
    "policy_changed",
    "unchanged",
    r#""executions":1"#,
];

impl World {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn job(&mut self) -> JobName {
        let name = ["alpha", "Beta", "_gamma", "äther"][self.dice.below(4) as usize];
        JobName::new(name).expect("a name")
    }

    fn scope(&mut self) -> Scope {
        match self.dice.below(4) {
            0 => Scope::global(),
            1 => Scope::new("tenant", "Z").expect("a scope"),
            2 => Scope::new("tenant", "a").expect("a scope"),
            _ => Scope::new("Tenant", "a").expect("a scope"),
        }
    }

    fn policy(&mut self) -> Policy {
        Policy {
            max_attempts: 1 + self.dice.below(3) as u32,
            lease_ms: 1 + self.dice.below(4_000),
            reentry: if self.dice.one_in(3) { Reentry::Forbid } else { Reentry::Allow },
            supersede: if self.dice.one_in(3) { Supersede::ByNewerSlot } else { Supersede::Never },
            limit: self.dice.one_in(2).then(|| Limit {
                key: ["k", "K", "é"][self.dice.below(3) as usize].to_owned(),
                max: 1 + self.dice.below(3) as u32,
            }),
            audit: [Audit::Off, Audit::Exceptions, Audit::All][self.dice.below(3) as usize],
        }
    }

    fn slot(&mut self, slot_at: Timestamp) -> NewExecution {
        let now = self.now();
        let id = ExecutionId(self.dice.uuid());
        self.ids.push(id);
        let around = |dice: &mut Dice| now.offset_micros(dice.below(4_000_001) as i64 - 2_000_000);
        NewExecution {
            id,
            slot_at: (!self.dice.one_in(6)).then_some(slot_at),
            due_at: around(&mut self.dice),
            expires_at: self.dice.one_in(4).then(|| around(&mut self.dice)),
            priority: self.dice.below(4) as i16 - 1,
            payload: self.dice.one_in(3).then(|| json(r#"{"b":[1,2.50,"ü\"\\\u0001"],"a":null}"#)),
            unique_key: None,
            policy: self.policy(),
        }
    }

    fn enqueue(&mut self) -> Verb {
        let items = (0..1 + self.dice.below(3)).map(|_| self.item()).collect();
        let max_items = self.dice.one_in(4).then(|| self.dice.below(6));
        Enqueue { queue: self.job(), max_items, items }.into()
    }

    fn item(&mut self) -> NewItem {
        let row = self.slot(Timestamp::EPOCH);
        let key = format!("é\"{}", self.dice.below(4));
        let counts = [Counts::Live, Counts::Succeeded, Counts::Finished][self.dice.below(3) as usize];
        let unique = Unique { key, period_ms: self.dice.one_in(3).then(|| 1 + self.dice.below(3_000)), counts };
        let delay_ms = self.dice.below(2_000);
        NewItem {
            id: row.id,
            scope: self.scope(),
            due: if self.dice.one_in(3) { Due::At(row.due_at) } else { Due::AfterMs(delay_ms) },
            ttl_ms: self.dice.one_in(3).then(|| delay_ms + 1 + self.dice.below(4_000)),
            priority: row.priority,
            payload: row.payload,
            unique: self.dice.one_in(2).then_some(unique),
            policy: row.policy,
            trace: if self.dice.one_in(3) { trace(row.id) } else { None },
        }
    }

    fn plan(&mut self, memory: &MemoryStore) -> Verb {
        let mut entries: Vec<PlanEntry> = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let (job, scope) = (self.job(), self.scope());
            if entries.iter().any(|entry| entry.job == job && entry.scope == scope) {
                continue;
            }
            let seen = memory.apply(&request(self.dice.uuid(), ReadCursors { jobs: vec![job.clone()] }));
            let Ok(Reply::CursorsRead(seen)) = seen else { panic!("cursors are read") };
            let cursor = seen.jobs[0].cursors.iter().find(|cursor| cursor.scope == scope);
            let at = cursor.map(|cursor| cursor.at);
            let own = SpecHash(["daily", "weekly"][self.dice.below(2) as usize].into());
            let schedule_hash = match cursor {
                _ if self.dice.one_in(6) => Some(own),
                Some(cursor) if !self.dice.one_in(12) => cursor.schedule_hash.clone(),
                _ => None,
            };
            let known = seen.jobs[0].spec_hash.clone().unwrap_or(SpecHash("none".into()));
            let to = self.now().offset_micros(500_000 - self.dice.below(4_000_000) as i64);
            let slots = (0..self.dice.below(5))
                .map(|_| {
                    let back = self.dice.below(6) as i64 * 500_000;
                    self.slot(to.offset_micros(-back))
                })
                .collect();
            let skipped = (0..self.dice.below(3)).map(|_| SkippedSlots {
                after: to.offset_micros(-(self.dice.below(3) as i64)),
                through: to,
                count: self.dice.one_in(2).then(|| self.dice.below(9)),
                reason: SkipReason::ALL[self.dice.below(4) as usize],
            });
            let skipped = skipped.collect();
            entries.push(PlanEntry {
                job,
                scope,
                spec_hash: if self.dice.one_in(10) { SpecHash("stale".into()) } else { known },
                schedule_hash,
                expect: if self.dice.one_in(8) { Some(to) } else { at },
                to,
                delay_ms: self.dice.below(300),
                slots,
                skipped,
            });
        }
        Plan { entries }.into()
    }

    fn held(&mut self) -> Vec<LeaseRef> {
        let mut held: Vec<LeaseRef> = Vec::new();
        for _ in 0..self.dice.below(6) {
            let Some(mut lease) = self.dice.pick(&self.leases) else { break };
            if self.dice.one_in(12) {
                lease.fence.0 += 1;
            }
            if self.dice.one_in(12) {
                lease.id = ExecutionId(self.dice.uuid());
            }
            if held.iter().all(|other| other.id != lease.id) {
                held.push(lease);
            }
        }
        held
    }

    fn outcome(&mut self) -> Outcome {
        let failure = Failure::new(ErrorCode::custom("Odd"), "it's \"broken\"\n\u{1}é");
        match self.dice.below(7) {
            0 | 1 => Outcome::Succeeded {
                result: json(r#"{"n":1e400,"s":"x"}"#),
                rows_affected: self.dice.one_in(2).then(|| self.dice.below(100)),
            },
            2 => Outcome::Failed { failure, retry: Retry::Never },
            3 => Outcome::Failed { failure, retry: Retry::AfterMs(self.dice.below(2_000)) },
            4 => Outcome::Released,
            5 => Outcome::Snoozed { for_ms: self.dice.below(2_000) },
            _ => Outcome::Cancelled { failure },
        }
    }

    fn some_ids(&mut self) -> Vec<ExecutionId> {
        let mut ids: Vec<ExecutionId> =
            (0..1 + self.dice.below(4)).filter_map(|_| self.dice.pick(&self.ids)).collect();
        ids.push(ExecutionId(self.dice.uuid()));
        ids.sort_by_key(|id| id.0.as_u128().rotate_left(64));
        ids.dedup();
        ids
    }

    fn verb(&mut self, memory: &MemoryStore) -> Verb {
        let now = self.now();
        match self.dice.below(35) {
            0..=5 => self.plan(memory),
            6..=12 => {
                let jobs = (0..4).map(|_| self.job()).collect();
                let charge = match self.dice.below(3) {
                    0 => Charge::AtClaim,
                    1 => Charge::AtClaimIfHarmless,
                    _ => Charge::AtStart,
                };
                let runner = Incarnation(self.dice.uuid());
                Claim { runner, jobs, limit: 1 + self.dice.below(8) as u32, charge, rate: None }.into()
            }
            13..=16 => Start { leases: self.held() }.into(),
            17..=18 => Heartbeat::of(self.held()).into(),
            19..=22 => {
                let held = self.held();
                let settlements = held.into_iter().map(|lease| {
                    let retain = [Retention::Everything, Retention::Failures, Retention::Nothing];
                    let retain = retain[self.dice.below(3) as usize];
                    Settlement { retain, ..Settlement::of(lease, self.outcome()) }
                });
                Settle { settlements: settlements.collect() }.into()
            }
            23 | 24 => Rescue { limit: 1 + self.dice.below(3) as u32 }.into(),
            25 => Cancel { ids: self.some_ids(), actor: None }.into(),
            26 => Requeue { ids: self.some_ids(), actor: None }.into(),
            27 => {
                let job = self.job();
                let hash = |dice: &mut Dice| SpecHash(["1", "2"][dice.below(2) as usize].into());
                let registration = Registration {
                    job,
                    spec_hash: hash(&mut self.dice),
                    schedule_hash: hash(&mut self.dice),
                    rules: None,
                };
                Register { runner: Incarnation(self.dice.uuid()), jobs: vec![registration] }.into()
            }
            32..=34 => self.enqueue(),
            28 => ReadCursors { jobs: (0..3).map(|_| self.job()).collect() }.into(),
            29 => ListExecutions {
                job: self.dice.one_in(2).then(|| self.job()),
                id: if self.dice.one_in(3) { self.dice.pick(&self.ids) } else { None },
                states: (0..self.dice.below(3)).map(|_| State::ALL[self.dice.below(7) as usize]).collect(),
                after: if self.dice.one_in(2) {
                    self.dice.pick(&self.ids).map(|id| (id, tourbillon::model::Generation(1)))
                } else {
                    None
                },
                limit: 1 + self.dice.below(20) as u32,
            }
            .into(),
            30 => ListSkipped {
                job: self.dice.one_in(2).then(|| self.job()),
                offset: self.dice.below(5) as u32,
                limit: 1 + self.dice.below(50) as u32,
            }
            .into(),
            _ if self.dice.one_in(4) => Prune {
                history_ms: self.dice.below(20_000),
                receipts_ms: self.dice.below(20_000),
                edits_ms: self.dice.below(20_000),
                limit: 1 + self.dice.below(5) as u32,
            }
            .into(),
            _ if self.dice.one_in(2) => ReadStats {}.into(),
            _ => {
                self.clock.set(now.offset_micros(-1));
                ReadClock {}.into()
            }
        }
    }

    fn learn(&mut self, request: &Request, reply: &Result<Reply, StoreError>) {
        if let Ok(Reply::Claimed(claimed)) = reply {
            self.leases.extend(claimed.executions.iter().filter_map(Execution::lease_ref));
        }
        self.past.push(request.clone());
        self.replies +=
            &serde_json::to_string(reply.as_ref().expect("well-formed requests are answered")).expect("JSON");
    }
}

fn json(text: &str) -> Json {
    Json::from_stored(text)
}

fn request(id: Uuid, verb: impl Into<Verb>) -> Request {
    Request { id: RequestId(id), verb: verb.into() }
}

fn replies_equal_the_memory_store(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut replies = String::new();
        for seed in 0..SEEDS {
            let clock = ManualClock::new("2026-03-29T00:59:00Z".parse()?);
            let memory = MemoryStore::new(clock.clone());
            let store = PgStore::builder(&cluster.fresh_database()).clock(DatabaseClock::Manual(clock.clone()));
            let store = store.connect().await?;
            store.migrate().await?;
            let mut world = World {
                dice: Dice(seed),
                clock,
                leases: Vec::new(),
                ids: Vec::new(),
                past: Vec::new(),
                replies: String::new(),
            };
            for step in 0..STEPS {
                match world.dice.below(40) {
                    0 => world.clock.set(world.now().offset_micros(-(world.dice.below(5_000_000) as i64))),
                    _ => world.clock.advance(Duration::from_micros(world.dice.below(400_000))),
                }
                let request = if world.dice.one_in(15) && !world.past.is_empty() {
                    let past = world.past.clone();
                    world.dice.pick(&past).expect("not empty")
                } else {
                    let verb = world.verb(&memory);
                    request(world.dice.uuid(), verb)
                };
                let expected = memory.apply(&request);
                let found = store.call(request.clone()).await;
                if expected != found {
                    return Err(format!(
                        "seed {seed} step {step} now {}\nrequest {request:#?}\nmemory {expected:#?}\npostgres {found:#?}",
                        world.now()
                    )
                    .into());
                }
                world.learn(&request, &expected);
            }
            store.close().await;
            replies += &world.replies;
        }
        match EXPECTED_IN_REPLIES.iter().find(|part| !replies.contains(**part)) {
            None => Ok(()),
            Some(part) => Err(format!("no reply ever held {part}").into()),
        }
    })
}
