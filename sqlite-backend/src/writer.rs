//! Owns the one thread that writes: takes what waits, commits it together, answers, and tells who listens.

use tokio::sync::{mpsc, oneshot};
use tourbillon::store::{Bell, Reply, Request, StoreError};

use crate::session::Session;

/// Calls that may wait for the writer; one more waits for room. Enough to fill several groups.
pub(crate) const QUEUE: usize = 256;

/// Most requests that share one commit. Bounds how long the first of them waits for the last.
const GROUP: usize = 64;

/// What the thread is asked for.
pub(crate) enum Command {
    Call { request: Request, answer: oneshot::Sender<Result<Reply, StoreError>> },
    Migrate { answer: oneshot::Sender<Result<(), StoreError>> },
}

/// Starts the thread, which ends when the last sender is gone and everything sent has been carried out. The
/// returned receiver resolves when the connection is closed.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    session: Session,
    commands: mpsc::Receiver<Command>,
    bell: Bell,
) -> std::io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("tourbillon-sqlite".to_owned()).spawn(move || {
        run(session, commands, &bell);
        // Nobody may be waiting for it.
        let _ = ended.send(());
    })?;
    Ok(end)
}

fn run(mut session: Session, mut commands: mpsc::Receiver<Command>, bell: &Bell) {
    let mut waiting = Vec::with_capacity(GROUP);
    while commands.blocking_recv_many(&mut waiting, GROUP) > 0 {
        let mut calls = Vec::with_capacity(waiting.len());
        for command in waiting.drain(..) {
            match command {
                Command::Call { request, answer } => calls.push((request, answer)),
                Command::Migrate { answer } => {
                    carry_out(&mut session, &mut calls, bell);
                    let _ = answer.send(session.migrate());
                }
            }
        }
        carry_out(&mut session, &mut calls, bell);
    }
}

fn carry_out(
    session: &mut Session,
    calls: &mut Vec<(Request, oneshot::Sender<Result<Reply, StoreError>>)>,
    bell: &Bell,
) {
    let requests: Vec<&Request> = calls.iter().map(|(request, _)| request).collect();
    if requests.is_empty() {
        return;
    }
    let replies = session.apply_group(&requests);
    for ((request, answer), reply) in calls.drain(..).zip(replies) {
        if let Ok(reply) = &reply {
            bell.ring_after(&request.verb, reply);
        }
        // A caller that dropped its future does not want the answer; what it asked for is done all the same.
        let _ = answer.send(reply);
    }
}
