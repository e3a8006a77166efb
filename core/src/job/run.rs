//! One run of a user's code, be it the attempt of a handler or the tick of a service: when to stop, its time, its tasks.
//! Knows neither of the two.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Instrument;

use crate::{
    model::Progress,
    runtime::{Runtime, Signal, Task},
};

/// Why a handler should come to an end soon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// The process shuts down; handlers still have its grace period.
    ShuttingDown,
    /// An operator cancelled the execution.
    Cancelled,
    /// The lease is lost; nothing more of the handler will run.
    LeaseLost,
}

/// The one place where stop reasons meet; the first one stays.
#[derive(Debug, Default)]
pub(crate) struct StopSignal(Signal<Option<StopReason>>);

impl StopSignal {
    pub(crate) fn raise(&self, reason: StopReason) {
        self.0.update(|now| {
            let first = now.is_none();
            now.get_or_insert(reason);
            first
        });
    }

    pub(crate) fn get(&self) -> Option<StopReason> {
        self.0.read(|now| *now)
    }

    pub(crate) async fn raised(&self) -> StopReason {
        self.0.until(|reason| *reason).await
    }
}

/// What a run says of itself and nobody has carried on yet; the last word counts.
#[derive(Debug, Default)]
pub(crate) struct Saying(Mutex<Option<Progress>>);

impl Saying {
    fn slot(&self) -> MutexGuard<'_, Option<Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn say(&self, progress: Progress) {
        *self.slot() = Some(progress);
    }

    pub(crate) fn take(&self) -> Option<Progress> {
        self.slot().take()
    }

    /// It was not carried on after all; what was said since is newer.
    pub(crate) fn put_back(&self, progress: Progress) {
        self.slot().get_or_insert(progress);
    }
}

/// What every run has.
pub(crate) struct Run {
    pub(crate) stop: StopSignal,
    pub(crate) saying: Saying,
    pub(crate) runtime: Runtime,
    children: Mutex<Vec<Task>>,
}

impl Run {
    pub(crate) fn new(runtime: Runtime) -> Arc<Self> {
        let (stop, saying, children) = (StopSignal::default(), Saying::default(), Mutex::default());
        Arc::new(Self { stop, saying, runtime, children })
    }

    /// Starts a task that is dropped with the run, in the span of its caller.
    pub(crate) fn spawn(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) {
        let task = self.runtime.spawn(name, future.in_current_span());
        self.children.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Ends what [`Run::spawn`] started; returns the tasks so that a shutdown can wait for them.
    pub(crate) fn abort_children(&self) -> Vec<Task> {
        let tasks = std::mem::take(&mut *self.children.lock().unwrap_or_else(PoisonError::into_inner));
        for task in &tasks {
            task.abort();
        }
        tasks
    }
}
