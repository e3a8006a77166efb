//! Several connections, threads and processes on one file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use rusqlite::Connection;
use support::{Chance, Folder, child, child_file, claim, claimed, plan, register};
use tourbillon::{
    model::ExecutionId,
    store::{ErrorKind, ListExecutions, ReadClock, Reply, Rescue, Store as _},
};
use tourbillon_sqlite::{SqliteStore, rusqlite};

const ROWS: usize = 1_000;

// P-44
#[tokio::test]
async fn any_number_of_processes_migrate_one_file_at_once() {
    if let Some(file) = child_file() {
        let store = SqliteStore::open(file).unwrap();
        return store.close().await;
    }
    for _ in 0..5 {
        let folder = Folder::new();
        let test = "any_number_of_processes_migrate_one_file_at_once";
        let spawn = |_| child(test, &folder.file("jobs.db")).spawn().unwrap();
        let children: Vec<_> = (0..8).map(spawn).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let connection = Connection::open(folder.file("jobs.db")).unwrap();
        let entries: i64 = connection.query_row("select count(*) from migration", [], |row| row.get(0)).unwrap();
        assert_eq!(entries, i64::from(tourbillon_sqlite::SCHEMA_VERSION));
    }
}

#[tokio::test]
async fn two_stores_on_one_file_claim_disjoint_rows() {
    let folder = Folder::new();
    let mut chance = Chance::new(1);
    let one = SqliteStore::open(folder.file("jobs.db")).unwrap();
    let two = SqliteStore::open(folder.file("jobs.db")).unwrap();
    one.call(register(&mut chance, "digest")).await.unwrap();
    one.call(plan(&mut chance, "digest", "a", ROWS)).await.unwrap();
    let drain = async |store: &SqliteStore, mut ids: Vec<ExecutionId>, mut chance: Chance| {
        loop {
            let batch = claimed(store.call(claim(&mut chance, "digest", 7)).await.unwrap()).executions;
            if batch.is_empty() {
                return ids;
            }
            ids.extend(batch.into_iter().map(|row| row.id));
        }
    };
    // Each has a share for certain; how the rest falls is up to SQLite's lock, which is not fair.
    let share = async |store: &SqliteStore, mut chance: Chance| {
        let batch = claimed(store.call(claim(&mut chance, "digest", 7)).await.unwrap()).executions;
        assert_eq!(batch.len(), 7);
        batch.into_iter().map(|row| row.id).collect()
    };
    let (a, b) = (share(&one, Chance::new(4)).await, share(&two, Chance::new(5)).await);
    let (a, b) = tokio::join!(drain(&one, a, Chance::new(2)), drain(&two, b, Chance::new(3)));
    assert_eq!(a.len() + b.len(), ROWS);
    let distinct: BTreeSet<_> = a.into_iter().chain(b).collect();
    assert_eq!(distinct.len(), ROWS);
}

#[tokio::test]
async fn calls_that_wait_together_succeed_and_fail_on_their_own() {
    let folder = Folder::new();
    let mut chance = Chance::new(1);
    let store = SqliteStore::open(folder.file("jobs.db")).unwrap();
    store.call(register(&mut chance, "digest")).await.unwrap();
    store.call(plan(&mut chance, "digest", "a", ROWS)).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    let store = std::sync::Arc::new(store);
    for number in 0..200 {
        let request = match number % 4 {
            0 => chance.request(Rescue { limit: 0 }),
            _ => claim(&mut chance, "digest", 3),
        };
        let store = std::sync::Arc::clone(&store);
        calls.spawn(async move { (number, store.call(request).await) });
    }
    let mut ids = BTreeSet::new();
    while let Some(done) = calls.join_next().await {
        match done.unwrap() {
            (number, Err(error)) => assert!(number % 4 == 0 && error.kind() == ErrorKind::Invalid, "{error}"),
            (_, Ok(reply)) => ids.extend(claimed(reply).executions.into_iter().map(|row| row.id)),
        }
    }
    assert_eq!(ids.len(), 150 * 3);
}

#[tokio::test]
async fn a_file_that_stays_locked_is_unavailable_to_writers_and_open_to_readers() {
    let folder = Folder::new();
    let store = SqliteStore::builder(folder.file("jobs.db")).busy_timeout(Duration::from_millis(50)).open().unwrap();
    let other = Connection::open(folder.file("jobs.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let mut chance = Chance::new(1);
    let refused = store.call(register(&mut chance, "digest")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.message().ends_with("jobs.db is locked by another connection"), "{refused}");
    store.call(chance.request(ReadClock {})).await.unwrap();
    other.execute_batch("rollback").unwrap();
    store.call(register(&mut chance, "digest")).await.unwrap();
}

// P-67, P-68
#[tokio::test]
async fn a_process_killed_in_a_transaction_leaves_nothing_of_it() {
    if let Some(file) = child_file() {
        let connection = Connection::open(file).unwrap();
        // A page of cache, so that what is not committed is in the log when the process dies.
        connection.execute_batch("pragma cache_size = 1; begin immediate; delete from execution").unwrap();
        connection.execute_batch("update job set spec_hash = 'gone'").unwrap();
        std::process::abort();
    }
    let folder = Folder::new();
    let file = folder.file("jobs.db");
    let mut chance = Chance::new(1);
    let store = SqliteStore::open(&file).unwrap();
    store.call(register(&mut chance, "digest")).await.unwrap();
    store.call(plan(&mut chance, "digest", "a", ROWS)).await.unwrap();
    let status = child("a_process_killed_in_a_transaction_leaves_nothing_of_it", &file).status().unwrap();
    assert_eq!(status.code(), None, "the child must have been killed by a signal");
    let list = chance.request(ListExecutions { limit: 1_000, ..ListExecutions::default() });
    let Reply::ExecutionPage(page) = store.call(list).await.unwrap() else { panic!("not a page") };
    assert_eq!(page.executions.len(), ROWS);
    let batch = claimed(store.call(claim(&mut chance, "digest", 10)).await.unwrap());
    assert_eq!(batch.executions.len(), 10);
}

#[tokio::test]
async fn a_call_whose_future_is_dropped_is_carried_out() {
    let folder = Folder::new();
    let mut chance = Chance::new(1);
    let store = SqliteStore::open(folder.file("jobs.db")).unwrap();
    store.call(register(&mut chance, "digest")).await.unwrap();
    let planning = plan(&mut chance, "digest", "a", 10);
    let mut dropped = store.call(planning);
    // One poll sends it.
    let first = std::future::poll_fn(|context| std::task::Poll::Ready(dropped.as_mut().poll(context))).await;
    assert!(first.is_pending() || first.is_ready());
    drop(dropped);
    let batch = claimed(store.call(claim(&mut chance, "digest", 100)).await.unwrap());
    assert_eq!(batch.executions.len(), 10);
}
