//! Owns what session advisory locks do on a real server: one holder, loss with the session, nothing leaked (P-28, A14).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use libtest_mimic::Failed;
use sqlx::Row;
use tourbillon::{
    driver::Scheduler,
    job::BoxError,
    model::LockName,
    runtime::Runtime,
    service::{FirstTick, HaMode, Locker, Service, SessionLock, Tick},
};
use tourbillon_tests::cluster::Cluster;

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    ("session_lock_has_one_holder_and_is_free_after_unlock", session_lock_has_one_holder_and_is_free_after_unlock),
    (
        "session_lock_is_lost_with_its_session_and_verify_says_so",
        session_lock_is_lost_with_its_session_and_verify_says_so,
    ),
    (
        "dropped_session_lock_and_cancelled_try_leave_nothing_locked",
        dropped_session_lock_and_cancelled_try_leave_nothing_locked,
    ),
    (
        "ended_session_cancels_the_tick_and_another_replica_ticks",
        ended_session_cancels_the_tick_and_another_replica_ticks,
    ),
];

type Held = Box<dyn SessionLock>;

async fn taken(locker: &impl Locker, name: &str) -> Result<Option<Held>, Failed> {
    Ok(locker.try_lock(LockName::new(name)?).await?)
}

/// The server frees a lock when it notices the end of the session: soon, and not at once.
async fn soon(locker: &impl Locker, name: &str) -> Result<Held, Failed> {
    let runtime = Runtime::tokio();
    let give_up_at = runtime.monotonic() + Duration::from_secs(20);
    loop {
        if let Some(lock) = taken(locker, name).await? {
            return Ok(lock);
        }
        if runtime.monotonic() > give_up_at {
            return Err("the lock was never freed".into());
        }
        runtime.sleep(Duration::from_millis(20)).await;
    }
}

// P-28
fn session_lock_has_one_holder_and_is_free_after_unlock(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let locker = crate::fresh_store(cluster).await?.session_locker();
        let mut lock = taken(&locker, "crl").await?.ok_or("free")?;
        assert!(format!("{lock:?}").contains("crl"));
        assert!(taken(&locker, "crl").await?.is_none());
        assert!(taken(&locker, "digest").await?.is_some(), "locks are independent (A29)");
        lock.verify().await?;
        lock.unlock().await;
        taken(&locker, "crl").await?.ok_or("free again")?.unlock().await;
        Ok(())
    })
}

/// Ends all sessions that hold advisory locks in this database.
async fn end_sessions(url: &str) -> Result<usize, Failed> {
    let mut admin = crate::connect(url).await?;
    let ended = sqlx::query(
        "select pg_terminate_backend(l.pid) from pg_locks l join pg_database d on d.oid = l.database
         where l.locktype = 'advisory' and d.datname = current_database()",
    );
    let rows = ended.fetch_all(&mut admin).await?;
    Ok(rows.iter().filter(|row| row.get::<bool, _>(0)).count())
}

// P-28
fn session_lock_is_lost_with_its_session_and_verify_says_so(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = tourbillon_pg::PgStore::builder(&url).connect().await?;
        let locker = store.session_locker();
        let mut lock = taken(&locker, "crl").await?.ok_or("free")?;
        assert_eq!(end_sessions(&url).await?, 1);
        let mut other = soon(&locker, "crl").await?;
        assert!(lock.verify().await.is_err());
        other.verify().await?;
        Ok(())
    })
}

/// A14.
// P-28
fn dropped_session_lock_and_cancelled_try_leave_nothing_locked(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let locker = crate::fresh_store(cluster).await?.session_locker();
        drop(taken(&locker, "crl").await?.ok_or("free")?);
        drop(soon(&locker, "crl").await?);
        // Cancelled at every point that it awaits: after k polls, for growing k.
        for polls in 0..12 {
            let mut trying = locker.try_lock(LockName::new("crl")?);
            for _ in 0..polls {
                let polled =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(trying.as_mut().poll(cx).is_ready())).await;
                if polled {
                    break;
                }
                Runtime::tokio().sleep(Duration::from_millis(2)).await;
            }
            drop(trying);
        }
        soon(&locker, "crl").await?.unlock().await;
        Ok(())
    })
}

/// Tells when the work of a tick is dropped before it ended by itself.
struct Cancelled(Arc<AtomicBool>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A27, B28.
// P-28
fn ended_session_cancels_the_tick_and_another_replica_ticks(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = tourbillon_pg::PgStore::builder(&url).connect().await?;
        store.migrate().await?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let started = Arc::new(tokio::sync::Semaphore::new(0));
        let replica = |locker| {
            let (cancelled, started) = (Arc::clone(&cancelled), Arc::clone(&started));
            let service = Service::new("crl")
                .every(Duration::from_millis(50))
                .first(FirstTick::Immediately)
                .mode(HaMode::TickLock)
                .ttl(Duration::from_millis(400))
                .locker(locker)
                .run(move |tick: Tick| {
                    let cancelled = Cancelled(Arc::clone(&cancelled));
                    started.add_permits(1);
                    async move {
                        tick.sleep(Duration::from_secs(600)).await;
                        drop(cancelled);
                        Ok::<_, BoxError>(())
                    }
                });
            Scheduler::builder(store.clone()).service(service).build().map(Scheduler::start)
        };
        let a = replica(Arc::new(store.session_locker()))?;
        started.acquire().await?.forget();
        let b = replica(Arc::new(store.session_locker()))?;
        assert_eq!(end_sessions(&url).await?, 1);
        // Either replica may be next; what matters is that the first tick has not gone on.
        started.acquire().await?.forget();
        let runtime = Runtime::tokio();
        let give_up_at = runtime.monotonic() + Duration::from_secs(20);
        while !cancelled.load(Ordering::SeqCst) && runtime.monotonic() < give_up_at {
            runtime.sleep(Duration::from_millis(10)).await;
        }
        assert!(cancelled.load(Ordering::SeqCst), "the work under the lost lock goes on");
        // Both have a tick that takes ten minutes, or will: they are interrupted.
        let _ = (a.shutdown(Duration::ZERO).await, b.shutdown(Duration::ZERO).await);
        Ok(())
    })
}
