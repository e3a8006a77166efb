//! Owns verbs in a transaction of the caller's own, on a connection of the caller's own to the same file: what they do
//! becomes true with the caller's commit, and only then.

use rusqlite::Transaction;
use tourbillon::{
    model::{RequestId, State},
    store::{DatabaseClock, Enqueue, Enqueued, ErrorKind, Operation, Request, Settle, Settlement, StoreError, apply},
};

use crate::{
    clock,
    error::{Phase, translate},
    rows::SqliteRows,
    schema,
    store::SqliteStore,
};

impl SqliteStore {
    /// Enqueues inside `transaction`, of a connection of the caller's own to this file: the items exist if it commits.
    /// Begin it as `Immediate`: one that has only read yet may find the file locked. Nobody is told of them:
    /// [`SqliteStore::announce`] them after the commit, or leave them to the poll.
    ///
    /// ```
    /// # use tourbillon::{model::RequestId, queue::{Enqueuer, ItemOptions, Queue}, runtime::Runtime};
    /// # use tourbillon_sqlite::{SqliteStore, rusqlite::{Connection, TransactionBehavior}};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = std::env::temp_dir().join(format!("tourbillon-doc-tx-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let file = folder.join("app.db");
    /// # let runtime = Runtime::tokio();
    /// let store = std::sync::Arc::new(SqliteStore::open(&file)?);
    /// let orders = Enqueuer::new(store.clone(), runtime.clone(), &Queue::<String>::new("orders"))?;
    ///
    /// let mut connection = Connection::open(&file)?;
    /// let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    /// transaction.execute_batch("create table if not exists customer (name text)")?;
    /// let enqueue = orders.request([(&"greet Ada".to_owned(), ItemOptions::new())])?;
    /// store.enqueue_in(&transaction, RequestId(runtime.uuid()), enqueue)?;
    /// transaction.commit()?;
    /// store.announce(orders.queue());
    /// # drop((orders, store, connection));
    /// # let _ = std::fs::remove_dir_all(&folder);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As a call of the store. What was begun is undone, and the transaction can go on.
    pub fn enqueue_in(
        &self,
        transaction: &Transaction<'_>,
        request: RequestId,
        enqueue: Enqueue,
    ) -> Result<Enqueued, StoreError> {
        apply_in(self.name(), self.clock(), transaction, request, enqueue)
    }

    /// Ends an attempt inside `transaction`, with the fencing check: what the handler wrote there and the end of its
    /// item become true together, exactly once. Return [`Completion::recorded`](tourbillon::job::Completion::recorded)
    /// after the commit. `request` must be new for every transaction: take
    /// [`Context::request_id`](tourbillon::job::Context::request_id), and the settlement from
    /// [`Context::settlement`](tourbillon::job::Context::settlement).
    ///
    /// # Errors
    /// `LeaseLost` when the item is not this attempt's to end. After any error the transaction must be rolled back:
    /// dropping it does that.
    pub fn complete_in(
        &self,
        transaction: &Transaction<'_>,
        request: RequestId,
        settlement: Settlement,
    ) -> Result<State, StoreError> {
        let id = settlement.lease.id;
        let settle = Settle { settlements: vec![settlement] };
        let settled = apply_in(self.name(), self.clock(), transaction, request, settle)?;
        let outcome = settled.outcomes.first().expect("one settlement has one outcome");
        outcome.map_err(|refusal| {
            let message = format!("execution {id} cannot be completed ({refusal}): roll the transaction back");
            StoreError::new(ErrorKind::LeaseLost, message)
        })
    }
}

fn apply_in<V: Operation>(
    name: &str,
    database_clock: &DatabaseClock,
    transaction: &Transaction<'_>,
    id: RequestId,
    verb: V,
) -> Result<V::Reply, StoreError> {
    let run = |sql: &str| transaction.execute_batch(sql).map_err(|error| translate(name, Phase::Statement, error));
    schema::check(transaction, name)?;
    run("savepoint tourbillon")?;
    let request = Request { id, verb: verb.into() };
    let now = clock::now(database_clock);
    let reply = apply::apply(&mut SqliteRows::new(transaction, name, now), now, &request);
    if reply.is_err() {
        run("rollback to tourbillon")?;
    }
    run("release tourbillon")?;
    V::reply(reply?)
        .ok_or_else(|| StoreError::new(ErrorKind::Corrupt, format!("{name} answered another verb than it was asked")))
}
