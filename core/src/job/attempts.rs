//! The rules of attempts, which jobs and queues have in common: how long one runs, what keeps it alive, how many there
//! are and how far apart. Every rule has an error of its own that says the mend (P-2).

use std::time::Duration;

use super::Delivery;
use crate::{
    model::Reentry,
    plan::{Backoff, BackoffError},
};

/// Longest lease and longest delay of a job: 90 days.
pub const MAX_LEASE: Duration = Duration::from_secs(90 * 86_400);

/// The rules as they were given.
#[derive(Clone)]
pub(crate) struct Attempts {
    pub(crate) run_timeout: Duration,
    pub(crate) lease: Option<Duration>,
    pub(crate) heartbeat: Option<Duration>,
    /// Charged ones; the first counts.
    pub(crate) max: Option<u32>,
    pub(crate) delivery: Delivery,
    pub(crate) backoff: Backoff,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            run_timeout: Duration::from_secs(60),
            lease: None,
            heartbeat: None,
            max: None,
            delivery: Delivery::AtLeastOnce,
            backoff: Backoff::exponential(Duration::from_secs(10)),
        }
    }
}

/// Rules that hold.
pub(crate) struct CheckedAttempts {
    pub(crate) lease: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) max: u32,
}

impl Attempts {
    /// `usual_max` attempts if nothing was said, and one at most once.
    pub(crate) fn check(&self, usual_max: u32) -> Result<CheckedAttempts, AttemptRule> {
        let run_timeout = self.run_timeout;
        if run_timeout.is_zero() {
            return Err(AttemptRule::NoRunTimeout);
        }
        let lease = self.lease.unwrap_or(run_timeout + Duration::from_secs(30));
        if lease <= run_timeout {
            return Err(AttemptRule::LeaseTooShort { lease, run_timeout });
        }
        if lease > MAX_LEASE {
            return Err(AttemptRule::LeaseTooLong(lease));
        }
        let heartbeat = self.heartbeat.unwrap_or((lease / 5).min(Duration::from_secs(30)));
        if heartbeat.is_zero() {
            return Err(AttemptRule::NoHeartbeat);
        }
        if heartbeat >= lease {
            return Err(AttemptRule::HeartbeatTooSlow { heartbeat, lease });
        }
        let max = self.max.unwrap_or(if self.is_at_most_once() { 1 } else { usual_max });
        if max == 0 {
            return Err(AttemptRule::NoAttempt);
        }
        if self.is_at_most_once() && max > 1 {
            return Err(AttemptRule::AttemptsAtMostOnce);
        }
        self.backoff.check().map_err(AttemptRule::Backoff)?;
        Ok(CheckedAttempts { lease, heartbeat, max })
    }

    /// What follows an attempt whose lease expired, where re-entry is `allowed` otherwise.
    pub(crate) fn reentry(&self, allowed: Reentry) -> Reentry {
        if self.is_at_most_once() { Reentry::Forbid } else { allowed }
    }

    fn is_at_most_once(&self) -> bool {
        self.delivery == Delivery::AtMostOnce
    }
}

/// The rules of attempts, as they are broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttemptRule {
    /// Zero.
    #[error("the run timeout is zero: give `run_timeout` how long an attempt may run")]
    NoRunTimeout,
    /// Not above the run timeout.
    #[error(
        "the lease ({lease:?}) is not longer than the run timeout ({run_timeout:?}): raise `lease` or lower `run_timeout`"
    )]
    LeaseTooShort {
        /// As set.
        lease: Duration,
        /// As set.
        run_timeout: Duration,
    },
    /// Above [`MAX_LEASE`].
    #[error("the lease is {0:?}, at most {MAX_LEASE:?} is allowed: nobody would notice a dead runner for so long")]
    LeaseTooLong(Duration),
    /// Zero.
    #[error("the heartbeat interval is zero: give `heartbeat` a duration below the lease")]
    NoHeartbeat,
    /// Not below the lease.
    #[error(
        "the heartbeat interval ({heartbeat:?}) is not shorter than the lease ({lease:?}): a third of it or less is usual"
    )]
    HeartbeatTooSlow {
        /// As set.
        heartbeat: Duration,
        /// As set.
        lease: Duration,
    },
    /// Zero.
    #[error("max attempts is 0: the first attempt counts, so 1 means no retry")]
    NoAttempt,
    /// More than one attempt, and at most once.
    #[error("several attempts at most once: leave `max_attempts` out, or choose `Delivery::AtLeastOnce`")]
    AttemptsAtMostOnce,
    /// The backoff cannot be used.
    #[error("{0}")]
    Backoff(BackoffError),
}
