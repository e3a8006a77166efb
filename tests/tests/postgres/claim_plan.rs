//! Owns what the claim reads (zoo C10): with a large backlog of future rows, an idle claim must touch few pages.

use libtest_mimic::Failed;
use sqlx::AssertSqlSafe;
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;

use crate::{
    Case,
    explain::{WAYS_TO_PLAN, explain, pages_touched, prepare, run_each},
};

pub(crate) const CASES: &[Case] = &[
    ("claim_reads_due_rows_only", claim_reads_due_rows_only),
    ("no_queue_reads_another_s_backlog", no_queue_reads_another_s_backlog),
    ("claim_at_a_rate_reads_one_gate_while_it_is_shut", claim_at_a_rate_reads_one_gate_while_it_is_shut),
    ("large_claim_of_a_small_backlog_sorts_nothing", large_claim_of_a_small_backlog_sorts_nothing),
];

const FUTURE_ROWS: u32 = 100_000;

/// For five rows; the future rows alone fill some 3,000 pages, and their index entries 500.
const MAX_PAGES_IDLE: u64 = 150;

/// For 50 rows, each of which is written to the table and its four indexes.
const MAX_PAGES_BUSY: u64 = 1_500;

fn claim_reads_due_rows_only(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let mut connection = crate::connect(&url).await?;
        let fill = format!(
            "insert into tourbillon.execution (id, generation, job, scope_kind, scope_id, due_at, priority, max_attempts,
                 lease_ms, reentry, supersede, state, claimable_at, attempt, fence, created_at, updated_at)
             select gen_random_uuid(), 1, 'job', 'global', 'global', now(), n % 3, 3, 1000, 'allow', 'never', 'scheduled',
                 now() + (case when n <= 5 then -1 else n end) * interval '1 minute', 0, 0, now(), now()
             from generate_series(1, {FUTURE_ROWS}) n"
        );
        sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut connection).await?;
        let types = "(timestamptz, uuid, text[], bigint, uuid, text)";
        prepare(&mut connection, &store, ("claim_executions", types)).await?;
        prepare(&mut connection, &store, ("claim_plain", types)).await?;
        // A deep backlog of due rows: only as many are read as are taken.
        let backlog = "update tourbillon.execution set claimable_at = now() - (claimable_at - now()) \
            where claimable_at > now(); vacuum analyze";
        let idle = WAYS_TO_PLAN.map(|settings| (settings, MAX_PAGES_IDLE));
        for (settings, max_pages) in idle.into_iter().chain([(backlog, MAX_PAGES_BUSY)]) {
            run_each(&mut connection, settings).await?;
            for claim in [CLAIM, PLAIN_CLAIM] {
                let plan = explain(&mut connection, claim).await?;
                if let Some(wrong) = judge(&plan, max_pages) {
                    return Err(format!("{settings}: {claim}: {wrong}\n{plan}").into());
                }
            }
        }
        Ok(())
    })
}

/// Neither a claim nor a look: the backlog of a queue that nobody works on must cost the others nothing.
fn no_queue_reads_another_s_backlog(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let mut connection = crate::connect(&url).await?;
        let fill = format!(
            "insert into tourbillon.execution (id, generation, job, scope_kind, scope_id, due_at, priority, max_attempts,
                 lease_ms, reentry, supersede, state, claimable_at, attempt, fence, created_at, updated_at)
             select gen_random_uuid(), 1, case when n <= 5 then 'job' else 'other' end, 'global', 'global', now(), n % 3, 3,
                 1000, 'allow', 'never', 'scheduled', now() - n * interval '1 minute', 0, 0, now(), now()
             from generate_series(1, {FUTURE_ROWS}) n"
        );
        sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut connection).await?;
        prepare(&mut connection, &store, ("claim_executions", "(timestamptz, uuid, text[], bigint, uuid, text)"))
            .await?;
        prepare(&mut connection, &store, ("claim_plain", "(timestamptz, uuid, text[], bigint, uuid, text)")).await?;
        prepare(&mut connection, &store, ("read_due", "(timestamptz, text[])")).await?;
        for settings in WAYS_TO_PLAN {
            run_each(&mut connection, settings).await?;
            for statement in [CLAIM, PLAIN_CLAIM, "execute read_due (null, '{job}')"] {
                let plan = explain(&mut connection, statement).await?;
                if let Some(wrong) = judge(&plan, MAX_PAGES_IDLE) {
                    return Err(format!("{settings}: {statement}: {wrong}\n{plan}").into());
                }
            }
        }
        Ok(())
    })
}

const CLAIM: &str = "execute claim_executions \
    (null, '00000000-0000-0000-0000-000000000001', '{job}', 50, gen_random_uuid(), 'all')";

const PLAIN_CLAIM: &str = "execute claim_plain \
    (null, '00000000-0000-0000-0000-000000000001', '{job}', 50, gen_random_uuid(), 'all')";

/// However deep the backlog; and while it is open, no more is read than without a rate.
fn claim_at_a_rate_reads_one_gate_while_it_is_shut(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let mut connection = crate::connect(&url).await?;
        let fill = format!(
            "insert into tourbillon.execution (id, generation, job, scope_kind, scope_id, due_at, priority, max_attempts,
                 lease_ms, reentry, supersede, state, claimable_at, attempt, fence, created_at, updated_at, limit_key, limit_max)
             select gen_random_uuid(), 1, 'job', 'global', 'global', now(), 0, 3, 1000, 'allow', 'never', 'scheduled',
                 now() - n * interval '1 millisecond', 0, 0, now(), now(), 'all', 4294967295
             from generate_series(1, {FUTURE_ROWS}) n"
        );
        sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut connection).await?;
        // Gates of other keys, of which the queue's own are the fewest.
        let gates = "insert into tourbillon.limit_gate (key, queue, charged_at, opens_at)
                select 'key ' || n, 'other', now(), now() + n * interval '1 second' from generate_series(1, 10000) n;
            insert into tourbillon.limit_gate (key, queue, charged_at, opens_at)
                values ('all', 'job', now(), now() + interval '1 hour')";
        sqlx::raw_sql(gates).execute(&mut connection).await?;
        let types = "(timestamptz, uuid, text[], bigint, uuid, text, bigint, bigint, text)";
        prepare(&mut connection, &store, ("claim_executions_at_a_rate", types)).await?;
        for settings in WAYS_TO_PLAN {
            run_each(&mut connection, settings).await?;
            let shut = explain(&mut connection, CLAIM_AT_A_RATE).await?;
            if pages_touched(&shut) > MAX_PAGES_SHUT {
                return Err(format!("{settings}: more than {MAX_PAGES_SHUT} pages while it is shut\n{shut}").into());
            }
        }
        run_each(&mut connection, "update tourbillon.limit_gate set opens_at = now() where key = 'all'").await?;
        for settings in WAYS_TO_PLAN {
            run_each(&mut connection, settings).await?;
            let open = explain(&mut connection, CLAIM_AT_A_RATE).await?;
            if let Some(wrong) = judge(&open, MAX_PAGES_BUSY) {
                return Err(format!("{settings}: {wrong}\n{open}").into());
            }
        }
        Ok(())
    })
}

const MAX_PAGES_SHUT: u64 = 40;

const CLAIM_AT_A_RATE: &str = "execute claim_executions_at_a_rate \
    (null, '00000000-0000-0000-0000-000000000001', '{job}', 50, gen_random_uuid(), 'none', 3600000000, 1, 'all')";

/// A queue's claim ahead, of so many rows that to sort what is due once looks no dearer than to follow the index.
fn large_claim_of_a_small_backlog_sorts_nothing(cluster: &'static Cluster) -> Result<(), Failed> {
    const DUE_ROWS: [u32; 3] = [12_000, 6_000, 3_000];
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let mut connection = crate::connect(&url).await?;
        let types = "(timestamptz, uuid, text[], bigint, uuid, text)";
        prepare(&mut connection, &store, ("claim_executions_1000", types)).await?;
        prepare(&mut connection, &store, ("claim_plain_1000", types)).await?;
        let types = "(timestamptz, uuid, text[], bigint, uuid, text, smallint, timestamptz, timestamptz, uuid)";
        prepare(&mut connection, &store, ("claim_onward_1000", types)).await?;
        for rows in DUE_ROWS {
            // In no order, so that the index leads all over the table.
            let fill = format!(
                "truncate tourbillon.execution;
                 insert into tourbillon.execution (id, generation, job, scope_kind, scope_id, due_at, priority,
                     max_attempts, lease_ms, reentry, supersede, state, claimable_at, attempt, fence, created_at,
                     updated_at)
                 select gen_random_uuid(), 1, 'job', 'global', 'global', now(), 0, 3, 1000, 'allow', 'never',
                     'scheduled', now() - random() * interval '1 minute', 0, 0, now(), now()
                 from generate_series(1, {rows}) n;
                 analyze"
            );
            sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut connection).await?;
            for settings in WAYS_TO_PLAN {
                run_each(&mut connection, settings).await?;
                // Onward a few thousand rows look few; to sort these takes 1 ms, and what looks few is never many: it is a ninth of
                // all rows, whatever the statistics say of their instants.
                let onward = (rows == DUE_ROWS[0]).then_some(LARGE_CLAIM_ONWARD);
                for claim in [LARGE_CLAIM, LARGE_PLAIN_CLAIM].into_iter().chain(onward) {
                    let plan = explain(&mut connection, claim).await?;
                    let mut carried_out = plan.lines().filter(|line| !line.contains("never executed"));
                    if carried_out.any(|line| line.contains("Seq Scan on execution") || line.contains("Bitmap")) {
                        return Err(format!(
                            "{rows} rows, {settings}: all that is due is read, to be sorted\n{plan}"
                        )
                        .into());
                    }
                }
            }
        }
        Ok(())
    })
}

const LARGE_CLAIM: &str = "execute claim_executions_1000 \
    (null, '00000000-0000-0000-0000-000000000001', '{job}', 500, gen_random_uuid(), 'harmless')";

const LARGE_PLAIN_CLAIM: &str = "execute claim_plain_1000 \
    (null, '00000000-0000-0000-0000-000000000001', '{job}', 500, gen_random_uuid(), 'harmless')";

const LARGE_CLAIM_ONWARD: &str = "execute claim_onward_1000 \
    (null, '00000000-0000-0000-0000-000000000001', '{job}', 500, gen_random_uuid(), 'harmless', 0::smallint, \
     clock_timestamp(), now() - interval '30 seconds', gen_random_uuid())";

/// What is wrong with the plan, if anything.
fn judge(plan: &str, max_pages: u64) -> Option<String> {
    let pages = pages_touched(plan);
    if plan.contains("Seq Scan on execution") {
        Some("the whole table is read".to_owned())
    } else if !plan.contains("execution_claim") {
        Some("the claim index is not used".to_owned())
    } else if plan.contains("JIT:") {
        Some("the plan is so dear that it is compiled first".to_owned())
    } else if plan.contains("Bitmap Index Scan on execution_claim") {
        Some("the claim index is not read in its order".to_owned())
    } else {
        (pages > max_pages).then(|| format!("{pages} pages are touched, at most {max_pages} are allowed"))
    }
}
