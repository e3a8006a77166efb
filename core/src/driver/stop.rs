//! How far a shutdown has come, for every loop to see.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use crate::runtime::{Runtime, Signal, first};

/// Each stage includes the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    /// Normal work.
    Run,
    /// Nothing new is planned or claimed; handlers may finish.
    Drain,
    /// Handlers still running are interrupted and their rows given back.
    Interrupt,
    /// Everything ends.
    End,
}

pub(super) struct Stop {
    stage: Signal<Stage>,
    /// The same again: it is looked at several times an attempt, by all threads, and changes three times.
    reached: AtomicU8,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self { stage: Signal::new(Stage::Run), reached: AtomicU8::new(Stage::Run as u8) }
    }

    /// Goes to `stage`; never back.
    pub(super) fn advance(&self, stage: Stage) {
        self.stage.update(|now| {
            let further = *now < stage;
            *now = stage.max(*now);
            self.reached.store(*now as u8, Ordering::SeqCst);
            further
        });
    }

    pub(super) fn has_reached(&self, stage: Stage) -> bool {
        self.reached.load(Ordering::SeqCst) >= stage as u8
    }

    /// Waits for `stage`.
    pub(super) async fn reached(&self, stage: Stage) {
        self.stage.until(|now| (*now >= stage).then_some(())).await;
    }

    /// Waits for `pause` or for `stage`, whichever comes first; says whether `stage` is reached.
    pub(super) async fn pause(&self, runtime: &Runtime, pause: Duration, stage: Stage) -> bool {
        first(self.reached(stage), runtime.sleep(pause)).await.is_ok()
    }
}
