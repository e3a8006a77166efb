//! Owns a database with a known past, and the program run at it.

use std::{
    io::BufRead as _,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tourbillon::{
    model::{
        Audit, ErrorCode, ExecutionId, Failure, Incarnation, JobName, Json, LeaseRef, Limit, LockName, NewExecution,
        Outcome, Policy, Progress, Rate, Reentry, RequestId, Retry, Scope, SkipReason, SkippedSlots, Supersede,
        Timestamp, TraceContext, transition::Charge,
    },
    plan::{Begin, Cadence, CatchUp, Planner},
    store::{
        AcquireLock, Claim, DatabaseClock, Due, Enqueue, Heartbeat, ManualClock, NewItem, Operation, Plan, PlanEntry,
        Register, RegisteredRules, Registration, Settle, Settlement, SpecHash, Start, Store, ask,
    },
};
use tourbillon_pg::PgStore;
use tourbillon_sqlite::SqliteStore;
use tourbillon_tests::cluster::Cluster;
use uuid::Uuid;

/// Where the items were enqueued.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A database of its own, empty until [`Site::fill`].
pub(crate) struct Site {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    folder: PathBuf,
}

impl Site {
    pub(crate) fn new(kind: Kind) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tourbillon-ops-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let url = match kind {
            Kind::Sqlite => format!("sqlite://{}", folder.join("jobs.db").display()),
            Kind::Postgres => Cluster::shared().expect("a server").fresh_database(),
        };
        Self { kind, url, folder }
    }

    /// A database with a past: a digest that succeeded for acme and is dead for globex, a queue with one item running
    /// and one waiting, a missed slot, a leader.
    pub(crate) fn filled(kind: Kind) -> Self {
        let site = Self::new(kind);
        assert_eq!(site.run(&["migrate"]).code, 0);
        site.fill();
        site
    }

    pub(crate) fn fill(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let clock = ManualClock::new(START);
            let store = self.store(DatabaseClock::Manual(clock.clone())).await;
            Past { store, clock, serial: 0 }.tell().await;
        });
    }

    /// A queue of which one item an hour may begin, by the real clock: one runs and has said how far it is, one waits for its turn.
    pub(crate) fn limit(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let store = self.store(DatabaseClock::Database).await;
            Past { store, clock: ManualClock::new(START), serial: 0 }.limit().await;
        });
    }

    async fn store(&self, clock: DatabaseClock) -> Arc<dyn Store> {
        match self.kind {
            Kind::Sqlite => {
                let builder = SqliteStore::builder(self.folder.join("jobs.db")).clock(clock);
                Arc::new(builder.open().expect("the file opens"))
            }
            Kind::Postgres => {
                let builder = PgStore::builder(&self.url).max_connections(1).clock(clock);
                Arc::new(builder.connect().await.expect("the server answers"))
            }
        }
    }

    /// Registers a job that has its schedules from the database.
    pub(crate) fn register_stored(&self, job: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let store = self.store(DatabaseClock::Database).await;
            let rules = RegisteredRules { stored_schedules: true, planner: None, ..rules() };
            let hash = || SpecHash("stored".into());
            let registration =
                Registration { job: name(job), spec_hash: hash(), schedule_hash: hash(), rules: Some(rules) };
            let register = Register { runner: runner(), jobs: vec![registration] };
            ask(&store, RequestId(Uuid::from_u128(0xfeed)), register).await.expect("registered");
        });
    }

    /// Runs the program at this database.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        run(&[arguments, &["--database", &self.url]].concat())
    }

    /// Runs the program for a reader that is gone before it prints, as `| head` may be.
    pub(crate) fn unread(&self, arguments: &[&str]) -> Said {
        let mut command = program();
        command.args(arguments).args(["--database", &self.url]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = command.spawn().expect("the program starts");
        drop(program.stdout.take());
        said(program.wait_with_output().expect("it ends"))
    }

    /// Starts the program at this database; it is killed when the handle goes.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Begun {
        let mut command = program();
        command.args(arguments).args(["--database", &self.url]).stdout(Stdio::piped());
        Begun(command.spawn().expect("the program starts"))
    }

    /// The same, where it must be done; what it printed.
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.err);
        said.out
    }

    /// The same, read as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.says(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A folder left behind in the system's temporary one is no reason to fail.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// What the program left behind.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A program that runs until somebody stops it.
pub(crate) struct Begun(Child);

impl Begun {
    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.0.stdout.as_mut().expect("it is piped");
        std::io::BufReader::new(out).read_line(&mut line).expect("UTF-8");
        line
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // One that has ended already was what the test looked for, or has said why.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The program, without the environment's idea of a database.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tourbillon"));
    for name in ["TOURBILLON_DATABASE_URL", "TOURBILLON_SCHEMA", "TOURBILLON_OPERATOR"] {
        command.env_remove(name);
    }
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Said {
    said(program().args(arguments).output().expect("the program starts"))
}

fn said(Output { status, stdout, stderr }: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

/// 2026-01-01T00:00:00Z: far enough back that everything is overdue.
const START: Timestamp = Timestamp::from_secs(1_767_225_600);

struct Past {
    store: Arc<dyn Store>,
    clock: ManualClock,
    serial: u128,
}

impl Past {
    async fn tell(mut self) {
        for job in ["digest", "rollup"] {
            let hash = SpecHash("rules".into());
            let jobs = vec![Registration {
                job: name(job),
                spec_hash: hash.clone(),
                schedule_hash: hash,
                rules: Some(rules()),
            }];
            self.ask(Register { runner: runner(), jobs }).await;
        }
        self.slot("acme", Outcome::Succeeded { result: Json::empty(), rows_affected: Some(3) }).await;
        let failure = Failure::new(ErrorCode::handler_error(), "the mail server\nrefuses");
        self.slot("globex", Outcome::Failed { failure, retry: Retry::Never }).await;
        self.enqueue("mail", 0x11, "ada", policy()).await;
        self.enqueue("mail", 0x12, "bob", policy()).await;
        self.claim("mail", 1).await;
        let lock = AcquireLock { name: LockName::new("crl").expect("a name"), holder: runner(), ttl_ms: 60_000 };
        self.ask(lock).await;
    }

    async fn ask<V: Operation>(&mut self, verb: V) -> V::Reply {
        self.serial += 1;
        self.clock.set(self.clock.now().offset_micros(1_000_000));
        let id = RequestId(Uuid::from_u128(0xff00 + self.serial));
        ask(&self.store, id, verb).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// One slot of the digest of a tenant, run to its end; an older one is recorded as missed.
    async fn slot(&mut self, tenant: &str, outcome: Outcome) {
        let id = ExecutionId(Uuid::from_u128(if tenant == "acme" { 1 } else { 2 }));
        let before = |minutes: i64| START.offset_micros(-minutes * 60_000_000);
        let (after, through) = (before(20), before(10));
        let slot = NewExecution {
            id,
            slot_at: Some(before(5)),
            due_at: before(5),
            expires_at: None,
            priority: 0,
            payload: None,
            unique_key: None,
            policy: policy(),
        };
        let entry = PlanEntry {
            job: name("digest"),
            scope: Scope::new("tenant", tenant).expect("a scope"),
            spec_hash: SpecHash("rules".into()),
            schedule_hash: None,
            expect: None,
            to: before(5),
            delay_ms: 0,
            slots: vec![slot],
            skipped: vec![SkippedSlots { after, through, count: Some(2), reason: SkipReason::OutsideWindow }],
        };
        self.ask(Plan { entries: vec![entry] }).await;
        let lease = self.claim("digest", 1).await;
        self.ask(Start { leases: vec![lease] }).await;
        self.ask(Settle { settlements: vec![Settlement::of(lease, outcome)] }).await;
    }

    async fn limit(mut self) {
        let key = "the provider".to_owned();
        for id in [0x21, 0x22] {
            let policy = Policy { limit: Some(Limit { key: key.clone(), max: 9 }), ..policy() };
            self.enqueue("sms", id, "ada", policy).await;
        }
        let rate = Rate { key: Some(key), turn_us: 3_600_000_000, burst: 1 };
        let claim =
            Claim { runner: runner(), jobs: vec![name("sms")], limit: 9, charge: Charge::AtClaim, rate: Some(rate) };
        let claimed = self.ask(claim).await.executions;
        let lease = claimed[0].lease_ref().expect("just claimed");
        let progress = vec![(lease.id, Progress::new("page 3 of 12").done(0.25))];
        self.ask(Heartbeat { leases: vec![lease], progress }).await;
    }

    async fn enqueue(&mut self, queue: &str, id: u128, to: &str, policy: Policy) {
        let item = NewItem {
            id: ExecutionId(Uuid::from_u128(id)),
            scope: Scope::global(),
            due: Due::AfterMs(0),
            ttl_ms: None,
            priority: 0,
            payload: Some(Json::new(&serde_json::json!({"to": to})).expect("a small value")),
            unique: None,
            policy,
            trace: TraceContext::from_stored(TRACE),
        };
        self.ask(Enqueue { queue: name(queue), max_items: None, items: vec![item] }).await;
    }

    async fn claim(&mut self, job: &str, limit: u32) -> LeaseRef {
        let claim = Claim { runner: runner(), jobs: vec![name(job)], limit, charge: Charge::AtStart, rate: None };
        let claimed = self.ask(claim).await.executions;
        claimed[0].lease_ref().expect("just claimed")
    }
}

fn name(job: &str) -> JobName {
    JobName::new(job).expect("a name")
}

fn runner() -> Incarnation {
    Incarnation(Uuid::from_u128(0xace))
}

/// Rules with which [`policy`] agrees.
fn rules() -> RegisteredRules {
    RegisteredRules {
        stored_schedules: false,
        delay_ms: 0,
        schedule: "every 300s".to_owned(),
        planner: Some(planner()),
        priority: 0,
        max_attempts: 3,
        lease_ms: 60_000,
        reentry: Reentry::Allow,
        supersede: Supersede::Never,
        max_overlap: Some(1),
        audit: Audit::Exceptions,
    }
}

/// Every five minutes, as a replica says it.
fn planner() -> Json {
    let every = Cadence::new(Duration::from_secs(300)).expect("long enough");
    let (delay, catch_up) = (Duration::ZERO, CatchUp::LatestOnly);
    let planner = Planner { schedule: every.into(), delay, catch_up, max_lateness: None, begin: Begin::default() };
    Json::new(&serde_json::to_value(planner).expect("plain data")).expect("a small value")
}

fn policy() -> Policy {
    Policy {
        max_attempts: 3,
        lease_ms: 60_000,
        reentry: Reentry::Allow,
        supersede: Supersede::Never,
        limit: None,
        audit: Audit::All,
    }
}
