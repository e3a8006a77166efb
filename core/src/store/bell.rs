//! Notices inside one process. Owns who listens; knows no store.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use super::{BoxFuture, Listener, Notice, Reply, StoreError, Verb};

/// Tells the listeners of one store, inside the process, what may have become due. For implementors of
/// [`Store`](super::Store); clones tell the same listeners.
///
/// What one listener has not fetched yet is one notice, however often the bell is rung.
///
/// ```
/// # use tourbillon::{model::JobName, store::{Bell, Listener, Notice}};
/// # async fn ring() -> Result<(), Box<dyn std::error::Error>> {
/// let bell = Bell::default();
/// let mut listener = bell.listen();
/// bell.ring(&Notice::of(JobName::new("mail")?));
/// assert!(listener.next().await?.concerns(&[JobName::new("mail")?]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Mutex<Vec<Weak<Untold>>>>);

/// What a listener has not fetched yet.
#[derive(Debug, Default)]
struct Untold {
    notice: Mutex<Option<Notice>>,
    came: Notify,
}

impl Bell {
    /// Tells all who listen now.
    pub fn ring(&self, notice: &Notice) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| {
            let Some(untold) = listener.upgrade() else { return false };
            untold.add(notice.clone());
            true
        });
    }

    /// Tells all who listen now what the reply to a verb gives them to do, if it does.
    pub fn ring_after(&self, verb: &Verb, reply: &Reply) {
        if let Some(notice) = Notice::after(verb, reply) {
            self.ring(&notice);
        }
    }

    /// A listener from now on; dropping it ends it. It never fails, and its probe always succeeds: nothing that it
    /// depends on can go without the process.
    pub fn listen(&self) -> impl Listener + use<> {
        let untold = Arc::new(Untold::default());
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Where nobody ever rings, those that are gone would pile up.
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(&untold));
        Ear(untold)
    }
}

impl Untold {
    fn add(&self, notice: Notice) {
        let mut waiting = self.notice.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waiting {
            Some(waiting) => waiting.add(notice),
            None => *waiting = Some(notice),
        }
        self.came.notify_one();
    }

    fn take(&self) -> Option<Notice> {
        self.notice.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Ear(Arc<Untold>);

impl Listener for Ear {
    fn next(&mut self) -> BoxFuture<'_, Result<Notice, StoreError>> {
        Box::pin(async {
            loop {
                if let Some(notice) = self.0.take() {
                    return Ok(notice);
                }
                // One that came since is remembered, and a left-over reminder costs one more look.
                self.0.came.notified().await;
            }
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::model::JobName;

    fn job(name: &str) -> JobName {
        JobName::new(name).unwrap()
    }

    fn heard(listener: &mut impl Listener) -> Option<Notice> {
        match listener.next().as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(notice) => Some(notice.unwrap()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_was_not_fetched_is_one_notice() {
        let bell = Bell::default();
        bell.ring(&Notice::of(job("before")));
        let (mut early, mut late) = (bell.listen(), bell.listen());
        assert_eq!(heard(&mut early), None);
        bell.ring(&Notice::of(job("a")));
        assert_eq!(heard(&mut early), Some(Notice::of(job("a"))));
        bell.ring(&Notice::of(job("b")));
        assert_eq!(heard(&mut early), Some(Notice::of(job("b"))));
        assert_eq!(heard(&mut late), Notice::among([job("a"), job("b")]));
        assert_eq!((heard(&mut early), heard(&mut late)), (None, None));
    }

    #[test]
    fn listeners_that_are_gone_are_forgotten() {
        let bell = Bell::default();
        for _ in 0..10 {
            drop(bell.listen());
        }
        let _listener = bell.listen();
        assert_eq!(bell.0.lock().unwrap().len(), 1);
        bell.ring(&Notice::Any);
        assert_eq!(bell.0.lock().unwrap().len(), 1);
    }
}
