//! SQLite on a file: ours beside a hand-written ceiling, one after the other in this process, since a file has one writer.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tourbillon::{
    prelude::*,
    queue::{Enqueuer, ItemOptions},
    runtime::Runtime,
};
use tourbillon_sqlite::{
    SqliteStore, Synchronous,
    rusqlite::{self, Connection, params},
};

use crate::{
    ours::{QUEUE, queue},
    workload::{Latencies, Outcome, Parcel, now, pause, rate, share},
};

const SCHEMA: &str = "
create table jobs(
  id integer primary key,
  queue int not null default 0,
  state int not null default 0,
  priority int not null default 0,
  attempts int not null default 0,
  run_at int not null default (unixepoch()),
  finished_at int,
  payload text not null
);
create index jobs_ready on jobs(queue, priority, run_at, id) where state = 0;
";
const MAKE: &str = "insert into jobs(payload) values (?1)";
const CLAIM: &str = "update jobs set state = 1, attempts = attempts + 1
  where id in (select id from jobs where queue = 0 and state = 0 and run_at <= unixepoch()
    order by priority, run_at, id limit ?1)
  returning id, payload";
const DELETE: &str = "delete from jobs where id = ?1";
const KEEP: &str = "update jobs set state = 2, finished_at = unixepoch() where id = ?1";
const MULTIPLY: &str = "
with recursive g(n) as (select 1 union all select n + 1 from g where n < ?1)
insert into jobs(state, attempts, run_at, finished_at, payload)
select 2, 1, unixepoch() - n / 100, unixepoch() - n / 100, json_object('id', n, 'email', 'user@ex.com') from g";

/// Rows of a claim, and of an enqueue.
const BATCH: usize = 500;
const BULK: u64 = 1_000;

/// Between two items whose latency is measured.
const GAP: Duration = Duration::from_millis(20);

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Ceiling,
}

/// What is to be drained.
pub(crate) struct Task {
    pub(crate) jobs: u64,
    pub(crate) synchronous: Synchronous,
    /// Finished jobs that are there before.
    pub(crate) finished: u64,
    /// Whether successes are kept, or forgotten.
    pub(crate) keeps: bool,
}

/// Rows enqueued and jobs drained, per second.
pub(crate) struct Rates {
    pub(crate) enqueued: f64,
    pub(crate) drained: f64,
}

/// A file that is removed with what belongs to it.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        let file = Self(std::env::temp_dir().join(format!("tourbillon-bench-{}.db", std::process::id())));
        file.remove();
        file
    }

    fn remove(&self) {
        for end in ["", "-wal", "-shm"] {
            let mut path = self.0.clone().into_os_string();
            path.push(end);
            // It need not be there.
            drop(std::fs::remove_file(Path::new(&path)));
        }
    }

    /// Our store in it, with default settings.
    fn store(&self, synchronous: Synchronous) -> Outcome<Arc<SqliteStore>> {
        Ok(Arc::new(SqliteStore::builder(&self.0).synchronous(synchronous).open()?))
    }

    /// The ceiling's connection to it.
    fn table(&self, synchronous: Synchronous) -> Outcome<Connection> {
        let connection = Connection::open(&self.0)?;
        let level = if synchronous == Synchronous::Full { "full" } else { "normal" };
        connection.execute_batch(&format!("pragma journal_mode = wal; pragma synchronous = {level}; {SCHEMA}"))?;
        Ok(connection)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Fills the file, then works it off.
pub(crate) async fn drain(side: Side, task: &Task) -> Outcome<Rates> {
    match side {
        Side::Ours => drain_ours(task).await,
        Side::Ceiling => tokio::task::block_in_place(|| drain_table(task)),
    }
}

/// Enqueues one by one from so many callers, who share requests if they may; per second.
pub(crate) async fn single(
    side: Side,
    synchronous: Synchronous,
    jobs: u64,
    callers: u64,
    shares: bool,
) -> Outcome<f64> {
    let file = File::new();
    if side == Side::Ours {
        let rules = if shares { queue().coalescing() } else { queue() };
        let producer = Enqueuer::new(file.store(synchronous)?, Runtime::tokio(), &rules)?;
        let callers = (0..callers).map(|_| producer.clone()).collect();
        return share(jobs, callers, |producer, id| async move {
            producer.enqueue(&Parcel::numbered(id)).await?;
            Ok(producer)
        })
        .await;
    }
    // One connection, for which callers take turns: several would wait for the file's lock as well.
    let table = Arc::new(Mutex::new(file.table(synchronous)?));
    let callers = (0..callers).map(|_| Arc::clone(&table)).collect();
    share(jobs, callers, |table, id| async move {
        let text = serde_json::to_string(&Parcel::numbered(id))?;
        tokio::task::block_in_place(|| {
            let connection = table.lock().unwrap_or_else(PoisonError::into_inner);
            connection.prepare_cached(MAKE)?.execute(params![text]).map(drop)
        })?;
        Ok(table)
    })
    .await
}

/// From before an enqueue to the start of the handler, in one process.
pub(crate) async fn latency(side: Side, synchronous: Synchronous, jobs: u64) -> Outcome<Latencies> {
    let file = File::new();
    if side == Side::Ceiling {
        return latency_of_table(&file, synchronous, jobs).await;
    }
    let store = file.store(synchronous)?;
    let producer = Enqueuer::new(Arc::clone(&store), Runtime::tokio(), &queue())?;
    let running = Scheduler::builder(store).queue(queue().retain(Retention::Failures)).build()?.start();
    pause(Duration::from_millis(1500)).await;
    for id in 0..jobs {
        producer.enqueue(&Parcel::timed(id)).await?;
        pause(GAP).await;
    }
    let latencies = Latencies::of(jobs).await;
    running.stop().await?;
    Ok(latencies)
}

async fn drain_ours(task: &Task) -> Outcome<Rates> {
    let file = File::new();
    let store = file.store(task.synchronous)?;
    let producer = Enqueuer::new(Arc::clone(&store), Runtime::tokio(), &queue())?;
    if task.finished > 0 {
        producer.enqueue(&Parcel::numbered(0)).await?;
        work_off(&store, 1, true).await?;
        multiply(&file, task.finished)?;
    }
    let began = now();
    let mut next = 0;
    while next < task.jobs {
        let end = (next + BULK).min(task.jobs);
        let parcels: Vec<_> = (next..end).map(Parcel::numbered).collect();
        producer.enqueue_all(parcels.iter().map(|parcel| (parcel, ItemOptions::new()))).await?;
        next = end;
    }
    let enqueued = rate(task.jobs, began);
    Ok(Rates { enqueued, drained: work_off(&store, task.jobs, task.keeps).await? })
}

/// Runs what waits, so many jobs, and returns how many a second.
async fn work_off(store: &Arc<SqliteStore>, jobs: u64, keeps: bool) -> Outcome<f64> {
    let queue = if keeps { queue() } else { queue().retain(Retention::Failures) };
    let began = now();
    let running = Scheduler::builder(Arc::clone(store)).queue(queue).build()?.start();
    let worker = running.queue::<Parcel>(QUEUE)?;
    while worker.stats().successes < jobs {
        pause(Duration::from_millis(5)).await;
    }
    let rate = rate(jobs, began);
    running.stop().await?;
    Ok(rate)
}

/// Copies of the one finished job that is there, ten milliseconds apart, so that nothing is old enough to be pruned.
fn multiply(file: &File, copies: u64) -> Outcome<()> {
    let connection = Connection::open(&file.0)?;
    let mut columns = connection.prepare("select name from pragma_table_info('history')")?;
    let names = columns.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let values: Vec<_> = names.iter().map(|name| copied(name)).collect();
    let sql = format!(
        "with recursive g(n) as (select 1 union all select n + 1 from g where n < ?1)
         insert into history ({}) select {} from (select * from history limit 1) h, g",
        names.join(", "),
        values.join(", ")
    );
    connection.execute(&sql, params![i64::try_from(copies)?])?;
    connection.execute_batch("analyze; pragma wal_checkpoint(truncate)")?;
    Ok(())
}

/// What a copy has in a column: an id of its own, and instants of its own, which are microseconds.
fn copied(column: &str) -> String {
    match column {
        "id" => "randomblob(16)".to_owned(),
        _ if column.ends_with("_at") => format!("h.{column} - g.n * 10000"),
        _ => format!("h.{column}"),
    }
}

/// The least that a queue in a file can get away with.
fn drain_table(task: &Task) -> Outcome<Rates> {
    let file = File::new();
    let mut connection = file.table(task.synchronous)?;
    if task.finished > 0 {
        connection.execute(MULTIPLY, params![i64::try_from(task.finished)?])?;
        connection.execute_batch("analyze; pragma wal_checkpoint(truncate)")?;
    }
    let began = now();
    let mut next = 0;
    while next < task.jobs {
        let end = (next + BULK).min(task.jobs);
        let transaction = connection.transaction()?;
        for id in next..end {
            let text = serde_json::to_string(&Parcel::numbered(id))?;
            transaction.prepare_cached(MAKE)?.execute(params![text])?;
        }
        transaction.commit()?;
        next = end;
    }
    let enqueued = rate(task.jobs, began);
    let began = now();
    while take(&mut connection, if task.keeps { KEEP } else { DELETE })? > 0 {}
    Ok(Rates { enqueued, drained: rate(task.jobs, began) })
}

/// Claims and finishes a batch; how many that were.
fn take(connection: &mut Connection, finish: &str) -> Outcome<usize> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let rows: Vec<(i64, String)> =
        connection.prepare_cached(CLAIM)?.query_map(params![BATCH as i64], read)?.collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return Ok(0);
    }
    let transaction = connection.transaction()?;
    for (id, text) in &rows {
        serde_json::from_str::<Parcel>(text)?.run();
        transaction.prepare_cached(finish)?.execute(params![id])?;
    }
    transaction.commit()?;
    Ok(rows.len())
}

/// A producer, and a worker that it wakes, with a connection each.
async fn latency_of_table(file: &File, synchronous: Synchronous, jobs: u64) -> Outcome<Latencies> {
    let connection = file.table(synchronous)?;
    let mut working = Connection::open(&file.0)?;
    let level = if synchronous == Synchronous::Full { "full" } else { "normal" };
    working.execute_batch(&format!("pragma synchronous = {level}; pragma busy_timeout = 5000"))?;
    connection.execute_batch("pragma busy_timeout = 5000")?;
    let (wake, woken) = mpsc::channel::<()>();
    // It ends with the producer's end of the channel.
    let worker = thread::spawn(move || {
        while woken.recv().is_ok() {
            take(&mut working, DELETE)?;
        }
        Outcome::Ok(())
    });
    for id in 0..jobs {
        let text = serde_json::to_string(&Parcel::timed(id))?;
        connection.prepare_cached(MAKE)?.execute(params![text])?;
        wake.send(())?;
        pause(GAP).await;
    }
    let latencies = Latencies::of(jobs).await;
    drop(wake);
    worker.join().map_err(|_| "the ceiling's worker panicked")??;
    Ok(latencies)
}
