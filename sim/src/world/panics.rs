//! Counts panics. A panic in a task is swallowed by the executor that ran it; here it reaches the history.

use std::{cell::RefCell, panic, sync::Once, thread};

use super::lane::Attention;

thread_local! {
    static CAUGHT: RefCell<Option<Caught>> = const { RefCell::new(None) };
}

struct Caught {
    messages: Vec<String>,
    attention: Attention,
}

/// What a scenario's handler panics with when its work says so: caught by the driver, not a bug.
pub(crate) const PLANNED: &str = "planned panic";

/// While this lives, panics of this thread are collected instead of printed.
pub(super) struct Watch(());

impl Watch {
    /// Calls for `attention` at each.
    pub(super) fn start(attention: Attention) -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                let caught = CAUGHT.with_borrow_mut(|caught| match caught {
                    Some(caught) => {
                        caught.messages.push(info.to_string());
                        caught.attention.notify_one();
                        true
                    }
                    None => false,
                });
                if !caught {
                    before(info);
                }
            }));
        });
        CAUGHT.set(Some(Caught { messages: Vec::new(), attention }));
        Self(())
    }

    /// The unplanned ones since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        let messages =
            CAUGHT.with_borrow_mut(|caught| caught.as_mut().map(|caught| std::mem::take(&mut caught.messages)));
        messages.unwrap_or_default().into_iter().filter(|message| !message.contains(PLANNED)).collect()
    }
}

impl Drop for Watch {
    /// Nobody can take the messages of a panic that unwinds the simulation itself: they are printed after all.
    fn drop(&mut self) {
        let caught = CAUGHT.take();
        if thread::panicking() {
            caught.into_iter().flat_map(|caught| caught.messages).for_each(|message| eprintln!("{message}"));
        }
    }
}
