//! Counts panics. A panic in a task is swallowed by the executor that ran it; here it reaches the history.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static CAUGHT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// What a scenario's handler panics with when its work says so: caught by the driver, not a bug.
pub(crate) const PLANNED: &str = "planned panic";

/// While this lives, panics of this thread are collected instead of printed.
pub(super) struct Watch(());

impl Watch {
    pub(super) fn start() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                let caught = CAUGHT.with_borrow_mut(|caught| match caught {
                    Some(messages) => {
                        messages.push(info.to_string());
                        true
                    }
                    None => false,
                });
                if !caught {
                    before(info);
                }
            }));
        });
        CAUGHT.set(Some(Vec::new()));
        Self(())
    }

    /// The unplanned ones since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        let messages = CAUGHT.with_borrow_mut(|caught| caught.as_mut().map(std::mem::take)).unwrap_or_default();
        messages.into_iter().filter(|message| !message.contains(PLANNED)).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        CAUGHT.set(None);
    }
}
