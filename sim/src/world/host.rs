//! A replica: one simulated process after another, each running the same scheduler as production does.

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tourbillon::{
    driver::{self, Scheduler},
    job::{Context, HandlerError},
    model::RequestId,
    runtime::{Runtime, Signal, first},
    store::{BoxFuture, ErrorKind, Request, Store, StoreError},
};

use super::{
    application::{ApplicationRequest, Tables},
    client::Client,
    clock::HostClock,
    disturbance::Disturbance,
    gate::Gate,
    pool::Pool,
    process::{Process, WorldShared},
    receiver::{self, Call, CallError},
    remote, runtime,
    unit::Unit,
    wire::Sent,
};
use crate::history::{Boot, CallAnswer, Effect, HostId, ShutdownOutcome, What};

/// For how long a booting process tries to migrate before its supervisor starts over.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(60);

/// Makes the scheduler of a replica; called at every boot.
pub type App = Arc<dyn Fn(&Host) -> Scheduler + Send + Sync>;

/// A replica across its boots: what the controller acts on.
pub(super) struct Replica {
    pub(super) number: u8,
    world: Arc<WorldShared>,
    pub(super) clock: HostClock,
    app: App,
    pub(super) pool: Arc<Pool>,
    version: AtomicU32,
    boots: AtomicU32,
    current: Mutex<Option<Arc<Process>>>,
}

impl Replica {
    pub(super) fn new(number: u8, world: Arc<WorldShared>, clock: HostClock, app: App) -> Self {
        Self {
            number,
            world,
            clock,
            app,
            pool: Arc::default(),
            version: AtomicU32::new(0),
            boots: AtomicU32::new(0),
            current: Mutex::new(None),
        }
    }

    pub(super) fn process(&self) -> Option<Arc<Process>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn gate(&self) -> Option<Gate> {
        self.process().map(|process| process.gate.clone())
    }

    /// Version of the software that the next boot runs.
    pub(super) fn version(&self) -> u32 {
        self.version.load(Ordering::Relaxed)
    }

    pub(super) fn set_version(&self, version: u32) {
        self.version.store(version, Ordering::Relaxed);
    }

    /// Asks the process to shut down.
    pub(super) fn order_shutdown(&self, grace: Duration) {
        if let Some(process) = self.process() {
            process.ordered.update(|order| {
                *order = Some(grace);
                true
            });
        }
    }

    /// One process, start to end.
    pub(super) fn boot(&self) -> BoxFuture<'static, ()> {
        let boot = self.boots.fetch_add(1, Ordering::Relaxed);
        let disturbance = self.world.orders.map(|orders| {
            let process = u64::from(self.number) << 32 | u64::from(boot);
            Arc::new(Disturbance::new(orders, self.world.seed, process))
        });
        let process = Arc::new(Process {
            world: Arc::clone(&self.world),
            replica: self.number,
            boot,
            clock: self.clock.clone(),
            gate: Gate::disturbed(disturbance.clone()),
            incarnation: OnceLock::new(),
            version: self.version(),
            pool: Arc::clone(&self.pool),
            ordered: Signal::default(),
            disturbance,
        });
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&process));
        self.world.strikes.set_gate(self.number, process.gate.clone());
        let app = Arc::clone(&self.app);
        let gate = process.gate.clone();
        Box::pin(gate.guard(live(process, app)))
    }
}

async fn live(process: Arc<Process>, app: App) {
    let host = Host::of(Arc::clone(&process));
    if process.world.boot == Boot::Migrate
        && first(process.ordered.until(|order| *order), migrate(&host)).await.is_ok()
    {
        // Told to stop before it began; what it has asked for may still be applied.
        return;
    }
    let running = app(&host).start();
    let incarnation = running.incarnation();
    let _ = process.incarnation.set(incarnation);
    process.record(What::Booted { incarnation });
    if process.version > 0 {
        process.record(What::Deployed { incarnation, version: process.version });
    }

    let grace = process.ordered.until(|order| *order).await;
    process
        .record(What::ShutdownBegan { incarnation, grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) });
    let outcome = match running.shutdown(grace).await {
        Ok(()) => ShutdownOutcome::Ok,
        Err(timeout) => ShutdownOutcome::Timeout(timeout.still_running),
    };
    process.record(What::ShutdownEnded { incarnation, outcome });
}

/// As a program does that ends when it cannot migrate, and is started again.
async fn migrate(host: &Host) {
    while let Err(error) = driver::migrate(host.store(), host.runtime(), MIGRATION_PATIENCE).await {
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown), "cannot migrate: {error}");
    }
}

/// A simulated process as its application sees it: a store, a runtime, a way to the outside.
#[derive(Clone)]
pub struct Host {
    process: Arc<Process>,
    store: Arc<remote::RemoteStore>,
    runtime: Runtime,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", HostId::Replica(self.process.replica))
    }
}

impl Host {
    pub(super) fn of(process: Arc<Process>) -> Self {
        let store = Arc::new(remote::RemoteStore::new(Arc::clone(&process)));
        Self { runtime: runtime::runtime(&process), store, process }
    }

    /// The database, over the simulated network.
    pub fn store(&self) -> impl Store + use<> {
        Arc::clone(&self.store)
    }

    /// Clocks, tasks and randomness of this process.
    pub fn runtime(&self) -> Runtime {
        self.runtime.clone()
    }

    /// True time since the start, for what an application reads from elsewhere: a table that somebody edits,
    /// for example.
    pub fn true_time(&self) -> Duration {
        Duration::from_micros(self.process.world.truth.now_us())
    }

    /// Version of the software that this process runs, from 0. A fault of kind `deploy` raises it, one replica after
    /// the other, so that for a while two versions run side by side.
    pub fn version(&self) -> u32 {
        self.process.version
    }

    /// The run's seed, for handlers that draw what they do.
    pub fn seed(&self) -> u64 {
        self.process.world.seed
    }

    /// The client of an outside receiver of a [`Simulation`](crate::simulation::Simulation).
    ///
    /// # Panics
    /// If the simulation has no receiver of this name.
    pub fn receiver(&self, name: &str) -> Client {
        Client::new(&self.process, &self.runtime, name)
    }

    /// The scenario's own tables of type `T`, in the same database, over the same network.
    pub fn tables<T: Tables>(&self) -> TablesOf<T> {
        TablesOf { host: self.clone(), tables: PhantomData }
    }

    /// Puts a remark into the history, for a checker of the scenario's own: what is about to be done, for example.
    ///
    /// # Panics
    /// If `note` cannot be written as JSON.
    pub fn note(&self, note: &impl Serialize) {
        let note = serde_json::to_value(note).expect("a note is plain data with text keys");
        self.process.record(What::Noted { incarnation: self.process.incarnation(), note });
    }

    /// Causes an effect on an outside receiver and waits for its answer. The effect may have happened although an
    /// error is returned.
    ///
    /// # Errors
    /// When the receiver refused the fence, or no answer came.
    pub async fn send(&self, ctx: &Context, receiver: u8, key: String) -> Result<(), HandlerError> {
        self.process.holds_back().await;
        let effect = self.effect(ctx, key);
        receiver::send(&self.process, &self.runtime, receiver, (effect, ctx.job().to_string(), None)).await
    }

    /// As [`Host::send`], for a unit of work that reports its stages.
    ///
    /// # Errors
    /// As for [`Host::send`].
    pub async fn send_for(&self, unit: &Unit, ctx: &Context, receiver: u8, key: String) -> Result<(), HandlerError> {
        self.process.holds_back().await;
        let tag = unit.sending();
        let effect = self.effect(ctx, key);
        receiver::send(&self.process, &self.runtime, receiver, (effect, tag.row.clone(), Some(tag))).await
    }

    /// Calls an outside receiver for a unit of work that reports its stages, and waits for its answer. Unlike
    /// [`Host::send`] it needs no attempt: a tick of a service may call as well.
    ///
    /// # Errors
    /// When no answer came. The effect may have happened.
    pub async fn call(&self, unit: &Unit, receiver: u8, call: Call) -> Result<CallAnswer, CallError> {
        self.process.holds_back().await;
        let tag = unit.sending();
        let incarnation = self.process.incarnation();
        if let Some(effect) = call.outside.effect.clone() {
            self.process.record(What::EffectSent { incarnation, effect });
        }
        let sent = Sent::Call { incarnation, call: call.outside };
        receiver::deliver(&self.process, &self.runtime, receiver, (sent, tag.row.clone(), Some(tag))).await
    }

    /// Begins a unit of work of a row of a truth table; see [`Unit`]. `unit` is unique, while it lasts, among the
    /// units of the row in this process.
    pub fn unit(&self, row: &str, unit: impl Into<String>) -> Unit {
        Unit::begin(&self.process, row, unit.into())
    }

    fn effect(&self, ctx: &Context, key: String) -> Effect {
        let effect = Effect {
            execution: ctx.id(),
            generation: ctx.generation(),
            fence: ctx.fence(),
            attempt: ctx.attempt(),
            key,
        };
        let incarnation = self.process.incarnation();
        self.process.record(What::EffectSent { incarnation, effect: effect.clone() });
        effect
    }
}

/// A scenario's own tables as a replica sees them: over the network, with the deadline of
/// [`RunFacts::call_timeout`](crate::history::RunFacts::call_timeout) for every call.
pub struct TablesOf<T> {
    host: Host,
    tables: PhantomData<fn() -> T>,
}

impl<T> Clone for TablesOf<T> {
    fn clone(&self) -> Self {
        Self { host: self.host.clone(), tables: PhantomData }
    }
}

impl<T> fmt::Debug for TablesOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tables as seen by {:?}", self.host)
    }
}

impl<T: Tables> TablesOf<T> {
    /// A new id for a call.
    pub fn request_id(&self) -> RequestId {
        RequestId(self.host.runtime.uuid())
    }

    /// Calls a verb once.
    ///
    /// # Errors
    /// Those of the verb; `Unavailable` and `Unknown` as for a store. Without an id to repeat, what became of an
    /// `Unknown` call can only be found out by reading.
    pub async fn ask(&self, verb: &T::Verb) -> Result<T::Reply, StoreError> {
        self.call(self.request_id(), verb, None).await
    }

    /// Calls a verb once under an id of the caller's: repeating it returns the first outcome and does nothing twice.
    ///
    /// # Errors
    /// As [`TablesOf::ask`].
    pub async fn ask_as(&self, id: RequestId, verb: &T::Verb) -> Result<T::Reply, StoreError> {
        self.call(id, verb, None).await
    }

    /// Calls a verb and a store request in one transaction: a settle, for example, so that the verb's effect and the
    /// end of the attempt are recorded together or not at all.
    ///
    /// # Errors
    /// As [`TablesOf::ask`]; `LeaseLost` when the store refused a row: nothing was done then.
    pub async fn ask_with(&self, id: RequestId, verb: &T::Verb, with: Request) -> Result<T::Reply, StoreError> {
        self.call(id, verb, Some(with)).await
    }

    async fn call(&self, id: RequestId, verb: &T::Verb, with: Option<Request>) -> Result<T::Reply, StoreError> {
        let wrong =
            |error: serde_json::Error| StoreError::new(ErrorKind::Invalid, format!("not plain data: {error}"));
        let verb = serde_json::to_value(verb).map_err(wrong)?;
        let request = ApplicationRequest { id, incarnation: self.host.process.incarnation(), verb, with };
        let call = self.host.store.call_application(request);
        let deadline = self.host.process.world.call_timeout;
        let Some(result) = self.host.runtime.timeout(deadline, call).await else {
            return Err(StoreError::new(ErrorKind::Unknown, format!("no answer within {deadline:?}")));
        };
        serde_json::from_value(result?.value)
            .map_err(|error| StoreError::new(ErrorKind::Corrupt, format!("not a reply of these tables: {error}")))
    }
}
