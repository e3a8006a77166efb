//! Interval, first tick, guard, gate, callbacks, health, ticks on demand, shutdown.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tourbillon::{
    driver::{Running, Scheduler, SchedulerBuilder},
    job::{BoxError, StopReason},
    model::Timestamp,
    runtime::Runtime,
    service::{FirstTick, Health, Pass, Service, Skip, Tick, TickError, TickOutcome, Trigger},
    store::{ManualClock, MemoryStore},
};

use crate::paused;

const SECOND: Duration = Duration::from_secs(1);

fn every(secs: u64) -> Service {
    Service::new("crl")
        .every(SECOND * u32::try_from(secs).expect("seconds of a test"))
        .first(FirstTick::AfterInterval)
}

fn start_in(runtime: &Runtime, services: impl IntoIterator<Item = Service>) -> Running {
    let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
    let builder = Scheduler::builder(store).runtime(runtime.clone());
    services.into_iter().fold(builder, SchedulerBuilder::service).build().expect("valid services").start()
}

fn health(running: &Running) -> Health {
    running.services().health().remove(0)
}

fn counter() -> (Arc<AtomicU32>, impl Fn(Tick) -> std::future::Ready<Result<u64, BoxError>> + Clone) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let work = move |_: Tick| std::future::ready(Ok(u64::from(counted.fetch_add(1, Ordering::SeqCst))));
    (count, work)
}

// P-20, P-21
#[tokio::test(start_paused = true)]
async fn the_first_tick_comes_within_half_an_interval_and_not_at_once_everywhere() {
    let firsts: Vec<Duration> = {
        let mut firsts = Vec::new();
        for seed in 0..40 {
            let runtime = paused::runtime(seed);
            let at = Arc::new(Mutex::new(None));
            let (seen, clock) = (Arc::clone(&at), runtime.clone());
            let service = Service::new("crl").every(SECOND * 100).run(move |_| {
                seen.lock().unwrap().get_or_insert(clock.monotonic().0);
                async { Ok::<_, BoxError>(()) }
            });
            let running = start_in(&runtime, [service]);
            runtime.sleep(SECOND * 51).await;
            running.stop().await.unwrap();
            firsts.push(at.lock().unwrap().unwrap());
        }
        firsts
    };
    assert!(firsts.iter().all(|first| *first < SECOND * 50), "{firsts:?}");
    let early = firsts.iter().filter(|first| **first < SECOND * 25).count();
    assert!((10..=30).contains(&early), "{early} of 40 in the first quarter: {firsts:?}");
}

// P-40
#[tokio::test(start_paused = true)]
async fn ticks_come_at_once_or_after_one_interval_and_then_at_fixed_distances() {
    let runtime = paused::runtime(1);
    for (first, expected) in [(FirstTick::Immediately, 4), (FirstTick::AfterInterval, 3)] {
        let (count, work) = counter();
        let running = start_in(&runtime, [every(10).first(first).run(work)]);
        runtime.sleep(Duration::from_millis(39_900)).await;
        assert_eq!(count.load(Ordering::SeqCst), expected, "{first:?}");
        running.stop().await.unwrap();
    }
}

// P-40
#[tokio::test(start_paused = true)]
async fn a_tick_is_skipped_while_the_one_before_it_still_runs() {
    let runtime = paused::runtime(1);
    let service = every(10).timeout(SECOND * 60).run(|tick: Tick| async move {
        tick.sleep(SECOND * 25).await;
        Ok::<_, BoxError>(())
    });
    let running = start_in(&runtime, [service]);
    runtime.sleep(SECOND * 36).await;
    let health = health(&running);
    assert_eq!((health.ticks.succeeded, health.ticks.skipped), (1, 2));
    assert_eq!(health.last_skip.unwrap().1, Skip::StillRunning);
    assert_eq!(health.last_duration, Some(SECOND * 25));
    running.stop().await.unwrap();
}

// P-20, P-22
#[tokio::test(start_paused = true)]
async fn a_gate_that_says_no_skips_silently_and_is_no_failure() {
    let runtime = paused::runtime(1);
    let open = Arc::new(AtomicBool::new(false));
    let (gate, (count, work)) = (Arc::clone(&open), counter());
    let service = every(10).should_run(move || std::future::ready(gate.load(Ordering::SeqCst))).run(work);
    let running = start_in(&runtime, [service]);
    runtime.sleep(SECOND * 25).await;
    let shut = health(&running);
    assert_eq!((shut.ticks.skipped, shut.ticks.failed, shut.consecutive_failures), (2, 0, 0));
    assert_eq!(count.load(Ordering::SeqCst), 0);
    open.store(true, Ordering::SeqCst);
    runtime.sleep(SECOND * 10).await;
    assert_eq!(health(&running).ticks.succeeded, 1);
    running.stop().await.unwrap();
}

// P-23, P-26
#[tokio::test(start_paused = true)]
async fn errors_panics_and_timeouts_are_failures_and_the_service_goes_on() {
    let runtime = paused::runtime(1);
    let told = Arc::new(Mutex::new(Vec::new()));
    let (errors, number) = (Arc::clone(&told), AtomicU32::new(0));
    let work = move |tick: Tick| {
        let number = number.fetch_add(1, Ordering::SeqCst);
        async move {
            match number {
                0 => Err(BoxError::from("no signer")),
                1 => panic!("planned panic of the test"),
                2 => std::future::pending().await,
                _ => {
                    tick.sleep(SECOND).await;
                    Ok(Pass::counted("lists", 2))
                }
            }
        }
    };
    let service = every(10)
        .timeout(SECOND * 5)
        .on_error(move |error: &TickError| errors.lock().unwrap().push(error.to_string()))
        .run(work);
    let running = start_in(&runtime, [service]);
    runtime.sleep(SECOND * 36).await;
    let ill = health(&running);
    assert_eq!((ill.ticks.failed, ill.consecutive_failures), (3, 3));
    runtime.sleep(SECOND * 10).await;
    let well = health(&running);
    assert_eq!((well.ticks.succeeded, well.consecutive_failures, &well.last_error), (1, 0, &None));
    assert_eq!(well.last_failure_at, ill.last_failure_at);
    running.stop().await.unwrap();
    let expected = [
        "the pass failed: no signer",
        "the pass panicked: planned panic of the test",
        "the pass ran longer than its timeout of 5s",
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

// P-20, P-27, P-29
#[tokio::test(start_paused = true)]
async fn a_tick_on_demand_takes_the_same_path_and_has_a_request_id_of_its_own() {
    let runtime = paused::runtime(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (started, ticked) = (Arc::clone(&seen), Arc::clone(&seen));
    let note = |seen: &Mutex<Vec<_>>, tick: &Tick| seen.lock().unwrap().push((tick.trigger(), tick.request()));
    let service = every(10)
        .on_start(move |tick: Tick| {
            note(&started, &tick);
            async { Ok::<_, BoxError>(()) }
        })
        .run(move |tick: Tick| {
            note(&ticked, &tick);
            async { Ok::<_, BoxError>(7) }
        });
    let running = start_in(&runtime, [service]);
    runtime.sleep(SECOND * 11).await;
    let outcome = running.tick("crl").await.unwrap();
    assert!(matches!(outcome, TickOutcome::Succeeded(pass) if pass == Pass::from(7)), "{outcome:?}");
    let unknown = running.tick("clr").await.unwrap_err();
    assert_eq!(unknown.to_string(), "no service `clr`; there are: crl");
    assert_eq!(health(&running).ticks.succeeded, 3);
    running.stop().await.unwrap();
    let seen = seen.lock().unwrap();
    let triggers: Vec<_> = seen.iter().map(|(trigger, _)| *trigger).collect();
    assert_eq!(triggers, [Trigger::StartUp, Trigger::Interval, Trigger::Demand]);
    assert!(seen[0].1 != seen[1].1 && seen[1].1 != seen[2].1);
}

// P-42
#[tokio::test(start_paused = true)]
async fn a_shutdown_drains_ticks_and_names_those_that_it_had_to_interrupt() {
    let runtime = paused::runtime(1);
    for (takes, within) in [(25, true), (35, false)] {
        let reason = Arc::new(Mutex::new(None));
        let told = Arc::clone(&reason);
        let service = every(10).timeout(SECOND * 90).run(move |tick: Tick| {
            let told = Arc::clone(&told);
            async move {
                tick.sleep(SECOND * takes).await;
                *told.lock().unwrap() = tick.stop_reason();
                Ok::<_, BoxError>(())
            }
        });
        let running = start_in(&runtime, [service]);
        runtime.sleep(SECOND * 10 + SECOND / 10).await;
        let end = running.stop().await;
        if within {
            assert_eq!(end, Ok(()));
            assert_eq!(*reason.lock().unwrap(), Some(StopReason::ShuttingDown));
        } else {
            assert_eq!(end.unwrap_err().still_running, ["tick of service crl (interrupted)"]);
            assert_eq!(*reason.lock().unwrap(), None);
        }
    }
}

// P-25
#[tokio::test]
async fn two_services_of_one_name_are_refused() {
    let store = MemoryStore::new(ManualClock::new(Timestamp::EPOCH));
    let (_, work) = counter();
    let builder = Scheduler::builder(store).service(every(10).run(work.clone())).service(every(20).run(work));
    let expected = "service `crl`: defined twice: give each service a name of its own";
    assert_eq!(builder.build().unwrap_err().to_string(), expected);
}
