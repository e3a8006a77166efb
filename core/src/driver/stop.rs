//! How far a shutdown has come, for every loop to see.

use std::time::Duration;

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

pub(super) struct Stop(Signal<Stage>);

impl Stop {
    pub(super) fn new() -> Self {
        Self(Signal::new(Stage::Run))
    }

    /// Goes to `stage`; never back.
    pub(super) fn advance(&self, stage: Stage) {
        self.0.update(|now| {
            let further = *now < stage;
            *now = stage.max(*now);
            further
        });
    }

    pub(super) fn has_reached(&self, stage: Stage) -> bool {
        self.0.read(|now| *now >= stage)
    }

    /// Waits for `stage`.
    pub(super) async fn reached(&self, stage: Stage) {
        self.0.until(|now| (*now >= stage).then_some(())).await;
    }

    /// Waits for `pause` or for `stage`, whichever comes first; says whether `stage` is reached.
    pub(super) async fn pause(&self, runtime: &Runtime, pause: Duration, stage: Stage) -> bool {
        first(self.reached(stage), runtime.sleep(pause)).await.is_ok()
    }
}
