//! Loops 6, 7 and 10: every send under a lease and a fence, with an idempotency key where its receiver knows one.

use std::{collections::BTreeSet, time::Duration};

use tourbillon::job::{Context, HandlerError};

use crate::{
    history::CallAnswer,
    operator::{
        desk::{Desk, is_done, odd},
        outside::Outside,
        tables::{Reply, Verb},
    },
    world::Call,
};

/// Most notifications in one claim: all of them can be sent well within the lease.
const BATCH: u32 = 5;
/// How long a claim of notifications is exclusive.
const LEASE: Duration = Duration::from_secs(120);
/// After this nothing more of a claim is begun: a call and a mark still fit into the lease.
const ENOUGH: Duration = Duration::from_secs(60);

/// Takes notifications under leases until there are none, and marks each with the number of its attempt.
pub(super) async fn send_notices(desk: &Desk, ctx: &Context, retries: bool) -> Result<u64, HandlerError> {
    let mut done = 0;
    let mut begun = BTreeSet::new();
    while ctx.stop_reason().is_none() {
        let enough = desk.watch(ENOUGH);
        let claim = Verb::ClaimNotices { retries, limit: BATCH, lease_ms: LEASE.as_millis() as u64 };
        let claimed = match desk.insist(claim).await? {
            Reply::Notices(claimed) => claimed,
            other => return Err(odd(&other).into()),
        };
        if claimed.is_empty() {
            break;
        }
        for notice in claimed {
            // Each once a tick, even if a step of the database clock makes one due again at once.
            if enough() || ctx.stop_reason().is_some() || !begun.insert(notice.id) {
                // The rest is taken again when its lease ends.
                return Ok(done);
            }
            let unit = desk.unit(notice.key.clone());
            let call = Call::new(notice.key.clone()).idempotent(notice.key.clone()).by(ctx);
            let sent = is_done(&desk.call(&unit, notice.channel.into(), call).await);
            unit.marking();
            desk.insist(Verb::MarkNotice { id: notice.id, attempt: Some(notice.attempt), sent }).await?;
            done += 1;
        }
    }
    Ok(done)
}

/// One e-mail: the execution is the ledger. A failure is retried by the job's backoff.
pub(super) async fn send_digest(desk: &Desk, ctx: &Context) -> Result<u64, HandlerError> {
    let recipient = ctx.scope().id();
    let unit = desk.unit(format!("recipient {recipient}"));
    match desk.call(&unit, Outside::Mail, Call::new(format!("digest {recipient}")).by(ctx)).await {
        Ok(CallAnswer::Failed) => Err(HandlerError::new("the mail server could not take it")),
        Ok(_) => Ok(1),
        Err(error) => Err(error.into()),
    }
}
