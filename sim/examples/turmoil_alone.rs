//! How fast turmoil is by itself: hosts that do nothing but exchange as many messages as the hardened operator does, on the
//! same tick and with the same latencies. What our turmoil lane takes more than this is ours. Judges nothing.
//!
//! ```sh
//! cargo run --release -p tourbillon-sim --example turmoil_alone
//! ```

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tourbillon_sim::{
    EngineFactory, Lane, Overrides,
    history::{History, What},
    run_seed,
    scenario::Scenario,
    stopwatch,
    world::engine,
};
use turmoil::net::{TcpListener, TcpStream};

const PORT: u16 = 7000;

/// The tick at which the turmoil lane is fastest.
const TICK: Duration = Duration::from_millis(100);

/// Bytes of a request and of its answer: those of a claim that finds nothing.
const FRAME: usize = 300;

fn main() -> Result<(), Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/certificate-operator.toml");
    let scenario = Scenario::load(&file)?;
    let memory: EngineFactory = Arc::new(|| Ok(engine::memory()));
    let ours = |lane| {
        let wall = stopwatch();
        let verdict = run_seed(&scenario, 0, &Overrides { lane: Some(lane), plan: None }, &memory);
        verdict.map(|verdict| (wall(), verdict))
    };
    let (wall, verdict) = ours(Lane::Turmoil { tick: Some(TICK) })?;
    let calls = round_trips(&verdict.history);
    let times = |simulated: Duration, wall: Duration| simulated.as_secs_f64() / wall.as_secs_f64();
    println!("our turmoil lane: {:.0} × real time, {calls} round trips", times(verdict.simulated, wall));
    let wall = stopwatch();
    alone(verdict.simulated, calls, scenario.replicas)?;
    println!("turmoil alone:    {:.0} × real time, as many", times(verdict.simulated, wall()));
    let wall = stopwatch();
    alone(verdict.simulated, 0, scenario.replicas)?;
    println!("hosts that sleep: {:.0} × real time", times(verdict.simulated, wall()));
    let (wall, verdict) = ours(Lane::Event)?;
    println!("our event lane:   {:.0} × real time", times(verdict.simulated, wall));
    Ok(())
}

/// Requests of replicas to the database, and to the outside.
fn round_trips(history: &History) -> u64 {
    let sent = |what: &What| matches!(what, What::Invoked { .. } | What::CallReceived { .. });
    history.events.iter().filter(|event| sent(&event.what)).count() as u64
}

/// One server, and so many clients that share the round trips, evenly over the time.
#[expect(clippy::disallowed_methods, reason = "turmoil's own time is what is measured")]
fn alone(lasts: Duration, round_trips: u64, clients: u8) -> Result<(), Box<dyn Error>> {
    let mut sim = turmoil::Builder::new()
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(10))
        .epoch(SystemTime::UNIX_EPOCH)
        .tcp_capacity(1024)
        .simulation_duration(lasts * 2)
        .build();
    sim.host("database", || async {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)).await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut frame = [0; FRAME];
                while stream.read_exact(&mut frame).await.is_ok() && stream.write_all(&frame).await.is_ok() {}
            });
        }
    });
    for client in 0..clients {
        let pause = lasts.checked_div(u32::try_from(round_trips / u64::from(clients))?);
        sim.client(format!("replica-{client}"), async move {
            let Some(pause) = pause else {
                tokio::time::sleep(lasts).await;
                return Ok(());
            };
            let mut stream = TcpStream::connect(("database", PORT)).await?;
            let mut frame = [0; FRAME];
            while turmoil::sim_elapsed().is_some_and(|elapsed| elapsed < lasts) {
                stream.write_all(&frame).await?;
                stream.read_exact(&mut frame).await?;
                tokio::time::sleep(pause).await;
            }
            Ok(())
        });
    }
    sim.run()
}
