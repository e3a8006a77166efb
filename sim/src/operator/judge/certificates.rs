//! Loops 1, 2, 3, 4 and 8: certificates and the jobs that renew them.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::model::Timestamp;

use super::{
    Tally,
    record::{Record, other, own},
};
use crate::{
    operator::{
        loops::Loop,
        outside::Outside,
        tables::{Audit, CertState, Change, JobState, MAX_ATTEMPTS, STALL, Verb, expiry_audit, retry_audit},
    },
    table::Reading,
};

/// ≤ 1 renewal under way per certificate; every alert once.
pub(super) fn renewals(record: &Record<'_>, readings: &mut Vec<Reading>) {
    let which = Loop::RenewalCheck;
    let mut under_way: BTreeMap<u32, BTreeMap<u32, usize>> = BTreeMap::new();
    let (mut worst, mut shown, mut of) = (0, Vec::new(), 0);
    let mut alerts = Tally::new();
    for (event, _, _, change) in record.changes() {
        match change {
            Change::Job { id, cert, to, attempt, .. } => {
                let jobs = under_way.entry(*cert).or_default();
                if *to == JobState::Completed || (*to == JobState::Failed && *attempt >= MAX_ATTEMPTS) {
                    jobs.remove(id);
                } else {
                    jobs.entry(*id).or_insert(event);
                }
                if jobs.len() > worst {
                    (worst, shown, of) = (jobs.len(), jobs.values().copied().collect(), *cert);
                }
            }
            Change::Notice { key, from: None, .. } if key.starts_with("alert ") => alerts.add(key.clone(), event),
            _ => {}
        }
    }
    // Without an outbox the loop itself sends them.
    for call in record.calls(Outside::Pager, "alert ").filter(|call| call.is_effect() && call.call.effect.is_none()) {
        alerts.add(call.call.key.clone(), call.event);
    }
    if worst > 0 {
        let evidence = format!("certificate {of} had {worst} renewals under way at once");
        readings.push(own(which, worst as u64, 1, evidence, &shown));
    }
    if let Some((key, count, bound, events)) = alerts.worst(|_| 1) {
        readings.push(own(which, count, bound, format!("`{key}`: {count} times"), events));
    }
}

/// One issue per attempt; legal edges only; nothing stays running.
pub(super) fn jobs(record: &Record<'_>, readings: &mut Vec<Reading>) {
    let which = Loop::JobProcessor;
    let mut issues = Tally::new();
    for call in record.calls(Outside::Signer, "issue ").filter(|call| call.is_effect()) {
        issues.add(call.call.key.clone(), call.event);
    }
    // A claim that was lost is made again, as the same attempt.
    let mut lost: BTreeMap<String, u64> = BTreeMap::new();
    for change in record.lost_changes() {
        if let Change::Job { id, to: JobState::Running, attempt, .. } = change {
            *lost.entry(format!("issue job {id} attempt {attempt}")).or_default() += 1;
        }
    }
    if let Some((key, count, bound, events)) = issues.worst(|key| 1 + lost.get(key).copied().unwrap_or(0)) {
        readings.push(own(which, count, bound, format!("`{key}`: {count} times"), events));
    }
    let mut illegal = Vec::new();
    let mut attempts = Tally::new();
    for (event, _, _, change) in record.changes() {
        let Change::Job { id, from, to, attempt, .. } = change else { continue };
        if !is_legal(*from, *to) {
            illegal.push((event, format!("job {id} went from {from:?} to {to:?}")));
        }
        if *to == JobState::Running {
            attempts.add((*id, *attempt), event);
        }
    }
    let count = illegal.len() as u64;
    let evidence = illegal.first().map_or_else(String::new, |(_, what)| what.clone());
    let events: Vec<_> = illegal.iter().map(|(event, _)| *event).collect();
    readings.push(other(which, "illegal edges", (count, 0), evidence, &events));
    if let Some(((id, attempt), count, bound, events)) = attempts.worst(|_| 1) {
        let evidence = format!("attempt {attempt} of job {id} was claimed {count} times");
        readings.push(other(which, "claims per attempt", (count, bound), evidence, events));
    }
    if let Some((tables, now)) = &record.ended {
        let stuck = tables.jobs.iter().filter(|(_, job)| {
            job.state == JobState::Running && job.began_at.is_some_and(|began| now.since(began) > 3 * STALL)
        });
        let stuck: Vec<_> = stuck.map(|(id, _)| format!("job {id}")).collect();
        readings.push(other(which, "jobs stranded", (stuck.len() as u64, 0), stuck.join(", "), &[]));
    }
}

/// A claim of a running row is a take-over after its lease; without leases there is none.
fn is_legal(from: Option<JobState>, to: JobState) -> bool {
    use JobState::{Completed, Failed, Pending, Running};
    matches!(
        (from, to),
        (None, Pending)
            | (Some(Pending | Running), Running)
            | (Some(Running), Completed | Failed)
            | (Some(Failed), Pending)
    )
}

/// One audit event per retry, and no event without one.
pub(super) fn retries(record: &Record<'_>, readings: &mut Vec<Reading>) {
    let mut edges = Tally::new();
    let mut audits = Tally::new();
    for (event, _, _, change) in record.changes() {
        match change {
            Change::Job { id, from: Some(JobState::Failed), to: JobState::Pending, attempt, .. } => {
                edges.add(retry_audit(*id, *attempt), event);
            }
            Change::Audit { audit } if audit.action == "job_retry" => audits.add(audit.clone(), event),
            _ => {}
        }
    }
    if record.units_of(Loop::JobRetry) > 0 {
        let unequal = unpaired(&edges, &audits);
        let passes = format!("{} retries, each with its audit event", edges.by_key.len());
        let (evidence, events) = unequal.first().cloned().unwrap_or((passes, Vec::new()));
        readings.push(own(Loop::JobRetry, unequal.len() as u64, 0, evidence, &events));
    }
    let over = record.changes().filter_map(|(event, _, _, change)| match change {
        Change::Job { to: JobState::Running, attempt, .. } if *attempt > MAX_ATTEMPTS => Some(event),
        _ => None,
    });
    let over: Vec<_> = over.collect();
    let evidence = format!("attempts beyond {MAX_ATTEMPTS}");
    readings.push(other(Loop::JobRetry, "attempts over budget", (over.len() as u64, 0), evidence, &over));
}

/// Keys whose edges and audit events are not equal in number, each with the events that show it.
fn unpaired(edges: &Tally<Audit>, audits: &Tally<Audit>) -> Vec<(String, Vec<usize>)> {
    let keys: BTreeSet<_> = edges.by_key.keys().chain(audits.by_key.keys()).collect();
    let of = |tally: &Tally<Audit>, key: &Audit| tally.by_key.get(key).cloned().unwrap_or_default();
    let unequal = keys.into_iter().filter_map(|key| {
        let (mut events, audits) = (of(edges, key), of(audits, key));
        let Audit { subject, nth, .. } = key;
        let counts = format!("{} transitions, {} audit events", events.len(), audits.len());
        let is_paired = events.len() == audits.len();
        events.extend(audits);
        events.sort_unstable();
        (!is_paired).then(|| (format!("retry {nth} of {subject}: {counts}"), events))
    });
    unequal.collect()
}

/// Only jobs that stand still fail by the timeout.
pub(super) fn timeouts(record: &Record<'_>, readings: &mut Vec<Reading>) {
    let mut early = Vec::new();
    for (event, now, verb, change) in record.changes() {
        let Verb::FailStalled { as_of } = verb else { continue };
        let Change::Job { id, from, began_at: Some(began_at), .. } = change else { continue };
        // With a lease its end decides, which is for the verb to judge: the history shows that the clock was the
        // database's own.
        let is_early = as_of.is_some() && now.since(*began_at) < STALL;
        if is_early || *from != Some(JobState::Running) {
            early.push((event, format!("job {id} had run for {:?} when it was failed", now.since(*began_at))));
        }
    }
    readings.extend(listed(record, Loop::JobTimeout, &early));
}

/// Revoked and renewed certificates stay so; one audit event per expiry.
pub(super) fn expiries(record: &Record<'_>, readings: &mut Vec<Reading>) {
    let mut broken: Vec<(usize, String)> = Vec::new();
    let mut audits: BTreeMap<String, u64> = BTreeMap::new();
    let mut expired: BTreeMap<u32, usize> = BTreeMap::new();
    for (event, now, _, change) in record.changes() {
        match change {
            Change::Cert { id, from, to: CertState::Expired } => {
                expired.insert(*id, event);
                if matches!(from, CertState::Revoked | CertState::Renewed) {
                    broken.push((event, at(now, format!("certificate {id} was {from:?} and became Expired"))));
                }
            }
            Change::Audit { audit } if audit.action == "short_lived_expiry" => {
                *audits.entry(audit.subject.clone()).or_default() += 1;
            }
            _ => {}
        }
    }
    for (id, event) in &expired {
        let audits = audits.get(&expiry_audit(*id).subject).copied().unwrap_or(0);
        if audits != 1 {
            broken.push((*event, format!("certificate {id} expired once, with {audits} audit events")));
        }
    }
    readings.extend(listed(record, Loop::ShortLivedExpiry, &broken));
}

/// Every harm that a loop did; `None` when it did nothing at all.
pub(super) fn listed(record: &Record<'_>, which: Loop, broken: &[(usize, String)]) -> Option<Reading> {
    let units = record.units_of(which);
    let evidence = broken.first().map_or_else(|| format!("none in {units} passes"), |(_, what)| what.clone());
    let mut events: Vec<_> = broken.iter().map(|(event, _)| *event).collect();
    events.sort_unstable();
    (units > 0 || !broken.is_empty()).then(|| own(which, broken.len() as u64, 0, evidence, &events))
}

pub(super) fn at(now: Timestamp, what: String) -> String {
    format!("{now}: {what}")
}
