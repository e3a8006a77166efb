//! The one home of real time, real tasks and real randomness.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use uuid::Uuid;

use super::{Clock, Entropy, Monotonic, Spawner, Task};
use crate::{model::Timestamp, store::BoxFuture};

pub(super) struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one home of the real monotonic clock")]
    pub(super) fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one home of the real monotonic clock")]
    fn monotonic(&self) -> Monotonic {
        Monotonic(Instant::now().duration_since(self.origin))
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of the real wall clock")]
    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH + since_epoch
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of the real sleep")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(::tokio::time::sleep(duration))
    }
}

pub(super) struct TokioSpawner;

impl Spawner for TokioSpawner {
    #[expect(clippy::disallowed_methods, reason = "the one home of the real spawn")]
    fn spawn(&self, name: &str, future: BoxFuture<'static, ()>) -> Task {
        Task::new(name, ::tokio::spawn(future))
    }
}

pub(super) struct SystemEntropy(Series);

impl SystemEntropy {
    pub(super) fn new() -> Self {
        Self(Series { start: random(), drawn: AtomicU64::new(0) })
    }
}

impl Entropy for SystemEntropy {
    fn next_u64(&self) -> u64 {
        random()
    }

    fn uuid(&self) -> Uuid {
        self.0.uuid(random())
    }
}

#[expect(clippy::disallowed_methods, reason = "the one home of real randomness")]
fn random() -> u64 {
    // The low 64 bits of a version 4 UUID hold 62 random bits; the hash with fresh keys spreads them over all.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u128(Uuid::new_v4().as_u128());
    hasher.finish()
}

/// Ids that were drawn one after the other lie side by side in an index, so that a batch of rows touches few pages of it.
///
/// Version 8: 48 bits where the series begins, which are random, 26 that count, 48 random ones, so that two copies of one process, as a
/// restored snapshot makes them, draw different ids all the same.
struct Series {
    /// Its upper bits count.
    start: u64,
    drawn: AtomicU64,
}

const COUNT_BITS: u32 = 26;

impl Series {
    fn uuid(&self, random: u64) -> Uuid {
        let drawn = self.drawn.fetch_add(1, Relaxed);
        let place = (u128::from(self.start >> 16) << COUNT_BITS).wrapping_add(u128::from(drawn));
        let (high, low) = (place >> 14 & ((1 << 60) - 1), place & ((1 << 14) - 1));
        // Between the parts stand the four bits of the version, and the two of the variant.
        let bits = (high >> 12) << 80 | (high & 0xfff) << 64 | low << 48 | u128::from(random >> 16);
        uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_series_lie_in_the_order_in_which_they_were_drawn() {
        for drawn in [0, (1 << 14) - 2, (1 << COUNT_BITS) - 2] {
            let series = Series { start: 0x0123_4567_89ab_cdef, drawn: AtomicU64::new(drawn) };
            let ids: Vec<_> = [u64::MAX, 0, u64::MAX, 0].map(|random| series.uuid(random)).into();
            assert!(ids.is_sorted_by(|a, b| a < b), "{drawn}: {ids:?}");
            assert!(ids.iter().all(|id| id.get_version_num() == 8), "{ids:?}");
        }
    }

    #[test]
    fn a_series_goes_on_behind_its_last_start() {
        let series = Series { start: u64::MAX, drawn: AtomicU64::new(1 << COUNT_BITS) };
        assert_eq!(series.uuid(0).as_u128() >> 80, 0, "from the first place on");
    }

    #[test]
    fn copies_of_a_process_draw_different_ids() {
        let entropy = SystemEntropy::new();
        let copy = SystemEntropy(Series { start: entropy.0.start, drawn: AtomicU64::new(0) });
        assert_ne!(entropy.uuid(), copy.uuid());
    }
}
