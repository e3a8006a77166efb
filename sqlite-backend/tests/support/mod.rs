//! What the tests of this crate share: a folder that cleans up, chance by seed, requests, a child process.
#![expect(dead_code, reason = "each test file is a crate of its own and uses a part")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use tourbillon::{
    model::{
        Audit, Execution, ExecutionId, Incarnation, JobName, LeaseRef, Limit, NewExecution, Policy, Reentry,
        RequestId, Scope, Supersede, Timestamp, transition::Charge,
    },
    store::{Claim, Claimed, Plan, PlanEntry, Register, Registration, Reply, Request, SpecHash, Verb},
};
use uuid::Uuid;

/// A folder of its own for each test, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tourbillon-sqlite-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Chance by seed (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }

    pub(crate) fn request(&mut self, verb: impl Into<Verb>) -> Request {
        Request { id: RequestId(self.uuid()), verb: verb.into() }
    }
}

pub(crate) fn job(name: &str) -> JobName {
    JobName::new(name).unwrap()
}

pub(crate) fn hash(text: &str) -> SpecHash {
    SpecHash(text.into())
}

pub(crate) fn register(chance: &mut Chance, name: &str) -> Request {
    let job = Registration { job: job(name), spec_hash: hash("spec"), schedule_hash: hash("schedule"), rules: None };
    chance.request(Register { runner: Incarnation(Uuid::nil()), jobs: vec![job] })
}

pub(crate) fn execution(id: Uuid, due_at: Timestamp) -> NewExecution {
    NewExecution {
        id: ExecutionId(id),
        slot_at: None,
        due_at,
        expires_at: None,
        priority: 0,
        payload: None,
        unique_key: None,
        policy: Policy {
            max_attempts: 3,
            lease_ms: 60_000,
            reentry: Reentry::Allow,
            supersede: Supersede::Never,
            limit: None::<Limit>,
            audit: Audit::Off,
        },
    }
}

/// Moves the cursor of `name` in the scope called `scope` from nothing to the epoch and makes `rows` due rows.
pub(crate) fn plan(chance: &mut Chance, name: &str, scope: &str, rows: usize) -> Request {
    let slots = (0..rows).map(|_| execution(chance.uuid(), Timestamp::EPOCH)).collect();
    let entry = PlanEntry {
        job: job(name),
        scope: Scope::new("shard", scope).unwrap(),
        spec_hash: hash("spec"),
        schedule_hash: None,
        expect: None,
        to: Timestamp::EPOCH,
        delay_ms: 0,
        slots,
        skipped: Vec::new(),
    };
    chance.request(Plan { entries: vec![entry] })
}

pub(crate) fn claim(chance: &mut Chance, name: &str, limit: u32) -> Request {
    let runner = Incarnation(chance.uuid());
    chance.request(Claim { runner, jobs: vec![job(name)], limit, charge: Charge::AtStart, rate: None })
}

pub(crate) fn claimed(reply: Reply) -> Claimed {
    match reply {
        Reply::Claimed(claimed) => claimed,
        other => panic!("not the reply to a claim: {other:?}"),
    }
}

pub(crate) fn leases(rows: &[Execution]) -> Vec<LeaseRef> {
    rows.iter().map(|row| row.lease_ref().expect("claimed rows run")).collect()
}

const CHILD: &str = "TOURBILLON_SQLITE_CHILD";

/// The file that a child process is to work on; `None` in the test itself.
pub(crate) fn child_file() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// This same test as a process of its own, to work on `file`.
pub(crate) fn child(test: &str, file: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, file);
    command
}
