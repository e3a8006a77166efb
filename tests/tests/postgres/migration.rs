//! Owns migrations on a real server: many replicas at once (G12), odd and several schema names, bounded waits.

use std::time::Duration;

use libtest_mimic::Failed;
use sqlx::{AssertSqlSafe, Row};
use tourbillon::store::{ErrorKind, ReadStats, Reply, Store};
use tourbillon_pg::{PgStore, SCHEMA_VERSION};
use tourbillon_tests::cluster::Cluster;

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    ("sixteen_replicas_migrate_once", sixteen_replicas_migrate_once),
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
