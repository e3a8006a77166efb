//! A job of one's own in the simulated world: the example of the README, as a test, and what else a simulation shows of
//! it.

use std::time::Duration;

use tourbillon::prelude::*;
use tourbillon_sim::{
    history::{History, What},
    prelude::*,
};

const MINUTE: Duration = Duration::from_secs(60);

/// What each replica runs, as in production but for where the store, the runtime and the mail server come from.
fn digest(host: &Host) -> Scheduler {
    let smtp = host.receiver("smtp");
    let job = Job::new("digest").every(MINUTE).run_timeout(Duration::from_secs(20)).run(move |ctx: Context| {
        let smtp = smtp.clone();
        async move {
            ctx.sleep(Duration::from_secs(2)).await; // it has much to read
            let slot = ctx.slot_at().expect("a planned job has slots");
            smtp.send(&ctx, format!("digest of {slot}")).await
        }
    });
    Scheduler::builder(host.store()).runtime(host.runtime()).job(job).build().expect("the rules of the job hold")
}

#[test]
fn a_digest_is_sent_once_unless_its_mark_was_lost() {
    Simulation::new("digest")
        .lasting(10 * MINUTE)
        .faults(Faults::swarm())
        .receiver("smtp")
        .app(digest)
        .expect(effects("smtp").per_key().at_most_one_plus_unmarked())
        .expect(slots("digest").settled())
        .check();
}

fn simulation() -> Simulation {
    Simulation::new("digest").lasting(10 * MINUTE).receiver("smtp").app(digest)
}

/// The power goes between the first effect and its mark, then between the second and its mark, and so on.
#[test]
fn a_digest_is_sent_twice_when_its_replica_dies_after_sending() {
    for nth in 1..=4 {
        let power = Faults::none().after(TriggerPoint::EffectReceived, nth, Then::PowerLoss, Duration::from_secs(20));
        let twice = holds("one digest is sent twice", |record: &Record<'_>, judgement: &mut Judgement| {
            let most = record.done_by_key("smtp").values().map(Vec::len).max();
            judgement.demand(most == Some(2), &[], || format!("{most:?} times, at most"));
        });
        simulation().faults(power).expect(twice).seeds(0..1).check();
    }
}

/// Every replica's machine is suspended at once; each goes on with its handler as if no time had passed.
#[test]
fn a_timer_stands_still_with_its_machine() {
    let frozen = (0..3).map(|replica| Fault { at_s: 62, lasts_s: 20, replica, bad: Bad::FreezeMonotonic });
    let plan = FaultPlan { faults: frozen.collect(), triggers: Vec::new() };
    let spanning = holds("a handler takes as much longer", |record: &Record<'_>, judgement: &mut Judgement| {
        let (began, suspended) = (Duration::from_secs(62), Duration::from_secs(20));
        let (started, sent) = first_of_the_second_slot(record.history());
        if started < began && sent > began {
            let (took, expected) = (sent - started, Duration::from_secs(2) + suspended);
            let is_as_long = took >= expected && took < expected + Duration::from_millis(10);
            judgement.demand(is_as_long, &[], || format!("it took {took:?}"));
        }
    });
    simulation().faults(Faults::none().and(&plan)).expect(spanning).seeds(0..8).check();
}

/// When the handler of the slot of 00:01:00 was started, and when it sent its digest.
fn first_of_the_second_slot(history: &History) -> (Duration, Duration) {
    let at = |wanted: fn(&What) -> bool| {
        let times = history.events.iter().filter(|event| wanted(&event.what));
        let mut times = times.map(|event| Duration::from_micros(event.at_us));
        times.find(|at| *at >= MINUTE).expect("a digest is sent every minute")
    };
    let started = at(|what| matches!(what, What::HandlerStarted { .. }));
    (started, at(|what| matches!(what, What::EffectSent { .. })))
}

#[test]
fn a_task_past_the_spawner_fails_the_seed_with_advice() {
    #[expect(clippy::disallowed_methods, reason = "the mistake that is to be found")]
    fn careless(host: &Host) -> Scheduler {
        let job = Job::new("digest").every(MINUTE).run(|_: Context| async {
            tokio::spawn(async {});
            Ok::<_, HandlerError>(())
        });
        Scheduler::builder(host.store()).runtime(host.runtime()).job(job).build().expect("the rules of the job hold")
    }
    let failure = simulation().app(careless).faults(Faults::none()).try_check().expect_err("the task is counted");
    assert!(failure.to_string().contains("not with `tokio::spawn`"), "{failure}");
}
