//! SQLite on a file: ours beside a hand-written ceiling, one after the other in this process, since a file has one writer.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tourbillon::{prelude::*, queue::ItemOptions};
use tourbillon_sqlite::{
    SqliteStore, Synchronous,
    rusqlite::{Connection, params},
};

use crate::{
    ours::{QUEUE, queue},
    workload::{Parcel, now, pause},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SCHEMA: &str = "
create table jobs(
  id integer primary key,
  queue int not null default 0,
  state int not null default 0,
  priority int not null default 0,
  attempts int not null default 0,
  run_at int not null default (unixepoch()),
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

/// Rows of a claim, and of an enqueue.
const BATCH: usize = 500;
const BULK: u64 = 1_000;

/// Rows enqueued and jobs drained, per second.
pub(crate) struct Rates {
    pub(crate) enqueued: f64,
    pub(crate) drained: f64,
}

fn rate(jobs: u64, took: Duration) -> f64 {
    jobs as f64 / took.as_secs_f64()
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
}

impl Drop for File {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Ours, with default settings; successes are forgotten, as the ceiling forgets them.
pub(crate) async fn ours(jobs: u64, synchronous: Synchronous) -> Outcome<Rates> {
    let file = File::new();
    let store = Arc::new(SqliteStore::builder(&file.0).synchronous(synchronous).open()?);
    let producer =
        tourbillon::queue::Enqueuer::new(Arc::clone(&store), tourbillon::runtime::Runtime::tokio(), &queue())?;
    let began = now();
    let mut next = 0;
    while next < jobs {
        let end = (next + BULK).min(jobs);
        let parcels: Vec<_> = (next..end).map(Parcel::numbered).collect();
        producer.enqueue_all(parcels.iter().map(|parcel| (parcel, ItemOptions::new()))).await?;
        next = end;
    }
    let enqueued = rate(jobs, began.elapsed());
    let began = now();
    let queue = queue().retain(Retention::Failures);
    let running = Scheduler::builder(store).queue(queue).build()?.start();
    let worker = running.queue::<Parcel>(QUEUE)?;
    while worker.stats().successes < jobs {
        pause(Duration::from_millis(5)).await;
    }
    let drained = rate(jobs, began.elapsed());
    running.stop().await?;
    Ok(Rates { enqueued, drained })
}

/// The least that a queue in a file can get away with.
pub(crate) fn ceiling(jobs: u64, synchronous: Synchronous) -> Outcome<Rates> {
    let file = File::new();
    let mut connection = Connection::open(&file.0)?;
    let level = if synchronous == Synchronous::Full { "full" } else { "normal" };
    connection.execute_batch(&format!("pragma journal_mode = wal; pragma synchronous = {level}; {SCHEMA}"))?;
    let began = now();
    let mut next = 0;
    while next < jobs {
        let end = (next + BULK).min(jobs);
        let transaction = connection.transaction()?;
        for id in next..end {
            let text = serde_json::to_string(&Parcel::numbered(id))?;
            transaction.prepare_cached(MAKE)?.execute(params![text])?;
        }
        transaction.commit()?;
        next = end;
    }
    let enqueued = rate(jobs, began.elapsed());
    let began = now();
    loop {
        let read = |row: &tourbillon_sqlite::rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let rows: Vec<(i64, String)> =
            connection.prepare_cached(CLAIM)?.query_map(params![BATCH as i64], read)?.collect::<Result<_, _>>()?;
        if rows.is_empty() {
            break;
        }
        let transaction = connection.transaction()?;
        for (id, text) in rows {
            serde_json::from_str::<Parcel>(&text)?.run();
            transaction.prepare_cached(DELETE)?.execute(params![id])?;
        }
        transaction.commit()?;
    }
    let drained = rate(jobs, began.elapsed());
    Ok(Rates { enqueued, drained })
}
