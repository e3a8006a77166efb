//! Loops 1, 2, 3, 4 and 8 as documented: renewal check "idempotent", jobs "safe by SKIP LOCKED", retry "safe by
//! claim", timeout "one guarded update", expiry "idempotent".

use super::Passed;
use crate::{
    operator::{
        desk::{Desk, is_done, odd},
        outside::Outside,
        tables::{Audit, Reply, Verb},
    },
    world::Call,
};

/// Most jobs that a tick takes.
const BATCH: u32 = 10;

/// Check, then insert; send, then record. Between the two anybody may do the same.
pub(super) async fn check_renewals(desk: &Desk) -> Passed {
    let tick = desk.unit("tick");
    let (certs, alerts) = match desk.ask(Verb::ReadRenewals { as_of: desk.wall() }).await? {
        Reply::Renewals { certs, alerts } => (certs, alerts),
        other => return Err(odd(&other)),
    };
    for cert in &certs {
        tick.marking();
        if let Err(error) = desk.ask(Verb::InsertJob { cert: *cert }).await {
            desk.shrug("insert a job", &error);
        }
    }
    tick.end();
    for alert in &alerts {
        let unit = desk.unit(alert.key());
        let answer = desk.call(&unit, alert.channel.into(), Call::new(alert.key())).await;
        if !is_done(&answer) {
            continue;
        }
        unit.marking();
        if let Err(error) = desk.ask(Verb::RecordAlert { alert: *alert }).await {
            desk.shrug("record an alert", &error);
        }
    }
    Ok((certs.len() + alerts.len()) as u64)
}

/// Takes jobs with `SKIP LOCKED`, then ends each by its id alone.
pub(super) async fn process_jobs(desk: &Desk) -> Passed {
    let claimed = match desk.ask(Verb::ClaimJobs { limit: BATCH, lease_ms: None }).await? {
        Reply::Jobs(claimed) => claimed,
        other => return Err(odd(&other)),
    };
    for (id, attempt) in &claimed {
        let unit = desk.unit(format!("job {id} attempt {attempt}"));
        let answer = desk.call(&unit, Outside::Signer, Call::new(format!("issue job {id} attempt {attempt}"))).await;
        unit.marking();
        if let Err(error) = desk.ask(Verb::FinishJob { id: *id, attempt: None, issued: is_done(&answer) }).await {
            desk.shrug("finish a job", &error);
        }
    }
    Ok(claimed.len() as u64)
}

/// The transition is claimed; its audit event follows in a transaction of its own.
pub(super) async fn retry_jobs(desk: &Desk) -> Passed {
    let tick = desk.unit("tick");
    tick.marking();
    let audits = match desk.ask(Verb::RetryJobs { audited: false }).await? {
        Reply::Retried(audits) => audits,
        other => return Err(odd(&other)),
    };
    record_all(desk, &audits).await;
    Ok(audits.len() as u64)
}

/// One guarded update; but what has stood still is reckoned by the replica's clock.
pub(super) async fn time_jobs_out(desk: &Desk) -> Passed {
    let tick = desk.unit("tick");
    tick.marking();
    match desk.ask(Verb::FailStalled { as_of: desk.wall() }).await? {
        Reply::Count(failed) => Ok(failed.into()),
        other => Err(odd(&other)),
    }
}

/// Reads what has ended, then sets each expired by its id.
pub(super) async fn expire(desk: &Desk) -> Passed {
    let tick = desk.unit("tick");
    let ended = match desk.ask(Verb::ReadEnded { as_of: desk.wall() }).await? {
        Reply::Ids(ended) => ended,
        other => return Err(odd(&other)),
    };
    for id in &ended {
        tick.marking();
        match desk.ask(Verb::SetExpired { id: *id }).await {
            Ok(_) => record_all(desk, &[crate::operator::tables::expiry_audit(*id)]).await,
            Err(error) => desk.shrug("set a certificate expired", &error),
        }
    }
    Ok(ended.len() as u64)
}

async fn record_all(desk: &Desk, audits: &[Audit]) {
    for audit in audits {
        if let Err(error) = desk.ask(Verb::RecordAudit { audit: audit.clone() }).await {
            desk.shrug("record an audit event", &error);
        }
    }
}
