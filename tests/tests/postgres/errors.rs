//! Owns what a caller is told when the server will not, cannot, or does not answer.

use std::time::Duration;

use libtest_mimic::Failed;
use sqlx::{AssertSqlSafe, Row};
use tourbillon::store::{Cancel, ErrorKind, ReadClock, ReadStats, Store, StoreError};
use tourbillon_pg::PgStore;
use tourbillon_tests::cluster::Cluster;

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    ("settings_that_cannot_work_are_invalid", settings_that_cannot_work_are_invalid),
    ("unreachable_server_is_unavailable", unreachable_server_is_unavailable),
    ("missing_schema_says_run_migrate", missing_schema_says_run_migrate),
    ("missing_privilege_is_invalid", missing_privilege_is_invalid),
    ("read_only_server_is_unavailable", read_only_server_is_unavailable),
    ("late_answer_is_unknown_and_frees_its_connection", late_answer_is_unknown_and_frees_its_connection),
    ("dropped_call_leaves_no_transaction", dropped_call_leaves_no_transaction),
    ("crash_of_the_server_is_unknown_then_unavailable_then_over", crash_of_the_server),
];

fn told(result: Result<impl Sized, StoreError>, kind: ErrorKind, part: &str) {
    let error = result.err().expect("an error");
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.message().contains(part), "{part:?} is not in {error}");
    assert!(!format!("{error:?}").contains("hunter2"), "the password is in {error:?}");
}

fn settings_that_cannot_work_are_invalid(_shared: &'static Cluster) -> Result<(), Failed> {
    let cluster = Cluster::start()?;
    crate::block_on(async {
        let mut admin = crate::connect(&cluster.url()).await?;
        let hba: String = sqlx::query("show hba_file").fetch_one(&mut admin).await?.get(0);
        let lock = format!(
            "create role locked login password 'right';
             copy (values ('host all locked 127.0.0.1/32 scram-sha-256'), ('host all all 127.0.0.1/32 trust')) to '{hba}';
             select pg_reload_conf();"
        );
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut admin).await?;
        // A statement later, the reload has reached the postmaster: ask until it shows.
        while sqlx::query("select count(*) from pg_hba_file_rules").fetch_one(&mut admin).await?.get::<i64, _>(0) != 2
        {
        }
        let at = |user: &str, database: &str| {
            cluster
                .url()
                .replace("postgres@", &format!("{user}:hunter2@"))
                .replace("/postgres", &format!("/{database}"))
        };
        let wrong_password = async || PgStore::connect(&at("locked", "postgres")).await;
        let mut tries = 0;
        while wrong_password().await.is_ok() && tries < 100 {
            tries += 1;
        }
        told(wrong_password().await, ErrorKind::Invalid, "user `locked` may not log in to 127.0.0.1:");
        told(PgStore::connect(&at("nobody_here", "postgres")).await, ErrorKind::Invalid, "nobody_here");
        told(PgStore::connect(&at("postgres", "nowhere")).await, ErrorKind::Invalid, "/nowhere");
        told(PgStore::connect("mysql://a:hunter2@b").await, ErrorKind::Invalid, "postgres://");
        if !cfg!(feature = "tls") {
            let encrypted = format!("{}?sslmode=require", at("postgres", "postgres"));
            told(PgStore::connect(&encrypted).await, ErrorKind::Invalid, "with its feature `tls`");
        }
        let no_name = PgStore::builder(&cluster.url()).schema("").connect().await;
        told(no_name, ErrorKind::Invalid, "schema name");
        let none = PgStore::builder(&cluster.url()).max_connections(0).connect().await;
        told(none, ErrorKind::Invalid, "max_connections");
        let shown = format!("{:?}", PgStore::connect(&at("postgres", "postgres")).await?);
        assert!(shown.contains("127.0.0.1") && !shown.contains("hunter2"), "{shown}");
        Ok(())
    })
}

fn unreachable_server_is_unavailable(_cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        told(PgStore::connect("postgres://a:hunter2@127.0.0.1:1/b").await, ErrorKind::Unavailable, "127.0.0.1:1/b");
        Ok(())
    })
}

fn missing_schema_says_run_migrate(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let store = PgStore::builder(&cluster.fresh_database()).schema("mine").connect().await?;
        told(store.call(crate::request(ReadStats {})).await, ErrorKind::Invalid, "schema `mine`");
        told(store.call(crate::request(ReadClock {})).await, ErrorKind::Invalid, "run migrate");
        Ok(())
    })
}

fn missing_privilege_is_invalid(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        PgStore::connect(&url).await?.migrate().await?;
        let role = format!("reader_{}", std::process::id());
        let grant = format!(
            "drop role if exists {role}; create role {role} login; grant usage on schema tourbillon to {role};
             grant select on tourbillon.migration to {role}"
        );
        sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut crate::connect(&url).await?).await?;
        let store = PgStore::connect(&url.replace("postgres@", &format!("{role}@"))).await?;
        told(store.call(crate::request(ReadStats {})).await, ErrorKind::Invalid, "lacks a privilege");
        let other =
            PgStore::builder(&url.replace("postgres@", &format!("{role}@"))).schema("other").connect().await?;
        told(other.migrate().await, ErrorKind::Invalid, "lacks a privilege");
        Ok(())
    })
}

fn read_only_server_is_unavailable(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        store.close().await;
        let name = url.rsplit('/').next().and_then(|rest| rest.split('?').next()).unwrap_or_default();
        let freeze = format!("alter database {name} set default_transaction_read_only = on");
        sqlx::raw_sql(AssertSqlSafe(freeze)).execute(&mut crate::connect(&url).await?).await?;
        let store = PgStore::connect(&url).await?;
        let error = crate::claim(&store, "job", 1).await.expect_err("a claim writes");
        assert!(error.message().is_some_and(|text| text.contains("unavailable") && text.contains("read-only")));
        Ok(())
    })
}

/// A store with one connection, one row, and another session that holds the row's lock.
async fn blocked(url: &str, call_timeout: Duration) -> Result<(PgStore, Cancel, sqlx::PgConnection), Failed> {
    let store = PgStore::builder(url).max_connections(1).call_timeout(call_timeout).connect().await?;
    store.migrate().await?;
    let ids = crate::plan_due(&store, "job", 1, &crate::policy()).await?;
    let mut other = crate::connect(url).await?;
    sqlx::raw_sql("begin; select from tourbillon.execution for update").execute(&mut other).await?;
    Ok((store, Cancel { ids, actor: None }, other))
}

fn late_answer_is_unknown_and_frees_its_connection(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let (store, cancel, _other) = blocked(&url, Duration::from_millis(200)).await?;
        told(store.call(crate::request(cancel)).await, ErrorKind::Unknown, "call_timeout");
        store.call(crate::request(ReadClock {})).await?;
        Ok(())
    })
}

#[expect(clippy::disallowed_methods, reason = "drops a call in real time, on a real server")]
fn dropped_call_leaves_no_transaction(cluster: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = cluster.fresh_database();
        let (store, cancel, other) = blocked(&url, Duration::from_secs(30)).await?;
        let again = crate::request(cancel);
        let dropped = tokio::time::timeout(Duration::from_millis(200), store.call(again.clone())).await;
        assert!(dropped.is_err(), "the lock is held");
        store.call(crate::request(ReadClock {})).await?;
        // The other session ends; what was dropped must not hold the row, and must not have cancelled it unseen.
        drop(other);
        store.call(again).await?;
        Ok(())
    })
}

fn crash_of_the_server(_shared: &'static Cluster) -> Result<(), Failed> {
    let cluster = Cluster::start()?;
    crate::block_on(async {
        let (store, cancel, _other) = blocked(&cluster.url(), Duration::from_secs(30)).await?;
        let mut call = tokio::task::JoinSet::new();
        call.spawn({
            let store = store.clone();
            async move { store.call(crate::request(cancel)).await }
        });
        let mut watcher = crate::connect(&cluster.url()).await?;
        crate::until_one_waits(&mut watcher).await?;
        cluster.stop_immediate()?;
        told(call.join_next().await.expect("one call")?, ErrorKind::Unknown, "during a statement");
        let impatient = PgStore::builder(&cluster.url()).acquire_timeout(Duration::from_millis(300));
        told(impatient.connect().await, ErrorKind::Unavailable, "127.0.0.1");
        cluster.restart()?;
        assert_eq!(crate::claim(&store, "job", 9).await?.len(), 1, "what was acknowledged is there");
        Ok(())
    })
}
