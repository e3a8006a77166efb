//! Figures over seeds: how long a fail-over takes, how fast a backlog drains, what a week of the operator comes to.
//! Measured in simulated time, from histories. Promises nothing: bounds are for the checkers.

mod backlog;
mod handover;
mod week;

use std::time::Duration;

use serde::Serialize;

pub use backlog::{Drain, drain};
pub use handover::{HandOver, hand_over};
pub use week::{Week, week};

/// What was measured how often, and its percentiles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Spread {
    /// How many were measured; without any, the rest is zero.
    pub samples: usize,
    /// Half took no longer, in milliseconds.
    pub p50_ms: u64,
    /// 99 of 100 took no longer, in milliseconds.
    pub p99_ms: u64,
    /// None took longer, in milliseconds.
    pub max_ms: u64,
}

impl Spread {
    /// Of durations in microseconds, in any order.
    pub fn of(mut us: Vec<u64>) -> Self {
        us.sort_unstable();
        let at = |percent: usize| us.get((us.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0);
        Self { samples: us.len(), p50_ms: at(50) / 1_000, p99_ms: at(99) / 1_000, max_ms: at(100) / 1_000 }
    }
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_and_nothing_is_zero() {
        let spread = Spread::of((1..=200).rev().map(|ms| ms * 1_000).collect());
        assert_eq!(spread, Spread { samples: 200, p50_ms: 100, p99_ms: 198, max_ms: 200 });
        assert_eq!(Spread::of(vec![7_000]), Spread { samples: 1, p50_ms: 7, p99_ms: 7, max_ms: 7 });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
