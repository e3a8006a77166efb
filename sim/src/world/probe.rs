//! Asks an application what it would run, in a world where nothing runs: the rules that checkers hold it to are those of
//! the scheduler that it builds.

use std::sync::{Arc, OnceLock};

use tourbillon::{driver::Scheduler, runtime::Signal};

use super::{
    clock::HostClock,
    gate::Gate,
    host::{App, Host},
    lane::{Attention, Lane},
    pool::Pool,
    process::{Process, WorldShared},
    strikes::Strikes,
};
use crate::history::{Recorder, RunFacts};

/// Lets `app` build the scheduler of a replica that runs this version of the software, and shows it to `read`. Nothing
/// is started; what the application spawns or sends meanwhile is dropped.
///
/// # Panics
/// If `app` does.
pub(crate) fn probe<T>(app: &App, facts: &RunFacts, version: u32, read: impl FnOnce(&Scheduler) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without input and output needs nothing from the system");
    let _inside = runtime.enter();
    let attention = Attention::default();
    let ready = Lane::Event.build(facts.seed, &attention);
    let world = Arc::new(WorldShared {
        seed: facts.seed,
        epoch: facts.epoch,
        boot: facts.boot,
        truth: ready.truth.clone(),
        recorder: Recorder::default(),
        net: ready.net,
        strikes: Strikes::new(facts.seed, Vec::new(), attention),
        call_timeout: facts.call_timeout,
        receivers: facts.receivers.iter().map(|facts| facts.receiver.clone()).collect(),
        orders: None,
    });
    let process = Arc::new(Process {
        world,
        replica: 0,
        boot: 0,
        clock: HostClock::new(ready.truth, facts.epoch),
        gate: Gate::open(),
        incarnation: OnceLock::new(),
        version,
        pool: Arc::<Pool>::default(),
        ordered: Signal::default(),
        disturbance: None,
    });
    read(&app(&Host::of(process)))
}
