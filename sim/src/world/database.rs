//! The database host: accepts sessions, applies requests on the engine at its own clock, answers. Faults strike
//! between "received", "applied" and "answered".

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tourbillon::{
    model::{ExecutionId, Timestamp},
    runtime::Signal,
    store::{Bell, BoxFuture, ErrorKind, Notice, PlanOutcome, Reply, Request, StoreError},
};

use super::{
    application::{ApplicationFactory, ApplicationReply, ApplicationRequest, Done, Held},
    clock::{self, ServerClock},
    commits::Commits,
    engine::{self, Engine},
    gate::Gate,
    net::BoxConnection,
    process::WorldShared,
    strikes::{Fate, Struck},
    subject::{self, Subjects},
    wire::{self, Answered, Ask, Asked, Told},
};
use crate::{
    fault::{FaultKind, Then, TriggerPoint},
    history::{Boot, HostId, What},
};

/// The database: survives restarts of its host.
pub(super) struct Database {
    pub(super) world: Arc<WorldShared>,
    pub(super) clock: ServerClock,
    application: Option<ApplicationFactory>,
    stored: Mutex<Stored>,
    subjects: Mutex<Subjects>,
    /// Owns the sessions of the present start of the server; never closed, but a restart ends them in order.
    gate: Mutex<Gate>,
    /// By replica: how often its sessions were dropped, for each of them to hear of.
    drops: Mutex<BTreeMap<u8, Arc<Signal<u64>>>>,
    /// Rung when something became due, for the sessions of replicas that listen.
    pub(super) bell: Bell,
}

/// What a session hears by that it is dropped, and how many drops of its replica's sessions came before it.
pub(super) type Drops = (Arc<Signal<u64>>, u64);

/// What the server holds: one database, of which some rows are the scheduler's and some the application's.
struct Stored {
    engine: Box<dyn Engine + Send>,
    application: Option<Held>,
    /// Kept only if commits may be lost.
    commits: Option<Commits>,
}

impl Database {
    pub(super) fn new(
        world: Arc<WorldShared>,
        clock: ServerClock,
        engine: Box<dyn Engine + Send>,
        application: Option<ApplicationFactory>,
        loses_commits: bool,
    ) -> Self {
        let held = application.as_ref().map(|make| Held::new(make()));
        let stored = Stored { engine, application: held, commits: loses_commits.then(Commits::default) };
        Self {
            world,
            clock,
            application,
            stored: Mutex::new(stored),
            subjects: Mutex::default(),
            gate: Mutex::new(Gate::open()),
            drops: Mutex::default(),
            bell: Bell::default(),
        }
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gate(&self) -> Gate {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server stops: what it has under way is behind this gate, and its next start gets another.
    pub(super) fn replace_gate(&self) -> Gate {
        #[cfg(feature = "zoo")]
        crate::zoo::server_stops(self.stored().engine.as_mut(), self.clock.now());
        std::mem::replace(&mut *self.gate.lock().unwrap_or_else(PoisonError::into_inner), Gate::open())
    }

    /// Applies a request without recording it; for looking at the final state.
    pub(super) fn look(&self, request: &Request) -> Result<Reply, StoreError> {
        self.stored().engine.apply(self.clock.now(), request)
    }

    /// What the application's tables hold; `None` without an application.
    pub(super) fn application_state(&self) -> Option<serde_json::Value> {
        self.stored().application.as_ref().map(Held::state)
    }

    /// Applies a request: the one place where anything becomes true.
    fn apply(&self, asked: Asked) -> Told {
        let now = self.clock.now();
        let committed = self.stored().commits.is_some().then(|| asked.clone());
        let mut events = Vec::new();
        let told = match asked {
            Asked::Store(request) => self.apply_request(now, request, &mut events).map(Answered::Store),
            Asked::Application(request) => {
                self.apply_application(now, request, &mut events).map(Answered::Application)
            }
            Asked::Listen | Asked::Probe => Ok(Answered::Heard),
        };
        if let (Some(asked), Some(commits)) = (committed, &mut self.stored().commits) {
            commits.add(now, asked, events, &told);
        }
        told
    }

    fn apply_request(
        &self,
        now: Timestamp,
        request: Arc<Request>,
        events: &mut Vec<usize>,
    ) -> Result<Reply, StoreError> {
        let result = self.stored().engine.apply(now, &request);
        // Only here: what becomes due in a transaction of the application's is told by nobody.
        if let Some(notice) = result.as_ref().ok().and_then(|reply| Notice::after(&request.verb, reply)) {
            self.bell.ring(&notice);
        }
        let applied = What::Applied { request, now, result: result.clone() };
        events.push(self.world.record(HostId::Database, applied));
        result
    }

    /// Goes on as a server that lacks the newest commits, so many of them: everything else is carried out again on a
    /// fresh engine, at the time at which it was. Returns the numbers of the lost events.
    pub(super) fn fail_over(&self, commits: u32) -> Result<Vec<usize>, StoreError> {
        let mut stored = self.stored();
        let Stored { engine, application, commits: log } = &mut *stored;
        let Some(log) = log else {
            return Err(StoreError::new(ErrorKind::Invalid, "no log of commits was kept"));
        };
        let lost = log.lose(commits);
        let mut fresh = engine.fresh()?;
        if self.world.boot == Boot::Ready {
            engine::migrate(fresh.as_mut(), self.world.epoch)?;
        }
        let mut held = self.application.as_ref().map(|make| Held::new(make()));
        for (now, asked) in log.iter() {
            // What was refused then is refused again.
            match (asked, &mut held) {
                (Asked::Store(request), _) => drop(fresh.apply(now, request)),
                (Asked::Application(request), Some(held)) => drop(held.apply(now, request, fresh.as_mut())),
                (Asked::Application(_), None) | (Asked::Listen | Asked::Probe, _) => {}
            }
        }
        (*engine, *application) = (fresh, held);
        Ok(lost)
    }

    fn apply_application(
        &self,
        now: Timestamp,
        request: Arc<ApplicationRequest>,
        events: &mut Vec<usize>,
    ) -> Result<ApplicationReply, StoreError> {
        let mut stored = self.stored();
        let Stored { engine, application, .. } = &mut *stored;
        let Some(application) = application else {
            return Err(StoreError::new(
                ErrorKind::Invalid,
                "this run has no application: set `RunSetup::application`",
            ));
        };
        let Done { result, changes, with } = application.apply(now, &request, engine.as_mut());
        drop(stored);
        // The store's part first: checkers of the scheduler see it as any other request.
        if let (Some(request), Some(result)) = (request.with.clone(), with) {
            events.push(self.world.record(HostId::Database, What::Applied { request: request.into(), now, result }));
        }
        let applied = What::ApplicationApplied { request, now, result: result.clone().into(), changes };
        events.push(self.world.record(HostId::Database, applied));
        result
    }

    /// The host's software.
    pub(super) fn software(self: Arc<Self>) -> BoxFuture<'static, ()> {
        let gate = self.gate();
        Box::pin(gate.guard(self.serve()))
    }

    async fn serve(self: Arc<Self>) {
        let Ok(mut listener) = self.world.net.listen(HostId::Database).await else { return };
        while let Ok(connection) = listener.accept().await {
            self.gate().spawn(Arc::clone(&self).session(connection));
        }
    }

    /// Ends the replica's sessions, except for what they have in hand; false if it has none.
    pub(super) fn drop_sessions(&self, replica: u8) -> bool {
        let drops = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        // Each session has a share of it.
        let Some(drops) = drops.get(&replica).filter(|drops| Arc::strong_count(drops) > 1) else { return false };
        drops.update(|times| {
            *times += 1;
            true
        });
        true
    }

    fn dropped(&self, replica: u8) -> Drops {
        let mut drops = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        let drops = Arc::clone(drops.entry(replica).or_default());
        let before = drops.read(|times| *times);
        (drops, before)
    }

    /// The next request; `None` when the other end is gone, or the session is dropped.
    pub(super) async fn next_ask(connection: &mut BoxConnection, dropped: Option<&Drops>) -> Option<Ask> {
        let mut received = pin!(wire::receive::<Ask>(connection));
        let Some((drops, before)) = dropped else { return received.await.ok() };
        let mut over = pin!(drops.until(|times| (times != before).then_some(())));
        poll_fn(|cx| match over.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => received.as_mut().poll(cx).map(Result::ok),
        })
        .await
    }

    async fn session(self: Arc<Self>, mut connection: BoxConnection) {
        let mut dropped = None;
        while let Some(Ask { replica, asked }) = Self::next_ask(&mut connection, dropped.as_ref()).await {
            // Who is at the other end is known from the first request on.
            let drops = &*dropped.get_or_insert_with(|| self.dropped(replica));
            let Some(id) = asked.id() else { return self.push(connection, replica, drops).await };
            let struck = |kind: FaultKind| {
                let kind = kind.name().to_owned();
                self.world.record(HostId::Database, What::Struck { kind, replica, request: Some(id) });
            };
            let told: Told = match self.world.strikes.fate(replica, id, asked.name()) {
                Fate::Refuse => {
                    struck(FaultKind::Refuse);
                    Err(StoreError::new(ErrorKind::Unavailable, "refused: too many connections"))
                }
                Fate::Busy => {
                    struck(FaultKind::Busy);
                    Err(StoreError::new(ErrorKind::Unavailable, "could not serialise access: try again"))
                }
                Fate::Drop => {
                    // The server rolls back what it has in hand. This session has heard of nothing, and ends here.
                    struck(FaultKind::SessionDrop);
                    self.drop_sessions(replica);
                    return;
                }
                Fate::RollBack(lasts_s) => {
                    struck(FaultKind::FailOver);
                    let told = self.apply(asked);
                    self.world.strikes.pull(Then::FailOver, replica, lasts_s);
                    told
                }
                Fate::Slow(delay) => {
                    struck(FaultKind::Slow);
                    let told = self.apply(asked);
                    clock::wait(delay).await;
                    told
                }
                Fate::LoseReply => {
                    let _ = self.apply(asked);
                    struck(FaultKind::LoseReply);
                    return;
                }
                Fate::ApplyLate(delay) => {
                    struck(FaultKind::ApplyLate);
                    self.apply_late(asked, delay);
                    // Hangs until the caller gives up and closes.
                    let _ = wire::receive::<Ask>(&mut connection).await;
                    return;
                }
                Fate::Pass => {
                    let executions =
                        asked.request().map_or_else(Vec::new, |request| subject::executions(&request.verb));
                    let result = self.apply(asked);
                    if self.pull_trigger(replica, &executions, &result) == Struck::ReplyLost {
                        struck(FaultKind::LoseReply);
                        return;
                    }
                    result
                }
            };
            if wire::send(&mut connection, told).await.is_err() {
                return;
            }
        }
    }

    /// Starts a task that ends with the server's present start.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.gate().spawn(task);
    }

    fn apply_late(self: &Arc<Self>, asked: Asked, delay: Duration) {
        let database = Arc::clone(self);
        self.spawn(async move {
            clock::wait(delay).await;
            let _ = database.apply(asked);
        });
    }

    fn pull_trigger(&self, replica: u8, executions: &[ExecutionId], told: &Told) -> Struck {
        let (Ok(Answered::Store(reply)) | Ok(Answered::Application(ApplicationReply { with: Some(reply), .. }))) =
            told
        else {
            return Struck::No;
        };
        let subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner).of(executions, reply);
        let point = match reply {
            Reply::Planned(planned) if planned.outcomes.iter().any(made_something) => TriggerPoint::AppliedPlan,
            Reply::Claimed(claimed) if !claimed.executions.is_empty() => TriggerPoint::AppliedClaim,
            Reply::Started(_) => TriggerPoint::AppliedStart,
            Reply::Renewed(_) => TriggerPoint::AppliedHeartbeat,
            Reply::Settled(_) => TriggerPoint::AppliedSettle,
            Reply::Rescued(_) => TriggerPoint::AppliedRescue,
            Reply::Migrated(reply) if reply.from < reply.to => TriggerPoint::AppliedMigrate,
            _ => return Struck::No,
        };
        let subjects: Vec<_> = subjects.iter().map(String::as_str).collect();
        self.world.strikes.reached(point, &subjects, replica)
    }
}

fn made_something(outcome: &PlanOutcome) -> bool {
    matches!(outcome, PlanOutcome::Made(ids) if !ids.is_empty())
}
