//! Owns claims that go on behind the last row taken: what an open snapshot of somebody else's costs them, and that nothing is
//! left behind.

use libtest_mimic::Failed;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tourbillon::{
    model::{Execution, ExecutionId, Incarnation, JobName, transition::Charge},
    runtime::Runtime,
    store::{Claim, Enqueue, NewItem, Reply, Store},
};
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;
use uuid::Uuid;

use crate::{
    Case,
    explain::{WAYS_TO_PLAN, explain, pages_touched, prepare, run_each},
};

pub(crate) const CASES: &[Case] = &[
    ("a_claim_goes_on_behind_the_last_row_taken", a_claim_goes_on_behind_the_last_row_taken),
    (
        "what_comes_to_lie_behind_a_claim_is_found_within_a_second",
        what_comes_to_lie_behind_a_claim_is_found_within_a_second,
    ),
    ("an_open_snapshot_costs_a_claim_onward_nothing", an_open_snapshot_costs_a_claim_onward_nothing),
];

const QUEUE: &str = "orders";

struct Set {
    store: PgStore,
    app: PgConnection,
}

impl Set {
    async fn new(url: &str, store: PgStore) -> Result<Self, Failed> {
        store.migrate().await?;
        Ok(Self { store, app: crate::connect(url).await? })
    }

    async fn add(&self, items: usize, priority: i16) -> Result<Vec<ExecutionId>, Failed> {
        let verb = enqueue(items, priority)?;
        let ids = verb.items.iter().map(|item| item.id).collect();
        self.store.call(crate::request(verb)).await?;
        Ok(ids)
    }

    async fn claim(&self, limit: u32) -> Result<Vec<ExecutionId>, Failed> {
        let (runner, jobs) = (Incarnation(Uuid::from_u128(7)), vec![JobName::new(QUEUE)?]);
        match self
            .store
            .call(crate::request(Claim { runner, jobs, limit, charge: Charge::AtClaim, rate: None }))
            .await?
        {
            Reply::Claimed(claimed) => Ok(claimed.executions.iter().map(|row: &Execution| row.id).collect()),
            other => Err(format!("claimed: {other:?}").into()),
        }
    }

    /// An item that could be claimed before all others, as if its transaction had committed late.
    async fn add_late(&mut self) -> Result<ExecutionId, Failed> {
        let late = "insert into tourbillon.execution (id, generation, job, scope_kind, scope_id, due_at, priority, max_attempts,
                lease_ms, reentry, supersede, state, claimable_at, attempt, fence, created_at, updated_at)
            values (gen_random_uuid(), 1, 'orders', 'global', 'global', now(), 0, 3, 60000, 'allow', 'never', 'scheduled',
                now() - interval '1 hour', 0, 0, now(), now())
            returning id::text";
        let id: String = sqlx::query(late).fetch_one(&mut self.app).await?.get(0);
        Ok(ExecutionId(id.parse()?))
    }
}

fn enqueue(items: usize, priority: i16) -> Result<Enqueue, Failed> {
    let item = || NewItem { priority, ..crate::item(crate::policy()) };
    Ok(Enqueue { queue: JobName::new(QUEUE)?, max_items: None, items: (0..items).map(|_| item()).collect() })
}

/// All rows of one instant, in the order of their ids; and what is more urgent comes first at once.
fn a_claim_goes_on_behind_the_last_row_taken(cluster: &'static Cluster) -> Result<(), Failed> {
    let url = cluster.fresh_database();
    crate::block_on(async { goes_on(&url, PgStore::connect(&url).await?).await })
}

pub(crate) async fn goes_on(url: &str, store: PgStore) -> Result<(), Failed> {
    let set = Set::new(url, store).await?;
    let mut ids = set.add(10, 0).await?;
    ids.sort_unstable();
    for n in [0, 3, 6] {
        assert_eq!(set.claim(3).await?, ids[n..n + 3]);
    }
    let urgent = set.add(1, -1).await?;
    assert_eq!(set.claim(1).await?, urgent);
    assert_eq!(set.claim(3).await?, ids[9..], "and then what was next");
    assert_eq!(set.claim(3).await?, []);
    Ok(())
}

/// Beside a backlog that does not end.
fn what_comes_to_lie_behind_a_claim_is_found_within_a_second(cluster: &'static Cluster) -> Result<(), Failed> {
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
    const BACKLOG: usize = 400;
    crate::block_on(async {
        let url = cluster.fresh_database();
        let mut set = Set::new(&url, PgStore::connect(&url).await?).await?;
        set.add(BACKLOG, 0).await?;
        // On a slow machine a second may be over between two claims.
        for _ in 0..20 {
            set.claim(1).await?;
            let late = set.add_late().await?;
            if set.claim(1).await? == [late] {
                continue;
            }
            for _ in 40..BACKLOG {
                Runtime::tokio().sleep(PAUSE).await;
                if set.claim(1).await? == [late] {
                    return Ok(());
                }
            }
            return Err("every other row was taken before the one that came late".into());
        }
        Err("no claim went on behind the one before".into())
    })
}

fn an_open_snapshot_costs_a_claim_onward_nothing(cluster: &'static Cluster) -> Result<(), Failed> {
    const TAKEN: u64 = 30_000;
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let (mut app, mut snapshot) = (crate::connect(&url).await?, crate::connect(&url).await?);
        let fill = format!(
            "insert into tourbillon.execution (id, generation, job, scope_kind, scope_id, due_at, priority, max_attempts,
                 lease_ms, reentry, supersede, state, claimable_at, attempt, fence, created_at, updated_at)
             select ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid, 1, 'job', 'global', 'global', now(), 0, 3,
                 1000, 'allow', 'never', 'scheduled', now() - interval '1 hour' + n * interval '1 millisecond', 0, 0, now(), now()
             from generate_series(1, {}) n",
            TAKEN + 1_000
        );
        sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut app).await?;
        sqlx::raw_sql("begin isolation level repeatable read; select 1").execute(&mut snapshot).await?;
        let types = "(timestamptz, uuid, text[], bigint, uuid, text)";
        prepare(&mut app, &store, ("claim_plain", types)).await?;
        prepare(
            &mut app,
            &store,
            (
                "claim_onward",
                "(timestamptz, uuid, text[], bigint, uuid, text, smallint, timestamptz, timestamptz, uuid)",
            ),
        )
        .await?;
        let last = sqlx::query(
            "with gone as (delete from tourbillon.execution where claimable_at <= (select claimable_at from
                 tourbillon.execution order by claimable_at offset $1 limit 1) returning claimable_at, id)
             select claimable_at::text, id::text from gone order by 1 desc limit 1",
        );
        let last = last.bind(i64::try_from(TAKEN)? - 1).fetch_one(&mut app).await?;
        sqlx::raw_sql("vacuum").execute(&mut app).await?;
        let (at, id): (String, String) = (last.get(0), last.get(1));
        let call = "null, '00000000-0000-0000-0000-000000000001', '{job}', 50, gen_random_uuid(), 'all'";
        let anew = format!("execute claim_plain ({call})");
        let onward = format!("execute claim_onward ({call}, 0::smallint, clock_timestamp(), '{at}', '{id}')");
        for settings in WAYS_TO_PLAN {
            run_each(&mut app, settings).await?;
            let (anew, onward) = (explain(&mut app, &anew).await?, explain(&mut app, &onward).await?);
            let (pages_anew, pages) = (pages_touched(&anew), pages_touched(&onward));
            println!("{settings}: {pages_anew} pages from the first row on, {pages} onward");
            // To take fifty rows costs most of these.
            if pages > 1_000 || pages_anew < pages + 300 {
                return Err(format!(
                    "{settings}: {pages_anew} pages from the first row on, {pages} onward:\n{onward}"
                )
                .into());
            }
        }
        drop(snapshot);
        Ok(())
    })
}
