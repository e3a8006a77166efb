//! A runtime on tokio's paused time, so that tests of the driver take no time. Knows no simulation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tourbillon::{
    model::Timestamp,
    runtime::{Clock, Entropy, Monotonic, Runtime, Spawner, Task},
    store::BoxFuture,
};

struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic(self.0.elapsed())
    }

    fn wall(&self) -> Timestamp {
        Timestamp::EPOCH + self.0.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the paused clock of these tests")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

struct PausedSpawner;

impl Spawner for PausedSpawner {
    #[expect(clippy::disallowed_methods, reason = "the tasks of these tests")]
    fn spawn(&self, name: &str, future: BoxFuture<'static, ()>) -> Task {
        Task::new(name, tokio::spawn(future))
    }
}

/// Even draws from a counter.
struct Counted(AtomicU64);

impl Entropy for Counted {
    fn next_u64(&self) -> u64 {
        let mut x = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }
}

/// A runtime whose time stands until every task waits. `seed` decides its randomness.
#[expect(clippy::disallowed_methods, reason = "the paused clock of these tests")]
pub(crate) fn runtime(seed: u64) -> Runtime {
    let clock = PausedClock(tokio::time::Instant::now());
    Runtime::new(Arc::new(clock), Arc::new(PausedSpawner), Arc::new(Counted(AtomicU64::new(seed << 32))))
}
