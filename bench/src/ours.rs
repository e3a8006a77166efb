//! Tourbillon, as its users have it: a typed queue on Postgres.

use std::{
    env,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tourbillon::{
    driver::Running,
    prelude::*,
    queue::{Enqueuer, ItemOptions},
};
use tourbillon_pg::PgStore;

use crate::workload::{Parcel, now, pause, report_latencies, report_rate, report_runs};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The queue of all measurements.
pub(crate) const QUEUE: &str = "parcels";

async fn connect() -> Outcome<PgStore> {
    let url = env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set: which database is to be measured?")?;
    Ok(PgStore::builder(&url).connect().await?)
}

/// The queue of all measurements, with its defaults unless the environment names others: `WORKERS`, `RETAIN=failures`,
/// `COALESCE`.
pub(crate) fn queue() -> Queue<Parcel> {
    let queue = Queue::<Parcel>::new(QUEUE).run(|parcel: Parcel, _: Context| async move {
        parcel.run();
        Ok::<_, HandlerError>(())
    });
    let queue = match env::var("RETAIN").as_deref() {
        Ok("failures") => queue.retain(Retention::Failures),
        _ => queue,
    };
    let queue = if env::var_os("COALESCE").is_some() { queue.coalescing() } else { queue };
    match env::var("WORKERS").ok().and_then(|text| text.parse().ok()) {
        Some(workers) => queue.workers(workers),
        None => queue,
    }
}

async fn producer() -> Outcome<Enqueuer<Parcel>> {
    Ok(Enqueuer::new(connect().await?, tourbillon::runtime::Runtime::tokio(), &queue())?)
}

async fn serve() -> Outcome<Running> {
    Ok(Scheduler::builder(connect().await?).queue(queue()).build()?.start())
}

/// A replica with periodic jobs, none of which is due soon, and empty queues, until the process is killed.
pub(crate) async fn replica(jobs: u64, queues: u64) -> Outcome<()> {
    let mut builder = Scheduler::builder(connect().await?);
    for number in 0..jobs {
        let job = Job::new(&format!("job {number}")).every(Duration::from_secs(86_400)).begin_with_next_slot();
        builder = builder.job(job.run(|_| async { Ok::<_, HandlerError>(()) }));
    }
    for number in 0..queues {
        let queue = Queue::<Parcel>::new(&format!("queue {number}"));
        builder = builder.queue(queue.run(|_, _: Context| async { Ok::<_, HandlerError>(()) }));
    }
    let _running = builder.build()?.start();
    std::future::pending().await
}

/// Makes the schema.
pub(crate) async fn setup() -> Outcome<()> {
    connect().await?.migrate().await?;
    Ok(())
}

/// Enqueues `jobs`, `batch` at a time.
pub(crate) async fn bulk(jobs: u64, batch: u64) -> Outcome<()> {
    let producer = producer().await?;
    let began = now();
    let mut next = 0;
    while next < jobs {
        let end = (next + batch).min(jobs);
        let parcels: Vec<_> = (next..end).map(Parcel::numbered).collect();
        producer.enqueue_all(parcels.iter().map(|parcel| (parcel, ItemOptions::new()))).await?;
        next = end;
    }
    report_rate(jobs, began);
    Ok(())
}

/// Enqueues `jobs` one by one, from `callers` tasks that each wait for their own.
pub(crate) async fn single(jobs: u64, callers: u64) -> Outcome<()> {
    let producer = producer().await?;
    let (began, next) = (now(), Arc::new(AtomicU64::new(0)));
    let mut tasks: JoinSet<Outcome<()>> = JoinSet::new();
    for _ in 0..callers {
        let (producer, next) = (producer.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let id = next.fetch_add(1, Ordering::Relaxed);
                if id >= jobs {
                    return Ok(());
                }
                producer.enqueue(&Parcel::numbered(id)).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    report_rate(jobs, began);
    Ok(())
}

/// Runs jobs until the process is killed.
pub(crate) async fn worker() -> Outcome<()> {
    let _running = serve().await?;
    report_runs();
    std::future::pending().await
}

/// Worker and producer in one process: `jobs`, `gap` apart, from before the insert to the start of the handler.
pub(crate) async fn latency(jobs: u64, gap: Duration) -> Outcome<()> {
    let (_running, producer) = (serve().await?, producer().await?);
    pause(Duration::from_millis(1500)).await;
    for id in 0..jobs {
        producer.enqueue(&Parcel::timed(id)).await?;
        pause(gap).await;
    }
    report_latencies(jobs).await;
    Ok(())
}
