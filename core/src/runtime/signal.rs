//! A value that several tasks wait for. Knows no clock and no runtime.
//!
//! tokio's `watch` would do, but it wakes its waiters in an order drawn at random, which no seed decides.

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// A value that several tasks wait for. They are woken in the order in which they began to wait, so that a simulation
/// replays.
///
/// ```
/// use tourbillon::runtime::Signal;
/// # async fn wait() {
/// let left = Signal::new(2);
/// left.update(|left| {
///     *left = 0;
///     true
/// });
/// left.until(|left| (*left == 0).then_some(())).await;
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Signal<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Signal<T> {
    /// A signal with this value.
    pub fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Notify::new() }
    }

    fn value(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the value. `look` must not use the signal itself.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.value())
    }

    /// Changes the value; all who wait look again if `change` says that it did. `change` must not use the signal itself.
    pub fn update(&self, change: impl FnOnce(&mut T) -> bool) {
        let is_changed = change(&mut self.value());
        if is_changed {
            self.changed.notify_waiters();
        }
    }

    /// Waits until `find` finds something in the value, and returns it: at once if it does so now.
    pub async fn until<R>(&self, mut find: impl FnMut(&T) -> Option<R>) -> R {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let found = self.read(&mut find);
            if let Some(found) = found {
                return found;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        task::{Context, Poll, Wake, Waker},
    };

    use super::*;

    /// Notes its number when it is woken.
    struct Noted(u8, Arc<Mutex<Vec<u8>>>);

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn waiters_are_woken_in_the_order_in_which_they_wait() {
        let signal = Signal::new(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let numbers: Vec<u8> = (0..20).collect();
        let mut waiting: Vec<_> =
            numbers.iter().map(|_| Box::pin(signal.until(|value| (*value > 1).then_some(*value)))).collect();
        for (wait, number) in waiting.iter_mut().zip(&numbers) {
            let waker = Waker::from(Arc::new(Noted(*number, Arc::clone(&woken))));
            assert_eq!(wait.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        }
        signal.update(|_| false);
        assert!(woken.lock().unwrap().is_empty());
        signal.update(|value| {
            *value = 2;
            true
        });
        assert_eq!(*woken.lock().unwrap(), numbers);
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.iter_mut().all(|wait| wait.as_mut().poll(&mut context) == Poll::Ready(2)));
    }

    #[test]
    fn what_is_so_already_is_not_waited_for() {
        let signal = Signal::new(7);
        let mut found = pin!(signal.until(|value| (*value == 7).then_some("seven")));
        assert_eq!(found.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready("seven"));
    }
}
