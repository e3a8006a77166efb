//! Owns what holds behind a transaction pooler, a real PgBouncer that gives each transaction another session, beyond
//! what each call answers: that is the conformance suite's.

use std::time::Duration;

use libtest_mimic::Failed;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tourbillon::{
    model::{JobName, LockName, RequestId},
    queue::{Enqueuer, ItemOptions},
    runtime::Runtime,
    service::Locker,
    store::{Counts, Enqueue, EnqueueOutcome, NewItem, Store, Unique, ask},
};
use tourbillon_pg::{PgStore, PgStoreBuilder, Pooler as Pooling};
use tourbillon_tests::{
    cluster::{Cluster, NoPostgres},
    pooler::Pooler,
};

use crate::{
    Case,
    notices::{enqueue, listening, queue, some_listen, succeeded, worker},
};

pub(crate) const CASES: &[Case] = &[
    ("scheduler_behind_a_pooler_polls", scheduler_behind_a_pooler_polls),
    ("scheduler_behind_a_pooler_hears_past_it", scheduler_behind_a_pooler_hears_past_it),
    ("session_locks_need_a_way_past_the_pooler", session_locks_need_a_way_past_the_pooler),
    ("pooler_that_was_not_named_is_named_by_the_error", pooler_that_was_not_named_is_named_by_the_error),
    ("claims_go_on_behind_a_pooler", claims_go_on_behind_a_pooler),
    ("item_is_enqueued_in_a_transaction_through_the_pooler", item_is_enqueued_in_a_transaction_through_the_pooler),
    ("a_turn_lasts_for_its_call_behind_a_pooler", a_turn_lasts_for_its_call_behind_a_pooler),
];

/// Never, as far as a test can wait.
const NEVER: Duration = Duration::from_secs(3600);

/// A new database: the way past the pooler, and a store through it.
fn behind(cluster: &Cluster) -> Result<(String, String, PgStoreBuilder), NoPostgres> {
    let direct = cluster.fresh_database();
    let through = Pooler::shared()?.url(&direct);
    let builder = PgStore::builder(&through).pooler(Pooling::Transaction);
    Ok((direct, through, builder))
}

fn scheduler_behind_a_pooler_polls(cluster: &'static Cluster) -> Result<(), Failed> {
    let (direct, _, builder) = behind(cluster)?;
    crate::block_on(async {
        let store = builder.connect().await?;
        store.migrate().await?;
        assert!(store.listen().await?.is_none());
        let running = worker(store.clone(), Duration::from_millis(50))?;
        let id = enqueue(&store).await?;
        succeeded(&store, id).await?;
        assert!(listening(&direct).await?.is_empty());
        running.stop().await?;
        Ok(())
    })
}

fn scheduler_behind_a_pooler_hears_past_it(cluster: &'static Cluster) -> Result<(), Failed> {
    let (direct, _, builder) = behind(cluster)?;
    crate::block_on(async {
        let store = builder.clone().direct_url(&direct).connect().await?;
        store.migrate().await?;
        let running = worker(store, NEVER)?;
        some_listen(&direct, &[]).await?;
        // A producer that hears nothing tells all the same.
        let there = builder.connect().await?;
        let id = enqueue(&there).await?;
        succeeded(&there, id).await?;
        running.stop().await?;
        Ok(())
    })
}

fn claims_go_on_behind_a_pooler(cluster: &'static Cluster) -> Result<(), Failed> {
    let (direct, _, builder) = behind(cluster)?;
    crate::block_on(async { crate::onward::goes_on(&direct, builder.connect().await?).await })
}

fn session_locks_need_a_way_past_the_pooler(cluster: &'static Cluster) -> Result<(), Failed> {
    let (direct, _, builder) = behind(cluster)?;
    crate::block_on(async {
        let name = LockName::new("digest")?;
        let store = builder.clone().connect().await?;
        let Err(error) = store.session_locker().try_lock(name.clone()).await else {
            return Err("a lock was got in a session that is nobody's".into());
        };
        assert!(error.to_string().contains(".direct_url("), "{error}");
        let locker = builder.direct_url(&direct).connect().await?.session_locker();
        let mut lock = locker.try_lock(name).await?.ok_or("nobody has it")?;
        lock.verify().await?;
        lock.unlock().await;
        Ok(())
    })
}

fn pooler_that_was_not_named_is_named_by_the_error(cluster: &'static Cluster) -> Result<(), Failed> {
    let (_, through, builder) = behind(cluster)?;
    crate::block_on(async {
        builder.connect().await?.migrate().await?;
        let unnamed = async {
            let store = PgStore::connect(&through).await?;
            for _ in 0..4 {
                enqueue(&store).await?;
            }
            Ok::<(), Failed>(())
        };
        let Err(error) = unnamed.await else { return Err("sessions in turns have no prepared statements".into()) };
        let said = error.message().unwrap_or_default();
        assert!(said.contains(".pooler(Pooler::Transaction)"), "{said}");
        Ok(())
    })
}

fn item_is_enqueued_in_a_transaction_through_the_pooler(cluster: &'static Cluster) -> Result<(), Failed> {
    let (_, through, builder) = behind(cluster)?;
    crate::block_on(async {
        let store = builder.connect().await?;
        store.migrate().await?;
        let producer = Enqueuer::new(store.clone(), Runtime::tokio(), &queue()).map_err(|error| error.to_string())?;
        // As the driver itself has it of those who come through a pooler.
        let options: PgConnectOptions = through.parse()?;
        let mut app = PgConnection::connect_with(&options.extra_float_digits(None)).await?;
        let running = worker(store.clone(), Duration::from_millis(50))?;
        for _ in 0..3 {
            let enqueue = producer.request([(&7, ItemOptions::new())]).map_err(|error| error.to_string())?;
            let mut transaction = app.begin().await?;
            store.enqueue_in(&mut transaction, RequestId(Runtime::tokio().uuid()), &enqueue).await?;
            transaction.commit().await?;
            succeeded(&store, enqueue.items[0].id).await?;
        }
        running.stop().await?;
        Ok(())
    })
}

/// It is taken by the first of several statements, and what the second waits for does not let it go.
fn a_turn_lasts_for_its_call_behind_a_pooler(cluster: &'static Cluster) -> Result<(), Failed> {
    let (direct, _, builder) = behind(cluster)?;
    let enqueue = |max_items, key: &str| {
        let unique = Unique { key: key.to_owned(), period_ms: None, counts: Counts::Live };
        let items = vec![NewItem { unique: Some(unique), ..crate::item(crate::policy()) }];
        Enqueue { queue: JobName::new("q").expect("a plain name"), max_items, items }
    };
    let id = || RequestId(Runtime::tokio().uuid());
    crate::block_on(async {
        let store = builder.connect().await?;
        store.migrate().await?;
        let (mut app, mut watcher) = (crate::connect(&direct).await?, crate::connect(&direct).await?);
        let mut tx = app.begin().await?;
        store.enqueue_in(&mut tx, id(), &enqueue(None, "one")).await?;
        let waits_for_the_key = ask(&store, id(), enqueue(Some(1), "one"));
        let then = async {
            crate::until_one_waits(&mut watcher).await?;
            let waits_for_its_turn = ask(&store, id(), enqueue(Some(1), "two"));
            let (second, let_go) = tokio::join!(waits_for_its_turn, async {
                crate::until_wait(&mut watcher, 2).await?;
                tx.rollback().await.map_err(Failed::from)
            });
            let_go?;
            Ok::<_, Failed>(second?)
        };
        let (first, second) = tokio::join!(waits_for_the_key, then);
        assert!(matches!(first?.outcomes[..], [EnqueueOutcome::Enqueued(_)]));
        assert_eq!(second?.outcomes, [EnqueueOutcome::Full]);
        Ok(())
    })
}
