//! Carries out a fault plan: moves the lane step by step and strikes when it is time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tourbillon::{
    model::RequestId,
    store::{ListExecutions, ListSkipped, MAX_BATCH, Reply, Request, Verb},
};
use uuid::Uuid;

use super::{
    clock::{HostClock, ServerClock, TrueTime},
    database::Database,
    engine::Engine,
    host::{App, Replica, WorldShared},
    lane::{Lane, LinkState},
    panics,
    receiver::Receiver,
    strikes::{Leaky, Pulled, Strikes},
    turmoil::{self, TurmoilLane, TurmoilNet},
};
use crate::{
    chance,
    fault::{Bad, Fault, FaultKind, FaultPlan, Then},
    history::{CrashKind, FinalState, History, HostId, Phase, Recorder, RunFacts, What},
    scenario::Phases,
};

/// One run, before it starts.
pub struct RunSetup {
    /// What checkers may assume; its `granularity` is filled in here.
    pub facts: RunFacts,
    /// Outside receivers.
    pub receivers: u8,
    /// How long each phase lasts.
    pub phases: Phases,
    /// What goes wrong.
    pub plan: FaultPlan,
    /// The turmoil lane's tick.
    pub tick: Duration,
    /// What answers inside the database host.
    pub engine: Box<dyn Engine + Send>,
    /// What every replica runs.
    pub app: App,
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
    let watch = panics::Watch::start();
    let mut controller = Controller::new(setup);
    controller.begin();
    while controller.lane.elapsed() < controller.ends_at() {
        controller.act();
        controller.step(&watch)?;
    }
    controller.end()?;
    let fired = controller.world.strikes.fired();
    let simulated = controller.lane.elapsed();
    let history = controller.world.recorder.finish();
    Ok(RunOutcome { history, fired, simulated })
}

/// Something the controller has to do at a certain time.
#[derive(Clone, Debug)]
enum Act {
    Strike(Fault),
    Unlink(u8, LinkState, FaultKind),
    Resume(u8),
    EndLeak(u8, u32, FaultKind),
    Restart(u8),
    DatabaseUp,
    Phase(Phase),
}

/// What holds for one replica at the moment.
#[derive(Default)]
struct Standing {
    /// Why its link to the database is not up.
    links: Vec<LinkState>,
    link: Option<LinkState>,
    pauses: u32,
    /// Its process is dead, or was told to shut down.
    down: bool,
    /// Cut off from everything, as after a power loss.
    isolated: bool,
    leaks: Vec<u32>,
}

struct Controller {
    lane: TurmoilLane,
    world: Arc<WorldShared>,
    database: Arc<Database>,
    database_down: bool,
    replicas: Vec<Arc<Replica>>,
    standing: Vec<Standing>,
    receivers: u8,
    agenda: BTreeMap<u64, Vec<Act>>,
    phases: Phases,
    phase: Phase,
    facts: RunFacts,
    next_leak: u32,
}

impl Controller {
    fn new(setup: RunSetup) -> Self {
        let RunSetup { mut facts, receivers, phases, plan, tick, engine, app } = setup;
        let seed = facts.seed;
        let latency_max = [2, 10, 50][usize::try_from(chance::draw(seed, "latency", 0, 0) % 3).unwrap_or(0)];
        let latency = (Duration::from_millis(1), Duration::from_millis(latency_max));
        facts.granularity = tick * 3 + latency.1 * 2;
        let truth = TrueTime::new(turmoil::within_step);
        let world = Arc::new(WorldShared {
            seed,
            truth: truth.clone(),
            recorder: Recorder::default(),
            net: Arc::new(TurmoilNet),
            strikes: Strikes::new(seed, plan.triggers),
        });
        let clock = ServerClock::new(truth.clone(), facts.epoch);
        let database = Arc::new(Database::new(Arc::clone(&world), clock, engine));
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
            lane: TurmoilLane::new(chance::draw(seed, "net", 0, 0), tick, latency),
            standing: replicas.iter().map(|_| Standing::default()).collect(),
            world,
            database,
            database_down: false,
            replicas,
            receivers,
            agenda,
            phases,
            phase: Phase::Chaos,
            facts,
            next_leak: 0,
        }
    }

    fn ends_at(&self) -> Duration {
        self.phases.chaos + self.phases.partial_heal + self.phases.heal
    }

    /// Adds all hosts: the database first, so that in every step it answers before replicas ask again.
    fn begin(&mut self) {
        self.record(HostId::World, What::Began { facts: Box::new(self.facts.clone()) });
        self.record(HostId::World, What::PhaseBegan { phase: Phase::Chaos });
        let database = Arc::clone(&self.database);
        self.lane.add(HostId::Database, Box::new(move || Box::pin(Arc::clone(&database).serve())));
        for number in 0..self.receivers {
            let receiver = Arc::new(Receiver::new(Arc::clone(&self.world), number));
            self.lane.add(HostId::Receiver(number), Box::new(move || Box::pin(Arc::clone(&receiver).serve())));
        }
        for replica in &self.replicas {
            let replica = Arc::clone(replica);
            self.lane.add(HostId::Replica(replica.number), Box::new(move || replica.boot()));
        }
        self.schedule(self.phases.chaos, Act::Phase(Phase::PartialHeal));
        self.schedule(self.phases.chaos + self.phases.partial_heal, Act::Phase(Phase::Heal));
    }

    fn step(&mut self, watch: &panics::Watch) -> Result<(), String> {
        self.world.truth.stepping(true);
        self.lane.step()?;
        self.world.truth.stepping(false);
        self.world.truth.set(micros(self.lane.elapsed()));
        for message in watch.take() {
            self.record(HostId::World, What::Panicked { message });
        }
        for pulled in self.world.strikes.take_pulled() {
            self.carry_out(pulled);
        }
        Ok(())
    }

    /// Does what is due.
    fn act(&mut self) {
        let now = micros(self.lane.elapsed());
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
            Act::EndLeak(replica, number, kind) => self.end_leak(replica, number, kind),
            Act::Restart(replica) => self.restart(replica),
            Act::DatabaseUp => self.database_up(),
            Act::Phase(Phase::PartialHeal) => self.partial_heal(),
            Act::Phase(_) => self.heal(),
        }
    }

    fn record(&self, host: HostId, what: What) {
        self.world.record(host, what);
    }

    fn schedule(&mut self, at: Duration, act: Act) {
        self.agenda.entry(micros(at)).or_default().push(act);
    }

    fn schedule_in(&mut self, seconds: u32, act: Act) {
        // At least one second: an end in the same instant would come before its beginning took hold.
        let after = Duration::from_secs(u64::from(seconds.max(1)));
        self.schedule(self.lane.elapsed() + after, act);
    }

    fn began(&self, host: HostId, kind: FaultKind, detail: String) {
        self.world.strikes.count(kind);
        self.record(host, What::FaultBegan { kind: kind.name().to_owned(), detail });
    }

    fn ended(&self, host: HostId, kind: FaultKind) {
        self.record(host, What::FaultEnded { kind: kind.name().to_owned() });
    }

    fn standing(&mut self, replica: u8) -> &mut Standing {
        &mut self.standing[usize::from(replica)]
    }

    fn strike(&mut self, fault: &Fault) {
        let Ok(count) = u8::try_from(self.replicas.len()) else { return };
        let replica = fault.replica % count;
        let host = HostId::Replica(replica);
        let kind = fault.bad.kind();
        let lasts = fault.lasts_s;
        let leaky = |leak: Leaky, detail: String| (leak, detail);
        match fault.bad {
            Bad::ClockOffset { by_ms } | Bad::ClockJump { by_ms } => {
                self.began(host, kind, format!("by {by_ms} ms"));
                self.replicas[usize::from(replica)].clock.jump(by_ms.saturating_mul(1000));
                self.clock_set(replica);
            }
            Bad::ClockDrift { ppm } => {
                self.began(host, kind, format!("{ppm} ppm"));
                self.replicas[usize::from(replica)].clock.set_drift(ppm);
                self.clock_set(replica);
            }
            Bad::DatabaseClockStep { by_ms } => {
                self.began(HostId::Database, kind, format!("by {by_ms} ms"));
                self.database.clock.step(by_ms.saturating_mul(1000));
                let offset_us = self.database.clock.offset_us();
                self.record(HostId::Database, What::ClockSet { offset_us, drift_ppm: 0 });
            }
            Bad::Pause => self.pause(replica, lasts),
            Bad::Crash => self.crash(replica, lasts),
            Bad::PowerLoss => self.power_loss(replica, lasts),
            Bad::Shutdown { grace_s } => self.shutdown(replica, grace_s, lasts),
            Bad::Partition => self.cut(replica, LinkState::Down, kind, lasts),
            Bad::PartitionToDatabase => self.cut(replica, LinkState::DownForth, kind, lasts),
            Bad::PartitionFromDatabase => self.cut(replica, LinkState::DownBack, kind, lasts),
            Bad::Hold => self.cut(replica, LinkState::Held, kind, lasts),
            Bad::DatabaseRestart => self.database_restart(lasts),
            Bad::Refuse { percent } => {
                self.leak(replica, kind, lasts, leaky(Leaky::Refuse { percent }, format!("{percent} %")));
            }
            Bad::LoseReply { percent } => {
                self.leak(replica, kind, lasts, leaky(Leaky::LoseReply { percent }, format!("{percent} %")));
            }
            Bad::ApplyLate { percent, delay_s } => {
                let delay = Duration::from_secs(delay_s.into());
                let detail = format!("{percent} %, {delay_s} s late");
                self.leak(replica, kind, lasts, leaky(Leaky::ApplyLate { percent, delay }, detail));
            }
            Bad::LoseEffectReply { percent } => {
                self.leak(replica, kind, lasts, leaky(Leaky::LoseEffectReply { percent }, format!("{percent} %")));
            }
        }
    }

    /// Carries out what a trigger began within the step.
    fn carry_out(&mut self, pulled: Pulled) {
        let Pulled { then, replica, lasts_s } = pulled;
        match then {
            Then::PowerLoss => self.power_loss(replica, lasts_s),
            Then::Crash => self.crash(replica, lasts_s),
            Then::Pause => self.pause(replica, lasts_s),
            Then::Partition => self.cut(replica, LinkState::Down, FaultKind::Partition, lasts_s),
            Then::Shutdown => self.shutdown(replica, 0, lasts_s),
            Then::DatabaseRestart => self.database_restart(lasts_s),
            // Done where it was pulled.
            Then::LoseReply => {}
        }
    }

    fn clock_set(&self, replica: u8) {
        let (offset_us, drift_ppm) = self.replicas[usize::from(replica)].clock.error();
        self.record(HostId::Replica(replica), What::ClockSet { offset_us, drift_ppm });
    }

    fn pause(&mut self, replica: u8, lasts: u32) {
        if self.standing(replica).down {
            return;
        }
        if let Some(gate) = self.replicas[usize::from(replica)].gate() {
            gate.pause();
        }
        self.began(HostId::Replica(replica), FaultKind::Pause, format!("for {lasts} s"));
        self.standing(replica).pauses += 1;
        if self.standing(replica).pauses == 1 {
            self.record(HostId::Replica(replica), What::Paused);
        }
        self.schedule_in(lasts, Act::Resume(replica));
    }

    fn resume(&mut self, replica: u8) {
        if self.standing(replica).pauses == 0 {
            return;
        }
        self.standing(replica).pauses -= 1;
        self.ended(HostId::Replica(replica), FaultKind::Pause);
        if self.standing(replica).pauses == 0 {
            self.record(HostId::Replica(replica), What::Resumed);
            if let Some(gate) = self.replicas[usize::from(replica)].gate() {
                gate.resume();
            }
        }
    }

    /// A process is gone: so are its pauses.
    fn gone(&mut self, replica: u8) {
        let was_paused = self.standing(replica).pauses > 0;
        let standing = self.standing(replica);
        standing.pauses = 0;
        standing.down = true;
        if was_paused {
            self.record(HostId::Replica(replica), What::Resumed);
        }
    }

    fn crash(&mut self, replica: u8, lasts: u32) {
        let host = HostId::Replica(replica);
        if self.standing(replica).down && !self.lane.is_running(host) {
            return;
        }
        self.began(host, FaultKind::Crash, format!("for {lasts} s"));
        // Destructors run and connections say goodbye, so the gate must let them.
        self.end_tasks(replica);
        self.lane.crash(host);
        self.crashed(replica, CrashKind::Polite);
        self.schedule_in(lasts, Act::Restart(replica));
    }

    fn power_loss(&mut self, replica: u8, lasts: u32) {
        let host = HostId::Replica(replica);
        if self.standing(replica).down && !self.lane.is_running(host) {
            return;
        }
        self.began(host, FaultKind::PowerLoss, format!("for {lasts} s"));
        if let Some(gate) = self.replicas[usize::from(replica)].gate() {
            gate.kill();
        }
        // Cut off before its sockets are dropped: there is no farewell.
        self.isolate(replica);
        self.end_tasks(replica);
        self.lane.crash(host);
        self.crashed(replica, CrashKind::PowerLoss);
        self.schedule_in(lasts, Act::Restart(replica));
    }

    fn end_tasks(&self, replica: u8) {
        if let Some(gate) = self.replicas[usize::from(replica)].gate() {
            gate.end();
        }
    }

    fn crashed(&mut self, replica: u8, kind: CrashKind) {
        if let Some(process) = self.replicas[usize::from(replica)].process() {
            let incarnation = process.incarnation();
            self.record(HostId::Replica(replica), What::Crashed { incarnation, kind });
            // Nothing of it is recorded any more, and its gate opens for nobody.
            process.gate.kill();
        }
        self.gone(replica);
    }

    fn shutdown(&mut self, replica: u8, grace_s: u32, lasts: u32) {
        if self.standing(replica).down {
            return;
        }
        self.began(HostId::Replica(replica), FaultKind::Shutdown, format!("grace {grace_s} s"));
        self.replicas[usize::from(replica)].order_shutdown(Duration::from_secs(grace_s.into()));
        self.standing(replica).down = true;
        self.schedule_in(lasts, Act::Restart(replica));
    }

    fn restart(&mut self, replica: u8) {
        let host = HostId::Replica(replica);
        if !self.standing(replica).down {
            return;
        }
        if self.lane.is_running(host) {
            // A shutdown that is still under way; a supervisor would wait too.
            return self.schedule_in(1, Act::Restart(replica));
        }
        self.standing(replica).isolated = false;
        for receiver in 0..self.receivers {
            self.lane.link(host, HostId::Receiver(receiver), LinkState::Down, LinkState::Up);
        }
        self.standing(replica).down = false;
        self.standing(replica).pauses = 0;
        self.relink(replica);
        // What a finished process left behind is dropped by the restart.
        self.end_tasks(replica);
        self.lane.restart(host);
    }

    fn isolate(&mut self, replica: u8) {
        self.standing(replica).isolated = true;
        self.relink(replica);
        for receiver in 0..self.receivers {
            self.lane.link(HostId::Replica(replica), HostId::Receiver(receiver), LinkState::Up, LinkState::Down);
        }
    }

    fn cut(&mut self, replica: u8, cause: LinkState, kind: FaultKind, lasts: u32) {
        self.began(HostId::Replica(replica), kind, format!("for {lasts} s"));
        self.standing(replica).links.push(cause);
        self.relink(replica);
        self.schedule_in(lasts, Act::Unlink(replica, cause, kind));
    }

    fn unlink(&mut self, replica: u8, cause: LinkState, kind: FaultKind) {
        let links = &mut self.standing(replica).links;
        if let Some(index) = links.iter().position(|held| *held == cause) {
            links.remove(index);
            self.ended(HostId::Replica(replica), kind);
            self.relink(replica);
        }
    }

    /// Makes the link what the causes add up to.
    fn relink(&mut self, replica: u8) {
        let standing = self.standing(replica);
        let has = |cause| standing.links.contains(&cause);
        let forth = has(LinkState::DownForth);
        let back = has(LinkState::DownBack);
        let wanted = if standing.isolated || has(LinkState::Down) || (forth && back) {
            LinkState::Down
        } else if forth {
            LinkState::DownForth
        } else if back {
            LinkState::DownBack
        } else if has(LinkState::Held) {
            LinkState::Held
        } else {
            LinkState::Up
        };
        let present = standing.link.replace(wanted).unwrap_or(LinkState::Up);
        if present != wanted {
            self.lane.link(HostId::Replica(replica), HostId::Database, present, wanted);
        }
    }

    fn leak(&mut self, replica: u8, kind: FaultKind, lasts: u32, (leak, detail): (Leaky, String)) {
        // Counted when a message is struck, not when the leak begins.
        self.record(HostId::Replica(replica), What::FaultBegan { kind: kind.name().to_owned(), detail });
        let number = self.next_leak;
        self.next_leak += 1;
        self.world.strikes.begin(replica, number, leak);
        self.standing(replica).leaks.push(number);
        self.schedule_in(lasts, Act::EndLeak(replica, number, kind));
    }

    fn end_leak(&mut self, replica: u8, number: u32, kind: FaultKind) {
        self.world.strikes.end(replica, number);
        self.standing(replica).leaks.retain(|held| *held != number);
        self.ended(HostId::Replica(replica), kind);
    }

    fn database_restart(&mut self, lasts: u32) {
        if self.database_down {
            return;
        }
        self.began(HostId::Database, FaultKind::DatabaseRestart, format!("for {lasts} s"));
        self.database_down = true;
        self.database.end_sessions();
        self.lane.crash(HostId::Database);
        self.schedule_in(lasts, Act::DatabaseUp);
    }

    fn database_up(&mut self) {
        if self.database_down {
            self.database_down = false;
            self.lane.restart(HostId::Database);
            self.ended(HostId::Database, FaultKind::DatabaseRestart);
        }
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
        for replica in 0..self.facts.replicas {
            self.heal_replica(replica);
            self.replicas[usize::from(replica)].clock.set_drift(0);
            self.clock_set(replica);
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
        self.standing(replica).links.clear();
        self.relink(replica);
        self.standing(replica).pauses = self.standing(replica).pauses.min(1);
        self.resume(replica);
        self.restart(replica);
    }

    /// Records what the database holds.
    fn end(&mut self) -> Result<(), String> {
        let mut state = FinalState { now: self.database.clock.now(), executions: Vec::new(), skipped: Vec::new() };
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
        self.record(HostId::Database, What::Ended { state: Box::new(state) });
        Ok(())
    }

    fn look(&self, verb: Verb) -> Result<Reply, String> {
        let request = Request { id: RequestId(Uuid::nil()), verb };
        self.database.look(&request).map_err(|error| format!("cannot read the final state: {error}"))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
