//! What a simulation of one's own accepts, refuses and notices: every kind of work beside each other, set-ups that
//! cannot be run, expectations that test nothing, applications that do not follow from their seed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tourbillon::prelude::*;
use tourbillon_sim::{history::OutsideCall, prelude::*};

const MINUTE: Duration = Duration::from_secs(60);

fn hello(host: &Host) -> Scheduler {
    let smtp = host.receiver("smtp");
    let job = Job::new("hello").every(MINUTE).run(move |ctx: Context| {
        let smtp = smtp.clone();
        async move { smtp.send(&ctx, "hello").await }
    });
    Scheduler::builder(host.store()).runtime(host.runtime()).job(job).build().expect("the rules hold")
}

fn simulation() -> Simulation {
    Simulation::new("hello").lasting(4 * MINUTE).faults(Faults::none()).receiver("smtp").app(hello).seeds(0..2)
}

fn refused(simulation: Simulation) -> String {
    simulation.try_check().expect_err("it is refused").to_string()
}

#[derive(Serialize, Deserialize)]
struct Parcel {
    number: u64,
}

/// Jobs with scopes and retries, a queue and its producer, a leader, a tick lock, and one that ticks everywhere.
fn everything(host: &Host) -> Scheduler {
    let (shop, log, registry) = (host.receiver("shop"), host.receiver("log"), host.receiver("registry"));
    let sync = Job::new("sync")
        .every(MINUTE)
        .scopes(["a", "b"].map(|id| Scope::new("tenant", id).expect("a scope")))
        .catch_up(CatchUp::EverySlot { window: Duration::from_secs(3_600), max_slots: 5 })
        .run_timeout(Duration::from_secs(20))
        .max_attempts(4)
        .run(move |ctx: Context| {
            let shop = shop.clone();
            async move {
                ctx.sleep(Duration::from_secs(1)).await;
                let slot = ctx.slot_at().expect("a planned job has slots");
                shop.send(&ctx, format!("{} {slot}", ctx.scope())).await
            }
        });
    let parcels = Queue::<Parcel>::new("parcels").run(move |parcel: Parcel, ctx: Context| {
        let log = log.clone();
        // Asks twice, as clients do that try again: no guarantee forbids it.
        async move {
            let key = format!("parcel {}", parcel.number);
            match log.send(&ctx, &key).await {
                Ok(()) => Ok(()),
                Err(_) => log.send(&ctx, &key).await,
            }
        }
    });
    let producer = Enqueuer::new(host.store(), host.runtime(), &Queue::<Parcel>::new("parcels")).expect("a queue");
    let produced = Arc::new(AtomicU64::new(0));
    let feed = Service::new("feed").every(Duration::from_secs(20)).run(move |_: Tick| {
        let (producer, number) = (producer.clone(), produced.fetch_add(1, Ordering::Relaxed));
        async move { producer.enqueue(&Parcel { number }).await.map(|_| ()) }
    });
    let publish =
        Service::new("publish").every(Duration::from_secs(30)).mode(HaMode::Leader).run(move |tick: Tick| {
            let registry = registry.clone();
            async move { registry.call(Call::new("list").under(tick.epoch())).await.map(|_| ()) }
        });
    let sweep =
        Service::new("sweep").every(Duration::from_secs(45)).mode(HaMode::TickLock).run(|tick: Tick| async move {
            tick.sleep(Duration::from_secs(2)).await;
            Ok::<_, BoxError>(())
        });
    let builder = Scheduler::builder(host.store()).runtime(host.runtime()).job(sync).queue(parcels);
    builder.service(feed).service(publish).service(sweep).build().expect("the rules hold")
}

/// No guarantee accuses an application that does nothing wrong, whatever goes wrong around it.
#[test]
fn jobs_queues_and_services_of_ones_own_hold_beside_each_other() {
    Simulation::new("everything")
        .lasting(10 * MINUTE)
        .receiver(Receiver::new("shop").fails_percent(10).takes(Duration::from_millis(200)))
        .receiver("log")
        .receiver(Receiver::new("registry").refuses_old_fences())
        .app(everything)
        .expect(effects("shop").per_key().at_most_one_plus_unmarked())
        .expect(effects("shop").whenever_succeeds("sync"))
        .expect(slots("sync").settled())
        .expect(slots("parcels").settled())
        .expect(holds("epochs of the registry never fall", |record: &Record<'_>, judgement: &mut Judgement| {
            let done = record.done_by_key("registry").remove("list").unwrap_or_default();
            for pair in done.windows(2) {
                judgement.demand(pair[0].epoch <= pair[1].epoch, &[pair[1].event], || {
                    format!("epoch {:?} after {:?}", pair[1].epoch, pair[0].epoch)
                });
            }
        }))
        .check();
}

#[test]
fn a_set_up_that_cannot_be_run_is_refused_with_the_mend() {
    let told = refused(Simulation::new("empty"));
    assert_eq!(told, "simulation `empty`: no application: say what each replica runs with `.app(…)`");
    let told = refused(simulation().replicas(0));
    assert_eq!(told, "simulation `hello`: 0 replicas: give it 1 to 16");
    let told = refused(simulation().receiver("smtp"));
    assert_eq!(told, "simulation `hello`: two receivers are called `smtp`: give each a name of its own");
    let told = refused(simulation().expect(effects("smpt").per_key().at_most(1)));
    assert_eq!(
        told,
        "simulation `hello`: `effects on smpt: at most 1 per key` names the receiver `smpt`; there are {\"smtp\"}"
    );
    let told = refused(simulation().expect(slots("helo").settled()));
    assert!(told.ends_with("names the job `helo`; there are [\"hello\"]"), "{told}");
    let told = refused(simulation().expect(slots("hello").settled()).expect(slots("hello").settled()));
    assert!(told.ends_with("leave one out"), "{told}");
    let told = refused(simulation().faults(Faults::none().at(9 * MINUTE, 0, Bad::Pause, MINUTE)));
    assert!(told.ends_with("lengthen `.lasting`"), "{told}");
    let told = refused(simulation().replay("seed = 1\nreplicas = 3\nlasting = \"ten minutes\"\n"));
    assert!(told.contains("the case of simulation `hello`:3:11"), "{told}");
    let case = |without: &str| format!("seed = 1\nreplicas = 3\nlasting = \"1m\"\nwithout = [{without}]\n");
    let told = refused(simulation().replay(case("\"job helo\"")));
    assert!(told.ends_with("the case is without `job helo`; there are [\"job hello\"]"), "{told}");
    let told = refused(simulation().replay(case("\"job hello\"")));
    assert!(told.ends_with("leave one of [\"job hello\"]"), "{told}");
}

#[test]
#[should_panic(expected = "the simulation has no receiver `smtp`, it has [\"mail\"]")]
fn a_receiver_that_is_not_there_is_named_before_anything_runs() {
    Simulation::new("hello").receiver("mail").app(hello).check();
}

#[test]
fn an_expectation_that_tests_nothing_fails_the_check() {
    let idle =
        |host: &Host| Scheduler::builder(host.store()).runtime(host.runtime()).build().expect("no rule at all");
    let told = refused(simulation().app(idle).expect(effects("smtp").per_key().at_most(1)));
    assert!(told.starts_with("simulation `hello` never tested an expectation: effects on smtp: at most 1"), "{told}");
}

#[test]
fn an_application_that_remembers_from_run_to_run_is_noticed() {
    let runs = Arc::new(AtomicU64::new(0));
    let told = refused(simulation().app(move |host| {
        let (smtp, runs) = (host.receiver("smtp"), Arc::clone(&runs));
        let job = Job::new("hello").every(MINUTE).run(move |ctx: Context| {
            let (smtp, nth) = (smtp.clone(), runs.fetch_add(1, Ordering::Relaxed));
            async move { smtp.send(&ctx, format!("hello {nth}")).await }
        });
        Scheduler::builder(host.store()).runtime(host.runtime()).job(job).build().expect("the rules hold")
    }));
    assert!(told.starts_with("simulation `hello` is not repeatable: two runs of seed 0 differ"), "{told}");
    assert!(told.contains("\n≠ "), "the first event that differs is shown, on both sides: {told}");
}

#[test]
fn what_a_handler_does_twice_for_one_attempt_is_not_excused() {
    let twice = |host: &Host| {
        let smtp = host.receiver("smtp");
        let job = Job::new("hello").every(MINUTE).run(move |ctx: Context| {
            let smtp = smtp.clone();
            async move {
                smtp.send(&ctx, "hello").await?;
                smtp.send(&ctx, "hello").await
            }
        });
        Scheduler::builder(host.store()).runtime(host.runtime()).job(job).build().expect("the rules hold")
    };
    let told = refused(simulation().app(twice).expect(effects("smtp").per_key().at_most_one_plus_unmarked()));
    assert!(told.contains("allowed are 1 and 0 for attempts that were not marked"), "{told}");
    assert!(told.contains("▶") && told.contains("smtp         does \"hello\""), "{told}");
}

/// What breaks needs one job: neither the other kinds of work beside it nor its name's neighbours.
#[test]
fn a_smaller_case_does_without_the_work_that_nothing_is_about() {
    let broken = Simulation::new("everything")
        .lasting(4 * MINUTE)
        .faults(Faults::none())
        .receiver("shop")
        .receiver("log")
        .receiver("registry")
        .app(everything)
        .expect(holds("nothing is done in the shop", |record: &Record<'_>, judgement: &mut Judgement| {
            for effect in record.effects("shop") {
                judgement.demand(false, &[effect.event], || effect.key.to_string());
            }
        }))
        .seeds(0..1);
    let error = broken.try_check().expect_err("the job runs");
    let found = error.counterexample().unwrap_or_else(|| panic!("{error}"));
    let left = ["service feed", "service publish", "service sweep", "queue parcels"];
    assert_eq!(found.smallest.without, left, "{error}");
    assert!(error.to_string().contains(", without service feed, service publish, "), "{error}");
    let again = broken.replay(found.smallest.to_toml()).try_check().expect_err("it fails without them");
    assert_eq!(again.counterexample().map(|again| &again.violation), Some(&found.violation));
}

/// A shop that sells a thing once; on the lane that is closer to the wire.
#[test]
fn a_receiver_of_ones_own_begins_anew_with_each_run() {
    let shop = Receiver::new("smtp").answering(|| {
        let mut sold = BTreeSet::new();
        move |call: &OutsideCall| if sold.insert(call.key.clone()) { CallAnswer::Done } else { CallAnswer::Duplicate }
    });
    Simulation::new("hello")
        .lasting(2 * MINUTE)
        .faults(Faults::none())
        .receiver(shop)
        .app(hello)
        .expect(holds(
            "the first of each run is done, and no other",
            |record: &Record<'_>, judgement: &mut Judgement| {
                for (nth, effect) in record.effects("smtp").enumerate() {
                    let expected = if nth == 0 { CallAnswer::Done } else { CallAnswer::Duplicate };
                    judgement.demand(effect.answer == expected, &[effect.event], || format!("{:?}", effect.answer));
                }
            },
        ))
        .lane(Lane::Turmoil { tick: Some(Duration::from_millis(100)) })
        .seeds(0..2)
        .check();
}

seed_tests! {
    /// As eight tests, each with a seed or two.
    hello_holds: simulation().expect(slots("hello").settled()), seeds 0..10;
}
