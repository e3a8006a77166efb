//! A leadership group: its lock's rules, and who is told of a change. Which replica leads is the driver's business.

use std::{fmt, sync::Arc, time::Duration};

use super::{Locker, ServiceError, ServiceRule, spec::check_ttl};
use crate::{
    job::BoxError,
    model::{Epoch, Incarnation, LockName},
    store::BoxFuture,
};

/// One time of leading: from a promotion to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The group.
    pub group: LockName,
    /// Higher than that of all terms before; `None` under a session lock.
    pub epoch: Option<Epoch>,
    /// The process that leads.
    pub incarnation: Incarnation,
}

pub(crate) type GainFn = Arc<dyn Fn(Term) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;
pub(crate) type LossFn = Arc<dyn Fn(Term) -> BoxFuture<'static, ()> + Send + Sync>;

/// A group of services of which one replica at a time runs all (see [`HaMode::Leader`](super::HaMode::Leader)).
///
/// | rule | default |
/// | --- | --- |
/// | time to live | 30 s |
/// | renewal | a quarter of it; at most a third |
/// | lock | a lease row of the group's name |
///
/// A leader acts on its lock for the time to live less `lease_margin_percent`, counted from the *sending* of the last
/// renewal that succeeded; all work of its services has stopped when that ends.
///
/// ```
/// use std::time::Duration;
/// use tourbillon::{job::BoxError, service::{Leadership, Term}};
///
/// let operator = Leadership::new("operator")
///     .ttl(Duration::from_secs(15))
///     .on_gain(|term: Term| async move {
///         println!("leading, epoch {:?}", term.epoch);
///         Ok::<_, BoxError>(())
///     });
/// # let _ = operator;
/// ```
#[derive(Clone)]
pub struct Leadership {
    name: String,
    ttl: Duration,
    renew_every: Option<Duration>,
    locker: Option<Arc<dyn Locker>>,
    on_gain: Option<GainFn>,
    on_loss: Option<LossFn>,
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership").field("name", &self.name).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Leadership {
    /// A group of this name. Programs that share a database schema and mean different leaders need different names.
    pub fn new(name: &str) -> Self {
        let ttl = Duration::from_secs(30);
        Self { name: name.to_owned(), ttl, renew_every: None, locker: None, on_gain: None, on_loss: None }
    }

    /// How long a dead leader keeps others from leading: 10 ms to 90 days.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// How often the lock is renewed; at most a third of the time to live.
    #[must_use]
    pub fn renew_every(self, interval: Duration) -> Self {
        Self { renew_every: Some(interval), ..self }
    }

    /// Uses a lock of another kind. Best effort: see [`Locker`].
    #[must_use]
    pub fn locker(self, locker: Arc<dyn Locker>) -> Self {
        Self { locker: Some(locker), ..self }
    }

    /// Called after the lock was gained and before any service of the group ticks. If it fails, panics or takes
    /// longer than the lock may be trusted, the replica resigns at once: it leads with all that belongs to it, or not
    /// at all.
    #[must_use]
    pub fn on_gain<F, Fut, E>(self, told: F) -> Self
    where
        F: Fn(Term) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let told: GainFn = Arc::new(move |term| {
            let run = told(term);
            Box::pin(async move { run.await.map_err(Into::into) })
        });
        Self { on_gain: Some(told), ..self }
    }

    /// Called after a term has ended, when no service of the group ticks any more. It may take as long as the time to
    /// live; another replica may lead by then.
    #[must_use]
    pub fn on_loss<F, Fut>(self, told: F) -> Self
    where
        F: Fn(Term) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self { on_loss: Some(Arc::new(move |term| Box::pin(told(term)))), ..self }
    }

    /// Checks the rules.
    pub(crate) fn check(self) -> Result<CheckedLeadership, ServiceError> {
        let name = LockName::new(&self.name).map_err(|error| ServiceError::Name(self.name.clone(), error))?;
        let fail = |rule: ServiceRule| Err(ServiceError::Group(name.clone(), rule));
        if let Err(rule) = check_ttl(self.ttl) {
            return fail(rule);
        }
        let renew_every = self.renew_every.unwrap_or(self.ttl / 4);
        if renew_every.is_zero() || renew_every > self.ttl / 3 {
            return fail(ServiceRule::Renewal { renew_every, ttl: self.ttl });
        }
        let Self { ttl, locker, on_gain, on_loss, .. } = self;
        Ok(CheckedLeadership { name, ttl, renew_every, locker, on_gain, on_loss })
    }
}

/// A group whose rules hold.
#[derive(Clone)]
pub(crate) struct CheckedLeadership {
    pub(crate) name: LockName,
    pub(crate) ttl: Duration,
    pub(crate) renew_every: Duration,
    pub(crate) locker: Option<Arc<dyn Locker>>,
    pub(crate) on_gain: Option<GainFn>,
    pub(crate) on_loss: Option<LossFn>,
}

#[cfg(test)]
mod tests {
    use super::*;

    // P-25
    #[test]
    fn a_renewal_slower_than_a_third_of_the_time_to_live_is_refused() {
        let group = || Leadership::new("operator").ttl(Duration::from_secs(9));
        assert!(group().renew_every(Duration::from_secs(3)).check().is_ok());
        let error = group().renew_every(Duration::from_secs(4)).check().err().map(|error| error.to_string());
        let expected = "leadership `operator`: the renewal interval (4s) is not between zero and a third of the time to \
                        live (9s): lower `renew_every` or raise `ttl`";
        assert_eq!(error.as_deref(), Some(expected));
        let error = group().ttl(Duration::ZERO).check().err().map(|error| error.to_string());
        let expected = "leadership `operator`: the time to live is 0ns: give `ttl` 10 ms to 90 days";
        assert_eq!(error.as_deref(), Some(expected));
    }
}
