//! Loops 5, 11, 14 and 15: agents, endpoints, and rows that go when they have expired.

use std::collections::BTreeMap;

use super::{certificates::listed, record::Record};
use crate::{
    operator::{
        loops::Loop,
        tables::{Change, SILENCE, Shelf},
    },
    table::Reading,
};

/// Nobody who reports is set offline.
pub(super) fn agents(record: &Record<'_>, readings: &mut Vec<Reading>) {
    let mut live = Vec::new();
    for (event, now, _, change) in record.changes() {
        let Change::Offline { id, reported_at } = change else { continue };
        let silent = now.since(*reported_at);
        if silent <= SILENCE {
            live.push((event, format!("{now}: agent {id} had reported {silent:?} ago and was set offline")));
        }
    }
    readings.extend(listed(record, Loop::AgentHealth, &live));
}

/// The counter of an endpoint is the number of its failed probes.
pub(super) fn checks(record: &Record<'_>, readings: &mut Vec<Reading>) {
    let mut failed: BTreeMap<u32, u32> = BTreeMap::new();
    let mut last: BTreeMap<u32, (usize, u32)> = BTreeMap::new();
    for (event, _, _, change) in record.changes() {
        let Change::Probe { id, ok, failures } = change else { continue };
        *failed.entry(*id).or_default() += u32::from(!ok);
        last.insert(*id, (event, *failures));
    }
    let mut off = Vec::new();
    for (id, (event, counted)) in &last {
        let failed = failed[id];
        let missed = failed.abs_diff(*counted);
        let what = format!("endpoint {id}: {failed} probes failed, {counted} are counted");
        off.extend((0..missed).map(|_| (*event, what.clone())));
    }
    readings.extend(listed(record, Loop::HealthCheck, &off));
}

/// Only what has expired goes.
pub(super) fn deletions(record: &Record<'_>, which: Loop, readings: &mut Vec<Reading>) {
    let is_mine = |shelf: &Shelf| (*shelf == Shelf::Acme) == (which == Loop::AcmeGc);
    let mut early = Vec::new();
    for (event, now, _, change) in record.changes() {
        let Change::Deleted { shelf, id, expires_at } = change else { continue };
        if is_mine(shelf) && *expires_at > now {
            early.push((event, format!("{now}: {shelf:?} {id} was to live until {expires_at}")));
        }
    }
    readings.extend(listed(record, which, &early));
}
