//! Owns what notices do on a real server: who hears them, what becomes of a listener whose session ends, what polling
//! alone still does.

use std::time::Duration;

use libtest_mimic::Failed;
use sqlx::{Connection, Row};
use tourbillon::{
    driver::{Running, Scheduler, Settings},
    job::{Context, HandlerError},
    model::{ExecutionId, JobName, RequestId, State},
    queue::{Enqueuer, ItemOptions, Queue},
    runtime::Runtime,
    store::{EnqueueOutcome, ListExecutions, Listener, MAX_BATCH, Notice, Store, ask},
};
use tourbillon_pg::{Notices, PgStore};
use tourbillon_tests::cluster::Cluster;

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    (
        "item_of_another_process_is_started_long_before_the_poll",
        item_of_another_process_is_started_long_before_the_poll,
    ),
    ("listener_whose_session_was_ended_listens_again", listener_whose_session_was_ended_listens_again),
    ("without_notices_items_are_found_by_polling", without_notices_items_are_found_by_polling),
    ("services_in_one_database_do_not_hear_each_other", services_in_one_database_do_not_hear_each_other),
    ("announced_commit_is_noticed", announced_commit_is_noticed),
    ("closing_store_tells_the_rest", closing_store_tells_the_rest),
    ("listener_has_an_address_of_its_own", listener_has_an_address_of_its_own),
];

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn queue() -> Queue<u32> {
    Queue::new("mail")
}

pub(crate) fn worker(store: PgStore, poll_interval: Duration) -> Result<Running, Failed> {
    let settings = Settings { poll_interval, ..Settings::default() };
    let queue = queue().run(|_, _: Context| async { Ok::<_, HandlerError>(()) });
    Ok(Scheduler::builder(store).settings(settings).queue(queue).build().map_err(|error| error.to_string())?.start())
}

pub(crate) async fn enqueue(store: &PgStore) -> Result<ExecutionId, Failed> {
    let producer = Enqueuer::new(store.clone(), Runtime::tokio(), &queue()).map_err(|error| error.to_string())?;
    match producer.enqueue(&7).await.map_err(|error| error.to_string())? {
        EnqueueOutcome::Enqueued(id) => Ok(id),
        other => Err(format!("not enqueued: {other:?}").into()),
    }
}

/// Looks until it is so.
pub(crate) async fn soon<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, Failed>,
) -> Result<T, Failed> {
    let runtime = Runtime::tokio();
    let give_up_at = runtime.monotonic() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if runtime.monotonic() > give_up_at {
            return Err(format!("{what}: not within {PATIENCE:?}").into());
        }
        runtime.sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn succeeded(store: &PgStore, id: ExecutionId) -> Result<(), Failed> {
    let list = || ListExecutions { id: Some(id), limit: MAX_BATCH, ..ListExecutions::default() };
    soon("the item is done", async || {
        let page = ask(store, RequestId(Runtime::tokio().uuid()), list()).await?;
        Ok(page.executions.iter().any(|row| row.state == State::Succeeded).then_some(()))
    })
    .await
}

/// The sessions that listen in this database.
pub(crate) async fn listening(url: &str) -> Result<Vec<i32>, Failed> {
    let mut admin = crate::connect(url).await?;
    let all = "select pid from pg_stat_activity
               where datname = current_database() and application_name = 'tourbillon listener'";
    Ok(sqlx::query(all).fetch_all(&mut admin).await?.iter().map(|row| row.get(0)).collect())
}

pub(crate) async fn some_listen(url: &str, not: &[i32]) -> Result<Vec<i32>, Failed> {
    soon("a session listens", async || {
        let sessions = listening(url).await?;
        Ok(sessions.iter().any(|pid| !not.contains(pid)).then_some(sessions))
    })
    .await
}

async fn heard(listener: &mut dyn Listener) -> Result<Notice, Failed> {
    Ok(Runtime::tokio().timeout(PATIENCE, listener.next()).await.ok_or("nothing was noticed")??)
}

async fn listener(store: &PgStore) -> Result<Box<dyn Listener>, Failed> {
    store.listen().await?.ok_or_else(|| "this store gives notices".into())
}

fn item_of_another_process_is_started_long_before_the_poll(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let here = PgStore::connect(&url).await?;
        here.migrate().await?;
        let running = worker(here, Duration::from_secs(3600))?;
        some_listen(&url, &[]).await?;
        let there = PgStore::connect(&url).await?;
        for _ in 0..3 {
            let id = enqueue(&there).await?;
            succeeded(&there, id).await?;
        }
        running.stop().await?;
        Ok(())
    })
}

/// Zoo B30, the loud half; the silent one is a probe's.
fn listener_whose_session_was_ended_listens_again(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let running = worker(store.clone(), Duration::from_secs(3600))?;
        let before = some_listen(&url, &[]).await?;
        let mut admin = crate::connect(&url).await?;
        sqlx::query("select pg_terminate_backend(pid) from unnest($1::int[]) as pid")
            .bind(&before)
            .execute(&mut admin)
            .await?;
        // Maybe while nobody listens: who listens again looks for what was missed.
        let id = enqueue(&store).await?;
        succeeded(&store, id).await?;
        some_listen(&url, &before).await?;
        let id = enqueue(&store).await?;
        succeeded(&store, id).await?;
        running.stop().await?;
        Ok(())
    })
}

fn without_notices_items_are_found_by_polling(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::builder(&url).notices(Notices::Off).connect().await?;
        store.migrate().await?;
        assert!(store.listen().await?.is_none());
        let running = worker(store.clone(), Duration::from_millis(50))?;
        let id = enqueue(&store).await?;
        succeeded(&store, id).await?;
        assert!(listening(&url).await?.is_empty());
        running.stop().await?;
        Ok(())
    })
}

fn services_in_one_database_do_not_hear_each_other(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = async |schema| PgStore::builder(&url).schema(schema).connect().await;
        let (one, other) = (store("one").await?, store("an \"odd\" other").await?);
        let (mut at_one, mut at_other) = (listener(&one).await?, listener(&other).await?);
        one.announce(&JobName::new("mail")?);
        assert_eq!(heard(&mut *at_one).await?, Notice::of(JobName::new("mail")?));
        other.announce(&JobName::new("push")?);
        assert_eq!(heard(&mut *at_other).await?, Notice::of(JobName::new("push")?));
        Ok(())
    })
}

fn announced_commit_is_noticed(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let running = worker(PgStore::connect(&url).await?, Duration::from_secs(3600))?;
        some_listen(&url, &[]).await?;
        let producer = Enqueuer::new(store.clone(), Runtime::tokio(), &queue()).map_err(|error| error.to_string())?;
        let enqueue = producer.request([(&7, ItemOptions::new())]).map_err(|error| error.to_string())?;
        let mut app = crate::connect(&url).await?;
        let mut transaction = app.begin().await?;
        store.enqueue_in(&mut transaction, RequestId(Runtime::tokio().uuid()), &enqueue).await?;
        transaction.commit().await?;
        store.announce(producer.queue());
        succeeded(&store, enqueue.items[0].id).await?;
        running.stop().await?;
        Ok(())
    })
}

/// A producer that enqueues and ends.
fn closing_store_tells_the_rest(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let (here, there) = (PgStore::connect(&url).await?, PgStore::connect(&url).await?);
        let mut listener = listener(&here).await?;
        let jobs: Vec<JobName> = ["mail", "push", "sms"].into_iter().map(JobName::new).collect::<Result<_, _>>()?;
        for job in &jobs {
            there.announce(job);
        }
        there.close().await;
        let mut all = heard(&mut *listener).await?;
        while !jobs.iter().all(|job| all.concerns(std::slice::from_ref(job))) {
            all.add(heard(&mut *listener).await?);
        }
        Ok(())
    })
}

fn listener_has_an_address_of_its_own(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::builder(&url).direct_url("postgres://nobody@127.0.0.1:1/nowhere").connect().await?;
        store.migrate().await?;
        let Err(error) = store.listen().await else { return Err("nobody is there to connect to".into()) };
        assert!(error.to_string().contains("127.0.0.1:1/nowhere"), "{error}");
        let running = worker(store.clone(), Duration::from_millis(50))?;
        let id = enqueue(&store).await?;
        succeeded(&store, id).await?;
        running.stop().await?;
        Ok(())
    })
}
