//! Work that overlaps, read without the conditions under which it may: what the checkers of G7 and G8 excuse when clocks
//! leave their margins is what an envelope is there to show. Reads a history only.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{History, HostId, What};

/// Name of the reading "work under two epochs of one lock, at the same time".
pub const TICKS: &str = "ticks overlap";

/// Name of the reading "two attempts of one execution, at the same time".
pub const ATTEMPTS: &str = "attempts overlap";

/// What runs under one lock or for one execution: on which host, under which epoch or fence.
type Running = BTreeMap<String, BTreeMap<String, (HostId, u64)>>;

/// Which of the two readings the history shows. A process that stands still does nothing meanwhile.
pub fn overlaps(history: &History) -> Vec<String> {
    let (mut ticks, mut attempts) = (Running::new(), Running::new());
    let mut still: BTreeSet<HostId> = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut before_us = 0;
    // What overlaps from one event on does so until the next one that is later.
    let (mut ticks_overlap, mut attempts_overlap) = (false, false);
    for event in &history.events {
        if event.at_us > before_us {
            found.extend(ticks_overlap.then_some(TICKS));
            found.extend(attempts_overlap.then_some(ATTEMPTS));
            before_us = event.at_us;
        }
        match &event.what {
            What::TickStarted { tick, under: Some((lock, epoch)), .. } => {
                let of_lock = ticks.entry(lock.to_string()).or_default();
                of_lock.insert(format!("{tick:?}"), (event.host, epoch.0));
            }
            What::TickEnded { tick, .. } => end(&mut ticks, &format!("{tick:?}")),
            What::HandlerStarted { lease, .. } => {
                let of_row = attempts.entry(lease.id.to_string()).or_default();
                of_row.insert(format!("{lease:?}"), (event.host, lease.fence.0));
            }
            What::HandlerEnded { lease, .. } => end(&mut attempts, &format!("{lease:?}")),
            What::Crashed { .. } => {
                for running in [&mut ticks, &mut attempts] {
                    running.values_mut().for_each(|of| of.retain(|_, (host, _)| *host != event.host));
                }
            }
            What::Paused => {
                still.insert(event.host);
            }
            What::Resumed => {
                still.remove(&event.host);
            }
            _ => continue,
        }
        ticks_overlap = is_double(&ticks, &still);
        attempts_overlap = is_double(&attempts, &still);
    }
    found.into_iter().map(str::to_owned).collect()
}

fn end(running: &mut Running, name: &str) {
    running.retain(|_, of| {
        of.remove(name);
        !of.is_empty()
    });
}

fn is_double(running: &Running, still: &BTreeSet<HostId>) -> bool {
    running.values().any(|of| {
        let at_work = of.values().filter(|(host, _)| !still.contains(host));
        at_work.map(|(_, number)| *number).collect::<BTreeSet<_>>().len() > 1
    })
}
