//! Owns the telling of notices: gathers what calls made due and tells it beside them, so that no commit of a verb waits
//! for it. Knows nobody who listens.

use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, Postgres, SqlStr, postgres::PgArguments, query::Query};
use tourbillon::{runtime::Signal, store::Notice};

use crate::{builder::Pooler, sql::Schema};

/// Between two messages of one store. What comes meanwhile is one message, so that a store sends at most 50 a second,
/// however much it is called.
const GATHER: Duration = Duration::from_millis(20);

/// A longer payload is refused by the server.
const MAX_PAYLOAD_BYTES: usize = 7_999;

/// Longest channel that the server takes.
const MAX_CHANNEL_BYTES: usize = 63;

/// Where the listeners of a schema are: channels belong to a database, so the schema is in the name.
pub(crate) fn channel(schema: &Schema) -> String {
    let mut channel = format!("tourbillon {}", schema.name());
    // Long names that differ at the end only share a channel, which costs a look now and then.
    channel.truncate((0..=MAX_CHANNEL_BYTES).rev().find(|at| channel.is_char_boundary(*at)).unwrap_or(0));
    channel
}

/// What waits to be told by a task beside the pool. Dropping it lets the task tell the rest and end.
#[derive(Debug)]
pub(crate) struct Herald(Arc<Signal<State>>);

#[derive(Debug, Default)]
struct State {
    untold: Option<Notice>,
    is_closed: bool,
    has_ended: bool,
}

impl Herald {
    /// Starts the task, which ends with this value.
    #[expect(clippy::disallowed_methods, reason = "beside the pool's own tasks; what it tells is only a hint")]
    pub(crate) fn start(pool: PgPool, pooler: Pooler, statement: SqlStr, channel: String) -> Self {
        let state = Arc::new(Signal::new(State::default()));
        let ending = Ending(Arc::clone(&state));
        tokio::spawn(async move {
            while let Some(notice) = ending.next().await {
                let telling = sqlx::query(statement.clone()).bind(channel.clone()).bind(payload(&notice));
                if let Err(error) = send(&pool, pooler, telling).await {
                    tracing::debug!(%error, "a notice was not sent; polls find what it was about");
                }
                ending.gather().await;
            }
        });
        Self(state)
    }

    /// Has it told soon. Never waits.
    pub(crate) fn tell(&self, notice: Notice) {
        self.0.update(|state| {
            match &mut state.untold {
                Some(untold) => untold.add(notice),
                untold => *untold = Some(notice),
            }
            true
        });
    }

    /// Waits until all is told.
    pub(crate) async fn close(&self) {
        self.0.update(|state| {
            state.is_closed = true;
            true
        });
        self.0.until(|state| state.has_ended.then_some(())).await;
    }
}

impl Drop for Herald {
    fn drop(&mut self) {
        self.0.update(|state| {
            state.is_closed = true;
            true
        });
    }
}

/// The task's own end: also when its runtime drops it, it says that it is gone.
struct Ending(Arc<Signal<State>>);

impl Ending {
    /// What is to be told; `None` when nothing is left and nothing comes any more.
    async fn next(&self) -> Option<Notice> {
        self.0.until(|state| (state.untold.is_some() || state.is_closed).then_some(())).await;
        let mut notice = None;
        self.0.update(|state| {
            notice = state.untold.take();
            false
        });
        notice
    }

    #[expect(clippy::disallowed_methods, reason = "spares a real server; nothing stored depends on it")]
    async fn gather(&self) {
        let closed = self.0.until(|state| state.is_closed.then_some(()));
        // Whichever comes first.
        let _ = tokio::time::timeout(GATHER, closed).await;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.update(|state| {
            state.has_ended = true;
            true
        });
    }
}

/// Through a pooler in a transaction: the statement is prepared in one session and must be run in the same.
async fn send(pool: &PgPool, pooler: Pooler, telling: Query<'_, Postgres, PgArguments>) -> Result<(), sqlx::Error> {
    let telling = pooler.fit(telling);
    match pooler {
        Pooler::None => telling.execute(pool).await.map(drop),
        Pooler::Transaction => {
            let mut transaction = pool.begin().await?;
            telling.execute(&mut *transaction).await?;
            transaction.commit().await
        }
    }
}

fn payload(notice: &Notice) -> String {
    let write = |notice: &Notice| serde_json::to_string(notice).expect("names are text");
    let all = write(notice);
    if all.len() <= MAX_PAYLOAD_BYTES { all } else { write(&Notice::Any) }
}

#[cfg(test)]
mod tests {
    use tourbillon::model::JobName;

    use super::*;

    #[test]
    fn channels_fit_the_server() {
        let of = |name: &str| channel(&Schema::new(name).unwrap());
        assert_eq!(of("billing"), "tourbillon billing");
        let long = of(&"ä".repeat(31));
        assert!(long.len() <= MAX_CHANNEL_BYTES && long.starts_with("tourbillon ää"), "{long}");
    }

    #[test]
    fn a_payload_that_is_too_long_names_nobody() {
        let named = |count: usize| {
            let jobs = (0..count).map(|n| JobName::new(&format!("{n:0>190}")).unwrap());
            payload(&Notice::among(jobs).unwrap())
        };
        assert!(named(1).starts_with("{\"jobs\":[\"000"));
        assert_eq!(named(60), "\"any\"");
    }
}
