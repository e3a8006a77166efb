//! The trials of a reference run: which request is struck, with which fault. Runs nothing.

use std::fmt;

use serde::Serialize;

use super::point::Point;
use crate::fault::{FaultKind, FaultPlan, Then, Trigger, TriggerPoint};

/// How late a request is applied that is applied late, in seconds: after its caller gave up on it.
const LATE_S: u32 = 8;

/// How late an answer is that comes late, in seconds: within the deadline of a call, which the driver, producers and
/// operators have at 5 s unless they are told otherwise.
const SLOW_S: u32 = 4;

/// For how long a database that fails over is away, in seconds.
const AWAY_S: u32 = 1;

/// One fault at one request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Strike {
    /// The verb; `None` when any request counts.
    pub verb: Option<String>,
    /// Which request, from 1: of that verb, or of all.
    pub nth: u32,
    /// What becomes of it.
    pub then: Then,
}

impl Strike {
    /// The fault that it counts as.
    pub fn kind(&self) -> FaultKind {
        self.trigger().kind()
    }

    fn trigger(&self) -> Trigger {
        let lasts_s = match self.then {
            Then::ApplyLate => LATE_S,
            Then::FailOver => AWAY_S,
            Then::Slow => SLOW_S,
            _ => 0,
        };
        Trigger { after: TriggerPoint::Asked, of: self.verb.clone(), nth: self.nth, then: self.then, lasts_s }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.verb.as_deref().unwrap_or("request");
        write!(f, "{verb} {}: {}", self.nth, self.then.name())
    }
}

/// What goes wrong in one run: one strike, or two.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Trial {
    /// In the order in which they come.
    pub strikes: Vec<Strike>,
}

impl Trial {
    /// The plan of the trial, with nothing else in it.
    pub fn plan(&self) -> FaultPlan {
        FaultPlan { faults: Vec::new(), triggers: self.strikes.iter().map(Strike::trigger).collect() }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.strikes.iter().map(Strike::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

/// How much is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Extent {
    /// Every fault at every point, one a run.
    Singles,
    /// Every fault at every point, and every fault at each of so many requests after it, two a run. The first counts
    /// requests of its verb, the second all requests; and both are in the first half of the chaos phase of the
    /// reference run. So there is a second one whatever the first fault changed or delayed.
    Pairs {
        /// Requests after the first; `u32::MAX`: all there were in the reference run.
        within: u32,
    },
}

/// All trials, in an order that depends on nothing but the points.
pub fn trials(points: &[Point], extent: Extent) -> Vec<Trial> {
    let strike = |point: &Point, then| Strike { verb: Some(point.verb.clone()), nth: point.occurrence, then };
    let mut trials = Vec::new();
    for (index, point) in points.iter().enumerate() {
        for then in Then::OF_A_REQUEST {
            let first = strike(point, *then);
            let Extent::Pairs { within } = extent else {
                trials.push(Trial { strikes: vec![first] });
                continue;
            };
            let others = points.len() - index - 1;
            for next in points[index + 1..].iter().take(others.min(usize::try_from(within).unwrap_or(usize::MAX))) {
                trials.extend(Then::OF_A_REQUEST.iter().map(|then| {
                    let second = Strike { verb: None, nth: next.nth, then: *then };
                    Trial { strikes: vec![first.clone(), second] }
                }));
            }
        }
    }
    trials
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<Point> {
        [("claim", 1), ("settle", 1), ("claim", 2)]
            .into_iter()
            .zip(1..)
            .map(|((verb, occurrence), nth)| Point { nth, verb: verb.to_owned(), occurrence })
            .collect()
    }

    #[test]
    fn every_fault_strikes_every_request_once() {
        let all = trials(&three(), Extent::Singles);
        let texts: Vec<_> = all.iter().map(Trial::to_string).collect();
        assert_eq!(texts.len(), 3 * 7);
        assert!(texts.contains(&"claim 2: apply_late".to_owned()), "{texts:?}");
        assert!(all.iter().all(|trial| trial.plan().triggers.iter().all(Trigger::is_possible)));
    }

    #[test]
    fn pairs_are_every_fault_at_every_request_after_the_first() {
        let all = trials(&three(), Extent::Pairs { within: u32::MAX });
        assert_eq!(all.len(), 3 * 7 * 7, "(1, 2), (1, 3), (2, 3)");
        let next = trials(&three(), Extent::Pairs { within: 1 });
        assert_eq!(next.len(), 2 * 7 * 7);
        assert_eq!(next[0].to_string(), "claim 1: refuse, request 2: refuse");
    }

    #[test]
    fn without_requests_there_is_no_trial() {
        assert_eq!(trials(&[], Extent::Singles), []);
    }
}
