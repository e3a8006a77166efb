//! Carries out a fault plan: moves time from one act to the next and strikes when it is due. Does not know which lane
//! carries the world.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tourbillon::{
    model::RequestId,
    store::{ListAudit, ListExecutions, ListSkipped, MAX_BATCH, ReadClock, Reply, Request, Verb},
};
use uuid::Uuid;

use super::{
    application::ApplicationFactory,
    clock::{HostClock, ServerClock},
    database::Database,
    engine::{self, Engine},
    host::{App, Replica},
    lane::{Attention, Carrier, Lane, LinkState, Ready},
    panics,
    process::WorldShared,
    receiver::{Receiver, ReceiverSpec},
    strikes::Strikes,
};
use crate::{
    chance,
    fault::{Fault, FaultKind, FaultPlan},
    history::{Boot, FinalState, History, HostId, Phase, Recorder, RunFacts, What, micros},
    scenario::{Orders, Phases},
};

/// One run, before it starts.
pub struct RunSetup {
    /// What checkers may assume; its `granularity` is filled in here.
    pub facts: RunFacts,
    /// Outside receivers, by number: at most 255.
    pub receivers: Vec<ReceiverSpec>,
    /// How long each phase lasts.
    pub phases: Phases,
    /// What goes wrong.
    pub plan: FaultPlan,
    /// What carries hosts and messages.
    pub lane: Lane,
    /// What answers inside the database host: empty. It is migrated, by the world or by replicas, as `facts` say.
    pub engine: Box<dyn Engine + Send>,
    /// The scenario's own tables, in the same database; see [`application`](super::application).
    pub application: Option<ApplicationFactory>,
    /// What every replica runs.
    pub app: App,
    /// What disturbs the order of things in replicas; `None`: nothing.
    pub orders: Option<Orders>,
}

impl std::fmt::Debug for RunSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunSetup").field("seed", &self.facts.seed).field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// One run, after its end.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// Everything that happened.
    pub history: History,
    /// How often each kind of fault took hold.
    pub fired: BTreeMap<FaultKind, u64>,
    /// True time that passed.
    pub simulated: Duration,
}

/// Runs one simulation to its end.
///
/// # Errors
/// When the world itself breaks: a bug of the simulator, never of what runs in it.
pub fn run(setup: RunSetup) -> Result<RunOutcome, String> {
    let mut setup = setup;
    if setup.facts.boot == Boot::Ready {
        let migrated = engine::migrate(setup.engine.as_mut(), setup.facts.epoch);
        migrated.map_err(|error| format!("cannot migrate the database engine: {error}"))?;
    }
    let attention = Attention::default();
    let watch = panics::Watch::start(Attention::clone(&attention));
    let mut controller = Controller::new(setup, attention);
    controller.begin();
    while controller.carrier.elapsed() < controller.ends_at() {
        controller.act();
        controller.step(&watch)?;
    }
    controller.end()?;
    let fired = controller.world.strikes.fired();
    let simulated = controller.carrier.elapsed();
    let history = controller.world.recorder.finish();
    Ok(RunOutcome { history, fired, simulated })
}

/// Something the controller has to do at a certain time.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Strike(Fault),
    Unlink(u8, LinkState, FaultKind),
    Resume(u8),
    Thaw(u8),
    EndLeak(u8, u32, FaultKind),
    Unlimit(u8, u8),
    /// The replica, and the version that it gets.
    Deploy(u8, u32),
    Restart(u8),
    DatabaseUp,
    Phase(Phase),
}

/// What holds for one replica at the moment.
#[derive(Default)]
pub(super) struct Standing {
    /// Why its link to the database is not up.
    pub(super) links: Vec<LinkState>,
    pub(super) link: Option<LinkState>,
    pub(super) pauses: u32,
    pub(super) freezes: u32,
    /// Its process is dead, or was told to shut down.
    pub(super) down: bool,
    /// Cut off from everything, as after a power loss.
    pub(super) isolated: bool,
    pub(super) leaks: Vec<u32>,
}

impl Standing {
    pub(super) const fn stands_still(&self) -> bool {
        self.pauses + self.freezes > 0
    }
}

pub(super) struct Controller {
    pub(super) carrier: Box<dyn Carrier>,
    pub(super) world: Arc<WorldShared>,
    pub(super) database: Arc<Database>,
    /// Why it is.
    pub(super) database_down: Option<FaultKind>,
    pub(super) replicas: Vec<Arc<Replica>>,
    pub(super) standing: Vec<Standing>,
    pub(super) receivers: Vec<ReceiverSpec>,
    pub(super) agenda: BTreeMap<u64, Vec<Act>>,
    pub(super) phases: Phases,
    pub(super) phase: Phase,
    pub(super) facts: RunFacts,
    pub(super) next_leak: u32,
    /// The newest version of the replicas' software.
    pub(super) version: u32,
    /// The world cannot go on.
    pub(super) broken: Option<String>,
}

impl Controller {
    fn new(setup: RunSetup, attention: Attention) -> Self {
        let RunSetup { mut facts, receivers, phases, plan, lane, engine, application, app, orders } = setup;
        let seed = facts.seed;
        let keeps_log = plan.loses_commits();
        let Ready { carrier, net, truth, granularity } = lane.build(seed, &attention);
        facts.granularity = granularity;
        let world = Arc::new(WorldShared {
            seed,
            epoch: facts.epoch,
            boot: facts.boot,
            truth: truth.clone(),
            recorder: Recorder::default(),
            net,
            strikes: Strikes::new(seed, plan.triggers, attention),
            call_timeout: facts.call_timeout,
            receivers: facts.receivers.iter().map(|facts| facts.receiver.clone()).collect(),
            orders,
        });
        let clock = ServerClock::new(truth.clone(), facts.epoch);
        let database = Arc::new(Database::new(Arc::clone(&world), clock, engine, application, keeps_log));
        let replicas: Vec<_> = (0..facts.replicas)
            .map(|number| {
                let clock = HostClock::new(truth.clone(), facts.epoch);
                Arc::new(Replica::new(number, Arc::clone(&world), clock, Arc::clone(&app)))
            })
            .collect();
        let mut agenda: BTreeMap<u64, Vec<Act>> = BTreeMap::new();
        for fault in plan.faults {
            agenda.entry(micros(Duration::from_secs(fault.at_s.into()))).or_default().push(Act::Strike(fault));
        }
        Self {
            carrier,
            standing: replicas.iter().map(|_| Standing::default()).collect(),
            world,
            database,
            database_down: None,
            replicas,
            receivers,
            agenda,
            phases,
            phase: Phase::Chaos,
            facts,
            next_leak: 0,
            version: 0,
            broken: None,
        }
    }

    pub(super) fn receiver_numbers(&self) -> std::ops::Range<u8> {
        0..u8::try_from(self.receivers.len()).unwrap_or(u8::MAX)
    }

    fn ends_at(&self) -> Duration {
        self.phases.chaos + self.phases.partial_heal + self.phases.heal
    }

    /// Adds all hosts: the database first, so that in every step it answers before replicas ask again.
    fn begin(&mut self) {
        self.record(HostId::World, What::Began { facts: Box::new(self.facts.clone()) });
        self.record(HostId::World, What::PhaseBegan { phase: Phase::Chaos });
        let database = Arc::clone(&self.database);
        self.carrier.add(HostId::Database, Box::new(move || Arc::clone(&database).software()));
        for (number, spec) in (0..).zip(self.receivers.clone()) {
            let receiver = Arc::new(Receiver::new(Arc::clone(&self.world), number, spec));
            self.carrier.add(HostId::Receiver(number), Box::new(move || Arc::clone(&receiver).software()));
        }
        for replica in &self.replicas {
            let replica = Arc::clone(replica);
            self.carrier.add(HostId::Replica(replica.number), Box::new(move || replica.boot()));
        }
        if !self.phases.partial_heal.is_zero() {
            self.schedule(self.phases.chaos, Act::Phase(Phase::PartialHeal));
        }
        self.schedule(self.phases.chaos + self.phases.partial_heal, Act::Phase(Phase::Heal));
    }

    fn step(&mut self, watch: &panics::Watch) -> Result<(), String> {
        let next = self.agenda.first_key_value().map_or(Duration::MAX, |(at_us, _)| Duration::from_micros(*at_us));
        let until = next.min(self.ends_at());
        self.world.truth.stepping(true);
        self.carrier.step(until)?;
        self.world.truth.stepping(false);
        self.world.truth.set(micros(self.carrier.elapsed()));
        for message in watch.take() {
            self.record(HostId::World, What::Panicked { message });
        }
        for replica in &self.replicas {
            let tasks = replica.gate().map_or(0, |gate| gate.take_strays());
            if tasks > 0 {
                self.record(HostId::Replica(replica.number), What::Strayed { tasks });
            }
        }
        for pulled in self.world.strikes.take_pulled() {
            self.carry_out(pulled);
        }
        self.broken.take().map_or(Ok(()), Err)
    }

    /// Does what is due.
    fn act(&mut self) {
        let now = micros(self.carrier.elapsed());
        while let Some(entry) = self.agenda.first_entry()
            && *entry.key() <= now
        {
            for act in entry.remove() {
                self.perform(act);
            }
        }
    }

    fn perform(&mut self, act: Act) {
        match act {
            Act::Strike(fault) => self.strike(&fault),
            Act::Unlink(replica, cause, kind) => self.unlink(replica, cause, kind),
            Act::Resume(replica) => self.resume(replica),
            Act::Thaw(replica) => self.thaw(replica),
            Act::EndLeak(replica, number, kind) => self.end_leak(replica, number, kind),
            Act::Unlimit(replica, connections) => self.unlimit(replica, connections),
            Act::Deploy(replica, version) => self.deploy(replica, version),
            Act::Restart(replica) => self.restart(replica),
            Act::DatabaseUp => self.database_up(),
            Act::Phase(Phase::PartialHeal) => self.partial_heal(),
            Act::Phase(_) => self.heal(),
        }
    }

    pub(super) fn record(&self, host: HostId, what: What) {
        self.world.record(host, what);
    }

    fn schedule(&mut self, at: Duration, act: Act) {
        self.agenda.entry(micros(at)).or_default().push(act);
    }

    pub(super) fn schedule_in(&mut self, seconds: u32, act: Act) {
        // At least one second: an end in the same instant would come before its beginning took hold.
        let after = Duration::from_secs(u64::from(seconds.max(1)));
        self.schedule(self.carrier.elapsed() + after, act);
    }

    /// Heals the database and a random core of replicas; the others are cut off or dead until the end. Skew stays.
    fn partial_heal(&mut self) {
        self.enter(Phase::PartialHeal);
        self.database_up();
        let seed = self.world.seed;
        let count = self.replicas.len() as u64;
        let first = chance::draw(seed, "core", 0, 0) % count;
        for replica in 0..self.facts.replicas {
            let in_core =
                u64::from(replica) == first || chance::percent(chance::draw(seed, "core", 1, replica.into()), 50);
            self.heal_replica(replica);
            if in_core {
                continue;
            }
            if chance::percent(chance::draw(seed, "core", 2, replica.into()), 50) {
                self.cut(replica, LinkState::Down, FaultKind::Partition, u32::MAX);
            } else {
                self.power_loss(replica, u32::MAX);
            }
        }
    }

    fn heal(&mut self) {
        self.enter(Phase::Heal);
        // There may have been no partial heal.
        self.database_up();
        for replica in 0..self.facts.replicas {
            self.heal_replica(replica);
            // A deploy that chaos interrupted is finished.
            self.deploy(replica, self.version);
            self.replicas[usize::from(replica)].clock.set_drift(0);
            self.clock_set(replica);
        }
        // A fail-over may have lost a step of the schema: running replicas are refused until one boots anew (G12), and
        // somebody sees to it.
        if self.facts.boot == Boot::Migrate && self.look(ReadClock {}.into()).is_err() {
            self.shutdown(0, 0, 1);
        }
    }

    /// The next phase: nothing that was planned for the one before happens any more.
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.world.strikes.disarm();
        self.agenda.retain(|_, acts| {
            acts.retain(|act| matches!(act, Act::Phase(_)));
            !acts.is_empty()
        });
        self.record(HostId::World, What::PhaseBegan { phase });
    }

    fn heal_replica(&mut self, replica: u8) {
        for number in std::mem::take(&mut self.standing(replica).leaks) {
            self.world.strikes.end(replica, number);
        }
        self.replicas[usize::from(replica)].pool.free();
        self.standing(replica).links.clear();
        self.relink(replica);
        self.standing(replica).pauses = self.standing(replica).pauses.min(1);
        self.resume(replica);
        self.standing(replica).freezes = self.standing(replica).freezes.min(1);
        self.thaw(replica);
        self.restart(replica);
    }

    /// Records what the database holds.
    fn end(&mut self) -> Result<(), String> {
        let now = self.database.clock.now();
        let mut state = FinalState { now, executions: Vec::new(), skipped: Vec::new(), audit: Vec::new() };
        let mut after = None;
        loop {
            let verb = ListExecutions { after, limit: MAX_BATCH, ..ListExecutions::default() };
            let Reply::ExecutionPage(page) = self.look(verb.into())? else { break };
            let last = page.executions.len() < MAX_BATCH as usize;
            after = page.executions.last().map(|row| (row.id, row.generation));
            state.executions.extend(page.executions);
            if last {
                break;
            }
        }
        loop {
            let offset = u32::try_from(state.skipped.len()).unwrap_or(u32::MAX);
            let verb = ListSkipped { job: None, offset, limit: MAX_BATCH };
            let Reply::SkippedPage(page) = self.look(verb.into())? else { break };
            let last = page.entries.len() < MAX_BATCH as usize;
            state.skipped.extend(page.entries);
            if last {
                break;
            }
        }
        loop {
            let after = state.audit.last().map(|event| event.key);
            let verb = ListAudit { after, limit: MAX_BATCH, ..ListAudit::default() };
            let Reply::AuditPage(page) = self.look(verb.into())? else { break };
            let last = page.events.len() < MAX_BATCH as usize;
            state.audit.extend(page.events);
            if last {
                break;
            }
        }
        if let Some(state) = self.database.application_state() {
            self.record(HostId::Database, What::ApplicationEnded { state });
        }
        self.record(HostId::Database, What::Ended { state: Box::new(state) });
        Ok(())
    }

    fn look(&self, verb: Verb) -> Result<Reply, String> {
        let request = Request { id: RequestId(Uuid::nil()), verb };
        self.database.look(&request).map_err(|error| format!("cannot read the final state: {error}"))
    }
}
