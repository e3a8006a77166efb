//! Loops 5, 13, 14 and 15 as documented: agents "idempotent", revocation lists "duplicate signing, last writer wins",
//! deletion "idempotent".

use super::Passed;
use crate::{
    operator::{
        desk::{Desk, is_done, odd},
        outside::Outside,
        tables::{Reply, Shelf, Verb},
    },
    world::Call,
};

/// Reads who is silent, then sets each offline by its id.
pub(super) async fn watch_agents(desk: &Desk) -> Passed {
    let tick = desk.unit("tick");
    let silent = match desk.ask(Verb::ReadSilentAgents { as_of: desk.wall() }).await? {
        Reply::Ids(silent) => silent,
        other => return Err(odd(&other)),
    };
    for id in &silent {
        tick.marking();
        if let Err(error) = desk.ask(Verb::SetOffline { id: *id }).await {
            desk.shrug("set an agent offline", &error);
        }
    }
    Ok(silent.len() as u64)
}

/// Reads the revocations, has a list signed, publishes it over whatever is there.
pub(super) async fn generate_crl(desk: &Desk) -> Passed {
    let unit = desk.unit("list");
    let (number, revoked) = match desk.ask(Verb::ReadRevocations {}).await? {
        Reply::Revocations { number, revoked } => (number + 1, revoked),
        other => return Err(odd(&other)),
    };
    let answer = desk.call(&unit, Outside::Signer, Call::new("list")).await;
    if !is_done(&answer) {
        return Ok(0);
    }
    unit.marking();
    desk.ask(Verb::PublishCrl { number, revoked }).await?;
    Ok(1)
}

/// Deletes what has expired by the replica's clock.
pub(super) async fn collect_acme(desk: &Desk) -> Passed {
    collect(desk, &[Shelf::Acme]).await
}

/// Deletes what has expired by the replica's clock.
pub(super) async fn collect_sessions(desk: &Desk) -> Passed {
    collect(desk, &[Shelf::Session, Shelf::Key]).await
}

async fn collect(desk: &Desk, shelves: &[Shelf]) -> Passed {
    let tick = desk.unit("tick");
    let mut deleted = 0;
    for shelf in shelves {
        tick.marking();
        match desk.ask(Verb::DeleteExpired { shelf: *shelf, as_of: desk.wall() }).await? {
            Reply::Count(rows) => deleted += u64::from(rows),
            other => return Err(odd(&other)),
        }
    }
    Ok(deleted)
}
