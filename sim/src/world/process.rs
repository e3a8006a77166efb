//! One simulated process, and what all hosts of a world share: what every other part of the world leans on.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tourbillon::{
    model::{Incarnation, Timestamp},
    runtime::Signal,
};
use uuid::Uuid;

use super::{
    clock::{HostClock, TrueTime},
    disturbance::Disturbance,
    gate::{Gate, Mode},
    net::SharedNet,
    pool::Pool,
    strikes::Strikes,
};
use crate::{
    history::{Boot, HostId, Recorder, What},
    scenario::Orders,
};

/// What all hosts of a world share.
pub(super) struct WorldShared {
    pub(super) seed: u64,
    /// Database clock at true time zero.
    pub(super) epoch: Timestamp,
    pub(super) boot: Boot,
    pub(super) truth: TrueTime,
    pub(super) recorder: Recorder,
    pub(super) net: SharedNet,
    pub(super) strikes: Strikes,
    /// Deadline of one call of the database, by the replica's monotonic clock.
    pub(super) call_timeout: Duration,
    /// Names of the outside receivers, by number; empty where they have none.
    pub(super) receivers: Vec<String>,
    /// What disturbs the order of things in replicas.
    pub(super) orders: Option<Orders>,
}

impl WorldShared {
    /// Returns the event's number.
    pub(super) fn record(&self, host: HostId, what: What) -> usize {
        self.recorder.record(self.truth.now_us(), host, what)
    }
}

/// One process: from a boot to a crash or shutdown.
pub(super) struct Process {
    pub(super) world: Arc<WorldShared>,
    pub(super) replica: u8,
    pub(super) boot: u32,
    pub(super) clock: HostClock,
    pub(super) gate: Gate,
    pub(super) incarnation: OnceLock<Incarnation>,
    /// Version of the software, from 0; a deploy raises it.
    pub(super) version: u32,
    pub(super) pool: Arc<Pool>,
    /// A shutdown with this grace was asked for.
    pub(super) ordered: Signal<Option<Duration>>,
    /// What disturbs it.
    pub(super) disturbance: Option<Arc<Disturbance>>,
}

impl Process {
    pub(super) fn incarnation(&self) -> Incarnation {
        // A process that migrates has no scheduler yet, and a name of its own all the same.
        let nameless = || Incarnation(Uuid::from_u64_pair(self.replica.into(), self.boot.into()));
        self.incarnation.get().copied().unwrap_or_else(nameless)
    }

    /// By how much the wall clock is ahead of true time, in microseconds.
    #[cfg(feature = "zoo")]
    pub(super) fn wall_ahead_us(&self) -> i64 {
        let truth_us = i64::try_from(self.world.truth.now_us()).unwrap_or(i64::MAX);
        self.clock.wall().as_micros().saturating_sub(self.world.epoch.as_micros()).saturating_sub(truth_us)
    }

    /// Holds back what is about to be sent, in a world that disturbs orders.
    pub(super) async fn holds_back(&self) {
        if let Some(disturbance) = &self.disturbance {
            disturbance.holds_back().await;
        }
    }

    /// Records an event, unless the process is dead: a power loss leaves no farewell, whatever destructors run.
    pub(super) fn record(&self, what: What) {
        if self.gate.mode() != Mode::Dead {
            self.world.record(HostId::Replica(self.replica), what);
        }
    }
}
