//! Hosts as tasks of one runtime, and the courier that takes time from one event to the next. Knows no message and no
//! fault.

use std::{collections::BTreeMap, pin::pin, sync::Arc, task::Poll, time::Duration};

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
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without input and output needs nothing from the system");
    let started = now_in(&runtime);
    let truth = TrueTime::new(move || Some(now() - started));
    let fabric = Arc::new(Fabric::new(seed, latency, truth.clone()));
    let net = Arc::new(EventNet::new(Arc::clone(&fabric)));
    let carrier = EventCarrier { hosts: BTreeMap::new(), fabric, attention, started, runtime };
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

struct Hosted {
    software: Software,
    running: JoinHandle<()>,
}

struct EventCarrier {
    hosts: BTreeMap<HostId, Hosted>,
    fabric: Arc<Fabric>,
    attention: Attention,
    started: Instant,
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
        let Self { fabric, attention, started, runtime, .. } = self;
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
                    let now = now() - *started;
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
