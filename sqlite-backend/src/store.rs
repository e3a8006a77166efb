//! Owns the store of production: an asynchronous handle on the writer thread.

use std::{fmt, path::Path};

use tokio::sync::{mpsc, oneshot};
use tourbillon::{
    model::JobName,
    store::{Bell, BoxFuture, DatabaseClock, ErrorKind, Listener, Notice, Reply, Request, Store, StoreError},
};

use crate::{
    builder::Builder,
    session::Session,
    writer::{self, Command},
};

/// A scheduler's database in one SQLite file. Any number of them, in any number of processes on one machine, may
/// share a file; it must not be on a network file system.
///
/// One thread owns the connection and carries out calls in the order in which they came; calls that wait together
/// share a commit, each with its own outcome. A call whose future is dropped is carried out all the same. Dropping
/// the store lets the thread finish what was sent and close the file; [`SqliteStore::close`] waits for that.
///
/// Notices of what becomes due reach those who listen at this very store: share it in an [`Arc`](std::sync::Arc). What
/// another store puts into the file, in this process or another, is found by polling.
pub struct SqliteStore {
    name: String,
    clock: DatabaseClock,
    bell: Bell,
    commands: mpsc::Sender<Command>,
    end: oneshot::Receiver<()>,
}

impl SqliteStore {
    /// Opens the file, makes it if there is none, and brings its schema up to date; all settings as in [`Builder`].
    /// Blocks while it does.
    ///
    /// # Errors
    /// See [`Builder::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder(path).open()
    }

    /// Settings before opening.
    pub fn builder(path: impl AsRef<Path>) -> Builder {
        Builder::new(path.as_ref())
    }

    pub(crate) fn start(session: Session) -> Result<Self, StoreError> {
        let (name, clock) = (session.name().to_owned(), session.clock().clone());
        let (commands, queue) = mpsc::channel(writer::QUEUE);
        let bell = Bell::default();
        let end = writer::start(session, queue, bell.clone()).map_err(|error| {
            let message = format!("no thread for {name}: the system refuses to start one");
            StoreError::new(ErrorKind::Unavailable, message).with_source(error)
        })?;
        Ok(Self { name, clock, bell, commands, end })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn clock(&self) -> &DatabaseClock {
        &self.clock
    }

    /// Tells those who listen here that items of `queue` are due: after the commit of a transaction of one's own, since
    /// [`SqliteStore::enqueue_in`] cannot know when, or whether, it commits. Without it the next poll finds them.
    pub fn announce(&self, queue: &JobName) {
        self.bell.ring(&Notice::of(queue.clone()));
    }

    /// Brings the schema up to date. Safe to call from any number of processes at once.
    ///
    /// # Errors
    /// `Invalid` for a schema newer than this program, or a file that cannot be written.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.ask(|answer| Command::Migrate { answer }).await?
    }

    /// Waits until everything sent has been carried out and the file is closed.
    pub async fn close(self) {
        drop(self.commands);
        // An error means that the thread is gone already, and the connection with it.
        let _ = self.end.await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, StoreError> {
        let (answer, reply) = oneshot::channel();
        if self.commands.send(command(answer)).await.is_err() {
            let message = format!("the writer thread of {} has ended: open the store again", self.name);
            return Err(StoreError::new(ErrorKind::Unavailable, message));
        }
        reply.await.map_err(|_| {
            let message = format!("the writer thread of {} ended while it had this request", self.name);
            StoreError::new(ErrorKind::Unknown, message)
        })
    }
}

impl Store for SqliteStore {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>> {
        Box::pin(async move { self.ask(|answer| Command::Call { request, answer }).await? })
    }

    fn listen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Listener>>, StoreError>> {
        Box::pin(async { Ok(Some(Box::new(self.bell.listen()) as Box<dyn Listener>)) })
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tourbillon::{
        model::RequestId,
        store::{ReadClock, Verb},
    };
    use uuid::Uuid;

    fn read_clock() -> Request {
        Request { id: RequestId(Uuid::nil()), verb: Verb::ReadClock(ReadClock {}) }
    }

    /// A store whose writer is the test.
    fn unattended() -> (SqliteStore, mpsc::Receiver<Command>) {
        let (commands, queue) = mpsc::channel(1);
        (
            SqliteStore {
                name: "jobs.db".to_owned(),
                clock: DatabaseClock::Database,
                bell: Bell::default(),
                commands,
                end: oneshot::channel().1,
            },
            queue,
        )
    }

    #[test]
    fn a_store_is_told_by_the_name_of_its_file() {
        assert_eq!(format!("{:?}", unattended().0), "SqliteStore { name: \"jobs.db\", .. }");
    }

    #[tokio::test]
    async fn who_listens_hears_what_is_announced() {
        let (store, _queue) = unattended();
        let mut listener = store.listen().await.unwrap().expect("a store can be listened to");
        store.announce(&JobName::new("orders").unwrap());
        assert_eq!(listener.next().await.unwrap(), Notice::of(JobName::new("orders").unwrap()));
    }

    #[tokio::test]
    async fn closing_waits_for_the_end_of_the_writer() {
        let (mut store, mut queue) = unattended();
        let (ended, end) = oneshot::channel();
        store.end = end;
        let mut close = std::pin::pin!(store.close());
        let pending =
            std::future::poll_fn(|context| std::task::Poll::Ready(close.as_mut().poll(context).is_pending()));
        assert!(pending.await);
        assert!(queue.recv().await.is_none(), "nobody can send any more");
        ended.send(()).unwrap();
        close.await;
    }

    #[tokio::test]
    async fn a_dead_writer_is_unavailable() {
        let (store, queue) = unattended();
        drop(queue);
        let error = store.call(read_clock()).await.unwrap_err();
        assert_eq!(error.to_string(), "unavailable: the writer thread of jobs.db has ended: open the store again");
    }

    #[tokio::test]
    async fn a_writer_that_dies_with_the_request_leaves_its_outcome_unknown() {
        let (store, mut queue) = unattended();
        let die = async { drop(queue.recv().await) };
        let (reply, ()) = tokio::join!(store.call(read_clock()), die);
        assert_eq!(reply.unwrap_err().kind(), ErrorKind::Unknown);
    }
}
