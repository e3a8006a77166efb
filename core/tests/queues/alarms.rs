//! What an attempt costs its runtime: alarms only for a handler that waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tourbillon::{
    driver::QueueHandle,
    job::{Context, HandlerError},
    model::{State, Timestamp},
    queue::Queue,
    runtime::{Clock, Entropy, Monotonic, Runtime, Spawner, Task},
    store::{BoxFuture, EnqueueOutcome},
};

use crate::stage::Stage;

/// Nothing else of these tests sleeps for just as long.
const RUN_TIMEOUT: Duration = Duration::from_secs(12_345);

/// A runtime that counts the alarms at the end of a run's time.
struct Counting {
    runtime: Runtime,
    alarms: Arc<AtomicUsize>,
}

impl Clock for Counting {
    fn monotonic(&self) -> Monotonic {
        self.runtime.monotonic()
    }

    fn wall(&self) -> Timestamp {
        self.runtime.wall()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration == RUN_TIMEOUT {
            self.alarms.fetch_add(1, Ordering::SeqCst);
        }
        let runtime = self.runtime.clone();
        Box::pin(async move { runtime.sleep(duration).await })
    }
}

impl Spawner for Counting {
    fn spawn(&self, name: &str, future: BoxFuture<'static, ()>) -> Task {
        self.runtime.spawn(name, future)
    }
}

impl Entropy for Counting {
    fn next_u64(&self) -> u64 {
        self.runtime.random()
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_at_once_sets_no_alarm() {
    let mut stage = Stage::new();
    let alarms = Arc::new(AtomicUsize::new(0));
    let counting = Arc::new(Counting { runtime: stage.runtime.clone(), alarms: Arc::clone(&alarms) });
    stage.runtime = Runtime::new(counting.clone(), counting.clone(), counting);
    let queue = Queue::new("q").run_timeout(RUN_TIMEOUT).run(|waits: u32, ctx: Context| async move {
        for _ in 0..waits {
            ctx.sleep(Duration::from_secs(1)).await;
        }
        Ok::<_, HandlerError>(())
    });
    let running = stage.start(queue);
    let handle: QueueHandle<u32> = running.queue("q").expect("it was added");
    for (waits, expected) in [(0, 0), (0, 0), (1, 1), (3, 2), (0, 2)] {
        let Ok(EnqueueOutcome::Enqueued(id)) = handle.enqueue(&waits).await else { panic!("there is room") };
        assert_eq!(stage.ended(id).await.state, State::Succeeded);
        assert_eq!(alarms.load(Ordering::SeqCst), expected, "after one that waits {waits} times");
    }
}
