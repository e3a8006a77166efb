//! What holds of every loop: one tick in flight per (process, loop).

use std::collections::BTreeMap;

use super::record::{Record, other};
use crate::{history::What, operator::loops::Loop, table::Reading};

/// The guard of a process: a tick does not begin while the one before it still runs there (P-40).
pub(super) fn one_tick_at_once(record: &Record<'_>, which: Loop, readings: &mut Vec<Reading>) {
    let mut running = BTreeMap::new();
    let (mut worst, mut shown) = (0, Vec::new());
    for event in record.ticks.iter().copied() {
        match &record.history.events[event].what {
            What::TickStarted { incarnation, tick, service, .. } if service.as_str() == which.id() => {
                running.insert((*tick, *incarnation), event);
                let here = running.iter().filter(|((_, who), _)| who == incarnation);
                let here: Vec<_> = here.map(|(_, event)| *event).collect();
                if here.len() > worst {
                    (worst, shown) = (here.len(), here);
                }
            }
            What::TickEnded { incarnation, tick, .. } => {
                running.remove(&(*tick, *incarnation));
            }
            _ => {}
        }
    }
    if worst > 0 {
        let evidence = format!("{worst} ticks at once in one process");
        readings.push(other(which, "ticks at once in a process", (worst as u64, 1), evidence, &shown));
    }
}
