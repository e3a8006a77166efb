//! Owns that the statements of an item's life are planned a few times in a session, and not for each call: to plan one
//! takes longer than to carry it out for a single row.

use libtest_mimic::Failed;
use sqlx::{AssertSqlSafe, Row};
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;

use crate::{Case, explain::prepare};

pub(crate) const CASES: &[Case] =
    &[("statements_of_an_item_keep_their_plans", statements_of_an_item_keep_their_plans)];

/// Name, types of the parameters, parameters of a call for one row.
const STATEMENTS: [(&str, &str, &str); 13] = [
    (
        "enqueue_alike",
        "(timestamptz, uuid, text, uuid[], text[], text, text, bigint, timestamptz, bigint, smallint, bigint, bigint,
         text, text, text, bigint, text, text[])",
        "null, gen_random_uuid(), 'job', array[gen_random_uuid()], '{1}', 'global', 'global', 0, null, null,
         0::smallint, 25, 60000, 'allow', 'never', null, null, 'off', null",
    ),
    (
        "enqueue_items",
        "(timestamptz, uuid, text, bigint, uuid[], text[], text[], bigint[], timestamptz[], bigint[], smallint[],
         text[], text[], bigint[], text[], bigint[], bigint[], text[], text[], text[], bigint[], text[], text[])",
        "null, gen_random_uuid(), 'job', null, array[gen_random_uuid()], '{global}', '{global}', '{0}', '{null}',
         '{null}', '{0}', '{1}', '{null}', '{null}', '{null}', '{25}', '{60000}', '{allow}', '{never}', '{null}', '{null}',
         '{off}', null",
    ),
    (
        "enqueue_one",
        "(timestamptz, uuid, text, uuid, text, text, text, bigint, timestamptz, bigint, smallint, bigint, bigint, text,
         text, text, text)",
        "null, gen_random_uuid(), 'job', gen_random_uuid(), '1', 'global', 'global', 0, null, null, 0::smallint, 25, 60000,
         'allow', 'never', 'off', null",
    ),
    (
        "claim_executions",
        "(timestamptz, uuid, text[], bigint, uuid, text)",
        "null, gen_random_uuid(), '{job}', 1, gen_random_uuid(), 'harmless'",
    ),
    (
        "claim_plain",
        "(timestamptz, uuid, text[], bigint, uuid, text)",
        "null, gen_random_uuid(), '{job}', 1, gen_random_uuid(), 'harmless'",
    ),
    (
        "claim_onward",
        "(timestamptz, uuid, text[], bigint, uuid, text, smallint, timestamptz, timestamptz, uuid)",
        "null, gen_random_uuid(), '{job}', 1, gen_random_uuid(), 'harmless', 0::smallint, now(), now(), gen_random_uuid()",
    ),
    (
        "claim_executions_at_a_rate",
        "(timestamptz, uuid, text[], bigint, uuid, text, bigint, bigint, text)",
        "null, gen_random_uuid(), '{job}', 1, gen_random_uuid(), 'none', 1000000, 1, 'key'",
    ),
    ("read_due", "(timestamptz, text[])", "null, '{job}'"),
    (
        "start_executions",
        "(timestamptz, uuid[], uuid[], bigint[])",
        "null, array[gen_random_uuid()], array[gen_random_uuid()], '{1}'",
    ),
    (
        "heartbeat_executions",
        "(timestamptz, uuid[], uuid[], bigint[], text[])",
        "null, array[gen_random_uuid()], array[gen_random_uuid()], '{1}', null",
    ),
    (
        "settle_executions",
        "(timestamptz, uuid, uuid[], uuid[], bigint[], text[], text[], bigint[], text[], text[], bigint[], text, text,
         text[])",
        "null, gen_random_uuid(), array[gen_random_uuid()], array[gen_random_uuid()], '{1}', '{succeeded}', '{1}',
         '{null}', '{null}', '{null}', '{null}', 'code', 'text', '{everything}'",
    ),
    (
        "settle_keeping",
        "(timestamptz, uuid, uuid[], uuid[], bigint[], text[], bigint[])",
        "null, gen_random_uuid(), array[gen_random_uuid()], array[gen_random_uuid()], '{1}', '{1}', '{null}'",
    ),
    (
        "settle_forgetting",
        "(timestamptz, uuid, uuid[], uuid[], bigint[])",
        "null, gen_random_uuid(), array[gen_random_uuid()], array[gen_random_uuid()], '{1}'",
    ),
];

/// After five calls Postgres compares what its plans cost: it plans anew for each call for as long as that looks cheaper.
const CALLS: usize = 12;

fn statements_of_an_item_keep_their_plans(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let mut connection = crate::connect(&url).await?;
        for (name, types, call) in STATEMENTS {
            prepare(&mut connection, &store, (name, types)).await?;
            for _ in 0..CALLS {
                let execute = AssertSqlSafe(format!("execute {name} ({call})"));
                sqlx::raw_sql(execute).fetch_all(&mut connection).await?;
            }
        }
        let counts = "select name, custom_plans from pg_prepared_statements where custom_plans > 5";
        let wrong = sqlx::raw_sql(counts).fetch_all(&mut connection).await?;
        let named = wrong.iter().map(|row| format!("{} {}", row.get::<String, _>(0), row.get::<i64, _>(1)));
        let named: Vec<String> = named.collect();
        if named.is_empty() {
            return Ok(());
        }
        Err(format!("planned anew for each of {CALLS} calls: {named:?}").into())
    })
}
