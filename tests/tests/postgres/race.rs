//! Owns races on real connections that the conformance suite does not have: copies of one request in flight at
//! once, and the gate of G15 under many claimers.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use libtest_mimic::Failed;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tourbillon::{
    model::{
        Epoch, Execution, ExecutionId, Incarnation, JobName, Limit, LockName, Policy, Reentry, Scope, Timestamp,
        transition::Charge,
    },
    store::{
        AcquireLock, Cancel, Claim, Claimed, Plan, PlanEntry, PlanOutcome, Reply, Request, Requeue, Rescue, SpecHash,
        Start, Store, StoreError,
    },
};
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;
use uuid::Uuid;

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    ("copies_of_a_request_in_flight_have_one_outcome", copies_of_a_request_in_flight_have_one_outcome),
    ("first_cursor_is_made_by_one_of_many_planners", first_cursor_is_made_by_one_of_many_planners),
    (
        "an_acquire_is_answered_however_often_the_lock_changes_hands",
        an_acquire_is_answered_however_often_the_lock_changes_hands,
    ),
    ("limit_holds_under_many_claimers", limit_holds_under_many_claimers),
    ("who_takes_a_place_runs_from_after_the_end_of_who_left", who_takes_a_place_runs_from_after_the_end_of_who_left),
    ("a_rescued_attempt_ended_after_all_that_it_was_told", a_rescued_attempt_ended_after_all_that_it_was_told),
];

async fn four_copies(store: &PgStore, request: Request) -> Result<Vec<Reply>, Failed> {
    let mut copies = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (store, request) = (store.clone(), request.clone());
        copies.spawn(async move { store.call(request).await });
    }
    let replies: Vec<Result<Reply, StoreError>> = copies.join_all().await;
    Ok(replies.into_iter().collect::<Result<_, _>>()?)
}

fn all_equal(replies: &[Reply]) -> Result<(), Failed> {
    match replies.iter().find(|reply| **reply != replies[0]) {
        None => Ok(()),
        Some(other) => Err(format!("two replies to one request:\n{:?}\n{other:?}", replies[0]).into()),
    }
}

fn copies_of_a_request_in_flight_have_one_outcome(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let store = crate::fresh_store(cluster).await?;
        for round in 0..40 {
            let ids = crate::plan_due(&store, "job", 8, &crate::policy()).await?;
            let claim = crate::request(Claim {
                runner: Incarnation(Uuid::from_u128(9)),
                jobs: vec![JobName::new("job")?],
                limit: 1,
                charge: Charge::AtClaim,
                rate: None,
            });
            let claims = four_copies(&store, claim).await?;
            all_equal(&claims)?;
            let Reply::Claimed(Claimed { executions, .. }) = &claims[0] else { panic!("a claim was asked for") };
            let lease = executions.first().and_then(Execution::lease_ref).expect("eight rows were due");
            all_equal(&four_copies(&store, crate::request(crate::success(lease))).await?)?;
            all_equal(&four_copies(&store, crate::request(Cancel { ids: ids.clone(), actor: None })).await?)?;
            all_equal(&four_copies(&store, crate::request(Requeue { ids: ids[..2].to_vec(), actor: None })).await?)?;
            all_equal(&four_copies(&store, crate::request(Cancel { ids, actor: None })).await?)
                .map_err(|error| format!("round {round}: {}", error.message().unwrap_or_default()))?;
        }
        Ok(())
    })
}

fn first_cursor_is_made_by_one_of_many_planners(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let store = crate::fresh_store(cluster).await?;
        crate::plan_due(&store, "job", 1, &crate::policy()).await?;
        for round in 0..30 {
            let mut planners = tokio::task::JoinSet::new();
            for planner in 0..8 {
                let slot = ExecutionId(Uuid::from_u64_pair(1 << 60 | round, planner));
                let entry = PlanEntry {
                    job: JobName::new("job")?,
                    scope: Scope::new("round", &round.to_string())?,
                    spec_hash: SpecHash("1".into()),
                    schedule_hash: None,
                    expect: None,
                    to: Timestamp::EPOCH,
                    delay_ms: 0,
                    slots: vec![crate::slot(slot, &crate::policy())],
                    skipped: Vec::new(),
                };
                let (store, request) = (store.clone(), crate::request(Plan { entries: vec![entry] }));
                planners.spawn(async move { (slot, store.call(request).await) });
            }
            let mut made = 0;
            for (slot, reply) in planners.join_all().await {
                let Reply::Planned(planned) = reply? else { panic!("a plan was asked for") };
                match &planned.outcomes[..] {
                    [PlanOutcome::Made(ids)] if *ids == [slot] => made += 1,
                    [PlanOutcome::CursorMoved(Some(Timestamp::EPOCH))] => {}
                    other => return Err(format!("round {round}: {other:?}").into()),
                }
            }
            assert_eq!(made, 1, "round {round}");
        }
        Ok(())
    })
}

fn limit_holds_under_many_claimers(cluster: &'static Cluster) -> Result<(), Failed> {
    const ROWS: u64 = 600;
    const MAX: u32 = 3;
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::builder(&url).max_connections(16).connect().await?;
        store.migrate().await?;
        let limited = |key: &str| Policy { limit: Some(Limit { key: key.to_owned(), max: MAX }), ..crate::policy() };
        crate::plan_due(&store, "a", ROWS / 2, &limited("a")).await?;
        crate::plan_due(&store, "a", ROWS / 2, &limited("b")).await?;
        let (running, done) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut claimers = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (store, running, done) = (store.clone(), running.clone(), done.clone());
            claimers.spawn(async move {
                while done.load(Ordering::SeqCst) < ROWS {
                    let leases = crate::claim(&store, "a", 4).await.map_err(|error| format!("{error:?}"))?;
                    // Counted after the claim and no longer before the settle: never more than are running.
                    let now = running.fetch_add(leases.len() as i64, Ordering::SeqCst) + leases.len() as i64;
                    if now > 2 * i64::from(MAX) {
                        return Err(format!("{now} rows run, two keys allow {MAX} each"));
                    }
                    for lease in leases {
                        running.fetch_sub(1, Ordering::SeqCst);
                        let settled = store.call(crate::request(crate::success(lease))).await;
                        settled.map_err(|error| error.to_string())?;
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                    store.call(crate::request(Rescue { limit: 10 })).await.map_err(|error| error.to_string())?;
                }
                Ok(())
            });
        }
        for result in claimers.join_all().await {
            result?;
        }
        let mut connection = crate::connect(&url).await?;
        let gates = sqlx::query("select count(*) from tourbillon.limit_gate where running <> 0");
        assert_eq!(gates.fetch_one(&mut connection).await?.get::<i64, _>(0), 0, "gates are closed again");
        let rows = sqlx::query("select count(*) from tourbillon.history where state = 'succeeded' and attempt = 1");
        assert_eq!(rows.fetch_one(&mut connection).await?.get::<i64, _>(0), ROWS as i64);
        Ok(())
    })
}

/// Prepares a statement, of these types, as `held_up` in the session `slow`: at `place` it waits until `holder` lets go.
async fn hold_up(
    store: &PgStore,
    (name, types): (&str, &str),
    (place, held_up): (&str, &str),
    holder: &mut PgConnection,
    slow: &mut PgConnection,
) -> Result<(), Failed> {
    sqlx::raw_sql("select pg_advisory_lock(1)").execute(holder).await?;
    let statement = store.statement(name).expect("it is in the list of statements");
    assert_eq!(statement.matches(place).count(), 1, "the place to hold it up is not where it was");
    let prepare = format!("prepare held_up {types} as {}", statement.replace(place, held_up));
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(slow).await?;
    Ok(())
}

/// A claim is held up between its scan, which sees room for one, and the gate. Meanwhile somebody takes that place and
/// somebody else leaves: the place that it gets is the second, and it must not be told that it had it all the time.
fn who_takes_a_place_runs_from_after_the_end_of_who_left(cluster: &'static Cluster) -> Result<(), Failed> {
    const BEHIND_THE_SCAN: &str = "from due d where d.limit_key is not null";
    const HELD_UP: &str =
        "from due d cross join (select pg_advisory_xact_lock(1)) held where d.limit_key is not null";
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let limit = Some(Limit { key: "pair".to_owned(), max: 2 });
        crate::plan_due(&store, "job", 3, &Policy { limit, ..crate::policy() }).await?;
        let first = crate::claim(&store, "job", 1).await?[0];
        let (mut holder, mut slow) = (crate::connect(&url).await?, crate::connect(&url).await?);
        let claim = ("claim_executions", "(timestamptz, uuid, text[], bigint, uuid, boolean)");
        hold_up(&store, claim, (BEHIND_THE_SCAN, HELD_UP), &mut holder, &mut slow).await?;
        let claim =
            "execute held_up (null, '00000000-0000-0000-0000-000000000001', '{job}', 1, gen_random_uuid(), true)";
        let meanwhile = async {
            crate::until_one_waits(&mut holder).await?;
            assert_eq!(crate::claim(&store, "job", 1).await?.len(), 1, "there is room for two");
            store.call(crate::request(crate::success(first))).await?;
            sqlx::raw_sql("select pg_advisory_unlock(1)").execute(&mut holder).await?;
            Ok::<(), Failed>(())
        };
        let (claimed, meanwhile) = tokio::join!(sqlx::raw_sql(claim).execute(&mut slow), meanwhile);
        meanwhile?;
        claimed?;
        let both = "select e.claimed_at > h.finished_at from tourbillon.execution e cross join tourbillon.history h
            where e.token = '00000000-0000-0000-0000-000000000001'";
        assert!(sqlx::query(both).fetch_one(&mut holder).await?.get::<bool, _>(0), "three would have run at once");
        Ok(())
    })
}

/// A rescue is held up between its scan, which sees an expired lease, and the lock of that row. Meanwhile its holder asks once more
/// whether it may start, and may, for nobody ended it yet. The end that the rescue then writes must not be before that.
fn a_rescued_attempt_ended_after_all_that_it_was_told(cluster: &'static Cluster) -> Result<(), Failed> {
    const SCAN: &str = "where e.state = 'running' and e.rescue_at < ";
    const HELD_UP: &str =
        "cross join (select pg_advisory_xact_lock(1)) held where e.state = 'running' and e.rescue_at < ";
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        crate::plan_due(&store, "job", 1, &Policy { reentry: Reentry::Forbid, ..crate::policy() }).await?;
        let lease = crate::claim(&store, "job", 1).await?[0];
        let (mut holder, mut slow) = (crate::connect(&url).await?, crate::connect(&url).await?);
        let expire = "update tourbillon.execution
            set lease_expires_at = lease_expires_at - interval '1 hour', rescue_at = rescue_at - interval '1 hour'";
        sqlx::raw_sql(expire).execute(&mut holder).await?;
        let rescue = ("rescue_executions", "(timestamptz, bigint, text, text, text, text)");
        hold_up(&store, rescue, (SCAN, HELD_UP), &mut holder, &mut slow).await?;
        let meanwhile = async {
            crate::until_one_waits(&mut holder).await?;
            let Reply::Started(started) = store.call(crate::request(Start { leases: vec![lease] })).await? else {
                panic!("a start was asked for")
            };
            assert_eq!(started.outcomes, [Ok(1)], "nobody ended it yet");
            sqlx::raw_sql("select pg_advisory_unlock(1)").execute(&mut holder).await?;
            Ok::<_, Failed>(started.now)
        };
        let rescue = "execute held_up (null, 10, 'c', 'cancelled', 's', 'stale')";
        let (rescued, told) = tokio::join!(sqlx::raw_sql(rescue).execute(&mut slow), meanwhile);
        let told = told?;
        rescued?;
        let end = "select tourbillon.micros(h.finished_at) from tourbillon.history h";
        let end = sqlx::query(end).fetch_one(&mut holder).await?.get::<i64, _>(0);
        assert!(end >= told.as_micros(), "it ended at {end}, and was told at {told:?} that it may start");
        Ok(())
    })
}

/// Somebody takes the lock behind the snapshot of an acquire that waits, and is there again before it is asked once more.
fn an_acquire_is_answered_however_often_the_lock_changes_hands(cluster: &'static Cluster) -> Result<(), Failed> {
    const TAKE: &str = "begin; select from tourbillon.lock for update";
    /// Until the acquire waits, or a tenth of a second: it may have been answered.
    const AWAIT: &str = "do $$ begin
        for i in 1 .. 100 loop
            exit when exists (
                select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock');
            perform pg_sleep(0.001);
            perform pg_stat_clear_snapshot();
        end loop;
    end $$";
    const CHANGE: &str = "update tourbillon.lock set epoch = epoch + 1; commit";
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let mut thief = crate::connect(&url).await?;
        let holder = Incarnation(Uuid::from_u128(1));
        let acquire =
            || crate::request(AcquireLock { name: LockName::new("lock").expect("plain"), holder, ttl_ms: 600_000 });
        store.call(acquire()).await?;
        sqlx::raw_sql(TAKE).execute(&mut thief).await?;
        let mut late = tokio::task::JoinSet::new();
        late.spawn({
            let (store, acquire) = (store.clone(), acquire());
            async move { store.call(acquire).await }
        });
        let answer = loop {
            if let Some(answer) = late.try_join_next() {
                break answer;
            }
            for step in [AWAIT, CHANGE, TAKE] {
                sqlx::raw_sql(step).execute(&mut thief).await?;
            }
        };
        let Reply::LockTried(tried) = answer?? else { panic!("an acquire was asked for") };
        let by = tried.outcome.expect_err("it is held");
        assert_eq!(by.holder, holder);
        assert!(by.epoch > Epoch(1), "{by:?}");
        Ok(())
    })
}
