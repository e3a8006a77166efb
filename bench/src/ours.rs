//! Tourbillon, as its users have it: a typed queue on Postgres.

use std::{env, time::Duration};

use sqlx::{Connection, PgConnection};
use tourbillon::{
    driver::Running,
    job::BoxError,
    model::RequestId,
    prelude::*,
    queue::{Enqueuer, ItemOptions},
    runtime::Runtime,
    service::{HaMode, Leadership, Service, Term, Tick},
};
use tourbillon_pg::PgStore;

use crate::workload::{
    Latencies, OWN_ROW, OWN_TABLE, Outcome, Parcel, now, pause, rate, report_lead, report_runs, share,
};

/// The queue of all measurements.
pub(crate) const QUEUE: &str = "parcels";

fn url() -> Outcome<String> {
    Ok(env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set: which database is to be measured?")?)
}

async fn connect() -> Outcome<PgStore> {
    Ok(PgStore::builder(&url()?).connect().await?)
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
    Ok(Enqueuer::new(connect().await?, Runtime::tokio(), &queue())?)
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
pub(crate) async fn bulk(jobs: u64, batch: u64) -> Outcome<f64> {
    let producer = producer().await?;
    let began = now();
    let mut next = 0;
    while next < jobs {
        let end = (next + batch).min(jobs);
        let parcels: Vec<_> = (next..end).map(Parcel::numbered).collect();
        producer.enqueue_all(parcels.iter().map(|parcel| (parcel, ItemOptions::new()))).await?;
        next = end;
    }
    Ok(rate(jobs, began))
}

/// Enqueues `jobs` one by one, from `callers` tasks that each wait for their own.
pub(crate) async fn single(jobs: u64, callers: u64) -> Outcome<f64> {
    let producer = producer().await?;
    share(jobs, (0..callers).map(|_| producer.clone()).collect(), |producer, id| async move {
        producer.enqueue(&Parcel::numbered(id)).await?;
        Ok(producer)
    })
    .await
}

/// As [`single`], each in a transaction on a connection of the caller's own, with a row of the caller's own, announced after
/// the commit.
pub(crate) async fn within(jobs: u64, callers: u64) -> Outcome<f64> {
    let (store, producer) = (connect().await?, producer().await?);
    sqlx::raw_sql(OWN_TABLE).execute(&mut PgConnection::connect(&url()?).await?).await?;
    let mut connections = Vec::new();
    for _ in 0..callers {
        connections.push((PgConnection::connect(&url()?).await?, store.clone(), producer.clone()));
    }
    share(jobs, connections, |(mut connection, store, producer), id| async move {
        let enqueue = producer.request([(&Parcel::numbered(id), ItemOptions::new())])?;
        let mut transaction = connection.begin().await?;
        sqlx::query(OWN_ROW).bind(i64::try_from(id)?).execute(&mut *transaction).await?;
        store.enqueue_in(&mut transaction, RequestId(Runtime::tokio().uuid()), &enqueue).await?;
        transaction.commit().await?;
        store.announce(producer.queue());
        Ok((connection, store, producer))
    })
    .await
}

/// A replica whose handlers do not end, and which may lead, until the process is killed.
pub(crate) async fn hold() -> Outcome<()> {
    let queue = Queue::<Parcel>::new(QUEUE).run(|parcel: Parcel, _: Context| async move {
        parcel.run();
        std::future::pending::<Result<(), HandlerError>>().await
    });
    let led = Service::new("watch").every(Duration::from_secs(1)).mode(HaMode::Leader).led_by("watch");
    let led = led.run(|_: Tick| async { Ok::<u64, BoxError>(0) });
    let group = Leadership::new("watch").on_gain(|_: Term| async {
        report_lead();
        Ok::<_, BoxError>(())
    });
    let scheduler = Scheduler::builder(connect().await?).queue(queue).service(led).leadership(group).build()?;
    let _running = scheduler.start();
    report_runs();
    std::future::pending().await
}

/// Runs jobs until the process is killed.
pub(crate) async fn worker() -> Outcome<()> {
    let _running = serve().await?;
    report_runs();
    std::future::pending().await
}

/// Worker and producer in one process: `jobs`, `gap` apart, from before the insert to the start of the handler. The producer
/// has a store of its own, so that the worker hears of it as it would of another process; with `NEAR` it is the worker's.
pub(crate) async fn latency(jobs: u64, gap: Duration) -> Outcome<()> {
    let running = serve().await?;
    let producer = match env::var_os("NEAR") {
        Some(_) => running.queue::<Parcel>(QUEUE)?.enqueuer().clone(),
        None => producer().await?,
    };
    pause(Duration::from_millis(1500)).await;
    for id in 0..jobs {
        producer.enqueue(&Parcel::timed(id)).await?;
        pause(gap).await;
    }
    Latencies::of(jobs).await.report();
    Ok(())
}
