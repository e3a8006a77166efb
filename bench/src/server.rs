//! Owns the measured server: a throw-away cluster with durable settings, what it has cost so far, and the processes
//! that work on it. Knows no queue.

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::{
    cluster::{Cluster, Fsync},
    workload::{now, pause},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// No vacuum in the middle of a run, which would be a coin toss; everything else is as it would be.
const SETTINGS: [&str; 5] = [
    "alter system set shared_buffers = '1GB'",
    "alter system set max_wal_size = '8GB'",
    "alter system set autovacuum = off",
    "alter system set jit = off",
    "alter system set shared_preload_libraries = 'pg_stat_statements'",
];

/// Processor time is counted in hundredths of a second, on every Linux.
const TICK_US: u64 = 10_000;

/// How long jobs may take to be finished before a measurement is given up.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running server.
pub(crate) struct Server {
    cluster: Cluster,
}

/// One database of it.
pub(crate) struct Database {
    pub(crate) url: String,
    connection: PgConnection,
}

/// What a server has cost until now.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wal_bytes: i64,
    pub(crate) cpu_us: u64,
    pub(crate) statements: i64,
}

impl Server {
    pub(crate) async fn start() -> Outcome<Self> {
        let cluster = Cluster::start_with(Fsync::On)?;
        let mut connection = PgConnection::connect(&cluster.url()).await?;
        for setting in SETTINGS {
            sqlx::raw_sql(setting).execute(&mut connection).await?;
        }
        sqlx::raw_sql("checkpoint").execute(&mut connection).await?;
        connection.close().await?;
        cluster.restart()?;
        Ok(Self { cluster })
    }

    /// An empty database.
    pub(crate) async fn database(&self) -> Outcome<Database> {
        let url = self.cluster.fresh_database();
        let mut connection = PgConnection::connect(&url).await?;
        sqlx::raw_sql("create extension pg_stat_statements").execute(&mut connection).await?;
        Ok(Database { url, connection })
    }
}

impl Database {
    /// Runs a statement of our own.
    pub(crate) async fn run(&mut self, sql: &str) -> Outcome<()> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.connection).await?;
        Ok(())
    }

    async fn number(&mut self, sql: &str) -> Outcome<i64> {
        let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.connection).await?;
        Ok(row.try_get(0)?)
    }

    /// Until now. All databases of the server together, so measure one at a time.
    pub(crate) async fn cost(&mut self) -> Outcome<Cost> {
        let backend = self.number("select pg_backend_pid()::bigint").await?;
        let postmaster = stat(&backend.to_string())?.parent;
        let mut cpu_us = 0;
        for entry in fs::read_dir("/proc")?.flatten() {
            // One that has ended meanwhile is counted by its parent.
            let Ok(process) = stat(&entry.file_name().to_string_lossy()) else { continue };
            if process.id == postmaster {
                cpu_us += process.own_us + process.children_us;
            } else if process.parent == postmaster {
                cpu_us += process.own_us;
            }
        }
        let wal_bytes = self.number("select (pg_current_wal_insert_lsn() - '0/0')::bigint").await?;
        let counted = "select coalesce(sum(calls), 0)::bigint from pg_stat_statements s join pg_database d \
             on d.oid = s.dbid where d.datname = current_database()";
        let statements = self.number(counted).await?;
        Ok(Cost { wal_bytes, cpu_us, statements })
    }

    /// Holds all workers back while they start, then measures how long they take to finish `jobs` jobs.
    pub(crate) async fn race(&mut self, race: &Race<'_>) -> Outcome<Finished> {
        self.run(&format!("analyze; begin; lock table {} in access exclusive mode", race.gate)).await?;
        let mut workers = Vec::new();
        for _ in 0..race.processes {
            workers.push(Worker::spawn(race.words, race.environment, &self.url)?);
        }
        let waiting = "select count(distinct pid) from pg_locks where not granted";
        let began = now();
        while self.number(waiting).await? < i64::from(race.processes) {
            if began.elapsed() > PATIENCE {
                return Err("the workers do not come to their first claim".into());
            }
            pause(Duration::from_millis(50)).await;
        }
        pause(Duration::from_millis(300)).await;
        let before = self.cost().await?;
        let client_before: u64 = workers.iter().map(Worker::cpu_us).sum();
        let began = now();
        self.run("commit").await?;
        while workers.iter().map(Worker::runs).sum::<u64>() < race.jobs || self.number(race.remaining).await? > 0 {
            if began.elapsed() > PATIENCE {
                return Err("the jobs were not done in time".into());
            }
            pause(Duration::from_millis(10)).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        let client_us = workers.iter().map(Worker::cpu_us).sum::<u64>() - client_before;
        drop(workers);
        let after = self.cost().await?;
        let per_job = |total: f64| total / race.jobs as f64;
        Ok(Finished {
            jobs_per_s: race.jobs as f64 / seconds,
            server_us: per_job((after.cpu_us - before.cpu_us) as f64),
            client_us: per_job(client_us as f64),
            wal_bytes: per_job((after.wal_bytes - before.wal_bytes) as f64),
        })
    }
}

/// What is to be measured.
pub(crate) struct Race<'a> {
    pub(crate) words: &'a [&'a str],
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// The table that every claim reads.
    pub(crate) gate: &'a str,
    /// SQL: how many jobs have not ended.
    pub(crate) remaining: &'a str,
    pub(crate) processes: u32,
    pub(crate) jobs: u64,
}

/// What was measured.
#[derive(Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) jobs_per_s: f64,
    pub(crate) server_us: f64,
    pub(crate) client_us: f64,
    pub(crate) wal_bytes: f64,
}

/// A process of ours, killed when it is dropped.
pub(crate) struct Worker {
    child: Child,
    runs: Arc<AtomicU64>,
}

impl Worker {
    pub(crate) fn spawn(words: &[&str], environment: &[(&str, &str)], url: &str) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(words).env("DATABASE_URL", url).envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let runs = Arc::new(AtomicU64::new(0));
        if let Some(output) = child.stdout.take() {
            let seen = Arc::clone(&runs);
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some(count) = line.strip_prefix("C ").and_then(|count| count.parse().ok()) {
                        seen.store(count, Ordering::Relaxed);
                    }
                }
            });
        }
        Ok(Self { child, runs })
    }

    fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    fn cpu_us(&self) -> u64 {
        stat(&self.child.id().to_string()).map_or(0, |process| process.own_us)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a command of ours to its end, and returns what it printed.
pub(crate) fn finish(words: &[&str], environment: &[(&str, &str)], url: &str) -> Outcome<String> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(words).env("DATABASE_URL", url).envs(environment.iter().copied()).output()?;
    if !output.status.success() {
        return Err(format!("{words:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

struct Process {
    id: u64,
    parent: u64,
    own_us: u64,
    children_us: u64,
}

/// Of `/proc/<id>/stat`; the name, in parentheses, may hold anything.
fn stat(id: &str) -> Outcome<Process> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, rest) = text.rsplit_once(") ").ok_or("no process")?;
    let fields: Vec<u64> = rest.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect();
    let at = |field: usize| fields.get(field).copied().unwrap_or(0);
    Ok(Process {
        id: id.parse()?,
        parent: at(1),
        own_us: (at(11) + at(12)) * TICK_US,
        children_us: (at(13) + at(14)) * TICK_US,
    })
}
