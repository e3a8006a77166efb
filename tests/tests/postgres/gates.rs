//! Owns what becomes of the gates of limit keys (G15) that nothing uses any more: they are deleted, and an item that is made
//! meanwhile is claimed all the same.

use libtest_mimic::Failed;
use sqlx::{Connection, PgConnection, Row};
use tourbillon::{
    model::{
        Execution, ExecutionId, Incarnation, JobName, LeaseRef, Limit, Policy, Rate, RequestId, Scope,
        transition::Charge,
    },
    runtime::Runtime,
    store::{
        Cancel, Claim, Counts, Enqueue, EnqueueOutcome, NewItem, Prune, Reply, Requeue, Store, TriggerJob, Unique,
        Verb,
    },
};
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;
use uuid::Uuid;

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    ("whoever_makes_a_row_makes_its_gate", whoever_makes_a_row_makes_its_gate),
    ("gates_that_are_not_used_go_among_those_that_are", gates_that_are_not_used_go_among_those_that_are),
    ("gates_of_keys_in_use_stay_and_others_go", gates_of_keys_in_use_stay_and_others_go),
    ("an_item_made_while_its_gate_goes_is_claimed", an_item_made_while_its_gate_goes_is_claimed),
    (
        "an_item_without_a_gate_is_claimed_after_one_with_its_own",
        an_item_without_a_gate_is_claimed_after_one_with_its_own,
    ),
    ("gates_go_however_many_there_are", gates_go_however_many_there_are),
];

/// Keeps history and receipts.
const PRUNE: Prune = Prune { history_ms: u64::MAX, receipts_ms: u64::MAX, edits_ms: u64::MAX, limit: 100 };

const QUEUE: &str = "orders";

struct Set {
    store: PgStore,
    app: PgConnection,
}

impl Set {
    async fn new(cluster: &'static Cluster) -> Result<Self, Failed> {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        Ok(Self { store, app: crate::connect(&url).await? })
    }

    async fn add(&self, key: &str) -> Result<(), Failed> {
        self.store.call(crate::request(enqueue(key)?)).await?;
        Ok(())
    }

    /// Made by a producer whose commit comes after a prune that found the gate unused.
    async fn add_without_gate(&mut self, key: &str, items: usize) -> Result<(), Failed> {
        self.add(key).await?;
        let leases = self.claim(None).await?;
        self.end(leases[0]).await?;
        let mut producer = self.app.begin().await?;
        for _ in 0..items {
            let id = RequestId(Runtime::tokio().uuid());
            let made = self.store.enqueue_in(&mut producer, id, &enqueue(key)?).await?;
            assert!(matches!(made.outcomes[..], [EnqueueOutcome::Enqueued(_)]));
        }
        self.store.call(crate::request(PRUNE)).await?;
        producer.commit().await?;
        assert_eq!(self.gates().await?, [], "the item has no gate");
        Ok(())
    }

    async fn claim(&self, rate: Option<Rate>) -> Result<Vec<LeaseRef>, Failed> {
        let (runner, jobs) = (Incarnation(Uuid::from_u128(7)), vec![JobName::new(QUEUE)?]);
        match self
            .store
            .call(crate::request(Claim { runner, jobs, limit: 10, charge: Charge::AtClaim, rate }))
            .await?
        {
            Reply::Claimed(claimed) => Ok(claimed.executions.iter().filter_map(Execution::lease_ref).collect()),
            other => Err(format!("claimed: {other:?}").into()),
        }
    }

    async fn end(&self, lease: LeaseRef) -> Result<(), Failed> {
        self.store.call(crate::request(crate::success(lease))).await?;
        Ok(())
    }

    async fn prune(&self) -> Result<(), Failed> {
        self.store.call(crate::request(PRUNE)).await?;
        Ok(())
    }

    /// The keys that have a gate, with how many rows are counted as running.
    async fn gates(&mut self) -> Result<Vec<(String, i64)>, Failed> {
        let rows = sqlx::query("select key, running from tourbillon.limit_gate order by key");
        Ok(rows.fetch_all(&mut self.app).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}

/// One item, of which one with this key may run at a time.
fn enqueue(key: &str) -> Result<Enqueue, Failed> {
    let policy = Policy { limit: Some(Limit { key: key.to_owned(), max: 1 }), ..crate::policy() };
    Ok(Enqueue { queue: JobName::new(QUEUE)?, max_items: None, items: vec![crate::item(policy)] })
}

fn gates(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(key, running)| ((*key).to_owned(), *running)).collect()
}

/// Or each first claim would find that it is missing, make it, and begin anew.
fn whoever_makes_a_row_makes_its_gate(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        let job = JobName::new(QUEUE)?;
        let with = |key: &str| Policy { limit: Some(Limit { key: key.to_owned(), max: 1 }), ..crate::policy() };
        let planned = crate::plan_due(&set.store, QUEUE, 1, &with("plan")).await?;
        let unique = Some(Unique { key: "key".to_owned(), period_ms: None, counts: Counts::Live });
        let one_by_one = NewItem { unique, ..crate::item(with("of another kind")) };
        let trigger = TriggerJob {
            job: job.clone(),
            scope: Scope::global(),
            id: ExecutionId(Runtime::tokio().uuid()),
            priority: 0,
            payload: None,
            policy: with("trigger"),
            actor: None,
            trace: None,
        };
        let verbs: [Verb; 3] = [
            enqueue("alike")?.into(),
            Enqueue { queue: job, max_items: None, items: vec![one_by_one] }.into(),
            trigger.into(),
        ];
        for verb in verbs {
            set.store.call(crate::request(verb)).await?;
        }
        let all = ["alike", "of another kind", "plan", "trigger"].map(|key| (key, 0));
        assert_eq!(set.gates().await?, gates(&all));

        set.store.call(crate::request(Cancel { ids: planned.clone(), actor: None })).await?;
        set.prune().await?;
        assert_eq!(set.gates().await?, gates(&all.into_iter().filter(|(key, _)| *key != "plan").collect::<Vec<_>>()));
        set.store.call(crate::request(Requeue { ids: planned, actor: None })).await?;
        assert_eq!(set.gates().await?, gates(&all));
        Ok(())
    })
}

/// More of those than go at once.
fn gates_that_are_not_used_go_among_those_that_are(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        let many = "insert into tourbillon.limit_gate (key, queue, charged_at, opens_at, turn_us, burst)
                select 'order ' || n, 'orders', now(), now(), 1, 1 from generate_series(1, 25000) n;
            insert into tourbillon.limit_gate (key) select 'unused ' || n from generate_series(1, 20) n";
        sqlx::raw_sql(many).execute(&mut set.app).await?;
        set.prune().await?;
        let left = "select count(*), count(queue) from tourbillon.limit_gate";
        let left = sqlx::query(left).fetch_one(&mut set.app).await?;
        assert_eq!((left.get::<i64, _>(0), left.get::<i64, _>(1)), (25_000, 25_000));
        Ok(())
    })
}

fn gates_of_keys_in_use_stay_and_others_go(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        for key in ["ended", "runs"] {
            set.add(key).await?;
        }
        let leases = set.claim(None).await?;
        set.end(leases[0]).await?;
        set.add("waits").await?;
        assert_eq!(set.gates().await?, gates(&[("ended", 0), ("runs", 1), ("waits", 0)]));
        set.prune().await?;
        assert_eq!(set.gates().await?, gates(&[("runs", 1), ("waits", 0)]));
        set.end(leases[1]).await?;
        let leases = set.claim(None).await?;
        set.end(leases[0]).await?;
        set.prune().await?;
        assert_eq!(set.gates().await?, []);
        Ok(())
    })
}

/// A producer's transaction has met the gate, and commits when it is gone.
fn an_item_made_while_its_gate_goes_is_claimed(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        for rate in [None, Some(Rate { key: None, turn_us: 1, burst: 1_000 })] {
            let mut set = Set::new(cluster).await?;
            set.add_without_gate("order 1", 2).await?;
            let first = set.claim(rate.clone()).await?;
            assert_eq!(first.len(), 1, "one of them may run, at {rate:?}");
            assert_eq!(set.gates().await?, gates(&[("order 1", 1)]));
            assert_eq!(set.claim(rate.clone()).await?, [], "one is running");
            set.end(first[0]).await?;
            assert_eq!(set.claim(rate).await?.len(), 1);
        }
        Ok(())
    })
}

fn an_item_without_a_gate_is_claimed_after_one_with_its_own(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        for rate in [None, Some(Rate { key: None, turn_us: 1, burst: 1_000 })] {
            let mut set = Set::new(cluster).await?;
            set.add_without_gate("order 1", 1).await?;
            set.add("order 2").await?;
            assert_eq!(set.claim(rate.clone()).await?.len(), 1, "at {rate:?}");
            assert_eq!(set.gates().await?, gates(&[("order 1", 0), ("order 2", 1)]));
            assert_eq!(set.claim(rate.clone()).await?.len(), 1, "at {rate:?}");
            assert_eq!(set.gates().await?, gates(&[("order 1", 1), ("order 2", 1)]));
        }
        Ok(())
    })
}

fn gates_go_however_many_there_are(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        set.add("order 12345").await?;
        let many = "insert into tourbillon.limit_gate (key)
            select 'order ' || n from generate_series(1, 25000) n on conflict do nothing";
        sqlx::raw_sql(many).execute(&mut set.app).await?;
        set.prune().await?;
        assert_eq!(set.gates().await?, gates(&[("order 12345", 0)]));
        Ok(())
    })
}
