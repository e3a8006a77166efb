//! Owns what becomes of a store's connections: kept through calls and refusals, tried if they idled, gone with the store; and how much
//! a store says through them to those who listen.

use std::time::Duration;

use libtest_mimic::Failed;
use sqlx::{PgConnection, Row, postgres::PgListener};
use tourbillon::{
    runtime::Runtime,
    store::{Cancel, ErrorKind, ListExecutions, ReadClock, Store},
};
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;

use crate::{Case, notices::soon};

pub(crate) const CASES: &[Case] = &[
    ("connection::it_is_kept_through_calls_and_refusals", it_is_kept_through_calls_and_refusals),
    ("connection::one_that_died_while_it_idled_is_not_used", one_that_died_while_it_idled_is_not_used),
    ("connection::none_is_left_of_a_store_that_was_dropped", none_is_left_of_a_store_that_was_dropped),
    ("connection::none_is_left_of_a_store_that_was_closed", none_is_left_of_a_store_that_was_closed),
    ("connection::closing_waits_for_nobody_who_is_gone", closing_waits_for_nobody_who_is_gone),
    ("connection::notices_are_gathered", notices_are_gathered),
];

/// A store with one connection, migrated, and another way into its database.
async fn single(cluster: &'static Cluster) -> Result<(PgStore, PgConnection), Failed> {
    let url = cluster.fresh_database();
    let store = PgStore::builder(&url).max_connections(1).connect().await?;
    store.migrate().await?;
    Ok((store, crate::connect(&url).await?))
}

/// The sessions that stores have in this database.
async fn sessions(app: &mut PgConnection) -> Result<Vec<i32>, Failed> {
    let all =
        "select pid from pg_stat_activity where datname = current_database() and application_name = 'tourbillon'";
    Ok(sqlx::query(all).fetch_all(app).await?.iter().map(|row| row.get(0)).collect())
}

/// The one that a store keeps, once that with which it looked at the server is gone.
async fn kept(app: &mut PgConnection) -> Result<i32, Failed> {
    soon("the store has one session", async || match sessions(app).await?[..] {
        [pid] => Ok(Some(pid)),
        _ => Ok(None),
    })
    .await
}

/// Also when the server refuses in the middle of a transaction, which the store has to end then.
fn it_is_kept_through_calls_and_refusals(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let (store, mut app) = single(cluster).await?;
        let ids = crate::plan_due(&store, "job", 1, &crate::policy()).await?;
        let pid = kept(&mut app).await?;
        store.call(crate::request(ReadClock {})).await?;
        sqlx::raw_sql("begin; select from tourbillon.execution for update").execute(&mut app).await?;
        let cancel = store.call(crate::request(Cancel { ids, actor: None }));
        let interrupt = async {
            crate::until_one_waits(&mut app).await?;
            sqlx::query("select pg_cancel_backend($1)").bind(pid).execute(&mut app).await?;
            Ok::<_, Failed>(())
        };
        let (refused, interrupted) = tokio::join!(cancel, interrupt);
        interrupted?;
        refused.expect_err("it was interrupted");
        sqlx::raw_sql("commit").execute(&mut app).await?;
        let filter = ListExecutions { limit: 10, ..ListExecutions::default() };
        store.call(crate::request(filter)).await?;
        assert_eq!(kept(&mut app).await?, pid);
        Ok(())
    })
}

/// A firewall, a restart or an administrator ended it.
fn one_that_died_while_it_idled_is_not_used(cluster: &'static Cluster) -> Result<(), Failed> {
    /// Longer than a connection is trusted.
    const IDLE: Duration = Duration::from_millis(1_500);
    crate::block_on(async {
        let (store, mut app) = single(cluster).await?;
        let pid = kept(&mut app).await?;
        sqlx::query("select pg_terminate_backend($1)").bind(pid).execute(&mut app).await?;
        Runtime::tokio().sleep(IDLE).await;
        crate::plan_due(&store, "job", 1, &crate::policy()).await?;
        Ok(())
    })
}

fn none_is_left_of_a_store_that_was_dropped(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let (store, mut app) = single(cluster).await?;
        kept(&mut app).await?;
        drop(store);
        soon("its sessions have ended", async || Ok(sessions(&mut app).await?.is_empty().then_some(()))).await
    })
}

/// Also while others still have the store.
fn none_is_left_of_a_store_that_was_closed(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let (store, mut app) = single(cluster).await?;
        kept(&mut app).await?;
        store.close().await;
        let refused = store.call(crate::request(ReadClock {})).await.expect_err("it is closed");
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        soon("its sessions have ended", async || Ok(sessions(&mut app).await?.is_empty().then_some(()))).await
    })
}

/// The task that tells notices is gone with the runtime that the store was made in.
fn closing_waits_for_nobody_who_is_gone(cluster: &'static Cluster) -> Result<(), Failed> {
    let hour = Duration::from_secs(3_600);
    let store = PgStore::builder(&cluster.fresh_database()).call_timeout(hour);
    let store = crate::block_on(store.connect())?;
    crate::block_on(store.close());
    Ok(())
}

/// However often it is called: at most 50 a second.
fn notices_are_gathered(cluster: &'static Cluster) -> Result<(), Failed> {
    const CALLS: usize = 200;
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let mut listener = PgListener::connect(&url).await?;
        listener.listen("tourbillon tourbillon").await?;
        let runtime = Runtime::tokio();
        let began = runtime.monotonic();
        for _ in 0..CALLS {
            crate::notices::enqueue(&store).await?;
        }
        store.close().await;
        let most = 2 + runtime.monotonic().since(began).as_millis() / 20;
        let mut told = 0;
        while runtime.timeout(Duration::from_millis(500), listener.recv()).await.transpose()?.is_some() {
            told += 1;
        }
        assert!((1..=most).contains(&told), "{told} messages of {CALLS} calls, at most {most}");
        Ok(())
    })
}
