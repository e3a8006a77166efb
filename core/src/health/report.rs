//! Owns what is said of a database's health. Instants are by the database clock.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    model::{Epoch, Incarnation, JobName, LockName, Scope, Timestamp},
    store::{JobStats, Success},
};

/// Missed slots are counted up to here.
pub(super) const MOST_COUNTED: u32 = 1_000;

/// How a database fares. Healthy when it has no finding.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct Report {
    /// The database clock.
    pub now: Timestamp,
    /// What is wrong: stale jobs by name, then what is late by name. Empty: the database is healthy.
    pub findings: Vec<Finding>,
    /// Registered jobs, ordered by name.
    pub jobs: Vec<JobHealth>,
    /// Queues that hold live items, ordered by name.
    pub queues: Vec<QueueHealth>,
    /// Locks, held or not, ordered by name.
    pub locks: Vec<LockHealth>,
}

impl Report {
    /// Whether nothing was found.
    pub fn is_healthy(&self) -> bool {
        self.findings.is_empty()
    }

    /// How long the oldest row that is due has waited, paused jobs included; zero when nothing is due.
    pub fn lag(&self) -> Duration {
        self.oldest_due().map_or(Duration::ZERO, |(at, _)| self.now.since(at))
    }

    /// The oldest instant since which a row is due, with its job or queue.
    pub fn oldest_due(&self) -> Option<(Timestamp, &JobName)> {
        let jobs = self.jobs.iter().filter_map(|job| Some((job.oldest_due_at?, &job.job)));
        jobs.chain(self.queues.iter().filter_map(|queue| Some((queue.oldest_due_at?, &queue.queue)))).min()
    }
}

/// Something that wants a person.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// Scopes of a job have no success for too many slots.
    Stale {
        /// The job.
        job: JobName,
        /// Why, as far as rows tell.
        cause: Cause,
        /// How many scopes, 1 or more.
        scopes: u64,
        /// The one that is stale for the longest.
        worst: Scope,
        /// Slots that it missed, counted up to 1,000.
        missed: u32,
        /// Since when it is stale.
        stale_at: Timestamp,
    },
    /// The oldest row of a job or queue that is due waits for too long.
    Late {
        /// The job or queue.
        name: JobName,
        /// Since when it is due.
        due_at: Timestamp,
        /// For how long, in milliseconds.
        lag_ms: u64,
        /// When a limit key of it gets its next turn, where its rate is what it waits for, at least in part.
        next_turn_at: Option<Timestamp>,
    },
}

impl fmt::Display for Finding {
    /// One line for people: what, since when, and what to look at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { job, cause, scopes, worst, missed, stale_at } => {
                let others = scopes - 1;
                let or_more = if *missed >= MOST_COUNTED { " or more" } else { "" };
                write!(
                    f,
                    "job `{job}` has no success for {worst} in {missed}{or_more} slots, stale since {stale_at}"
                )?;
                match others {
                    0 => {}
                    1 => f.write_str(", and another scope is stale")?,
                    _ => write!(f, ", and {others} other scopes are stale")?,
                }
                f.write_str(match cause {
                    Cause::NotPlanned => {
                        ": no replica plans it; start one, or pause the job if it is not wanted any more"
                    }
                    Cause::NotSucceeding => ": it is planned, so look at how its executions end",
                })
            }
            Self::Late { name, due_at, next_turn_at: Some(at), .. } => {
                write!(f, "`{name}` has a row due since {due_at}: its rate is used up, the next turn is at {at}")
            }
            Self::Late { name, due_at, next_turn_at: None, .. } => {
                write!(f, "`{name}` has a row due since {due_at}: no replica that runs it has room, or none is up")
            }
        }
    }
}

/// Why a scope is stale.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its cursor stands still: no replica that knows the job is up, or its provider of scopes left the scope out.
    NotPlanned,
    /// Its slots are made, and none ends well.
    NotSucceeding,
}

/// One job. Instants and counts of all its scopes together.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct JobHealth {
    /// The job.
    pub job: JobName,
    /// When it runs, in words; `None` when whoever registered it did not say.
    pub schedule: Option<String>,
    /// Whether its schedules are those that the database keeps.
    pub stored_schedules: bool,
    /// Since when the job as a whole is paused.
    pub paused_at: Option<Timestamp>,
    /// Live rows, by state.
    pub live: JobStats,
    /// Since when its oldest row is due and not claimed; `None`: nothing is due.
    pub oldest_due_at: Option<Timestamp>,
    /// How long that is, in milliseconds; 0 when nothing is due.
    pub lag_ms: u64,
    /// The newest slot of any scope that succeeded.
    pub last_success: Option<Success>,
    /// When the next slot of any scope is due; `None` when it is paused, or its schedule is code, or its scopes have schedules
    /// to themselves.
    pub next_due_at: Option<Timestamp>,
    /// Scopes that were looked at, ordered.
    pub scopes: Vec<ScopeHealth>,
    /// Scopes that were not: nothing is said of them.
    pub unseen_scopes: u64,
}

impl JobHealth {
    /// How many of its scopes are stale.
    pub fn stale_scopes(&self) -> usize {
        self.scopes.iter().filter(|scope| matches!(scope.freshness, Freshness::Stale { .. })).count()
    }
}

/// One scope of a job.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct ScopeHealth {
    /// The scope.
    pub scope: Scope,
    /// Up to where its slots are made or recorded as skipped.
    pub planned_at: Timestamp,
    /// Its newest slot that succeeded.
    pub last_success: Option<Success>,
    /// When its next slot is due; `None` as in [`JobHealth::next_due_at`].
    pub next_due_at: Option<Timestamp>,
    /// Its last success against its schedule.
    pub freshness: Freshness,
}

/// The last success of a scope against its schedule.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Freshness {
    /// It succeeded as late as the bounds allow, or has not had the time to.
    Fresh,
    /// Too many slots had their period and no success.
    Stale {
        /// Since when.
        stale_at: Timestamp,
        /// Slots that had their whole period, counted up to 1,000.
        missed: u32,
        /// Why.
        cause: Cause,
    },
    /// The job or the scope is paused: nothing is expected.
    Paused,
    /// Nothing can be said: the schedule is code or the scope's own, or no slot of it is known.
    Unknown,
}

/// A queue that holds live items.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct QueueHealth {
    /// The queue.
    pub queue: JobName,
    /// Live items, by state.
    pub live: JobStats,
    /// Since when its oldest item is due and not claimed; `None`: nothing is due.
    pub oldest_due_at: Option<Timestamp>,
    /// How long that is, in milliseconds; 0 when nothing is due.
    pub lag_ms: u64,
}

/// A lock or a leader.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct LockHealth {
    /// The lock.
    pub lock: LockName,
    /// Who holds it now.
    pub held_by: Option<Incarnation>,
    /// How many times it was acquired so far.
    pub epoch: Epoch,
    /// When it was acquired last.
    pub acquired_at: Timestamp,
    /// Until when it is held unless it is renewed; `None`: nobody holds it.
    pub expires_at: Option<Timestamp>,
}
