//! Owns one test's surroundings: a database, the processes on it, a view of the database, and a deadline.

use std::{
    cell::OnceCell,
    fmt::Write,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use libtest_mimic::Failed;
use tourbillon::{
    model::{Execution, Incarnation, RequestId, Timestamp},
    runtime::{Monotonic, Runtime},
    store::{ExecutionPage, ListExecutions, MAX_BATCH, Operation, ReadClock, Request, Store},
};
use tourbillon_pg::PgStore;
use tourbillon_sqlite::SqliteStore;
use tourbillon_tests::cluster::Cluster;

use crate::replica::{Replica, Start};

/// The longest that one test may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(50);

/// Lines of each log that a failure shows.
const LAST_LINES: usize = 25;

/// Where the processes keep their state: new and empty for each scene.
#[derive(Clone, Copy)]
pub(crate) enum Database {
    Postgres(&'static Cluster),
    SqliteFile,
}

pub(crate) struct Scene {
    // Dropped first: nothing may run on a database that goes.
    pub(crate) replicas: Vec<Replica>,
    store: OnceCell<Arc<dyn Store>>,
    /// What a process is told: a URL or a path.
    place: String,
    folder: Folder,
    runtime: Runtime,
    ends_at: Monotonic,
}

/// All executions, as of one moment.
#[derive(Clone)]
pub(crate) struct Listing(Vec<Execution>);

impl Deref for Listing {
    type Target = [Execution];

    fn deref(&self) -> &[Execution] {
        &self.0
    }
}

impl Listing {
    /// Those of one job.
    pub(crate) fn of<'a>(&'a self, job: &'a str) -> impl Iterator<Item = &'a Execution> {
        self.0.iter().filter(move |row| row.job.as_str() == job)
    }
}

impl Scene {
    pub(crate) fn new(database: Database) -> Result<Self, Failed> {
        let folder = Folder::new()?;
        let place = match database {
            Database::Postgres(cluster) => cluster.fresh_database(),
            Database::SqliteFile => folder.0.join("service.db").display().to_string(),
        };
        let runtime = Runtime::tokio();
        let ends_at = runtime.monotonic() + LIMIT;
        Ok(Self { replicas: Vec::new(), store: OnceCell::new(), place, folder, runtime, ends_at })
    }

    /// The URL or path of the database.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Starts this many processes at once.
    pub(crate) fn start(&mut self, processes: usize) -> Result<(), Failed> {
        for _ in 0..processes {
            let log = self.folder.0.join(format!("{}.log", self.replicas.len()));
            self.replicas.push(Replica::start(&self.place, log)?);
        }
        Ok(())
    }

    /// Waits until every process serves.
    pub(crate) async fn all_serving(&mut self) -> Result<Vec<Incarnation>, Failed> {
        loop {
            let serving: Option<Vec<_>> = self.replicas.iter().map(Replica::incarnation).collect();
            if let Some(incarnations) = serving {
                return Ok(incarnations);
            }
            for replica in &mut self.replicas {
                if let Some(status) = replica.ended()? {
                    return Err(format!("a process ended at its start, {status}:\n{}", self.logs()).into());
                }
            }
            self.pause("every process serves").await?;
        }
    }

    /// Waits until a handler of `job` has begun.
    pub(crate) async fn until_started(&self, job: &str) -> Result<Start, Failed> {
        loop {
            if let Some(start) = self.starts().into_iter().find(|start| start.job == job) {
                return Ok(start);
            }
            self.pause(&format!("a handler of {job} starts")).await?;
        }
    }

    /// Waits until `look` finds something in the listing.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Listing) -> Option<T>,
    ) -> Result<T, Failed> {
        loop {
            let listing = self.list().await?;
            if let Some(found) = look(&listing) {
                return Ok(found);
            }
            self.pause(what).await.map_err(|_| self.report(&format!("not in time: {what}"), &listing))?;
        }
    }

    /// SIGTERM to all; each must end with success within `limit`.
    pub(crate) async fn terminate_all(&mut self, limit: Duration) -> Result<(), Failed> {
        let sent_at = self.runtime.monotonic();
        for replica in &self.replicas {
            replica.terminate()?;
        }
        for index in 0..self.replicas.len() {
            loop {
                if let Some(status) = self.replicas[index].ended()? {
                    let failed = format!("process {index} ended with {status} after SIGTERM:\n{}", self.logs());
                    break if status.success() { Ok(()) } else { Err(Failed::from(failed)) };
                }
                if self.runtime.monotonic().since(sent_at) > limit {
                    break Err(
                        format!("process {index} has not ended {limit:?} after SIGTERM:\n{}", self.logs()).into()
                    );
                }
                self.pause("processes end after SIGTERM").await?;
            }?;
        }
        Ok(())
    }

    /// Every handler start that any process logged.
    pub(crate) fn starts(&self) -> Vec<Start> {
        self.replicas.iter().enumerate().flat_map(|(index, replica)| replica.starts(index)).collect()
    }

    /// The database clock.
    pub(crate) async fn clock(&self) -> Result<Timestamp, Failed> {
        Ok(self.call(ReadClock {}).await?.now)
    }

    pub(crate) async fn list(&self) -> Result<Listing, Failed> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|row: &Execution| (row.id, row.generation));
            let ExecutionPage { executions, .. } =
                self.call(ListExecutions { after, limit: MAX_BATCH, ..ListExecutions::default() }).await?;
            let more = executions.len() == MAX_BATCH as usize;
            all.extend(executions);
            if !more {
                return Ok(Listing(all));
            }
        }
    }

    pub(crate) async fn call<V: Operation>(&self, verb: V) -> Result<V::Reply, Failed> {
        let request = Request { id: RequestId(self.runtime.uuid()), verb: verb.into() };
        let reply = self.store().await?.call(request).await?;
        V::reply(reply).ok_or_else(|| "the store answered another verb".into())
    }

    /// Opened late and never migrated: the processes have to do it.
    async fn store(&self) -> Result<&dyn Store, Failed> {
        if self.store.get().is_none() {
            let store: Arc<dyn Store> = if self.place.contains("://") {
                Arc::new(PgStore::builder(&self.place).max_connections(1).connect().await?)
            } else {
                Arc::new(SqliteStore::builder(&self.place).migrate(tourbillon_sqlite::Migrate::Manual).open()?)
            };
            drop(self.store.set(store));
        }
        Ok(&**self.store.get().expect("set above"))
    }

    async fn pause(&self, what: &str) -> Result<(), Failed> {
        if self.runtime.monotonic() >= self.ends_at {
            return Err(format!("not within the {LIMIT:?} of this test: {what}\n{}", self.logs()).into());
        }
        self.runtime.sleep(PAUSE).await;
        Ok(())
    }

    /// What is wrong, with all there is to see.
    pub(crate) fn report(&self, wrong: &str, listing: &Listing) -> Failed {
        let mut text = format!("{wrong}\n\njob scope slot state attempt fence runner started finished error\n");
        let mut rows: Vec<_> = listing.iter().collect();
        rows.sort_by_key(|row| (&row.job, &row.scope, row.slot_at));
        for row in rows {
            let time = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| at.to_string());
            let lease = row.lease.as_ref();
            let runner = lease.map_or("-".to_owned(), |lease| lease.runner.to_string());
            let started = lease.and_then(|lease| lease.started_at);
            let error = row.error.as_ref().map_or("-".to_owned(), |error| format!("{error:?}"));
            let written = writeln!(
                text,
                "{} {} {} {} {} {} {runner} {} {} {error}",
                row.job,
                row.scope,
                time(row.slot_at),
                row.state,
                row.attempt,
                row.fence,
                time(started),
                time(row.finished_at),
            );
            written.expect("a string takes all");
        }
        (text + &self.logs()).into()
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for (index, replica) in self.replicas.iter().enumerate() {
            let log = replica.log();
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
            writeln!(text, "\nprocess {index}, the end of its log:\n{last}").expect("a string takes all");
        }
        text
    }
}

/// Waits for conditions, up to the longest that one test may take.
pub(crate) struct Watch {
    runtime: Runtime,
    ends_at: Monotonic,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let runtime = Runtime::tokio();
        let ends_at = runtime.monotonic() + LIMIT;
        Self { runtime, ends_at }
    }

    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Failed> {
        while !holds() {
            if self.runtime.monotonic() >= self.ends_at {
                return Err(format!("not within the {LIMIT:?} of this test: {what}").into());
            }
            self.runtime.sleep(PAUSE).await;
        }
        Ok(())
    }
}

pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn new() -> std::io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tourbillon-processes-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind in the system's temporary one is no reason to fail.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
