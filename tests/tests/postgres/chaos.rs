//! Owns a server's worst day: a queue drained by three replicas while sessions are ended, statements time out, a neighbour
//! sits on rows in the wrong order, and the server crashes. Nothing that was acknowledged is lost, and nothing runs more
//! often than it was charged for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use libtest_mimic::Failed;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tourbillon::{
    driver::{Running, Scheduler},
    job::{Context, HandlerError},
    model::ExecutionId,
    plan::Backoff,
    queue::{Enqueuer, ItemOptions, Queue},
    runtime::Runtime,
};
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;

use crate::{Case, notices::soon};

pub(crate) const CASES: &[Case] =
    &[("nothing_is_lost_on_the_servers_worst_day", nothing_is_lost_on_the_servers_worst_day)];

const REPLICAS: usize = 3;
const ITEMS: u32 = 1_500;
const BATCH: u32 = 15;

/// Times that each payload was run.
type Runs = Arc<Mutex<BTreeMap<u32, i64>>>;

fn queue() -> Queue<u32> {
    Queue::new("mail")
        .workers(8)
        .run_timeout(Duration::from_millis(500))
        .lease(Duration::from_secs(2))
        .heartbeat(Duration::from_millis(300))
        .max_attempts(30)
        .backoff(Backoff::constant(Duration::from_millis(50)))
        .poll_every(Duration::from_millis(100))
}

fn replica(store: PgStore, runs: &Runs) -> Result<Running, Failed> {
    let runs = Arc::clone(runs);
    let queue = queue().run(move |item: u32, ctx: Context| {
        *runs.lock().unwrap_or_else(PoisonError::into_inner).entry(item).or_default() += 1;
        async move {
            ctx.sleep(Duration::from_millis(2)).await;
            Ok::<_, HandlerError>(())
        }
    });
    Ok(Scheduler::builder(store).queue(queue).build().map_err(|error| error.to_string())?.start())
}

/// Few connections and short deadlines, so that there are many ends to tie up.
async fn store(url: &str) -> Result<PgStore, Failed> {
    let builder = PgStore::builder(url).max_connections(3);
    Ok(builder.acquire_timeout(Duration::from_secs(1)).call_timeout(Duration::from_secs(1)).connect().await?)
}

/// Each batch until it is acknowledged, under the ids that it had first.
async fn produce(store: PgStore) -> Result<(), Failed> {
    let runtime = Runtime::tokio();
    let producer = Enqueuer::new(store, runtime.clone(), &queue()).map_err(|error| error.to_string())?;
    for batch in 0..ITEMS / BATCH {
        let items: Vec<u32> = (batch * BATCH..(batch + 1) * BATCH).collect();
        let ids: Vec<_> = items.iter().map(|_| ExecutionId(runtime.uuid())).collect();
        let again = || items.iter().zip(&ids).map(|(item, id)| (item, ItemOptions::new().id(*id)));
        while producer.enqueue_all(again()).await.is_err() {}
        runtime.sleep(Duration::from_millis(30)).await;
    }
    Ok(())
}

/// One round of each; every session of ours is ended by a round.
async fn spoil(cluster: &Cluster, url: &str) -> Result<(), Failed> {
    for round in 0..6 {
        let mut admin = crate::connect(url).await?;
        sqlx::raw_sql("set statement_timeout = 0").execute(&mut admin).await?;
        neighbour(&mut admin).await?;
        let timeout = if round % 2 == 0 { "'15ms'" } else { "default" };
        // For the sessions to come.
        let set = format!(
            "do $$ begin execute format('alter database %I set statement_timeout to {}', current_database()); end $$",
            timeout.replace('\'', "''")
        );
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut admin).await?;
        let all = "select count(pg_terminate_backend(pid)) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        sqlx::raw_sql(all).execute(&mut admin).await?;
        Runtime::tokio().sleep(Duration::from_millis(300)).await;
        if round == 3 {
            cluster.restart()?;
        }
    }
    Ok(())
}

/// Takes rows in the order that is not ours, slowly, and sits on them: deadlocks, and leases that nobody can renew.
async fn neighbour(admin: &mut PgConnection) -> Result<(), Failed> {
    let rows = "select id::text from tourbillon.execution where state = 'running' order by id desc limit 12";
    let ids: Vec<String> = sqlx::query(rows).fetch_all(&mut *admin).await?.iter().map(|row| row.get(0)).collect();
    sqlx::raw_sql("begin").execute(&mut *admin).await?;
    for id in ids {
        let lock = sqlx::query("select from tourbillon.execution where id = $1::uuid for update").bind(id);
        if lock.execute(&mut *admin).await.is_err() {
            // It was our turn to be the deadlock's victim.
            break;
        }
        Runtime::tokio().sleep(Duration::from_millis(20)).await;
    }
    sqlx::raw_sql("rollback").execute(&mut *admin).await?;
    Ok(())
}

fn nothing_is_lost_on_the_servers_worst_day(_shared: &'static Cluster) -> Result<(), Failed> {
    let cluster = Cluster::start()?;
    crate::block_on(async {
        let url = cluster.fresh_database();
        store(&url).await?.migrate().await?;
        let runs = Runs::default();
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            replicas.push(replica(store(&url).await?, &runs)?);
        }
        let (produced, spoilt) = tokio::join!(produce(store(&url).await?), spoil(&cluster, &url));
        produced?;
        spoilt?;
        let mut admin = crate::connect(&url).await?;
        soon("all items are done", async || {
            let live = sqlx::query("select from tourbillon.execution limit 1").fetch_optional(&mut admin).await?;
            Ok(live.is_none().then_some(()))
        })
        .await?;
        let ended = "select payload::text::int, attempt::int8, state from tourbillon.history";
        let ended = sqlx::query(ended).fetch_all(&mut admin).await?;
        assert_eq!(ended.len(), ITEMS as usize, "each is in history once");
        let runs = runs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut again = 0;
        for row in &ended {
            let (item, charged, state): (i32, i64, String) = (row.get(0), row.get(1), row.get(2));
            let ran = runs.get(&u32::try_from(item)?).copied().unwrap_or(0);
            assert!(
                state == "succeeded" && (1..=charged).contains(&ran),
                "item {item}: {state}, {ran} runs of {charged}"
            );
            again += ran - 1;
        }
        eprintln!("{ITEMS} items, 0 lost, {again} runs beyond the first, each of them charged");
        for replica in replicas {
            replica.stop().await?;
        }
        Ok(())
    })
}
