//! Hosts as tasks of one runtime, and the courier that takes time from one event to the next. Knows no message and no
//! fault.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::Instant,
};

use super::{fabric::Fabric, net::EventNet};
use crate::{
    history::HostId,
    world::{
        clock::TrueTime,
        gate::Gate,
        lane::{Attention, Carrier, LinkState, Ready, Software},
    },
};

/// What tokio's timers are rounded up to.
const TIMER_GRAIN: Duration = Duration::from_millis(1);

pub(in crate::world) fn ready(seed: u64, latency: (Duration, Duration), attention: Attention) -> Ready {
    let elapsed = Elapsed::default();
    let unparked = elapsed.clone();
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_unpark(move || unparked.look())
        .build()
        .expect("a runtime without input and output needs nothing from the system");
    let started = now_in(&runtime);
    elapsed.started.set(started).expect("nothing runs yet");
    let truth = TrueTime::new({
        let elapsed = elapsed.clone();
        move || Some(elapsed.get())
    });
    let fabric = Arc::new(Fabric::new(seed, latency, truth.clone()));
    let net = Arc::new(EventNet::new(Arc::clone(&fabric)));
    let carrier = EventCarrier { hosts: BTreeMap::new(), fabric, attention, started, elapsed, runtime };
    Ready { carrier: Box::new(carrier), net, truth, granularity: TIMER_GRAIN * 3 + latency.1 * 2 }
}

#[expect(clippy::disallowed_methods, reason = "the paused time of this lane's runtime is true time")]
fn now() -> Instant {
    Instant::now()
}

fn now_in(runtime: &Runtime) -> Instant {
    let _inside = runtime.enter();
    now()
}

/// The runtime's time since its start. Asking tokio takes two locks, and a run asks at every step of every task; but paused time
/// moves only while the one thread is parked.
#[derive(Clone, Default)]
struct Elapsed {
    started: Arc<OnceLock<Instant>>,
    nanos: Arc<AtomicU64>,
}

impl Elapsed {
    fn look(&self) {
        let Some(started) = self.started.get() else { return };
        let nanos = u64::try_from((now() - *started).as_nanos()).expect("a run lasts less than 584 years");
        self.nanos.store(nanos, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        let elapsed = Duration::from_nanos(self.nanos.load(Ordering::Relaxed));
        debug_assert!(self.started.get().is_none_or(|started| now() - *started == elapsed), "time moved unseen");
        elapsed
    }
}

struct Hosted {
    software: Software,
    running: JoinHandle<()>,
}

struct EventCarrier {
    hosts: BTreeMap<HostId, Hosted>,
    fabric: Arc<Fabric>,
    attention: Attention,
    started: Instant,
    elapsed: Elapsed,
    runtime: Runtime,
}

impl EventCarrier {
    /// Drops tasks as if they had been dropped by the runtime: their destructors may touch timers.
    fn cut(&self, tasks: &Gate) {
        let _inside = self.runtime.enter();
        tasks.cut();
    }
}

impl Carrier for EventCarrier {
    fn add(&mut self, host: HostId, software: Software) {
        let running = self.runtime.spawn(software());
        self.hosts.insert(host, Hosted { software, running });
    }

    fn step(&mut self, until: Duration) -> Result<(), String> {
        let Self { fabric, attention, started, elapsed, runtime, .. } = self;
        let wake_at = |at: Duration| *started + at;
        runtime.block_on(async {
            let mut called = pin!(attention.notified());
            let mut asleep_until = until;
            let mut asleep = pin!(tokio::time::sleep_until(wake_at(until)));
            std::future::poll_fn(|cx| {
                if called.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                loop {
                    let now = elapsed.get();
                    let next = fabric.deliver(now, cx.waker()).map_or(until, |next| next.min(until));
                    if now >= until {
                        return Poll::Ready(());
                    }
                    if next != asleep_until {
                        asleep_until = next;
                        asleep.as_mut().reset(wake_at(next));
                    }
                    if asleep.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            })
            .await;
        });
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        now_in(&self.runtime) - self.started
    }

    fn crash(&mut self, host: HostId, tasks: &Gate) {
        self.cut(tasks);
        if let Some(hosted) = self.hosts.get(&host) {
            hosted.running.abort();
        }
    }

    fn restart(&mut self, host: HostId, left: Option<&Gate>) {
        if let Some(left) = left {
            self.cut(left);
        }
        if let Some(hosted) = self.hosts.get_mut(&host) {
            let _inside = self.runtime.enter();
            hosted.running = self.runtime.spawn((hosted.software)());
        }
    }

    fn is_running(&mut self, host: HostId) -> bool {
        self.hosts.get(&host).is_some_and(|hosted| !hosted.running.is_finished())
    }

    fn link(&mut self, a: HostId, b: HostId, _from: LinkState, to: LinkState) {
        self.fabric.set_link(a, b, to);
    }
}
