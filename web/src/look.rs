//! Owns looks at the whole database: each costs some reads, so those who ask within a second share one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::Mutex;
use tourbillon::{
    driver::{JobOperator, OperatorError},
    health::{Bounds, Report},
    model::{Execution, JobName, State, Timestamp},
    runtime::{Monotonic, Runtime},
};

/// How old a look may be that is shown again.
const FRESH: Duration = Duration::from_secs(1);

/// What is finished is counted over this time at most.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// One look.
pub(crate) struct Looks {
    operator: JobOperator,
    bounds: Bounds,
    /// Held while somebody looks: the others wait for what is seen.
    last: Mutex<Option<(Monotonic, Arc<Report>)>>,
}

impl Looks {
    pub(crate) fn new(operator: JobOperator, bounds: Bounds) -> Self {
        Self { operator, bounds, last: Mutex::new(None) }
    }

    /// The health of the database, at most a second old.
    ///
    /// # Errors
    /// As [`JobOperator::health`].
    pub(crate) async fn report(&self, runtime: &Runtime) -> Result<Arc<Report>, OperatorError> {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = &*last
            && runtime.monotonic().since(*at) < FRESH
        {
            return Ok(Arc::clone(report));
        }
        let report = Arc::new(self.operator.health(&self.bounds).await?);
        *last = Some((runtime.monotonic(), Arc::clone(&report)));
        Ok(report)
    }
}

/// How much of one job or queue ended lately, per minute.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Rate {
    pub(crate) finished: f64,
    /// Of those, dead.
    pub(crate) dead: f64,
}

/// Rates from the rows that changed last, newest first. When they are a full page they may all be younger than the window;
/// then they are counted over the time that they cover.
pub(crate) fn rates(recent: &[Execution], is_full: bool, now: Timestamp) -> BTreeMap<JobName, Rate> {
    let covered = recent.last().filter(|_| is_full).map_or(RATE_WINDOW, |oldest| now.since(oldest.updated_at));
    let window = covered.clamp(Duration::from_millis(100), RATE_WINDOW);
    let per_row = 60.0 / window.as_secs_f64();
    let mut rates: BTreeMap<JobName, Rate> = BTreeMap::new();
    for row in recent.iter().filter(|row| now.since(row.updated_at) <= window) {
        let rate = rates.entry(row.job.clone()).or_default();
        rate.finished += per_row;
        if row.state == State::Dead {
            rate.dead += per_row;
        }
    }
    rates
}
