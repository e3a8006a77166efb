//! Owns [`PgStore`]: one call, from connection to reply, with its deadlines and retries.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use sqlx::{PgPool, postgres::PgConnectOptions};
use tourbillon::{
    model::{ExecutionId, JobName, RequestId},
    store::{
        AcquireLock, BoxFuture, DatabaseClock, ErrorKind, Listener, Notice, Reply, Request, Rescue, Rescued, Store,
        StoreError, Verb, check,
    },
};

use crate::{
    bind,
    builder::Pooler,
    claim::{Floors, Mixed},
    error::{Fault, Phase, Place},
    herald::Herald,
    listener::Ears,
    parameter::query,
    queue::met,
    session::Session,
    settle::Detour,
    sql::{Schema, Statements},
};

/// How often a call is tried when what runs beside it rolls it back.
pub(crate) const MAX_TRIES: u32 = 8;

/// Pause before the second try; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(2);

/// Gates of limit keys deleted by one statement, which reads all of them.
const GATE_BATCH: i64 = 10_000;

/// Most such statements of one call.
const GATE_ROUNDS: usize = 10;

/// A scheduler's database on Postgres 14 or later. Clones share the connections.
///
/// ```no_run
/// # async fn example() -> Result<(), tourbillon::store::StoreError> {
/// let store = tourbillon_pg::PgStore::connect("postgres://app@localhost/app").await?;
/// store.migrate().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PgStore {
    inner: Arc<Inner>,
}

impl fmt::Debug for PgStore {
    /// Without the options: they may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { server, schema, .. } = &self.inner.place;
        f.debug_struct("PgStore").field("server", server).field("schema", schema).finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) pool: PgPool,
    pub(crate) pooler: Pooler,
    /// Past the pooler.
    pub(crate) direct: Option<PgConnectOptions>,
    pub(crate) place: Place,
    pub(crate) schema: Schema,
    pub(crate) statements: Statements,
    pub(crate) clock: DatabaseClock,
    pub(crate) call_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) migration_timeout: Duration,
    /// Tells what calls made due; `None` without notices.
    pub(crate) herald: Option<Herald>,
    /// Hears it; `None` where nobody can, or nobody tells.
    pub(crate) ears: Option<Ears>,
    /// Whether the schema was seen to be complete. Relaxed: it guards nothing but a look at the server.
    pub(crate) is_complete: AtomicBool,
    pub(crate) mixed: Mixed,
    pub(crate) floors: Floors,
    pub(crate) detour: Detour,
}

impl PgStore {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Closes all connections but those of listeners; calls after that fail with `Unavailable`. Waits for calls under way,
    /// and for notices of those that have ended.
    pub async fn close(&self) {
        if let Some(herald) = &self.inner.herald {
            // Late ones are lost, and polls find what they were about.
            let _ = self.inner.within("call_timeout", self.inner.call_timeout, herald.close()).await;
        }
        self.inner.pool.close().await;
    }

    /// Tells those who listen, in every process, that items of `queue` are due: after the commit of a transaction of
    /// one's own, since [`PgStore::enqueue_in`] cannot know when, or whether, it commits. Without it the next poll finds
    /// them. Does not wait, and cannot fail: a notice is a hint.
    pub fn announce(&self, queue: &JobName) {
        self.tell(Some(Notice::of(queue.clone())));
    }

    fn tell(&self, notice: Option<Notice>) {
        if let (Some(notice), Some(herald)) = (notice, &self.inner.herald) {
            herald.tell(notice);
        }
    }

    /// The text of the statement in `sql/<name>.sql` as it is sent to the server, for `EXPLAIN`; `claim_executions` is that
    /// for up to 100 rows, `claim_executions_1000` that for more.
    pub fn statement(&self, name: &str) -> Option<&str> {
        self.inner.statements.get(name)
    }

    async fn carry_out(&self, request: &Request) -> Result<Reply, StoreError> {
        check(&request.verb)?;
        if let Verb::Migrate(verb) = request.verb {
            return self.migrate_once(verb.known).await.map(Reply::Migrated);
        }
        self.require_schema().await?;
        let mut pauses = pauses();
        loop {
            let fault = match self.attempt(request).await {
                Ok(reply) => return Ok(reply),
                Err(fault) => fault,
            };
            match (fault, pauses.next()) {
                (Fault::Retry(error), Some(time)) => {
                    tracing::debug!(verb = request.verb.name(), ?time, %error, "rolled back, running it again");
                    pause(time).await;
                }
                (Fault::Retry(error) | Fault::Final(error), _) => {
                    tracing::debug!(verb = request.verb.name(), %error, "call failed");
                    return Err(error);
                }
            }
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Reply, Fault> {
        let inner = self.inner();
        let mut session = inner.open().await?;
        let exchange = inner.exchange(&mut session, request);
        let answer = inner.within("call_timeout", inner.call_timeout, exchange).await;
        // Past the deadline the session is dropped, which closes the connection.
        let answer = answer.map_err(Fault::Final)?;
        session.close().await;
        match &request.verb {
            // An item enqueued meanwhile can have its id, which the statement's snapshot does not show.
            Verb::TriggerJob(_) => answer.map_err(met),
            _ => answer,
        }
    }
}

impl Store for PgStore {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>> {
        Box::pin(async move {
            let reply = self.carry_out(&request).await?;
            self.tell(Notice::after(&request.verb, &reply));
            Ok(reply)
        })
    }

    fn listen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Listener>>, StoreError>> {
        Box::pin(async move {
            let Some(ears) = &self.inner.ears else { return Ok(None) };
            Ok(Some(Box::new(ears.listen().await?) as Box<dyn Listener>))
        })
    }
}

impl Inner {
    pub(crate) async fn open(&self) -> Result<Session<'_>, Fault> {
        Session::open(&self.pool, &self.place, self.pooler).await
    }

    /// Bounds one exchange with the server by a setting.
    ///
    /// The driver has deadlines of its own, on the injected clock. This one guards the pool: a half-open connection
    /// must give its place back whoever calls, and it is real time that passes on a real socket.
    #[expect(clippy::disallowed_methods, reason = "guards a real socket in real time; nothing stored depends on it")]
    pub(crate) async fn within<T>(
        &self,
        setting: &str,
        deadline: Duration,
        exchange: impl Future<Output = T>,
    ) -> Result<T, StoreError> {
        let in_time = tokio::time::timeout(deadline, exchange).await;
        in_time.map_err(|_| self.place.late(Phase::Statement, setting, deadline))
    }

    async fn exchange(&self, session: &mut Session<'_>, request: &Request) -> Result<Reply, Fault> {
        // Read here, at the moment of applying: a request waits for its connection on an older clock.
        let now = self.clock.fixed();
        if let Verb::Enqueue(verb) = &request.verb {
            return self.enqueue_alone(session, request.id, verb).await;
        }
        if let Verb::Claim(verb) = &request.verb {
            return self.claim(session, request.id, verb).await;
        }
        if let Verb::Settle(verb) = &request.verb {
            return self.settle(session, request.id, verb).await;
        }
        let mut bound = bind::statements(&self.statements, now, request).map_err(Fault::Final)?;
        let last = bound.pop().expect("every verb has at least one statement");
        let text = if bound.is_empty() {
            session.ask(last).await?
        } else {
            session.begin().await?;
            for first in bound {
                session.ask(first).await?;
            }
            let text = session.ask(last).await?;
            session.commit().await?;
            text
        };
        match (&request.verb, text) {
            (Verb::Prune(verb), Some(text)) => {
                let reply = decode(&text).map_err(Fault::Final)?;
                if matches!(&reply, Reply::Pruned(pruned) if pruned.most() < u64::from(verb.limit)) {
                    self.prune_gates(session).await?;
                }
                Ok(reply)
            }
            (_, Some(text)) => decode(&text).map_err(Fault::Final),
            (Verb::Rescue(verb), None) => self.rescue_after_step_back(session, *verb).await,
            (Verb::AcquireLock(verb), None) => self.acquire_in_turn(session, request.id, verb).await,
            (verb, None) => Err(Fault::Final(corrupt(format!("{}: the server answered null", verb.name())))),
        }
    }

    /// Gates are this store's own: no reply tells of them, so those that are left over are the next call's.
    async fn prune_gates(&self, session: &mut Session<'_>) -> Result<(), Fault> {
        for _ in 0..GATE_ROUNDS {
            let gone = session.ask(query(&self.statements.prune_gates).bind(GATE_BATCH)).await?;
            if decode::<i64>(gone.as_deref().unwrap_or("null")).map_err(Fault::Final)? < GATE_BATCH {
                break;
            }
        }
        Ok(())
    }

    /// The rare second path of an acquire: somebody made the lock's row, or took it, meanwhile. See `acquire_lock.sql`.
    async fn acquire_in_turn(
        &self,
        session: &mut Session<'_>,
        id: RequestId,
        verb: &AcquireLock,
    ) -> Result<Reply, Fault> {
        session.begin().await?;
        session.lines(bind::hold_lock(&self.statements, verb)).await?;
        let now = self.clock.fixed();
        let acquire = bind::acquire(&self.statements, now, id.into(), verb).map_err(Fault::Final)?;
        let text = session.ask(acquire).await?;
        session.commit().await?;
        decode(text.as_deref().unwrap_or("null")).map_err(Fault::Final)
    }

    /// The rare second path of a rescue: see `clamp_executions.sql`.
    async fn rescue_after_step_back(&self, session: &mut Session<'_>, verb: Rescue) -> Result<Reply, Fault> {
        #[derive(serde::Deserialize)]
        struct Clamped {
            now: tourbillon::model::Timestamp,
            clamped: Vec<ExecutionId>,
        }
        session.ask(bind::clamp_gates(&self.statements, self.clock.fixed())).await?;
        session.begin().await?;
        let text = session.ask(bind::clamp(&self.statements, self.clock.fixed())).await?;
        let Clamped { now, clamped } = decode(text.as_deref().unwrap_or("null")).map_err(Fault::Final)?;
        let text = session.ask(bind::clamp_locks(&self.statements, now)).await?;
        let clamped_locks = decode(text.as_deref().unwrap_or("null")).map_err(Fault::Final)?;
        let text = session.ask(bind::rescue(&self.statements, Some(now), verb)).await?;
        session.commit().await?;
        match decode(text.as_deref().unwrap_or("null")).map_err(Fault::Final)? {
            Reply::Rescued(rescued) => Ok(Reply::Rescued(Rescued { clamped, clamped_locks, ..rescued })),
            other => Err(Fault::Final(corrupt(format!("rescue was answered {other:?}")))),
        }
    }
}

pub(crate) fn decode<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| corrupt(format!("reply cannot be read: {error}")).with_source(error))
}

pub(crate) fn corrupt(message: String) -> StoreError {
    StoreError::new(ErrorKind::Corrupt, message)
}

/// Before the second try and each further one.
fn pauses() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(FIRST_BACKOFF), |last| Some(*last * 2)).take(MAX_TRIES as usize - 1)
}

#[expect(clippy::disallowed_methods, reason = "a bounded pause between two tries of one call on a real server")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_with_the_last_try() {
        let millis: Vec<_> = pauses().map(|time| time.as_millis()).collect();
        assert_eq!(millis, [2, 4, 8, 16, 32, 64, 128]);
        assert_eq!(millis.len() + 1, MAX_TRIES as usize);
    }
}
