//! The clocks of the hosts, each with its own offset, rate and jumps, all derived from true time.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tourbillon::{model::Timestamp, runtime::Monotonic};

use crate::history::STANDSTILL_PPM;

/// True time since the start of the run, in microseconds, as the lane tells it.
#[derive(Clone)]
pub struct TrueTime {
    base_us: Arc<AtomicU64>,
    stepping: Arc<AtomicBool>,
    within_step: Arc<dyn Fn() -> Option<Duration> + Send + Sync>,
}

impl TrueTime {
    /// `within_step` asks the lane for the time of the host that is being polled.
    pub(super) fn new(within_step: impl Fn() -> Option<Duration> + Send + Sync + 'static) -> Self {
        Self { base_us: Arc::default(), stepping: Arc::default(), within_step: Arc::new(within_step) }
    }

    /// Now. Between steps (while a crash drops a host's tasks, for example) only the world's own time is asked:
    /// the lane would answer from a runtime that is gone.
    pub fn now_us(&self) -> u64 {
        let within = if self.stepping.load(Ordering::Relaxed) { (self.within_step)() } else { None };
        match within {
            Some(elapsed) => u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            None => self.base_us.load(Ordering::Relaxed),
        }
    }

    pub(super) fn set(&self, now_us: u64) {
        self.base_us.store(now_us, Ordering::Relaxed);
    }

    pub(super) fn stepping(&self, stepping: bool) {
        self.stepping.store(stepping, Ordering::Relaxed);
    }
}

/// Waits in true time: tokio's paused time is that, on both lanes.
#[expect(clippy::disallowed_methods, reason = "the one home of waits in true time")]
pub(super) fn wait(duration: Duration) -> tokio::time::Sleep {
    tokio::time::sleep(duration)
}

/// A replica's clocks. The monotonic one has a rate, and may stand still; the wall clock follows it at an offset that
/// can jump, and does not stand still with it. Wall never touches monotonic.
#[derive(Clone)]
pub struct HostClock(Arc<Inner>);

/// Shared by all that read it: every timer does, and a share of each part would cost more than the reading.
struct Inner {
    truth: TrueTime,
    epoch: Timestamp,
    state: Mutex<ClockState>,
}

/// A wait, as it is set.
pub(super) struct Timer {
    /// When it is over, by the monotonic clock.
    pub(super) until: Monotonic,
    /// What it takes of true time, if nothing happens to the clock.
    pub(super) wait: Duration,
    /// For how long the clock had stood still when it was set.
    pub(super) stood_still: Duration,
}

#[derive(Clone, Copy, Default)]
struct ClockState {
    /// True time at the last change of rate.
    base_us: u64,
    /// Monotonic reading then.
    monotonic_us: u64,
    /// For how long it had stood still by then.
    stood_still_us: u64,
    is_frozen: bool,
    drift_ppm: i32,
    offset_us: i64,
}

impl ClockState {
    /// What has passed since the last change: by the monotonic clock, and while that stood still.
    fn passed_us(&self, true_us: u64) -> (u64, u64) {
        let passed = true_us.saturating_sub(self.base_us);
        if self.is_frozen {
            return (0, passed);
        }
        let rate = (1_000_000 + i64::from(self.drift_ppm)).unsigned_abs();
        let exactly = || u64::try_from(u128::from(passed) * u128::from(rate) / 1_000_000).unwrap_or(u64::MAX);
        // Clocks are read at every step of every task, and a division of 128 bits is a call.
        (passed.checked_mul(rate).map_or_else(exactly, |passed| passed / 1_000_000), 0)
    }

    fn monotonic_us(&self, true_us: u64) -> u64 {
        self.monotonic_us + self.passed_us(true_us).0
    }

    fn stood_still_us(&self, true_us: u64) -> u64 {
        self.stood_still_us + self.passed_us(true_us).1
    }

    fn true_duration(&self, local: Duration) -> Duration {
        let rate = (1_000_000 + i64::from(self.drift_ppm)).unsigned_abs();
        let nanos = local.as_nanos();
        // As above: without a division of 128 bits where there is no need for one.
        let us = match u64::try_from(nanos * 1_000) {
            Ok(short) => short.div_ceil(rate),
            Err(_) => u64::try_from((nanos * 1_000).div_ceil(u128::from(rate))).unwrap_or(u64::MAX),
        };
        Duration::from_micros(us)
    }

    /// Before a change of rate: what has passed so far passed at the old one.
    fn settle(&mut self, true_us: u64) {
        self.monotonic_us = self.monotonic_us(true_us);
        self.stood_still_us = self.stood_still_us(true_us);
        self.base_us = true_us;
    }
}

impl HostClock {
    /// A clock that is right.
    pub(super) fn new(truth: TrueTime, epoch: Timestamp) -> Self {
        Self(Arc::new(Inner { truth, epoch, state: Mutex::default() }))
    }

    fn with<T>(&self, f: impl FnOnce(&mut ClockState, u64) -> T) -> T {
        let Inner { truth, state, .. } = &*self.0;
        f(&mut state.lock().unwrap_or_else(PoisonError::into_inner), truth.now_us())
    }

    /// The monotonic clock.
    pub fn monotonic(&self) -> Monotonic {
        Monotonic(Duration::from_micros(self.with(|state, now| state.monotonic_us(now))))
    }

    /// The wall clock.
    pub fn wall(&self) -> Timestamp {
        self.with(|state, now| {
            let passed = state.monotonic_us(now) + state.stood_still_us(now);
            self.0.epoch.offset_micros(i64::try_from(passed).unwrap_or(i64::MAX)).offset_micros(state.offset_us)
        })
    }

    /// How much true time a wait of `local` takes at the present rate. Rounded up: a timer is never early.
    pub fn true_duration(&self, local: Duration) -> Duration {
        self.with(|state, _| state.true_duration(local))
    }

    /// Sets a timer.
    pub(super) fn set(&self, local: Duration) -> Timer {
        self.with(|state, now| Timer {
            until: Monotonic(Duration::from_micros(state.monotonic_us(now))) + local,
            wait: state.true_duration(local),
            stood_still: Duration::from_micros(state.stood_still_us(now)),
        })
    }

    /// For how much true time the monotonic clock has stood still so far.
    pub fn stood_still(&self) -> Duration {
        Duration::from_micros(self.with(|state, now| state.stood_still_us(now)))
    }

    pub(super) fn set_drift(&self, ppm: i32) {
        self.with(|state, now| {
            state.settle(now);
            state.drift_ppm = ppm;
        });
    }

    /// The monotonic clock stands still from now on, or goes on.
    pub(super) fn freeze(&self, is_frozen: bool) {
        self.with(|state, now| {
            state.settle(now);
            state.is_frozen = is_frozen;
        });
    }

    pub(super) fn jump(&self, by_us: i64) {
        self.with(|state, _| state.offset_us = state.offset_us.saturating_add(by_us));
    }

    /// (offset, drift) for the history.
    pub(super) fn error(&self) -> (i64, i32) {
        self.with(|state, _| (state.offset_us, if state.is_frozen { STANDSTILL_PPM } else { state.drift_ppm }))
    }
}

/// The database server's clock: true time plus steps.
#[derive(Clone)]
pub struct ServerClock {
    truth: TrueTime,
    epoch: Timestamp,
    offset_us: Arc<AtomicI64>,
}

impl ServerClock {
    pub(super) fn new(truth: TrueTime, epoch: Timestamp) -> Self {
        Self { truth, epoch, offset_us: Arc::default() }
    }

    /// Now, by the database clock.
    pub fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.truth.now_us()).unwrap_or(i64::MAX);
        self.epoch.offset_micros(elapsed).offset_micros(self.offset_us.load(Ordering::Relaxed))
    }

    pub(super) fn step(&self, by_us: i64) {
        self.offset_us.fetch_add(by_us, Ordering::Relaxed);
    }

    pub(super) fn offset_us(&self) -> i64 {
        self.offset_us.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> (TrueTime, HostClock) {
        let truth = TrueTime::new(|| None);
        (truth.clone(), HostClock::new(truth, Timestamp::EPOCH))
    }

    #[test]
    fn drift_changes_the_rate_from_now_on_and_a_jump_only_the_wall_clock() {
        let (truth, clock) = clock();
        truth.set(1_000_000);
        clock.set_drift(100_000);
        truth.set(2_000_000);
        assert_eq!(clock.monotonic().0, Duration::from_micros(2_100_000));
        clock.jump(-5_000_000);
        assert_eq!(clock.wall().as_micros(), 2_100_000 - 5_000_000);
        assert_eq!(clock.monotonic().0, Duration::from_micros(2_100_000));
        assert_eq!(clock.true_duration(Duration::from_micros(1_100_000)), Duration::from_micros(1_000_000));
    }

    #[test]
    fn a_frozen_clock_is_the_monotonic_one_alone() {
        let (truth, clock) = clock();
        truth.set(1_000_000);
        clock.freeze(true);
        truth.set(5_000_000);
        assert_eq!(clock.monotonic().0, Duration::from_secs(1));
        assert_eq!((clock.wall().as_micros(), clock.stood_still()), (5_000_000, Duration::from_secs(4)));
        clock.freeze(false);
        truth.set(6_000_000);
        assert_eq!(clock.monotonic().0, Duration::from_secs(2));
        assert_eq!((clock.wall().as_micros(), clock.stood_still()), (6_000_000, Duration::from_secs(4)));
    }
}
