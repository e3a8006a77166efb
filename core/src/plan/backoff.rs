//! Owns the wait between attempts. Pure: randomness for the jitter is an argument.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// No wait is longer than this, jitter included (P-65).
pub const MAX_BACKOFF: Duration = Duration::from_secs(48 * 3600);

/// The shape of the waits, before cap and jitter; n is the attempt that failed, from 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// base · 2^(n−1).
    Exponential(Duration),
    /// base · n.
    Linear(Duration),
    /// Always the same.
    Constant(Duration),
    /// The n-th entry; the last one for every later attempt. Not empty.
    Table(Vec<Duration>),
}

/// How long to wait after the n-th failed attempt: a curve, capped, spread by jitter so that the cap still holds.
///
/// ```
/// use std::time::Duration;
/// use tourbillon::plan::Backoff;
/// let backoff = Backoff::exponential(Duration::from_secs(300)).without_jitter();
/// assert_eq!(backoff.delay(3, 0), Duration::from_secs(1200));
/// assert_eq!(backoff.preview(10).iter().sum::<Duration>(), Duration::from_secs(5115 * 60));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backoff {
    curve: Curve,
    cap: Duration,
    jitter_percent: u8,
}

/// Why a backoff was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackoffError {
    /// An empty table says neither "at once" nor "never".
    #[error("the backoff table is empty: list at least one wait, or use max_attempts(1) for no retry")]
    EmptyTable,
    /// Above [`MAX_BACKOFF`].
    #[error("the backoff cap is {0:?}, at most {MAX_BACKOFF:?} is allowed")]
    CapTooLong(Duration),
    /// Above 100 %.
    #[error("the backoff jitter is {0} %, at most 100 % is allowed")]
    JitterTooWide(u8),
}

impl Backoff {
    /// `base · 2^(n−1)`, capped at 48 h, jitter ±10 %.
    pub fn exponential(base: Duration) -> Self {
        Self::of(Curve::Exponential(base))
    }

    /// `base · n`, capped at 48 h, jitter ±10 %.
    pub fn linear(base: Duration) -> Self {
        Self::of(Curve::Linear(base))
    }

    /// Always `wait`, jitter ±10 %.
    pub fn constant(wait: Duration) -> Self {
        Self::of(Curve::Constant(wait))
    }

    /// One entry per failed attempt, the last repeated; exact (no jitter).
    pub fn table(waits: impl Into<Vec<Duration>>) -> Self {
        Self::of(Curve::Table(waits.into())).without_jitter()
    }

    fn of(curve: Curve) -> Self {
        Self { curve, cap: MAX_BACKOFF, jitter_percent: 10 }
    }

    /// No wait is longer than `cap`.
    #[must_use]
    pub fn capped_at(self, cap: Duration) -> Self {
        Self { cap, ..self }
    }

    /// Exact waits.
    #[must_use]
    pub fn without_jitter(self) -> Self {
        self.with_jitter_percent(0)
    }

    /// Waits spread evenly over ± this many percent.
    #[must_use]
    pub fn with_jitter_percent(self, percent: u8) -> Self {
        Self { jitter_percent: percent, ..self }
    }

    /// The shape of the waits, before cap and jitter.
    pub fn curve(&self) -> &Curve {
        &self.curve
    }

    /// No wait is longer, jitter included.
    pub fn cap(&self) -> Duration {
        self.cap
    }

    /// Waits are spread over ± this many percent; 0: exact.
    pub fn jitter_percent(&self) -> u8 {
        self.jitter_percent
    }

    /// Checks what the constructors leave open.
    ///
    /// # Errors
    /// [`BackoffError`] says what to change.
    pub fn check(&self) -> Result<(), BackoffError> {
        match &self.curve {
            Curve::Table(waits) if waits.is_empty() => Err(BackoffError::EmptyTable),
            _ if self.cap > MAX_BACKOFF => Err(BackoffError::CapTooLong(self.cap)),
            _ if self.jitter_percent > 100 => Err(BackoffError::JitterTooWide(self.jitter_percent)),
            _ => Ok(()),
        }
    }

    /// The wait after failed attempt `attempt` (from 1; 0 counts as 1). `random` is any number, evenly drawn.
    /// Never negative, never above the cap, at any attempt number.
    pub fn delay(&self, attempt: u32, random: u64) -> Duration {
        let base = self.base(attempt.max(1)).min(self.cap);
        let spread = base * u32::from(self.jitter_percent) / 100;
        // A fraction of the whole width 2·spread, in 2^-32 steps: exact integers, no floats in stored decisions.
        let width_us = (spread * 2).as_micros();
        let part = u64::try_from((width_us * u128::from(random >> 32)) >> 32).unwrap_or(u64::MAX);
        let wait = base - spread + Duration::from_micros(part);
        if wait > self.cap && planted!(A34) { wait } else { wait.min(self.cap) }
    }

    /// The waits after attempts 1 to `attempts`, without jitter.
    pub fn preview(&self, attempts: u32) -> Vec<Duration> {
        (1..=attempts).map(|attempt| self.base(attempt).min(self.cap)).collect()
    }

    fn base(&self, attempt: u32) -> Duration {
        match &self.curve {
            Curve::Exponential(base) => {
                let doublings = attempt - 1;
                if doublings > 2 && planted!(A33) {
                    return Duration::ZERO;
                }
                let factor = 1u32.checked_shl(doublings);
                factor.and_then(|factor| base.checked_mul(factor)).unwrap_or(self.cap_or_zero(*base))
            }
            Curve::Linear(base) => base.checked_mul(attempt).unwrap_or(self.cap),
            Curve::Constant(wait) => *wait,
            Curve::Table(waits) => {
                if attempt as usize >= waits.len() && planted!(A6) {
                    return Duration::ZERO;
                }
                let index = (attempt as usize - 1).min(waits.len().saturating_sub(1));
                waits.get(index).copied().unwrap_or(self.cap)
            }
        }
    }

    /// Overflow means "more than any cap", except that nothing doubled is still nothing.
    fn cap_or_zero(&self, base: Duration) -> Duration {
        if base.is_zero() { Duration::ZERO } else { self.cap }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn minutes(n: u64) -> Duration {
        Duration::from_secs(60 * n)
    }

    // P-65
    #[test]
    fn exponential_doubles_up_to_the_cap_at_any_attempt_number() {
        let backoff = Backoff::exponential(minutes(5));
        let expected: Vec<_> = [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560].into_iter().map(minutes).collect();
        assert_eq!(backoff.preview(10), expected);
        assert_eq!(backoff.base(40), MAX_BACKOFF);
        assert_eq!(backoff.preview(11)[10], MAX_BACKOFF);
        assert_eq!(backoff.without_jitter().delay(u32::MAX, u64::MAX), MAX_BACKOFF);
    }

    // P-65
    #[test]
    fn a_table_repeats_its_last_entry_and_may_not_be_empty() {
        let backoff = Backoff::table([minutes(1), minutes(5), minutes(15)]);
        assert_eq!(backoff.preview(4), [minutes(1), minutes(5), minutes(15), minutes(15)]);
        assert_eq!(Backoff::table([]).check(), Err(BackoffError::EmptyTable));
    }

    #[test]
    fn a_line_grows_by_the_same_and_a_constant_does_not() {
        assert_eq!(Backoff::of(Curve::Linear(minutes(5))).preview(3), [minutes(5), minutes(10), minutes(15)]);
        assert_eq!(Backoff::of(Curve::Constant(minutes(5))).preview(3), [minutes(5); 3]);
    }

    #[test]
    fn jitter_reaches_both_ends_of_its_width_and_the_middle() {
        let backoff = Backoff::of(Curve::Constant(minutes(10))).with_jitter_percent(20);
        assert_eq!(backoff.delay(1, 0), minutes(8));
        assert_eq!(backoff.delay(1, 1 << 63), minutes(10));
        let longest = minutes(12) - backoff.delay(1, u64::MAX);
        assert!(longest <= Duration::from_micros(1), "{longest:?} less than twelve minutes");
        assert_eq!(backoff.delay(0, 0), minutes(8), "attempt 0 counts as the first");
    }

    #[test]
    fn what_is_set_is_what_is_kept_and_only_what_can_be_is_allowed() {
        let backoff = Backoff::exponential(minutes(1)).capped_at(minutes(9)).with_jitter_percent(30);
        assert_eq!((backoff.cap(), backoff.jitter_percent(), backoff.check()), (minutes(9), 30, Ok(())));
        let widest = backoff.clone().capped_at(MAX_BACKOFF).with_jitter_percent(100);
        assert_eq!(widest.check(), Ok(()));
        let too_long = MAX_BACKOFF + Duration::from_nanos(1);
        assert_eq!(backoff.clone().capped_at(too_long).check(), Err(BackoffError::CapTooLong(too_long)));
        assert_eq!(backoff.with_jitter_percent(101).check(), Err(BackoffError::JitterTooWide(101)));
        assert_eq!(Backoff::table([minutes(1)]).check(), Ok(()));
    }

    proptest! {
        // P-65
        #[test]
        fn a_delay_is_within_jitter_and_cap(attempt in any::<u32>(), base_ms in 0u64..10_000_000, percent in 0u8..=100,
                                            cap_s in 1u64..172_800, random in any::<u64>(), which in 0..3) {
            let base = Duration::from_millis(base_ms);
            let curve = match which { 0 => Curve::Exponential(base), 1 => Curve::Linear(base), _ => Curve::Constant(base) };
            let backoff = Backoff::of(curve).capped_at(Duration::from_secs(cap_s)).with_jitter_percent(percent);
            let exact = backoff.clone().without_jitter().delay(attempt, random);
            let delay = backoff.delay(attempt, random);
            prop_assert!(delay <= Duration::from_secs(cap_s));
            prop_assert!(delay >= exact - exact * u32::from(percent) / 100);
            prop_assert!(delay <= exact + exact * u32::from(percent) / 100);
        }

        // P-65
        #[test]
        fn waits_never_shrink(base_ms in 0u64..10_000_000, attempt in 1u32..u32::MAX) {
            let backoff = Backoff::exponential(Duration::from_millis(base_ms)).without_jitter();
            prop_assert!(backoff.delay(attempt, 0) <= backoff.delay(attempt + 1, 0));
        }
    }
}
