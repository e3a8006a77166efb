//! Owns what becomes of rows that another session holds: a claim, a prune and a clean pass them over, and a rescue after a backward step
//! of the clock waits, and goes by what it finds then. Calls that meet each other are the permutations' (`races`).

use std::time::Duration;

use libtest_mimic::Failed;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tourbillon::{
    model::{
        Audit, ExecutionId, Incarnation, JobName, LeaseRef, Limit, LockName, LockRef, Policy, Rate, State, Timestamp,
        Token, transition::Charge,
    },
    store::{
        AcquireLock, Claim, CleanItems, DatabaseClock, DeleteItems, DeleteOutcome, Enqueue, ManualClock, Prune,
        Pruned, ReleaseLock, RenewLock, Reply, Rescue, Settle, Store, Verb,
    },
};
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;
use uuid::Uuid;

use crate::{Case, explain::prepare};

pub(crate) const CASES: &[Case] = &[
    ("held::a_claim_passes_over_what_is_held", a_claim_passes_over_what_is_held),
    ("held::a_claim_at_a_rate_waits_a_turn_for_what_is_held", a_claim_at_a_rate_waits_a_turn_for_what_is_held),
    ("held::a_prune_passes_over_what_is_held", a_prune_passes_over_what_is_held),
    ("held::a_prune_passes_over_gates_that_are_held", a_prune_passes_over_gates_that_are_held),
    ("held::a_clean_passes_over_items_that_are_held", a_clean_passes_over_items_that_are_held),
    ("held::a_clock_that_stepped_back_is_told_of_what_was_held", a_clock_that_stepped_back_is_told_of_what_was_held),
    ("held::a_clamp_looks_again_whether_the_clock_stepped_back", a_clamp_looks_again_whether_the_clock_stepped_back),
    (
        "held::a_lock_that_was_taken_over_is_neither_renewed_nor_released",
        a_lock_that_was_taken_over_is_neither_renewed_nor_released,
    ),
    ("held::an_item_that_a_prune_takes_is_not_deleted", an_item_that_a_prune_takes_is_not_deleted),
    ("held::a_row_that_another_claim_holds_is_not_set_aside", a_row_that_another_claim_holds_is_not_set_aside),
    ("held::gates_are_locked_in_the_order_of_their_keys", gates_are_locked_in_the_order_of_their_keys),
];

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// Old enough to go is whatever is older than now, and up to ten of each go at once.
const PRUNE: Prune = Prune { history_ms: 0, receipts_ms: 0, edits_ms: 0, limit: 10 };

const RESCUE: Rescue = Rescue { limit: 10 };

struct Set {
    store: PgStore,
    clock: ManualClock,
    holder: PgConnection,
    watcher: PgConnection,
}

impl Set {
    async fn new(cluster: &'static Cluster) -> Result<Self, Failed> {
        let (url, clock) = (cluster.fresh_database(), ManualClock::new(NOW));
        let builder = PgStore::builder(&url).clock(DatabaseClock::Manual(clock.clone()));
        let store = builder.connect().await?;
        store.migrate().await?;
        Ok(Self { store, clock, holder: crate::connect(&url).await?, watcher: crate::connect(&url).await? })
    }

    async fn hold(&mut self, sql: &'static str) -> Result<(), Failed> {
        sqlx::raw_sql(sql).execute(&mut self.holder).await?;
        Ok(())
    }

    async fn let_go(&mut self) -> Result<(), Failed> {
        self.hold("commit").await
    }

    async fn prune(&self) -> Result<Pruned, Failed> {
        match self.store.call(crate::request(PRUNE)).await? {
            Reply::Pruned(pruned) => Ok(pruned),
            other => Err(format!("pruned: {other:?}").into()),
        }
    }

    /// Two executions or items of one job that have ended.
    async fn two_ended(&self) -> Result<(), Failed> {
        for lease in crate::claim(&self.store, "job", 2).await? {
            self.store.call(crate::request(crate::success(lease))).await?;
        }
        Ok(())
    }

    async fn enqueue(&self, keys: [Option<&str>; 2]) -> Result<[ExecutionId; 2], Failed> {
        let limit = |key: &str| Limit { key: key.to_owned(), max: 1 };
        let items = keys.map(|key| crate::item(Policy { limit: key.map(limit), ..crate::policy() }));
        let ids = [0, 1].map(|n: usize| items[n].id);
        let verb = Enqueue { queue: JobName::new("job")?, max_items: None, items: items.to_vec() };
        self.store.call(crate::request(verb)).await?;
        Ok(ids)
    }

    async fn acquire(&self) -> Result<LockRef, Failed> {
        let (name, holder) = (LockName::new("lock")?, Incarnation(Uuid::from_u128(7)));
        let request = crate::request(AcquireLock { name: name.clone(), holder, ttl_ms: 30_000 });
        let token = Token(request.id.0);
        match self.store.call(request).await? {
            Reply::LockTried(tried) => Ok(LockRef { name, token, epoch: tried.outcome.expect("it is free").epoch }),
            other => Err(format!("acquired: {other:?}").into()),
        }
    }

    /// Sends a call while another transaction has changed something, and lets that commit once the call waits for it.
    async fn call_while(&mut self, change: &str, verb: impl Into<Verb>) -> Result<Reply, Failed> {
        sqlx::raw_sql(AssertSqlSafe(format!("begin; {change}"))).execute(&mut self.holder).await?;
        let Self { store, holder, .. } = self;
        let (replied, committed) = tokio::join!(store.call(crate::request(verb)), commit(holder));
        committed?;
        Ok(replied?)
    }

    /// Runs a statement by itself while another transaction has changed something, in the same way.
    async fn run_while(&mut self, change: &str, name: &str, arguments: &str) -> Result<String, Failed> {
        sqlx::raw_sql(AssertSqlSafe(format!("begin; {change}"))).execute(&mut self.holder).await?;
        let Self { store, watcher, holder, .. } = self;
        let (replied, committed) = tokio::join!(run(store, watcher, name, arguments), commit(holder));
        committed?;
        replied
    }
}

/// Runs a statement by itself.
async fn run(store: &PgStore, app: &mut PgConnection, name: &str, arguments: &str) -> Result<String, Failed> {
    sqlx::raw_sql("deallocate all").execute(&mut *app).await?;
    prepare(app, store, (name, "")).await?;
    let execute = format!("execute {name} ({arguments})");
    Ok(sqlx::raw_sql(AssertSqlSafe(execute)).fetch_one(app).await?.get("reply"))
}

/// Once somebody waits for it.
async fn commit(holder: &mut PgConnection) -> Result<(), Failed> {
    crate::until_one_waits(holder).await?;
    sqlx::raw_sql("commit").execute(holder).await?;
    Ok(())
}

/// The short statement for plain rows, and the long one for those that are in a limit or tell the audit.
pub(crate) fn a_claim_passes_over_what_is_held(cluster: &'static Cluster) -> Result<(), Failed> {
    const ROW: &str = "begin; select from tourbillon.execution limit 1 for update";
    const GATES: &str = "begin; select from tourbillon.limit_gate for update";
    let limit = Some(Limit { key: "key".to_owned(), max: 9 });
    let limited = Policy { limit, ..crate::policy() };
    let told = Policy { audit: Audit::All, ..crate::policy() };
    crate::block_on(async {
        let ways = [(crate::policy(), ROW, 2), (told, ROW, 2), (limited.clone(), ROW, 2), (limited, GATES, 0)];
        for (policy, hold, claimed) in ways {
            let mut set = Set::new(cluster).await?;
            crate::plan_due(&set.store, "job", 3, &policy).await?;
            set.hold(hold).await?;
            assert_eq!(crate::claim(&set.store, "job", 9).await?.len(), claimed, "{policy:?}, {hold}");
            set.let_go().await?;
            assert_eq!(crate::claim(&set.store, "job", 9).await?.len(), 3 - claimed, "{policy:?}, {hold}");
        }
        Ok(())
    })
}

/// Whoever holds the gate takes a turn, as far as this one knows.
fn a_claim_at_a_rate_waits_a_turn_for_what_is_held(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        set.enqueue([Some("held"), None]).await?;
        set.hold("begin; select from tourbillon.limit_gate for update").await?;
        let (runner, jobs) = (Incarnation(Uuid::from_u128(7)), vec![JobName::new("job")?]);
        let rate = Some(Rate { key: None, turn_us: 1_000_000, burst: 1 });
        let claim = Claim { runner, jobs, limit: 9, charge: Charge::AtClaim, rate };
        match set.store.call(crate::request(claim)).await? {
            Reply::Claimed(claimed) => {
                assert_eq!(claimed.executions.len(), 1, "that without a key");
                assert_eq!(claimed.next_at, Some(NOW + Duration::from_secs(1)));
            }
            other => return Err(format!("claimed: {other:?}").into()),
        }
        Ok(())
    })
}

/// One old row of each table.
fn a_prune_passes_over_what_is_held(cluster: &'static Cluster) -> Result<(), Failed> {
    const MORE: &str = "
        insert into tourbillon.skipped (job, scope_kind, scope_id, after, through, reason, recorded_at)
            select 'job', '', n, 'epoch', 'epoch', 'late', 'epoch' from unnest(array['1', '2']) n;
        insert into tourbillon.limit_gate (key, queue, charged_at, opens_at, turn_us, burst)
            select n, 'job', 'epoch', 'epoch', 1, 1 from unnest(array['1', '2']) n;
        insert into tourbillon.schedule (job, scope_kind, scope_id, revision, edited_at, edited_by, replaced_at)
            select 'job', '', '', n, 'epoch', 'ada', 'epoch' from unnest(array[1, 2]) n;
        insert into tourbillon.pause (id, job, scope_kind, scope_id, paused_at, paused_by, resumed_at)
            select gen_random_uuid(), 'job', '', n, 'epoch', 'ada', 'epoch' from unnest(array['1', '2']) n";
    const HOLD: &str = "begin;
        select from tourbillon.history limit 1 for update;
        select from tourbillon.skipped limit 1 for update;
        select from tourbillon.audit limit 1 for update;
        select from tourbillon.receipt limit 1 for update;
        select from tourbillon.limit_gate limit 1 for update;
        select from tourbillon.schedule limit 1 for update;
        select from tourbillon.pause limit 1 for update";
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        crate::plan_due(&set.store, "job", 2, &Policy { audit: Audit::All, ..crate::policy() }).await?;
        set.two_ended().await?;
        sqlx::raw_sql(MORE).execute(&mut set.watcher).await?;
        set.clock.set(NOW + HOUR);
        set.hold(HOLD).await?;
        let first = set.prune().await?;
        let one = Pruned { executions: 1, skipped: 1, turns: 1, edits: 1, pauses: 1, ..first };
        assert!(first == one && first.audit > 1 && first.receipts > 1, "{first:?}");
        set.let_go().await?;
        let rest = Pruned { executions: 1, skipped: 1, audit: 1, receipts: 1, turns: 1, edits: 1, pauses: 1 };
        assert_eq!(set.prune().await?, rest);
        Ok(())
    })
}

/// In use by a claim, say.
fn a_prune_passes_over_gates_that_are_held(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        set.enqueue([Some("free"), Some("held")]).await?;
        set.two_ended().await?;
        set.hold("begin; select from tourbillon.limit_gate where key = 'held' for update").await?;
        set.prune().await?;
        let left = sqlx::query("select key from tourbillon.limit_gate").fetch_all(&mut set.watcher).await?;
        assert_eq!(left.iter().map(|row| row.get::<&str, _>(0)).collect::<Vec<_>>(), ["held"]);
        Ok(())
    })
}

fn a_clean_passes_over_items_that_are_held(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        set.enqueue([None, None]).await?;
        set.two_ended().await?;
        set.clock.set(NOW + HOUR);
        let clean = async |set: &Set| {
            let queue = JobName::new("job")?;
            let verb = CleanItems { queue, states: vec![State::Succeeded], finished_ms: 0, limit: 10 };
            match set.store.call(crate::request(verb)).await? {
                Reply::ItemsCleaned(cleaned) => Ok(cleaned.removed.len()),
                other => Err(Failed::from(format!("cleaned: {other:?}"))),
            }
        };
        set.hold("begin; select from tourbillon.history limit 1 for update").await?;
        assert_eq!(clean(&set).await?, 1);
        set.let_go().await?;
        assert_eq!(clean(&set).await?, 1);
        Ok(())
    })
}

/// Somebody moves something on in the future that the clock has withdrawn, or has moved everything back already.
fn a_clock_that_stepped_back_is_told_of_what_was_held(cluster: &'static Cluster) -> Result<(), Failed> {
    const LEASE: &str = "select lease_expires_at from tourbillon.execution";
    // How far back the clock steps, what is changed meanwhile, and how many seconds after the new present something is over then.
    const MOVED: &[(&str, Duration, &str, &str, i64)] = &[
        (
            "a lease",
            HOUR,
            "update tourbillon.execution set updated_at = updated_at + '1 hour', lease_expires_at = lease_expires_at + '1 hour'",
            LEASE,
            60,
        ),
        (
            "the next turn of a key",
            HOUR,
            "update tourbillon.limit_gate set charged_at = charged_at + '1 hour', opens_at = opens_at + '1 hour 3 seconds'",
            "select opens_at from tourbillon.limit_gate",
            8,
        ),
        (
            "a lock",
            HOUR,
            "update tourbillon.lock set renewed_at = renewed_at + '1 hour', expires_at = expires_at + '1 hour 3 seconds'",
            "select expires_at from tourbillon.lock",
            33,
        ),
        (
            "a lease, and another rescue was first",
            HOUR,
            "update tourbillon.meta set at = at - '1 hour'::interval where name = 'rescue'",
            LEASE,
            3600 + 60,
        ),
        (
            "a lease, and another rescue has seen a time that is withdrawn",
            Duration::ZERO,
            "update tourbillon.meta set at = at + '1 hour'::interval where name = 'rescue';
             update tourbillon.execution set updated_at = updated_at + '1 hour', lease_expires_at = lease_expires_at + '1 hour'",
            LEASE,
            60,
        ),
    ];
    crate::block_on(async {
        for (name, step, change, is_over, seconds) in MOVED {
            let mut set = Set::new(cluster).await?;
            crate::plan_due(&set.store, "job", 1, &crate::policy()).await?;
            crate::claim(&set.store, "job", 1).await?;
            set.acquire().await?;
            set.store.call(crate::request(RESCUE)).await?;
            let turn = "insert into tourbillon.limit_gate (key, queue, charged_at, opens_at, turn_us, burst)
                select 'key', 'job', m.at, m.at + '5 seconds', 5000000, 1 from tourbillon.meta m where m.name = 'rescue'";
            sqlx::raw_sql(turn).execute(&mut set.watcher).await?;

            let present = NOW - *step;
            set.clock.set(present);
            set.call_while(change, RESCUE).await.map_err(|error| format!("{name}: {error:?}"))?;
            let is_over = format!("select tourbillon.micros(({is_over}))");
            let micros = sqlx::query(AssertSqlSafe(is_over)).fetch_one(&mut set.watcher).await?.get::<i64, _>(0);
            assert_eq!((micros - present.as_micros()) / 1_000_000, *seconds, "{name}");
        }
        Ok(())
    })
}

/// It looks for itself whether another rescue has moved everything back, since the one that sent for it looked.
fn a_clamp_looks_again_whether_the_clock_stepped_back(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        crate::plan_due(&set.store, "job", 1, &crate::policy()).await?;
        set.store.call(crate::request(RESCUE)).await?;
        let there = "update tourbillon.meta set at = at - '1 hour'::interval where name = 'rescue'";
        let clamped =
            set.run_while(there, "clamp_executions", "to_timestamp(1800000000) - interval '1 hour'").await?;
        assert!(clamped.ends_with(r#""clamped" : []}"#), "{clamped}");
        Ok(())
    })
}

fn a_lock_that_was_taken_over_is_neither_renewed_nor_released(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        let taken_over = "update tourbillon.lock set token = gen_random_uuid(), epoch = epoch + 1";
        let lock = set.acquire().await?;
        match set.call_while(taken_over, RenewLock { lock: lock.clone() }).await? {
            Reply::LockRenewed(renewed) => assert!(renewed.outcome.is_err(), "{renewed:?}"),
            other => return Err(format!("renewed: {other:?}").into()),
        }
        set.clock.set(NOW + HOUR);
        let lock = set.acquire().await?;
        match set.call_while(taken_over, ReleaseLock { lock }).await? {
            Reply::LockReleased(released) => assert!(released.outcome.is_err(), "{released:?}"),
            other => return Err(format!("released: {other:?}").into()),
        }
        Ok(())
    })
}

fn an_item_that_a_prune_takes_is_not_deleted(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        let [id, _] = set.enqueue([None, None]).await?;
        set.two_ended().await?;
        let delete = DeleteItems { queue: JobName::new("job")?, ids: vec![id], actor: None };
        match set.call_while("delete from tourbillon.history", delete).await? {
            Reply::ItemsDeleted(deleted) => assert_eq!(deleted.outcomes, [DeleteOutcome::NotFound]),
            other => return Err(format!("deleted: {other:?}").into()),
        }
        Ok(())
    })
}

/// The find is that one's.
fn a_row_that_another_claim_holds_is_not_set_aside(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        crate::plan_due(&set.store, "job", 2, &crate::policy()).await?;
        let leases = crate::claim(&set.store, "job", 2).await?;
        let claimed_again = format!(
            "update tourbillon.execution set token = gen_random_uuid(), fence = fence + 1 where id = '{}'",
            leases[0].id
        );
        let of_nobody =
            run(&set.store, &mut set.watcher, "set_aside", &unreadable(Token(Uuid::nil()), &leases)).await?;
        assert_eq!(of_nobody, "0", "of another claim");
        assert_eq!(set.run_while(&claimed_again, "set_aside", &unreadable(leases[0].token, &leases)).await?, "1");
        let left = sqlx::query("select id::text from tourbillon.execution").fetch_all(&mut set.watcher).await?;
        assert_eq!(left.iter().map(|row| row.get(0)).collect::<Vec<String>>(), [leases[0].id.to_string()]);
        Ok(())
    })
}

/// Else two calls that leave several limits could each hold what the other waits for.
fn gates_are_locked_in_the_order_of_their_keys(cluster: &'static Cluster) -> Result<(), Failed> {
    const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const HOLD: &str = "begin; select from tourbillon.limit_gate where key = 'e' for update";
    const FREE: &str = "select key from tourbillon.limit_gate order by key for update skip locked";
    crate::block_on(async {
        for call in ["settle", "rescue", "set aside"] {
            let mut set = Set::new(cluster).await?;
            // On their page they are the other way round.
            for key in KEYS.into_iter().rev() {
                let limit = Some(Limit { key: key.to_owned(), max: 1 });
                crate::plan_due(&set.store, "job", 1, &Policy { max_attempts: 1, limit, ..crate::policy() }).await?;
            }
            let leases = crate::claim(&set.store, "job", 8).await?;
            let settlements = leases.iter().flat_map(|lease| crate::success(*lease).settlements).collect();
            set.hold(HOLD).await?;
            let Set { store, clock, holder, watcher } = &mut set;
            let ends = async {
                match call {
                    "settle" => drop(store.call(crate::request(Settle { settlements })).await?),
                    "rescue" => {
                        clock.set(NOW + HOUR);
                        store.call(crate::request(RESCUE)).await?;
                    }
                    _ => drop(run(store, watcher, "set_aside", &unreadable(leases[0].token, &leases)).await?),
                }
                Ok::<_, Failed>(())
            };
            let looks = async {
                crate::until_one_waits(holder).await?;
                let free = sqlx::query(FREE).fetch_all(&mut *holder).await?;
                sqlx::raw_sql("commit").execute(holder).await?;
                Ok::<_, Failed>(free.iter().map(|row| row.get(0)).collect::<Vec<String>>())
            };
            let (ended, free) = tokio::join!(ends, looks);
            ended?;
            assert_eq!(free?, KEYS[4..], "to {call} waits for one gate, holds those before it, and none behind it");
        }
        Ok(())
    })
}

/// The arguments of `set_aside.sql`, from the claim with this token.
fn unreadable(token: Token, leases: &[LeaseRef]) -> String {
    let ids: Vec<_> = leases.iter().map(|lease| format!("'{}'", lease.id)).collect();
    format!("null, '{token}', array[{0}]::uuid[], array[{0}]::text[]", ids.join(", "))
}
