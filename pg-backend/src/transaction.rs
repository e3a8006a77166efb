//! Owns verbs in a transaction of the caller's own, on a connection of the caller's own to the same database: what they
//! do becomes true with the caller's commit, and only then.

use sqlx::PgConnection;
use tourbillon::{
    model::{RequestId, State},
    store::{Enqueue, Enqueued, ErrorKind, Reply, Settle, Settled, Settlement, StoreError, check},
};

use crate::{
    error::Fault,
    session::{Ask, Borrowed},
    settle,
    store::{Inner, MAX_TRIES, PgStore},
};

impl PgStore {
    /// Enqueues inside `transaction` (`&mut *tx` of a [`sqlx::Transaction`]): the items exist if it commits. Nobody is
    /// told of them: [`PgStore::announce`] them after the commit, or leave them to the poll.
    ///
    /// Producers that meet on a key wait for each other's commit, so keep what follows short. Where others are first
    /// with a key, the statement is run again behind a savepoint: at READ COMMITTED, which is the default, their items
    /// are seen then. At a stricter level finished items count as they were when the transaction began to read.
    ///
    /// # Errors
    /// As a call of the store; the transaction can go on after `Invalid` and `Unavailable`, and must be rolled back
    /// after anything else. `Invalid` when there is no transaction.
    pub async fn enqueue_in(
        &self,
        transaction: &mut PgConnection,
        request: RequestId,
        enqueue: &Enqueue,
    ) -> Result<Enqueued, StoreError> {
        check(&enqueue.clone().into())?;
        self.require_schema().await?;
        let inner = self.inner();
        let exchange = inner.enqueue_within(transaction, request, enqueue);
        match inner.within("call_timeout", inner.call_timeout, exchange).await?? {
            Reply::Enqueued(enqueued) => Ok(enqueued),
            other => Err(odd(&other)),
        }
    }

    /// Ends an attempt inside `transaction`, with the fencing check: what the handler wrote there and the end of its
    /// item become true together, exactly once. Return [`Completion::recorded`](tourbillon::job::Completion::recorded)
    /// after the commit. `request` must be new for every transaction: take
    /// [`Context::request_id`](tourbillon::job::Context::request_id), and the settlement from
    /// [`Context::settlement`](tourbillon::job::Context::settlement).
    ///
    /// ```no_run
    /// # use tourbillon::{job::{Completion, Context, HandlerError}, model::{Json, Outcome}};
    /// # async fn handler(ctx: Context, store: tourbillon_pg::PgStore, pool: sqlx::PgPool) -> Result<Completion, HandlerError> {
    /// let mut tx = pool.begin().await?;
    /// sqlx::query("update account set balance = balance - 5 where id = 7").execute(&mut *tx).await?;
    /// let done = Outcome::Succeeded { result: Json::empty(), rows_affected: Some(1) };
    /// store.complete_in(&mut tx, ctx.request_id(), ctx.settlement(done)).await?;
    /// tx.commit().await?;
    /// Ok(Completion::recorded())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `LeaseLost` when the item is not this attempt's to end. After any error the transaction must be rolled back:
    /// dropping it does that, and so does returning the error.
    pub async fn complete_in(
        &self,
        transaction: &mut PgConnection,
        request: RequestId,
        settlement: Settlement,
    ) -> Result<State, StoreError> {
        let id = settlement.lease.id;
        let settle = Settle { settlements: vec![settlement] };
        check(&settle.clone().into())?;
        self.require_schema().await?;
        let inner = self.inner();
        let exchange = inner.settle_within(transaction, request, &settle);
        let reply = inner.within("call_timeout", inner.call_timeout, exchange).await??;
        let outcome = match &reply {
            Reply::Settled(Settled { outcomes, .. }) => outcomes.first().copied().ok_or_else(|| odd(&reply))?,
            _ => return Err(odd(&reply)),
        };
        outcome.map_err(|refusal| {
            let message = format!("execution {id} cannot be completed ({refusal}): roll the transaction back");
            StoreError::new(ErrorKind::LeaseLost, message)
        })
    }
}

impl Inner {
    async fn settle_within(
        &self,
        connection: &mut PgConnection,
        request: RequestId,
        verb: &Settle,
    ) -> Result<Reply, StoreError> {
        let mut borrowed = Borrowed { place: &self.place, pooler: self.pooler, connection };
        let bound = settle::bind(&self.statements, self.clock.fixed(), request.into(), verb)?;
        let text = borrowed.ask(bound).await.map_err(Fault::into_error)?;
        settle::read(text.as_deref().unwrap_or("null"), verb)
    }

    async fn enqueue_within(
        &self,
        connection: &mut PgConnection,
        request: RequestId,
        enqueue: &Enqueue,
    ) -> Result<Reply, StoreError> {
        let mut borrowed = Borrowed { place: &self.place, pooler: self.pooler, connection };
        let mut tries = 1;
        loop {
            borrowed.run("savepoint tourbillon").await.map_err(Fault::into_error)?;
            let fault = match self.enqueue(&mut borrowed, request, enqueue).await {
                Ok(reply) => {
                    borrowed.run("release savepoint tourbillon").await.map_err(Fault::into_error)?;
                    return Ok(reply);
                }
                Err(fault) => fault,
            };
            borrowed.run("rollback to savepoint tourbillon").await.map_err(Fault::into_error)?;
            match fault {
                Fault::Retry(_) if tries < MAX_TRIES => tries += 1,
                fault => return Err(fault.into_error()),
            }
        }
    }
}

fn odd(reply: &Reply) -> StoreError {
    StoreError::new(ErrorKind::Corrupt, format!("the server answered another verb than it was asked: {reply:?}"))
}
