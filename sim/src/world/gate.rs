//! A gate around every task of a process: open, paused, or dead for good.
//!
//! A pause is a gate that lets nothing through: timers fire and messages arrive meanwhile, and everything that is
//! late happens at once when it opens. A power loss is a gate that never opens again.
//!
//! A task that was started past the gate is reached by none of this. It is counted, whoever of ours started it: while a
//! task is polled, nobody else starts any, so those that appear meanwhile came through the gate, or past it.
//!
//! The gate also owns the tasks, so that a crash drops them in the order in which they were started. The executor
//! would drop them in an order that depends on task numbers, which all threads of the real process share: the same
//! seed would then have two histories.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::{
    runtime::{Handle, RuntimeMetrics},
    task::{AbortHandle, JoinHandle},
};

use super::disturbance::Disturbance;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Open,
    Paused,
    Dead,
}

type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
type Slot = Arc<Mutex<Option<TaskFuture>>>;

#[derive(Clone)]
pub(super) struct Gate(Arc<Mutex<State>>);

struct State {
    mode: Mode,
    waiting: Vec<Waker>,
    tasks: BTreeMap<u64, (Slot, Option<AbortHandle>)>,
    next_task: u64,
    strays: u64,
    ending: bool,
    disturbance: Option<Arc<Disturbance>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    pub(super) fn open() -> Self {
        Self(Arc::new(Mutex::new(State {
            mode: Mode::Open,
            waiting: Vec::new(),
            tasks: BTreeMap::new(),
            next_task: 0,
            strays: 0,
            ending: false,
            disturbance: None,
        })))
    }

    /// One whose tasks are disturbed, if at all.
    pub(super) fn disturbed(disturbance: Option<Arc<Disturbance>>) -> Self {
        let gate = Self::open();
        lock(&gate.0).disturbance = disturbance;
        gate
    }

    pub(super) fn mode(&self) -> Mode {
        lock(&self.0).mode
    }

    /// Closes it, unless it is dead.
    pub(super) fn pause(&self) {
        let mut state = lock(&self.0);
        if state.mode == Mode::Open {
            state.mode = Mode::Paused;
        }
    }

    /// Opens it again, unless it is dead; everything that waited is polled.
    pub(super) fn resume(&self) {
        let mut state = lock(&self.0);
        if state.mode == Mode::Paused {
            state.mode = Mode::Open;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waker in waiting {
            waker.wake();
        }
    }

    /// Closes it for good.
    pub(super) fn kill(&self) {
        let mut state = lock(&self.0);
        state.mode = Mode::Dead;
        state.waiting.clear();
    }

    /// How many tasks were started past it since the last call.
    pub(super) fn take_strays(&self) -> u64 {
        std::mem::take(&mut lock(&self.0).strays)
    }

    /// Drops all tasks, and tells the executor that they are over: for an executor that goes on.
    pub(super) fn cut(&self) {
        for executed in self.drop_all() {
            executed.abort();
        }
    }

    /// The executor is about to drop its tasks: the first that it drops takes all the others with it, in order.
    pub(super) fn end(&self) {
        lock(&self.0).ending = true;
    }

    /// Puts a task behind the gate.
    pub(super) fn guard(&self, task: impl Future<Output = ()> + Send + 'static) -> Gated {
        let slot: Slot = Arc::new(Mutex::new(Some(Box::pin(task))));
        let mut state = lock(&self.0);
        let number = state.next_task;
        state.next_task += 1;
        state.tasks.insert(number, (Arc::clone(&slot), None));
        Gated { gate: self.clone(), number, slot, executor: None }
    }

    /// Starts a task behind the gate.
    #[expect(clippy::disallowed_methods, reason = "the one home of simulated tasks: every one is behind its gate")]
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let gated = self.guard(task);
        let number = gated.number;
        let handle = tokio::spawn(gated);
        if let Some((_, executed)) = lock(&self.0).tasks.get_mut(&number) {
            *executed = Some(handle.abort_handle());
        }
        handle
    }

    fn drop_all(&self) -> Vec<AbortHandle> {
        let mut executed = Vec::new();
        // A destructor may start or end tasks; look again after each.
        while let Some((_, (slot, handle))) = { lock(&self.0).tasks.pop_first() } {
            let task = lock(&slot).take();
            drop(task);
            executed.extend(handle);
        }
        executed
    }
}

pub(super) struct Gated {
    gate: Gate,
    number: u64,
    slot: Slot,
    /// What polls it, once it does.
    executor: Option<RuntimeMetrics>,
}

impl Gated {
    /// Tasks of the executor.
    fn alive(&self) -> u64 {
        self.executor.as_ref().map_or(0, |executor| executor.num_alive_tasks() as u64)
    }
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.gate.0);
        if state.mode == Mode::Paused {
            state.waiting.push(cx.waker().clone());
        }
        if state.mode != Mode::Open {
            return Poll::Pending;
        }
        if state.disturbance.as_ref().is_some_and(|disturbance| disturbance.puts_behind()) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let started_before = state.next_task;
        drop(state);
        if self.executor.is_none() {
            self.executor = Handle::try_current().ok().map(|executor| executor.metrics());
        }
        let alive_before = self.alive();
        let mut slot = lock(&self.slot);
        let polled = match slot.as_mut() {
            Some(task) => task.as_mut().poll(cx),
            None => Poll::Ready(()),
        };
        drop(slot);
        let mut state = lock(&self.gate.0);
        let started = state.next_task - started_before;
        state.strays += self.alive().saturating_sub(alive_before + started);
        polled
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        if lock(&self.gate.0).ending {
            self.gate.drop_all();
            return;
        }
        lock(&self.gate.0).tasks.remove(&self.number);
        let task = lock(&self.slot).take();
        drop(task);
    }
}
