//! A small service: three jobs, any number of replicas, one database.
//!
//! ```text
//! cargo run -p tourbillon-examples                                      # SQLite, no set-up
//! cargo run -p tourbillon-examples -- postgres://user@localhost/app     # or TOURBILLON_URL=…
//! ```
//!
//! Start it in two terminals and watch the replicas share the work. Kill one with `kill -9` while it writes the
//! report: another replica takes the report over when the lease has run out. Stop one with Ctrl-C: it gives what
//! it was running back at once, at no charge.
//!
//! Cadences, leases and waits are seconds here, so that there is something to see. Minutes are usual.

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tourbillon::prelude::*;
use tourbillon_pg::PgStore;
use tourbillon_sqlite::SqliteStore;
use tracing_subscriber::EnvFilter;

/// How long handlers may go on after a signal. Stay below what your orchestrator waits before it kills: 10 s for
/// Docker, 30 s for Kubernetes.
const GRACE: Duration = Duration::from_secs(2);

/// An attempt that runs longer has failed.
const RUN_TIMEOUT: Duration = Duration::from_secs(6);

/// How long a dead replica keeps an execution from the others, counted from its last sign of life. Living replicas
/// renew it while a handler runs.
const LEASE: Duration = Duration::from_secs(8);

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the service ends");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    // Asked for before anything runs: a signal during the start is then not missed.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let store = open_store().await?;
    let scheduler = Scheduler::builder(store)
        .job(meter_usage())
        .job(fetch_rates())
        .job(daily_report())
        .settings(Settings {
            // Small, so that one replica leaves something for the others.
            max_concurrency: 2,
            poll_interval: Duration::from_millis(200),
            rescue_interval: Duration::from_secs(1),
            ..Settings::default()
        })
        // A rule that does not hold is an error here, at boot, and names the job and the mend.
        .build()?;
    let running = scheduler.start();
    tracing::info!(incarnation = %running.incarnation(), pid = std::process::id(), "serving");

    tokio::select! {
        biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!(handlers = running.running_handlers(), grace = ?GRACE, "stopping");
    // An error names what may still run or could not be given back: worth a log line and an exit code.
    running.shutdown(GRACE).await?;
    tracing::info!("stopped; nothing of it runs any more");
    Ok(())
}

/// Postgres for a URL, a SQLite file for a path or for nothing; brought up to date, however many replicas boot at
/// once.
async fn open_store() -> Result<Arc<dyn Store>, Box<dyn Error>> {
    let place = std::env::args().nth(1).or_else(|| std::env::var("TOURBILLON_URL").ok());
    match place {
        Some(url) if url.contains("://") => {
            let store = PgStore::connect(&url).await?;
            store.migrate().await?;
            // The URL may hold a password: it does not belong into a log.
            tracing::info!("the database is Postgres");
            Ok(Arc::new(store))
        }
        file => {
            let file = file.map_or_else(|| std::env::temp_dir().join("tourbillon-service.db"), Into::into);
            let store = SqliteStore::open(&file)?;
            tracing::info!(file = %file.display(), "the database is SQLite");
            Ok(Arc::new(store))
        }
    }
}

/// Once a second for each tenant; every slot counts, so what was missed is made up for.
fn meter_usage() -> Job {
    Job::new("meter_usage")
        .every(Duration::from_secs(1))
        .catch_up(CatchUp::EverySlot { window: Duration::from_secs(3600), max_slots: 60 })
        // Asked again at every planning step: a new tenant needs no restart. Usually a query.
        .scopes_from(async || {
            let tenants = ["acme", "globex", "hooli", "initech"].map(|id| Scope::new("tenant", id));
            Ok(tenants.into_iter().collect::<Result<_, _>>()?)
        })
        .run_timeout(RUN_TIMEOUT)
        .lease(LEASE)
        .run(async |ctx: Context| {
            log_attempt(&ctx);
            ctx.sleep(Duration::from_millis(150)).await;
            Ok::<_, HandlerError>(Completion::new().rows_affected(1))
        })
}

/// Asks somebody unreliable: the first attempt always fails, and the retry waits for its backoff.
fn fetch_rates() -> Job {
    Job::new("fetch_rates")
        .every(Duration::from_secs(5))
        .run_timeout(RUN_TIMEOUT)
        .lease(LEASE)
        .max_attempts(4)
        .backoff(Backoff::exponential(Duration::from_millis(500)).capped_at(Duration::from_secs(4)))
        .run(async |ctx: Context| {
            log_attempt(&ctx);
            if ctx.attempt() == 1 {
                // Any error type will do (`?` works). With a code of its own it can be found in the history.
                return Err(HandlerError::new("the exchange answered 503").code("exchange_busy"));
            }
            Ok(())
        })
}

/// Takes long: what a crash, or a shutdown, interrupts. The first boot runs the slot of today at once.
fn daily_report() -> Job {
    Job::new("daily_report")
        .every(Duration::from_secs(24 * 3600))
        .run_timeout(RUN_TIMEOUT)
        .lease(LEASE)
        .run(write_report)
}

async fn write_report(ctx: Context) -> Result<Completion, HandlerError> {
    const CHAPTERS: u32 = 8;
    log_attempt(&ctx);
    for chapter in 1..=CHAPTERS {
        // At any await the handler may be dropped: its lease is lost, or the grace of a shutdown is over. So an
        // effect outside should carry `ctx.id()` for receivers that recognise repeats, or `ctx.fence()` for those
        // that refuse a number below the highest they saw.
        ctx.sleep(Duration::from_millis(500)).await;
        tracing::info!(chapter, "report");
    }
    Ok(Completion::new().rows_affected(u64::from(CHAPTERS)))
}

fn log_attempt(ctx: &Context) {
    let slot = ctx.slot_at().map(|at| at.to_string());
    tracing::info!(job = %ctx.job(), scope = %ctx.scope(), slot, execution = %ctx.id(), attempt = ctx.attempt(),
        fence = %ctx.fence(), "attempt");
}
