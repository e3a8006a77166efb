//! Loops 5, 13, 14 and 15: one guarded statement each, and a revocation list that never goes back.

use std::time::Duration;

use tourbillon::{job::BoxError, service::Tick, store::StoreError};

use super::certificates::counted;
use crate::{
    operator::{
        desk::{Desk, is_done, odd},
        outside::Outside,
        tables::{Reply, Shelf, Verb},
    },
    world::Call,
};

/// How often the signer is asked before the list waits for the next interval.
const ASKS: u32 = 3;
/// Between two asks.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn watch_agents(desk: &Desk) -> Result<u64, StoreError> {
    counted(desk, Verb::MarkSilentOffline {}).await
}

/// Has what is revoked now signed, and publishes it in the name of this leader. Whoever was superseded meanwhile is
/// refused, and that is no failure: a newer list is there.
pub(super) async fn generate_crl(desk: &Desk, tick: &Tick) -> Result<u64, BoxError> {
    let epoch = tick.epoch().ok_or("no leader signs without a term")?.0;
    let unit = desk.unit("list");
    let revoked = match desk.insist(Verb::ReadRevocations {}).await? {
        Reply::Revocations { revoked, .. } => revoked,
        other => return Err(odd(&other).into()),
    };
    let mut asked = 0;
    while !is_done(&desk.call(&unit, Outside::Signer, ask(tick)).await) {
        asked += 1;
        if asked == ASKS {
            return Err("the signer did not sign".into());
        }
        tick.sleep(PAUSE).await;
    }
    unit.marking();
    match desk.insist(Verb::PublishNext { epoch, revoked }).await? {
        Reply::Published(_) => Ok(1),
        Reply::Refused => Ok(0),
        other => Err(odd(&other).into()),
    }
}

/// The same question each time, so that the signer knows a repetition.
fn ask(tick: &Tick) -> Call {
    Call::new("list").idempotent(format!("list {}", tick.request()))
}

pub(super) async fn collect_acme(desk: &Desk) -> Result<u64, StoreError> {
    counted(desk, Verb::DeleteExpired { shelf: Shelf::Acme, as_of: None }).await
}

pub(super) async fn collect_sessions(desk: &Desk) -> Result<u64, StoreError> {
    let sessions = counted(desk, Verb::DeleteExpired { shelf: Shelf::Session, as_of: None }).await?;
    Ok(sessions + counted(desk, Verb::DeleteExpired { shelf: Shelf::Key, as_of: None }).await?)
}
