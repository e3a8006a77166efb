//! One run of the operator, as small as a test wants it, and what it showed.

use std::time::Duration;

use tourbillon_sim::{
    fault::{Bad, Fault, FaultPlan, Then, Trigger, TriggerPoint},
    history::History,
    operator::{self, Variant, config::Config, judge, loops::Loop},
    scenario::Phases,
    table::Reading,
    world::{self, Lane, RunSetup, engine},
};

/// A run: three replicas, two hours, no faults, unless told otherwise.
#[derive(Clone)]
pub(crate) struct Run {
    loops: Vec<Loop>,
    replicas: u8,
    hours: u32,
    plan: FaultPlan,
    /// Receivers never fail.
    reliable: bool,
}

/// What both operators made of one run.
pub(crate) struct Shown {
    naive: Vec<Reading>,
    hardened: Vec<Reading>,
}

impl Run {
    pub(crate) fn of(loops: &[Loop]) -> Self {
        Self { loops: loops.to_vec(), replicas: 3, hours: 2, plan: FaultPlan::default(), reliable: false }
    }

    pub(crate) fn replicas(self, replicas: u8) -> Self {
        Self { replicas, ..self }
    }

    pub(crate) fn hours(self, hours: u32) -> Self {
        Self { hours, ..self }
    }

    /// With receivers that do what they are asked, so that what is sent can be counted exactly.
    pub(crate) fn reliable(self) -> Self {
        Self { reliable: true, ..self }
    }

    /// A fault at a fixed second.
    pub(crate) fn fault(mut self, at_s: u32, lasts_s: u32, replica: u8, bad: Bad) -> Self {
        self.plan.faults.push(Fault { at_s, lasts_s, replica, bad });
        self
    }

    /// A fault that follows the n-th event of a loop.
    pub(crate) fn strike(mut self, of: Loop, (after, nth): (TriggerPoint, u32), then: Then, lasts_s: u32) -> Self {
        self.plan.triggers.push(Trigger { after, of: Some(of.id().to_owned()), nth, then, lasts_s });
        self
    }

    pub(crate) fn history(&self, variant: Variant) -> History {
        let seed = 1;
        let config = Config::only(self.loops.iter().copied());
        let facts = operator::facts(variant, &config, seed, self.replicas);
        let mut receivers = operator::receivers();
        if self.reliable {
            receivers.iter_mut().for_each(|receiver| receiver.fails_percent = 0);
        }
        let setup = RunSetup {
            receivers,
            application: Some(operator::application(seed, facts.epoch)),
            facts,
            // Chaos alone: a heal would take replicas away first.
            phases: Phases {
                chaos: Duration::from_secs(3600) * self.hours,
                partial_heal: Duration::ZERO,
                heal: Duration::ZERO,
            },
            plan: self.plan.clone(),
            orders: None,
            lane: Lane::Event,
            engine: engine::memory(),
            app: operator::app(variant, config),
        };
        world::run(setup).expect("the world itself works").history
    }

    /// Runs both operators; the hardened one must keep all its bounds.
    #[track_caller]
    pub(crate) fn show(&self) -> Shown {
        let hardened = judge::read(Variant::Hardened, &self.history(Variant::Hardened));
        for reading in &hardened {
            assert!(!reading.is_broken(), "the hardened operator broke a bound: {reading:?}");
        }
        let naive: Vec<Reading> = judge::read(Variant::Naive, &self.history(Variant::Naive));
        for reading in &naive {
            println!(
                "{} {}: {} of {}: {}",
                reading.row, reading.measure, reading.count, reading.bound, reading.evidence
            );
        }
        Shown { naive, hardened }
    }
}

impl Shown {
    /// The worst count of a loop's own measure, naive and hardened.
    #[track_caller]
    pub(crate) fn counts(&self, which: Loop) -> (u64, u64) {
        let measure = judge::measure(which);
        (worst(&self.naive, which, measure), worst(&self.hardened, which, measure))
    }

    /// The worst count of another measure of the naive loop.
    #[track_caller]
    pub(crate) fn naive(&self, which: Loop, measure: &str) -> u64 {
        worst(&self.naive, which, measure)
    }
}

#[track_caller]
fn worst(readings: &[Reading], which: Loop, measure: &str) -> u64 {
    let mine = readings.iter().filter(|reading| reading.row == which.id() && reading.measure == measure);
    let worst = mine.map(|reading| reading.count).max();
    worst.unwrap_or_else(|| panic!("nothing was read of {which}: {measure}"))
}
