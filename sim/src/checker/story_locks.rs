//! Hand-written histories of one lock, `operator`, and one service under it, `crl`: what the narrator of `story` says of
//! them.

use std::time::Duration;

use tourbillon::{
    model::{
        Epoch, HeldBy, LockHeld, LockName, LockRef, RequestId, ServiceName, Timestamp, Token, transition::Refusal,
    },
    runtime::TickEnd,
    service::HaMode,
    store::{AcquireLock, LockReleased, LockRenewed, LockTried, ReleaseLock, RenewLock, Reply, Rescue, Rescued},
};
use uuid::Uuid;

use super::story::{Story, incarnation};
use crate::history::{ServiceFacts, What};

const TTL_MS: u64 = 30_000;

/// The lock as it is.
#[derive(Default)]
pub(super) struct Told {
    holders: std::collections::BTreeMap<u8, LockRef>,
    epoch: u64,
    expires_at: Option<Timestamp>,
}

fn name() -> LockName {
    LockName::new("operator").unwrap()
}

fn service() -> ServiceName {
    ServiceName::new("crl").unwrap()
}

impl Story {
    /// No jobs, one service under the lock; it is to tick every 300 s at least.
    pub(super) fn of_a_service() -> Self {
        Self::with(|facts| {
            facts.jobs.clear();
            facts.services.push(ServiceFacts {
                service: service(),
                mode: HaMode::Leader,
                every: Duration::from_secs(60),
                lock: Some(name()),
                trusted: Duration::from_secs(27),
            });
        })
    }

    /// No jobs, one service that ticks on each of so many replicas.
    pub(super) fn of_every_replica(replicas: u8) -> Self {
        let mut story = Self::of_a_service();
        if let What::Began { facts } = &mut story.history.events[0].what {
            facts.replicas = replicas;
            (facts.services[0].mode, facts.services[0].lock) = (HaMode::EveryReplica, None);
        }
        story
    }

    /// The `n`-th tick under no lock, on the present replica, over at once.
    pub(super) fn tick(&mut self, n: u8) -> &mut Self {
        let (incarnation, tick) = (incarnation(self.replica()), tick(n));
        self.here(What::TickStarted { incarnation, tick, service: service(), under: None }).tick_ends(n)
    }

    fn is_lock_held(&self) -> bool {
        self.told.expires_at.is_some_and(|at| self.now() <= at)
    }

    /// The `n`-th holder, on the present replica, tries the lock, and gets it if it is free.
    pub(super) fn acquire(&mut self, n: u8) -> &mut Self {
        if self.is_lock_held() {
            let expires_at = self.told.expires_at.unwrap();
            let held_by = HeldBy { holder: incarnation(0), epoch: Epoch(self.told.epoch), expires_at };
            return self.tried(Err(held_by));
        }
        self.acquire_anyway(n)
    }

    /// Gets it, free or not.
    pub(super) fn acquire_anyway(&mut self, n: u8) -> &mut Self {
        self.acquire_as_epoch(n, self.told.epoch + 1)
    }

    /// Gets it with this epoch.
    pub(super) fn acquire_as_epoch(&mut self, n: u8, epoch: u64) -> &mut Self {
        let expires_at = self.now() + Duration::from_millis(TTL_MS);
        self.tried(Ok(LockHeld { epoch: Epoch(epoch), expires_at }));
        let token = Token(self.last_request().0);
        self.told.holders.insert(n, LockRef { name: name(), token, epoch: Epoch(epoch) });
        (self.told.epoch, self.told.expires_at) = (epoch, Some(expires_at));
        self
    }

    fn tried(&mut self, outcome: Result<LockHeld, HeldBy>) -> &mut Self {
        let verb = AcquireLock { name: name(), holder: incarnation(self.replica()), ttl_ms: TTL_MS };
        let now = self.now();
        self.exchange(&[], verb, Reply::LockTried(LockTried { now, outcome }))
    }

    fn lock(&self, n: u8) -> LockRef {
        self.told.holders[&n].clone()
    }

    /// As it should be answered.
    pub(super) fn renew(&mut self, n: u8) -> &mut Self {
        let holds = self.lock(n).epoch.0 == self.told.epoch && self.is_lock_held();
        if holds { self.renew_anyway(n) } else { self.renew_refused(n) }
    }

    pub(super) fn renew_anyway(&mut self, n: u8) -> &mut Self {
        let expires_at = self.now() + Duration::from_millis(TTL_MS);
        self.told.expires_at = Some(expires_at);
        self.renewed(n, Ok(expires_at))
    }

    pub(super) fn renew_refused(&mut self, n: u8) -> &mut Self {
        self.renewed(n, Err(Refusal::LeaseLost))
    }

    fn renewed(&mut self, n: u8, outcome: Result<Timestamp, Refusal>) -> &mut Self {
        let (lock, now) = (self.lock(n), self.now());
        self.exchange(&[], RenewLock { lock }, Reply::LockRenewed(LockRenewed { now, outcome }))
    }

    pub(super) fn release(&mut self, n: u8) -> &mut Self {
        let (lock, now) = (self.lock(n), self.now());
        let is_own = lock.epoch.0 == self.told.epoch;
        if is_own {
            self.told.expires_at = None;
        }
        let outcome = if is_own { Ok(()) } else { Err(Refusal::LeaseLost) };
        self.exchange(&[], ReleaseLock { lock }, Reply::LockReleased(LockReleased { now, outcome }))
    }

    /// A rescue notices that the clock stepped back by so many seconds.
    pub(super) fn clamp_lock(&mut self, back_s: u64) -> &mut Self {
        self.told.expires_at = self.told.expires_at.map(|at| at - Duration::from_secs(back_s));
        let (now, ended, clamped) = (self.now(), Vec::new(), Vec::new());
        let rescued = Rescued { now, ended, clamped, clamped_locks: vec![name()] };
        self.exchange(&[], Rescue { limit: 10 }, Reply::Rescued(rescued))
    }

    /// A tick under the lock of the `n`-th holder, on the present replica.
    pub(super) fn tick_starts(&mut self, n: u8) -> &mut Self {
        let lock = self.lock(n);
        let (incarnation, tick) = (incarnation(self.replica()), tick(n));
        self.here(What::TickStarted { incarnation, tick, service: service(), under: Some((lock.name, lock.epoch)) })
    }

    pub(super) fn tick_ends(&mut self, n: u8) -> &mut Self {
        self.tick_ends_as(n, TickEnd::Succeeded)
    }

    pub(super) fn tick_ends_as(&mut self, n: u8, end: TickEnd) -> &mut Self {
        let (incarnation, tick) = (incarnation(self.replica()), tick(n));
        self.here(What::TickEnded { incarnation, tick, end })
    }

    pub(super) fn pause(&mut self) -> &mut Self {
        self.here(What::Paused)
    }

    pub(super) fn resume(&mut self) -> &mut Self {
        self.here(What::Resumed)
    }
}

fn tick(n: u8) -> RequestId {
    RequestId(Uuid::from_u128(0x2000 + u128::from(n)))
}
