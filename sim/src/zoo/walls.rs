//! Owns by how much the wall clock of whoever asks is off, for bugs that go by it: the envelope moves that clock, and wants
//! to see them flip. Elsewhere nobody looks, and such a bug makes up an error of its own.

use std::{cell::RefCell, collections::BTreeMap};

use tourbillon::model::RequestId;

thread_local! {
    static OFF_US: RefCell<Option<BTreeMap<RequestId, i64>>> = const { RefCell::new(None) };
}

/// Ends with its scope.
pub(super) struct Following(());

impl Drop for Following {
    fn drop(&mut self) {
        OFF_US.set(None);
    }
}

/// From now on bugs on this thread go by real wall clocks.
pub(super) fn follow() -> Following {
    OFF_US.set(Some(BTreeMap::new()));
    Following(())
}

/// A replica whose wall clock is ahead of true time by so much asks this.
pub(crate) fn asked(request: RequestId, ahead_us: i64) {
    OFF_US.with_borrow_mut(|off| off.as_mut().map(|off| off.insert(request, ahead_us)));
}

/// By how much the clock of whoever asked is ahead, or what is made up.
pub(super) fn ahead_us(request: RequestId, made_up: i64) -> i64 {
    OFF_US.with_borrow(|off| off.as_ref().map_or(made_up, |off| off.get(&request).copied().unwrap_or(0)))
}
