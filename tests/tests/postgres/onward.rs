//! Owns claims that go on behind the last row taken: what an open snapshot of somebody else's costs them, and that nothing is
//! left behind.

use std::{collections::BTreeSet, time::Duration};

use libtest_mimic::Failed;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tokio::task::JoinSet;
use tourbillon::{
    model::{
        Audit, Execution, ExecutionId, Incarnation, JobName, Json, Limit, Policy, Reentry, Scope, TraceContext,
        transition::Charge,
    },
    runtime::Runtime,
    store::{Claim, Counts, Enqueue, ListExecutions, NewItem, ReadDue, Reply, Store, Unique},
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
    ("a_claim_onward_answers_its_rows_as_they_are_stored", a_claim_onward_answers_its_rows_as_they_are_stored),
    (
        "a_row_that_keeps_its_place_is_held_until_its_lease_ends",
        a_row_that_keeps_its_place_is_held_until_its_lease_ends,
    ),
    ("a_claim_that_cannot_go_on_looks_anew", a_claim_that_cannot_go_on_looks_anew),
    ("claims_onward_at_once_share_no_row", claims_onward_at_once_share_no_row),
    ("a_claim_onward_passes_over_what_is_locked", a_claim_onward_passes_over_what_is_locked),
    ("a_claim_onward_that_is_repeated_takes_nothing_more", a_claim_onward_that_is_repeated_takes_nothing_more),
    ("what_a_claim_onward_cannot_read_is_set_aside", what_a_claim_onward_cannot_read_is_set_aside),
];

const QUEUE: &str = "orders";

/// On a slow machine a second may be over between two claims, and the later one looks anew.
const MAX_TRIES: u32 = 20;

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
        Ok(ids(&claim(&self.store, limit, Charge::AtClaim).await?))
    }

    /// How many rows are held at the place where they were due.
    async fn in_place(&mut self) -> Result<i64, Failed> {
        let sql =
            "select count(*) from tourbillon.execution where state = 'running' and claimable_at < lease_expires_at";
        Ok(sqlx::query(sql).fetch_one(&mut self.app).await?.get(0))
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

fn ids(rows: &[Execution]) -> Vec<ExecutionId> {
    rows.iter().map(|row| row.id).collect()
}

async fn claim(store: &PgStore, limit: u32, charge: Charge) -> Result<Vec<Execution>, Failed> {
    let (runner, jobs) = (Incarnation(Uuid::from_u128(7)), vec![JobName::new(QUEUE)?]);
    match store.call(crate::request(Claim { runner, jobs, limit, charge, rate: None })).await? {
        Reply::Claimed(claimed) => Ok(claimed.executions),
        other => Err(format!("claimed: {other:?}").into()),
    }
}

fn enqueue(items: usize, priority: i16) -> Result<Enqueue, Failed> {
    let item = || NewItem { priority, ..crate::item(crate::policy()) };
    Ok(Enqueue { queue: JobName::new(QUEUE)?, max_items: None, items: (0..items).map(|_| item()).collect() })
}

/// All rows of one instant, in the order of their ids; and what is more urgent comes first at once.
pub(crate) fn a_claim_goes_on_behind_the_last_row_taken(cluster: &'static Cluster) -> Result<(), Failed> {
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
pub(crate) fn what_comes_to_lie_behind_a_claim_is_found_within_a_second(
    cluster: &'static Cluster,
) -> Result<(), Failed> {
    const PAUSE: Duration = Duration::from_millis(20);
    const BACKLOG: usize = 160;
    crate::block_on(async {
        let url = cluster.fresh_database();
        let mut set = Set::new(&url, PgStore::connect(&url).await?).await?;
        set.add(BACKLOG, 0).await?;
        for _ in 0..MAX_TRIES {
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

/// Most of a row is not in the answer: the claimer knows it.
fn a_claim_onward_answers_its_rows_as_they_are_stored(cluster: &'static Cluster) -> Result<(), Failed> {
    const KINDS: usize = 5;
    crate::block_on(async {
        let mut charges = vec![Charge::AtStart, Charge::AtClaimIfHarmless, Charge::AtClaim];
        let mut tries = MAX_TRIES;
        while let Some(charge) = charges.last().copied() {
            let url = cluster.fresh_database();
            let mut set = Set::new(&url, PgStore::connect(&url).await?).await?;
            let item = || NewItem { priority: -3, ..crate::item(crate::policy()) };
            let last_attempt = Policy { max_attempts: 1, ..crate::policy() };
            let forbidden =
                Policy { reentry: Reentry::Forbid, audit: Audit::Exceptions, lease_ms: 7, ..crate::policy() };
            let unique = Unique { key: "one".to_owned(), period_ms: None, counts: Counts::Live };
            let trace = TraceContext::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None)?;
            let kinds: [NewItem; KINDS] = [
                NewItem { payload: Some(Json::new(&"text".into())?), ..item() },
                NewItem { unique: Some(unique), trace: Some(trace), ..item() },
                NewItem { scope: Scope::new("tenant", "7")?, ..item() },
                NewItem { policy: last_attempt, ..item() },
                NewItem { policy: forbidden, ..item() },
            ];
            // The first rows are taken anew.
            let first: Vec<_> =
                (0..KINDS).map(|_| NewItem { priority: -3, ..crate::item(crate::policy()) }).collect();
            for items in [first, kinds.into()] {
                let verb = Enqueue { queue: JobName::new(QUEUE)?, max_items: None, items };
                set.store.call(crate::request(verb)).await?;
            }
            let limit = u32::try_from(KINDS)?;
            claim(&set.store, limit, charge).await?;
            let taken = claim(&set.store, limit, charge).await?;
            assert_eq!(taken.len(), KINDS);
            // Those that may run again: all but two, once they are charged.
            let stay = set.in_place().await?;
            if stay == 0 && tries > 0 {
                tries -= 1;
                continue;
            }
            assert_eq!(stay, if charge == Charge::AtClaim { 3 } else { 5 }, "{charge:?}");
            charges.pop();
            let all = ListExecutions { limit: 100, ..ListExecutions::default() };
            let Reply::ExecutionPage(listed) = set.store.call(crate::request(all)).await? else {
                return Err("no executions".into());
            };
            for row in taken {
                let stored = listed.executions.iter().find(|other| other.id == row.id);
                assert_eq!(stored, Some(&row), "{charge:?}");
            }
        }
        Ok(())
    })
}

fn a_row_that_keeps_its_place_is_held_until_its_lease_ends(cluster: &'static Cluster) -> Result<(), Failed> {
    const LEASE: Duration = Duration::from_secs(2);
    const ROWS: usize = 6;
    crate::block_on(async {
        for _ in 0..MAX_TRIES {
            let url = cluster.fresh_database();
            let mut set = Set::new(&url, PgStore::connect(&url).await?).await?;
            let other = PgStore::connect(&url).await?;
            let short = Policy { lease_ms: u64::try_from(LEASE.as_millis())?, ..crate::policy() };
            let items: Vec<_> = (0..ROWS).map(|_| crate::item(short.clone())).collect();
            let verb = Enqueue { queue: JobName::new(QUEUE)?, max_items: None, items };
            set.store.call(crate::request(verb)).await?;
            let held_until = Runtime::tokio().monotonic() + LEASE;
            let mut taken = Vec::new();
            for _ in 0..3 {
                taken.extend(set.claim(2).await?);
            }
            let in_place = set.in_place().await?;
            let read = has_due(&other).await?;
            let found = claim(&other, 10, Charge::AtClaim).await?;
            if in_place < 4 || Runtime::tokio().monotonic() >= held_until {
                continue;
            }
            assert!(!read, "nothing is due");
            assert_eq!(found, [], "nothing is free");
            Runtime::tokio().sleep(LEASE + LEASE / 2).await;
            assert!(has_due(&other).await?, "their leases are over");
            let mut again = ids(&claim(&other, 10, Charge::AtClaim).await?);
            again.sort_unstable();
            taken.sort_unstable();
            assert_eq!(again, taken);
            return Ok(());
        }
        Err("no three claims within a second".into())
    })
}

async fn has_due(store: &PgStore) -> Result<bool, Failed> {
    match store.call(crate::request(ReadDue { jobs: vec![JobName::new(QUEUE)?] })).await? {
        Reply::DueRead(read) => Ok(!read.jobs.is_empty()),
        other => Err(format!("read: {other:?}").into()),
    }
}

/// Within one call.
pub(crate) fn a_claim_that_cannot_go_on_looks_anew(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let mut set = Set::new(&url, PgStore::connect(&url).await?).await?;
        set.add(2, 0).await?;
        set.claim(2).await?;
        let late = set.add_late().await?;
        assert_eq!(set.claim(2).await?, [late], "nothing lies behind the last row");
        set.add(2, 0).await?;
        set.claim(2).await?;
        let one_at_once = Policy { limit: Some(Limit { key: "key".to_owned(), max: 1 }), ..crate::policy() };
        let items: Vec<_> =
            [&one_at_once, &one_at_once, &crate::policy()].map(|policy| crate::item(policy.clone())).into();
        let plain = items[2].id;
        let verb = Enqueue { queue: JobName::new(QUEUE)?, max_items: None, items };
        set.store.call(crate::request(verb)).await?;
        let taken = claim(&set.store, 3, Charge::AtClaim).await?;
        let limited = taken.iter().filter(|row| row.policy.limit.is_some()).count();
        assert_eq!((limited, ids(&taken).contains(&plain)), (1, true), "a limit holds behind the last row, too");
        Ok(())
    })
}

/// Each of several stores goes on behind its own last row, all through one backlog.
fn claims_onward_at_once_share_no_row(cluster: &'static Cluster) -> Result<(), Failed> {
    const STORES: usize = 4;
    const ROWS: usize = 4_000;
    crate::block_on(async {
        let url = cluster.fresh_database();
        let mut set = Set::new(&url, PgStore::connect(&url).await?).await?;
        for _ in 0..ROWS / 1_000 {
            set.add(1_000, 0).await?;
        }
        let mut drains = JoinSet::new();
        for _ in 0..STORES {
            let store = PgStore::connect(&url).await?;
            drains.spawn(async move {
                let mut taken = Vec::new();
                loop {
                    let found = claim(&store, 20, Charge::AtClaim).await.map_err(|reason| format!("{reason:?}"))?;
                    if found.is_empty() {
                        return Ok::<_, String>(taken);
                    }
                    taken.extend(ids(&found));
                }
            });
        }
        let mut taken = Vec::new();
        while let Some(drain) = drains.join_next().await {
            taken.extend(drain??);
        }
        let in_place = set.in_place().await?;
        assert!(in_place > i64::try_from(ROWS / 2)?, "{in_place} rows of {ROWS} were taken onward");
        assert_eq!(taken.len(), ROWS, "each row is taken once");
        assert_eq!(taken.into_iter().collect::<BTreeSet<_>>().len(), ROWS, "by one");
        Ok(())
    })
}

pub(crate) fn a_claim_onward_passes_over_what_is_locked(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let mut set = Set::new(&url, PgStore::connect(&url).await?).await?;
        let mut ids = set.add(5, 0).await?;
        ids.sort_unstable();
        assert_eq!(set.claim(2).await?, ids[..2]);
        let lock = format!("begin; select from tourbillon.execution where id = '{}' for update", ids[2]);
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut set.app).await?;
        assert_eq!(set.claim(2).await?, ids[3..], "nobody waits");
        sqlx::raw_sql("commit").execute(&mut set.app).await?;
        assert_eq!(set.claim(2).await?, ids[2..3], "and nothing is left behind");
        Ok(())
    })
}

fn a_claim_onward_that_is_repeated_takes_nothing_more(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let set = Set::new(&url, PgStore::connect(&url).await?).await?;
        set.add(6, 0).await?;
        set.claim(2).await?;
        let (runner, jobs) = (Incarnation(Uuid::from_u128(7)), vec![JobName::new(QUEUE)?]);
        let request = crate::request(Claim { runner, jobs, limit: 2, charge: Charge::AtClaim, rate: None });
        let mut replies = Vec::new();
        for _ in 0..3 {
            let Reply::Claimed(claimed) = set.store.call(request.clone()).await? else {
                return Err("claimed".into());
            };
            replies.push(claimed);
        }
        assert_eq!(replies[0].executions.len(), 2);
        assert_eq!(replies[1..], [replies[0].clone(), replies[0].clone()]);
        assert_eq!(set.claim(6).await?.len(), 2, "what was left");
        Ok(())
    })
}

fn what_a_claim_onward_cannot_read_is_set_aside(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let mut set = Set::new(&url, PgStore::connect(&url).await?).await?;
        let mut ids = set.add(4, 0).await?;
        ids.sort_unstable();
        let spoil = format!("update tourbillon.execution set created_at = 'infinity' where id = '{}'", ids[2]);
        sqlx::raw_sql(AssertSqlSafe(spoil)).execute(&mut set.app).await?;
        assert_eq!(set.claim(2).await?, ids[..2]);
        assert_eq!(set.claim(2).await?, ids[3..], "the one that can be read");
        let aside: Vec<String> = sqlx::query("select id::text from tourbillon.unreadable")
            .fetch_all(&mut set.app)
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert_eq!(aside, [ids[2].to_string()]);
        Ok(())
    })
}
