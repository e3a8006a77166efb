//! What holds where the server demands TLS: whom a store trusts, what it refuses, and that everything it opens is
//! encrypted. A server of their own, with a certificate made for it.

use libtest_mimic::Failed;
use sqlx::Row;
use tourbillon::store::{ErrorKind, Store, StoreError};
use tourbillon_pg::PgStore;
use tourbillon_tests::{
    certificate::{Demand, demand_tls},
    cluster::Cluster,
};

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    ("trusted_server_is_worked_with_encrypted_throughout", trusted_server_is_worked_with),
    ("server_of_an_unknown_root_is_refused", server_of_an_unknown_root_is_refused),
    ("server_of_another_name_is_refused", server_of_another_name_is_refused),
    ("plain_connection_is_refused_where_tls_is_demanded", plain_connection_is_refused),
    ("server_without_tls_is_refused_where_the_url_asks_for_it", server_without_tls_is_refused),
];

/// A server that lets nobody in without TLS, and its URL.
fn demanding() -> Result<(Cluster, Demand), Failed> {
    let cluster = Cluster::start()?;
    let demand = demand_tls(&cluster)?;
    Ok((cluster, demand))
}

fn refused(result: Result<PgStore, StoreError>, part: &str) {
    let error = result.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains(part), "{part:?} is not in {error}");
}

fn trusted_server_is_worked_with(_shared: &'static Cluster) -> Result<(), Failed> {
    let (cluster, demand) = demanding()?;
    crate::block_on(async {
        let url = format!("{}?sslmode=verify-full&sslrootcert={}", cluster.url(), demand.root.display());
        let store = PgStore::connect(&url).await?;
        store.migrate().await?;
        let listener = store.listen().await?.expect("a listener");
        let ours = "select count(*), coalesce(bool_and(s.ssl), false)
            from pg_stat_activity a join pg_stat_ssl s using (pid) where a.application_name = 'tourbillon'";
        let row = sqlx::query(ours).fetch_one(&mut crate::connect(&url).await?).await?;
        assert!(row.get::<i64, _>(0) >= 2, "a connection of the pool, and the listener's");
        assert!(row.get::<bool, _>(1), "one is not encrypted");
        drop(listener);
        store.close().await;
        Ok(())
    })
}

fn server_of_an_unknown_root_is_refused(_shared: &'static Cluster) -> Result<(), Failed> {
    let (cluster, demand) = demanding()?;
    crate::block_on(async {
        let other = format!("{}?sslmode=verify-full&sslrootcert={}", cluster.url(), demand.other_root.display());
        refused(PgStore::connect(&other).await, "sslrootcert");
        let public = format!("{}?sslmode=verify-ca", cluster.url());
        refused(PgStore::connect(&public).await, "sslrootcert");
        let nowhere = format!("{}?sslmode=verify-full&sslrootcert=/nowhere/root.crt", cluster.url());
        assert!(PgStore::connect(&nowhere).await.is_err());
        Ok(())
    })
}

/// The certificate is of 127.0.0.1.
fn server_of_another_name_is_refused(_shared: &'static Cluster) -> Result<(), Failed> {
    let (cluster, demand) = demanding()?;
    crate::block_on(async {
        let localhost = cluster.url().replace("127.0.0.1", "localhost");
        let root = demand.root.display();
        let full = format!("{localhost}?sslmode=verify-full&sslrootcert={root}");
        refused(PgStore::connect(&full).await, "certificate");
        PgStore::connect(&format!("{localhost}?sslmode=verify-ca&sslrootcert={root}")).await?.close().await;
        Ok(())
    })
}

fn plain_connection_is_refused(_shared: &'static Cluster) -> Result<(), Failed> {
    let (cluster, _demand) = demanding()?;
    crate::block_on(async {
        refused(PgStore::connect(&format!("{}?sslmode=disable", cluster.url())).await, "sslmode=verify-full");
        Ok(())
    })
}

fn server_without_tls_is_refused(shared: &'static Cluster) -> Result<(), Failed> {
    crate::block_on(async {
        let url = shared.fresh_database();
        let joint = if url.contains('?') { '&' } else { '?' };
        refused(PgStore::connect(&format!("{url}{joint}sslmode=require")).await, "does not support TLS");
        Ok(())
    })
}
