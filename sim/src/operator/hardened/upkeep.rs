//! Loops 5, 13, 14 and 15: one guarded statement each, and a revocation list that never goes back.

use tourbillon::{
    job::{Context, HandlerError},
    store::StoreError,
};

use super::{certificates::counted, scans::slot};
use crate::{
    operator::{
        desk::{Desk, is_done, odd},
        outside::Outside,
        tables::{Reply, Shelf, Term, Verb},
    },
    world::Call,
};

pub(super) async fn watch_agents(desk: &Desk) -> Result<u64, StoreError> {
    counted(desk, Verb::MarkSilentOffline {}).await
}

/// Has what is revoked now signed, and publishes it in the name of this slot and fence. Whoever was superseded
/// meanwhile is refused, and that is no failure: a newer list is there.
pub(super) async fn generate_crl(desk: &Desk, ctx: &Context) -> Result<u64, HandlerError> {
    let term = Term { slot: Some(slot(ctx)?), fence: ctx.fence().0 };
    let unit = desk.unit("list");
    let revoked = match desk.insist(Verb::ReadRevocations {}).await? {
        Reply::Revocations { revoked, .. } => revoked,
        other => return Err(odd(&other).into()),
    };
    if !is_done(&desk.call(&unit, Outside::Signer, Call::new("list").by(ctx)).await) {
        return Err(HandlerError::new("the signer did not sign"));
    }
    unit.marking();
    match desk.insist(Verb::PublishNext { term, revoked }).await? {
        Reply::Published(_) => Ok(1),
        Reply::Refused => Ok(0),
        other => Err(odd(&other).into()),
    }
}

pub(super) async fn collect_acme(desk: &Desk) -> Result<u64, StoreError> {
    counted(desk, Verb::DeleteExpired { shelf: Shelf::Acme, as_of: None }).await
}

pub(super) async fn collect_sessions(desk: &Desk) -> Result<u64, StoreError> {
    let sessions = counted(desk, Verb::DeleteExpired { shelf: Shelf::Session, as_of: None }).await?;
    Ok(sessions + counted(desk, Verb::DeleteExpired { shelf: Shelf::Key, as_of: None }).await?)
}
