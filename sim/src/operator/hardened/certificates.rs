//! Loops 1, 2, 3, 4 and 8 with guarded writes; the CA is asked by one replica at a time.

use std::time::Duration;

use tourbillon::{
    job::{Context, HandlerError},
    store::StoreError,
};

use crate::{
    operator::{
        desk::{Desk, is_done, odd},
        outside::Outside,
        tables::{Reply, Verb},
    },
    world::Call,
};

/// Most jobs in one claim: all of them can be done well within the lease.
const BATCH: u32 = 5;
/// How long a claim of jobs is exclusive.
const LEASE: Duration = Duration::from_secs(180);
/// After this nothing more of a claim is begun: a call and a mark still fit into the lease.
const ENOUGH: Duration = Duration::from_secs(100);

pub(super) async fn check_renewals(desk: &Desk) -> Result<u64, StoreError> {
    counted(desk, Verb::EnsureRenewals {}).await
}

/// Takes jobs under leases until there are none, and ends each with the number of its attempt.
pub(super) async fn process_jobs(desk: &Desk, ctx: &Context) -> Result<u64, HandlerError> {
    let mut done = 0;
    while ctx.stop_reason().is_none() {
        let enough = desk.watch(ENOUGH);
        let claim = Verb::ClaimJobs { limit: BATCH, lease_ms: Some(LEASE.as_millis() as u64) };
        let claimed = match desk.insist(claim).await? {
            Reply::Jobs(claimed) => claimed,
            other => return Err(odd(&other).into()),
        };
        if claimed.is_empty() {
            break;
        }
        for (id, attempt) in claimed {
            if enough() || ctx.stop_reason().is_some() {
                // The rest is taken again when its lease ends.
                return Ok(done);
            }
            let unit = desk.unit(format!("job {id} attempt {attempt}"));
            let call = Call::new(format!("issue job {id} attempt {attempt}")).idempotent(format!("job {id}")).by(ctx);
            let issued = is_done(&desk.call(&unit, Outside::Signer, call).await);
            unit.marking();
            desk.insist(Verb::FinishJob { id, attempt: Some(attempt), issued }).await?;
            done += 1;
        }
    }
    Ok(done)
}

pub(super) async fn retry_jobs(desk: &Desk) -> Result<u64, StoreError> {
    let tick = desk.unit("tick");
    tick.marking();
    match desk.insist(Verb::RetryJobs { audited: true }).await? {
        Reply::Retried(audits) => Ok(audits.len() as u64),
        other => Err(odd(&other)),
    }
}

pub(super) async fn time_jobs_out(desk: &Desk) -> Result<u64, StoreError> {
    counted(desk, Verb::FailStalled { as_of: None }).await
}

pub(super) async fn expire(desk: &Desk) -> Result<u64, StoreError> {
    counted(desk, Verb::ExpireEnded {}).await
}

/// A tick that is one guarded statement.
pub(super) async fn counted(desk: &Desk, verb: Verb) -> Result<u64, StoreError> {
    let tick = desk.unit("tick");
    tick.marking();
    match desk.insist(verb).await? {
        Reply::Count(rows) => Ok(rows.into()),
        other => Err(odd(&other)),
    }
}
