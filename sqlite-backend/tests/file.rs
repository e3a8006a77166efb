//! What can be wrong with a file, and what each wrong is called.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use support::{Chance, Folder, child, child_file, claim, claimed, plan, register};
use tourbillon::store::{
    DatabaseClock, ErrorKind, ListExecutions, ReadClock, Reply, Request, Store as _, StoreError,
};
use tourbillon_sqlite::{Migrate, SCHEMA_VERSION, SqliteInline, SqliteStore, rusqlite};

/// The error, with the path of the file cut to its name.
fn refusal<T: std::fmt::Debug>(result: Result<T, StoreError>, folder: &Folder) -> String {
    result.unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "")
}

fn list(chance: &mut Chance) -> Request {
    chance.request(ListExecutions { limit: 1_000, ..ListExecutions::default() })
}

async fn filled(path: &Path, rows: usize) -> Reply {
    let mut chance = Chance::new(1);
    let store = SqliteStore::open(path).unwrap();
    store.call(register(&mut chance, "digest")).await.unwrap();
    store.call(plan(&mut chance, "digest", "a", rows)).await.unwrap();
    store.call(claim(&mut chance, "digest", 3)).await.unwrap();
    let all = store.call(list(&mut chance)).await.unwrap();
    store.close().await;
    all
}

fn rows(reply: Reply) -> Vec<tourbillon::model::Execution> {
    match reply {
        Reply::ExecutionPage(page) => page.executions,
        other => panic!("not a page: {other:?}"),
    }
}

// P-68
#[tokio::test]
async fn rows_and_receipts_survive_a_reopened_file() {
    let folder = Folder::new();
    let before = filled(&folder.file("jobs.db"), 5).await;
    let store = SqliteStore::open(folder.file("jobs.db")).unwrap();
    let after = store.call(list(&mut Chance::new(2))).await.unwrap();
    assert_eq!(rows(after), rows(before));

    // The same claim again, by request id, in another process's life.
    let mut chance = Chance::new(1);
    let _ = (register(&mut chance, "digest"), plan(&mut chance, "digest", "a", 5));
    let again = claimed(store.call(claim(&mut chance, "digest", 3)).await.unwrap());
    assert_eq!(again.executions.len(), 3);
    let fences: Vec<_> = again.executions.iter().map(|row| row.fence.0).collect();
    assert_eq!(fences, [1, 1, 1], "the first reply, not a second claim");
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_file_is_named_with_the_mend() {
    use std::os::unix::{fs::MetadataExt as _, fs::PermissionsExt as _, process::CommandExt as _};

    if let Some(file) = child_file() {
        let error = SqliteStore::open(&file).unwrap_err();
        let expected = format!("{} is read-only: let this user write the file and its folder", file.display());
        assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, &*expected));
        return;
    }
    let folder = Folder::new();
    let file = folder.file("jobs.db");
    filled(&file, 1).await;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o444)).unwrap();
    let mut child = child("a_read_only_file_is_named_with_the_mend", &file);
    if std::fs::metadata(&file).unwrap().uid() == 0 {
        // Permissions do not bind root.
        child.uid(65_534).gid(65_534);
    }
    assert!(child.status().unwrap().success());
}

#[tokio::test]
async fn a_connection_that_may_only_read_lists_but_does_not_write() {
    let folder = Folder::new();
    let file = folder.file("jobs.db");
    let before = filled(&file, 5).await;
    let connection = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let store = SqliteInline::new(connection, DatabaseClock::Database).unwrap();
    let mut chance = Chance::new(2);
    store.migrate().unwrap();
    assert_eq!(rows(store.apply(&list(&mut chance)).unwrap()), rows(before));
    let refused = store.apply(&claim(&mut chance, "digest", 1));
    assert_eq!(
        refusal(refused, &folder),
        "invalid: jobs.db is read-only: let this user write the file and its folder"
    );
}

#[test]
fn a_full_disk_is_unavailable_and_changes_nothing() {
    let folder = Folder::new();
    let open = || Connection::open(folder.file("jobs.db")).unwrap();
    SqliteInline::new(open(), DatabaseClock::Database).unwrap().migrate().unwrap();
    let connection = open();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    // Room for a few rows, however much the schema takes.
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    connection.pragma_update(None, "max_page_count", pages + 8).unwrap();
    let store = SqliteInline::new(connection, DatabaseClock::Database).unwrap();
    let mut chance = Chance::new(1);
    store.apply(&register(&mut chance, "digest")).unwrap();
    store.apply(&plan(&mut chance, "digest", "a", 3)).unwrap();
    let refused = store.apply(&plan(&mut chance, "digest", "b", 1_000));
    assert_eq!(
        refusal(refused, &folder),
        "unavailable: disk full: jobs.db cannot grow; free some space or raise max_page_count"
    );
    assert_eq!(rows(store.apply(&list(&mut chance)).unwrap()).len(), 3);
    assert_eq!(claimed(store.apply(&claim(&mut chance, "digest", 10)).unwrap()).executions.len(), 3);
}

#[test]
fn a_file_that_is_no_database_is_corrupt() {
    let folder = Folder::new();
    std::fs::write(folder.file("notes.txt"), "water the plants, feed the cat; ".repeat(100)).unwrap();
    let refused = SqliteStore::open(folder.file("notes.txt"));
    assert_eq!(refusal(refused, &folder), "corrupt: notes.txt is not an SQLite database: name another file");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = Folder::new();
    let refused = SqliteStore::open(folder.file("nowhere/jobs.db"));
    assert_eq!(
        refusal(refused, &folder),
        "invalid: cannot open nowhere/jobs.db: create its folder and let this user write there"
    );
}

#[test]
fn a_database_in_memory_is_not_a_file() {
    let error = SqliteStore::open(":memory:").unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid: :memory: cannot keep a write-ahead log (its mode is memory): use a file on a local disk"
    );
}

// P-44
#[tokio::test]
async fn a_newer_schema_is_refused_with_both_versions() {
    let folder = Folder::new();
    filled(&folder.file("jobs.db"), 1).await;
    let newer = SCHEMA_VERSION + 6;
    let connection = Connection::open(folder.file("jobs.db")).unwrap();
    connection.execute("insert into migration values (?1, 'from_the_future', 0)", [newer]).unwrap();
    let expected = format!(
        "invalid: jobs.db has schema version {newer}, newer than this program's {SCHEMA_VERSION}: update the program"
    );
    assert_eq!(refusal(SqliteStore::open(folder.file("jobs.db")), &folder), expected);
    let store = SqliteStore::builder(folder.file("jobs.db")).migrate(Migrate::Manual).open().unwrap();
    let read = Chance::new(1).request(ReadClock {});
    assert_eq!(refusal(store.call(read).await, &folder), expected);
    assert_eq!(refusal(store.migrate().await, &folder), expected);
}

#[tokio::test]
async fn a_missing_schema_is_refused_on_use_until_somebody_migrates() {
    let folder = Folder::new();
    let store = SqliteStore::builder(folder.file("jobs.db")).migrate(Migrate::Manual).open().unwrap();
    let read = Chance::new(1).request(ReadClock {});
    let refused = store.call(read.clone()).await;
    assert_eq!(refusal(refused, &folder), "invalid: jobs.db has no tourbillon schema: run migrate");
    store.migrate().await.unwrap();
    store.call(read).await.unwrap();

    // And when it goes away under a store that has seen it.
    let connection = Connection::open(folder.file("jobs.db")).unwrap();
    connection.execute_batch("drop view execution_view; drop table execution").unwrap();
    let refused = store.call(claim(&mut Chance::new(1), "digest", 1)).await;
    assert_eq!(refusal(refused, &folder), "invalid: jobs.db has no tourbillon schema: run migrate");
}

#[tokio::test]
async fn a_row_that_this_program_would_not_write_is_corrupt() {
    let folder = Folder::new();
    filled(&folder.file("jobs.db"), 1).await;
    let connection = Connection::open(folder.file("jobs.db")).unwrap();
    connection.execute("update execution set runner = null", []).unwrap();
    let store = SqliteStore::open(folder.file("jobs.db")).unwrap();
    let refused = store.call(list(&mut Chance::new(1))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.message().contains("half a lease"), "{refused}");
}

#[tokio::test]
async fn operators_see_readable_ids_and_instants() {
    let folder = Folder::new();
    let all = rows(filled(&folder.file("jobs.db"), 5).await);
    let connection = Connection::open(folder.file("jobs.db")).unwrap();
    let read = "select id, coalesce(token, '-'), due_at, updated_at, scope_id from execution_view order by id";
    let mut statement = connection.prepare(read).unwrap();
    let seen = statement.query_map([], |row| <(String, String, String, String, String)>::try_from(row)).unwrap();
    let expected = all.iter().map(|row| {
        let token = row.lease.as_ref().map_or("-".to_owned(), |lease| lease.token.to_string());
        (row.id.to_string(), token, micros(row.due_at), micros(row.updated_at), "a".to_owned())
    });
    assert_eq!(seen.collect::<Result<Vec<_>, _>>().unwrap(), expected.collect::<Vec<_>>());
    connection.query_row("select count(*) from history_view", [], |row| row.get::<_, i64>(0)).unwrap();
}

/// A column that a migration adds to a table is not in a view that was made before.
#[tokio::test]
async fn the_views_of_operators_have_every_column_of_their_tables() {
    let folder = Folder::new();
    SqliteStore::open(folder.file("jobs.db")).unwrap().close().await;
    let connection = Connection::open(folder.file("jobs.db")).unwrap();
    let columns = |table: &str| {
        let mut statement = connection.prepare("select name from pragma_table_info(?1) order by cid").unwrap();
        let names = statement.query_map([table], |row| row.get::<_, String>(0)).unwrap();
        names.collect::<Result<std::collections::BTreeSet<_>, _>>().unwrap()
    };
    for table in ["execution", "history"] {
        let (kept, shown) = (columns(table), columns(&format!("{table}_view")));
        assert!(kept.len() > 30, "{table}: {kept:?}");
        assert_eq!(shown, kept, "{table}_view");
    }
}

/// RFC 3339 with all six digits.
fn micros(at: tourbillon::model::Timestamp) -> String {
    let whole = tourbillon::model::Timestamp::from_secs(at.as_micros() / 1_000_000).to_string();
    format!("{}.{:06}Z", whole.trim_end_matches('Z'), at.as_micros() % 1_000_000)
}
