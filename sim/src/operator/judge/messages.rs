//! Loops 6, 7 and 10: what people and machines were sent, and how often.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tourbillon::model::Timestamp;

use super::{
    Tally,
    record::{Record, other, own},
};
use crate::{
    operator::{
        loops::Loop,
        outside::Outside,
        tables::{Change, NoticeState},
        workload::Variant,
    },
    table::Reading,
};

/// After this a notification is neither waiting nor under way any more, if anybody works at all.
const SLACK: Duration = Duration::from_secs(20 * 60);

/// E of notifications that never failed.
pub(super) fn first_sends(record: &Record<'_>, readings: &mut Vec<Reading>) {
    sends(record, Loop::NotificationProcess, readings);
}

/// E of those that did; and no failed row waits for ever.
pub(super) fn retries(record: &Record<'_>, readings: &mut Vec<Reading>) {
    sends(record, Loop::NotificationRetry, readings);
    let Some((tables, now)) = &record.ended else { return };
    let waits = |state, until: Option<Timestamp>| match state {
        NoticeState::Failed | NoticeState::Sending => until.is_some_and(|until| now.since(until) > SLACK),
        _ => false,
    };
    let stuck = tables.notices.iter().filter(|(_, notice)| waits(notice.state, notice.until));
    let stuck: Vec<_> = stuck.map(|(id, _)| format!("notification {id}")).collect();
    readings.push(other(Loop::NotificationRetry, "stranded", (stuck.len() as u64, 0), stuck.join(", "), &[]));
}

fn sends(record: &Record<'_>, which: Loop, readings: &mut Vec<Reading>) {
    let mut claims: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failed: BTreeSet<&str> = BTreeSet::new();
    let mut sent: BTreeMap<&str, usize> = BTreeMap::new();
    let survived = record.changes().map(|(event, _, _, change)| (Some(event), change));
    for (event, change) in survived.chain(record.lost_changes().map(|change| (None, change))) {
        let Change::Notice { key, to, attempt, .. } = change else { continue };
        match to {
            NoticeState::Sending => {
                *claims.entry(key).or_default() += 1;
                if *attempt > 1 {
                    failed.insert(key);
                }
            }
            NoticeState::Failed | NoticeState::Dead => {
                failed.insert(key);
            }
            NoticeState::Sent => {
                if let Some(event) = event {
                    sent.entry(key).or_insert(event);
                }
            }
            NoticeState::Pending => {}
        }
    }
    let is_mine = |key: &str| failed.contains(key) == (which == Loop::NotificationRetry);
    let mut effects = Tally::new();
    let to_people = |outside| matches!(outside, Some(Outside::Mail | Outside::Hook | Outside::Pager));
    for call in record.received.iter().filter(|call| to_people(call.outside) && call.is_effect()) {
        let key = call.call.key.as_str();
        let is_notice = key.starts_with("notice ") || claims.contains_key(key);
        if is_notice && is_mine(key) {
            effects.add(key, call.event);
        }
    }
    // Of a claimed one, u + s is the number of its claims, those included that were lost: each sends at most once.
    let bound = |key: &&str| match record.variant {
        Variant::Naive => record.replicas,
        Variant::Hardened => claims.get(*key).copied().unwrap_or(0),
    };
    if let Some((key, count, bound, events)) = effects.worst(bound) {
        readings.push(own(which, count, bound, format!("`{key}` was sent {count} times"), events));
    }
    let never: Vec<_> = sent.iter().filter(|(key, _)| is_mine(key) && !effects.by_key.contains_key(**key)).collect();
    let evidence =
        never.first().map_or_else(String::new, |(key, _)| format!("`{key}` is marked as sent and never was"));
    let events: Vec<_> = never.iter().map(|(_, event)| **event).collect();
    readings.push(other(which, "lost", (never.len() as u64, 0), evidence, &events));
}

/// One e-mail per recipient and period: at most, and at least.
pub(super) fn digests(record: &Record<'_>, readings: &mut Vec<Reading>) {
    let which = Loop::Digest;
    let mut effects: Tally<(String, String)> = Tally::new();
    let mut bounds: BTreeMap<(String, String), u64> = BTreeMap::new();
    for call in record.calls(Outside::Mail, "digest ").filter(|call| call.is_effect()) {
        let (unit, bound) = unit(record, call, which);
        let key = (call.call.key.clone(), unit);
        bounds.insert(key.clone(), bound);
        effects.add(key, call.event);
    }
    if let Some(((key, unit), count, bound, events)) = effects.worst(|key| bounds[key]) {
        readings.push(own(which, count, bound, format!("`{key}` of {unit} was sent {count} times"), events));
    }
    if let Some(starved) = starved(record) {
        readings.push(starved);
    }
}

/// The unit that a call belongs to, and how often it may be done: the slot and the starts for it, or else the period by
/// the database clock, and once per replica.
pub(super) fn unit(record: &Record<'_>, call: &super::record::Received<'_>, which: Loop) -> (String, u64) {
    match record.slot_of(call.call) {
        Some(slot) => {
            let at = slot.2.map_or_else(|| "no slot".to_owned(), |at| format!("slot {at}"));
            (at, record.starts_of(&slot))
        }
        None => {
            let period = which.interval().as_micros();
            let since = record.facts.map_or(Duration::ZERO, |facts| call.now.since(facts.epoch));
            (format!("period {}", since.as_micros() / period), record.replicas)
        }
    }
}

/// A whole period and half an hour without any digest, while the run went on.
fn starved(record: &Record<'_>) -> Option<Reading> {
    let longest = Loop::Digest.interval() + Duration::from_secs(1_800);
    let began = record.facts?.epoch;
    let (_, ended) = record.ended.as_ref()?;
    if ended.since(began) < longest {
        return None;
    }
    let sent = record.calls(Outside::Mail, "digest ").filter(|call| call.is_effect()).map(|call| call.now);
    let mut from = began;
    let mut gaps = Vec::new();
    for at in sent.chain([*ended]) {
        if at.since(from) >= longest {
            gaps.push(format!("no digest from {from} to {at}"));
        }
        from = from.max(at);
    }
    let evidence = gaps.first().cloned().unwrap_or_default();
    Some(other(Loop::Digest, "periods without a digest", (gaps.len() as u64, 0), evidence, &[]))
}
