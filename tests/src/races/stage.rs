//! Owns one Postgres database on which two calls are made to meet: two connections for the calls, one that holds locks,
//! one that watches who waits.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::task::JoinSet;
use tourbillon::{
    model::{JobName, RequestId},
    runtime::{Monotonic, Runtime},
    store::{
        DatabaseClock, ListAudit, ListExecutions, ListLocks, ListSkipped, MAX_BATCH, ManualClock, ReadClock,
        ReadCursors, ReadStats, Reply, Request, Store, StoreError, Verb,
    },
};
use tourbillon_pg::{DEFAULT_SCHEMA, PgStore};
use uuid::Uuid;

use super::{
    arena::no_deadlock_detector,
    scene::{NOW, Scene},
};

/// Longest wait until a call is answered or blocked; only a broken stage needs it.
const PATIENCE: Duration = Duration::from_secs(4);

/// A call's answer.
pub(crate) type Answer = Result<Reply, StoreError>;

const TABLES: [&str; 13] = [
    "job",
    "cursor",
    "execution",
    "history",
    "skipped",
    "audit",
    "receipt",
    "limit_gate",
    "queue_gate",
    "meta",
    "lock",
    "pause",
    "schedule",
];

/// See the module.
pub(crate) struct Stage {
    a: Arc<PgStore>,
    b: Arc<PgStore>,
    holder: PgConnection,
    watcher: PgConnection,
    runtime: Runtime,
    reset: String,
    jobs: Vec<JobName>,
}

/// How two calls met.
#[derive(Debug)]
pub(crate) struct Meeting {
    pub(crate) answers: [Answer; 2],
    /// Which of them were waiting for a lock when both were under way.
    pub(crate) waited: [bool; 2],
    /// Everything that the store can be asked for, afterwards.
    pub(crate) end: [Reply; 6],
    /// Gates whose counter is not the number of running rows.
    pub(crate) wrong_gates: i64,
}

impl Stage {
    /// A stage in a database of its own, with the scene kept aside.
    pub(crate) async fn new(url: &str, scene: &Scene) -> Self {
        let clock = ManualClock::new(NOW);
        let mut watcher = connect(url).await;
        // Nothing here survives anyway. And a deadlock should not be resolved, but seen.
        let quick = "do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); \
            end $$";
        run(&mut watcher, quick.to_owned()).await;
        no_deadlock_detector(&mut watcher).await;
        drop(watcher);
        let open = || async {
            let builder = PgStore::builder(url).max_connections(1).clock(DatabaseClock::Manual(clock.clone()));
            Arc::new(builder.connect().await.expect("the throw-away server takes connections"))
        };
        let (a, b) = (open().await, open().await);
        a.migrate().await.expect("an empty database can be migrated");
        for (at, request) in &scene.setup {
            clock.set(*at);
            a.call(request.clone()).await.expect("the scene is made of requests that are accepted");
        }
        clock.set(NOW);
        let mut watcher = connect(url).await;
        run(&mut watcher, keep()).await;
        let stage = Self {
            a,
            b,
            holder: connect(url).await,
            watcher,
            runtime: Runtime::tokio(),
            reset: reset(),
            jobs: Scene::jobs(),
        };
        for store in [&stage.a, &stage.b] {
            store.call(request(ReadClock {})).await.expect("the server answers");
        }
        stage
    }

    /// Puts the scene back, holds locks with `hold`, sends `first`, sends `second` once that waits or is answered, and
    /// lets go once `second` does.
    pub(crate) async fn meet(&mut self, hold: &str, first: Request, second: Request) -> Result<Meeting, String> {
        run(&mut self.watcher, self.reset.clone()).await;
        run(&mut self.holder, format!("begin; {hold}")).await;
        let mut calls = JoinSet::new();
        let one = spawn(&mut calls, 0, Arc::clone(&self.a), first);
        let first_settled = self.until(|waiting| one.is_finished() || waiting >= 1).await;
        let waiting = usize::from(!one.is_finished());
        let two = spawn(&mut calls, 1, Arc::clone(&self.b), second);
        // The first may be through by now: what counts is that nobody runs.
        let second_settled =
            self.until(|waiting| waiting == usize::from(!one.is_finished()) + usize::from(!two.is_finished())).await;
        let waited = [!one.is_finished(), !two.is_finished()];
        run(&mut self.holder, "rollback".to_owned()).await;
        let mut answers: [Option<Answer>; 2] = [None, None];
        while let Some(done) = calls.join_next().await {
            let (n, answer) = done.map_err(|error| format!("a call died: {error}"))?;
            answers[n] = Some(answer);
        }
        if !first_settled || !second_settled {
            return Err(format!(
                "after {PATIENCE:?} a call was neither blocked nor answered ({waiting}, {waited:?})"
            ));
        }
        let [Some(first), Some(second)] = answers else { return Err("an answer is missing".to_owned()) };
        let end = self.end().await;
        let wrong_gates = self.number(&wrong_gates()).await;
        Ok(Meeting { answers: [first, second], waited, end, wrong_gates })
    }

    async fn until(&mut self, done: impl Fn(usize) -> bool) -> bool {
        let give_up_at: Monotonic = self.runtime.monotonic() + PATIENCE;
        while self.runtime.monotonic() < give_up_at {
            let waiting = self.number(WAITING).await;
            if done(usize::try_from(waiting).unwrap_or(0)) {
                return true;
            }
        }
        false
    }

    async fn number(&mut self, sql: &str) -> i64 {
        let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.watcher).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
    }

    async fn end(&self) -> [Reply; 6] {
        let ask = async |request| self.a.call(request).await.expect("a quiet store answers");
        let [one, two, three, four, five, six] = questions(&self.jobs);
        [ask(one).await, ask(two).await, ask(three).await, ask(four).await, ask(five).await, ask(six).await]
    }
}

/// The reads that together show all that is stored but receipts.
pub(crate) fn questions(jobs: &[JobName]) -> [Request; 6] {
    [
        request(ListExecutions { limit: MAX_BATCH, ..ListExecutions::default() }),
        request(ListSkipped { job: None, offset: 0, limit: MAX_BATCH }),
        request(ReadCursors { jobs: jobs.to_vec() }),
        request(ReadStats {}),
        request(ListAudit { limit: MAX_BATCH, ..ListAudit::default() }),
        request(ListLocks { after: None, limit: MAX_BATCH }),
    ]
}

fn request(verb: impl Into<Verb>) -> Request {
    Request { id: RequestId(Uuid::nil()), verb: verb.into() }
}

/// Calls of ours that wait for a lock.
const WAITING: &str = "select count(*) from pg_stat_activity \
    where datname = current_database() and application_name = 'tourbillon' \
    and wait_event_type = 'Lock' and cardinality(pg_blocking_pids(pid)) > 0";

fn wrong_gates() -> String {
    format!(
        "select count(*) from (select key, running from {DEFAULT_SCHEMA}.limit_gate) g full join \
         (select limit_key, count(*) as rows from {DEFAULT_SCHEMA}.execution \
          where state = 'running' and limit_key is not null group by 1) e on e.limit_key = g.key \
         where coalesce(g.running, 0) <> coalesce(e.rows, 0)"
    )
}

fn keep() -> String {
    let copy = |table| format!("create table kept.{table} as table {DEFAULT_SCHEMA}.{table}; ");
    format!("create schema kept; {}", TABLES.map(copy).concat())
}

fn reset() -> String {
    let put_back = |table| {
        let by_hand = if table == "skipped" { "overriding system value " } else { "" };
        format!(
            "delete from {DEFAULT_SCHEMA}.{table}; insert into {DEFAULT_SCHEMA}.{table} {by_hand}table kept.{table}; "
        )
    };
    TABLES.map(put_back).concat()
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the throw-away server takes connections")
}

async fn run(connection: &mut PgConnection, sql: String) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(connection).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn spawn(
    calls: &mut JoinSet<(usize, Answer)>,
    n: usize,
    store: Arc<PgStore>,
    request: Request,
) -> tokio::task::AbortHandle {
    calls.spawn(async move { (n, store.call(request).await) })
}
