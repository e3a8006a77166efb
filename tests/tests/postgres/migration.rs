//! Owns migrations on a real server: many replicas at once (G12), odd and several schema names, bounded waits.

use std::time::Duration;

use libtest_mimic::Failed;
use sqlx::{AssertSqlSafe, Connection, Row};
use tourbillon::store::{ErrorKind, Migrate, Migrated, ReadStats, Reply, Store};
use tourbillon_pg::{PgStore, SCHEMA_VERSION};
use tourbillon_tests::cluster::Cluster;

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    ("sixteen_replicas_migrate_once", sixteen_replicas_migrate_once),
    (
        "replica_killed_between_a_step_and_its_ledger_entry_leaves_neither",
        replica_killed_between_a_step_and_its_ledger_entry_leaves_neither,
    ),
    ("schemas_share_a_database", schemas_share_a_database),
    ("migration_waits_no_longer_than_told", migration_waits_no_longer_than_told),
    ("schema_newer_than_the_program_is_refused", schema_newer_than_the_program_is_refused),
];

// P-44
fn sixteen_replicas_migrate_once(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let mut boots = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let url = url.clone();
            boots.spawn(async move {
                let store = PgStore::builder(&url).max_connections(1).connect().await?;
                store.migrate().await?;
                store.schema_version().await
            });
        }
        while let Some(version) = boots.join_next().await {
            assert_eq!(version??, SCHEMA_VERSION);
        }
        let mut connection = crate::connect(&url).await?;
        let ledger = sqlx::query("select count(*) from tourbillon.migration").fetch_one(&mut connection).await?;
        assert_eq!(ledger.get::<i64, _>(0), i64::from(SCHEMA_VERSION));
        Ok(())
    })
}

/// A foreign, uncommitted entry for the second step makes whoever applies that step wait at its own entry, with all of
/// the step done.
// P-44
fn replica_killed_between_a_step_and_its_ledger_entry_leaves_neither(
    cluster: &'static Cluster,
) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        let first = store.call(crate::request(Migrate { known: 1 })).await?;
        assert_eq!(first, Reply::Migrated(Migrated { from: 0, to: 1 }));
        let mut other = crate::connect(&url).await?;
        let entry = "begin; insert into tourbillon.migration (version, name, applied_at) values (2, 'other', now())";
        sqlx::raw_sql(entry).execute(&mut other).await?;
        let mut boots = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = PgStore::builder(&url).max_connections(1).connect().await?;
            boots.spawn(async move { store.migrate().await });
        }
        let mut killer = crate::connect(&url).await?;
        let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and wait_event = 'transactionid'";
        while sqlx::query(kill).fetch_all(&mut killer).await?.is_empty() {}
        let killed = boots.join_next().await.ok_or("no boot ended")??;
        assert_eq!(killed.expect_err("its session was ended").kind(), ErrorKind::Unknown);
        assert_eq!(store.schema_version().await?, 1, "the step went with its session");
        other.close().await?;
        while let Some(boot) = boots.join_next().await {
            boot??;
        }
        let ledger = sqlx::query(
            "select array_agg(version order by version), bool_or(name = 'other') from tourbillon.migration",
        );
        let ledger = ledger.fetch_one(&mut killer).await?;
        assert_eq!(ledger.get::<Vec<i64>, _>(0), (1..=i64::from(SCHEMA_VERSION)).collect::<Vec<_>>());
        assert!(!ledger.get::<bool, _>(1));
        crate::plan_due(&store, "job", 3, &crate::policy()).await.map(drop)
    })
}

fn schemas_share_a_database(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let mut stores = Vec::new();
        for name in ["we\"ird {schema} Näme'", "select"] {
            let store = PgStore::builder(&url).schema(name).connect().await?;
            assert_eq!(store.schema_version().await?, 0);
            store.migrate().await?;
            store.migrate().await?;
            stores.push(store);
        }
        crate::plan_due(&stores[0], "job", 3, &crate::policy()).await?;
        let Reply::Stats(there) = stores[0].call(crate::request(ReadStats {})).await? else { panic!("stats") };
        let Reply::Stats(elsewhere) = stores[1].call(crate::request(ReadStats {})).await? else { panic!("stats") };
        assert_eq!((there.jobs.len(), elsewhere.jobs.len()), (1, 0));
        Ok(())
    })
}

fn migration_waits_no_longer_than_told(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let mut other = crate::connect(&url).await?;
        sqlx::raw_sql("select pg_advisory_lock(hashtextextended('tourbillon migrate tourbillon', 0))")
            .execute(&mut other)
            .await?;
        let store = PgStore::builder(&url).lock_timeout(Duration::from_millis(100)).connect().await?;
        let error = store.migrate().await.expect_err("another replica holds the lock");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        drop(other);
        Ok(())
    })
}

fn schema_newer_than_the_program_is_refused(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        PgStore::connect(&url).await?.migrate().await?;
        let newer = "insert into tourbillon.migration (version, name, applied_at) values (99, 'later', now())";
        sqlx::raw_sql(AssertSqlSafe(newer)).execute(&mut crate::connect(&url).await?).await?;
        let error = PgStore::connect(&url).await.expect_err("the schema is newer");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let named = error.message().contains("99") && error.message().contains(&SCHEMA_VERSION.to_string());
        assert!(named, "both versions are named: {error}");
        Ok(())
    })
}
