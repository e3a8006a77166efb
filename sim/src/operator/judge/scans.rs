//! Loops 9, 12 and 13: scans and signatures per period, unique rows, and revocation lists that go forward only.

use std::collections::BTreeMap;

use super::{
    Tally,
    messages::unit,
    record::{Received, Record, other, own},
};
use crate::{
    operator::{
        loops::Loop,
        outside::Outside,
        tables::{Change, Crl},
        workload::Variant,
    },
    table::Reading,
};

/// Probes per network and period; one row per finding.
pub(super) fn networks(record: &Record<'_>, readings: &mut Vec<Reading>) {
    per_period(record, Loop::NetworkScan, (Outside::Scanned, "network "), readings);
    unique(record, Loop::NetworkScan, "network ", readings);
}

/// Billed calls per cloud and period; one row per finding.
pub(super) fn clouds(record: &Record<'_>, readings: &mut Vec<Reading>) {
    per_period(record, Loop::CloudDiscovery, (Outside::Cloud, "cloud "), readings);
    unique(record, Loop::CloudDiscovery, "cloud ", readings);
}

/// Signatures per period; the number grows, and whoever is on a list stays on it.
pub(super) fn lists(record: &Record<'_>, readings: &mut Vec<Reading>) {
    let which = Loop::CrlGeneration;
    match record.variant {
        Variant::Naive => per_period(record, which, (Outside::Signer, "list"), readings),
        Variant::Hardened => readings.extend(under_leaders(record)),
    }
    let (mut reused, mut older, mut seen) = (Vec::new(), Vec::new(), false);
    for (event, now, _, change) in record.changes() {
        let Change::Crl { before, after } = change else { continue };
        seen = true;
        if after.number <= before.number {
            reused.push((event, format!("{now}: number {} over number {}", after.number, before.number)));
        }
        // Of two leaders the later one is right, though both may have counted as many.
        let is_older = after.epoch < before.epoch || after.revoked < before.revoked || after.number < before.number;
        if is_older {
            let list =
                |list: &Crl| format!("number {} with {} revoked, epoch {}", list.number, list.revoked, list.epoch);
            older.push((event, format!("{now}: {} over {}", list(after), list(before))));
        }
    }
    if seen {
        for (measure, broken) in [("numbers not above the last", reused), ("older lists over newer ones", older)] {
            let evidence = broken.first().map_or_else(String::new, |(_, what)| what.clone());
            let events: Vec<_> = broken.iter().map(|(event, _)| *event).collect();
            readings.push(other(which, measure, (broken.len() as u64, 0), evidence, &events));
        }
    }
}

/// A leader signs once an interval, and a new one at once. Intervals are reckoned by the leader's monotonic clock, so
/// that only what comes twice within half an interval was done twice.
fn under_leaders(record: &Record<'_>) -> Option<Reading> {
    let which = Loop::CrlGeneration;
    let half_us = u64::try_from(which.interval().as_micros()).unwrap_or(u64::MAX) / 2;
    let signed: Vec<_> = record.calls(Outside::Signer, "list").filter(|call| call.is_effect()).collect();
    let windows = signed.iter().enumerate().map(|(first, call)| {
        let until_us = call.at_us + half_us;
        let near = call.at_us.saturating_sub(half_us)..until_us;
        let gained = record.gained.iter().filter(|at_us| near.contains(at_us)).count() as u64;
        let within: Vec<_> =
            signed[first..].iter().take_while(|call| call.at_us < until_us).map(|call| call.event).collect();
        (within, 1 + gained, call.now)
    });
    let weight = |count: u64, bound: u64| (count.saturating_sub(bound), count);
    // Of equals the first.
    let worst = windows.collect::<Vec<_>>().into_iter().rev();
    let (within, bound, now) = worst.max_by_key(|(within, bound, _)| weight(within.len() as u64, *bound))?;
    let count = within.len() as u64;
    let evidence = format!("{count} lists were signed in the half period from {now}, with {} new leaders", bound - 1);
    Some(own(which, count, bound, evidence, &within))
}

fn per_period(record: &Record<'_>, which: Loop, (to, prefix): (Outside, &str), readings: &mut Vec<Reading>) {
    let mut calls: Tally<(String, String)> = Tally::new();
    let mut bounds: BTreeMap<(String, String), u64> = BTreeMap::new();
    // A probe that found nobody is a probe, and a failed call is billed; a list that was not signed is none.
    for call in record.calls(to, prefix).filter(|call| which != Loop::CrlGeneration || call.is_effect()) {
        let (unit, bound) = unit(record, call, which);
        let at_most_once = which == Loop::CloudDiscovery && record.variant == Variant::Hardened;
        let key = (call.call.key.clone(), unit);
        bounds.insert(key.clone(), if at_most_once { 1 + lost_reservations(record, call) } else { bound });
        calls.add(key, call.event);
    }
    if let Some(((key, unit), count, bound, events)) = calls.worst(|key| bounds[key]) {
        readings.push(own(which, count, bound, format!("`{key}` in {unit}: {count} times"), events));
    }
}

/// How often the reservation that a call was made under was lost.
fn lost_reservations(record: &Record<'_>, call: &Received<'_>) -> u64 {
    let slot = record.slot_of(call.call).and_then(|(_, _, slot)| slot);
    let is_its = |change: &&Change| match change {
        Change::Reserved { source, slot: of } => call.call.key == format!("cloud {source}") && Some(*of) == slot,
        _ => false,
    };
    record.lost_changes().filter(is_its).count() as u64
}

fn unique(record: &Record<'_>, which: Loop, agent: &str, readings: &mut Vec<Reading>) {
    let mut rows = Tally::new();
    for (event, _, _, change) in record.changes() {
        if let Change::Discovered { row } = change
            && row.agent.starts_with(agent)
        {
            rows.add(row.clone(), event);
        }
    }
    if let Some((row, count, bound, events)) = rows.worst(|_| 1) {
        let evidence = format!("{row:?} was inserted {count} times");
        readings.push(other(which, "rows per finding", (count, bound), evidence, events));
    }
}
