//! One run of a user's code, be it the attempt of a handler or the tick of a service: when to stop, its time, its tasks.
//! Knows neither of the two.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::runtime::{Runtime, Task};

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
#[derive(Clone, Debug)]
pub(crate) struct StopSignal(Arc<watch::Sender<Option<StopReason>>>);

impl StopSignal {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    pub(crate) fn raise(&self, reason: StopReason) {
        self.0.send_if_modified(|now| {
            let first = now.is_none();
            now.get_or_insert(reason);
            first
        });
    }

    pub(crate) fn get(&self) -> Option<StopReason> {
        *self.0.borrow()
    }

    pub(crate) async fn raised(&self) -> StopReason {
        let mut receiver = self.0.subscribe();
        // The guard must not live on into another await: a handler's future has to be `Send`.
        let reason = receiver.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
        match reason {
            Some(reason) => reason,
            // The sender lives in `self`, so the channel cannot have closed.
            None => std::future::pending().await,
        }
    }
}

/// What every run has.
pub(crate) struct Run {
    pub(crate) stop: StopSignal,
    pub(crate) runtime: Runtime,
    children: Mutex<Vec<Task>>,
}

impl Run {
    pub(crate) fn new(stop: StopSignal, runtime: Runtime) -> Arc<Self> {
        Arc::new(Self { stop, runtime, children: Mutex::default() })
    }

    /// Starts a task that is dropped with the run.
    pub(crate) fn spawn(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) {
        let task = self.runtime.spawn(name, future);
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
