//! What it takes to run attempts, whoever made their executions: a planned job or a queue.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::handler::HandlerFn;
use crate::{
    model::{ExecutionId, Failure, JobName, Retention, State},
    plan::Backoff,
};

/// How often an item may take effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The mark comes after the effect: an attempt that is cut short is followed by another one. Effects may repeat.
    AtLeastOnce,
    /// The mark comes before the effect: an item is started once, durably, before its handler runs. One that is cut
    /// short, also by a shutdown, is dead; one whose start is not known to be durable does not run. Only a snooze,
    /// which is the handler's own word that nothing was done, or an operator's requeue leads to another run.
    AtMostOnce,
}

/// How one attempt ended, as the store recorded it (P-69).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptReport {
    /// The queue.
    pub queue: JobName,
    /// The item.
    pub id: ExecutionId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Where the item went: succeeded, retryable, dead, cancelled, or scheduled when it was given back or snoozed.
    pub state: State,
    /// Why, if it failed.
    pub error: Option<Failure>,
    /// How long the handler ran, by the replica's monotonic clock.
    pub took: Duration,
}

pub(crate) type ReportFn = Arc<dyn Fn(&AttemptReport) + Send + Sync>;

/// See the module.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) run_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) handler: HandlerFn,
    pub(crate) delivery: Delivery,
    /// What is kept of what has ended.
    pub(crate) retain: Retention,
    /// Told of every end that was recorded.
    pub(crate) report: Option<ReportFn>,
}
