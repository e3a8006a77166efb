//! Reads what happened to the services among the probes: effects per interval, and passes at once.

use std::collections::BTreeMap;

use tourbillon::{model::Incarnation, service::HaMode};

use super::{
    EVERY, PASSES, REPLICAS, Ticking,
    read::{Running, at_once, is_leaping},
};
use crate::{
    history::{CallAnswer, History, HostId, Stage, What},
    table::{Cell, Reading},
};

/// Half an interval. Ticks are an interval apart, but one whose lock was long in coming is late, and the next is not:
/// only what comes twice within half an interval was done twice.
const WINDOW_US: u64 = EVERY.as_micros() as u64 / 2;

pub(super) fn read(service: &Ticking, cell: &Cell<'_>, history: &History) -> Vec<Reading> {
    let ticks = Ticks::of(service.id, history);
    let may_overlap = service.mode == HaMode::EveryReplica || is_leaping(cell.class);
    let bound = if may_overlap { REPLICAS } else { 1 };
    let mut readings = Vec::from_iter(ticks.per_interval(service));
    readings.extend(at_once(service.id, bound, &passes(service.id, history)));
    readings
}

/// An effect of a service.
struct Done {
    at_us: u64,
    event: usize,
}

/// When there was what makes a service tick.
struct Ticks {
    done: Vec<Done>,
    /// From boot to death, by process.
    alive: BTreeMap<Incarnation, (u8, u64, u64)>,
    /// When replicas went on after a pause: a tick that is late then comes close to the next.
    resumed: Vec<u64>,
    /// When replicas began to lead.
    gained: Vec<u64>,
}

impl Ticks {
    fn of(row: &str, history: &History) -> Self {
        let mut ticks = Self { done: Vec::new(), alive: BTreeMap::new(), resumed: Vec::new(), gained: Vec::new() };
        for (index, event) in history.events.iter().enumerate() {
            match (&event.what, event.host) {
                (What::CallReceived { call, answer: CallAnswer::Done, .. }, _) if call.key == row => {
                    ticks.done.push(Done { at_us: event.at_us, event: index });
                }
                (What::Booted { incarnation }, HostId::Replica(replica)) => {
                    ticks.alive.insert(*incarnation, (replica, event.at_us, u64::MAX));
                }
                (What::Crashed { incarnation, .. } | What::ShutdownEnded { incarnation, .. }, _) => {
                    if let Some(life) = ticks.alive.get_mut(incarnation) {
                        // What it sent before arrives shortly after.
                        life.2 = event.at_us + 1_000_000;
                    }
                }
                (What::Resumed, _) => ticks.resumed.push(event.at_us),
                (What::LeaderGained { .. }, _) => ticks.gained.push(event.at_us),
                _ => {}
            }
        }
        ticks
    }

    /// The window with the most effects for what was allowed in it.
    fn per_interval(&self, service: &Ticking) -> Option<Reading> {
        let windows = self.done.iter().enumerate().map(|(first, done)| {
            let end_us = done.at_us + WINDOW_US;
            let within: Vec<_> = self.done[first..].iter().take_while(|done| done.at_us < end_us).collect();
            let bound = self.allowed(service.mode, done.at_us, end_us);
            (within, bound, done.at_us)
        });
        let weight = |count: u64, bound: u64| (count.saturating_sub(bound), count);
        // Of equals the first.
        let worst = windows.rev().max_by_key(|(within, bound, _)| weight(within.len() as u64, *bound));
        let (within, bound, at_us) = worst?;
        let count = within.len() as u64;
        let evidence =
            format!("{count} effects in the {} s after {} s of the run", WINDOW_US / 1_000_000, at_us / 1_000_000);
        let events = within.iter().map(|done| done.event).collect();
        Some(Reading { row: service.id, measure: PASSES, count, bound, evidence, events })
    }

    /// One for each process that lived in the window, or for the leader and each that took over shortly before or in
    /// it; and one for each that went on after a pause.
    fn allowed(&self, mode: HaMode, from_us: u64, to_us: u64) -> u64 {
        let near = |instants: &[u64]| {
            instants.iter().filter(|at_us| (from_us.saturating_sub(WINDOW_US)..to_us).contains(at_us)).count()
        };
        let ticking = match mode {
            HaMode::Leader => 1 + near(&self.gained),
            HaMode::EveryReplica | HaMode::TickLock => {
                self.alive.values().filter(|(_, booted, died)| *booted < to_us && *died > from_us).count()
            }
        };
        (ticking + near(&self.resumed)) as u64
    }
}

fn passes(row: &str, history: &History) -> Vec<super::read::Ran> {
    let mut running: Running<(Incarnation, String)> = Running::new(history);
    for (index, event) in history.events.iter().enumerate() {
        let HostId::Replica(replica) = event.host else { continue };
        match &event.what {
            What::Staged { incarnation, row: of, unit, stage } if of == row => match stage {
                Stage::Begun => running.began((*incarnation, unit.clone()), replica, event.at_us, index),
                Stage::Ended => running.ended(&(*incarnation, unit.clone()), event.at_us),
                _ => {}
            },
            what => running.see(replica, event.at_us, what),
        }
    }
    running.finish()
}
