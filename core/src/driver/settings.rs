//! Every bound of the driver, by name, with its range.

use std::time::Duration;

/// Bounds of one replica's driver. Change fields of the default; ranges are checked when the scheduler is built.
///
/// ```
/// use tourbillon::driver::Settings;
/// let settings = Settings { max_concurrency: 64, ..Settings::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Handlers running at once in this replica: 1 to 10,000. Default 16.
    pub max_concurrency: u32,
    /// Rows taken by one claim at most: 1 to 1,000. Default 100.
    pub claim_batch: u32,
    /// Looks for due work at least this often: 10 ms to 1 h. Default 1.5 s. One look serves all queues that wait.
    pub poll_interval: Duration,
    /// Whether it is also told of due work between two polls. Default: it is, where the store can.
    pub wake_ups: WakeUps,
    /// Tests this often whether notices still come: 1 s to 1 h. Default 30 s. Until a silent listener is found, due work
    /// is found by polling.
    pub probe_interval: Duration,
    /// Reads the cursors at least this often, also when no slot is near (to notice edits and clock steps): 100 ms
    /// to 1 h. Default 30 s.
    pub plan_interval: Duration,
    /// Ends expired rows this often: 100 ms to 1 h. Default 15 s. Part of the time to recover from a crash.
    pub rescue_interval: Duration,
    /// Deletes what is older than it is to be kept this often: 1 s to 1 day. Default 10 min.
    pub prune_interval: Duration,
    /// Keeps finished executions and the missed-slot ledger this long: 1 min to 10 years. Default 7 days.
    pub keep_history: Duration,
    /// Keeps replaced edits of stored schedules and lifted pauses this long, to say who changed what: 1 min to 10 years.
    /// Default 1 year.
    pub keep_edits: Duration,
    /// A repeated request is recognised for this long: 1 min to 30 days. Default 1 h.
    pub idempotency_window: Duration,
    /// Deadline of one store call: 10 ms to 10 min. Default 5 s.
    pub call_timeout: Duration,
    /// Goes on trying to record an attempt's end for this long, then leaves the row to expire: 1 s to 1 h, at most
    /// the idempotency window. Default 60 s.
    pub settle_patience: Duration,
    /// Deadline for one scope provider's answer: 10 ms to 10 min. Default 10 s.
    pub scope_timeout: Duration,
    /// Part of a lease, in percent, that is not trusted, to allow for clock drift between this process and the
    /// database: 1 to 50. Default 10.
    pub lease_margin_percent: u8,
}

/// What makes a replica look for due work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WakeUps {
    /// Notices of the store, its own producers and planner, and the poll for all that those miss.
    #[default]
    Notices,
    /// Its own producers and planner, and the poll. Keeps no connection to listen on; for a database that is reached
    /// through a transaction pooler alone, say.
    PollOnly,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_concurrency: 16,
            claim_batch: 100,
            poll_interval: Duration::from_millis(1_500),
            wake_ups: WakeUps::Notices,
            probe_interval: Duration::from_secs(30),
            plan_interval: Duration::from_secs(30),
            rescue_interval: Duration::from_secs(15),
            prune_interval: Duration::from_secs(600),
            keep_history: Duration::from_secs(7 * 86_400),
            keep_edits: Duration::from_secs(365 * 86_400),
            idempotency_window: Duration::from_secs(3600),
            call_timeout: Duration::from_secs(5),
            settle_patience: Duration::from_secs(60),
            scope_timeout: Duration::from_secs(10),
            lease_margin_percent: 10,
        }
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting `{name}` is {value}, allowed are {range}")]
pub struct SettingsError {
    /// Field of [`Settings`].
    pub name: &'static str,
    value: String,
    range: String,
}

impl Settings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`SettingsError`] names the first setting outside its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        const MS: Duration = Duration::from_millis(1);
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(86_400);
        within("max_concurrency", self.max_concurrency, 1, 10_000)?;
        within("claim_batch", self.claim_batch, 1, crate::store::MAX_BATCH)?;
        within("poll_interval", self.poll_interval, 10 * MS, HOUR)?;
        within("probe_interval", self.probe_interval, SECOND, HOUR)?;
        within("plan_interval", self.plan_interval, 100 * MS, HOUR)?;
        within("rescue_interval", self.rescue_interval, 100 * MS, HOUR)?;
        within("prune_interval", self.prune_interval, SECOND, DAY)?;
        within("keep_history", self.keep_history, 60 * SECOND, 3653 * DAY)?;
        within("keep_edits", self.keep_edits, 60 * SECOND, 3653 * DAY)?;
        within("idempotency_window", self.idempotency_window, 60 * SECOND, 30 * DAY)?;
        within("call_timeout", self.call_timeout, 10 * MS, 600 * SECOND)?;
        // A repetition after the window would take its own success for a lost lease.
        within("settle_patience", self.settle_patience, SECOND, HOUR.min(self.idempotency_window))?;
        within("scope_timeout", self.scope_timeout, 10 * MS, 600 * SECOND)?;
        within("lease_margin_percent", self.lease_margin_percent, 1, 50)
    }

    /// How long a lease of this length is trusted, counted from the sending of the request that took it.
    pub(super) fn trusted(&self, lease: Duration) -> Duration {
        lease.mul_f64(f64::from(100 - self.lease_margin_percent) / 100.0)
    }
}

fn within<T: PartialOrd + std::fmt::Debug>(
    name: &'static str,
    value: T,
    low: T,
    high: T,
) -> Result<(), SettingsError> {
    if value < low || value > high {
        let range = format!("{low:?} to {high:?}");
        return Err(SettingsError { name, value: format!("{value:?}"), range });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_outside_its_range_is_named() {
        assert_eq!(Settings::default().check(), Ok(()));
        let settings = Settings { poll_interval: Duration::ZERO, ..Settings::default() };
        let error = settings.check().unwrap_err().to_string();
        assert_eq!(error, "setting `poll_interval` is 0ns, allowed are 10ms to 3600s");
    }
}
