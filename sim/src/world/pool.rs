//! A replica's connections to the database, counted: who wants one while there are too few waits. Knows no connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Lives as long as its replica, across its processes. Without a limit nobody waits.
#[derive(Default)]
pub(super) struct Pool {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    used: u32,
    /// Those in force; the least counts.
    limits: Vec<u8>,
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limit(&self, to: u8) {
        self.state().limits.push(to);
    }

    /// Ends one such limit; false if there is none.
    pub(super) fn unlimit(&self, to: u8) -> bool {
        let mut state = self.state();
        let Some(index) = state.limits.iter().position(|limit| *limit == to) else { return false };
        state.limits.remove(index);
        drop(state);
        self.changed.notify_waiters();
        true
    }

    /// Ends all limits.
    pub(super) fn free(&self) {
        self.state().limits.clear();
        self.changed.notify_waiters();
    }

    pub(super) fn is_full(&self) -> bool {
        let state = self.state();
        state.limits.iter().min().is_some_and(|limit| state.used >= u32::from(*limit))
    }

    /// A place, as soon as there is one.
    pub(super) async fn enter(self: Arc<Self>) -> Place {
        loop {
            // Made before looking, so that no change is missed in between.
            let changed = self.changed.notified();
            if !self.is_full() {
                self.state().used += 1;
                return Place(Arc::clone(&self));
            }
            changed.await;
        }
    }
}

/// One connection in use; dropping it makes room.
pub(super) struct Place(Arc<Pool>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.state().used -= 1;
        self.0.changed.notify_waiters();
    }
}
