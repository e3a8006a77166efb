//! Owns what every measured system does: the job, how its runs are counted, and the lines in which a process of it
//! tells its figures. Knows no queue.

use std::{
    error::Error,
    io::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// What a part of the benchmark comes to.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The row that a producer writes for itself, in the transaction that enqueues; and its table.
pub(crate) const OWN_TABLE: &str = "create table if not exists customer_order(
  id bigint generated always as identity primary key, number bigint not null)";
pub(crate) const OWN_ROW: &str = "insert into customer_order(number) values ($1)";

static RUN: AtomicU64 = AtomicU64::new(0);
static LATENCIES_US: Mutex<Vec<f64>> = Mutex::new(Vec::new());

/// What a job carries: about 90 bytes of JSON, as in the harness that measures the peers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Parcel {
    /// When it was enqueued, in nanoseconds since 1970; 0 where nobody measures latency.
    t: u64,
    id: u64,
    email: String,
    note: String,
}

impl Parcel {
    /// The `id`-th job of a load.
    pub(crate) fn numbered(id: u64) -> Self {
        Self {
            t: 0,
            id,
            email: format!("user{id:08}@ex.com"),
            note: "the quick brown fox jumps over lazy dog".into(),
        }
    }

    /// As [`Parcel::numbered`]; its start is measured from now.
    pub(crate) fn timed(id: u64) -> Self {
        Self { t: now_ns(), ..Self::numbered(id) }
    }

    /// The whole work of a job: it is counted.
    pub(crate) fn run(&self) {
        RUN.fetch_add(1, Ordering::Relaxed);
        if self.t > 0 {
            let took_us = now_ns().saturating_sub(self.t) as f64 / 1e3;
            LATENCIES_US.lock().unwrap_or_else(PoisonError::into_inner).push(took_us);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the real time")]
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The real time.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A pause in real time.
#[expect(clippy::disallowed_methods, reason = "a benchmark waits in real time")]
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Prints `C <jobs so far>` whenever that changed, at most every 10 ms.
pub(crate) fn report_runs() {
    thread::spawn(|| {
        let mut last = u64::MAX;
        loop {
            let count = RUN.load(Ordering::Relaxed);
            if count != last {
                let mut out = std::io::stdout().lock();
                // A reader that is gone has its figures.
                let _ = writeln!(out, "C {count}").and_then(|()| out.flush());
                last = count;
            }
            wait();
        }
    });
}

/// Prints `L`: this process acts as the leader now.
pub(crate) fn report_lead() {
    println!("L");
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, in real time")]
fn wait() {
    thread::sleep(Duration::from_millis(10));
}

/// So many since then, per second.
pub(crate) fn rate(jobs: u64, began: Instant) -> f64 {
    jobs as f64 / began.elapsed().as_secs_f64()
}

/// Gives the numbers below `jobs` to callers that each take the next when they are done; how many a second that were.
pub(crate) async fn share<C, F, Fut>(jobs: u64, callers: Vec<C>, each: F) -> Outcome<f64>
where
    C: Send + 'static,
    F: Fn(C, u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Outcome<C>> + Send,
{
    let (began, next) = (now(), Arc::new(AtomicU64::new(0)));
    let mut tasks: JoinSet<Outcome<()>> = JoinSet::new();
    for mut caller in callers {
        let (next, each) = (Arc::clone(&next), each.clone());
        tasks.spawn(async move {
            loop {
                let id = next.fetch_add(1, Ordering::Relaxed);
                if id >= jobs {
                    return Ok(());
                }
                caller = each(caller, id).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(rate(jobs, began))
}

/// From before an enqueue to the start of its handler, in microseconds.
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    /// Waits up to 15 s for `jobs` timed runs, and forgets them.
    pub(crate) async fn of(jobs: u64) -> Self {
        let runs = || LATENCIES_US.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..3000 {
            if runs().len() as u64 >= jobs {
                break;
            }
            pause(Duration::from_millis(5)).await;
        }
        let mut sorted = std::mem::take(&mut *runs());
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// The one that this part of all does not exceed; not a number when there are none.
    pub(crate) fn at(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1) as f64;
        self.0.get((last * part) as usize).copied().unwrap_or(f64::NAN)
    }

    /// Prints `LAT n= p50= p95= p99= max=`.
    pub(crate) fn report(&self) {
        let [p50, p95, p99, max] = [0.5, 0.95, 0.99, 1.0].map(|part| self.at(part));
        println!("LAT n={} p50={p50:.0} p95={p95:.0} p99={p99:.0} max={max:.0}", self.0.len());
    }
}
