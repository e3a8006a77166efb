//! The turmoil lane: every host a turmoil host, RPC over turmoil's TCP, fixed ticks. Slow and close to the wire.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, SystemTime},
};

use tourbillon::store::BoxFuture;
use turmoil::net::{TcpListener, TcpStream};

use super::{
    lane::{Lane, LinkState, Software},
    net::{BoxStream, Listener, Net},
};
use crate::history::HostId;

/// The one port that every host listens on.
const PORT: u16 = 7000;

pub(super) struct TurmoilLane {
    sim: turmoil::Sim<'static>,
}

impl TurmoilLane {
    pub(super) fn new(seed: u64, tick: Duration, latency: (Duration, Duration)) -> Self {
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(seed)
            .tick_duration(tick)
            .min_message_latency(latency.0)
            .max_message_latency(latency.1)
            // The default is the real time of the call.
            .epoch(SystemTime::UNIX_EPOCH)
            .tcp_capacity(1024)
            .simulation_duration(Duration::from_secs(100 * 365 * 86_400));
        Self { sim: builder.build() }
    }
}

impl Lane for TurmoilLane {
    fn add(&mut self, host: HostId, software: Software) {
        self.sim.host(host.to_string(), move || {
            let running = software();
            async move {
                running.await;
                Ok(())
            }
        });
    }

    fn step(&mut self) -> Result<(), String> {
        self.sim.step().map(|_| ()).map_err(|error| error.to_string())
    }

    fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    fn crash(&mut self, host: HostId) {
        self.sim.crash(host.to_string());
    }

    fn restart(&mut self, host: HostId) {
        self.sim.bounce(host.to_string());
    }

    fn is_running(&mut self, host: HostId) -> bool {
        self.sim.is_host_running(host.to_string())
    }

    fn link(&mut self, a: HostId, b: HostId, from: LinkState, to: LinkState) {
        let (a, b) = (a.to_string(), b.to_string());
        match from {
            LinkState::Up => {}
            LinkState::Held => self.sim.release(a.as_str(), b.as_str()),
            LinkState::Down | LinkState::DownForth | LinkState::DownBack => self.sim.repair(a.as_str(), b.as_str()),
        }
        match to {
            LinkState::Up => {}
            LinkState::Down => self.sim.partition(a.as_str(), b.as_str()),
            LinkState::DownForth => self.sim.partition_oneway(a.as_str(), b.as_str()),
            LinkState::DownBack => self.sim.partition_oneway(b.as_str(), a.as_str()),
            LinkState::Held => self.sim.hold(a.as_str(), b.as_str()),
        }
    }
}

/// Time of the host that turmoil is polling.
pub(super) fn within_step() -> Option<Duration> {
    turmoil::sim_elapsed()
}

pub(super) struct TurmoilNet;

impl Net for TurmoilNet {
    fn dial(&self, to: HostId) -> BoxFuture<'static, io::Result<BoxStream>> {
        Box::pin(async move {
            let stream = TcpStream::connect((to.to_string(), PORT)).await?;
            Ok(Box::new(stream) as BoxStream)
        })
    }

    fn listen(&self) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)).await?;
            Ok(Box::new(TurmoilListener(listener)) as Box<dyn Listener>)
        })
    }
}

struct TurmoilListener(TcpListener);

impl Listener for TurmoilListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            let (stream, _) = self.0.accept().await?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}
