//! The seam between the world and what carries it: the few things that differ from lane to lane.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tourbillon::store::BoxFuture;

use super::{clock::TrueTime, event, gate::Gate, net::SharedNet, turmoil};
use crate::{chance, history::HostId};

/// What carries hosts and messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// All hosts on one runtime whose time jumps to the next timer, messages handed over as they are: for breadth.
    #[default]
    Event,
    /// Every host a turmoil host, messages as bytes over turmoil's TCP, time in fixed ticks: for closeness to the
    /// wire.
    Turmoil {
        /// The tick, 1 ms to 1 s; `None`: drawn from the seed.
        tick: Option<Duration>,
    },
}

/// Ticks that seeds draw from, with weights: small ones reach races within a second, large ones are fast.
const TICKS_MS: &[(u64, u64)] = &[(1, 1), (2, 2), (5, 4), (10, 10), (20, 18), (50, 30), (100, 35)];

impl Lane {
    /// The name used on command lines and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Turmoil { .. } => "turmoil",
        }
    }

    /// The lane with nothing left open for this seed.
    #[must_use]
    pub fn at(self, seed: u64) -> Self {
        match self {
            Self::Event => Self::Event,
            Self::Turmoil { tick } => Self::Turmoil { tick: Some(tick.unwrap_or_else(|| draw_tick(seed))) },
        }
    }

    /// The tick, if the lane has one and it is fixed.
    pub const fn tick(self) -> Option<Duration> {
        match self {
            Self::Event => None,
            Self::Turmoil { tick } => tick,
        }
    }

    /// The arguments of the command `tourbillon sim` that choose it.
    pub fn arguments(self) -> String {
        let tick = self.tick().map_or_else(String::new, |tick| format!(" --tick {}ms", tick.as_millis()));
        format!("--lane {}{tick}", self.name())
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tick() {
            Some(tick) => write!(f, "{} lane, tick {tick:?}", self.name()),
            None => write!(f, "{} lane", self.name()),
        }
    }
}

fn draw_tick(seed: u64) -> Duration {
    let total: u64 = TICKS_MS.iter().map(|(_, weight)| weight).sum();
    let mut left = chance::draw(seed, "tick", 0, 0) % total;
    for (tick_ms, weight) in TICKS_MS {
        if left < *weight {
            return Duration::from_millis(*tick_ms);
        }
        left -= weight;
    }
    Duration::from_millis(100)
}

/// What can be wrong with the link between two hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LinkState {
    /// Messages pass.
    Up,
    /// Nothing passes; what is under way is lost.
    Down,
    /// Nothing passes from the first host to the second.
    DownForth,
    /// Nothing passes from the second host to the first.
    DownBack,
    /// Messages wait and are delivered when the link is up again.
    Held,
}

/// Starts a host's software; called again at each restart. Every task of it is behind the host's gate.
pub(super) type Software = Box<dyn Fn() -> BoxFuture<'static, ()>>;

/// Runs hosts, carries messages, moves time.
pub(super) trait Carrier {
    /// Adds a host and starts it.
    fn add(&mut self, host: HostId, software: Software);
    /// Moves time on: by one tick on a lane that has ticks, else to `until`, or less far if attention is called for.
    fn step(&mut self, until: Duration) -> Result<(), String>;
    /// True time since the start.
    fn elapsed(&self) -> Duration;
    /// Drops a host's software and all tasks behind its gate, in the order in which they were started.
    fn crash(&mut self, host: HostId, tasks: &Gate);
    /// Starts a crashed or finished host again; what a finished process left behind its gate is dropped.
    fn restart(&mut self, host: HostId, left: Option<&Gate>);
    /// Whether a host's software has not ended.
    fn is_running(&mut self, host: HostId) -> bool;
    /// Changes a link.
    fn link(&mut self, a: HostId, b: HostId, from: LinkState, to: LinkState);
}

/// A lane, ready for hosts.
pub(super) struct Ready {
    pub(super) carrier: Box<dyn Carrier>,
    pub(super) net: SharedNet,
    pub(super) truth: TrueTime,
    /// How late a timer or message may be through the lane alone.
    pub(super) granularity: Duration,
}

/// Calls for the controller, now and not at the end of a long step.
pub(super) type Attention = Arc<Notify>;

impl Lane {
    pub(super) fn build(self, seed: u64, attention: &Attention) -> Ready {
        let latency_max = [2, 10, 50][usize::try_from(chance::draw(seed, "latency", 0, 0) % 3).unwrap_or(0)];
        let latency = (Duration::from_millis(1), Duration::from_millis(latency_max));
        match self.at(seed) {
            Self::Event => event::ready(seed, latency, Arc::clone(attention)),
            Self::Turmoil { tick } => turmoil::ready(seed, tick.unwrap_or_default(), latency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::panics;

    #[test]
    fn a_program_that_panics_has_ended_and_can_be_started_again_on_both_lanes() {
        for lane in [Lane::Event, Lane::Turmoil { tick: Some(Duration::from_millis(1)) }] {
            let attention = Attention::default();
            let watch = panics::Watch::start(Arc::clone(&attention));
            let Ready { mut carrier, .. } = lane.build(0, &attention);
            let replica = HostId::Replica(0);
            carrier.add(replica, Box::new(|| Box::pin(async { panic!("the program's own bug") })));
            for boot in 1..=2u64 {
                let until = Duration::from_millis(10 * boot);
                while carrier.elapsed() < until && carrier.is_running(replica) {
                    carrier.step(until).unwrap_or_else(|error| panic!("{lane}, boot {boot}: {error}"));
                }
                let heard = watch.take();
                assert_eq!(heard.len(), 1, "{lane}, boot {boot}: {heard:?}");
                assert!(heard[0].contains("the program's own bug"), "{lane}, boot {boot}: {heard:?}");
                assert!(!carrier.is_running(replica), "{lane}, boot {boot}");
                carrier.restart(replica, None);
            }
        }
    }
}
