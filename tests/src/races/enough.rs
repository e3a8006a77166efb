//! Owns how long a race lasts: its time, and on a loaded machine longer, until enough has met for a verdict to mean
//! something.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tourbillon::runtime::Runtime;

/// After its time a race that has not met enough goes on for at most this long.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(20);

/// How often each kind of meeting has to happen, and how often it has.
pub(crate) struct Enough<const KINDS: usize> {
    least: [usize; KINDS],
    met: [AtomicUsize; KINDS],
    is_over: AtomicBool,
}

impl<const KINDS: usize> Enough<KINDS> {
    pub(crate) fn of(least: [usize; KINDS]) -> Arc<Self> {
        Arc::new(Self { least, met: std::array::from_fn(|_| AtomicUsize::new(0)), is_over: AtomicBool::new(false) })
    }

    /// Counts meetings of one kind.
    pub(crate) fn meet(&self, kind: usize, times: usize) {
        self.met[kind].fetch_add(times, Ordering::Relaxed);
    }

    /// Whether the tasks are to end.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Tells the tasks to end after `lasting`, or as soon after it as enough has met. The finding, if it never has.
    pub(crate) async fn end_after(&self, lasting: Duration) -> Option<String> {
        let runtime = Runtime::tokio();
        runtime.sleep(lasting).await;
        let until = runtime.monotonic() + PATIENCE;
        while !self.has_met() && runtime.monotonic() < until {
            runtime.sleep(POLL).await;
        }
        self.is_over.store(true, Ordering::Relaxed);
        (!self.has_met()).then(|| {
            format!(
                "too little met to show anything: {:?}, at least {:?} are needed and another {} s did not bring them",
                self.met(),
                self.least,
                PATIENCE.as_secs()
            )
        })
    }

    /// How often each kind has happened.
    pub(crate) fn met(&self) -> [usize; KINDS] {
        std::array::from_fn(|kind| self.met[kind].load(Ordering::Relaxed))
    }

    fn has_met(&self) -> bool {
        self.met().iter().zip(self.least).all(|(met, least)| *met >= least)
    }
}
