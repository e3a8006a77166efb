//! Loops 9, 11 and 12: one execution per network, cloud and slot; what is stored is keyed.

use tourbillon::{
    job::{Context, HandlerError},
    model::Timestamp,
};

use crate::{
    history::CallAnswer,
    operator::{
        desk::{Desk, is_done, odd},
        naive::findings,
        outside::Outside,
        tables::{Reply, Verb},
    },
    world::Call,
};

pub(super) async fn scan_network(desk: &Desk, ctx: &Context) -> Result<u64, HandlerError> {
    scan(desk, ctx, Outside::Scanned).await
}

/// Reserves the call first: from then on it is made at most once.
pub(super) async fn discover_cloud(desk: &Desk, ctx: &Context) -> Result<u64, HandlerError> {
    let (source, slot) = (target(ctx)?, slot(ctx)?);
    match desk.insist(Verb::ReserveCall { source, slot }).await? {
        Reply::Done => scan(desk, ctx, Outside::Cloud).await,
        Reply::Refused => Err(HandlerError::new("this call was reserved before").never_retry()),
        other => Err(odd(&other).into()),
    }
}

async fn scan(desk: &Desk, ctx: &Context, outside: Outside) -> Result<u64, HandlerError> {
    let (kind, target) = (ctx.scope().kind().to_owned(), target(ctx)?);
    let unit = desk.unit(format!("{kind} {target}"));
    let found = match desk.call(&unit, outside, Call::new(format!("{kind} {target}")).by(ctx)).await? {
        CallAnswer::Done | CallAnswer::Duplicate => findings(&kind, target),
        // That nobody is there is what was found: no reason to probe again.
        CallAnswer::Failed | CallAnswer::Fenced => Vec::new(),
    };
    unit.marking();
    match desk.insist(Verb::StoreFound { found }).await? {
        Reply::Count(rows) => Ok(rows.into()),
        other => Err(odd(&other).into()),
    }
}

/// Probes every endpoint for a slot. A repeated attempt probes again and is not counted again.
pub(super) async fn check_endpoints(desk: &Desk, ctx: &Context) -> Result<u64, HandlerError> {
    let slot = slot(ctx)?;
    let checks = match desk.insist(Verb::ReadChecks {}).await? {
        Reply::Checks(checks) => checks,
        other => return Err(odd(&other).into()),
    };
    for (id, _) in &checks {
        let unit = desk.unit(format!("endpoint {id}"));
        let call = Call::new(format!("endpoint {id}")).by(ctx);
        let ok = is_done(&desk.call(&unit, Outside::Scanned, call).await);
        unit.marking();
        desk.insist(Verb::RecordProbe { id: *id, ok, slot }).await?;
    }
    Ok(checks.len() as u64)
}

fn target(ctx: &Context) -> Result<u32, HandlerError> {
    ctx.scope().id().parse().map_err(|_| HandlerError::new(format!("{} is no target", ctx.scope())).never_retry())
}

fn slot(ctx: &Context) -> Result<Timestamp, HandlerError> {
    ctx.slot_at().ok_or_else(|| HandlerError::new("not made by a schedule").never_retry())
}
