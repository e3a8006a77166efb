//! Owns what an enqueue reads: with a large backlog and a long history, a few pages for each item, whatever the plan.

use libtest_mimic::Failed;
use sqlx::AssertSqlSafe;
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;

use crate::{
    Case,
    explain::{WAYS_TO_PLAN, explain, prepare, run_each},
};

pub(crate) const CASES: &[Case] = &[("enqueue_looks_keys_up_by_index", enqueue_looks_keys_up_by_index)];

const ROWS: u32 = 50_000;

fn enqueue_looks_keys_up_by_index(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let mut connection = crate::connect(&url).await?;
        let fill = format!(
            "insert into tourbillon.execution (id, generation, job, scope_kind, scope_id, due_at, priority, max_attempts,
                 lease_ms, reentry, supersede, state, claimable_at, attempt, fence, created_at, updated_at, unique_key)
             select gen_random_uuid(), 1, 'job ' || n % 100, 'global', 'global', now(), 0, 3, 1000, 'allow', 'never',
                 'scheduled', now() + interval '1 hour', 0, 0, now(), now(), 'key ' || n
             from generate_series(1, {ROWS}) n;
             insert into tourbillon.history (id, generation, job, scope_kind, scope_id, due_at, priority, max_attempts,
                 lease_ms, reentry, supersede, state, attempt, fence, created_at, updated_at, finished_at, unique_key)
             select gen_random_uuid(), 1, 'job ' || n % 100, 'global', 'global', now(), 0, 3, 1000, 'allow', 'never',
                 'succeeded', 0, 0, now(), now(), now(), 'key ' || n % 1000
             from generate_series(1, {ROWS}) n"
        );
        sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut connection).await?;
        prepare(&mut connection, &store, ("enqueue_items", "")).await?;
        prepare(&mut connection, &store, ("check_keys", "")).await?;
        for settings in WAYS_TO_PLAN {
            run_each(&mut connection, settings).await?;
            for (call, index) in [(ENQUEUE, "execution_unique"), (CHECK, "history_unique")] {
                let plan = explain(&mut connection, call).await?;
                for scan in ["Seq Scan on execution", "Seq Scan on history", "JIT:"] {
                    if plan.contains(scan) {
                        return Err(format!("{settings}: {scan}\n{plan}").into());
                    }
                }
                if !plan.contains(index) {
                    return Err(format!("{settings}: {index} is not used\n{plan}").into());
                }
            }
        }
        Ok(())
    })
}

const CHECK: &str = "execute check_keys (
    '{00000000-0000-0000-0000-00000000000a,00000000-0000-0000-0000-00000000000b}', '{finished,succeeded}')";

/// Three items: of a live key, of one that history has, of none. The queue has a bound.
const ENQUEUE: &str = "execute enqueue_items (null, '00000000-0000-0000-0000-000000000001', 'job 5', 100000,
    '{00000000-0000-0000-0000-00000000000a,00000000-0000-0000-0000-00000000000b,00000000-0000-0000-0000-00000000000c}',
    '{global,global,global}', '{global,global,global}', '{0,0,0}', '{null,null,null}', '{null,null,null}', '{0,0,0}',
    '{null,null,null}', '{key 7,gone,null}', '{null,1000,null}', '{finished,finished,null}', '{3,3,3}',
    '{1000,1000,1000}', '{allow,allow,allow}', '{never,never,never}', '{null,null,null}', '{null,null,null}',
    '{all,all,all}', null)";
