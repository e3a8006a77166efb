//! Loops 9, 12 and 13: scans and signatures per period, unique rows, and revocation lists that go forward only.

use std::collections::BTreeMap;

use super::{
    Tally,
    messages::unit,
    record::{Record, other, own},
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
    per_period(record, which, (Outside::Signer, "list"), readings);
    let (mut reused, mut older, mut seen) = (Vec::new(), Vec::new(), false);
    for (event, now, _, change) in record.changes() {
        let Change::Crl { before, after } = change else { continue };
        seen = true;
        if after.number <= before.number {
            reused.push((event, format!("{now}: number {} over number {}", after.number, before.number)));
        }
        if after.revoked < before.revoked || after.number < before.number {
            let list = |list: &Crl| format!("number {} with {} revoked", list.number, list.revoked);
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

fn per_period(record: &Record<'_>, which: Loop, (to, prefix): (Outside, &str), readings: &mut Vec<Reading>) {
    let mut calls: Tally<(String, String)> = Tally::new();
    let mut bounds: BTreeMap<(String, String), u64> = BTreeMap::new();
    // A probe that found nobody is a probe, and a failed call is billed; a list that was not signed is none.
    for call in record.calls(to, prefix).filter(|call| which != Loop::CrlGeneration || call.is_effect()) {
        let (unit, bound) = unit(record, call, which);
        let at_most_once = which == Loop::CloudDiscovery && record.variant == Variant::Hardened;
        let key = (call.call.key.clone(), unit);
        bounds.insert(key.clone(), if at_most_once { 1 } else { bound });
        calls.add(key, call.event);
    }
    if let Some(((key, unit), count, bound, events)) = calls.worst(|key| bounds[key]) {
        readings.push(own(which, count, bound, format!("`{key}` in {unit}: {count} times"), events));
    }
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
