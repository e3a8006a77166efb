//! Owns enqueue and completion in a transaction of the caller's own: commit, roll back, crash, producers that meet, lost
//! lease.

use libtest_mimic::Failed;
use sqlx::{Connection, PgConnection, Row};
use tourbillon::{
    model::{
        ErrorCode, Failure, Incarnation, JobName, Json, LeaseRef, Outcome, RequestId, Retry, State,
        transition::Charge,
    },
    queue::{Enqueuer, ItemOptions, Queue, Unique},
    runtime::Runtime,
    store::{
        self, Claim, Counts, Enqueue, EnqueueOutcome, ErrorKind, ListExecutions, MAX_BATCH, NewItem, Settle,
        Settlement, Start, StoreError, ask,
    },
};
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    ("enqueue_in_a_transaction_follows_its_commit", enqueue_in_a_transaction_follows_its_commit),
    ("producers_in_transactions_meet_on_a_key", producers_in_transactions_meet_on_a_key),
    ("a_key_that_a_transaction_cannot_see_is_refused", a_key_that_a_transaction_cannot_see_is_refused),
    ("producers_in_transactions_meet_at_the_room_of_a_queue", producers_in_transactions_meet_at_the_room_of_a_queue),
    ("a_key_whose_item_finished_meanwhile_counts", a_key_whose_item_finished_meanwhile_counts),
    ("completion_in_a_transaction_is_exactly_once", completion_in_a_transaction_is_exactly_once),
];

struct Set {
    store: PgStore,
    app: PgConnection,
    url: String,
    runtime: Runtime,
    orders: Enqueuer<u32>,
}

impl Set {
    async fn new(cluster: &'static Cluster) -> Result<Self, Failed> {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let mut app = crate::connect(&url).await?;
        sqlx::raw_sql("create table ledger (entry int)").execute(&mut app).await?;
        let runtime = Runtime::tokio();
        let queue = Queue::new("orders").unique(Unique::by_payload());
        let orders = Enqueuer::new(store.clone(), runtime.clone(), &queue).map_err(|error| error.to_string())?;
        Ok(Self { store, app, url, runtime, orders })
    }

    fn request(&self) -> RequestId {
        RequestId(self.runtime.uuid())
    }

    /// Writes a row of the caller's and enqueues `item`, in one transaction that goes on.
    async fn write_and_enqueue(
        &mut self,
        item: u32,
    ) -> Result<(sqlx::Transaction<'_, sqlx::Postgres>, EnqueueOutcome), Failed> {
        let enqueue = self.orders.request([(&item, ItemOptions::new())]).map_err(|error| error.to_string())?;
        let request = self.request();
        let mut tx = self.app.begin().await?;
        sqlx::query("insert into ledger values (1)").execute(&mut *tx).await?;
        let enqueued = self.store.enqueue_in(&mut tx, request, &enqueue).await?;
        Ok((tx, enqueued.outcomes[0]))
    }

    async fn entries(&mut self) -> Result<i64, Failed> {
        Ok(sqlx::query("select count(*) from ledger").fetch_one(&mut self.app).await?.get(0))
    }

    async fn states(&self) -> Result<Vec<State>, StoreError> {
        let list = ListExecutions { limit: MAX_BATCH, ..ListExecutions::default() };
        let page = ask(&self.store, self.request(), list).await?;
        Ok(page.executions.iter().map(|row| row.state).collect())
    }

    /// Claims and starts the one item.
    async fn start(&self) -> Result<LeaseRef, Failed> {
        let claim = Claim {
            runner: Incarnation(self.runtime.uuid()),
            jobs: vec![self.orders.queue().clone()],
            limit: 1,
            charge: Charge::AtStart,
            rate: None,
        };
        let claimed = ask(&self.store, self.request(), claim).await?;
        let lease = claimed.executions[0].lease_ref().ok_or("not running")?;
        ask(&self.store, self.request(), Start { leases: vec![lease] }).await?;
        Ok(lease)
    }
}

fn done() -> Outcome {
    Outcome::Succeeded { result: Json::empty(), rows_affected: Some(1) }
}

fn enqueue_in_a_transaction_follows_its_commit(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        let (tx, outcome) = set.write_and_enqueue(1).await?;
        assert!(matches!(outcome, EnqueueOutcome::Enqueued(_)));
        tx.rollback().await?;
        assert_eq!((set.entries().await?, set.states().await?), (0, vec![]));
        // A process that dies drops its connection in the middle.
        let dying = crate::connect(&set.url).await?;
        let living = std::mem::replace(&mut set.app, dying);
        let (tx, _) = set.write_and_enqueue(1).await?;
        std::mem::forget(tx);
        drop(std::mem::replace(&mut set.app, living));
        let (tx, _) = set.write_and_enqueue(2).await?;
        tx.commit().await?;
        assert_eq!((set.entries().await?, set.states().await?), (1, vec![State::Scheduled]));
        // Without a transaction there is nothing to follow.
        let enqueue = set.orders.request([(&3, ItemOptions::new())]).map_err(|error| error.to_string())?;
        let request = set.request();
        let refused = set.store.enqueue_in(&mut set.app, request, &enqueue).await.expect_err("no transaction");
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
        Ok(())
    })
}

/// The second waits for the first: for its commit, then it is a duplicate; for its roll back, then it is not.
fn producers_in_transactions_meet_on_a_key(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        for commits in [true, false] {
            let mut set = Set::new(cluster).await?;
            let (store, orders, runtime) = (set.store.clone(), set.orders.clone(), set.runtime.clone());
            let mut watcher = crate::connect(&set.url).await?;
            let mut other = crate::connect(&set.url).await?;
            let (tx, first) = set.write_and_enqueue(7).await?;
            let mut calls = tokio::task::JoinSet::new();
            let second = calls.spawn(async move {
                let enqueue = orders.request([(&7, ItemOptions::new())]).expect("a number");
                let mut tx = other.begin().await?;
                let enqueued = store.enqueue_in(&mut tx, RequestId(runtime.uuid()), &enqueue).await?;
                tx.commit().await?;
                Ok::<_, Failed>(enqueued.outcomes[0])
            });
            crate::until_one_waits(&mut watcher).await?;
            assert!(!second.is_finished(), "it waits for the one before it");
            if commits {
                tx.commit().await?;
            } else {
                tx.rollback().await?;
            }
            let EnqueueOutcome::Enqueued(first) = first else { return Err(format!("{first:?}").into()) };
            match calls.join_next().await.expect("it was started")?? {
                EnqueueOutcome::Duplicate(id) if commits => assert_eq!(id, first),
                EnqueueOutcome::Enqueued(_) if !commits => {}
                other => return Err(format!("commits: {commits}, second: {other:?}").into()),
            }
            assert_eq!(set.states().await?, [State::Scheduled]);
        }
        Ok(())
    })
}

/// It was made after the transaction's snapshot, at an isolation where no later one is taken: however often it is tried.
fn a_key_that_a_transaction_cannot_see_is_refused(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        let mut other = crate::connect(&set.url).await?;
        let mut tx = other.begin().await?;
        sqlx::raw_sql("set transaction isolation level repeatable read; select from ledger")
            .execute(&mut *tx)
            .await?;
        let (first, _) = set.write_and_enqueue(7).await?;
        first.commit().await?;
        let enqueue = set.orders.request([(&7, ItemOptions::new())]).map_err(|error| error.to_string())?;
        let refused = set.store.enqueue_in(&mut tx, set.request(), &enqueue).await.expect_err("it is there");
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        Ok(())
    })
}

/// Nothing but the bound is common to them.
fn producers_in_transactions_meet_at_the_room_of_a_queue(cluster: &'static Cluster) -> Result<(), Failed> {
    let enqueue = || Enqueue { max_items: Some(1), ..enqueue(vec![crate::item(crate::policy())]) };
    crate::block_on(async {
        for commits in [true, false] {
            let mut set = Set::new(cluster).await?;
            let mut watcher = crate::connect(&set.url).await?;
            let (store, request) = (set.store.clone(), set.request());
            let mut tx = set.app.begin().await?;
            store.enqueue_in(&mut tx, request, &enqueue()).await?;
            let second = ask(&store, RequestId(set.runtime.uuid()), enqueue());
            let first = async {
                crate::until_one_waits(&mut watcher).await?;
                if commits {
                    tx.commit().await?;
                } else {
                    tx.rollback().await?;
                }
                Ok::<_, Failed>(())
            };
            let (second, first) = tokio::join!(second, first);
            first?;
            assert_eq!(second?.outcomes == [EnqueueOutcome::Full], commits);
            assert_eq!(set.states().await?, [State::Scheduled]);
        }
        Ok(())
    })
}

fn enqueue(items: Vec<NewItem>) -> Enqueue {
    Enqueue { queue: JobName::new("orders").expect("a plain name"), max_items: None, items }
}

/// Made and finished while another producer waited, with a snapshot from before.
pub(crate) fn a_key_whose_item_finished_meanwhile_counts(cluster: &'static Cluster) -> Result<(), Failed> {
    let dead = Outcome::Failed { failure: Failure::new(ErrorCode::handler_error(), "no"), retry: Retry::Never };
    crate::block_on(async {
        for (counts, end, is_duplicate) in [
            (Counts::Finished, done(), true),
            (Counts::Finished, dead.clone(), true),
            (Counts::Succeeded, done(), true),
            (Counts::Succeeded, dead, false),
        ] {
            let keyed = |key: &str| {
                let unique = store::Unique { key: key.to_owned(), period_ms: None, counts };
                NewItem { unique: Some(unique), ..crate::item(crate::policy()) }
            };
            let enqueue = |keys: &[&str]| enqueue(keys.iter().map(|key| keyed(key)).collect());
            let mut set = Set::new(cluster).await?;
            let mut watcher = crate::connect(&set.url).await?;
            let (store, request) = (set.store.clone(), set.request());
            let mut tx = set.app.begin().await?;
            store.enqueue_in(&mut tx, request, &enqueue(&["one"])).await?;
            let waits = ask(&store, RequestId(set.runtime.uuid()), enqueue(&["one", "two"]));
            let meanwhile = async {
                crate::until_one_waits(&mut watcher).await?;
                let first = ask(&store, RequestId(set.runtime.uuid()), enqueue(&["two"])).await?;
                let lease = crate::claim(&store, "orders", 1).await?.remove(0);
                let settle = Settle { settlements: vec![Settlement::of(lease, end)] };
                ask(&store, RequestId(set.runtime.uuid()), settle).await?;
                tx.rollback().await?;
                Ok::<_, Failed>(first.outcomes[0])
            };
            let (waited, first) = tokio::join!(waits, meanwhile);
            let (outcomes, EnqueueOutcome::Enqueued(first)) = (waited?.outcomes, first?) else {
                return Err("a duplicate".into());
            };
            assert!(matches!(outcomes[0], EnqueueOutcome::Enqueued(_)), "{outcomes:?}");
            assert_eq!(outcomes[1] == EnqueueOutcome::Duplicate(first), is_duplicate, "{counts:?}: {outcomes:?}");
        }
        Ok(())
    })
}

fn completion_in_a_transaction_is_exactly_once(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        let (tx, _) = set.write_and_enqueue(1).await?;
        tx.commit().await?;
        let lease = set.start().await?;
        let (store, requests) = (set.store.clone(), [(); 4].map(|()| set.request()));
        // Rolled back: neither.
        let mut tx = set.app.begin().await?;
        sqlx::query("insert into ledger values (2)").execute(&mut *tx).await?;
        assert_eq!(store.complete_in(&mut tx, requests[0], Settlement::of(lease, done())).await?, State::Succeeded);
        tx.rollback().await?;
        assert_eq!((set.entries().await?, set.states().await?), (1, vec![State::Running]));
        // Committed: both. And its holder, who did not hear of it, gets an error the second time.
        for (request, works) in [(requests[1], true), (requests[2], false)] {
            let mut tx = set.app.begin().await?;
            sqlx::query("insert into ledger values (2)").execute(&mut *tx).await?;
            match store.complete_in(&mut tx, request, Settlement::of(lease, done())).await {
                Ok(state) if works => assert_eq!(state, State::Succeeded),
                Err(error) if !works => assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}"),
                other => return Err(format!("works: {works}, {other:?}").into()),
            }
            if works {
                tx.commit().await?;
            }
        }
        assert_eq!((set.entries().await?, set.states().await?), (2, vec![State::Succeeded]));
        Ok(())
    })
}
