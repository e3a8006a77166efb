//! Owns how attempts end on Postgres: which statement a settlement takes, and that none reads more than its rows. What comes of the
//! rows is conformance's.

use libtest_mimic::Failed;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tourbillon::{
    model::{Audit, LeaseRef, Limit, Policy, Retention, State},
    store::{Reply, Settle, Settlement, Store},
};
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;

use crate::{
    Case,
    explain::{WAYS_TO_PLAN, explain, prepare, run_each},
};

pub(crate) const CASES: &[Case] = &[
    ("a_success_takes_the_short_way", a_success_takes_the_short_way),
    ("a_lease_lost_while_the_short_way_waits_is_lost", a_lease_lost_while_the_short_way_waits_is_lost),
    ("a_row_that_moves_while_the_short_way_waits_goes", a_row_that_moves_while_the_short_way_waits_goes),
    ("a_settlement_reads_its_rows_by_their_ids", a_settlement_reads_its_rows_by_their_ids),
];

const JOB: &str = "orders";

struct Set {
    store: PgStore,
    app: PgConnection,
}

impl Set {
    async fn new(cluster: &Cluster) -> Result<Self, Failed> {
        let url = cluster.fresh_database();
        let store = PgStore::builder(&url).connect().await?;
        store.migrate().await?;
        Ok(Self { store, app: crate::connect(&url).await? })
    }

    /// A lease on a row of this kind.
    async fn hold(&self, policy: &Policy) -> Result<LeaseRef, Failed> {
        crate::plan_due(&self.store, JOB, 1, policy).await?;
        let leases = crate::claim(&self.store, JOB, 1).await?;
        leases.first().copied().ok_or_else(|| "nothing was claimed".into())
    }

    async fn settle(&self, verb: Settle) -> Result<Vec<Option<State>>, Failed> {
        outcomes(self.store.call(crate::request(verb)).await?)
    }

    /// Settles while another transaction has the rows, which sets this of the first one before it lets go.
    async fn settle_while_held(&mut self, leases: &[LeaseRef], set: &str) -> Result<Vec<Option<State>>, Failed> {
        let Self { store, app } = self;
        sqlx::raw_sql("begin; select from tourbillon.execution for update").execute(&mut *app).await?;
        let settlements = leases.iter().flat_map(|lease| crate::success(*lease).settlements).collect();
        let settled = store.call(crate::request(Settle { settlements }));
        let meanwhile = async {
            crate::until_one_waits(app).await?;
            let change = format!("update tourbillon.execution set {set} where id = '{}'; commit", leases[0].id);
            sqlx::raw_sql(AssertSqlSafe(change)).execute(app).await?;
            Ok::<_, Failed>(())
        };
        let (settled, meanwhile) = tokio::join!(settled, meanwhile);
        meanwhile?;
        outcomes(settled?)
    }

    /// How many rows there are, live and in history.
    async fn left(&mut self) -> Result<(i64, i64), Failed> {
        let left = "select (select count(*) from tourbillon.execution), (select count(*) from tourbillon.history)";
        let left = sqlx::query(left).fetch_one(&mut self.app).await?;
        Ok((left.get(0), left.get(1)))
    }

    /// Whether the last settlement was the short statement's, as the server saw it.
    async fn was_short(&mut self) -> Result<bool, Failed> {
        let last = "select query from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid() and query like '-- Ends attempts%'
            order by query_start desc limit 1";
        let text: String = sqlx::query(last).fetch_one(&mut self.app).await?.get(0);
        Ok(text.starts_with("-- Ends attempts as settle_executions.sql would"))
    }
}

fn outcomes(reply: Reply) -> Result<Vec<Option<State>>, Failed> {
    match reply {
        Reply::Settled(settled) => Ok(settled.outcomes.into_iter().map(Result::ok).collect()),
        other => Err(format!("settled: {other:?}").into()),
    }
}

fn success(lease: LeaseRef, retain: Retention) -> Settle {
    let mut verb = crate::success(lease);
    verb.settlements.iter_mut().for_each(|one: &mut Settlement| one.retain = retain);
    verb
}

/// And after one that it is not for, the next does not try it, while the one after that does.
fn a_success_takes_the_short_way(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        let limited = Policy { limit: Some(Limit { key: "key".into(), max: 9 }), ..crate::policy() };
        let told = Policy { audit: Audit::All, ..crate::policy() };
        let kept = Retention::Everything;
        let plain = crate::policy();
        let (short, long) = (true, false);
        let ways = [
            ("kept", &plain, kept, short),
            ("forgotten", &plain, Retention::Failures, short),
            ("in a limit", &limited, kept, long),
            ("right after that", &plain, kept, long),
            ("then", &plain, kept, short),
            ("told", &told, Retention::Nothing, long),
        ];
        for (name, policy, retain, is_short) in ways {
            let lease = set.hold(policy).await?;
            assert_eq!(set.settle(success(lease, retain)).await?, [Some(State::Succeeded)], "{name}");
            assert_eq!(set.was_short().await?, is_short, "{name}");
            let left = "select (select count(*) from tourbillon.execution), (select count(*) from tourbillon.history where id = $1::text::uuid)";
            let left = sqlx::query(left).bind(lease.id.to_string()).fetch_one(&mut set.app).await?;
            let found = (left.get::<i64, _>(0), left.get::<i64, _>(1));
            assert_eq!(found, (0, i64::from(retain == kept)), "{name}: live, and in history");
        }
        Ok(())
    })
}

/// Another transaction has the rows, and takes one of them away from their holder before it lets go.
fn a_lease_lost_while_the_short_way_waits_is_lost(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        let leases = [set.hold(&crate::policy()).await?, set.hold(&crate::policy()).await?];
        let lost = "token = gen_random_uuid(), fence = fence + 1";
        assert_eq!(set.settle_while_held(&leases, lost).await?, [None, Some(State::Succeeded)]);
        assert_eq!(set.left().await?, (1, 1), "live, and in history");
        Ok(())
    })
}

/// It has a heartbeat while the settlement waits for it, and is at another place then.
pub(crate) fn a_row_that_moves_while_the_short_way_waits_goes(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        let leases = [set.hold(&crate::policy()).await?, set.hold(&crate::policy()).await?];
        let renewed = "lease_expires_at = lease_expires_at + '1 minute'";
        assert_eq!(set.settle_while_held(&leases, renewed).await?, [Some(State::Succeeded); 2]);
        assert!(set.was_short().await?);
        assert_eq!(set.left().await?, (0, 2), "live, and in history");
        Ok(())
    })
}

/// However many there are, and whatever the planner knows of them.
fn a_settlement_reads_its_rows_by_their_ids(cluster: &'static Cluster) -> Result<(), Failed> {
    const ROWS: [u32; 2] = [12_000, 3_000];
    crate::block_on(async {
        let mut set = Set::new(cluster).await?;
        let Set { store, app } = &mut set;
        let held = "(timestamptz, uuid, uuid[], uuid[], bigint[]";
        let types = format!("{held}, text[], text[], bigint[], text[], text[], bigint[], text, text, text[])");
        prepare(app, store, ("settle_executions", &types)).await?;
        prepare(app, store, ("settle_keeping", &format!("{held}, text[], bigint[])"))).await?;
        prepare(app, store, ("settle_forgetting", &format!("{held})"))).await?;
        for rows in ROWS {
            let fill = format!(
                "truncate tourbillon.execution;
                 insert into tourbillon.execution (id, generation, job, scope_kind, scope_id, due_at, priority,
                     max_attempts, lease_ms, reentry, supersede, state, claimable_at, attempt, fence, token, started_at,
                     audit, created_at, updated_at)
                 select gen_random_uuid(), 1, 'job', 'global', 'global', now(), 0, 3, 1000, 'allow', 'never', 'running',
                     now() + interval '1 minute', 1, 1, '{TOKEN}', now(), 'off', now(), now()
                 from generate_series(1, {rows}) n"
            );
            sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut *app).await?;
            let ids: String =
                sqlx::query("select array_agg(id)::text from (select id from tourbillon.execution limit 500) e")
                    .fetch_one(&mut *app)
                    .await?
                    .get(0);
            let of = |text: &str| format!("array_fill({text}, array[500])");
            let held =
                format!("null, '{REQUEST}', '{ids}', {}, {}", of(&format!("'{TOKEN}'::uuid")), of("1::bigint"));
            let (nothing, number) = (of("null::text"), of("null::bigint"));
            let all = format!(
                "execute settle_executions ({held}, {}, {}, {number}, {nothing}, {nothing}, {number}, 'code', 'text', {})",
                of("'succeeded'::text"),
                of("'1'::text"),
                of("'everything'::text"),
            );
            let keeping = format!("execute settle_keeping ({held}, {}, {number})", of("'1'::text"));
            let forgetting = format!("execute settle_forgetting ({held})");
            for settings in WAYS_TO_PLAN {
                run_each(app, settings).await?;
                for call in [&all, &keeping, &forgetting] {
                    let plan = explain(app, call).await?;
                    if plan.contains("Seq Scan on execution") || !plan.contains("rows=500") {
                        return Err(format!("{rows} rows, {settings}: not 500 rows by their ids\n{plan}").into());
                    }
                }
            }
        }
        Ok(())
    })
}

const TOKEN: &str = "00000000-0000-0000-0000-000000000001";
const REQUEST: &str = "00000000-0000-0000-0000-000000000002";
