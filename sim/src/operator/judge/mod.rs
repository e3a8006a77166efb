//! What must hold of the operator, loop by loop: the predicates of the truth table, as readings. Reads the history and
//! nothing else: which transactions were applied and what they changed, what the outside received, what the tables
//! hold at the end. Does not know which variant ran; bounds that depend on it follow from what the history shows.

mod certificates;
mod effects;
mod global;
mod messages;
mod record;
mod scans;
mod upkeep;

use super::{loops::Loop, workload::Variant};
use crate::{
    checker::{Findings, Violation},
    history::History,
    table::Reading,
};
pub use effects::{Cause, LoopEffects, effects};
use record::Record;

/// All readings of a run, in the order of the loops. A loop without a reading had nothing to read.
pub fn read(variant: Variant, history: &History) -> Vec<Reading> {
    let record = Record::of(variant, history);
    let mut readings = Vec::new();
    for which in Loop::ALL {
        match which {
            Loop::RenewalCheck => certificates::renewals(&record, &mut readings),
            Loop::JobProcessor => certificates::jobs(&record, &mut readings),
            Loop::JobRetry => certificates::retries(&record, &mut readings),
            Loop::JobTimeout => certificates::timeouts(&record, &mut readings),
            Loop::AgentHealth => upkeep::agents(&record, &mut readings),
            Loop::NotificationProcess => messages::first_sends(&record, &mut readings),
            Loop::NotificationRetry => messages::retries(&record, &mut readings),
            Loop::ShortLivedExpiry => certificates::expiries(&record, &mut readings),
            Loop::NetworkScan => scans::networks(&record, &mut readings),
            Loop::Digest => messages::digests(&record, &mut readings),
            Loop::HealthCheck => upkeep::checks(&record, &mut readings),
            Loop::CloudDiscovery => scans::clouds(&record, &mut readings),
            Loop::CrlGeneration => scans::lists(&record, &mut readings),
            Loop::AcmeGc => upkeep::deletions(&record, which, &mut readings),
            Loop::SessionGc => upkeep::deletions(&record, which, &mut readings),
        }
        global::one_tick_at_once(&record, which, &mut readings);
    }
    readings
}

/// What broke its bound, as violations that are named after the loop; and how many readings there were of each.
pub fn check(variant: Variant, history: &History) -> Vec<(&'static str, Findings)> {
    let mut findings: Vec<(&'static str, Findings)> = Vec::new();
    for reading in read(variant, history) {
        if findings.last().is_none_or(|(row, _)| *row != reading.row) {
            findings.push((reading.row, Findings::default()));
        }
        let Some((_, found)) = findings.last_mut() else { continue };
        found.checks += 1;
        if reading.is_broken() {
            let Reading { row, measure, count, bound, evidence, events } = reading;
            let message = format!("{measure}: {count}, and at most {bound} are allowed: {evidence}");
            found.violations.push(Violation { guarantee: row.to_owned(), message, events });
        }
    }
    findings
}

/// What a loop's own reading counts.
pub const fn measure(which: Loop) -> &'static str {
    match which {
        Loop::RenewalCheck => "renewals under way per certificate, alerts per (certificate, threshold, channel)",
        Loop::JobProcessor => "issues per attempt of a job",
        Loop::JobRetry => "retries without exactly one audit event",
        Loop::JobTimeout => "jobs failed that did not stand still",
        Loop::AgentHealth => "live agents set offline",
        Loop::NotificationProcess => "effects per notification",
        Loop::NotificationRetry => "effects per notification that failed once",
        Loop::ShortLivedExpiry => "certificates overwritten, or expired without exactly one audit event",
        Loop::NetworkScan => "probes per (network, period)",
        Loop::Digest => "e-mails per (recipient, period)",
        Loop::HealthCheck => "failed probes not counted exactly once",
        Loop::CloudDiscovery => "billed calls per (cloud, period)",
        Loop::CrlGeneration => "signed lists per period",
        Loop::AcmeGc => "ACME rows deleted early",
        Loop::SessionGc => "live sessions or keys deleted",
    }
}

/// Counts per key, and the events that show each.
#[derive(Default)]
struct Tally<K> {
    by_key: std::collections::BTreeMap<K, Vec<usize>>,
}

impl<K: Ord> Tally<K> {
    fn new() -> Self {
        Self { by_key: std::collections::BTreeMap::new() }
    }

    fn add(&mut self, key: K, event: usize) {
        self.by_key.entry(key).or_default().push(event);
    }

    /// The key that exceeds its bound by most, else the one with the highest count.
    fn worst(&self, bound: impl Fn(&K) -> u64) -> Option<(&K, u64, u64, &[usize])> {
        let count = |events: &Vec<usize>| events.len() as u64;
        let rank = |key: &K, events: &Vec<usize>| (count(events).saturating_sub(bound(key)), count(events));
        // The first of equals.
        let worst = self.by_key.iter().rev().max_by_key(|(key, events)| rank(key, events));
        worst.map(|(key, events)| (key, count(events), bound(key), events.as_slice()))
    }
}
