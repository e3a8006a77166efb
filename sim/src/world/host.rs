//! A replica: one simulated process after another, each running the same scheduler as production does.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tourbillon::{
    driver::Scheduler,
    job::{Context, HandlerError},
    runtime::Runtime,
    store::{BoxFuture, Store},
};

use super::{
    clock::HostClock,
    gate::Gate,
    process::{Process, WorldShared},
    receiver, remote, runtime,
    unit::Unit,
};
use crate::history::{Effect, HostId, ShutdownOutcome, What};

/// Makes the scheduler of a replica; called at every boot.
pub type App = Arc<dyn Fn(&Host) -> Scheduler + Send + Sync>;

/// A replica across its boots: what the controller acts on.
pub(super) struct Replica {
    pub(super) number: u8,
    world: Arc<WorldShared>,
    pub(super) clock: HostClock,
    app: App,
    boots: AtomicU32,
    current: Mutex<Option<Arc<Process>>>,
}

impl Replica {
    pub(super) fn new(number: u8, world: Arc<WorldShared>, clock: HostClock, app: App) -> Self {
        Self { number, world, clock, app, boots: AtomicU32::new(0), current: Mutex::new(None) }
    }

    pub(super) fn process(&self) -> Option<Arc<Process>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn gate(&self) -> Option<Gate> {
        self.process().map(|process| process.gate.clone())
    }

    /// Asks the process to shut down.
    pub(super) fn order_shutdown(&self, grace: Duration) {
        if let Some(process) = self.process() {
            process.orders.send_replace(Some(grace));
        }
    }

    /// One process, start to end.
    pub(super) fn boot(&self) -> BoxFuture<'static, ()> {
        let process = Arc::new(Process {
            world: Arc::clone(&self.world),
            replica: self.number,
            boot: self.boots.fetch_add(1, Ordering::Relaxed),
            clock: self.clock.clone(),
            gate: Gate::open(),
            incarnation: OnceLock::new(),
            orders: watch::Sender::new(None),
        });
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&process));
        self.world.strikes.set_gate(self.number, process.gate.clone());
        let app = Arc::clone(&self.app);
        let gate = process.gate.clone();
        Box::pin(gate.guard(live(process, app)))
    }
}

async fn live(process: Arc<Process>, app: App) {
    let host = Host {
        runtime: runtime::runtime(&process),
        store: Arc::new(remote::RemoteStore::new(Arc::clone(&process))),
        process: Arc::clone(&process),
    };
    let running = app(&host).start();
    let incarnation = running.incarnation();
    let _ = process.incarnation.set(incarnation);
    process.record(What::Booted { incarnation });

    let mut orders = process.orders.subscribe();
    let Ok(grace) = orders.wait_for(Option::is_some).await.map(|order| order.unwrap_or_default()) else { return };
    process
        .record(What::ShutdownBegan { incarnation, grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) });
    let outcome = match running.shutdown(grace).await {
        Ok(()) => ShutdownOutcome::Ok,
        Err(timeout) => ShutdownOutcome::Timeout(timeout.still_running),
    };
    process.record(What::ShutdownEnded { incarnation, outcome });
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
    /// The database, over the simulated network.
    pub fn store(&self) -> impl Store + use<> {
        Arc::clone(&self.store)
    }

    /// Clocks, tasks and randomness of this process.
    pub fn runtime(&self) -> Runtime {
        self.runtime.clone()
    }

    /// The run's seed, for handlers that draw what they do.
    pub fn seed(&self) -> u64 {
        self.process.world.seed
    }

    /// Causes an effect on an outside receiver and waits for its answer. The effect may have happened although an
    /// error is returned.
    ///
    /// # Errors
    /// When the receiver refused the fence, or no answer came.
    pub async fn send(&self, ctx: &Context, receiver: u8, key: String) -> Result<(), HandlerError> {
        let effect = self.effect(ctx, key);
        receiver::send(&self.process, &self.runtime, receiver, (effect, ctx.job().to_string(), None)).await
    }

    /// As [`Host::send`], for a unit of work that reports its stages.
    ///
    /// # Errors
    /// As for [`Host::send`].
    pub async fn send_for(&self, unit: &Unit, ctx: &Context, receiver: u8, key: String) -> Result<(), HandlerError> {
        let tag = unit.sending();
        let effect = self.effect(ctx, key);
        receiver::send(&self.process, &self.runtime, receiver, (effect, tag.row.clone(), Some(tag))).await
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
