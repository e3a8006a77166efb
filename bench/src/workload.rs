//! Owns what every measured system does: the job, how its runs are counted, and the lines in which a process of it
//! tells its figures. Knows no queue.

use std::{
    io::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

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

#[expect(clippy::disallowed_methods, reason = "a thread of its own, in real time")]
fn wait() {
    thread::sleep(Duration::from_millis(10));
}

/// Prints `RATE <per second>`.
pub(crate) fn report_rate(jobs: u64, began: Instant) {
    println!("RATE {:.0}", jobs as f64 / began.elapsed().as_secs_f64());
}

/// Waits up to 15 s for `jobs` timed runs, then prints `LAT n= p50= p95= p99= max=` in microseconds.
pub(crate) async fn report_latencies(jobs: u64) {
    let arrived = || LATENCIES_US.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for _ in 0..3000 {
        if arrived().len() as u64 >= jobs {
            break;
        }
        pause(Duration::from_millis(5)).await;
    }
    let mut sorted = arrived();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return println!("LAT n=0") };
    let at = |part: f64| sorted[(last as f64 * part) as usize];
    let (p50, p95, p99, max) = (at(0.5), at(0.95), at(0.99), at(1.0));
    println!("LAT n={} p50={p50:.0} p95={p95:.0} p99={p99:.0} max={max:.0}", sorted.len());
}
