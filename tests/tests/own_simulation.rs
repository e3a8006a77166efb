//! A simulation of one's own is the same on every engine: what holds on the in-memory store holds with SQLite and with
//! Postgres in the database host, and what breaks there breaks here, by the same smallest case and the same story.

use std::time::Duration;

use libtest_mimic::Arguments;
use tourbillon::prelude::*;
use tourbillon_sim::{Budget, prelude::*, simulation::Counterexample};
use tourbillon_tests::{conformance::trial, engines::EngineKind};

const MINUTE: Duration = Duration::from_secs(60);

fn main() {
    let no_postgres = EngineKind::Postgres.factory().err().map(|error| error.to_string());
    let trials = [(EngineKind::Sqlite, None), (EngineKind::Postgres, no_postgres.as_deref())].into_iter();
    let trials = trials.flat_map(|(engine, missing)| {
        let name = engine.name();
        [
            trial(format!("what_holds_of_ones_own_jobs_holds_on_{name}"), missing, move || holds_alike(engine)),
            trial(format!("what_breaks_of_ones_own_jobs_breaks_on_{name}"), missing, move || breaks_alike(engine)),
        ]
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// A job that sends a mail, a queue that a service feeds, a leader that publishes.
fn app(host: &Host) -> Scheduler {
    let (smtp, shop, registry) = (host.receiver("smtp"), host.receiver("shop"), host.receiver("registry"));
    let digest = Job::new("digest").every(MINUTE).max_attempts(4).run(move |ctx: Context| {
        let smtp = smtp.clone();
        async move {
            ctx.sleep(Duration::from_secs(2)).await;
            smtp.send(&ctx, format!("{:?}", ctx.slot_at())).await
        }
    });
    let parcels = Queue::<u64>::new("parcels").run(move |parcel: u64, ctx: Context| {
        let shop = shop.clone();
        async move { shop.send(&ctx, format!("parcel {parcel}")).await }
    });
    let producer = Enqueuer::new(host.store(), host.runtime(), &Queue::<u64>::new("parcels")).expect("a queue");
    let runtime = host.runtime();
    let feed = Service::new("feed").every(Duration::from_secs(20)).run(move |_: Tick| {
        let (producer, parcel) = (producer.clone(), runtime.uuid().as_u64_pair().0);
        async move { producer.enqueue(&parcel).await.map(|_| ()) }
    });
    let publish =
        Service::new("publish").every(Duration::from_secs(30)).mode(HaMode::Leader).run(move |tick: Tick| {
            let registry = registry.clone();
            async move { registry.call(Call::new("list").under(tick.epoch())).await.map(|_| ()) }
        });
    let builder = Scheduler::builder(host.store()).runtime(host.runtime()).job(digest).queue(parcels);
    builder.service(feed).service(publish).build().expect("the rules hold")
}

fn simulation(engine: EngineKind) -> Simulation {
    let factory = engine.factory().expect("the engine was found before");
    Simulation::new("mails and parcels")
        .engine(engine.name(), factory)
        .lasting(3 * MINUTE)
        .receiver("smtp")
        .receiver("shop")
        .receiver("registry")
        .app(app)
        .expect(slots("digest").settled())
        .expect(slots("parcels").settled())
        .expect(effects("smtp").whenever_succeeds("digest"))
}

fn holds_alike(engine: EngineKind) {
    let held = |engine| simulation(engine).seeds(0..2).try_check().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(held(engine), held(EngineKind::Memory));
}

/// The third mail breaks it, under whatever faults the seed has.
fn breaks_alike(engine: EngineKind) {
    let broken = |engine| -> Counterexample {
        let two = holds("two mails are enough", |record: &Record<'_>, judgement: &mut Judgement| {
            for (nth, effect) in record.effects("smtp").enumerate() {
                judgement.demand(nth < 2, &[effect.event], || format!("{} is one too many", effect.key));
            }
        });
        // By runs alone, so that a slow machine ends where a fast one does.
        let budget = Budget { runs: 4, wall: Duration::from_secs(3_600) };
        let error =
            simulation(engine).expect(two).shrinking(budget).seeds(0..1).try_check().expect_err("there are more");
        error.counterexample().cloned().unwrap_or_else(|| panic!("{error}"))
    };
    let (here, there) = (broken(engine), broken(EngineKind::Memory));
    assert_eq!(here.engine, engine.name());
    assert_eq!(here.smallest, there.smallest);
    assert_eq!((here.violation, here.story), (there.violation, there.story));
}
