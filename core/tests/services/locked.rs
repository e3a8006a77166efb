//! Modes with a lock: two replicas on one store, one of which may be cut off.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tourbillon::{
    driver::{BuildError, Running, Scheduler},
    job::BoxError,
    model::{Epoch, LockName},
    runtime::Runtime,
    service::{
        FirstTick, HaMode, Health, Leadership, Locker, Service, SessionLock, Skip, Term, Tick, TickError, TickOutcome,
    },
    store::{BoxFuture, ErrorKind, StoreError},
};

use crate::{paused, store::PausedStore};

const SECOND: Duration = Duration::from_secs(1);

/// What happened on which replica, and when.
type Log = Arc<Mutex<Vec<(char, Duration, Option<Epoch>)>>>;

fn noting(log: &Log, replica: char, runtime: &Runtime, takes: Duration) -> Service {
    let (log, runtime) = (Arc::clone(log), runtime.clone());
    Service::new("crl").every(SECOND * 10).first(FirstTick::Immediately).timeout(SECOND * 600).run(
        move |tick: Tick| {
            let (log, runtime) = (Arc::clone(&log), runtime.clone());
            async move {
                log.lock().expect("no test panics with the log").push((replica, runtime.monotonic().0, tick.epoch()));
                tick.sleep(takes).await;
                Ok::<_, BoxError>(())
            }
        },
    )
}

fn start(store: &PausedStore, runtime: &Runtime, service: Service, group: Leadership) -> Running {
    let builder = Scheduler::builder(store.clone()).runtime(runtime.clone());
    builder.service(service).leadership(group).build().expect("valid services").start()
}

fn health(running: &Running) -> Health {
    running.services().health().remove(0)
}

fn group() -> Leadership {
    Leadership::new("operator").ttl(SECOND * 9)
}

// P-20, P-22, P-28
#[tokio::test(start_paused = true)]
async fn a_tick_lock_is_renewed_while_the_tick_runs_and_the_other_replica_skips() {
    let runtime = paused::runtime(1);
    let store = PausedStore::new(&runtime);
    let log = Log::default();
    let service = |replica| noting(&log, replica, &runtime, SECOND * 25).mode(HaMode::TickLock).ttl(SECOND * 6);
    let a = start(&store, &runtime, service('a'), group());
    runtime.sleep(SECOND * 6).await;
    let b = start(&store, &runtime, service('b'), group());
    runtime.sleep(SECOND * 15).await;
    assert_eq!(log.lock().unwrap().len(), 1, "held far beyond its time to live");
    let skipped = health(&b);
    assert_eq!((skipped.ticks.skipped, skipped.ticks.failed), (2, 0));
    assert_eq!(skipped.last_skip.unwrap().1, Skip::LockHeld);
    runtime.sleep(SECOND * 6).await;
    let log: Vec<_> = log.lock().unwrap().iter().map(|(replica, _, epoch)| (*replica, *epoch)).collect();
    assert_eq!(log, [('a', Some(Epoch(1))), ('b', Some(Epoch(2)))], "given back at the end of the tick");
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

// P-22, P-29
#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_tried_is_a_failure_of_its_own_kind() {
    let runtime = paused::runtime(1);
    let store = PausedStore::new(&runtime);
    let service =
        noting(&Log::default(), 'a', &runtime, SECOND).mode(HaMode::TickLock).first(FirstTick::AfterInterval);
    let a = start(&store, &runtime, service, group());
    store.cut(true);
    let outcome = a.tick("crl").await.unwrap();
    let TickOutcome::Failed(error @ TickError::Lock(_)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.to_string(), "the lock could not be tried: unavailable: cut off");
    assert_eq!(health(&a).consecutive_failures, 1);
    store.cut(false);
    assert!(matches!(a.tick("crl").await.unwrap(), TickOutcome::Succeeded(_)));
    a.stop().await.unwrap();
}

/// G7: the work stops before its lock may be somebody else's, without asking anybody.
// P-22, P-28
#[tokio::test(start_paused = true)]
async fn a_tick_that_is_cut_off_stops_before_its_lock_expires() {
    let runtime = paused::runtime(1);
    let store = PausedStore::new(&runtime);
    let (stopped, told) = (Log::default(), Arc::new(Mutex::new(Vec::new())));
    let (log, clock, errors) = (Arc::clone(&stopped), runtime.clone(), Arc::clone(&told));
    let service = Service::new("crl")
        .every(SECOND * 100)
        .first(FirstTick::Immediately)
        .timeout(SECOND * 600)
        .mode(HaMode::TickLock)
        .ttl(SECOND * 10)
        .on_error(move |error: &TickError| errors.lock().unwrap().push(error.to_string()))
        .run(move |tick: Tick| {
            let dropped = Dropped { log: Arc::clone(&log), runtime: clock.clone(), epoch: tick.epoch() };
            async move {
                tick.sleep(SECOND * 300).await;
                drop(dropped);
                Ok::<_, BoxError>(())
            }
        });
    let a = start(&store, &runtime, service, group());
    runtime.sleep(SECOND).await;
    store.cut(true);
    runtime.sleep(SECOND * 11).await;
    store.cut(false);
    runtime.sleep(SECOND * 10).await;
    // The only request that got through was the first, sent at zero: 90 % of its time to live.
    assert_eq!(*stopped.lock().unwrap(), [('x', SECOND * 9, Some(Epoch(1)))]);
    assert_eq!(*told.lock().unwrap(), ["the lock was lost while the pass ran"]);
    a.stop().await.unwrap();
}

/// Notes when it is dropped.
struct Dropped {
    log: Log,
    runtime: Runtime,
    epoch: Option<Epoch>,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.log.lock().expect("no test panics with the log").push(('x', self.runtime.monotonic().0, self.epoch));
    }
}

// P-20, P-28
#[tokio::test(start_paused = true)]
async fn one_replica_leads_and_a_cut_off_leader_is_replaced_after_its_work_has_stopped() {
    let runtime = paused::runtime(1);
    let store_a = PausedStore::new(&runtime);
    let store_b = store_a.another();
    let log = Log::default();
    let service = |replica| noting(&log, replica, &runtime, SECOND * 5).led_by("operator");
    let a = start(&store_a, &runtime, service('a'), group());
    runtime.sleep(SECOND * 3).await;
    let b = start(&store_b, &runtime, service('b'), group());
    runtime.sleep(SECOND * 30).await;
    assert!(log.lock().unwrap().iter().all(|(replica, _, epoch)| (*replica, *epoch) == ('a', Some(Epoch(1)))));
    assert!(health(&b).ticks.skipped > 0);
    assert_eq!(health(&b).last_skip.unwrap().1, Skip::NotLeader);
    let cut_at = runtime.monotonic().0;
    store_a.cut(true);
    runtime.sleep(SECOND * 12).await;
    let took_over = log.lock().unwrap().iter().find(|(replica, ..)| *replica == 'b').copied();
    let (_, at, epoch) = took_over.expect("within time to live + a campaign");
    assert_eq!(epoch, Some(Epoch(2)));
    assert!(at - cut_at <= SECOND * 9 + SECOND * 3, "{:?}", at - cut_at);
    let last_a = log.lock().unwrap().iter().filter(|(replica, ..)| *replica == 'a').map(|(_, at, _)| *at).max();
    assert!(last_a.unwrap() + SECOND * 5 <= at || health(&a).ticks.failed > 0);
    store_a.cut(false);
    runtime.sleep(SECOND * 30).await;
    assert_eq!(health(&a).last_skip.unwrap().1, Skip::NotLeader, "a replica that resigned does not lead by itself");
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

// P-42
#[tokio::test(start_paused = true)]
async fn a_leader_that_shuts_down_drains_its_ticks_and_steps_down_at_once() {
    let runtime = paused::runtime(1);
    let store = PausedStore::new(&runtime);
    let log = Log::default();
    let service = |replica| noting(&log, replica, &runtime, SECOND * 2).led_by("operator");
    let slow = || Leadership::new("operator").ttl(SECOND * 300).renew_every(SECOND);
    let a = start(&store, &runtime, service('a'), slow());
    runtime.sleep(SECOND * 2).await;
    let b = start(&store, &runtime, service('b'), slow());
    runtime.sleep(SECOND * 5).await;
    let stopped_at = runtime.monotonic().0;
    a.stop().await.unwrap();
    runtime.sleep(SECOND * 2).await;
    let (_, at, _) = log.lock().unwrap().iter().find(|(replica, ..)| *replica == 'b').copied().expect("took over");
    assert!(at - stopped_at <= SECOND * 2, "far below the time to live: {:?}", at - stopped_at);
    b.stop().await.unwrap();
}

/// B4.
// P-20
#[tokio::test(start_paused = true)]
async fn a_promotion_that_fails_resigns_and_another_replica_leads() {
    let runtime = paused::runtime(1);
    let store = PausedStore::new(&runtime);
    let log = Log::default();
    let losses = Arc::new(Mutex::new(Vec::new()));
    let service = |replica| noting(&log, replica, &runtime, SECOND).led_by("operator");
    let a = start(
        &store,
        &runtime,
        service('a'),
        group().on_gain(|_: Term| async { Err::<(), BoxError>("no route to the signer".into()) }),
    );
    runtime.sleep(SECOND * 3).await;
    let lost = Arc::clone(&losses);
    let told = group().on_gain(|_: Term| async { Ok::<_, BoxError>(()) }).on_loss(move |term: Term| {
        lost.lock().unwrap().push(term.epoch);
        async {}
    });
    let b = start(&store, &runtime, service('b'), told);
    runtime.sleep(SECOND * 10).await;
    assert!(log.lock().unwrap().iter().all(|(replica, ..)| *replica == 'b'));
    assert!(!log.lock().unwrap().is_empty());
    b.stop().await.unwrap();
    let epochs = losses.lock().unwrap().clone();
    assert_eq!(epochs.len(), 1);
    assert!(epochs[0] >= Some(Epoch(2)));
    a.stop().await.unwrap();
}

/// A28, B3.
// P-25
#[tokio::test]
async fn locks_and_groups_that_do_not_fit_together_are_refused() {
    let runtime = paused::runtime(1);
    let service = |name: &str| Service::new(name).every(SECOND).run(|_| async { Ok::<_, BoxError>(()) });
    let refused = |services: Vec<Service>, groups: Vec<Leadership>| -> String {
        let mut builder = Scheduler::builder(PausedStore::new(&runtime)).runtime(runtime.clone());
        for service in services {
            builder = builder.service(service);
        }
        for group in groups {
            builder = builder.leadership(group);
        }
        builder.build().map(drop).map_err(|error: BuildError| error.to_string()).unwrap_err()
    };
    let locked = |name: &str| service(name).mode(HaMode::TickLock);
    assert_eq!(
        refused(vec![locked("a"), locked("b").lock("a")], vec![]),
        "lock `a`: used by service `a` and by service `b`: give each a lock of its own"
    );
    assert_eq!(
        refused(vec![locked("operator")], vec![group()]),
        "lock `operator`: used by leadership `operator` and by service `operator`: give each a lock of its own"
    );
    assert_eq!(
        refused(vec![service("a").led_by("operators")], vec![group()]),
        "service `a`: no leadership `operators`: add it to the builder with `leadership(Leadership::new(\"operators\"))`"
    );
    assert_eq!(
        refused(vec![], vec![group(), group()]),
        "leadership `operator`: defined twice: give each group a name of its own"
    );
    assert_eq!(
        refused(vec![locked("a").ttl(Duration::ZERO)], vec![]),
        "service `a`: the time to live is 0ns: give `ttl` 10 ms to 90 days"
    );
}

/// A session lock whose session can be ended from outside.
#[derive(Debug, Default)]
struct OneSession {
    is_taken: Arc<AtomicBool>,
    is_dead: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Session {
    is_taken: Arc<AtomicBool>,
    is_dead: Arc<AtomicBool>,
}

impl Locker for OneSession {
    fn try_lock(&self, _: LockName) -> BoxFuture<'_, Result<Option<Box<dyn SessionLock>>, StoreError>> {
        let is_free = !self.is_taken.swap(true, Ordering::SeqCst);
        let session = Session { is_taken: Arc::clone(&self.is_taken), is_dead: Arc::clone(&self.is_dead) };
        Box::pin(async move { Ok(is_free.then(|| Box::new(session) as Box<dyn SessionLock>)) })
    }
}

impl SessionLock for Session {
    fn verify(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        let is_dead = self.is_dead.load(Ordering::SeqCst);
        let gone = || StoreError::new(ErrorKind::LeaseLost, "the session is gone");
        Box::pin(async move { if is_dead { Err(gone()) } else { Ok(()) } })
    }

    fn unlock(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.is_taken.store(false, Ordering::SeqCst);
        Box::pin(async {})
    }
}

/// A27: best effort, but the work does not go on for ever.
// P-28
#[tokio::test(start_paused = true)]
async fn a_session_lock_is_verified_and_its_loss_cancels_the_tick() {
    let runtime = paused::runtime(1);
    let store = PausedStore::new(&runtime);
    let locker = Arc::new(OneSession::default());
    let is_dead = Arc::clone(&locker.is_dead);
    let service = noting(&Log::default(), 'a', &runtime, SECOND * 60).mode(HaMode::TickLock).ttl(SECOND * 8);
    let a = start(&store, &runtime, service.locker(locker), group());
    runtime.sleep(SECOND * 30).await;
    assert!(health(&a).running, "verified all the time");
    is_dead.store(true, Ordering::SeqCst);
    runtime.sleep(SECOND * 3).await;
    let lost = health(&a);
    assert_eq!(lost.last_error.as_deref(), Some("the lock was lost while the pass ran"));
    assert!(!lost.running);
    a.stop().await.unwrap();
}
