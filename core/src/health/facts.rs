//! Owns what health is judged by: rows as the store's reading verbs return them, and the bounds that an operator sets.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    model::{JobName, Lock, Timestamp},
    plan::Schedule,
    store::{JobEntry, JobStats, ScopeEntry},
};

/// From when a database is not well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// A scope is stale when this many slots in a row, 1 to 1,000, had their whole period and no success. Default: 2, so that
    /// an attempt that takes longer than a period, or is tried again, is no alarm.
    pub missed_periods: u32,
    /// A row that is due and not claimed is late when it has waited for longer than this. Default: 5 minutes.
    pub max_lag: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { missed_periods: 2, max_lag: Duration::from_secs(300) }
    }
}

/// The rows of one look at a database.
#[derive(Clone, PartialEq, Debug)]
pub struct Facts {
    /// The database clock at the last of the reads.
    pub now: Timestamp,
    /// Registered jobs, ordered by name.
    pub jobs: Vec<JobFacts>,
    /// Live rows by job and queue, as [`ReadStats`](crate::store::ReadStats) counts them.
    pub live: BTreeMap<JobName, JobStats>,
    /// Locks, held or not, ordered by name.
    pub locks: Vec<Lock>,
}

/// One job.
#[derive(Clone, PartialEq, Debug)]
pub struct JobFacts {
    /// As it is registered.
    pub entry: JobEntry,
    /// Its scopes, ordered; fewer than `entry.scopes` when not all were looked at.
    pub scopes: Vec<ScopeFacts>,
}

/// One scope of a job.
#[derive(Clone, PartialEq, Debug)]
pub struct ScopeFacts {
    /// How far it is planned, and its last success.
    pub entry: ScopeEntry,
    /// The oldest slot of which an execution was found, where no success is known; `None`: none was looked for, or there is
    /// none. A scope that never succeeded is judged from here.
    pub first_slot_at: Option<Timestamp>,
    /// The schedule that the database keeps for it, of its job's kind; `None`: none was looked for, there is none, or this
    /// program cannot read it.
    pub stored: Option<Schedule>,
}
