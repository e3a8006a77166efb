//! Notices over the simulated network: the database host pushes what the requests that it applied made due, and a replica
//! hears it on a connection of its own. Faults strike between the two. No engine has a part in it, so that all of them
//! make the same history.

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll};

use tokio::sync::mpsc;
use tourbillon::store::{BoxFuture, ErrorKind, Listener, Notice, StoreError};

use super::{
    clock,
    database::{Database, Drops},
    net::BoxConnection,
    process::Process,
    strikes::NoticeFate,
    wire::{self, Answered, Ask, Asked, Told},
};
use crate::history::{HostId, What};

/// What a session that is listened to has to do next.
enum Next {
    /// Something became due.
    Rung(Notice),
    /// A notice that was held up is let go.
    LetGo(Notice),
    /// The replica asks whether it still hears.
    Probed,
    /// The replica is gone, or the session is dropped.
    Over,
}

impl Database {
    /// What a session does from the moment on at which its replica listens.
    pub(super) async fn push(self: &Arc<Self>, mut connection: BoxConnection, replica: u8, drops: &Drops) {
        let mut bell = self.bell.listen();
        // No more is in it than was rung while the first of it was held up.
        let (hold_up, mut held_up) = mpsc::unbounded_channel();
        let mut telling = Some(Answered::Heard);
        loop {
            if let Some(told) = telling
                && wire::send(&mut connection, Told::Ok(told)).await.is_err()
            {
                return;
            }
            telling = match next(&mut connection, &mut bell, &mut held_up, drops).await {
                Next::Over => return,
                Next::Probed => Some(Answered::Heard),
                Next::LetGo(notice) => Some(Answered::Notice(notice)),
                Next::Rung(notice) => self.strike_notice(replica, notice, &hold_up).map(Answered::Notice),
            };
        }
    }

    /// What is told of a notice at once.
    fn strike_notice(&self, replica: u8, notice: Notice, hold_up: &mpsc::UnboundedSender<Notice>) -> Option<Notice> {
        let Some(fate) = self.world.strikes.notice_fate(replica) else { return Some(notice) };
        let kind = fate.kind().name().to_owned();
        self.world.record(HostId::Database, What::Struck { kind, replica, request: None });
        let hold_up = hold_up.clone();
        match fate {
            NoticeFate::Lose => None,
            NoticeFate::Double => {
                let _ = hold_up.send(notice.clone());
                Some(notice)
            }
            NoticeFate::Delay(delay) => {
                self.spawn(async move {
                    clock::wait(delay).await;
                    // The session may be over.
                    let _ = hold_up.send(notice);
                });
                None
            }
        }
    }
}

async fn next(
    connection: &mut BoxConnection,
    bell: &mut impl Listener,
    held_up: &mut mpsc::UnboundedReceiver<Notice>,
    drops: &Drops,
) -> Next {
    let mut asked = pin!(Database::next_ask(connection, Some(drops)));
    let mut rung = bell.next();
    poll_fn(|cx| {
        if let Poll::Ready(asked) = asked.as_mut().poll(cx) {
            let is_probe = asked.is_some_and(|ask| matches!(ask.asked, Asked::Probe));
            return Poll::Ready(if is_probe { Next::Probed } else { Next::Over });
        }
        if let Poll::Ready(Some(notice)) = held_up.poll_recv(cx) {
            return Poll::Ready(Next::LetGo(notice));
        }
        rung.as_mut().poll(cx).map(|rung| rung.map_or(Next::Over, Next::Rung))
    })
    .await
}

/// A replica's end of it.
struct RemoteListener {
    process: Arc<Process>,
    connection: BoxConnection,
    /// Came while something else was waited for.
    kept: Option<Notice>,
}

/// Connects, and listens.
pub(super) async fn listen(process: Arc<Process>) -> Result<impl Listener, StoreError> {
    let broken = |error: io::Error| StoreError::new(ErrorKind::Unavailable, format!("cannot listen: {error}"));
    let from = HostId::Replica(process.replica);
    let connection = process.world.net.dial(from, HostId::Database).await.map_err(broken)?;
    let mut listener = RemoteListener { process, connection, kept: None };
    listener.hear_oneself(Asked::Listen).await?;
    Ok(listener)
}

impl RemoteListener {
    async fn told(&mut self) -> Result<Answered, StoreError> {
        let broken = |error: io::Error| StoreError::new(ErrorKind::Unavailable, format!("listener lost: {error}"));
        wire::receive::<Told>(&mut self.connection).await.map_err(broken)?
    }

    /// Asks, and hears the answer on the way that notices come.
    async fn hear_oneself(&mut self, asked: Asked) -> Result<(), StoreError> {
        let broken = |error: io::Error| StoreError::new(ErrorKind::Unavailable, format!("listener lost: {error}"));
        let ask = Ask { replica: self.process.replica, asked };
        wire::send(&mut self.connection, ask).await.map_err(broken)?;
        loop {
            match (self.told().await?, &mut self.kept) {
                (Answered::Heard, _) => break,
                (Answered::Notice(more), Some(kept)) => kept.add(more),
                (Answered::Notice(first), kept) => *kept = Some(first),
                _ => return Err(mistaken()),
            }
        }
        let incarnation = self.process.incarnation();
        self.process.record(What::Listens { incarnation });
        Ok(())
    }
}

impl Listener for RemoteListener {
    fn next(&mut self) -> BoxFuture<'_, Result<Notice, StoreError>> {
        Box::pin(async {
            if let Some(kept) = self.kept.take() {
                return Ok(kept);
            }
            match self.told().await? {
                Answered::Notice(notice) => Ok(notice),
                _ => Err(mistaken()),
            }
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.hear_oneself(Asked::Probe))
    }
}

fn mistaken() -> StoreError {
    StoreError::new(ErrorKind::Corrupt, "the database told a listener something else than a notice")
}
