//! Holding a lock: taking it, renewing it on a task of its own, giving it back, and how long it may be trusted.
//!
//! A lock is trusted from the *sending* of the request that took or renewed it, for its time to live less a margin for
//! drift, by the monotonic clock. When the trust ends, or a renewal is refused, nothing under the lock is polled again,
//! whether or not anybody could be asked (G7).

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use crate::{
    driver::Shared,
    model::{Epoch, LockName, LockRef, Token},
    runtime::{Monotonic, Runtime, Signal, first},
    service::{Locker, SessionLock},
    store::{AcquireLock, ReleaseLock, RenewLock, StoreError},
};

/// How long a lock may be believed in.
pub(super) struct Trust {
    pub(super) name: LockName,
    /// `None` under a session lock.
    pub(super) epoch: Option<Epoch>,
    trusted_for: Duration,
    state: Signal<TrustState>,
}

#[derive(Clone, Copy)]
struct TrustState {
    until: Monotonic,
    lost: bool,
}

impl Trust {
    fn new(name: LockName, epoch: Option<Epoch>, trusted_for: Duration, sent_at: Monotonic) -> Self {
        let state = Signal::new(TrustState { until: sent_at + trusted_for, lost: false });
        Self { name, epoch, trusted_for, state }
    }

    /// Whether nothing under the lock may run at `now`.
    pub(super) fn is_over(&self, now: Monotonic) -> bool {
        self.state.read(|state| state.lost || now >= state.until)
    }

    fn until(&self) -> Monotonic {
        self.state.read(|state| state.until)
    }

    /// Waits until nothing under the lock may run any more.
    pub(super) async fn over(&self, runtime: &Runtime) {
        while !self.is_over(runtime.monotonic()) {
            let _ = first(self.lost(), runtime.sleep_until(self.until())).await;
        }
    }

    async fn lost(&self) {
        self.state.until(|state| state.lost.then_some(())).await;
    }

    /// A request sent at `sent_at` renewed the lock. What is over stays over.
    fn renewed(&self, sent_at: Monotonic, now: Monotonic) {
        self.state.update(|state| {
            let later = sent_at + self.trusted_for;
            let extends = !state.lost && now < state.until && later > state.until;
            sometimes!("a renewal is answered when the lock is given up", state.lost || now >= state.until);
            if extends {
                state.until = later;
            }
            extends
        });
    }

    fn lose(&self) {
        self.state.update(|state| !std::mem::replace(&mut state.lost, true));
    }
}

/// Rules of a lock.
pub(super) struct LockRules<'a> {
    pub(super) name: &'a LockName,
    pub(super) ttl: Duration,
    pub(super) renew_every: Duration,
    pub(super) locker: Option<&'a Arc<dyn Locker>>,
}

/// A lock that is held and renewed until this is dropped, or its trust is over.
pub(super) struct Hold {
    pub(super) trust: Arc<Trust>,
    /// Its end asks the renewing task to give the lock back.
    keep: oneshot::Sender<()>,
    given_back: oneshot::Receiver<()>,
}

impl Hold {
    /// Gives the lock back and waits until that is done, or given up.
    pub(super) async fn release(self) {
        drop(self.keep);
        // An error means that the task was aborted: the process ends.
        let _ = self.given_back.await;
    }
}

/// Why there is no lock.
pub(super) enum NotHeld {
    /// Somebody else has it; a lease row says for how much longer, at most, by the database clock.
    Taken(Option<Duration>),
    /// Nobody could say whether it is free.
    Error(StoreError),
}

/// Tries to take a lock, without waiting for its holder.
pub(super) async fn acquire(shared: &Arc<Shared>, rules: &LockRules<'_>) -> Result<Hold, NotHeld> {
    let trusted_for = shared.settings.trusted(rules.ttl);
    let (sent_at, grip, epoch) = match rules.locker {
        None => {
            let ttl_ms = u64::try_from(rules.ttl.as_millis()).unwrap_or(u64::MAX);
            let verb = AcquireLock { name: rules.name.clone(), holder: shared.incarnation, ttl_ms };
            // One request, repeated while nobody knows what became of it: its receipt tells (B32).
            let give_up_at = shared.runtime.monotonic() + trusted_for / 2;
            let answered = shared.caller.until(verb, give_up_at).await.map_err(NotHeld::Error)?;
            let held = answered
                .reply
                .outcome
                .map_err(|held_by| NotHeld::Taken(Some(held_by.expires_at.since(answered.reply.now))))?;
            let lock = LockRef { name: rules.name.clone(), token: Token(answered.request.0), epoch: held.epoch };
            (answered.sent_at, Grip::Row(lock), Some(held.epoch))
        }
        Some(locker) => {
            let sent_at = shared.runtime.monotonic();
            let tried =
                shared.runtime.timeout(shared.settings.call_timeout, locker.try_lock(rules.name.clone())).await;
            let tried = tried.unwrap_or_else(|| Err(late("try_lock", shared.settings.call_timeout)));
            sometimes!("a session lock cannot be tried", tried.is_err());
            let lock = tried.map_err(NotHeld::Error)?.ok_or(NotHeld::Taken(None))?;
            (sent_at, Grip::Session(lock), None)
        }
    };
    let trust = Arc::new(Trust::new(rules.name.clone(), epoch, trusted_for, sent_at));
    let (keep, kept) = oneshot::channel();
    let (tell, given_back) = oneshot::channel();
    let every = if planted!(B3) { rules.ttl } else { rules.renew_every };
    let keeper = Keeper { shared: Arc::clone(shared), trust: Arc::clone(&trust), grip, every };
    let name = format!("lock {}", rules.name);
    let task = shared.runtime.spawn(&name, async move {
        keeper.run(sent_at, kept).await;
        // Nobody may wait for it.
        let _ = tell.send(());
    });
    shared.runners.add(task);
    Ok(Hold { trust, keep, given_back })
}

fn late(what: &str, limit: Duration) -> StoreError {
    StoreError::new(crate::store::ErrorKind::Unknown, format!("{what}: no answer within {limit:?}"))
}

/// What is shown to whoever keeps the lock.
enum Grip {
    Row(LockRef),
    Session(Box<dyn SessionLock>),
}

/// What a renewal came to.
enum Renewal {
    Held,
    Refused(String),
    Unknown(StoreError),
}

/// Renews one lock, on a task of its own: slow work never delays a renewal.
struct Keeper {
    shared: Arc<Shared>,
    trust: Arc<Trust>,
    grip: Grip,
    every: Duration,
}

impl Keeper {
    async fn run(mut self, sent_at: Monotonic, mut kept: oneshot::Receiver<()>) {
        let shared = Arc::clone(&self.shared);
        let mut next_at = sent_at + self.every;
        loop {
            let wake_at = next_at.min(self.trust.until());
            if first(&mut kept, shared.runtime.sleep_until(wake_at)).await.is_ok() {
                break;
            }
            let sent_at = shared.runtime.monotonic();
            if self.trust.is_over(sent_at) {
                sometimes!("the trust in a lock runs out with nobody asked");
                tracing::warn!(lock = %self.trust.name, epoch = ?self.trust.epoch, "no renewal in time: the lock is given up");
                break;
            }
            let Ok(renewal) = first(self.renew(), &mut kept).await else { break };
            let now = shared.runtime.monotonic();
            match renewal {
                Renewal::Held => {
                    self.trust.renewed(if planted!(D2) { now } else { sent_at }, now);
                    next_at = sent_at + self.every;
                }
                Renewal::Refused(_) if planted!(A27) => next_at = now + self.every,
                Renewal::Refused(why) => {
                    sometimes!("the renewal of a lock is refused");
                    tracing::warn!(lock = %self.trust.name, epoch = ?self.trust.epoch, why, "the lock is lost");
                    break;
                }
                // The trust runs out by itself (B20).
                Renewal::Unknown(error) => {
                    sometimes!("the renewal of a lock fails");
                    tracing::warn!(lock = %self.trust.name, %error, "the lock could not be renewed; trying again");
                    next_at = now + self.every / 4;
                }
            }
        }
        if !planted!(D1) {
            self.trust.lose();
        }
        self.give_back().await;
    }

    async fn renew(&mut self) -> Renewal {
        let (shared, every) = (&self.shared, self.every);
        match &mut self.grip {
            Grip::Row(lock) => {
                // A hung call must leave time for another before the trust ends.
                let call = shared.caller.once(RenewLock { lock: lock.clone() });
                match shared.runtime.timeout(every, call).await {
                    Some(Ok(answered)) => match answered.reply.outcome {
                        Ok(_) => Renewal::Held,
                        Err(refusal) => Renewal::Refused(refusal.to_string()),
                    },
                    Some(Err(error)) => Renewal::Unknown(error),
                    None => Renewal::Unknown(late("renew_lock", every)),
                }
            }
            // A session that does not answer may have lost its lock already: there is no second try.
            Grip::Session(lock) => match shared.runtime.timeout(every, lock.verify()).await {
                Some(Ok(())) => Renewal::Held,
                Some(Err(error)) => Renewal::Refused(error.to_string()),
                None => Renewal::Refused(late("verify", every).to_string()),
            },
        }
    }

    /// So that the next holder need not wait for the expiry. Harmless when the lock is somebody else's by now.
    async fn give_back(self) {
        let shared = &self.shared;
        match self.grip {
            Grip::Row(lock) => {
                let give_up_at = shared.runtime.monotonic() + shared.settings.call_timeout;
                if let Err(error) = shared.caller.until(ReleaseLock { lock }, give_up_at).await {
                    sometimes!("a lock cannot be given back, and expires");
                    tracing::warn!(lock = %self.trust.name, %error, "the lock was not given back; it expires");
                }
            }
            Grip::Session(lock) => {
                // Past the deadline the session is dropped, and the lock with it.
                let _ = shared.runtime.timeout(shared.settings.call_timeout, lock.unlock()).await;
            }
        }
    }
}
