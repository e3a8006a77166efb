//! Leading a group: campaign, promotion (all or resign), term, end.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use super::hold::{Hold, LockRules, NotHeld, Trust, acquire};
use crate::{
    driver::{Shared, measure, runner::guard, stop::Stage},
    model::LockName,
    runtime::{DriverEvent, Signal, first},
    service::{CheckedLeadership, Term},
    store::BoxFuture,
};

/// A group as it is led, or not, by this replica.
pub(in crate::driver) struct Group {
    rules: CheckedLeadership,
    term: Signal<Terms>,
}

#[derive(Default)]
struct Terms {
    /// How often one began or ended.
    changes: u64,
    present: Option<Arc<Leading>>,
}

/// A term of this replica.
pub(super) struct Leading {
    pub(super) trust: Arc<Trust>,
    /// Ticks under it.
    ticks: Signal<usize>,
}

/// Marks one tick as part of a term.
pub(super) struct Part(Arc<Leading>);

impl Part {
    pub(super) fn trust(&self) -> &Trust {
        &self.0.trust
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.ticks.update(|ticks| {
            *ticks -= 1;
            *ticks == 0
        });
    }
}

impl Group {
    pub(in crate::driver) fn new(rules: CheckedLeadership) -> Self {
        Self { rules, term: Signal::default() }
    }

    /// Takes part in the present term, if this replica leads.
    pub(super) fn join(&self) -> Option<Part> {
        // Within one look: the end of a term, which takes the value away, waits for those who joined.
        self.term.read(|terms| {
            let leading = terms.present.as_ref()?;
            leading.ticks.update(|ticks| {
                *ticks += 1;
                false
            });
            Some(Part(Arc::clone(leading)))
        })
    }

    /// How often a term began or ended.
    pub(super) fn changes(&self) -> u64 {
        self.term.read(|terms| terms.changes)
    }

    /// Waits until a term began or ended after as many changes.
    pub(super) async fn changed_since(&self, changes: u64) {
        self.term.until(|terms| (terms.changes != changes).then_some(())).await;
    }

    fn set(&self, present: Option<Arc<Leading>>) {
        self.term.update(|terms| {
            *terms = Terms { changes: terms.changes + 1, present };
            true
        });
    }

    pub(super) fn is_led_here(&self) -> bool {
        self.term.read(|terms| terms.present.is_some())
    }
}

/// Leads whenever it can, until a shutdown begins. Then the term ends when its ticks have, so that another replica
/// takes over at once.
pub(in crate::driver) async fn run(shared: Arc<Shared>, name: LockName) {
    let Some(group) = shared.groups.get(&name) else { return };
    let rules = &group.rules;
    // Replicas started together do not campaign together.
    let mut wait = shared.runtime.random_below(rules.renew_every);
    while !shared.stop.pause(&shared.runtime, wait, Stage::Drain).await {
        let lock = LockRules {
            name: &rules.name,
            ttl: rules.ttl,
            renew_every: rules.renew_every,
            locker: rules.locker.as_ref(),
        };
        let pause = match acquire(&shared, &lock).await {
            Ok(hold) if shared.stop.has_reached(Stage::Drain) => {
                sometimes!("a replica wins a campaign when its shutdown has begun");
                return hold.release().await;
            }
            Ok(hold) => term(&shared, group, hold).await,
            Err(NotHeld::Taken(_)) if planted!(B9) => return,
            Err(NotHeld::Taken(left)) => {
                sometimes!("a campaign finds another leader");
                // When the lock would expire, or soon in case it is given back before.
                left.map_or(rules.renew_every, |left| left + Duration::from_millis(1)).min(rules.renew_every)
            }
            Err(NotHeld::Error(error)) => {
                sometimes!("a campaign fails");
                tracing::warn!(group = %name, %error, "cannot campaign: the lock could not be tried");
                rules.renew_every
            }
        };
        wait = pause * 9 / 10 + shared.runtime.random_below(pause / 5);
    }
}

/// One term; returns how long to wait before the next campaign.
async fn term(shared: &Arc<Shared>, group: &Group, hold: Hold) -> Duration {
    let rules = &group.rules;
    let trust = Arc::clone(&hold.trust);
    let term = Term { group: rules.name.clone(), epoch: trust.epoch, incarnation: shared.incarnation };
    if let Err(why) = promote(shared, rules, &term, &trust).await {
        sometimes!("a promotion fails, and the replica resigns");
        tracing::error!(group = %rules.name, epoch = ?term.epoch, "promotion failed, resigning: {why}");
        hold.release().await;
        // Whatever failed here may work elsewhere.
        return rules.ttl;
    }
    tracing::info!(group = %rules.name, epoch = ?term.epoch, "leading");
    shared.runtime.observe(|| DriverEvent::LeaderGained { lock: rules.name.clone(), epoch: term.epoch });
    measure::leads(&rules.name, term.epoch, true);
    let leading = Arc::new(Leading { trust: Arc::clone(&trust), ticks: Signal::new(0) });
    let is_half_done = term.epoch.is_some_and(|epoch| epoch.0 % 3 == 0) && planted!(B4);
    if !is_half_done {
        group.set(Some(Arc::clone(&leading)));
    }

    let _ = first(trust.over(&shared.runtime), shared.stop.reached(Stage::Drain)).await;
    // Nothing new begins. Ticks end by themselves, or before the next poll after the trust is over.
    group.set(None);
    sometimes!("a term ends because its lock may not be trusted", trust.is_over(shared.runtime.monotonic()));
    sometimes!("a term ends by a shutdown", shared.stop.has_reached(Stage::Drain));
    sometimes!("the end of a term waits for its ticks", leading.ticks.read(|ticks| *ticks > 0));
    leading.ticks.until(|ticks| (*ticks == 0 || planted!(D1)).then_some(())).await;

    tracing::info!(group = %rules.name, epoch = ?term.epoch, "not leading any more");
    shared.runtime.observe(|| DriverEvent::LeaderLost { lock: rules.name.clone(), epoch: term.epoch });
    measure::leads(&rules.name, term.epoch, false);
    hold.release().await;
    if let Some(on_loss) = &rules.on_loss {
        let told = guarded(|| on_loss(term));
        if let Some(Err(message)) = shared.runtime.timeout(rules.ttl, told).await {
            sometimes!("`on_loss` panics");
            tracing::error!(group = %rules.name, "on_loss panicked: {message}");
        }
    }
    Duration::ZERO
}

async fn promote(shared: &Shared, rules: &CheckedLeadership, term: &Term, trust: &Trust) -> Result<(), String> {
    if trust.is_over(shared.runtime.monotonic()) {
        sometimes!("a lock is won too late to be trusted");
        return Err("the lock came too late to be trusted".to_owned());
    }
    let Some(on_gain) = &rules.on_gain else { return Ok(()) };
    match first(trust.over(&shared.runtime), guarded(|| on_gain(term.clone()))).await {
        Ok(()) => Err("on_gain took longer than the lock may be trusted".to_owned()),
        Err(Ok(Ok(()))) => Ok(()),
        Err(Ok(Err(error))) => Err(format!("on_gain failed: {error}")),
        Err(Err(message)) => Err(format!("on_gain panicked: {message}")),
    }
}

/// User code whose panic is a message.
async fn guarded<T>(make: impl FnOnce() -> BoxFuture<'static, T>) -> Result<T, String> {
    let mut run = guard(make)?;
    poll_fn(|cx| match guard(|| run.as_mut().poll(cx)) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(message) => Poll::Ready(Err(message)),
    })
    .await
}
