//! The turmoil lane: every host a turmoil host, RPC over turmoil's TCP, fixed ticks. Slow and close to the wire.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tourbillon::store::BoxFuture;
use turmoil::net::{TcpListener, TcpStream};

use super::{
    clock::TrueTime,
    gate::Gate,
    lane::{Carrier, LinkState, Ready, Software},
    net::{BoxConnection, Connection, Listener, Net},
    wire::Message,
};
use crate::{chance, history::HostId};

/// The one port that every host listens on.
const PORT: u16 = 7000;

/// Longest frame. Far above the largest batch; a longer one is a bug, not a message.
const MAX_FRAME: u32 = 64 * 1024 * 1024;

/// Room for what one read brings.
const CHUNK: usize = 16 * 1024;

pub(super) fn ready(seed: u64, tick: Duration, latency: (Duration, Duration)) -> Ready {
    Ready {
        carrier: Box::new(TurmoilLane::new(chance::draw(seed, "net", 0, 0), tick, latency)),
        net: Arc::new(TurmoilNet),
        // Time of the host that turmoil is polling.
        truth: TrueTime::new(turmoil::sim_elapsed),
        granularity: tick * 3 + latency.1 * 2,
    }
}

struct TurmoilLane {
    sim: turmoil::Sim<'static>,
}

impl TurmoilLane {
    fn new(seed: u64, tick: Duration, latency: (Duration, Duration)) -> Self {
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(seed)
            .tick_duration(tick)
            .min_message_latency(latency.0)
            .max_message_latency(latency.1)
            // The default is the real time of the call.
            .epoch(SystemTime::UNIX_EPOCH)
            // A hold delivers all that was dialled in vain at once, and a listener with more of it than this panics.
            .tcp_capacity(1 << 16)
            // A connection that a partition swallowed keeps its port for good: hours of attempts need all there are.
            .ephemeral_ports(1024..=65_535)
            .simulation_duration(Duration::from_secs(100 * 365 * 86_400));
        Self { sim: builder.build() }
    }
}

/// A program that panics has ended, like any process that does; turmoil would end the whole run. What it said is in the
/// history: the hook hears it before it is caught here.
async fn until_panic(mut running: BoxFuture<'static, ()>) {
    poll_fn(|cx| catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))).unwrap_or(Poll::Ready(()))).await;
}

impl Carrier for TurmoilLane {
    fn add(&mut self, host: HostId, software: Software) {
        self.sim.host(host.to_string(), move || {
            let running = until_panic(software());
            async move {
                running.await;
                Ok(())
            }
        });
    }

    fn step(&mut self, _until: Duration) -> Result<(), String> {
        self.sim.step().map(|_| ()).map_err(|error| error.to_string())
    }

    fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    fn crash(&mut self, host: HostId, tasks: &Gate) {
        tasks.end();
        self.sim.crash(host.to_string());
    }

    fn restart(&mut self, host: HostId, left: Option<&Gate>) {
        if let Some(left) = left {
            left.end();
        }
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

struct TurmoilNet;

impl Net for TurmoilNet {
    fn dial(&self, _from: HostId, to: HostId) -> BoxFuture<'static, io::Result<BoxConnection>> {
        Box::pin(async move {
            let stream = TcpStream::connect((to.to_string(), PORT)).await?;
            Ok(Box::new(Framed::new(stream)) as BoxConnection)
        })
    }

    fn listen(&self, _at: HostId) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)).await?;
            Ok(Box::new(TurmoilListener(listener)) as Box<dyn Listener>)
        })
    }
}

struct TurmoilListener(TcpListener);

impl Listener for TurmoilListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxConnection>> {
        Box::pin(async {
            let (stream, _) = self.0.accept().await?;
            Ok(Box::new(Framed::new(stream)) as BoxConnection)
        })
    }
}

/// Messages as frames: a length and a JSON document.
struct Framed {
    stream: TcpStream,
    /// Read, and not yet a whole frame: whoever waits for one may stop to, and wait again.
    read: Vec<u8>,
}

impl Framed {
    fn new(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// The first frame, without its length, if all of it is there.
    fn frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(len) = self.read.first_chunk().map(|len| u32::from_be_bytes(*len)) else { return Ok(None) };
        if len > MAX_FRAME {
            return Err(io::Error::other(format!("frame of {len} bytes")));
        }
        let end = 4 + len as usize;
        if self.read.len() < end {
            return Ok(None);
        }
        let frame = self.read.drain(..end).skip(4).collect();
        Ok(Some(frame))
    }
}

impl Connection for Framed {
    fn send(&mut self, message: Box<Message>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let mut frame = vec![0; 4];
            serde_json::to_writer(&mut frame, &message)?;
            let len = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
            frame[..4].copy_from_slice(&len.to_be_bytes());
            self.stream.write_all(&frame).await
        })
    }

    fn receive(&mut self) -> BoxFuture<'_, io::Result<Box<Message>>> {
        Box::pin(async {
            loop {
                if let Some(frame) = self.frame()? {
                    return Ok(serde_json::from_slice(&frame)?);
                }
                self.read.reserve(CHUNK);
                if self.stream.read_buf(&mut self.read).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        })
    }
}
