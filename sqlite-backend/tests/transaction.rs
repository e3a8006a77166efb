//! Enqueue and completion in a transaction of the caller's own, in the same file: commit, roll back, crash, lost lease.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use support::Folder;
use tourbillon::{
    driver::Scheduler,
    job::{Completion, Context, HandlerError},
    model::{ExecutionId, Json, LeaseRef, Outcome, RequestId, State, Timestamp},
    queue::{Enqueuer, ItemOptions, Queue},
    runtime::Runtime,
    store::{
        DatabaseClock, EnqueueOutcome, ErrorKind, ListExecutions, MAX_BATCH, ManualClock, Requeue, Settlement, ask,
    },
};
use tourbillon_sqlite::SqliteStore;
use tourbillon_sqlite::rusqlite;
use uuid::Uuid;

struct Set {
    _folder: Folder,
    store: std::sync::Arc<SqliteStore>,
    app: Connection,
    runtime: Runtime,
    orders: Enqueuer<u32>,
}

impl Set {
    fn new() -> Self {
        let folder = Folder::new();
        let file = folder.file("app.db");
        let store = std::sync::Arc::new(SqliteStore::open(&file).unwrap());
        let app = Connection::open(&file).unwrap();
        app.execute_batch("create table ledger (entry integer)").unwrap();
        let runtime = Runtime::tokio();
        let orders = Enqueuer::new(store.clone(), runtime.clone(), &Queue::new("orders")).unwrap();
        Self { _folder: folder, store, app, runtime, orders }
    }

    fn begin(&mut self) -> Transaction<'_> {
        self.app.transaction_with_behavior(TransactionBehavior::Immediate).unwrap()
    }

    fn entries(&self) -> u32 {
        self.app.query_row("select count(*) from ledger", [], |row| row.get(0)).unwrap()
    }

    async fn states(&self) -> Vec<State> {
        let list = ListExecutions { limit: MAX_BATCH, ..ListExecutions::default() };
        let page = ask(&self.store, RequestId(self.runtime.uuid()), list).await.unwrap();
        page.executions.iter().map(|row| row.state).collect()
    }
}

/// Writes the caller's row and enqueues; says what to do then.
fn write_and_enqueue(set: &mut Set, end: impl FnOnce(Transaction<'_>)) -> ExecutionId {
    let enqueue = set.orders.request([(&7, ItemOptions::new())]).unwrap();
    let (request, store) = (RequestId(set.runtime.uuid()), set.store.clone());
    let transaction = set.begin();
    transaction.execute_batch("insert into ledger values (1)").unwrap();
    let enqueued = store.enqueue_in(&transaction, request, enqueue).unwrap();
    end(transaction);
    match enqueued.outcomes[0] {
        EnqueueOutcome::Enqueued(id) => id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn item_and_row_are_there_after_the_commit() {
    let mut set = Set::new();
    write_and_enqueue(&mut set, |transaction| transaction.commit().unwrap());
    assert_eq!((set.entries(), set.states().await), (1, vec![State::Scheduled]));
}

#[tokio::test]
async fn neither_is_there_after_a_roll_back_or_a_crash() {
    let mut set = Set::new();
    write_and_enqueue(&mut set, |transaction| transaction.rollback().unwrap());
    assert_eq!((set.entries(), set.states().await), (0, vec![]));
    // A process that dies drops its connection in the middle.
    write_and_enqueue(&mut set, |transaction| {
        drop(transaction);
    });
    assert_eq!((set.entries(), set.states().await), (0, vec![]));
}

/// What is refused leaves the caller's transaction as it was.
#[tokio::test]
async fn a_refused_enqueue_lets_the_transaction_go_on() {
    let mut set = Set::new();
    let mut enqueue = set.orders.request([(&7, ItemOptions::new())]).unwrap();
    enqueue.items[0].ttl_ms = Some(0);
    let (request, store) = (RequestId(set.runtime.uuid()), set.store.clone());
    let transaction = set.begin();
    transaction.execute_batch("insert into ledger values (1)").unwrap();
    assert_eq!(store.enqueue_in(&transaction, request, enqueue).unwrap_err().kind(), ErrorKind::Invalid);
    transaction.commit().unwrap();
    assert_eq!((set.entries(), set.states().await), (1, vec![]));
}

/// Errors name the file, and the time is that of the store.
#[tokio::test]
async fn a_transaction_of_the_callers_has_the_stores_name_and_clock() {
    let mut set = Set::new();
    let clock = ManualClock::new(Timestamp::from_secs(86_400));
    let file = set.app.path().unwrap().to_owned();
    let builder = SqliteStore::builder(&file).clock(DatabaseClock::Manual(clock));
    let store = builder.open().unwrap();
    let enqueue = set.orders.request([(&7, ItemOptions::new())]).unwrap();
    let request = RequestId(set.runtime.uuid());
    let transaction = set.begin();
    let enqueued = store.enqueue_in(&transaction, request, enqueue.clone()).unwrap();
    assert_eq!(enqueued.now, Timestamp::from_secs(86_400));
    transaction.execute_batch("drop view execution_view; drop table execution").unwrap();
    let refused = store.enqueue_in(&transaction, RequestId(Uuid::nil()), enqueue).unwrap_err();
    assert_eq!(refused.message(), format!("{file} has no tourbillon schema: run migrate"));
}

/// The effect and the end of the item are one: a first try that rolls back leaves neither, a second has both, and a
/// holder whose lease is lost gets an error and no effect.
#[tokio::test]
async fn effects_in_the_same_database_happen_exactly_once() {
    let mut set = Set::new();
    write_and_enqueue(&mut set, |transaction| transaction.commit().unwrap());
    let file = set.app.path().unwrap().to_owned();
    let (told, mut told_leases) = tokio::sync::mpsc::unbounded_channel::<LeaseRef>();
    let store = set.store.clone();
    let queue = Queue::<u32>::new("orders").backoff(tourbillon::plan::Backoff::constant(Duration::ZERO)).run(
        move |_: u32, ctx: Context| {
            let (store, told, file) = (store.clone(), told.clone(), file.clone());
            async move {
                let mut app = Connection::open(file)?;
                let transaction = app.transaction_with_behavior(TransactionBehavior::Immediate)?;
                transaction.execute_batch("insert into ledger values (2)")?;
                let done = Outcome::Succeeded { result: Json::empty(), rows_affected: Some(1) };
                store.complete_in(&transaction, ctx.request_id(), ctx.settlement(done))?;
                if ctx.attempt() == 1 {
                    return Err(HandlerError::new("killed before the commit"));
                }
                transaction.commit()?;
                let _ = told.send(ctx.lease());
                Ok(Completion::recorded())
            }
        },
    );
    let running = Scheduler::builder(set.store.clone()).queue(queue).build().unwrap().start();
    let lease = told_leases.recv().await.unwrap();
    running.stop().await.unwrap();
    assert_eq!((set.entries(), set.states().await), (2, vec![State::Succeeded]));

    // Another life of it: the lease of the first is nobody's any more.
    let requeue = Requeue { ids: vec![lease.id], actor: None };
    ask(&set.store, RequestId(set.runtime.uuid()), requeue).await.unwrap();
    let (request, store) = (RequestId(set.runtime.uuid()), set.store.clone());
    let transaction = set.begin();
    transaction.execute_batch("insert into ledger values (3)").unwrap();
    let done = Outcome::Succeeded { result: Json::empty(), rows_affected: None };
    let refused = store.complete_in(&transaction, request, Settlement::of(lease, done)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LeaseLost);
    drop(transaction);
    assert_eq!(set.entries(), 2);
}
