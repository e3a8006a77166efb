//! The one home of real time, real tasks and real randomness.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::{Duration, Instant, SystemTime},
};

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

pub(super) struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one home of real randomness")]
    fn next_u64(&self) -> u64 {
        // The low 64 bits of a version 4 UUID hold 62 random bits; the hash with fresh keys spreads them over all.
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u128(uuid::Uuid::new_v4().as_u128());
        hasher.finish()
    }
}
