//! Owns hearing notices: a session that listens, on a connection of its own, and the proof that it still does.
//!
//! The connection never comes from the store's pool. Sets no deadlines on answers: who asks does, and drops what takes
//! too long.

use std::{fmt, time::Duration};

use sqlx::{
    Row,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tourbillon::store::{BoxFuture, ErrorKind, Listener, Notice, StoreError};

use crate::{
    error::{Phase, Place},
    session_lock::KEEPALIVES,
};

/// How long a server that refuses connections is tried again. Shorter than the deadline of who asks, so that the reason is
/// told.
const RETRIED: Duration = Duration::from_secs(3);

const PROBE: &str = include_str!("../sql/session/probe_listener.sql");

/// How to get a listener.
#[derive(Clone)]
pub(crate) struct Ears {
    pub(crate) options: PgConnectOptions,
    pub(crate) place: Place,
    pub(crate) channel: String,
}

impl fmt::Debug for Ears {
    /// Without the options: they may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ears").field("server", &self.place.server).field("channel", &self.channel).finish()
    }
}

impl Ears {
    /// Connects, listens, and hears itself once: behind a transaction pooler it never would. The session lives as long
    /// as the listener.
    pub(crate) async fn listen(&self) -> Result<impl Listener + use<>, StoreError> {
        let options = self.options.clone().application_name("tourbillon listener").options(KEEPALIVES);
        // The driver's listener wants a pool; this one has a single connection, and is never asked for another.
        let pool =
            PgPoolOptions::new().max_connections(1).acquire_timeout(RETRIED).max_lifetime(None).idle_timeout(None);
        let fail = |phase| move |error| self.place.sort(phase, error).into_error();
        let pool = pool.connect_lazy_with(options);
        let mut session = PgListener::connect_with(&pool).await.map_err(fail(Phase::Connect))?;
        session.eager_reconnect(false);
        session.listen(&self.channel).await.map_err(fail(Phase::Statement))?;
        let mut listener = Heard { ears: self.clone(), session, kept: None };
        listener.probe().await?;
        Ok(listener)
    }
}

struct Heard {
    ears: Ears,
    session: PgListener,
    /// Came while something else was waited for.
    kept: Option<Notice>,
}

impl Heard {
    /// The next message on the channel.
    async fn message(&mut self) -> Result<String, StoreError> {
        let received = self.session.try_recv().await;
        match received.map_err(|error| self.ears.place.sort(Phase::Statement, error).into_error())? {
            Some(message) => Ok(message.payload().to_owned()),
            None => {
                let message = format!("the session that listens at {} was lost", self.ears.place.server);
                Err(StoreError::new(ErrorKind::Unavailable, message))
            }
        }
    }
}

/// What a message says; `None` for a probe. A message of somebody else's, or of a newer version, may say anything.
fn notice(message: &str) -> Option<Notice> {
    (!message.starts_with("probe ")).then(|| serde_json::from_str(message).unwrap_or(Notice::Any))
}

impl Listener for Heard {
    fn next(&mut self) -> BoxFuture<'_, Result<Notice, StoreError>> {
        Box::pin(async move {
            loop {
                if let Some(kept) = self.kept.take() {
                    return Ok(kept);
                }
                if let Some(notice) = notice(&self.message().await?) {
                    return Ok(notice);
                }
            }
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let asked = sqlx::query(PROBE).bind(self.ears.channel.clone()).fetch_one(&mut self.session).await;
            let sent: Result<String, _> = asked.and_then(|row| row.try_get(0));
            let sent = sent.map_err(|error| self.ears.place.sort(Phase::Statement, error).into_error())?;
            loop {
                let message = self.message().await?;
                if message == sent {
                    return Ok(());
                }
                match (notice(&message), &mut self.kept) {
                    (Some(more), Some(kept)) => kept.add(more),
                    (Some(first), kept) => *kept = Some(first),
                    (None, _) => {}
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_nobodys_notices_and_strange_messages_are_everybodys() {
        assert_eq!(notice("probe 7"), None);
        assert_eq!(notice("hello"), Some(Notice::Any));
        let Some(Notice::Jobs(jobs)) = notice("{\"jobs\":[\"mail\"]}") else { panic!("it names a job") };
        assert_eq!(jobs.iter().map(tourbillon::model::JobName::as_str).collect::<Vec<_>>(), ["mail"]);
    }

    #[test]
    fn who_listens_is_told_without_the_password() {
        let options = "postgres://ada:hunter2@db:5432/app".parse().unwrap();
        let place = Place { server: "db:5432/app".to_owned(), user: "ada".to_owned(), schema: "jobs".to_owned() };
        let ears = Ears { options, place, channel: "tourbillon jobs".to_owned() };
        assert_eq!(format!("{ears:?}"), "Ears { server: \"db:5432/app\", channel: \"tourbillon jobs\" }");
    }
}
