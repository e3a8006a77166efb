//! How far a shutdown has come, for every loop to see.

use std::time::Duration;

use tokio::sync::watch;

use crate::runtime::{Runtime, first};

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

pub(super) struct Stop(watch::Sender<Stage>);

impl Stop {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Stage::Run))
    }

    /// Goes to `stage`; never back.
    pub(super) fn advance(&self, stage: Stage) {
        self.0.send_if_modified(|now| {
            let further = *now < stage;
            *now = stage.max(*now);
            further
        });
    }

    pub(super) fn has_reached(&self, stage: Stage) -> bool {
        *self.0.borrow() >= stage
    }

    /// Waits for `stage`.
    pub(super) async fn reached(&self, stage: Stage) {
        let mut receiver = self.0.subscribe();
        if receiver.wait_for(|now| *now >= stage).await.is_err() {
            // The sender lives in `self`: it cannot be gone while we borrow it.
            std::future::pending::<()>().await;
        }
    }

    /// Waits for `pause` or for `stage`, whichever comes first; says whether `stage` is reached.
    pub(super) async fn pause(&self, runtime: &Runtime, pause: Duration, stage: Stage) -> bool {
        first(self.reached(stage), runtime.sleep(pause)).await.is_ok()
    }
}
