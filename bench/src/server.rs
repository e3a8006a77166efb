//! Owns the measured server: a throw-away cluster with durable settings, what it has cost so far, and the processes
//! that work on it. Knows no queue.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::{
    cluster::{Cluster, Files},
    workload::{Outcome, now, pause},
};

/// No vacuum in the middle of a run, which would be a coin toss; everything else is as it would be.
const SETTINGS: [&str; 6] = [
    "alter system set max_connections = 300",
    "alter system set shared_buffers = '1GB'",
    "alter system set max_wal_size = '8GB'",
    "alter system set autovacuum = off",
    "alter system set jit = off",
    "alter system set shared_preload_libraries = 'pg_stat_statements'",
];

/// Processor time is counted in hundredths of a second, on every Linux.
const TICK_US: u64 = 10_000;

/// How long jobs may take to be finished before a measurement is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// In the environment of a process that ends with its input.
pub(crate) const ENDS_WITH_INPUT: &str = "TOURBILLON_BENCH_ENDS_WITH_INPUT";

/// How long workers may take to come to their first claim.
const START: Duration = Duration::from_secs(60);

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
        let cluster = Cluster::start_with(Files::OnDisk)?;
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

    /// Answered by a statement of our own.
    pub(crate) async fn number(&mut self, sql: &str) -> Outcome<i64> {
        let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.connection).await?;
        Ok(row.try_get(0)?)
    }

    /// A snapshot of this moment, which keeps the server from forgetting what changes from now on, until it is dropped.
    pub(crate) async fn snapshot(&self) -> Outcome<PgConnection> {
        let mut connection = PgConnection::connect(&self.url).await?;
        let hold = "begin isolation level repeatable read; select count(*) from pg_class";
        sqlx::raw_sql(hold).execute(&mut connection).await?;
        Ok(connection)
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
        // A process may wait in other statements as well, but in one claim only, and claims have one text.
        let waiting = "select coalesce(max(sessions), 0) from (select count(*) as sessions from pg_stat_activity \
             where datname = current_database() and wait_event_type = 'Lock' group by query) alike";
        let began = now();
        // Within a transaction the server shows one picture of its sessions until it is told otherwise.
        loop {
            self.run("select pg_stat_clear_snapshot()").await?;
            if self.number(waiting).await? >= i64::from(race.processes) {
                break;
            }
            if began.elapsed() > START {
                return Err(format!(
                    "the workers do not come to their first claim within {START:?}: what do they say?"
                )
                .into());
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
                return Err(format!("{} jobs are not done after {PATIENCE:?}: ask for fewer", race.jobs).into());
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
    told: Arc<Told>,
}

/// What a process has told so far.
#[derive(Default)]
struct Told {
    runs: AtomicU64,
    leads: AtomicBool,
}

impl Worker {
    pub(crate) fn spawn(words: &[&str], environment: &[(&str, &str)], url: &str) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(words).env("DATABASE_URL", url).envs(environment.iter().copied());
        // It ends when its input does, so that none is left behind, however this process ends.
        let mut child = command.env(ENDS_WITH_INPUT, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let told = Arc::new(Told::default());
        if let Some(output) = child.stdout.take() {
            let seen = Arc::clone(&told);
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some(count) = line.strip_prefix("C ").and_then(|count| count.parse().ok()) {
                        seen.runs.store(count, Ordering::Relaxed);
                    }
                    if line == "L" {
                        seen.leads.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
        Ok(Self { child, told })
    }

    /// How many handlers it has begun.
    pub(crate) fn runs(&self) -> u64 {
        self.told.runs.load(Ordering::Relaxed)
    }

    /// Whether it has come to lead.
    pub(crate) fn leads(&self) -> bool {
        self.told.leads.load(Ordering::Relaxed)
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
