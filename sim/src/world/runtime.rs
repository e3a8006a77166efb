//! The runtime that a simulated process is given: its host's clock, its gate, its own stream of randomness.

use std::{sync::Arc, time::Duration};

use tourbillon::{
    model::Timestamp,
    runtime::{Clock, DriverEvent, Entropy, Monotonic, Observer, Runtime, Spawner, Task},
    store::BoxFuture,
};

use super::{
    clock::{self, HostClock, Timer},
    gate::Gate,
    process::Process,
    strikes::Struck,
};
use crate::{chance::Stream, fault::TriggerPoint, history::What};

struct SimClock(HostClock);

impl Clock for SimClock {
    fn monotonic(&self) -> Monotonic {
        self.0.monotonic()
    }

    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let own = self.0.clone();
        let Timer { until, wait, mut stood_still } = own.set(duration);
        let first = clock::wait(wait);
        Box::pin(async move {
            first.await;
            // While the clock stood still meanwhile, a timer of the machine stood still with it.
            while own.stood_still() > stood_still {
                stood_still = own.stood_still();
                clock::wait(own.true_duration(until.since(own.monotonic()))).await;
            }
        })
    }
}

struct SimSpawner(Gate);

impl Spawner for SimSpawner {
    fn spawn(&self, name: &str, future: BoxFuture<'static, ()>) -> Task {
        Task::new(name, self.0.spawn(future))
    }
}

struct SimEntropy(Stream);

impl Entropy for SimEntropy {
    fn next_u64(&self) -> u64 {
        self.0.next()
    }
}

struct SimObserver(Arc<Process>);

impl Observer for SimObserver {
    fn observe(&self, event: &DriverEvent) {
        let process = &self.0;
        let incarnation = process.incarnation();
        match event.clone() {
            DriverEvent::HandlerStarted { lease, generation, attempt, job, scope, slot_at } => {
                let (subject, scope) = (job.to_string(), Box::new(scope));
                process.record(What::HandlerStarted { incarnation, lease, generation, attempt, job, scope, slot_at });
                // A lost reply means nothing here; every other strike works through the gate or the controller.
                let _: Struck =
                    process.world.strikes.reached(TriggerPoint::HandlerStarted, &[&subject], process.replica);
            }
            DriverEvent::HandlerEnded { lease, end } => {
                process.record(What::HandlerEnded { incarnation, lease, end });
            }
            DriverEvent::TickStarted { tick, service, under } => {
                process.record(What::TickStarted { incarnation, tick, service, under });
            }
            DriverEvent::TickEnded { tick, end } => {
                process.record(What::TickEnded { incarnation, tick, end });
            }
            DriverEvent::LeaderGained { lock, epoch } => {
                process.record(What::LeaderGained { incarnation, lock, epoch });
            }
            DriverEvent::LeaderLost { lock, epoch } => {
                process.record(What::LeaderLost { incarnation, lock, epoch });
            }
        }
    }
}

/// The runtime of one process.
pub(super) fn runtime(process: &Arc<Process>) -> Runtime {
    // Every boot has a stream of its own, or two incarnations would make the same ids.
    let host = u64::from(process.replica) << 32 | u64::from(process.boot);
    Runtime::new(
        Arc::new(SimClock(process.clock.clone())),
        Arc::new(SimSpawner(process.gate.clone())),
        Arc::new(SimEntropy(Stream::new(process.world.seed, "entropy", host))),
    )
    .observed_by(Arc::new(SimObserver(Arc::clone(process))))
}
