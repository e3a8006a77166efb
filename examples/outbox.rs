//! Store and forward with no server: one SQLite file, and a receiver that may be away.
//!
//! ```text
//! cargo run -p tourbillon-examples --bin outbox -- outbox.db inbox 20    # 20 messages, then serve until Ctrl-C
//! mkdir inbox                                                            # now the receiver is there
//! ```
//!
//! The folder `inbox` stands for a receiver across a network: while it does not exist, pushes fail and messages are
//! stored. Kill the process with `kill -9` whenever you like and start it again with no messages: what it has accepted
//! arrives.
//!
//! Waits are fractions of a second here, so that there is something to see. Without `rules` they are five minutes,
//! doubled up to 48 hours, ten attempts, 1,000 messages, seven days.

use std::{error::Error, io, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tourbillon::{
    driver::{Forwarded, Forwarder, Parcel},
    prelude::*,
};
use tourbillon_sqlite::SqliteStore;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();
    match forward().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the outbox ends");
            ExitCode::FAILURE
        }
    }
}

async fn forward() -> Result<(), Box<dyn Error>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(inbox)) = (arguments.next(), arguments.next()) else {
        return Err("usage: outbox FILE INBOX [MESSAGES]".into());
    };
    let messages: u32 = arguments.next().map_or(Ok(0), |count| count.parse())?;

    let inbox = Arc::new(PathBuf::from(inbox));
    let forwarder = Forwarder::builder(SqliteStore::open(file)?, "outbox", move |parcel| {
        let inbox = Arc::clone(&inbox);
        async move { push(&inbox, &parcel) }
    })
    .rules(|queue| {
        queue
            .poll_every(Duration::from_millis(100))
            .backoff(Backoff::exponential(Duration::from_millis(200)).capped_at(Duration::from_secs(1)))
            .max_attempts(100)
            // A process that was killed keeps its parcels from the next one for this long.
            .run_timeout(Duration::from_secs(1))
            .lease(Duration::from_secs(2))
            .on_success(|end| tracing::info!(parcel = %end.id, attempt = end.attempt, "delivered"))
            .on_exhausted(|end| tracing::warn!(parcel = %end.id, "given up"))
    })
    .start()?;
    tracing::info!(pid = std::process::id(), "serving");

    for number in 0..messages {
        // Once this is logged the message survives whatever happens to this process.
        match forwarder.push_or_store(format!("message {number} of {}", std::process::id())).await? {
            Forwarded::Delivered(id) => tracing::info!(parcel = %id, "accepted: delivered"),
            Forwarded::Stored(id) | Forwarded::Duplicate(id) => tracing::info!(parcel = %id, "accepted: stored"),
        }
    }

    tokio::select! {
        biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let stats = forwarder.stats().await?;
    tracing::info!(waiting = stats.live(), dead = stats.dead, "stopping");
    forwarder.stop().await?;
    Ok(())
}

/// One file per message. A repetition writes the same file again: the receiver recognises it by the parcel's id.
fn push(inbox: &std::path::Path, parcel: &Parcel<String>) -> io::Result<()> {
    std::fs::write(inbox.join(parcel.id.to_string()), &parcel.item)
}
