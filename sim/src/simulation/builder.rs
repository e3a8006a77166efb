//! A simulation as it is put together: what runs, for how long, under which faults, and what is expected. Runs nothing.

use std::{collections::BTreeSet, fmt, ops::Range, sync::Arc, time::Duration};

use tourbillon::{driver::Scheduler, model::Timestamp};

use super::{Expectation, Faults, Receiver, facts::Known};
use crate::{
    failure::Budget,
    scenario::Case,
    world::{
        App, Host, Lane,
        application::{ApplicationFactory, Tables, tables},
        engine::{self, EngineFactory},
    },
};

/// Seeds of a simulation that says nothing.
const USUAL_SEEDS: Range<u64> = 0..20;

/// Your own jobs, on several replicas, under faults. Put together by chaining; run by [`Simulation::check`].
///
/// | what | default |
/// | --- | --- |
/// | replicas | 3 |
/// | faults come and go for | 20 min |
/// | faults | [`Faults::swarm`] |
/// | receivers | none |
/// | seeds | 0 to 19 |
/// | database | the in-memory store, which is the executable specification of the others |
/// | lane | event |
/// | what is due ends, once all is healed, within | derived from leases, timeouts and intervals |
/// | shrinking | 200 runs or 60 s |
///
/// After the faults the world is healed, in part and then whole, each for as long as that bound needs twice.
#[derive(Clone)]
pub struct Simulation {
    pub(super) name: String,
    pub(super) replicas: u8,
    pub(super) lasting: Duration,
    pub(super) faults: Faults,
    pub(super) receivers: Vec<Receiver>,
    pub(super) app: Option<App>,
    pub(super) tables: Option<ApplicationFactory>,
    pub(super) expectations: Vec<Arc<dyn Expectation>>,
    pub(super) engine: (String, EngineFactory),
    pub(super) lane: Lane,
    pub(super) seeds: Range<u64>,
    pub(super) part: (u64, u64),
    pub(super) epoch: Option<Timestamp>,
    pub(super) settle_within: Option<Duration>,
    pub(super) budget: Budget,
    pub(super) pinned: Option<String>,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("name", &self.name)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

impl Simulation {
    /// A simulation of this name, which its failures are filed under.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            replicas: 3,
            lasting: Duration::from_secs(20 * 60),
            faults: Faults::swarm(),
            receivers: Vec::new(),
            app: None,
            tables: None,
            expectations: Vec::new(),
            engine: ("memory".to_owned(), Arc::new(|| Ok(engine::memory()))),
            lane: Lane::Event,
            seeds: USUAL_SEEDS,
            part: (1, 1),
            epoch: None,
            settle_within: None,
            budget: Budget::default(),
            pinned: None,
        }
    }

    /// How many replicas: 1 to 16.
    #[must_use]
    pub fn replicas(self, replicas: u8) -> Self {
        Self { replicas, ..self }
    }

    /// For how long faults come and go, in simulated time: a minute or more. Several slots of each job, at the least.
    #[must_use]
    pub fn lasting(self, lasting: Duration) -> Self {
        Self { lasting, ..self }
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Adds an outside receiver: a name, or a [`Receiver`] with a behaviour. At most 8.
    #[must_use]
    pub fn receiver(mut self, receiver: impl Into<Receiver>) -> Self {
        self.receivers.push(receiver.into());
        self
    }

    /// What every replica runs: called at each boot, and twice before the first seed to learn the rules of its jobs. It
    /// keeps nothing from call to call: what a process knows dies with it.
    #[must_use]
    pub fn app(self, app: impl Fn(&Host) -> Scheduler + Send + Sync + 'static) -> Self {
        Self { app: Some(Arc::new(app)), ..self }
    }

    /// Tables of the application's own in the simulated database, as they are at the start; reached with
    /// [`Host::tables`].
    #[must_use]
    pub fn tables<T: Tables>(self, make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self { tables: Some(tables(make)), ..self }
    }

    /// Adds something that must hold of every run.
    #[must_use]
    pub fn expect(mut self, expectation: impl Expectation + 'static) -> Self {
        self.expectations.push(Arc::new(expectation));
        self
    }

    /// The seeds of a check, unless `TOURBILLON_SEED` or `TOURBILLON_SEEDS` say otherwise.
    #[must_use]
    pub fn seeds(self, seeds: Range<u64>) -> Self {
        Self { seeds, ..self }
    }

    /// Only the k-th of n parts of the seeds, k from 1; see [`seed_tests!`](crate::seed_tests).
    #[must_use]
    pub fn part(self, k: u64, n: u64) -> Self {
        Self { part: (k, n), ..self }
    }

    /// What answers inside the database host, and what reports call it: the SQLite store, for example.
    #[must_use]
    pub fn engine(self, name: impl Into<String>, engine: EngineFactory) -> Self {
        Self { engine: (name.into(), engine), ..self }
    }

    /// What carries hosts and messages.
    #[must_use]
    pub fn lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// The database clock at the start. The default is Monday, 2026-01-05T00:00:00Z.
    #[must_use]
    pub fn starting_at(self, epoch: Timestamp) -> Self {
        Self { epoch: Some(epoch), ..self }
    }

    /// How soon after a heal everything that is due has ended, or got its next wait. Say it for handlers that are slow to
    /// end for reasons that their rules do not show.
    #[must_use]
    pub fn settling_within(self, bound: Duration) -> Self {
        Self { settle_within: Some(bound), ..self }
    }

    /// How much may be spent on making a failing case smaller.
    #[must_use]
    pub fn shrinking(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// Runs this case and nothing else: what a failure printed, or a file that it kept (`include_str!`).
    #[must_use]
    pub fn replay(self, case: impl Into<String>) -> Self {
        Self { pinned: Some(case.into()), ..self }
    }

    /// What cannot be run, with the mend.
    pub(super) fn misfit(&self, known: &Known) -> Result<(), String> {
        let fail = |message: String| Err(format!("simulation `{}`: {message}", self.name));
        if !(1..=16).contains(&self.replicas) {
            return fail(format!("{} replicas: give it 1 to 16", self.replicas));
        }
        if self.lasting < Duration::from_secs(60) {
            return fail(format!("it lasts {:?}: give it a minute or more", self.lasting));
        }
        if self.receivers.len() > 8 {
            return fail(format!("{} receivers: give it at most 8", self.receivers.len()));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.receivers.iter().find(|receiver| !names.insert(receiver.name())) {
            return fail(format!("two receivers are called `{}`: give each a name of its own", twice.name()));
        }
        if let Err(message) = self.faults.check(self.lasting) {
            return fail(message);
        }
        let mut said = BTreeSet::new();
        for expectation in &self.expectations {
            let name = expectation.name();
            for receiver in expectation.receivers() {
                if !names.contains(receiver.as_str()) {
                    return fail(format!("`{name}` names the receiver `{receiver}`; there are {names:?}"));
                }
            }
            for job in expectation.jobs() {
                if !known.jobs.contains(&job) {
                    return fail(format!("`{name}` names the job `{job}`; there are {:?}", known.jobs));
                }
            }
            if !said.insert(name.clone()) {
                return fail(format!("it expects twice that `{name}`: leave one out"));
            }
        }
        Ok(())
    }

    /// A case that leaves out what is not there, or everything, with the mend.
    pub(super) fn misfit_of(&self, known: &Known, case: &Case) -> Result<(), String> {
        let (name, parts) = (&self.name, &known.parts);
        if let Some(part) = case.without.iter().find(|part| !parts.contains(part)) {
            return Err(format!("simulation `{name}`: the case is without `{part}`; there are {parts:?}"));
        }
        if !parts.is_empty() && parts.iter().all(|part| case.without.contains(part)) {
            return Err(format!("simulation `{name}`: the case is without all that runs: leave one of {parts:?}"));
        }
        Ok(())
    }
}
