//! The points of a run: the requests that the database got while faults were allowed, in order. Reads a history only.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    fault::FaultKind,
    history::{History, Phase, What},
    world::APPLICATION,
};

/// One request of the reference run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Point {
    /// Its place among all requests of the run, from 1.
    pub nth: u32,
    /// The verb, or `application`.
    pub verb: String,
    /// Its place among requests of that verb, from 1.
    pub occurrence: u32,
}

/// The points of a run in which nothing went wrong, in the order in which the database got them: those of the chaos
/// phase until this true time since the start. None when nothing was asked.
pub fn points(reference: &History, until: Duration) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    let mut of_verb: BTreeMap<&str, u32> = BTreeMap::new();
    let mut verbs: Vec<&str> = Vec::new();
    let until_us = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
    for event in reference.events.iter().take_while(|event| event.at_us < until_us) {
        match &event.what {
            What::PhaseBegan { phase: Phase::PartialHeal | Phase::Heal } => break,
            What::Applied { request, .. } => verbs.push(request.verb.name()),
            What::ApplicationApplied { request, .. } => {
                // What the application asks of the store in the same transaction came just before: one message.
                if request.with.is_some() {
                    verbs.pop();
                }
                verbs.push(APPLICATION);
            }
            _ => {}
        }
    }
    for (nth, verb) in (1..).zip(verbs) {
        let occurrence = of_verb.entry(verb).and_modify(|count| *count += 1).or_insert(1);
        points.push(Point { nth, verb: verb.to_owned(), occurrence: *occurrence });
    }
    points
}

/// What a run shows to have been struck: the fault, and the verb of the request.
pub(super) fn struck(history: &History) -> Vec<(FaultKind, String)> {
    let mut verbs = BTreeMap::new();
    let mut struck = Vec::new();
    for event in &history.events {
        match &event.what {
            What::Invoked { request, verb, .. } => drop(verbs.entry(*request).or_insert(verb)),
            What::Struck { kind, request: Some(request), .. } => {
                let verb = verbs.get(request).map_or_else(String::new, ToString::to_string);
                struck.extend(FaultKind::from_name(kind).map(|kind| (kind, verb)));
            }
            _ => {}
        }
    }
    struck
}
