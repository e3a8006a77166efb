//! The second table: one probe for each way to run something on several replicas, all in one world. For whoever has
//! to choose a mode: how often work is done at worst, whether it overlaps, whether a slot is lost without a record.

mod marks;
mod probe;
mod read;
mod ticks;

use std::{sync::Arc, time::Duration};

use tourbillon::{
    driver::Settings,
    job::Delivery,
    model::{LockName, ServiceName},
    service::HaMode,
};

use super::{Cell, FaultClass, Promise, Reading, Row, Trial, Workload};
use crate::{
    history::{Boot, History, RunFacts, ServiceFacts},
    scenario::{planned, queues},
    world::{Lane, ReceiverSpec, application},
};

const EVERY: Duration = Duration::from_secs(30);
const LEASE: Duration = Duration::from_secs(20);
const REPLICAS: u64 = 3;
/// Name of the one leadership group.
const GROUP: &str = "leader";

pub(super) const EFFECTS: &str = "effects per slot";
pub(super) const PASSES: &str = "effects per half interval";
pub(super) const LOST: &str = "slots without an end or a record";
pub(super) const AT_ONCE: &str = "handlers at once";

/// What becomes of slots that nobody could run in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Missed {
    Skip,
    RunLatest,
    RunAll,
}

/// A way to run something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    pub(super) id: &'static str,
    pub(super) delivery: Delivery,
    missed: Missed,
}

/// Every combination that the library offers for a job.
pub(super) const CLAIMED: &[Mode] = &[
    Mode { id: "claimed_least_skip", delivery: Delivery::AtLeastOnce, missed: Missed::Skip },
    Mode { id: "claimed_least_latest", delivery: Delivery::AtLeastOnce, missed: Missed::RunLatest },
    Mode { id: "claimed_least_all", delivery: Delivery::AtLeastOnce, missed: Missed::RunAll },
    Mode { id: "claimed_most_skip", delivery: Delivery::AtMostOnce, missed: Missed::Skip },
    Mode { id: "claimed_most_latest", delivery: Delivery::AtMostOnce, missed: Missed::RunLatest },
    Mode { id: "claimed_most_all", delivery: Delivery::AtMostOnce, missed: Missed::RunAll },
];

/// A tick service. It has no slots: what it missed is gone, and nothing is marked, so that neither delivery nor missed
/// slots are a choice.
#[derive(Clone, Debug)]
pub(super) struct Ticking {
    pub(super) id: &'static str,
    pub(super) mode: HaMode,
    name: &'static str,
    why: &'static str,
}

/// Every mode of a service.
pub(super) const SERVICES: &[Ticking] = &[
    Ticking {
        id: "every_replica",
        mode: HaMode::EveryReplica,
        name: "every replica",
        why: "for what each process needs of its own (caches, its own metrics) or what is idempotent; pin to one \
              replica when the effect leaves the process and must not be repeated N times",
    },
    Ticking {
        id: "tick_lock",
        mode: HaMode::TickLock,
        name: "tick lock",
        why: "for work that must not overlap with itself and may run more often than its interval: sweeps, clean-ups; \
              pin to one replica, or lead, when the interval must hold for all replicas together",
    },
    Ticking {
        id: "leader",
        mode: HaMode::Leader,
        name: "leader",
        why: "for work that keeps something from tick to tick, or whose interval must hold for all; pin to one replica \
              when its effect cannot check an epoch and must not overlap even while the database clock steps",
    },
];

impl Ticking {
    fn row(&self) -> Row {
        Row {
            id: self.id,
            name: format!("{}, missed ticks are gone", self.name),
            mode: self.name,
            why: self.why,
            measure: PASSES,
            jobs: Vec::new(),
            has_effect: true,
            asks: true,
            // Each process ticks at its own time, unless one ticks for all.
            every: if self.mode == HaMode::Leader { EVERY } else { EVERY / 3 },
            lease: LEASE,
            documented: None,
        }
    }

    fn facts(&self) -> ServiceFacts {
        let lock = match self.mode {
            HaMode::EveryReplica => None,
            HaMode::TickLock => Some(self.id),
            HaMode::Leader => Some(GROUP),
        };
        let trusted_percent = u32::from(100 - Settings::default().lease_margin_percent);
        ServiceFacts {
            service: ServiceName::new(self.id).expect("a short id"),
            mode: self.mode,
            every: EVERY,
            lock: lock.map(|lock| LockName::new(lock).expect("a short name")),
            trusted: LEASE * trusted_percent / 100,
        }
    }

    fn promise(&self, class: FaultClass) -> Promise {
        match (self.mode, class) {
            (HaMode::EveryReplica, _) => Promise::new("processes", "one for each process that runs, and no more"),
            (HaMode::TickLock, FaultClass::DatabaseClock | FaultClass::Failover | FaultClass::Swarm) => {
                Promise::new("processes", "one for each process; they may overlap while the database clock steps")
            }
            (HaMode::TickLock, _) => {
                Promise::new("processes, never two at once", "each has its own tick, under one lock")
            }
            (HaMode::Leader, FaultClass::None | FaultClass::ReplicaClock) => {
                Promise::new("1", "only the leader ticks")
            }
            (HaMode::Leader, _) => Promise::new("1 + take-overs", "a new leader ticks as a new process does"),
        }
    }
}

/// The workload of the second table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Modes;

impl Mode {
    fn row(self) -> Row {
        let delivery = match self.delivery {
            Delivery::AtLeastOnce => "at least once",
            Delivery::AtMostOnce => "at most once",
        };
        let missed = match self.missed {
            Missed::Skip => "skip",
            Missed::RunLatest => "run latest",
            Missed::RunAll => "run all in window",
        };
        Row {
            id: self.id,
            name: format!("claimed, {delivery}, missed slots: {missed}"),
            mode: "claimed",
            why: self.why(),
            measure: EFFECTS,
            jobs: vec![self.id],
            has_effect: true,
            asks: true,
            every: EVERY,
            lease: LEASE,
            documented: None,
        }
    }

    const fn why(self) -> &'static str {
        match (self.delivery, self.missed) {
            (Delivery::AtLeastOnce, Missed::Skip) => {
                "work that is worthless when late: probes, refreshes; pin to one replica only to spare the database"
            }
            (Delivery::AtLeastOnce, Missed::RunLatest) => {
                "the default: roll-ups and syncs that look at the present; no reason to pin if the receiver tells a \
                 repetition by its id"
            }
            (Delivery::AtLeastOnce, Missed::RunAll) => {
                "every period counts: invoices, exports per day; pin never, one replica would only lengthen a backlog"
            }
            (Delivery::AtMostOnce, Missed::Skip) => {
                "an alarm that must not ring twice and is worthless late; pinning would not help against a crash"
            }
            (Delivery::AtMostOnce, Missed::RunLatest) => {
                "a digest that may be missing and must not come twice; pinning would not help against a crash"
            }
            (Delivery::AtMostOnce, Missed::RunAll) => {
                "calls that are billed each: what failed is dead with a reason, for an operator to requeue; pinning would \
                 not help against a crash"
            }
        }
    }

    fn toml(self) -> String {
        let rules = match self.delivery {
            Delivery::AtLeastOnce => "max_attempts = 4\nreentry = \"allow\"",
            // Charged before the handler starts, and never started again.
            Delivery::AtMostOnce => "max_attempts = 1\nreentry = \"forbid\"",
        };
        let missed = match self.missed {
            Missed::Skip => "catch_up = \"latest_only\"\nmax_lateness = \"10s\"",
            Missed::RunLatest => "catch_up = \"latest_only\"",
            Missed::RunAll => "catch_up = { every_slot = { window = \"1h\", max_slots = 4 } }",
        };
        format!(
            "[[job]]\nname = \"{}\"\nevery = \"30s\"\nrun_timeout = \"12s\"\nlease = \"20s\"\nheartbeat = \"4s\"\n\
             backoff = {{ constant = \"2s\", jitter_percent = 0 }}\n{rules}\n{missed}\n\n",
            self.id
        )
    }
}

impl Workload for Modes {
    fn name(&self) -> &'static str {
        "modes"
    }

    fn about(&self) -> &'static str {
        "every way to run something on three replicas, to choose one"
    }

    fn variants(&self) -> &'static [&'static str] {
        &["library"]
    }

    fn must_hold(&self, _: &str) -> bool {
        true
    }

    fn seeds(&self) -> u64 {
        16
    }

    fn wants_sql(&self) -> bool {
        true
    }

    fn rows(&self, _: &str) -> Vec<Row> {
        SERVICES.iter().map(Ticking::row).chain(CLAIMED.iter().map(|mode| mode.row())).collect()
    }

    fn promise(&self, _: &str, row: &Row, class: FaultClass) -> Promise {
        if let Some(service) = SERVICES.iter().find(|service| service.id == row.id) {
            return service.promise(class);
        }
        let is_at_most_once = CLAIMED.iter().any(|mode| mode.id == row.id && mode.delivery == Delivery::AtMostOnce);
        match (is_at_most_once, class) {
            (true, FaultClass::Failover | FaultClass::Swarm) => Promise::new(
                "1 + lost commits",
                "the attempt is charged before it starts; once more for each charge that a fail-over lost",
            ),
            (true, _) => Promise::new("1", "the attempt is charged before it starts, and there is no second one"),
            (false, FaultClass::None) => Promise::new("1", "one claim, one effect, one mark"),
            (false, FaultClass::ReplicaClock) => Promise::new("u + s", "no stored decision uses a replica's clock"),
            (false, _) => Promise::new("u + s", "one effect per start; a start without a durable mark is repeated"),
        }
    }

    fn trial(&self, cell: &Cell<'_>) -> Trial {
        let scenario = Arc::new(probe::scenario());
        let facts = RunFacts {
            scenario: "modes".to_owned(),
            seed: cell.seed,
            epoch: scenario.epoch,
            replicas: scenario.replicas,
            jobs: scenario.jobs.iter().map(planned::facts).collect(),
            call_timeout: scenario.call_timeout,
            poll_interval: scenario.poll_interval,
            rescue_interval: scenario.rescue_interval,
            probe_interval: crate::history::usual_probe(),
            granularity: Duration::ZERO,
            queues: scenario.queues.iter().map(queues::facts).collect(),
            receivers: Vec::new(),
            settle_within: scenario.settle_within,
            services: SERVICES.iter().map(Ticking::facts).collect(),
            boot: Boot::Ready,
        };
        Trial {
            facts,
            receivers: vec![ReceiverSpec::default()],
            application: Some(application::tables(marks::Marks::default)),
            phases: scenario.phases,
            lane: Lane::Event,
            app: Arc::new(move |host| probe::scheduler(&scenario, host)),
            rows: Vec::new(),
            turn: cell.seed,
        }
    }

    fn read(&self, cell: &Cell<'_>, history: &History) -> Vec<Reading> {
        read::read(cell, history)
    }
}
